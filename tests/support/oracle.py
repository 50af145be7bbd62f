"""An independent judge: reads Kafka and the lake with plain tools, none of the code under test."""

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

Place = tuple[int, int]
_SEGMENT = re.compile(r"\d{20}\.(ndjson\.gz|parquet|json)")


def messages(servers: str, topic: str) -> list[Message]:
    """Every committed message of a topic."""
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
    about = client.list_topics(topic, timeout=10).topics[topic]
    client.assign([TopicPartition(topic, number, 0) for number in about.partitions])
    found: list[Message] = []
    ended: set[int | None] = set()
    while len(ended) < len(about.partitions):
        for message in client.consume(5000, 0.2):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
    client.close()
    return found


def rows(lake: Path, topic: str) -> dict[Place, list[dict[str, Any]]]:
    """Rows of a local lake by (partition, offset); a list longer than one is a double."""
    found: dict[Place, list[dict[str, Any]]] = {}
    for file in sorted((lake / "raw" / topic).glob("partition=*/*")):
        if not _SEGMENT.fullmatch(file.name):
            continue
        number = int(file.parent.name.removeprefix("partition="))
        for row in _rows(file):
            found.setdefault((number, row["kafka_offset"]), []).append(row)
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        query = duckdb.execute("select * from read_parquet(?)", [str(file)])
        names = [column[0] for column in query.description or []]
        found = [dict(zip(names, values, strict=True)) for values in query.fetchall()]
        return [{name: value for name, value in row.items() if value is not None} for row in found]
    data = file.read_bytes()
    lines = gzip.decompress(data) if file.suffix == ".gz" else data
    return [json.loads(line) for line in lines.splitlines()]


def rejects(lake: Path, topic: str) -> dict[Place, bytes]:
    """Raw bytes of the rejected records by (partition, offset)."""
    found = {}
    for file in (lake / "rejects" / topic).glob("partition=*/*.json"):
        kept = json.loads(file.read_bytes())
        number = int(file.parent.name.removeprefix("partition="))
        found[number, kept["offset"]] = base64.b64decode(kept["value_base64"])
    return found


@dataclass(frozen=True)
class Verdict:
    """What the judge found; a record is stored as a row or as a reject.

    ``lost`` are records that Kafka holds and the lake does not, ``doubled`` those that it has more than once,
    ``changed`` those that it has otherwise, ``foreign`` what it has and Kafka does not. ``disordered`` are
    segments of which an offset is not above all before it.
    """

    sent: int
    stored: int
    rejected: int
    lost: list[Place]
    doubled: list[Place]
    changed: list[Place]
    foreign: list[Place]
    disordered: list[str]

    @property
    def is_sound(self) -> bool:
        """Tell whether each record is there once, as it was, in order."""
        return not (self.lost or self.doubled or self.changed or self.foreign or self.disordered)


def verdict(servers: str, topic: str, lake: Path, sent: Iterable[Message] | None = None) -> Verdict:
    """Compare a lake with what Kafka holds, or with messages that it held."""
    found = messages(servers, topic) if sent is None else sent
    wanted = {(m.partition() or 0, m.offset() or 0): m for m in found}
    stored, refused = rows(lake, topic), rejects(lake, topic)
    changed = [
        place for place, (row, *_) in stored.items() if place in wanted and not _same(row, wanted[place])
    ]
    changed += [place for place, raw in refused.items() if place in wanted and raw != wanted[place].value()]
    have = stored.keys() | refused.keys()
    return Verdict(
        sent=len(wanted),
        stored=len(stored),
        rejected=len(refused),
        lost=sorted(wanted.keys() - have),
        doubled=[place for place, each in stored.items() if len(each) > 1 or place in refused],
        changed=changed,
        foreign=sorted(have - wanted.keys()),
        disordered=_disordered(lake, topic),
    )


def _same(row: dict[str, Any], message: Message) -> bool:
    if row["kafka_timestamp_ms"] != message.timestamp()[1]:
        return False
    value = message.value()
    if value is None:
        return bool(row.get("kafka_tombstone"))
    document = json.loads(value)
    # what has no column of its own in a Parquet file stands in `extra`
    extra = row.get("extra")
    known = {**(json.loads(extra) if isinstance(extra, str) else extra or {}), **row}
    if not isinstance(document, dict):
        return _is(known.get("value"), document)
    return all(
        _is(known.get(name), value) for name, value in document.items() if not name.startswith("kafka_")
    )


def _is(stored: object, value: object) -> bool:
    # a column of values of several types holds them as JSON text
    return stored == value or (
        isinstance(stored, str) and not isinstance(value, str) and json.loads(stored) == value
    )


def _disordered(lake: Path, topic: str) -> list[str]:
    found = []
    before: dict[Path, int] = {}
    for file in sorted((lake / "raw" / topic).glob("partition=*/*")):
        if not _SEGMENT.fullmatch(file.name):
            continue
        offsets = [row["kafka_offset"] for row in _rows(file)]
        if any(b <= a for a, b in pairwise([before.get(file.parent, -1), *offsets])):
            found.append(str(file.relative_to(lake)))
        before[file.parent] = max([before.get(file.parent, -1), *offsets])
    return found


def judge(servers: str, topic: str, lake: Path) -> int:
    """Assert that each message is in the lake once, as it was, in order; return how many there are."""
    found = verdict(servers, topic, lake)
    assert found.is_sound, found
    return found.sent


def each_once(servers: str, topic: str, field: str) -> Counter[Any]:
    """Count the committed messages by a field of theirs."""
    return Counter(json.loads(message.value() or b"")[field] for message in messages(servers, topic))
