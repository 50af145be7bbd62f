"""Proof that every Kafka offset of a topic is in the lake exactly once.

The plain audit compares names and metadata; ``deep`` reads every row, verifies its checksum and checks
that each ``kafka_offset`` occurs once, in order and in the range of its segment.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from operator import ge
from typing import Any

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.chain import Piece, walk
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.formats import for_topic
from tickerlake.lake.reader import partitions, read_content, topics
from tickerlake.lake.rejects import parse_range, read_rejects, reject_ranges, rejects_key
from tickerlake.lake.segment import SegmentMeta
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import TopicMeta, read_topic
from tickerlake.parallel import parallel_map


@dataclass(frozen=True, slots=True)
class Finding:
    """One error: its ``kind``, the object, and what is wrong with it."""

    kind: str
    key: str
    message: str


@dataclass(slots=True)
class PartitionAudit:
    """Counts of one partition; ``findings`` is empty if no error was found.

    Parameters
    ----------
    first, next
        Where the chain begins and ends.
    records, segments, bytes
        Rows, and the objects that hold them.
    gaps, duplicates, holes
        Offsets that are lost or in no segment, in two segments, and without a record.
    """

    topic: str
    partition: int
    first: int = 0
    next: int = 0
    records: int = 0
    segments: int = 0
    bytes: int = 0
    rejects: int = 0
    gaps: int = 0
    duplicates: int = 0
    holes: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return asdict(self)


def audit(
    store: ReadableStore,
    topic: str | None = None,
    *,
    deep: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Iterator[PartitionAudit]:
    """Audit one topic or all topics of a lake, one partition at a time.

    Parameters
    ----------
    on_progress
        Called with the number of rows of each segment that was checked.

    Raises
    ------
    LakeError
        If this is not a lake, does not have the topic, or this version cannot read it.
    """
    if not check_format_version(store):
        raise LakeError(f"{store.uri} is not a lake.", "Check --lake.")
    names = [topic] if topic else topics(store)
    if not names:
        raise LakeError(f"The lake at {store.uri} has no topics yet.", "`tickerlake sink` stores records.")
    for name in names:
        try:
            topic_meta = read_topic(store, name)
        except ObjectMissing as error:
            available = ", ".join(topics(store)) or "none"
            raise LakeError(f"{store.uri} has no topic {name}.", f"It has: {available}.") from error
        numbers = sorted({int(text) for text in topic_meta.first_positions} | set(partitions(store, name)))
        for number in numbers:
            yield audit_partition(store, topic_meta, number, deep=deep, on_progress=on_progress)


def audit_partition(
    store: ReadableStore,
    topic: TopicMeta,
    partition: int,
    *,
    deep: bool,
    on_progress: Callable[[int], None] = lambda _: None,
) -> PartitionAudit:
    """Audit one partition."""
    first = topic.first_position(partition)
    rejecting: dict[tuple[int, int], int] = {}
    result = PartitionAudit(topic.topic, partition, first=first, next=first)

    def check(piece: Piece) -> tuple[Piece, list[Finding]]:
        return piece, list(_check_content(store, piece)) if deep and not piece.problem else []

    for piece, findings in parallel_map(walk(store, topic, partition), check):
        if piece.kind in {"segment", "object"} or piece.meta:
            result.segments += 1
            result.bytes += piece.info.size
        if piece.problem:
            result.findings.append(Finding(piece.problem.kind, piece.key, piece.problem.message))
            continue
        if piece.meta and piece.meta.rejects:
            rejecting[piece.start, piece.end] = piece.meta.rejects
        _check_continuity(result, piece)
        _count(result, piece)
        result.next = max(result.next, piece.end)
        result.findings.extend(findings)
        on_progress(piece.records)
    if not for_topic(topic.format).one_object_per_record:
        result.findings.extend(_check_rejects(store, topic.topic, partition, rejecting, deep=deep))
    return result


def _check_continuity(result: PartitionAudit, piece: Piece) -> None:
    """Compare where a piece begins with where the chain ends."""
    if piece.start > result.next:
        result.gaps += piece.start - result.next
        message = f"offsets {result.next} to {piece.start - 1} are in no segment"
        result.findings.append(Finding("missing", piece.key, message))
    elif piece.start < result.next and piece.meta:
        end = min(result.next, piece.end)
        result.duplicates += end - piece.start
        message = f"offsets {piece.start} to {end - 1} are in two segments"
        result.findings.append(Finding("overlap", piece.key, message))
    elif piece.end <= result.first:
        result.findings.append(Finding("range", piece.key, "is before the beginning of the chain"))


def _count(result: PartitionAudit, piece: Piece) -> None:
    result.records += piece.records
    if piece.meta:
        result.rejects += piece.meta.rejects
    if piece.kind == "reject":
        result.rejects += 1
    elif piece.kind == "gap":
        result.gaps += max(0, piece.end - max(piece.start, result.next))
    elif piece.kind == "hole":
        result.holes += max(0, piece.end - max(piece.start, result.next))
    elif piece.meta:
        result.holes += piece.end - piece.start - piece.records - piece.meta.rejects


def _check_content(store: ReadableStore, piece: Piece) -> Iterator[Finding]:
    if piece.meta:
        yield from _check_segment(store, piece.key, piece.meta)
    elif piece.kind == "object":
        yield from _check_object(store, piece.key, piece.start)
    elif piece.kind == "reject":
        yield from _check_reject(store, piece.key)


def _check_rejects(
    store: ReadableStore, topic: str, partition: int, rejecting: dict[tuple[int, int], int], *, deep: bool
) -> Iterator[Finding]:
    """Check the rejects of the segments that have some.

    Parameters
    ----------
    rejecting
        The ranges of these segments, and their numbers of rejects.
    """
    stored = {span for span, _ in reject_ranges(store, topic, partition)} if rejecting else set()
    for span, count in rejecting.items():
        key = rejects_key(topic, partition, *span)
        if span not in stored:
            yield Finding("reject_missing", key, f"is not stored: it holds {count:,} rejected records")
        elif deep:
            yield from _check_reject(store, key, count)


def _check_reject(store: ReadableStore, key: str, count: int = 1) -> Iterator[Finding]:
    try:
        offsets = [reject.offset for reject in read_rejects(store, key)]
    except LakeError as error:
        yield Finding("damaged", key, error.message.removeprefix(f"{key} "))
        return
    start, end = parse_range(key) or (0, 0)
    # a compacted topic may have lost some between a writer that stopped and the one that stored the segment
    if len(offsets) < count:
        yield Finding("count", key, f"has {len(offsets):,} rejects, its segment {count:,}")
    elif offsets != sorted(set(offsets)) or not start <= offsets[0] <= offsets[-1] < end:
        yield Finding("misnamed", key, f"holds the records of offsets {offsets[0]} to {offsets[-1]}")


def _check_segment(store: ReadableStore, key: str, meta: SegmentMeta) -> Iterator[Finding]:
    try:
        content = read_content(store, key)
    except LakeError as error:
        yield Finding("damaged", key, error.message)
        return
    embedded, offsets = content.meta, content.offsets
    if embedded is not None and embedded != meta:
        outer, inner = _format_differences(meta, embedded), _format_differences(embedded, meta)
        yield Finding("metadata", key, f"has the object metadata {outer}, but contains {inner}")
    if content.rows_crc32c != meta.rows_crc32c:
        message = f"has the checksum {content.rows_crc32c}, its metadata {meta.rows_crc32c}"
        yield Finding("checksum", key, message)
    if len(offsets) != meta.records:
        yield Finding("count", key, f"has {len(offsets)} rows, its metadata {meta.records}")
    if any(map(ge, offsets, islice(offsets, 1, None))):
        before, after = next(pair for pair in pairwise(offsets) if pair[0] >= pair[1])
        problem = "duplicated" if after == before else "out of order"
        yield Finding("order", key, f"the row of offset {after} is {problem}")
    if offsets and (offsets[0] < meta.position or offsets[-1] >= meta.next_position):
        yield Finding("range", key, f"has offsets {offsets[0]} to {offsets[-1]}, outside its range")


def _format_differences(meta: SegmentMeta, other: SegmentMeta) -> str:
    return ", ".join(
        f"{name} {value}" for name, value in asdict(meta).items() if value != getattr(other, name)
    )


def _check_object(store: ReadableStore, key: str, offset: int) -> Iterator[Finding]:
    try:
        offsets = read_content(store, key).offsets
    except LakeError as error:
        yield Finding("damaged", key, error.message)
        return
    if offsets != [offset]:
        yield Finding("range", key, f"has the offsets {offsets[:3]}, not {offset} alone")
