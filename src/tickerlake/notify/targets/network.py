"""What targets use of the network, with a limit on everything."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from tickerlake import clock

CONNECT_TIMEOUT_S: Final = 3.0
TOTAL_TIMEOUT_S: Final = 10.0


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    return socket.create_connection((address, port), timeout_s)


@dataclass(frozen=True, slots=True)
class Network:
    """The ways out, and how long they may take.

    Parameters
    ----------
    resolve
        ``(host, port)`` → addresses.
    connect
        ``(address, port, timeout_s)`` → a connected socket.
    tls
        Makes the TLS settings; by default certificate and host name are verified.
    connect_s, total_s
        How long connecting and the whole delivery may take.
    """

    resolve: Callable[[str, int], list[str]] = _resolve
    connect: Callable[[str, int, float], socket.socket] = _connect
    tls_context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    total_timeout_s: float = TOTAL_TIMEOUT_S


class Deadline:
    """Cuts connections when the time is up, however slowly the other side talks.

    A socket's own timeout starts anew with every byte; this one does not.
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
        for twin in self._duplicates:
            twin.close()

    def add(self, connection: socket.socket) -> None:
        """Cut this connection too; TLS may be put over it later."""
        # TLS takes the socket's descriptor away: a twin still reaches the connection
        twin = connection.dup()
        with self._lock:
            self._duplicates.append(twin)
            has_passed = self.has_passed
        if has_passed:
            _shutdown(twin)

    def remaining_s(self) -> float:
        """Return how much time is left; never 0, which sockets take for "do not wait"."""
        return max(self._end_s - clock.monotonic_s(), 0.001)

    def _expire(self) -> None:
        with self._lock:
            self.has_passed = True
            twins = list(self._duplicates)
        for twin in twins:
            _shutdown(twin)


def _shutdown(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # the other side was quicker
        return
