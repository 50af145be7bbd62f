"""The routes: the page and its files, the socket, the interface, figures for machines."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from tickerlake import clock
from tickerlake.dashboard.api import Api
from tickerlake.dashboard.health.look import Health
from tickerlake.dashboard.live.hub import Hub
from tickerlake.dashboard.metrics import exposition
from tickerlake.dashboard.reading.feed import Feed
from tickerlake.errors import SetupError
from tickerlake.lake.store.base import Store

STATIC: Final = Path(__file__).parent / "static"
_LOOK_S: Final = 2.0
_JOIN_S: Final = 15.0


class Parts:
    """What runs behind the page: a thread that reads, one that looks after the pipeline, and the hub."""

    def __init__(self, feed: Feed, health: Health, hub: Hub, store: Store | None) -> None:
        self.feed = feed
        self.health = health
        self.hub = hub
        self.store = store
        self.stop = threading.Event()

    def pipeline(self) -> bytes:
        """Return the pipeline's state as JSON, empty if it is not known yet."""
        return self.hub.pipeline

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Run the threads while the server does."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.hub.wake)

        self.feed.on_batch = wake
        threads = [
            threading.Thread(target=self.feed.run, args=[self.stop], name="reading"),
            threading.Thread(target=self._look, name="looking"),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join, _JOIN_S)

    def _look(self) -> None:
        while not self.stop.is_set():
            state = self.health.look(self.feed.prefixes)
            self.hub.kafka_answers = state["kafka"]["ok"]
            self.hub.pipeline = msgspec.json.encode({"t": "pipeline", **state})
            # it goes out with the next frame
            self.stop.wait(_LOOK_S)

    def figures(self) -> dict[str, float]:
        """Return the server's own figures, for metrics."""
        hub, status = self.hub.figures, self.feed.status
        return {
            "clients": hub.clients,
            "dropped_clients": hub.dropped,
            "refused_clients": hub.refused,
            "frames": hub.frames,
            "bytes": hub.bytes,
            "records_read": status.records,
            "records_skipped": status.skipped,
            "instruments": len(self.feed.market.names),
            "loading": 1.0 if status.loading is None else status.loading,
            "last_record_ms": status.last_record_ms,
        }


def create(parts: Parts, login: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application, without what guards it.

    Parameters
    ----------
    parts
        What runs behind it.
    login
        The routes of the login, if there is one.

    Raises
    ------
    SetupError
        If the page has not been built.
    """
    page = STATIC / "index.html"
    if not page.is_file():
        raise SetupError("The page of the dashboard has not been built.", "In a checkout: `make page`.")

    def index(_: Request) -> Response:
        return FileResponse(page, headers={"Cache-Control": "no-cache"})

    def metrics(_: Request) -> Response:
        state = msgspec.json.decode(parts.pipeline() or b"{}")
        return Response(exposition(state, parts.figures()), media_type="text/plain; version=0.0.4")

    def healthz(_: Request) -> Response:
        late_ms = clock.now_ns() / 1e6 - parts.feed.status.last_record_ms
        about = {"status": "ok", "kafka": parts.feed.status.kafka, "ms_since_record": round(late_ms)}
        return Response(msgspec.json.encode(about), media_type="application/json")

    routes: list[BaseRoute] = [
        *login,
        Route("/", index, methods=["GET"]),
        WebSocketRoute("/live", parts.hub.serve),
        Mount("/api/v1", routes=Api(parts.feed, parts.store, parts.pipeline).routes()),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(routes=routes, lifespan=parts.running)
