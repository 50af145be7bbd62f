"""A hub behind a real server, and clients of it."""

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
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.dashboard.access.listener import Listener
from tickerlake.dashboard.hub import Hub
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.reading.reader import DashboardReader


class HubServer:
    """A hub whose market the test fills."""

    def __init__(self, max_clients: int = 200) -> None:
        self.reader = DashboardReader(
            "127.0.0.1:9", {}, None, ["x"], lambda: MarketState(lambda _: ALWAYS_OPEN)
        )
        self.hub = Hub(self.reader, max_clients)
        self.is_logged_in = True
        self.loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    @property
    def market(self) -> MarketState:
        """The market of the reader."""
        return self.reader.market

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the hub; its sessions are open as long as `is_logged_in`."""
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
        else:
            scope["is_session_open"] = lambda: self.is_logged_in
        await Starlette(routes=[WebSocketRoute("/live", self.hub.serve)])(scope, receive, send)

    def notify_periodically(self, stop: threading.Event) -> None:
        """Notify the clients periodically, as a reader does."""
        while not stop.wait(0.05):
            self.market.prepare()
            if self.loop is not None and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self.hub.notify_clients)


@contextmanager
def serve_hub(max_clients: int = 200) -> Iterator[HubServer]:
    """Serve a hub on a free port."""
    hub_server, listener = HubServer(max_clients), Listener()
    socket = listener.bind("127.0.0.1", 0)
    socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 1 << 18)
    config = uvicorn.Config(
        hub_server,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        **listener.uvicorn_options(),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    hub_server.url = f"ws://127.0.0.1:{socket.getsockname()[1]}/live"
    stop = threading.Event()
    notifier = threading.Thread(target=hub_server.notify_periodically, args=[stop])
    thread.start()
    notifier.start()
    try:
        wait_until(lambda: server.started)
        yield hub_server
    finally:
        stop.set()
        notifier.join(20)
        server.should_exit = True
        thread.join(20)


class HubClient:
    """A client that records what it receives."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.rows: dict[int, list[float]] = {}
        self.frames: list[tuple[int, list[int]]] = []
        self.closes: dict[int, list[float]] = {}
        self.remaining_reads = 200

    def send(self, **message: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps(message))

    def receive(self) -> None:
        """Receive one message; TimeoutError if there are none, or more than a test expects."""
        self.remaining_reads -= 1
        if self.remaining_reads < 0:
            raise TimeoutError
        message = self.socket.recv(timeout=20)
        if isinstance(message, str):
            self.messages.append(json.loads(message))
            return
        frame_type, _, points, count, _ = struct.unpack("<BBHId", message[:16])
        body = message[16:]
        ids = np.frombuffer(body[-4 * count :], "<u4").tolist()
        self.frames.append((frame_type, ids))
        if frame_type == 1:
            columns = np.frombuffer(body[: 64 * count], "<f8").reshape(8, count)
            self.rows |= {number: columns[:, n].tolist() for n, number in enumerate(ids)}
        else:
            closes = np.frombuffer(body[: 4 * points * count], "<f4").reshape(count, points)
            self.closes |= {number: closes[n].tolist() for n, number in enumerate(ids)}

    def messages_of(self, message_type: str) -> list[dict[str, Any]]:
        """Return the messages of a type."""
        return [message for message in self.messages if message["t"] == message_type]


@contextmanager
def connect_client(url: str) -> Iterator[HubClient]:
    """Connect a client."""
    with connect(url, max_size=None, compression=None) as socket:
        yield HubClient(socket)
