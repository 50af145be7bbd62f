"""Name resolution, connections and deadlines of targets."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tickerlake import clock

CONNECT_TIMEOUT_S: Final = 3.0
"""Covers a lost SYN packet, which is resent after a second."""

TOTAL_TIMEOUT_S: Final = 10.0
"""docs/notify.md promises it to receivers. A target has one connection: a slow response delays its queue."""


def _resolve(host: str, port: int) -> list[str]:
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in results))


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    return socket.create_connection((address, port), timeout_s)


@dataclass(frozen=True, slots=True)
class Network:
    """How targets connect, and how long that may take.

    Parameters
    ----------
    resolve
        ``(host, port)`` → addresses.
    connect
        ``(address, port, timeout_s)`` → a connected socket.
    tls_context
        Returns the TLS settings; by default, certificate and host name are verified.
    connect_timeout_s, total_timeout_s
        How long connecting and the entire delivery may take.
    """

    resolve: Callable[[str, int], list[str]] = _resolve
    connect: Callable[[str, int, float], socket.socket] = _connect
    tls_context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    total_timeout_s: float = TOTAL_TIMEOUT_S


class Deadline:
    """Shuts connections down when the time is over.

    Unlike a socket's timeout, it does not restart with every byte, so that a peer cannot stretch it.
    """

    def __init__(self, timeout_s: float) -> None:
        self._end_s = clock.monotonic_s() + timeout_s
        self._duplicates: list[socket.socket] = []
        self._timer = threading.Timer(timeout_s, self._expire)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self.has_passed = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        for duplicate in self._duplicates:
            duplicate.close()

    def add(self, connection: socket.socket) -> None:
        """Apply the deadline to a connection, even if it is later wrapped in TLS."""
        # wrapping a socket detaches its descriptor; a duplicate still refers to the connection
        duplicate = connection.dup()
        with self._lock:
            self._duplicates.append(duplicate)
            has_passed = self.has_passed
        if has_passed:
            _shutdown(duplicate)

    def remaining_s(self) -> float:
        """Return the remaining time; never 0, which would make a socket non-blocking."""
        return max(self._end_s - clock.monotonic_s(), 0.001)

    def _expire(self) -> None:
        with self._lock:
            self.has_passed = True
            duplicates = list(self._duplicates)
        for duplicate in duplicates:
            _shutdown(duplicate)


def _shutdown(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # the peer has already closed it
        return
