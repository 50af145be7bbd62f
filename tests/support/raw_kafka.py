"""Writes messages by Kafka's protocol alone: a broker may hold what client libraries refuse to send."""

import socket
import struct
from collections.abc import Sequence

import google_crc32c

RawHeaders = Sequence[tuple[bytes, bytes | None]]
RawRecord = tuple[bytes | None, bytes | None, RawHeaders]
"""Key, value and headers; the names of the headers may be any bytes."""

_PRODUCE, _VERSION, _CORRELATION_ID = 0, 3, 1
_TIMEOUT_MS = 10_000


def produce_raw(
    bootstrap_servers: str, topic: str, records: Sequence[RawRecord], timestamp_ms: int = 1_700_000_000_000
) -> None:
    """Write records to partition 0 of a topic as one batch; raise if the broker refuses it.

    The formats are those of the protocol guide: Produce request, version 3, and record batch, version 2.
    """
    batch = _batch(records, timestamp_ms)
    request = b"".join(
        [
            struct.pack(">hhi", _PRODUCE, _VERSION, _CORRELATION_ID),
            _string(b"raw"),
            struct.pack(">hhi", -1, -1, _TIMEOUT_MS),  # no transaction; acknowledged by all replicas
            struct.pack(">i", 1) + _string(topic.encode()),
            struct.pack(">iii", 1, 0, len(batch)) + batch,
        ]
    )
    host, _, port = bootstrap_servers.partition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_MS / 1000) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        reply = connection.makefile("rb")
        body = reply.read(struct.unpack(">i", reply.read(4))[0])
    # correlation id, topics, name of the topic, partitions, partition, error code
    (error_code,) = struct.unpack_from(">h", body, 8 + 2 + len(topic) + 8)
    assert error_code == 0, f"the broker refused the batch: error {error_code}"


def _batch(records: Sequence[RawRecord], timestamp_ms: int) -> bytes:
    encoded = b"".join(_record(number, *record) for number, record in enumerate(records))
    count = len(records)
    # attributes, last offset delta, first and last timestamp, no producer
    head = struct.pack(">hiqqqhii", 0, count - 1, timestamp_ms, timestamp_ms, -1, -1, -1, count)
    checked = head + encoded
    body = struct.pack(">ibI", -1, 2, google_crc32c.value(checked)) + checked
    return struct.pack(">qi", 0, len(body)) + body


def _record(number: int, key: bytes | None, value: bytes | None, headers: RawHeaders) -> bytes:
    body = b"\0" + _varint(0) + _varint(number) + _optional(key) + _optional(value) + _varint(len(headers))
    for name, header_value in headers:
        body += _varint(len(name)) + name + _optional(header_value)
    return _varint(len(body)) + body


def _string(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _optional(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    rest = (number << 1 ^ number >> 63) & (1 << 64) - 1
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*encoded, rest])
