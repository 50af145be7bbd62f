"""The oracle: compares the lake with Kafka, reading both without the code under test."""

import base64
import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

PartitionOffset = tuple[int, int]
_REJECTS = re.compile(r"(\d{20})-(\d{20})\.ndjson\.gz")
_SEGMENT = re.compile(r"\d{20}\.(ndjson\.gz|parquet|json)")


def read_messages(servers: str, topic: str) -> list[Message]:
    """Return all committed messages of a topic."""
    client = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "oracle",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    metadata = client.list_topics(topic, timeout=10).topics[topic]
    client.assign([TopicPartition(topic, number, 0) for number in metadata.partitions])
    result: list[Message] = []
    finished: set[int | None] = set()
    while len(finished) < len(metadata.partitions):
        for message in client.consume(5000, 0.2):
            error = message.error()
            if error is None:
                result.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                finished.add(message.partition())
    client.close()
    return result


def read_rows(lake: Path, topic: str) -> dict[PartitionOffset, list[dict[str, Any]]]:
    """Return the rows of a local lake by (partition, offset); more than one row is a duplicate."""
    by_offset: dict[PartitionOffset, list[dict[str, Any]]] = {}
    for file in sorted((lake / "raw" / topic).glob("partition=*/*")):
        if not _SEGMENT.fullmatch(file.name):
            continue
        number = int(file.parent.name.removeprefix("partition="))
        for row in _read_segment(file):
            by_offset.setdefault((number, row["kafka_offset"]), []).append(row)
    return by_offset


