"""Connection limits of a real server. Every wait ends with an event, such as a closed socket."""

import asyncio
import logging
import os
import ssl
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dashboard.access_support import HASH, TOKEN, run_async, serve_app
from support.certificates import CertificateAuthority
from tickerlake.dashboard.access import listener as listener_module
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.listener import Listener
from tickerlake.dashboard.access.middleware import AccessMiddleware
from tickerlake.dashboard.access.password import Password
from tickerlake.dashboard.access.policy import CSP, Policy
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.dashboard.access.rate_limiter import RateLimiter
from tickerlake.errors import UsageError

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
GET_HUGE = b"GET /huge HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
HUGE = 24 * 1024 * 1024
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def page(request: Request) -> Response:
    return PlainTextResponse("prices")


async def huge(request: Request) -> Response:
    return Response(bytes(HUGE))


async def live(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


APP = Starlette(routes=[Route("/", page), Route("/huge", huge), WebSocketRoute("/live", live)])


async def open_connection(port: int, data: bytes = b"", source: str = "127.0.0.1") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    writer.write(data)
    return reader, writer


async def read_response(streams: Streams) -> bytes:
    head = await streams[0].readuntil(b"\r\n\r\n")
    return head + await streams[0].readexactly(len("prices"))


async def read_until_closed(streams: Streams) -> bytes:
    """Wait until the server has closed the connection; return what it sent before."""
    reader, writer = streams
    data = bytearray()
    try:
        while part := await reader.read(65536):
            data += part
    except ConnectionError:
        pass
    writer.close()
    return bytes(data)


def test_idle_sockets_are_capped() -> None:
    async def scenario() -> None:
        listener = Listener(max_connections=20)
        async with serve_app(APP, listener) as port:
            idle = [await open_connection(port) for _ in range(20)]
            assert b"200 OK" in await get_page(idle[19])
            for _ in range(200):
                assert await read_until_closed(await open_connection(port, GET)) == b""
            assert (listener.connection_count, listener.refused) == (20, 200)
            # open connections are still served, and a freed slot can be used again
            assert b"200 OK" in await get_page(idle[0])
            idle[1][1].close()
            while listener.connection_count == 20:
                await asyncio.sleep(0)
            last = await open_connection(port)
            assert b"200 OK" in await get_page(last)
            for _, writer in [*idle, last]:
                writer.close()
        assert listener.connection_count == 0

    run_async(scenario())


def test_one_address_cannot_keep_others_out() -> None:
    async def scenario() -> None:
        listener = Listener()
        async with serve_app(APP, listener) as port:
            held = [await open_connection(port, source="127.0.0.2") for _ in range(64)]
            for _ in range(1_200):
                assert await read_until_closed(await open_connection(port, GET, "127.0.0.2")) == b""
            assert (listener.connection_count, listener.refused) == (64, 1_200)
            for source in ("127.0.0.1", "127.0.0.3"):
                other = await open_connection(port, source=source)
                assert b"200 OK" in await get_page(other)
                other[1].close()
            # what it holds is still served, and what it closes it may open again
            assert b"200 OK" in await get_page(held[63])
            held[0][1].close()
            while listener.connection_count > 63:
                await asyncio.sleep(0)
            held[0] = await open_connection(port, source="127.0.0.2")
            assert b"200 OK" in await get_page(held[0])
            for _, writer in held:
                writer.close()
        assert (listener.connection_count, listener._connections_by_client) == (0, {})

    run_async(scenario())


def test_connections_of_a_proxy_count_by_the_address_it_forwards() -> None:
    proxies = TrustedProxies(["127.0.0.1"])
    listener = Listener(proxies=proxies)
    holder: list[AccessMiddleware] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await holder[0](scope, receive, send)

    async def open_page(port: int, forwarded: str, source: str = "127.0.0.1") -> ClientConnection:
        headers = {"X-Forwarded-For": forwarded}
        return await connect(
            f"ws://localhost:{port}/live", additional_headers=headers, local_addr=(source, 0), proxy=None
        )

    async def scenario() -> None:
        async with serve_app(app, listener) as port:
            # a bucket that does not limit what is counted here
            holder.append(
                AccessMiddleware(
                    APP, Policy("127.0.0.1", port, proxies=proxies), None, RateLimiter(1e6, 10**6)
                )
            )
            pages = [await open_page(port, f"1.1.1.{number}, 198.51.100.1") for number in range(64)]
            with pytest.raises(InvalidStatus) as caught:
                await open_page(port, "198.51.100.1")
            assert caught.value.response.status_code == 429
            pages.append(await open_page(port, "198.51.100.2"))
            # others than the proxy count by their own address, whatever they claim
            pages += [await open_page(port, f"198.51.100.{number}", "127.0.0.2") for number in range(64)]
            assert await read_until_closed(await open_connection(port, GET, "127.0.0.2")) == b""
            await pages[0].close()
            pages[0] = await open_page(port, "198.51.100.1")
            for page_ in pages:
                await page_.close()
        assert holder[0]._open_requests == {}

    run_async(scenario())


def test_a_proxy_that_does_not_name_its_clients_is_told() -> None:
    proxies = TrustedProxies(["127.0.0.1"])

    async def scenario() -> None:
        release = asyncio.Event()

        async def wait(request: Request) -> Response:
            await release.wait()
            return PlainTextResponse("prices")

        app = Starlette(routes=[Route("/", wait)])
        middleware = AccessMiddleware(app, Policy("127.0.0.1", 8080, proxies=proxies), None)
        transport = httpx.ASGITransport(middleware, client=("127.0.0.1", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            waiting = [asyncio.create_task(client.get("/")) for _ in range(64)]
            while sum(middleware._open_requests.values()) < 64:
                await asyncio.sleep(0)
            response = await client.get("/")
            assert response.status_code == 429
            assert "The proxy must set X-Forwarded-For" in response.json()["hint"]
            named = asyncio.create_task(client.get("/", headers={"x-forwarded-for": "198.51.100.1"}))
            release.set()
            assert {each.status_code for each in await asyncio.gather(named, *waiting)} == {200}

    run_async(scenario())


async def get_page(streams: Streams) -> bytes:
    streams[1].write(GET)
    return await read_response(streams)


def test_incomplete_requests_time_out() -> None:
    head = GET.removesuffix(b"\r\n")

    async def send_slowly(port: int) -> None:
        reader, writer = await open_connection(port, head)
        closed = asyncio.create_task(reader.read())
        lines_sent = 0
        while not closed.done():
            writer.write(b"x: y\r\n")
            lines_sent += 1
            await asyncio.wait([closed], timeout=0.02)
        assert 3 <= lines_sent <= 50
        await asyncio.gather(closed, return_exceptions=True)
        writer.close()

    async def send_second_request(port: int) -> None:
        streams = await open_connection(port)
        assert b"200 OK" in await get_page(streams)
        streams[1].write(head)
        assert await read_until_closed(streams) == b""

    async def scenario() -> None:
        async with serve_app(APP, Listener(request_timeout_s=0.2), timeout_keep_alive=60) as port:
            await asyncio.gather(
                read_until_closed(await open_connection(port)),
                read_until_closed(await open_connection(port, head)),
                read_until_closed(await open_connection(port, head + b"content-length: 100\r\n\r\nx")),
                send_slowly(port),
                send_second_request(port),
            )

    run_async(scenario())


def test_idle_connections_that_sent_a_request_stay_open() -> None:
    async def scenario() -> None:
        async with serve_app(APP, Listener(request_timeout_s=0.2), timeout_keep_alive=60) as port:
            idle = await open_connection(port)
            assert b"200 OK" in await get_page(idle)
            async with connect(f"ws://127.0.0.1:{port}/live") as socket:
                # by the time that a connection without a request has timed out
                await read_until_closed(await open_connection(port))
                assert b"200 OK" in await get_page(idle)
                await socket.send("hello")
                assert await socket.recv() == "hello"
            idle[1].close()

    run_async(scenario())


def test_unread_responses_time_out() -> None:
    async def scenario() -> None:
        listener = Listener(stall_timeout_s=0.2)
        async with serve_app(APP, listener) as port:
            _, writer = await open_connection(port, GET_HUGE)
            while listener.connection_count == 0:
                await asyncio.sleep(0)
            while listener.connection_count:
                await asyncio.sleep(0.01)
            writer.close()

    run_async(scenario())


def test_slowly_read_responses_do_not_time_out() -> None:
    async def scenario() -> None:
        async with serve_app(APP, Listener(stall_timeout_s=0.25)) as port:
            reader, writer = await open_connection(port, GET_HUGE)
            for _ in range(12):
                await reader.readexactly(1024 * 1024)
                await asyncio.sleep(0.05)
            assert len(await read_until_closed((reader, writer))) > HUGE - 13 * 1024 * 1024

    run_async(scenario())


def test_tls_handshakes_are_counted_and_time_out(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    server, client = authority.server_context("localhost"), authority.client_context()

    def context(*_: object) -> ssl.SSLContext:
        return server

    async def scenario() -> None:
        listener = Listener(max_connections=2, request_timeout_s=0.5)
        async with serve_app(APP, listener, ssl_context_factory=context) as port:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
            assert b"200 OK" in await get_page((reader, writer))
            silent = await open_connection(port)
            while listener.connection_count < 2:
                await asyncio.sleep(0)
            assert await read_until_closed(await open_connection(port)) == b""
            assert listener.refused == 1
            writer.close()
            assert await read_until_closed(silent) == b""
        assert (listener.connection_count, listener._handshake_timers) == (0, {})

    run_async(scenario())


def test_invalid_http_gets_security_headers() -> None:
    async def scenario() -> None:
        async with serve_app(APP, Listener()) as port:
            data = await read_until_closed(await open_connection(port, b"\x16\x03\x01 no http\r\n\r\n"))
            assert data.startswith(b"HTTP/1.1 400 ")
            assert CSP.encode() in data
            many = await open_connection(port, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000)
            assert b"HTTP/1.1 4" in await read_until_closed(many)

    run_async(scenario())


def test_foreign_origins_cannot_open_a_websocket() -> None:
    async def scenario() -> None:
        listener = Listener()
        holder: list[AccessMiddleware] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await holder[0](scope, receive, send)

        async with serve_app(app, listener) as port:
            policy = Policy("127.0.0.1", port)
            holder.append(AccessMiddleware(APP, policy, Authenticator(Password(HASH), policy, TOKEN)))
            url, token = f"ws://localhost:{port}/live", {"Authorization": f"Bearer {TOKEN}"}
            async with connect(url, additional_headers=token, origin=f"http://localhost:{port}") as socket:  # type: ignore[arg-type]
                await socket.send("hello")
                assert await socket.recv() == "hello"
            for origin in ("http://evil.example", "null", f"https://localhost:{port}"):
                with pytest.raises(InvalidStatus) as caught:
                    await connect(url, additional_headers=token, origin=origin)  # type: ignore[arg-type]
                assert caught.value.response.status_code == 403
            with pytest.raises(InvalidStatus) as caught:
                await connect(url)
            assert caught.value.response.status_code == 401
            assert caught.value.response.headers["Content-Security-Policy"] == CSP
            async with connect(url, origin=f"http://localhost:{port}") as socket:  # type: ignore[arg-type]
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 4401

    run_async(scenario())


def test_a_port_in_use_is_reported() -> None:
    sock = Listener().bind("localhost", 0)
    host, port = sock.getsockname()
    assert host == "127.0.0.1"
    sock.listen()
    with pytest.raises(UsageError, match=rf"Port {port} is in use by process {os.getpid()} \("):
        Listener().bind("localhost", port)
    sock.close()
    with pytest.raises(UsageError, match="Cannot listen on no"):
        Listener().bind("no.such.host.invalid", 0)


def test_spare_file_descriptors_are_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_max_descriptors", lambda: 256)
    assert Listener().max_connections == 128
    assert Listener(max_connections=50).max_connections == 50


def test_tokens_are_not_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn.access", "uvicorn.error"):
        # another server in this process may have silenced them
        caplog.set_level(logging.DEBUG, name)
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)

    async def scenario() -> None:
        async with serve_app(APP, Listener()) as port:
            request = GET.replace(b"\r\n\r\n", b"\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
            streams = await open_connection(port, request)
            await read_response(streams)
            streams[1].close()

    run_async(scenario())
    assert "GET /" in caplog.text
    assert TOKEN not in caplog.text
