"""Frames that no browser sends: each connection ends, without a traceback in the log."""

import asyncio
import base64
import logging
import random
import struct
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from dashboard.access_support import run_async
from dashboard.hub_client import HubServer, connect_client, serve_hub
from support.process import wait_until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
OPCODES = (0, TEXT, TEXT, TEXT, BINARY, CLOSE, PING, PONG, 3, 11, 15)
NOT_UTF8 = (b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b'{"t":"chart"\xfe}', b"\xe2\x82", b"\xf4\x90\x80\x80")
PAYLOADS = (
    *NOT_UTF8,
    *(
        b"",
        b"{}",
        b'{"t":"view","ids":[0]}',
        b'{"t":"chart"}',
        b"[" * 3000,
        b'{"t":"view","ids":[' + b"0," * 3000,
    ),
    *(b"\x03", b"\x03\xe8", b"\x03\xe8ok", b"\x03\xe8\xff", b"\x00\x00", b"x" * 9000),
)
ODD_HEADERS = (
    *(b"Sec-WebSocket-Protocol: \xff\xfe", b"Sec-WebSocket-Protocol: ,,a", b"Cookie: \x80"),
    *(b"Sec-WebSocket-Extensions: ;;;", b"Sec-WebSocket-Extensions: permessage-deflate; x=\xff"),
)


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    mask: bytes = b"\0\0\0\0",
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    length = len(payload) if length is None else length
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 1 << 16:
        size = bytes([0x80 | 126]) + struct.pack("!H", length)
    else:
        size = bytes([0x80 | 127]) + struct.pack("!Q", length)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([fin << 7 | reserved << 4 | opcode]) + size + mask + masked


async def exchange(server: HubServer, frames: bytes, *headers: bytes) -> bytes:
    """Open a connection, send frames and the end of the stream; return what came until it was closed."""
    host, port = urlsplit(server.url).hostname, urlsplit(server.url).port
    reader, writer = await asyncio.open_connection(host, port)
    key = b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16))
    request = (b"GET /live HTTP/1.1", b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade", key)
    lines = (*request, b"Sec-WebSocket-Version: 13", *headers, b"", b"")
    received = b""
    try:
        writer.write(b"\r\n".join(lines))
        received = await reader.readuntil(b"\r\n\r\n")
        writer.write(frames)
        writer.write_eof()
        received += await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        pass
    writer.close()
    return received


@pytest.fixture
def server(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    caplog.set_level(logging.WARNING)
    for name in ("uvicorn.error", "asyncio"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    with serve_hub() as hub_server:
        yield hub_server
    logged = [record.getMessage() for record in caplog.get_records("call") + caplog.records]
    assert not logged


@pytest.mark.parametrize("payload", NOT_UTF8)
@pytest.mark.parametrize("fragments", [1, 2])
def test_a_text_that_is_not_utf8_closes_with_1007(server: HubServer, payload: bytes, fragments: int) -> None:
    if fragments == 1:
        frames = frame(TEXT, payload, mask=b"mask")
    else:
        frames = frame(TEXT, payload[:1], fin=False) + frame(PING, b"") + frame(0, payload[1:])
    received = run_async(exchange(server, frames + frame(TEXT, b'{"t":"chart"}')))
    # the close frame is the last one
    assert received.endswith(b"\x88\x02" + struct.pack("!H", 1007)), received[-40:]
    wait_until(lambda: server.hub.stats.clients == 0)


@pytest.mark.parametrize("connections", [300, pytest.param(10_000, marks=pytest.mark.full)])
def test_no_frames_break_the_server(server: HubServer, connections: int) -> None:
    seed = 20_240_103
    source = random.Random(seed)

    def random_frames() -> bytes:
        frames = b""
        for _ in range(source.randrange(1, 6)):
            payload = source.choice((source.choice(PAYLOADS), source.randbytes(source.randrange(300))))
            frames += frame(
                source.choice(OPCODES),
                payload,
                fin=source.random() < 0.8,
                mask=source.randbytes(4),
                reserved=source.choice((0, 0, 0, 0, 0, 0, 0, 1, 4)),
                length=source.choice((None, None, None, None, None, None, 5, 70_000, 2**62)),
            )
        return frames if source.random() < 0.95 else source.randbytes(100)

    async def scenario() -> None:
        for _ in range(0, connections, 20):
            headers = [source.choice(ODD_HEADERS)] if source.random() < 0.1 else []
            await asyncio.gather(*(exchange(server, random_frames(), *headers) for _ in range(20)))

    print(f"seed {seed}")
    asyncio.run(scenario())
    wait_until(lambda: server.hub.stats.clients == 0)
    with connect_client(server.url) as client:
        while not client.messages_of("status"):
            client.receive()
