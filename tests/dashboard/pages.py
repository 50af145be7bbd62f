"""A hub behind a real server, and pages that talk to it."""

import asyncio
import json
import socket as sockets
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from websockets.sync.client import ClientConnection, connect

from support.process import wait_until
from tickerlake.analytics.sessions import ALWAYS
from tickerlake.dashboard.access.sockets import Door
from tickerlake.dashboard.live.hub import Hub
from tickerlake.dashboard.market.market import Market
from tickerlake.dashboard.reading.feed import Feed


class Served:
    """A hub whose market the test fills."""

    def __init__(self, most: int = 200) -> None:
        self.feed = Feed("127.0.0.1:9", {}, None, ["x"], lambda: Market(lambda _: ALWAYS))
        self.hub = Hub(self.feed, most)
        self.login = True
        self.loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    @property
    def market(self) -> Market:
        """The market of the feed."""
        return self.feed.market

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let everybody in, as long as the test says so."""
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
        else:
            scope["login_open"] = lambda: self.login
        await Starlette(routes=[WebSocketRoute("/live", self.hub.serve)])(scope, receive, send)

    def beat(self, stop: threading.Event) -> None:
        """Say that there may be something new, as often as a feed does."""
        while not stop.wait(0.05):
            self.market.prepare()
            if self.loop is not None and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self.hub.wake)


@contextmanager
def served(most: int = 200) -> Iterator[Served]:
    """Serve a hub on a free port."""
    about, door = Served(most), Door()
    socket = door.bind("127.0.0.1", 0)
    socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 1 << 18)
    config = uvicorn.Config(
        about, log_config=None, access_log=False, timeout_graceful_shutdown=1, **door.uvicorn_options()
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    about.url = f"ws://127.0.0.1:{socket.getsockname()[1]}/live"
    stop = threading.Event()
    beating = threading.Thread(target=about.beat, args=[stop])
    thread.start()
    beating.start()
    try:
        wait_until(lambda: server.started)
        yield about
    finally:
        stop.set()
        beating.join(20)
        server.should_exit = True
        thread.join(20)


class Page:
    """A page: what it got, by kind."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.rows: dict[int, list[float]] = {}
        self.frames: list[tuple[int, list[int]]] = []
        self.closes: dict[int, list[float]] = {}
        self.patience = 200

    def ask(self, **message: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps(message))

    def read(self) -> None:
        """Take one message; TimeoutError if what is waited for does not come."""
        self.patience -= 1
        if self.patience < 0:
            raise TimeoutError
        message = self.socket.recv(timeout=20)
        if isinstance(message, str):
            self.messages.append(json.loads(message))
            return
        kind, _, points, count, _ = struct.unpack("<BBHId", message[:16])
        body = message[16:]
        ids = np.frombuffer(body[-4 * count :], "<u4").tolist()
        self.frames.append((kind, ids))
        if kind == 1:
            columns = np.frombuffer(body[: 64 * count], "<f8").reshape(8, count)
            self.rows |= {number: columns[:, n].tolist() for n, number in enumerate(ids)}
        else:
            closes = np.frombuffer(body[: 4 * points * count], "<f4").reshape(count, points)
            self.closes |= {number: closes[n].tolist() for n, number in enumerate(ids)}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind."""
        return [message for message in self.messages if message["t"] == kind]


@contextmanager
def page(url: str) -> Iterator[Page]:
    """Open a page."""
    with connect(url, max_size=None, compression=None) as socket:
        yield Page(socket)
