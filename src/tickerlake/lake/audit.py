"""Proof that every Kafka offset of a topic is in the lake exactly once.

The plain audit compares names and headers; ``deep`` reads every row, checks its checksum and that
each ``kafka_offset`` is there once and in its place.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import msgspec

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake import rows
from tickerlake.lake.reader import partitions, read_meta, segments, topics
from tickerlake.lake.segment import SegmentMeta, TopicMeta, breaks, reject_prefix
from tickerlake.lake.store.base import Store
from tickerlake.lake.writer import read_topic


class _Offset(msgspec.Struct):
    kafka_offset: int


_OFFSET = msgspec.json.Decoder(_Offset)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: ``kind``, the object, and a sentence."""

    kind: str
    key: str
    message: str


@dataclass(slots=True)
class PartitionAudit:
    """Figures of one partition; ``findings`` is empty if all is well."""

    topic: str
    partition: int
    first: int = 0
    next: int = 0
    records: int = 0
    segments: int = 0
    bytes: int = 0
    rejects: int = 0
    gaps: int = 0
    doubles: int = 0
    holes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return asdict(self)


def audit(store: Store, topic: str | None = None, *, deep: bool = False) -> Iterator[PartitionAudit]:
    """Audit one topic or all topics of a lake, a partition at a time.

    Raises
    ------
    LakeError
        If this is not a lake, or does not have the topic.
    """
    names = [topic] if topic else topics(store)
    if not names:
        raise LakeError(f"There is no lake at {store.uri}.", "Check --lake; a lake has a folder `raw/`.")
    for name in names:
        try:
            about = read_topic(store, name)
        except ObjectMissing as error:
            known = ", ".join(topics(store)) or "none"
            raise LakeError(f"{store.uri} has no topic {name}.", f"It has: {known}.") from error
        numbers = sorted({int(text) for text in about.first_positions} | set(partitions(store, name)))
        for number in numbers:
            yield audit_partition(store, about, number, deep=deep)


def audit_partition(store: Store, topic: TopicMeta, partition: int, *, deep: bool) -> PartitionAudit:
    """Audit one partition."""
    first = topic.first_position(partition)
    result = PartitionAudit(topic.topic, partition, first=first, next=first)
    chain: list[tuple[str, SegmentMeta]] = []
    for info in segments(store, topic.topic, partition):
        result.segments += 1
        result.bytes += info.size
        try:
            meta = read_meta(store, info)
        except LakeError as error:
            result.findings.append(Finding("unreadable", info.key, str(error)))
            continue
        if (meta.topic, meta.topic_id, meta.partition) != (topic.topic, topic.topic_id, partition):
            result.findings.append(
                Finding(
                    "foreign", info.key, f"holds records of {meta.topic}/{meta.partition} ({meta.topic_id})"
                )
            )
            continue
        chain.append((info.key, meta))
        result.records += meta.records
        result.rejects += meta.rejects
        result.gaps += meta.next_position - meta.position if meta.gap else 0
        if not meta.gap:
            result.holes += meta.next_position - meta.position - meta.records - meta.rejects
        result.next = max(result.next, meta.next_position)
        if deep:
            result.findings.extend(_read(store, info.key, meta))
    for broken in breaks(first, chain):
        count = broken.end - broken.start
        if broken.kind == "missing":
            result.gaps += count
        else:
            result.doubles += count
        result.findings.append(
            Finding(
                broken.kind,
                broken.key,
                f"offsets {broken.start} to {broken.end - 1} are {_WORDS[broken.kind]}",
            )
        )
    _check_rejects(store, result)
    return result


_WORDS = {"missing": "in no segment", "overlap": "in two segments"}


def _check_rejects(store: Store, result: PartitionAudit) -> None:
    kept = sum(1 for _ in store.list(reject_prefix(result.topic, result.partition)))
    if kept < result.rejects:
        result.findings.append(
            Finding(
                "reject_missing",
                reject_prefix(result.topic, result.partition),
                f"{result.rejects} records were rejected, {kept} of them are kept",
            )
        )


def _read(store: Store, key: str, meta: SegmentMeta) -> Iterator[Finding]:
    try:
        lines = rows.unpack(store.read(key), key)
    except LakeError as error:
        yield Finding("damaged", key, error.message)
        return
    if rows.checksum(lines) != meta.rows_crc32c:
        yield Finding(
            "checksum", key, f"rows have {rows.checksum(lines)}, the header says {meta.rows_crc32c}"
        )
    try:
        offsets = [_OFFSET.decode(line).kafka_offset for line in lines.splitlines()]
    except msgspec.MsgspecError as error:
        yield Finding("damaged", key, f"a row is not readable: {error}")
        return
    if len(offsets) != meta.records:
        yield Finding("count", key, f"has {len(offsets)} rows, the header says {meta.records}")
    if any(b <= a for a, b in pairwise(offsets)):
        yield Finding("order", key, "offsets are not ascending: a row is doubled or misplaced")
    if offsets and (offsets[0] < meta.position or offsets[-1] >= meta.next_position):
        yield Finding("range", key, f"has offsets {offsets[0]} to {offsets[-1]}, outside of its own range")
