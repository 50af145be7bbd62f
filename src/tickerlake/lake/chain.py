"""The chain of a partition as one sequence of pieces, whatever the storage format."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from typing import Literal

from tickerlake.errors import LakeError
from tickerlake.lake.formats import for_topic
from tickerlake.lake.reader import read_meta, segments
from tickerlake.lake.segment import (
    SegmentMeta,
    parse_marker,
    parse_position,
    partition_prefix,
    reject_prefix,
    segment_key,
)
from tickerlake.lake.store.base import ObjectInfo, ReadableStore
from tickerlake.lake.topic import TopicMeta

PieceKind = Literal["segment", "object", "reject", "gap", "hole"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a segment cannot be part of the chain; ``message`` continues a sentence about its key."""

    kind: Literal["unreadable", "wrong_topic", "misnamed"]
    message: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One object of a chain, which covers the offsets ``[start, end)``.

    Parameters
    ----------
    kind
        ``segment`` or, in the format ``json``, ``object``: it has rows. ``reject``: a record of the format
        ``json`` that is not a row; rejects of segments are not pieces. ``gap``: its records are lost.
        ``hole``: there are no records.
    meta
        Of segments, gaps among them, if it is readable.
    problem
        Of segments: it is not part of the chain, ``start`` and ``end`` are the position in its key.
    """

    kind: PieceKind
    start: int
    end: int
    info: ObjectInfo
    meta: SegmentMeta | None = None
    problem: Problem | None = None

    @property
    def key(self) -> str:
        """Key of the object."""
        return self.info.key

    @property
    def has_rows(self) -> bool:
        """Whether it is an object with rows that can be read."""
        return self.kind in {"segment", "object"} and self.problem is None

    @property
    def records(self) -> int:
        """Number of rows."""
        if not self.has_rows:
            return 0
        return self.meta.records if self.meta else 1


def walk(store: ReadableStore, topic: TopicMeta, partition: int, start: int | None = None) -> Iterator[Piece]:
    """Yield the pieces of a partition's chain by offset, with one listing; nothing is checked between them.

    Parameters
    ----------
    start
        A position at which a piece begins: skip those before it.
    """
    if for_topic(topic.format).one_object_per_record:
        yield from merge(
            _walk_objects(store, partition_prefix(topic.topic, partition), start or 0),
            _walk_objects(store, reject_prefix(topic.topic, partition), start or 0),
            key=lambda piece: (piece.start, piece.end),
        )
        return
    start_at = "" if start is None else segment_key(topic.topic, partition, start, topic.format)
    for info in segments(store, topic.topic, partition, start_at):
        yield read_segment_piece(store, topic, partition, info)


def _walk_objects(store: ReadableStore, prefix: str, start: int) -> Iterator[Piece]:
    record_kind: PieceKind = "reject" if prefix.startswith("rejects/") else "object"
    for info in store.list(prefix, f"{prefix}{start:020d}"):
        position, marker = parse_position(info.key), parse_marker(info.key)
        if position is not None:
            yield Piece(record_kind, position, position + 1, info)
        elif marker:
            yield Piece(marker.kind, marker.start, marker.end, info)


def read_segment_piece(store: ReadableStore, topic: TopicMeta, partition: int, info: ObjectInfo) -> Piece:
    """Read the metadata of one segment and check that it is part of a partition's chain."""
    position = parse_position(info.key)
    assert position is not None, "segments have positions"
    try:
        meta = read_meta(store, info)
    except LakeError as error:
        problem = Problem("unreadable", error.message.removeprefix(f"{info.key} "))
        return Piece("segment", position, position, info, None, problem)
    if mismatch := _find_mismatch(meta, topic, partition, position):
        return Piece("segment", position, position, info, meta, mismatch)
    return Piece("gap" if meta.gap else "segment", position, meta.next_position, info, meta)


def _find_mismatch(meta: SegmentMeta, topic: TopicMeta, partition: int, position: int) -> Problem | None:
    if (meta.topic, meta.topic_id, meta.partition) != (topic.topic, topic.topic_id, partition):
        return Problem("wrong_topic", f"holds records of {meta.topic}/{meta.partition} ({meta.topic_id})")
    if meta.position != position or meta.next_position <= meta.position:
        description = f"has the metadata of offsets {meta.position} to {meta.next_position - 1}"
        return Problem("misnamed", f"{description}: it is a copy, or was edited")
    return None


def stored_ranges(store: ReadableStore, topic: TopicMeta, partition: int) -> Iterator[tuple[int, int]]:
    """Yield the offsets ``[start, end)`` that a partition's objects account for, in order.

    Gaps and segments that are not part of the chain account for none.
    """
    for piece in walk(store, topic, partition):
        if piece.problem is None and piece.kind != "gap":
            yield piece.start, piece.end
