"""Counts what the lake holds of a partition: the chain once, then what is added to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.chain import Piece, read_segment_piece, walk
from tickerlake.lake.formats import for_topic
from tickerlake.lake.reader import segments
from tickerlake.lake.segment import segment_key
from tickerlake.lake.store.base import ObjectInfo, ReadableStore
from tickerlake.lake.topic import TopicMeta

_MAX_LOOKUPS: Final = 8
"""Lookups before a listing: Cloud Storage charges twelve times as much for a listing as for a lookup."""
_AUDIT_HINT: Final = "Run `tickerlake audit`."


@dataclass(slots=True)
class PartitionCounts:
    """Counts of one partition; ``objects`` counts segments, rejects and markers."""

    end: int
    segments: int = 0
    bytes: int = 0
    records: int = 0
    rejects: int = 0
    gaps: int = 0
    objects: int = 0
    counting: bool = True
    error: str = ""

    def add(self, piece: Piece) -> None:
        """Count a piece of the chain."""
        self.objects += 1
        self.records += piece.records
        if piece.kind == "gap":
            self.gaps += max(0, piece.end - max(piece.start, self.end))
        elif piece.kind == "reject":
            self.rejects += 1
        if piece.meta:
            self.rejects += piece.meta.rejects
            self.objects += bool(piece.meta.rejects)
        if piece.meta or piece.kind == "object":
            self.segments += 1
            self.bytes += piece.info.size
        self.end = max(self.end, piece.end)


class ChainCounter(Protocol):
    """Counts one partition."""

    @property
    def counts(self) -> PartitionCounts:
        """The counts so far."""
        ...

    def count_new(self, deadline_s: float) -> None:
        """Count new pieces until a deadline; the next call continues from there."""
        ...


def create_counter(store: ReadableStore, topic: TopicMeta, partition: int) -> ChainCounter:
    """Return a counter for a partition in the topic's format."""
    is_single = for_topic(topic.format).one_object_per_record
    return (ObjectChainCounter if is_single else SegmentChainCounter)(store, topic, partition)


class SegmentChainCounter:
    """Counts a chain of segments: lists it once, then looks up the key of the next segment."""

    def __init__(self, store: ReadableStore, topic: TopicMeta, partition: int) -> None:
        self._store, self._topic, self._partition = store, topic, partition
        self._last_key = ""
        self._listing: Iterator[ObjectInfo] | None = self._list_segments()
        self._is_blocked = False
        self.counts = PartitionCounts(topic.first_position(partition))

    def _list_segments(self) -> Iterator[ObjectInfo]:
        return segments(self._store, self._topic.topic, self._partition, self._last_key)

    def count_new(self, deadline_s: float) -> None:
        """Count new segments."""
        if self._listing is None:
            self._look_up_next(deadline_s)
        if self._listing is not None:
            self._continue_listing(self._listing, deadline_s)

    def _continue_listing(self, listing: Iterator[ObjectInfo], deadline_s: float) -> None:
        self._listing = self._list_segments()  # in case this listing fails
        for info in listing:
            if info.key > self._last_key:
                self._last_key = info.key
                try:
                    self._add(info)
                except (LakeError, ObjectMissing) as error:
                    self.counts.error = error.message
            if clock.monotonic_s() >= deadline_s:
                self._listing = listing
                return
        self._listing = None
        self.counts.counting = False

    def _look_up_next(self, deadline_s: float) -> None:
        topic = self._topic
        for _ in range(_MAX_LOOKUPS):
            key = segment_key(topic.topic, self._partition, self.counts.end, topic.format)
            info = self._store.stat(key)
            if info is None:
                return
            try:
                self._add(info)
            except (LakeError, ObjectMissing) as error:
                self.counts.error, self._is_blocked = error.message, True
                return
            if self._is_blocked:
                self.counts.error, self._is_blocked = "", False  # it has been repaired
            self._last_key = key
            if clock.monotonic_s() >= deadline_s:
                return
        self._listing = self._list_segments()

    def _add(self, info: ObjectInfo) -> None:
        counts = self.counts
        piece = read_segment_piece(self._store, self._topic, self._partition, info)
        if piece.problem:
            raise LakeError(f"{info.key} {piece.problem.message}: it is not part of the chain.", _AUDIT_HINT)
        if piece.start > counts.end:
            counts.error = f"Partition {self._partition} lacks the offsets {counts.end} to {piece.start - 1}."
        counts.add(piece)


class ObjectChainCounter:
    """Counts single objects. What follows a missing object is in flight, and is counted once it is stored."""

    def __init__(self, store: ReadableStore, topic: TopicMeta, partition: int) -> None:
        self._store, self._topic, self._partition = store, topic, partition
        self._pieces: Iterator[Piece] | None = None
        self.counts = PartitionCounts(topic.first_position(partition))

    def count_new(self, deadline_s: float) -> None:
        """Count new objects."""
        pieces, self._pieces = self._pieces, None
        if pieces is None:
            pieces = walk(self._store, self._topic, self._partition, self.counts.end)
        for piece in pieces:
            if piece.start > self.counts.end:
                break
            self.counts.add(piece)
            if clock.monotonic_s() >= deadline_s:
                self._pieces = pieces
                return
        self.counts.counting = False
