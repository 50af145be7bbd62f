"""A proxy in front of a Kafka broker that loses, truncates and changes its replies.

It parses only this of Kafka's protocol: a frame is a length of four bytes and a body. A request begins with
its API key and version (two bytes each) and a correlation id (four bytes), with which its reply begins.
"""

import socket
import struct
import threading
from collections import Counter, defaultdict, deque
from contextlib import suppress
from types import TracebackType
from typing import Self

# https://kafka.apache.org/protocol#protocol_api_keys
API_NAMES = {
    0: "Produce",
    1: "Fetch",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    11: "JoinGroup",
    12: "Heartbeat",
    14: "SyncGroup",
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
}


class KafkaProxy:
    """Forwards connections to the broker at ``port``, which must advertise ``address``.

    Attributes
    ----------
    triggered
        Number of faults per API.
    hides_brokers
        While set, replies to Metadata contain no brokers, like those of a broker that has just restarted.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._faults: dict[str, deque[tuple[str, int]]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.triggered: Counter[str] = Counter()
        self.hides_brokers = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # unblocks the thread in accept(), which close alone does not
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._disconnect(*self._connections)

    @property
    def pending(self) -> int:
        """Number of injected faults that have not been triggered yet."""
        return sum(map(len, self._faults.values()))

    def reset(self) -> None:
        """Discard pending faults, and reset the counts."""
        with self._lock:
            self._faults.clear()
            self.triggered.clear()
            self.hides_brokers = False

    def lose_reply(self, api: str, times: int = 1) -> None:
        """Forward the next requests of an API, and close the connection instead of replying."""
        self._faults[api].extend([("lose", 0)] * times)

    def truncate_reply(self, api: str, times: int = 1) -> None:
        """Close the connection in the middle of the next replies of an API."""
        self._faults[api].extend([("truncate", 0)] * times)

    def reply_with_error(self, api: str, code: int, times: int = 1) -> None:
        """Forward the next requests of an API, and replace the error code of their replies."""
        self._faults[api].extend([("error", code)] * times)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                try:
                    broker = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    client.close()
                    continue
                with self._lock:
                    self._connections |= {client, broker}
                in_flight: dict[int, tuple[str, int]] = {}
                for forward in (self._forward_requests, self._forward_replies):
                    threading.Thread(target=forward, args=(client, broker, in_flight), daemon=True).start()

    def _forward_requests(
        self, client: socket.socket, broker: socket.socket, in_flight: dict[int, tuple[str, int]]
    ) -> None:
        with suppress(OSError):
            while body := _read_frame(client):
                api_key, version, correlation_id = struct.unpack_from(">hhi", body)
                if api_key in API_NAMES:
                    in_flight[correlation_id] = (API_NAMES[api_key], version)
                broker.sendall(_frame(body))
        self._disconnect(client, broker)

    def _forward_replies(
        self, client: socket.socket, broker: socket.socket, in_flight: dict[int, tuple[str, int]]
    ) -> None:
        with suppress(OSError):
            while body := _read_frame(broker):
                (correlation_id,) = struct.unpack_from(">i", body)
                api, version = in_flight.pop(correlation_id, ("", 0))
                fault, code = self._next_fault(api)
                if fault == "error":
                    body = _with_error_code(body, api, version, code)
                elif fault == "empty":
                    body = _without_brokers(body, version)
                elif fault == "truncate":
                    client.sendall(_frame(body)[: 4 + len(body) // 2])
                if fault in {"truncate", "lose"}:
                    break
                client.sendall(_frame(body))
        self._disconnect(client, broker)

    def _next_fault(self, api: str) -> tuple[str, int]:
        with self._lock:
            if api == "Metadata" and self.hides_brokers:
                fault = ("empty", 0)
            elif self._faults.get(api):
                fault = self._faults[api].popleft()
            else:
                return "pass", 0
            self.triggered[api] += 1
            return fault

    def _disconnect(self, *connections: socket.socket) -> None:
        with self._lock:
            for each in connections:
                if each in self._connections:
                    self._connections.discard(each)
                    _shut_down(each)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        # unblocks a thread in recv(), which close alone does not
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def _read_frame(connection: socket.socket) -> bytes:
    """Return the body of the next frame; empty at the end of the stream."""
    header = _read_exactly(connection, 4)
    return _read_exactly(connection, struct.unpack(">i", header)[0]) if header else b""


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        chunk = connection.recv(min(count - len(parts), 1 << 20))
        if not chunk:
            return b""
        parts += chunk
    return bytes(parts)


def _with_error_code(body: bytes, api: str, version: int, code: int) -> bytes:
    """Set the error code of each partition in a reply to OffsetCommit.

    Layout since version 8: correlation id, tags, throttle time, topics (name, partitions (index, error code,
    tags), tags), tags. Counts and lengths are stored plus one; there are no tags.
    """
    assert api == "OffsetCommit", f"the error codes of {api} are not supported"
    assert 8 <= version <= 9, f"version {version} of {api} has another layout"
    changed = bytearray(body)
    position = 4 + 1 + 4
    topics, position = body[position] - 1, position + 1
    for _ in range(topics):
        position += body[position]
        partitions, position = body[position] - 1, position + 1
        for _ in range(partitions):
            struct.pack_into(">h", changed, position + 4, code)
            position += 4 + 2 + 1
        position += 1
    return bytes(changed)


def _without_brokers(body: bytes, version: int) -> bytes:
    """Remove the brokers from a reply to Metadata.

    Layout since version 9: correlation id, tags, throttle time, brokers (id, host, port, rack, tags), and
    further fields.
    """
    assert version >= 9, f"version {version} of Metadata has another layout"
    first = position = 4 + 1 + 4
    brokers, position = body[position] - 1, position + 1
    for _ in range(brokers):
        position += 4
        position += body[position]  # the host
        position += 4
        position += max(body[position], 1)  # the rack, which may be null
        position += 1
    return body[:first] + b"\x01" + body[position:]
