"""A proxy before a Kafka broker that loses, cuts and changes its replies on demand.

It knows of Kafka's protocol what it needs: a frame is four bytes of length and a body; a request begins with
its kind and its version (two bytes each) and a number (four bytes) with which the reply to it begins.
"""

import socket
import struct
import threading
from collections import Counter, defaultdict, deque
from contextlib import suppress
from types import TracebackType
from typing import Self

# https://kafka.apache.org/protocol#protocol_api_keys
KINDS = {
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
    """Passes connections on to the broker at ``port``, which must advertise ``address``.

    Attributes
    ----------
    struck
        How many replies of each kind were spoilt.
    knows_no_broker
        While set, who asks for metadata is told that there is no broker, as by one that has just come back.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._faults: dict[str, deque[tuple[str, int]]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.struck: Counter[str] = Counter()
        self.knows_no_broker = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # who waits for a connection is woken by this, and not by close alone
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._hang_up(*self._open)

    @property
    def pending(self) -> int:
        """How many faults were asked for and did not happen yet."""
        return sum(map(len, self._faults.values()))

    def heal(self) -> None:
        """Forget the faults that did not happen yet, and those that did."""
        with self._lock:
            self._faults.clear()
            self.struck.clear()
            self.knows_no_broker = False

    def lose_reply(self, kind: str, times: int = 1) -> None:
        """Let the next requests of a kind reach the broker, and close the connection instead of answering."""
        self._faults[kind].extend([("lose", 0)] * times)

    def cut_reply(self, kind: str, times: int = 1) -> None:
        """Close the connection in the middle of the next replies of a kind."""
        self._faults[kind].extend([("cut", 0)] * times)

    def refuse(self, kind: str, code: int, times: int = 1) -> None:
        """Let the next requests of a kind reach the broker, and tell that they failed with an error code."""
        self._faults[kind].extend([("refuse", code)] * times)

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
                    self._open |= {client, broker}
                asked: dict[int, tuple[str, int]] = {}
                for work in (self._requests, self._replies):
                    threading.Thread(target=work, args=(client, broker, asked), daemon=True).start()

    def _requests(
        self, client: socket.socket, broker: socket.socket, asked: dict[int, tuple[str, int]]
    ) -> None:
        with suppress(OSError):
            while body := _read(client):
                kind, version, number = struct.unpack_from(">hhi", body)
                if kind in KINDS:
                    asked[number] = (KINDS[kind], version)
                broker.sendall(_frame(body))
        self._hang_up(client, broker)

    def _replies(
        self, client: socket.socket, broker: socket.socket, asked: dict[int, tuple[str, int]]
    ) -> None:
        with suppress(OSError):
            while body := _read(broker):
                (number,) = struct.unpack_from(">i", body)
                kind, version = asked.pop(number, ("", 0))
                how, code = self._next(kind)
                if how == "refuse":
                    body = _refused(body, kind, version, code)
                elif how == "empty":
                    body = _without_brokers(body, version)
                elif how == "cut":
                    client.sendall(_frame(body)[: 4 + len(body) // 2])
                if how in {"cut", "lose"}:
                    break
                client.sendall(_frame(body))
        self._hang_up(client, broker)

    def _next(self, kind: str) -> tuple[str, int]:
        with self._lock:
            if kind == "Metadata" and self.knows_no_broker:
                fault = ("empty", 0)
            elif self._faults.get(kind):
                fault = self._faults[kind].popleft()
            else:
                return "pass", 0
            self.struck[kind] += 1
            return fault

    def _hang_up(self, *connections: socket.socket) -> None:
        with self._lock:
            for each in connections:
                if each in self._open:
                    self._open.discard(each)
                    _end(each)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        # close alone would not wake who reads from it
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def _read(connection: socket.socket) -> bytes:
    """Return the body of the next frame, nothing at the end."""
    head = _exactly(connection, 4)
    return _exactly(connection, struct.unpack(">i", head)[0]) if head else b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        more = connection.recv(min(count - len(parts), 1 << 20))
        if not more:
            return b""
        parts += more
    return bytes(parts)


def _refused(body: bytes, kind: str, version: int, code: int) -> bytes:
    """Put an error code for each partition into a reply to OffsetCommit.

    Its layout, from version 8 on: number, tags, throttle time, topics (name, partitions (number, error,
    tags), tags), tags; counts and lengths are one more than what they count, tags are none.
    """
    assert kind == "OffsetCommit", f"how {kind} tells errors is not known here"
    assert 8 <= version <= 9, f"{kind} of version {version} is laid out in another way"
    changed = bytearray(body)
    place = 4 + 1 + 4
    topics, place = body[place] - 1, place + 1
    for _ in range(topics):
        place += body[place]
        partitions, place = body[place] - 1, place + 1
        for _ in range(partitions):
            struct.pack_into(">h", changed, place + 4, code)
            place += 4 + 2 + 1
        place += 1
    return bytes(changed)


def _without_brokers(body: bytes, version: int) -> bytes:
    """Take the brokers out of a reply to Metadata.

    Its layout, from version 9 on: number, tags, throttle time, brokers (number, host, port, rack, tags), and
    more.
    """
    assert version >= 9, f"Metadata of version {version} is laid out in another way"
    first = place = 4 + 1 + 4
    brokers, place = body[place] - 1, place + 1
    for _ in range(brokers):
        place += 4
        place += body[place]  # the host
        place += 4
        place += max(body[place], 1)  # the rack, which may be null
        place += 1
    return body[:first] + b"\x01" + body[place:]
