"""Limits of connections, at a real server. Waits end with what they wait for: a socket that is closed."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dashboard.access_support import HASH, TOKEN, run, serving
from support.certificates import Authority
from tickerlake.dashboard.access import sockets
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.guard import Guard
from tickerlake.dashboard.access.password import Password
from tickerlake.dashboard.access.policy import CSP, Policy
from tickerlake.dashboard.access.sockets import Door
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


async def opened(port: int, data: bytes = b"") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


async def answer(streams: Streams) -> bytes:
    head = await streams[0].readuntil(b"\r\n\r\n")
    return head + await streams[0].readexactly(len("prices"))


async def closed(streams: Streams) -> bytes:
    """Wait until the server has closed it; return what came before."""
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
    async def story() -> None:
        door = Door(connections_max=20)
        async with serving(APP, door) as port:
            held = [await opened(port) for _ in range(20)]
            assert b"200 OK" in await answer_of(held[19])
            for _ in range(200):
                assert await closed(await opened(port, GET)) == b""
            assert (door.connections, door.refused) == (20, 200)
            # the ones that are open still are served, and a place that becomes free is given
            assert b"200 OK" in await answer_of(held[0])
            held[1][1].close()
            while door.connections == 20:
                await asyncio.sleep(0)
            last = await opened(port)
            assert b"200 OK" in await answer_of(last)
            for _, writer in [*held, last]:
                writer.close()
        assert door.connections == 0

    run(story())


async def answer_of(streams: Streams) -> bytes:
    streams[1].write(GET)
    return await answer(streams)


def test_requests_that_never_arrive_are_hung_up() -> None:
    head = GET.removesuffix(b"\r\n")

    async def dripping(port: int) -> None:
        reader, writer = await opened(port, head)
        gone = asyncio.create_task(reader.read())
        drops = 0
        while not gone.done():
            writer.write(b"x: y\r\n")
            drops += 1
            await asyncio.wait([gone], timeout=0.02)
        assert 3 <= drops <= 50
        await asyncio.gather(gone, return_exceptions=True)
        writer.close()

    async def second(port: int) -> None:
        streams = await opened(port)
        assert b"200 OK" in await answer_of(streams)
        streams[1].write(head)
        assert await closed(streams) == b""

    async def story() -> None:
        async with serving(APP, Door(request_s=0.2), timeout_keep_alive=60) as port:
            await asyncio.gather(
                closed(await opened(port)),
                closed(await opened(port, head)),
                closed(await opened(port, head + b"content-length: 100\r\n\r\nx")),
                dripping(port),
                second(port),
            )

    run(story())


def test_quiet_connections_that_have_spoken_stay() -> None:
    async def story() -> None:
        async with serving(APP, Door(request_s=0.2), timeout_keep_alive=60) as port:
            kept = await opened(port)
            assert b"200 OK" in await answer_of(kept)
            async with connect(f"ws://127.0.0.1:{port}/live") as socket:
                # hung up later than the others would be
                await closed(await opened(port))
                assert b"200 OK" in await answer_of(kept)
                await socket.send("hello")
                assert await socket.recv() == "hello"
            kept[1].close()

    run(story())


def test_answers_that_nobody_reads_are_given_up() -> None:
    async def story() -> None:
        door = Door(stall_s=0.2)
        async with serving(APP, door) as port:
            _, writer = await opened(port, GET_HUGE)
            while door.connections == 0:
                await asyncio.sleep(0)
            while door.connections:
                await asyncio.sleep(0.01)
            writer.close()

    run(story())


def test_answers_that_are_read_slowly_are_not() -> None:
    async def story() -> None:
        async with serving(APP, Door(stall_s=0.25)) as port:
            reader, writer = await opened(port, GET_HUGE)
            for _ in range(12):
                await reader.readexactly(1024 * 1024)
                await asyncio.sleep(0.05)
            assert len(await closed((reader, writer))) > HUGE - 13 * 1024 * 1024

    run(story())


def test_handshakes_of_tls_count_and_end(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.server("localhost"), authority.client()

    def context(*_: object) -> ssl.SSLContext:
        return server

    async def story() -> None:
        door = Door(connections_max=2, request_s=0.5)
        async with serving(APP, door, ssl_context_factory=context) as port:
            reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
            assert b"200 OK" in await answer_of((reader, writer))
            silent = await opened(port)
            while door.connections < 2:
                await asyncio.sleep(0)
            assert await closed(await opened(port)) == b""
            assert door.refused == 1
            writer.close()
            assert await closed(silent) == b""
        assert (door.connections, door._handshakes) == (0, {})

    run(story())


def test_what_is_no_http_gets_a_sealed_answer() -> None:
    async def story() -> None:
        async with serving(APP, Door()) as port:
            data = await closed(await opened(port, b"\x16\x03\x01 no http\r\n\r\n"))
            assert data.startswith(b"HTTP/1.1 400 ")
            assert CSP.encode() in data
            many = await opened(port, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000)
            assert b"HTTP/1.1 4" in await closed(many)

    run(story())


def test_pages_of_others_open_no_socket() -> None:
    async def story() -> None:
        door = Door()
        holder: list[Guard] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await holder[0](scope, receive, send)

        async with serving(app, door) as port:
            policy = Policy("127.0.0.1", port)
            holder.append(Guard(APP, policy, Authenticator(Password(HASH), policy, TOKEN)))
            url, token = f"ws://localhost:{port}/live", {"Authorization": f"Bearer {TOKEN}"}
            async with connect(url, additional_headers=token, origin=f"http://localhost:{port}") as socket:  # type: ignore[arg-type]
                await socket.send("hello")
                assert await socket.recv() == "hello"
            for origin in ("http://evil.example", "null", f"https://localhost:{port}"):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(url, additional_headers=token, origin=origin)  # type: ignore[arg-type]
                assert refused.value.response.status_code == 403
            with pytest.raises(InvalidStatus) as refused:
                await connect(url)
            assert refused.value.response.status_code == 401
            assert refused.value.response.headers["Content-Security-Policy"] == CSP
            async with connect(url, origin=f"http://localhost:{port}") as socket:  # type: ignore[arg-type]
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == 4401

    run(story())


def test_a_port_in_use_is_said_plainly() -> None:
    listener = Door().bind("localhost", 0)
    host, port = listener.getsockname()
    assert host == "127.0.0.1"
    listener.listen()
    with pytest.raises(UsageError, match=f"port {port}, cannot be served"):
        Door().bind("localhost", port)
    listener.close()
    with pytest.raises(UsageError, match="is no address to serve"):
        Door().bind("no.such.host.invalid", 0)


def test_descriptors_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_descriptors_max", lambda: 256)
    assert Door().connections_max == 128
    assert Door(connections_max=50).connections_max == 50


def test_tokens_are_not_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("uvicorn.access", "uvicorn.error"):
        # another server in this process may have quietened them
        caplog.set_level(logging.DEBUG, name)
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)

    async def story() -> None:
        async with serving(APP, Door()) as port:
            request = GET.replace(b"\r\n\r\n", b"\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
            streams = await opened(port, request)
            await answer(streams)
            streams[1].close()

    run(story())
    assert "GET /" in caplog.text
    assert TOKEN not in caplog.text
