"""Connection limits below the application: how many, and how long a request may take to arrive.

uvicorn limits idle connections between requests (``timeout_keep_alive``) and the size of incomplete headers
(``h11_max_incomplete_event_size``). It waits indefinitely for a TLS handshake's first byte (asyncio: a
minute), for the rest of a request, and for a client to read a response; and it does not count a connection
before the first byte arrives.
"""

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode
from websockets.protocol import State

from tickerlake.dashboard.access.middleware import MAX_HEADER_BYTES
from tickerlake.dashboard.access.policy import SECURITY_HEADERS
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.dashboard.access.rate_limiter import MAX_CONNECTIONS_PER_CLIENT, client_key
from tickerlake.errors import UsageError
from tickerlake.ports import port_user

MAX_CONNECTIONS: Final = 1_000
"""A browser opens about six, so the 200 clients of the hub fit, with room for programs."""
_MAX_REFUSALS: Final = 1_000
"""In a row, before other events are handled; they take some milliseconds."""
_CLOSE_POLL_S: Final = 0.02
"""How often `Listener.close` checks its connections: short against its grace period."""
_BAD_REQUEST_HEADERS: Final = [
    *SECURITY_HEADERS.items(),
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "no-store"),
    ("connection", "close"),
]
_RECEIVING_STATES: Final = (h11.IDLE, h11.SEND_BODY)


class PortInUse(UsageError):
    """Another program listens on the port."""


class Listener:
    """The listening side of one server.

    Parameters
    ----------
    max_connections
        Limit of open connections; further ones are closed immediately. At most half of the file descriptors
        that the process may open; the rest is for files and other sockets.
    max_connections_per_client
        Limit of open connections from one address, or from one /64 network of IPv6.
    proxies
        Trusted proxies. Their connections are limited in total only; `AccessMiddleware` limits what they
        forward for each client.
    request_timeout_s
        Time from the connection, or from the first byte of a later request, to the request's last byte.
    stall_timeout_s
        Time within which a client must read some of a response.
    """

    def __init__(
        self,
        max_connections: int = MAX_CONNECTIONS,
        max_connections_per_client: int = MAX_CONNECTIONS_PER_CLIENT,
        proxies: TrustedProxies | None = None,
        *,
        request_timeout_s: float = 10,
        stall_timeout_s: float = 30,
    ) -> None:
        self.max_connections = min(max_connections, _max_descriptors() // 2)
        self.max_connections_per_client = max_connections_per_client
        self.request_timeout_s = request_timeout_s
        self.stall_timeout_s = stall_timeout_s
        self.refused = 0
        self._proxies = proxies or TrustedProxies()
        self._connections: set[_ClientSocket] = set()
        self._connections_by_client: Counter[str] = Counter()
        self._handshake_timers: dict[int, asyncio.TimerHandle] = {}

    @property
    def connection_count(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    def bind(self, host: str, port: int) -> socket.socket:
        """Bind an address and return the socket for ``uvicorn.Server.serve(sockets=[…])``.

        Parameters
        ----------
        host
            Address or name; a name's first IPv4 address is preferred.
        port
            0 for any free port.

        Raises
        ------
        PortInUse
            If another program listens on the port.
        UsageError
            If the address cannot be bound.
        """
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, *_, address = min(addresses, key=lambda info: info[0] != socket.AF_INET)
            sock = _ListeningSocket(self, family)
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {host}: {error.strerror}.", "Choose another --host."
            ) from error
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(
                    f"Port {port} is in use by {port_user(port)}.", "Stop it, or choose another --port."
                ) from error
            raise UsageError(
                f"Cannot listen on {host}, port {port}: {error.strerror}.",
                "Choose another --port or --host.",
            ) from error
        return sock

    def uvicorn_options(self) -> dict[str, Any]:
        """Return the options of ``uvicorn.Config`` that enforce the limits."""
        return {
            "http": _protocol_class(self),
            "loop": "asyncio",
            "ws": _WebSocketProtocol,
            "ws_per_message_deflate": False,
            "ws_max_size": 8 * 1024,
            "h11_max_incomplete_event_size": MAX_HEADER_BYTES,
            "timeout_keep_alive": 5,
            # `AccessMiddleware` reads X-Forwarded-For itself, and only of trusted proxies
            "proxy_headers": False,
            "server_header": False,
        }

    def admits(self, address: str) -> bool:
        """Whether another connection from an address may open."""
        if len(self._connections) >= self.max_connections:
            return False
        count = self._connections_by_client[client_key(address)]
        return count < self.max_connections_per_client or self._proxies.trusts(address)

    async def close(self, grace_s: float = 2.0) -> None:
        """Shut down all open connections, and wait until they are closed."""
        for _ in range(int(grace_s / _CLOSE_POLL_S)):
            if not self._connections:
                return
            for connection in list(self._connections):
                connection.disconnect()
            await asyncio.sleep(_CLOSE_POLL_S)

    def register(self, connection: "_ClientSocket") -> None:
        """Count a connection and start the timeout of its handshake."""
        self._connections.add(connection)
        self._connections_by_client[connection.client] += 1
        self._handshake_timers[connection.fileno()] = asyncio.get_running_loop().call_later(
            self.request_timeout_s, connection.disconnect
        )

    def finish_handshake(self, descriptor: int) -> None:
        """Stop the handshake timeout of a connection."""
        handshake = self._handshake_timers.pop(descriptor, None)
        if handshake is not None:
            handshake.cancel()

    def unregister(self, connection: "_ClientSocket") -> None:
        """Stop counting a connection, before its descriptor is closed."""
        self.finish_handshake(connection.fileno())
        if connection in self._connections:
            self._connections.remove(connection)
            self._connections_by_client[connection.client] -= 1
            if not self._connections_by_client[connection.client]:
                del self._connections_by_client[connection.client]


class _ListeningSocket(socket.socket):
    def __init__(self, listener: Listener, family: int) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._listener = listener

    def accept(self) -> tuple[socket.socket, Any]:
        # one at a time, a flood of connections would fill the queue faster than the event loop empties it
        for _ in range(_MAX_REFUSALS):
            sock, address = super().accept()
            if self._listener.admits(str(address[0])):
                return _ClientSocket(self._listener, sock, str(address[0])), address
            sock.close()
            self._listener.refused += 1
        # tells asyncio that there is nothing to accept: it polls again
        raise ConnectionAbortedError


class _ClientSocket(socket.socket):
    def __init__(self, listener: Listener, sock: socket.socket, address: str) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.client = client_key(address)
        self._listener = listener
        listener.register(self)

    def close(self) -> None:
        self._listener.unregister(self)
        super().close()

    def disconnect(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which logs a traceback for a text that is not UTF-8."""

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            # otherwise a close frame arrived right behind it, and is handled next
            if self.conn.state is State.OPEN:
                self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _protocol_class(listener: Listener) -> type[H11Protocol]:
    class Protocol(H11Protocol):
        """uvicorn's protocol, with timeouts for receiving a request and for sending a response."""

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
            # a large response may take long on a slow connection, as long as it makes progress
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
