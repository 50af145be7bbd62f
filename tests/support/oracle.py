"""An independent judge: reads Kafka and the lake with plain tools, none of the code under test."""

import base64
import gzip
import json
import re
from collections import Counter
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


def judge(servers: str, topic: str, lake: Path) -> int:
    """Assert that each message is in the lake once, as it was; return how many there are."""
    sent = {(m.partition(), m.offset()): m for m in messages(servers, topic)}
    stored, refused = rows(lake, topic), rejects(lake, topic)
    doubled = [place for place, found in stored.items() if len(found) > 1]
    assert not doubled, f"doubled: {doubled[:5]}"
    assert not stored.keys() & refused.keys(), "a record is both a row and a reject"
    assert stored.keys() | refused.keys() == sent.keys()
    for place, (row,) in stored.items():
        message = sent[place]
        assert row["kafka_timestamp_ms"] == message.timestamp()[1]
        document = json.loads(message.value() or b"")
        assert {name: row.get(name) for name in document} == document
    for place, raw in refused.items():
        assert raw == sent[place].value()
    return len(sent)


def each_once(servers: str, topic: str, field: str) -> Counter[Any]:
    """Count the committed messages by a field of theirs."""
    return Counter(json.loads(message.value() or b"")[field] for message in messages(servers, topic))