def _read_segment(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        query = duckdb.execute("select * from read_parquet(?)", [str(file)])
        names = [column[0] for column in query.description or []]
        records = [dict(zip(names, values, strict=True)) for values in query.fetchall()]
        return [{name: value for name, value in row.items() if value is not None} for row in records]
    data = file.read_bytes()
    lines = gzip.decompress(data) if file.suffix == ".gz" else data
    return [json.loads(line) for line in lines.splitlines()]


def read_rejects(lake: Path, topic: str) -> dict[PartitionOffset, bytes]:
    """Return the bytes of rejected records by (partition, offset)."""
    return {
        place: base64.b64decode(reject["value_base64"])
        for place, reject in read_reject_documents(lake, topic).items()
    }


def read_reject_documents(lake: Path, topic: str) -> dict[PartitionOffset, dict[str, Any]]:
    """Return the rejected records as they are stored, by (partition, offset)."""
    by_offset: dict[PartitionOffset, dict[str, Any]] = {}
    for folder in (lake / "rejects" / topic).glob("partition=*"):
        number = int(folder.name.removeprefix("partition="))
        segments = {file.name: file.read_bytes() for file in (lake / "raw" / topic / folder.name).glob("*")}
        objects = {file.name: file.read_bytes() for file in folder.glob("*")}
        for reject in select_rejects(segments, objects):
            assert (number, reject["offset"]) not in by_offset, f"{reject['offset']} is rejected twice"
            by_offset[number, reject["offset"]] = reject
    return by_offset


def select_rejects(segments: Mapping[str, bytes], objects: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Yield the rejects of a partition that count: those of segments of the chain, and single ones.

    Parameters
    ----------
    segments, objects
        Contents of its segments and of its objects with rejects, by file name.
    """
    ranges = {_segment_range(name, data) for name, data in segments.items() if _SEGMENT.fullmatch(name)}
    for name, data in sorted(objects.items()):
        if name.endswith(".json"):
            yield json.loads(data)
        elif match := _REJECTS.fullmatch(name):
            rejects = [json.loads(line) for line in gzip.decompress(data).splitlines()]
            if (int(match[1]), int(match[2])) in ranges:
                yield from rejects


def _segment_range(name: str, data: bytes) -> tuple[int, int]:
    if name.endswith(".parquet"):
        meta = json.loads(pl.read_parquet_metadata(io.BytesIO(data))["tickerlake"])
    elif name.endswith(".gz"):
        meta = json.loads(data[16 : 12 + int.from_bytes(data[10:12], "little")])
    else:
        return int(name[:20]), int(name[:20]) + 1
    return meta["position"], meta["next_position"]


@dataclass(frozen=True)
class Verdict:
    """Differences between Kafka and a lake; a record is stored as a row or as a reject.

    Attributes
    ----------
    lost
        Records in Kafka that are not in the lake.
    duplicated
        Records that are in the lake more than once.
    changed
        Records with different content in the lake.
    unexpected
        Offsets in the lake that are not in Kafka.
    out_of_order
        Segments with an offset that is not above all previous ones.
    """

    sent: int
    stored: int
    rejected: int
    lost: list[PartitionOffset]
    duplicated: list[PartitionOffset]
    changed: list[PartitionOffset]
    unexpected: list[PartitionOffset]
    out_of_order: list[str]

    @property
    def is_sound(self) -> bool:
        """Whether each record is stored once, unchanged and in order."""
        return not (self.lost or self.duplicated or self.changed or self.unexpected or self.out_of_order)


def compare_with_kafka(
    servers: str, topic: str, lake: Path, sent: Iterable[Message] | None = None
) -> Verdict:
    """Compare a lake with what Kafka holds, or with messages read earlier."""
    expected_messages = read_messages(servers, topic) if sent is None else sent
    expected = {(m.partition() or 0, m.offset() or 0): m for m in expected_messages}
    stored, rejected = read_rows(lake, topic), read_reject_documents(lake, topic)
    changed = [
        key for key, (row, *_) in stored.items() if key in expected and not _row_matches(row, expected[key])
    ]
    changed += [
        place
        for place, reject in rejected.items()
        if place in expected and not _reject_matches(reject, expected[place])
    ]
    present = stored.keys() | rejected.keys()
    return Verdict(
        sent=len(expected),
        stored=len(stored),
        rejected=len(rejected),
        lost=sorted(expected.keys() - present),
        duplicated=[key for key, rows in stored.items() if len(rows) > 1 or key in rejected],
        changed=changed,
        unexpected=sorted(present - expected.keys()),
        out_of_order=_out_of_order_segments(lake, topic),
    )


def _row_matches(row: dict[str, Any], message: Message) -> bool:
    if row["kafka_timestamp_ms"] != message.timestamp()[1] or not _headers_match(row, message):
        return False
    value = message.value()
    if value is None:
        return bool(row.get("kafka_tombstone")) and _key_matches(row, message)
    # decimal columns hold numbers exactly
    return any(_document_matches(row, message, value, number) for number in (float, Decimal))


def _document_matches(
    row: dict[str, Any], message: Message, value: bytes, parse_float: Callable[[str], Any]
) -> bool:
    document = json.loads(value, parse_float=parse_float)
    # fields without a column in a Parquet file, and those that a column cannot hold, are in `extra`
    extra = row.get("extra")
    extra = _parse(extra, parse_float) if isinstance(extra, str) else extra
    extra = extra if isinstance(extra, dict) else {}
    if not _key_matches({"instrument_id": extra.get("instrument_id"), **row}, message):
        return False
    if not isinstance(document, dict):
        return any(_value_matches(fields.get("value"), document) for fields in (row, extra))
    members = dict(document)
    if isinstance(members.get("extra"), dict):
        members |= members.pop("extra")
    return all(
        any(_value_matches(fields.get(name), value) for fields in (row, extra))
        for name, value in members.items()
    )


def _parse(text: str, parse_float: Callable[[str], Any] = float) -> object:
    try:
        return json.loads(text, parse_float=parse_float)
    except ValueError:
        return _NOT_JSON


_NOT_JSON = object()


def _key_matches(row: dict[str, Any], message: Message) -> bool:
    key: Any = message.key()
    if "kafka_key_base64" in row:
        return bool(base64.b64decode(row["kafka_key_base64"]) == key)
    text = row.get("kafka_key", row.get("instrument_id"))
    return key is None if text is None else key in {None, str(text).encode(), str(_parse(str(text))).encode()}


def _headers_match(row: dict[str, Any], message: Message) -> bool:
    stored = row.get("kafka_headers")
    headers = json.loads(stored) if isinstance(stored, str) else stored or []
    return [_decode_header(each) for each in headers] == list(message.headers() or [])


def _decode_header(header: dict[str, str | None]) -> tuple[str, bytes | None]:
    value, in_base64 = header.get("value"), header.get("value_base64")
    if in_base64 is not None:
        return str(header["key"]), base64.b64decode(in_base64)
    return str(header["key"]), None if value is None else value.encode()


def _reject_matches(reject: dict[str, Any], message: Message) -> bool:
    key = reject["key_base64"]
    return (
        base64.b64decode(reject["value_base64"]) == message.value()
        and (None if key is None else base64.b64decode(key)) == message.key()
        and reject["timestamp_ms"] == message.timestamp()[1]
        and [_decode_header(each) for each in reject["headers"] or []] == list(message.headers() or [])
    )


def _value_matches(stored: object, value: object) -> bool:
    # a column of mixed types holds its values as JSON text
    if stored == value:
        return True
    if isinstance(stored, date):
        return stored.isoformat() == value
    return isinstance(stored, str) and value in (_parse(stored), _parse(stored, Decimal))


def _out_of_order_segments(lake: Path, topic: str) -> list[str]:
    segments = []
    last_offsets: dict[Path, int] = {}
    for file in sorted((lake / "raw" / topic).glob("partition=*/*")):
        if not _SEGMENT.fullmatch(file.name):
            continue
        offsets = [row["kafka_offset"] for row in _read_segment(file)]
        if any(b <= a for a, b in pairwise([last_offsets.get(file.parent, -1), *offsets])):
            segments.append(str(file.relative_to(lake)))
        last_offsets[file.parent] = max([last_offsets.get(file.parent, -1), *offsets])
    return segments


def assert_stored_once(servers: str, topic: str, lake: Path) -> int:
    """Assert that each message is stored once, unchanged and in order; return their number."""
    result = compare_with_kafka(servers, topic, lake)
    assert result.is_sound, result
    return result.sent


def count_by_field(servers: str, topic: str, field: str) -> Counter[Any]:
    """Count the committed messages by the value of a field."""
    return Counter(json.loads(message.value() or b"")[field] for message in read_messages(servers, topic))
