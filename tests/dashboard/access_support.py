"""Shared by the access tests: a clock, clients, a real server, and the check of default deny."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import uvicorn
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message

from tickerlake.dashboard.access.listener import Listener
from tickerlake.dashboard.access.policy import PUBLIC_PATHS

PASSWORD = "correct horse battery"
# the cheapest accepted parameters
_KEY = hashlib.scrypt(PASSWORD.encode(), salt=b"Z" * 16, n=2**14, r=8, p=1)
HASH = f"scrypt$16384$8$1${(b'Z' * 16).hex()}${_KEY.hex()}"
TOKEN = "0123456789abcdef0123456789abcdef"
ORIGIN = "http://localhost:8080"
NAVIGATION = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": "none"}
T = TypeVar("T")


@dataclass
class Clock:
    """Monotonic seconds, advanced by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to completion; a test that waits for something that never happens times out."""

    async def limited() -> T:
        async with asyncio.timeout(20):
            return await coroutine

    return asyncio.run(limited())


def send_request(
    app: ASGIApp,
    path: str,
    headers: dict[str, str] | Sequence[tuple[str, str]] | Sequence[tuple[bytes, bytes]] | None = None,
    *,
    method: str = "GET",
    content: str | bytes | None = None,
    client: str = "203.0.113.7",
    base_url: str = ORIGIN,
) -> httpx.Response:
    """Send one request to an app, without a socket."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as session:
            return await session.request(method, path, headers=headers, content=content)

    return run_async(request())


def send_password(
    app: ASGIApp,
    password: str = PASSWORD,
    *,
    client: str = "203.0.113.7",
    target: str = "/",
    origin: str = ORIGIN,
) -> httpx.Response:
    """Submit the form of the login page."""
    content = str(httpx.QueryParams({"password": password, "next": target}))
    headers = {"origin": origin, "content-type": "application/x-www-form-urlencoded"}
    return send_request(
        app, "/login", headers, method="POST", content=content, client=client, base_url=origin
    )


def cookie_header(response: httpx.Response) -> dict[str, str]:
    """Return the header that sends the cookie of a response back."""
    return {"cookie": response.headers["set-cookie"].partition(";")[0]}


def handshake(app: ASGIApp, path: str = "/live", headers: dict[str, str] | None = None) -> list[Message]:
    """Open a WebSocket without a socket; return what the app sent until it ended or accepted."""
    sent: list[Message] = []

    async def run() -> None:
        incoming: list[Message] = [{"type": "websocket.connect"}]

        async def receive() -> Message:
            return incoming.pop() if incoming else {"type": "websocket.disconnect", "code": 1000}

        async def send(message: Message) -> None:
            sent.append(message)

        all_headers = {"host": "localhost:8080"} | (headers or {})
        scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "ws",
            "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
            "client": ("203.0.113.7", 4711),
            "server": ("127.0.0.1", 8080),
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }
        await app(scope, receive, send)

    run_async(run())
    return sent


def route_paths(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield ("http" or "websocket", path) of every route, with values for its parameters."""
    for route in routes:
        if isinstance(route, Mount):
            inner = f"{prefix}{route.path}"
            yield from (
                route_paths(route.routes, inner) if route.routes else [("http", f"{inner}/anything.js")]
            )
        elif isinstance(route, Route | WebSocketRoute):
            kind = "http" if isinstance(route, Route) else "websocket"
            path = route.path_format.format_map(dict.fromkeys(route.param_convertors, "1"))
            yield kind, prefix + path
        else:
            raise AssertionError(f"{route!r}: an unknown type of route")


def check_default_deny(app: ASGIApp, routes: Iterable[BaseRoute], host: str = "localhost:8080") -> int:
    """Request every route without a login, as a program, a page and a browser; fail if one is served.

    ``app`` is the application as it is served when a password is set; ``host`` is one of its host names.
    Returns the number of routes requested.
    """
    base_url = f"http://{host}"
    checked = 0
    for kind, path in route_paths(routes):
        if kind == "websocket":
            sent = handshake(app, path, {"host": host})
            assert [m["type"] for m in sent[:1]] == ["websocket.http.response.start"], (path, sent)
            assert sent[0]["status"] == 401, (path, sent)
            sent = handshake(app, path, {"host": host, "origin": base_url})
            assert [m.get("code") for m in sent] == [None, 4401], (path, sent)
            checked += 1
        elif path not in PUBLIC_PATHS:
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
                response = send_request(app, path, {"origin": base_url}, method=method, base_url=base_url)
                assert response.status_code in {401, 405}, (method, path, response)
            response = send_request(app, path, NAVIGATION, base_url=base_url)
            redirected = response.status_code == 303 and response.headers["location"].startswith("/login")
            assert redirected or response.status_code == 401, (path, response)
            checked += 1
    return checked


class _SignalingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()


@contextlib.asynccontextmanager
async def serve_app(app: ASGIApp, listener: Listener, **options: Any) -> AsyncIterator[int]:
    """Serve an app on a free local port; yield the port."""
    sock = listener.bind("127.0.0.1", 0)
    port = int(sock.getsockname()[1])
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
        **(listener.uvicorn_options() | options),
    )
    server = _SignalingServer(config)
    task = asyncio.create_task(server.serve([sock]))
    try:
        await server.has_started.wait()
        yield port
    finally:
        server.should_exit = True
        await task
