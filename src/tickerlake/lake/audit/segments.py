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
from tickerlake.lake.formats.record_objects import coverage
from tickerlake.lake.formats.rows import REJECT_DECODER
from tickerlake.lake.reader import partitions, read_meta, read_segment, segments, topics
from tickerlake.lake.segment import SegmentMeta, find_breaks, parse_marker, parse_position, reject_prefix
from tickerlake.lake.store.base import ObjectInfo, Store
from tickerlake.lake.topic import TopicMeta, read_topic


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
            topic_meta = read_topic(store, name)
        except ObjectMissing as error:
            available = ", ".join(topics(store)) or "none"
            raise LakeError(f"{store.uri} has no topic {name}.", f"It has: {available}.") from error
        numbers = sorted({int(text) for text in topic_meta.first_positions} | set(partitions(store, name)))
        for number in numbers:
            yield audit_partition(store, topic_meta, number, deep=deep)


def audit_partition(store: Store, topic: TopicMeta, partition: int, *, deep: bool) -> PartitionAudit:
    """Audit one partition."""
    first = topic.first_position(partition)
    result = PartitionAudit(topic.topic, partition, first=first, next=first)
    if topic.format == "json":
        _audit_objects(store, result, deep=deep)
        return result
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
        if meta.position != parse_position(info.key) or meta.next_position <= meta.position:
            description = f"says that it holds offsets {meta.position} to {meta.next_position - 1}"
            result.findings.append(
                Finding("misnamed", info.key, f"{description}: it is a copy, or was edited")
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
            result.findings.extend(_check_segment(store, info, meta))
    for chain_break in find_breaks(first, chain):
        count = chain_break.end - chain_break.start
        if chain_break.kind == "missing":
            result.gaps += count
        else:
            result.doubles += count
        result.findings.append(
            Finding(
                chain_break.kind,
                chain_break.key,
                f"offsets {chain_break.start} to {chain_break.end - 1} are {_BREAK_DESCRIPTIONS[chain_break.kind]}",
            )
        )
    _check_rejects(store, result, deep=deep)
    return result


_BREAK_DESCRIPTIONS = {"missing": "in no segment", "overlap": "in two segments"}


def _check_rejects(store: Store, result: PartitionAudit, *, deep: bool) -> None:
    prefix = reject_prefix(result.topic, result.partition)
    stored = 0
    for info in store.list(prefix):
        stored += 1
        if deep:
            result.findings.extend(_check_reject(store, info.key))
    if stored < result.rejects:
        message = f"{result.rejects} records were rejected, {stored} of them are kept"
        result.findings.append(Finding("reject_missing", prefix, message))


def _check_reject(store: Store, key: str) -> Iterator[Finding]:
    try:
        reject = REJECT_DECODER.decode(store.read(key))
    except msgspec.MsgspecError as error:
        yield Finding("damaged", key, f"is not readable ({error})")
        return
    if reject.offset != parse_position(key):
        yield Finding("misnamed", key, f"holds the record of offset {reject.offset}")


def _check_segment(store: Store, info: ObjectInfo, meta: SegmentMeta) -> Iterator[Finding]:
    key = info.key
    try:
        offsets, crc32c, embedded_meta = read_segment(store, key)
    except LakeError as error:
        yield Finding("damaged", key, error.message)
        return
    if embedded_meta is not None and embedded_meta != meta:
        yield Finding(
            "metadata",
            key,
            f"its metadata say {_format_differences(meta, embedded_meta)}, the object itself {_format_differences(embedded_meta, meta)}",
        )
    if crc32c != meta.rows_crc32c:
        yield Finding("checksum", key, f"has the checksum {crc32c}, its metadata say {meta.rows_crc32c}")
    if len(offsets) != meta.records:
        yield Finding("count", key, f"has {len(offsets)} rows, its metadata say {meta.records}")
    for before, after in pairwise(offsets):
        if after <= before:
            problem = "doubled" if after == before else "misplaced"
            yield Finding("order", key, f"the row of offset {after} is {problem}")
            break
    if offsets and (offsets[0] < meta.position or offsets[-1] >= meta.next_position):
        yield Finding("range", key, f"has offsets {offsets[0]} to {offsets[-1]}, outside of its own range")


def _format_differences(meta: SegmentMeta, other: SegmentMeta) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in asdict(meta).items() if value != getattr(other, name)
    )


def _audit_objects(store: Store, result: PartitionAudit, *, deep: bool) -> None:
    """Audit a partition of the format ``json``: every offset has an object, a reject or a marker."""
    for start, end, info in coverage(store, result.topic, result.partition, 0):
        marker = parse_marker(info.key)
        if start > result.next:
            result.gaps += start - result.next
            message = f"offsets {result.next} to {start - 1} are {_BREAK_DESCRIPTIONS['missing']}"
            result.findings.append(Finding("missing", info.key, message))
        if end <= result.first:
            result.findings.append(Finding("range", info.key, "is before the beginning of the chain"))
        if marker:
            new_offsets = max(0, end - max(start, result.next))
            if marker.kind == "gap":
                result.gaps += new_offsets
            else:
                result.holes += new_offsets
        elif info.key.startswith("rejects/"):
            result.rejects += 1
            if deep:
                result.findings.extend(_check_reject(store, info.key))
        else:
            result.records += 1
            result.segments += 1
            result.bytes += info.size
            if deep:
                result.findings.extend(_check_object(store, info, start))
        result.next = max(result.next, end)


def _check_object(store: Store, info: ObjectInfo, offset: int) -> Iterator[Finding]:
    try:
        offsets, *_ = read_segment(store, info.key)
    except LakeError as error:
        yield Finding("damaged", info.key, error.message)
        return
    if offsets != [offset]:
        yield Finding("range", info.key, f"has the offsets {offsets[:3]}, not {offset} alone")
