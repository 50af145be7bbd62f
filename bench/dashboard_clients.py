"""A child: clients without a browser. They view forty rows, or read nothing.

It says how many bytes have come so far, on a line, for each line that it reads.
"""

import asyncio
import base64
import json
import os
import socket
import sys
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

ROWS: Final = 40
_RECONNECT_S: Final = 12.0
"""The server drops clients that read nothing for ten seconds; then they reconnect."""


class Clients:
    """Clients and the bytes that they have received."""

    def __init__(self, address: str) -> None:
        self.bytes = 0
        self.connected = 0
        self._address = address.replace("http", "ws", 1) + "live"

    async def receive(self) -> None:
        """Read everything."""
        async with connect(self._address, compression=None, max_size=None, proxy=None) as socket_:
            with suppress(ConnectionClosed):
                async for message in socket_:
                    self.bytes += len(message)
                    if isinstance(message, str) and message.startswith('{"t":"instruments"'):
                        await socket_.send(json.dumps({"t": "view", "ids": list(range(ROWS))}))
                        self.connected += 1

    async def stall(self) -> None:
        """Subscribe to everything and read nothing, repeatedly."""
        self.connected += 1
        while True:
            with _open_stalled_socket(self._address):
                await asyncio.sleep(_RECONNECT_S)


def _open_stalled_socket(address: str) -> socket.socket:
    """Perform the handshake by hand: a library would read."""
    parts = urlsplit(address)
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect((parts.hostname, parts.port))
    key = base64.b64encode(os.urandom(16)).decode()
    plain.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return plain


async def _run(address: str, count: int, mode: str) -> None:
    pages = Clients(address)
    tasks = [
        asyncio.create_task(pages.receive() if mode == "receive" else pages.stall()) for _ in range(count)
    ]
    while pages.connected < count:
        await asyncio.sleep(0.05)
        for task in tasks:
            if task.done():
                task.result()
    while await asyncio.to_thread(sys.stdin.readline):
        assert not any(task.done() for task in tasks), "a page was hung up on"
        print(pages.bytes, flush=True)
    for task in tasks:
        task.cancel()


def main() -> None:
    address, count, mode = sys.argv[1:]
    asyncio.run(_run(address, int(count), mode))


if __name__ == "__main__":
    main()
