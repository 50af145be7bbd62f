"""The oracle: compares the lake with Kafka, reading both without the code under test."""

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

PartitionOffset = tuple[int, int]
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
    by_offset = {}
    for file in (lake / "rejects" / topic).glob("partition=*/*.json"):
        reject = json.loads(file.read_bytes())
        number = int(file.parent.name.removeprefix("partition="))
        by_offset[number, reject["offset"]] = base64.b64decode(reject["value_base64"])
    return by_offset


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
    stored, rejected = read_rows(lake, topic), read_rejects(lake, topic)
    changed = [
        key for key, (row, *_) in stored.items() if key in expected and not _row_matches(row, expected[key])
    ]
    changed += [key for key, raw in rejected.items() if key in expected and raw != expected[key].value()]
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
    if row["kafka_timestamp_ms"] != message.timestamp()[1]:
        return False
    value = message.value()
    if value is None:
        return bool(row.get("kafka_tombstone"))
    document = json.loads(value)
    # fields without a column in a Parquet file are in `extra`
    extra = row.get("extra")
    fields = {**(json.loads(extra) if isinstance(extra, str) else extra or {}), **row}
    if not isinstance(document, dict):
        return _value_matches(fields.get("value"), document)
    return all(
        _value_matches(fields.get(name), value)
        for name, value in document.items()
        if not name.startswith("kafka_")
    )


def _value_matches(stored: object, value: object) -> bool:
    # a column of mixed types holds its values as JSON text
    return stored == value or (
        isinstance(stored, str) and not isinstance(value, str) and json.loads(stored) == value
    )


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
