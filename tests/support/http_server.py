"""An HTTP server in a thread: the base of proxies and receivers."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class ServerThread:
    """Serves HTTP on a free local port within a ``with`` block."""

    def __init__(self, handler: type["QuietHandler"], tls: ssl.SSLContext | None = None) -> None:
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.tls = tls
        self.port: int = self._server.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for_stop(self) -> None:
        """Block a handler until the server stops."""
        self._stopped.wait()


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that does not log."""

    def log_message(self, *args: Any, **kwargs: Any) -> None:
        """Do not log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            return super().finish_request(request, client_address)
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            return super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: clients that disconnect and broken connections are expected."""
