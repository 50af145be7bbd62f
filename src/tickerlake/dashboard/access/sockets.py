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

from tickerlake.dashboard.access.guard import HEADER_BYTES_MAX
from tickerlake.dashboard.access.policy import SECURITY_HEADERS
from tickerlake.errors import UsageError

CONNECTIONS_MAX: Final = 1_000
_STEP_S: Final = 0.02
_BAD_REQUEST_HEADERS: Final = [
    *SECURITY_HEADERS.items(),
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "no-store"),
    ("connection", "close"),
]
_UNREAD: Final = (h11.IDLE, h11.SEND_BODY)


class Door:
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
        self, connections_max: int = CONNECTIONS_MAX, request_s: float = 10, stall_s: float = 30
    ) -> None:
        self.connections_max = min(connections_max, _descriptors_max() // 2)
        self.request_s = request_s
        self.stall_s = stall_s
        self.refused = 0
        self._open: set[_Connection] = set()
        self._handshakes: dict[int, asyncio.TimerHandle] = {}

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._open)

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
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, *_, address = min(found, key=lambda info: info[0] != socket.AF_INET)
            listener = _Listener(self, family)
        except OSError as error:
            raise UsageError(
                f"{host} is no address to serve: {error.strerror}.", "Choose another --host."
            ) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError as error:
            listener.close()
            raise UsageError(
                f"{host}, port {port}, cannot be served: {error.strerror}.",
                "Choose another --port or --host.",
            ) from error
        return listener

    def uvicorn_options(self) -> dict[str, Any]:
        """Return what ``uvicorn.Config`` needs for the limits to hold."""
        return {
            "http": _protocol_class(self),
            "loop": "asyncio",
            "ws": "websockets-sansio",
            "ws_per_message_deflate": False,
            "ws_max_size": 8 * 1024,
            "h11_max_incomplete_event_size": HEADER_BYTES_MAX,
            "timeout_keep_alive": 5,
            # the guard reads X-Forwarded-For, and only if told so
            "proxy_headers": False,
            "server_header": False,
        }

    def has_room(self) -> bool:
        """Whether another connection may open."""
        return len(self._open) < self.connections_max

    async def close(self, patience_s: float = 2.0) -> None:
        """Hang up on all who are still there, and wait until their connections are closed."""
        for _ in range(int(patience_s / _STEP_S)):
            if not self._open:
                return
            for connection in list(self._open):
                connection.hang_up()
            await asyncio.sleep(_STEP_S)

    def enter(self, connection: "_Connection") -> None:
        """Count a connection, and give it its time for the handshake."""
        self._open.add(connection)
        self._handshakes[connection.fileno()] = asyncio.get_running_loop().call_later(
            self.request_s, connection.hang_up
        )

    def has_spoken(self, descriptor: int) -> None:
        """Note that a connection's handshake, if it has one, is done."""
        handshake = self._handshakes.pop(descriptor, None)
        if handshake is not None:
            handshake.cancel()

    def leave(self, connection: "_Connection") -> None:
        """Count a connection no longer; its descriptor is still its own."""
        self.has_spoken(connection.fileno())
        self._open.discard(connection)


class _Listener(socket.socket):
    def __init__(self, door: Door, family: int) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._door = door

    def accept(self) -> tuple[socket.socket, Any]:
        plain, address = super().accept()
        if not self._door.has_room():
            plain.close()
            self._door.refused += 1
            # for asyncio: there is none to take, look again
            raise ConnectionAbortedError
        return _Connection(self._door, plain), address


class _Connection(socket.socket):
    def __init__(self, door: Door, plain: socket.socket) -> None:
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())
        self._door = door
        door.enter(self)

    def close(self) -> None:
        self._door.leave(self)
        super().close()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)


def _protocol_class(door: Door) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """uvicorn's own, with a time for each request to arrive and for each answer to be read."""

        request_timer: asyncio.TimerHandle | None = None
        stall_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            door.has_spoken(transport.get_extra_info("socket").fileno())
            super().connection_made(transport)
            self.request_timer = self.loop.call_later(door.request_s, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.transport.get_protocol() is not self or self.conn.their_state not in _UNREAD:
                self._request_arrived()
            elif self.request_timer is None:
                self.request_timer = self.loop.call_later(door.request_s, self.transport.abort)

        def _request_arrived(self) -> None:
            if self.request_timer is not None:
                self.request_timer.cancel()
                self.request_timer = None

        def _answer_moves(self) -> None:
            if self.stall_timer is not None:
                self.stall_timer.cancel()
                self.stall_timer = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_answer()

        def _watch_answer(self, unread: int | None = None) -> None:
            # a large answer may take long on a slow line, as long as it gets on
            left = self.transport.get_write_buffer_size()
            if left == unread:
                self.transport.abort()
            else:
                self.stall_timer = self.loop.call_later(door.stall_s, self._watch_answer, left)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._answer_moves()

        def connection_lost(self, exc: Exception | None) -> None:
            self._request_arrived()
            self._answer_moves()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                answer = h11.Response(status_code=400, headers=_BAD_REQUEST_HEADERS)
                parts = (answer, h11.Data(data=msg.encode()), h11.EndOfMessage())
                self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
            self.transport.close()

    return Protocol


def _descriptors_max() -> int:
    try:
        import resource
    except ImportError:
        return 2 * CONNECTIONS_MAX
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2 * CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else soft
