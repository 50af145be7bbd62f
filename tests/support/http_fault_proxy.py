"""An HTTP proxy that injects faults into uploads to an emulator, and into downloads from it."""

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections import deque
from urllib.parse import urlsplit

from support.http_server import QuietHandler, ServerThread

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class FaultProxy(ServerThread):
    """Forwards requests to ``upstream``; each injected fault applies to one upload or download.

    An upload is a POST to ``path`` or below whose first bytes contain ``body_marker``. A test that injects
    faults ends with ``assert proxy.pending == 0``.
    """

    def __init__(self, upstream: str, path: str = "/upload/") -> None:
        self.path = path
        self.body_marker = b""
        self._upstream = urlsplit(upstream).netloc
        self._faults: deque[tuple[str, int, int | None]] = deque()
        self._download_faults: deque[str] = deque()
        self._lock = threading.Lock()
        self.uploads = 0
        self.upload_times_s: list[float] = []
        """Arrival time of each upload."""
        self.delay_s = 0.0
        """Delay added to each upload."""
        self.blocked = threading.Semaphore(0)
        """Released when an upload has stalled, or its reply is held."""
        super().__init__(type("Handler", (_Handler,), {"owner": self}))
        self.url = self.origin

    @property
    def pending(self) -> int:
        """Number of injected faults that have not been triggered yet."""
        return len(self._faults) + len(self._download_faults)

    def pass_through(self, times: int = 1) -> None:
        """Forward the next uploads."""
        self._faults.extend([("pass", 0, None)] * times)

    def reply_with_status(self, status: int, times: int = 1, retry_after: int | None = None) -> None:
        """Reply to the next uploads with a status; they do not reach the store."""
        self._faults.extend([("reply", status, retry_after)] * times)

    def lose_reply(self, times: int = 1) -> None:
        """Forward the next uploads, and close the connection instead of replying."""
        self._faults.extend([("lose", 0, None)] * times)

    def reset_mid_body(self, times: int = 1) -> None:
        """Reset the connection in the middle of the next uploads' bodies."""
        self._faults.extend([("reset", 0, None)] * times)

    def stall(self, times: int = 1) -> None:
        """Receive the next uploads and never reply; they do not reach the store."""
        self._faults.extend([("stall", 0, None)] * times)

    def hold_reply(self, times: int = 1) -> None:
        """Forward the next uploads, and never reply."""
        self._faults.extend([("hold", 0, None)] * times)

    def forward_half(self, times: int = 1) -> None:
        """Forward half of the next uploads' bodies, and never reply."""
        self._faults.extend([("half", 0, None)] * times)

    def clear_faults(self) -> None:
        """Discard the pending faults."""
        with self._lock:
            self._faults.clear()
            self._download_faults.clear()

    def corrupt_download(self, times: int = 1) -> None:
        """Change the first byte of the next downloads."""
        self._download_faults.extend(["corrupt"] * times)

    def truncate_download(self, times: int = 1) -> None:
        """Close the connection after half of the next downloads."""
        self._download_faults.extend(["truncate"] * times)

    def next_download_fault(self) -> str:
        with self._lock:
            return self._download_faults.popleft() if self._download_faults else "pass"

    def next_fault(self) -> tuple[str, int, int | None]:
        with self._lock:
            self.uploads += 1
            self.upload_times_s.append(time.monotonic())
            return self._faults.popleft() if self._faults else ("pass", 0, None)

    def send_half(self, head: bytes, body: bytes) -> None:
        """Send an upload's head and half of its body, and wait until the store has closed the connection."""
        host, _, port = self._upstream.partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers)
            reply = connection.getresponse()
            reply.content = reply.read()  # type: ignore[attr-defined]
            return reply


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultProxy

    def _handle(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        # enough to contain the object's name
        body = self.rfile.read(min(length, max(length // 2, 300)))
        is_upload = (
            self.command == "POST"
            and self.path.startswith(self.owner.path)
            and self.owner.body_marker in body
        )
        fault, status, retry_after = self.owner.next_fault() if is_upload else ("pass", 0, None)
        if fault == "reset":
            # without lingering the client gets a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if fault == "half":
            head = f"{self.command} {self.path} HTTP/1.1\r\n{self.headers}".encode()
            self.owner.send_half(head, body)
            self.owner.blocked.release()
            self.owner.wait_for_stop()
            self.close_connection = True
            return
        body += self.rfile.read(length - len(body))
        if fault == "reply":
            self._send_error(status, retry_after)
            return
        if fault == "stall":
            self.owner.blocked.release()
            self.owner.wait_for_stop()
            self.close_connection = True
            return
        if is_upload and self.owner.delay_s:
            time.sleep(self.owner.delay_s)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        reply = self.owner.forward(self.command, self.path, headers, body)
        if fault in {"lose", "hold"}:
            self.close_connection = True
            if fault == "hold":
                self.owner.blocked.release()
                self.owner.wait_for_stop()
            return
        content: bytes = reply.content  # type: ignore[attr-defined]
        is_download = self.command == "GET" and "alt=media" in self.path
        download_fault = self.owner.next_download_fault() if is_download else "pass"
        if download_fault == "corrupt":
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if download_fault == "truncate":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def _send_error(self, status: int, retry_after: int | None) -> None:
        error = {"code": status, "message": f"injected {status}", "errors": [{"reason": "injected"}]}
        content = json.dumps({"error": error}).encode()
        self.send_response(status)
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._handle)
