"""Limits on connections, below what the app sees: how many, and how long a request may take to arrive.

uvicorn bounds idle connections between requests (``timeout_keep_alive``) and the bytes of unfinished headers
(``h11_max_incomplete_event_size``). It waits for ever for a TLS handshake's first byte (asyncio: a minute),
for the rest of a request, and for a client to read its answer; and it counts no connection before it speaks.
"""

import asyncio
import contextlib
import socket
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tickerlake.dashboard.access.middleware import MAX_HEADER_BYTES
from tickerlake.dashboard.access.policy import SECURITY_HEADERS
from tickerlake.errors import UsageError

MAX_CONNECTIONS: Final = 1_000
_POLL_S: Final = 0.02
_BAD_REQUEST_HEADERS: Final = [
    *SECURITY_HEADERS.items(),
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "no-store"),
    ("connection", "close"),
]
_RECEIVING_STATES: Final = (h11.IDLE, h11.SEND_BODY)


class Listener:
    """The listening side of one server.

    Parameters
    ----------
    connections_max
        Open connections; more are closed at once. Half of the descriptors that the process may open are left
        to others in any case.
    request_s
        Seconds from the connection, or from the first byte of a later request, to the last one.
    stall_s
        Seconds in which a client must read some of an answer.
    """

    def __init__(
        self,
        max_connections: int = MAX_CONNECTIONS,
        request_timeout_s: float = 10,
        stall_timeout_s: float = 30,
    ) -> None:
        self.max_connections = min(max_connections, _max_descriptors() // 2)
        self.request_timeout_s = request_timeout_s
        self.stall_timeout_s = stall_timeout_s
        self.refused = 0
        self._connections: set[_ClientSocket] = set()
        self._handshake_timers: dict[int, asyncio.TimerHandle] = {}

    @property
    def connection_count(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    def bind(self, host: str, port: int) -> socket.socket:
        """Bind an address, to be given to ``uvicorn.Server.serve(sockets=[…])``.

        Parameters
        ----------
        host
            Address or name; of a name's addresses the first IPv4 one.
        port
            0 for any that is free.

        Raises
        ------
        UsageError
            If it cannot be bound.
        """
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, *_, address = min(addresses, key=lambda info: info[0] != socket.AF_INET)
            sock = _ListeningSocket(self, family)
        except OSError as error:
            raise UsageError(
                f"{host} is no address to serve: {error.strerror}.", "Choose another --host."
            ) from error
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError as error:
            sock.close()
            raise UsageError(
                f"{host}, port {port}, cannot be served: {error.strerror}.",
                "Choose another --port or --host.",
            ) from error
        return sock

    def uvicorn_options(self) -> dict[str, Any]:
        """Return what ``uvicorn.Config`` needs for the limits to hold."""
        return {
            "http": _protocol_class(self),
            "loop": "asyncio",
            "ws": "websockets-sansio",
            "ws_per_message_deflate": False,
            "ws_max_size": 8 * 1024,
            "h11_max_incomplete_event_size": MAX_HEADER_BYTES,
            "timeout_keep_alive": 5,
            # the guard reads X-Forwarded-For, and only if told so
            "proxy_headers": False,
            "server_header": False,
        }

    def has_capacity(self) -> bool:
        """Whether another connection may open."""
        return len(self._connections) < self.max_connections

    async def close(self, grace_s: float = 2.0) -> None:
        """Hang up on all who are still there, and wait until their connections are closed."""
        for _ in range(int(grace_s / _POLL_S)):
            if not self._connections:
                return
            for connection in list(self._connections):
                connection.disconnect()
            await asyncio.sleep(_POLL_S)

    def register(self, connection: "_ClientSocket") -> None:
        """Count a connection, and give it its time for the handshake."""
        self._connections.add(connection)
        self._handshake_timers[connection.fileno()] = asyncio.get_running_loop().call_later(
            self.request_timeout_s, connection.disconnect
        )

    def finish_handshake(self, descriptor: int) -> None:
        """Note that a connection's handshake, if it has one, is done."""
        handshake = self._handshake_timers.pop(descriptor, None)
        if handshake is not None:
            handshake.cancel()

    def unregister(self, connection: "_ClientSocket") -> None:
        """Count a connection no longer; its descriptor is still its own."""
        self.finish_handshake(connection.fileno())
        self._connections.discard(connection)


class _ListeningSocket(socket.socket):
    def __init__(self, listener: Listener, family: int) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._listener = listener

    def accept(self) -> tuple[socket.socket, Any]:
        sock, address = super().accept()
        if not self._listener.has_capacity():
            sock.close()
            self._listener.refused += 1
            # for asyncio: there is none to take, look again
            raise ConnectionAbortedError
        return _ClientSocket(self._listener, sock), address


class _ClientSocket(socket.socket):
    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self._listener = listener
        listener.register(self)

    def close(self) -> None:
        self._listener.unregister(self)
        super().close()

    def disconnect(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)


def _protocol_class(listener: Listener) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """uvicorn's own, with a time for each request to arrive and for each answer to be read."""

        request_timer: asyncio.TimerHandle | None = None
        stall_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            listener.finish_handshake(transport.get_extra_info("socket").fileno())
            super().connection_made(transport)
            self.request_timer = self.loop.call_later(listener.request_timeout_s, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.get_protocol() is not self or self.conn.their_state not in _RECEIVING_STATES:
                self._stop_request_timer()
            elif self.request_timer is None:
                self.request_timer = self.loop.call_later(listener.request_timeout_s, self.transport.abort)

        def _stop_request_timer(self) -> None:
            if self.request_timer is not None:
                self.request_timer.cancel()
                self.request_timer = None

        def _stop_stall_timer(self) -> None:
            if self.stall_timer is not None:
                self.stall_timer.cancel()
                self.stall_timer = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._check_write_progress()

        def _check_write_progress(self, last_unsent: int | None = None) -> None:
            # a large answer may take long on a slow line, as long as it gets on
            unsent = self.transport.get_write_buffer_size()
            if unsent == last_unsent:
                self.transport.abort()
            else:
                self.stall_timer = self.loop.call_later(
                    listener.stall_timeout_s, self._check_write_progress, unsent
                )

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_stall_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_request_timer()
            self._stop_stall_timer()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                answer = h11.Response(status_code=400, headers=_BAD_REQUEST_HEADERS)
                parts = (answer, h11.Data(data=msg.encode()), h11.EndOfMessage())
                self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
            self.transport.close()

    return Protocol


def _max_descriptors() -> int:
    try:
        import resource
    except ImportError:
        return 2 * MAX_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else soft
