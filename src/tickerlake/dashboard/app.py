"""The application: the page and its files, the WebSocket, the API, and metrics."""

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
from tickerlake.dashboard.health.monitor import HealthMonitor
from tickerlake.dashboard.hub import Hub
from tickerlake.dashboard.metrics import exposition
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.dashboard.service_thread import ServiceThread
from tickerlake.errors import SetupError
from tickerlake.lake.store.base import ReadableStore

STATIC: Final = Path(__file__).parent / "static"
_POLL_INTERVAL_S: Final = 2.0
"""How current the pipeline panel is. A poll sends a few requests to each broker."""
_JOIN_TIMEOUT_S: Final = 15.0
"""Longer than a poll of an unresponsive cluster and a batch of the reader take."""


class Backend:
    """What runs behind the routes: the threads of the reader and the health monitor, and the hub."""

    def __init__(
        self, reader: DashboardReader, health: HealthMonitor, hub: Hub, store: ReadableStore | None
    ) -> None:
        self.reader = reader
        self.health = health
        self.hub = hub
        self.store = store
        self.kafka_error = ""
        self.stop = threading.Event()
        self.threads = [
            ServiceThread("reading of records", reader.run, self._notify_clients),
            ServiceThread("monitoring of the pipeline", self._poll_health, self._notify_clients),
        ]
        hub.problem = lambda: self.problem

    @property
    def problem(self) -> str:
        """What is wrong with the threads; empty if nothing is."""
        return " ".join(filter(None, (thread.problem for thread in self.threads)))

    @property
    def unavailable(self) -> str:
        """Why Kafka or the lake cannot be read, in a sentence; empty if they can."""
        status = self.reader.status
        return self.kafka_error or (status.message if status.kafka != "ok" else "")

    def pipeline_json(self) -> bytes:
        """Return the pipeline's state as JSON; empty before the first poll."""
        return self.hub.pipeline_json

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Run the threads while the server does."""
        loop = asyncio.get_running_loop()

        def notify_clients() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self.hub.notify_clients)

        self.reader.on_batch = notify_clients
        for thread in self.threads:
            thread.start(self.stop)
        try:
            yield
        finally:
            self.stop.set()
            for thread in self.threads:
                await asyncio.to_thread(thread.join, _JOIN_TIMEOUT_S)

    def _notify_clients(self) -> None:
        self.reader.on_batch()

    def _poll_health(self, stop: threading.Event) -> None:
        while not stop.is_set():
            state = self.health.poll(self.reader.prefixes)
            self.hub.is_kafka_up = state["kafka"]["ok"]
            self.kafka_error = "" if state["kafka"]["ok"] else state["kafka"]["error"]
            # sent with the next frame
            status = self.reader.status
            reader = {"records": status.records, "skipped": status.skipped}
            self.hub.pipeline_json = msgspec.json.encode({"t": "pipeline", **state, "reader": reader})
            stop.wait(_POLL_INTERVAL_S)

    def stats(self) -> dict[str, float]:
        """Return the server's statistics for `metrics.exposition`."""
        hub, status = self.hub.stats, self.reader.status
        return {
            "clients": hub.clients,
            "dropped_clients": hub.dropped_clients,
            "refused_clients": hub.refused_clients,
            "frames": hub.frames_sent,
            "bytes": hub.bytes_sent,
            "records_read": status.records,
            "records_skipped": status.skipped,
            "thread_restarts": sum(thread.restarts for thread in self.threads),
            "instruments": len(self.reader.market.instruments),
            "loading": 1.0 if status.loading is None else status.loading,
            "last_record_ms": status.last_record_ms,
        }


def create_app(backend: Backend, login: Sequence[BaseRoute] = ()) -> Starlette:
    """Return the application, without access control.

    Parameters
    ----------
    backend
        What runs behind the routes.
    login
        The routes of the login, if a password is set.

    Raises
    ------
    SetupError
        If the page has not been built.
    """
    page = STATIC / "index.html"
    if not page.is_file():
        raise SetupError("The dashboard's page has not been built.", "In a checkout, run `make page`.")

    def index(_: Request) -> Response:
        return FileResponse(page, headers={"Cache-Control": "no-cache"})

    def metrics(_: Request) -> Response:
        state = msgspec.json.decode(backend.pipeline_json() or b"{}")
        return Response(exposition(state, backend.stats()), media_type="text/plain; version=0.0.4")

    def healthz(_: Request) -> Response:
        age_ms = clock.now_ns() / 1e6 - backend.reader.status.last_record_ms
        problem = backend.problem
        health = {
            "status": "failed" if problem else "ok",
            "kafka": backend.reader.status.kafka,
            "ms_since_record": round(age_ms),
            **({"problem": problem} if problem else {}),
        }
        return Response(msgspec.json.encode(health), 503 if problem else 200, media_type="application/json")

    routes: list[BaseRoute] = [
        *login,
        Route("/", index, methods=["GET"]),
        WebSocketRoute("/live", backend.hub.serve),
        Mount("/api/v1", routes=Api(backend.reader, backend.store, backend.pipeline_json).routes()),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/healthz", healthz, methods=["GET"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(routes=routes, lifespan=backend.lifespan)
