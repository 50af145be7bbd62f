"""What the lake holds of a partition, counted once and from then on followed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.formats.record_objects import CoveredRange, coverage
from tickerlake.lake.reader import read_meta
from tickerlake.lake.segment import parse_marker, parse_position, partition_prefix, segment_key
from tickerlake.lake.store.base import ObjectInfo, Store
from tickerlake.lake.topic import TopicMeta

_MAX_LOOKUPS: Final = 8
"""A listing costs Cloud Storage twelve times what a look at one object does."""
_AUDIT_HINT: Final = "Run `tickerlake audit`."


@dataclass(slots=True)
class PartitionCounts:
    """Figures of one partition; ``objects`` counts segments, rejects and markers."""

    end: int
    segments: int = 0
    bytes: int = 0
    records: int = 0
    rejects: int = 0
    gaps: int = 0
    objects: int = 0
    counting: bool = True
    error: str = ""


class ChainCounter(Protocol):
    """Follows one partition."""

    @property
    def counts(self) -> PartitionCounts:
        """The figures so far."""
        ...

    def count_new(self, deadline_s: float) -> None:
        """Count what is new, until a time at the latest; the next call goes on from there."""
        ...


def create_counter(store: Store, topic: TopicMeta, partition: int) -> ChainCounter:
    """Return what follows a partition in the topic's format."""
    counter_type = ObjectChainCounter if topic.format == "json" else SegmentChainCounter
    return counter_type(store, topic, partition)


class SegmentChainCounter:
    """Follows a chain of segments: lists it once, then looks for the name that the next one will have."""

    def __init__(self, store: Store, topic: TopicMeta, partition: int) -> None:
        self._store, self._topic, self._partition = store, topic, partition
        self._last_key = ""
        self._listing: Iterator[ObjectInfo] | None = self._list_segments()
        self._is_blocked = False
        self.counts = PartitionCounts(topic.first_position(partition))

    def _list_segments(self) -> Iterator[ObjectInfo]:
        return self._store.list(partition_prefix(self._topic.topic, self._partition), self._last_key)

    def count_new(self, deadline_s: float) -> None:
        """Count what is new."""
        if self._listing is None:
            self._look_up_next(deadline_s)
        if self._listing is not None:
            self._continue_listing(self._listing, deadline_s)

    def _continue_listing(self, listing: Iterator[ObjectInfo], deadline_s: float) -> None:
        self._listing = self._list_segments()  # in case that this one breaks
        for info in listing:
            if parse_position(info.key) is not None and info.key > self._last_key:
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
                self.counts.error, self._is_blocked = "", False  # somebody has repaired it
            self._last_key = key
            if clock.monotonic_s() >= deadline_s:
                return
        self._listing = self._list_segments()

    def _add(self, info: ObjectInfo) -> None:
        counts = self.counts
        meta = read_meta(self._store, info)
        if (meta.topic, meta.topic_id, meta.partition) != (
            self._topic.topic,
            self._topic.topic_id,
            self._partition,
        ) or meta.next_position <= meta.position:
            raise LakeError(f"{info.key} does not belong to this chain.", _AUDIT_HINT)
        if meta.position > counts.end:
            counts.error = (
                f"Partition {self._partition} lacks the offsets {counts.end} to {meta.position - 1}."
            )
        counts.end = max(counts.end, meta.next_position)
        counts.segments += 1
        counts.bytes += info.size
        counts.records += meta.records
        counts.rejects += meta.rejects
        counts.gaps += meta.next_position - meta.position if meta.gap else 0
        counts.objects += 1 + meta.rejects


class ObjectChainCounter:
    """Follows one object a record: what lies beyond a break is being stored, and counts when it is closed."""

    def __init__(self, store: Store, topic: TopicMeta, partition: int) -> None:
        self._store, self._topic, self._partition = store, topic, partition
        self._listing: Iterator[CoveredRange] | None = None
        self.counts = PartitionCounts(topic.first_position(partition))

    def count_new(self, deadline_s: float) -> None:
        """Count what is new."""
        listing, self._listing = self._listing, None
        if listing is None:
            listing = coverage(self._store, self._topic.topic, self._partition, self.counts.end)
        for start, end, info in listing:
            if start > self.counts.end:
                break
            self._add(end, info)
            if clock.monotonic_s() >= deadline_s:
                self._listing = listing
                return
        self.counts.counting = False

    def _add(self, end: int, info: ObjectInfo) -> None:
        counts, marker = self.counts, parse_marker(info.key)
        counts.objects += 1
        if marker and marker.kind == "gap":
            counts.gaps += end - counts.end
        elif info.key.startswith("rejects/"):
            counts.rejects += 1
        elif not marker:
            counts.records += 1
            counts.segments += 1
            counts.bytes += info.size
        counts.end = max(counts.end, end)
