"""Makes the chain of a partition whole again from the records that Kafka still has.

A sound segment is never touched. What is damaged, and what does not belong where it is, is kept under
``damaged/`` before something else takes its place. What Kafka no longer has stays as it is, and is named.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists
from tickerlake.lake import rows
from tickerlake.lake.audit import Finding, PartitionAudit
from tickerlake.lake.ndjson import NdjsonCodec
from tickerlake.lake.objects import coverage, keep_rejects
from tickerlake.lake.parquet import ParquetCodec
from tickerlake.lake.reader import read_columns, read_meta, segments
from tickerlake.lake.segment import (
    Marker,
    SegmentMeta,
    TopicMeta,
    marker_key,
    marker_of,
    position_of,
    reject_key,
    segment_key,
)
from tickerlake.lake.store.base import Store

Read = Callable[[int, int], pl.DataFrame]
"""Returns the committed records of the offsets ``[start, end)`` of a partition."""

MOST_RECORDS: Final = 200_000
"""A segment made by a repair spans so many offsets at most."""

_BAD: Final = {
    "unreadable", "foreign", "misnamed", "damaged", "metadata", "checksum", "count", "order", "range",
    "differs",
}  # fmt: skip
"""Kinds of findings which say that an object is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done to a chain.

    Parameters
    ----------
    ranges
        The offsets ``[start, end)`` of segments to be made. An object at ``start`` gives way.
    aside
        Objects that are in nobody's place, to be taken out of the chain.
    """

    ranges: list[tuple[int, int]]
    aside: list[str]


@dataclass(slots=True)
class Repaired:
    """What was done to one partition; ``lost`` are offsets ``[start, end)`` that can't be had back."""

    topic: str
    partition: int
    made: list[str] = field(default_factory=list)
    records: int = 0
    aside: list[str] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)


def plan(
    first: int, end: int, low: int, sound: Iterable[tuple[str, SegmentMeta]], bad: Iterable[tuple[str, int]]
) -> Plan:
    """Say what makes a chain whole. Pure.

    Parameters
    ----------
    first
        Where the chain begins.
    end
        How far it is known to have reached: what is missing at its end is made up to there.
    low
        The first offset that can be had back. A segment that overlaps others stays where it is if it alone
        has records from before.
    sound
        Keys and metadata of segments that are well, by position.
    bad
        Keys and positions of those that are not, by position.
    """
    aside: list[str] = []
    gaps: list[tuple[int, int]] = []
    reached = first
    for key, meta in sound:
        if meta.position < reached and (meta.next_position <= reached or reached >= low):
            aside.append(key)
            continue
        if meta.position > reached:
            gaps.append((reached, meta.position))
        reached = meta.next_position
    if end > reached:
        gaps.append((reached, end))
    places = {position: key for key, position in bad}
    ranges: list[tuple[int, int]] = []
    for start, stop in gaps:
        # an object that can give way to its successor need not be deleted
        inside = sorted(place for place in places if start < place < stop)
        for a, b in pairwise([start, *inside, stop]):
            ranges += [(at, min(at + MOST_RECORDS, b)) for at in range(a, b, MOST_RECORDS)]
    starts = {start for start, _ in ranges}
    aside += [key for place, key in places.items() if place not in starts]
    return Plan(ranges, aside)


class Repair:
    """Repairs one partition.

    Parameters
    ----------
    store, topic
        The lake and the topic's description.
    audited
        What the deep audit found; where it was compared with Kafka, what differs is made anew, too.
    retained
        Earliest offset that Kafka still has, and where its log ends.
    read
        Reads records from Kafka.
    """

    def __init__(
        self, store: Store, topic: TopicMeta, audited: PartitionAudit, retained: tuple[int, int], read: Read
    ) -> None:
        self._store, self._topic, self._audited = store, topic, audited
        self._low, self._high = retained
        self._read = read
        self._bad = {finding.key for finding in audited.findings if finding.kind in _BAD}
        self.done = Repaired(topic.topic, audited.partition)

    def run(self) -> Repaired:
        """Make whole what can be.

        Raises
        ------
        StoreError
            We may not replace objects.
        """
        if self._topic.format == "json":
            self._objects()
        else:
            self._chain()
        self._rejects(self._audited.findings)
        return self.done

    def _chain(self) -> None:
        sound: list[tuple[str, SegmentMeta]] = []
        bad: list[tuple[str, int]] = []
        end, unknown = self._audited.first, -1
        for info in segments(self._store, self._topic.topic, self.done.partition):
            position = position_of(info.key)
            assert position is not None, "segments have positions"
            try:
                meta = read_meta(self._store, info)
            except LakeError:
                bad.append((info.key, position))
                unknown = position
                continue
            if info.key in self._bad:
                bad.append((info.key, position))
            else:
                sound.append((info.key, meta))
            if meta.is_of(self._topic, self.done.partition, info.key):
                end = max(end, min(meta.next_position, self._high))
            else:
                unknown = position
        if unknown >= end:
            end = self._high  # nobody knows how far the one that is due there reached
        todo = plan(self._audited.first, end, self._low, sound, bad)
        for start, stop in todo.ranges:
            self._make(start, stop)
        for key in todo.aside:
            self._keep(key)
            self._store.mend(key, None, metadata={})
            self.done.aside.append(key)

    def _make(self, start: int, stop: int) -> None:
        if start < self._low:
            self.done.lost.append((start, min(stop, self._low)))
            start = self._low
        if start >= stop:
            return
        codec = (
            NdjsonCodec()
            if self._topic.format == "ndjson"
            else ParquetCodec(read_columns(self._store, self._topic.topic))
        )
        number = self.done.partition
        meta = SegmentMeta(self._topic.topic, self._topic.topic_id, number, start, stop, 0, 0, "")
        data, meta, rejects = codec.pack(self._read(start, stop), meta)
        keep_rejects(self._store, self._topic.topic, number, rejects)
        key = segment_key(self._topic.topic, number, start, self._topic.format)
        self._put(key, data, meta.to_text(), codec.content_type)
        self.done.records += meta.records

    def _put(self, key: str, data: bytes, metadata: dict[str, str], content_type: str) -> None:
        try:
            self._store.create(key, data, metadata=metadata, content_type=content_type)
        except ObjectExists:
            self._keep(key)
            self._store.mend(key, data, metadata=metadata)
        failpoints.reach("repair.replaced")
        self.done.made.append(key)

    def _keep(self, key: str) -> None:
        """Keep what is damaged, under a name that says what it was and which bytes they are."""
        data = self._store.read(key)
        kept = f"damaged/{key}.{rows.checksum(data)}"
        with suppress(ObjectExists):  # a repair that was ended kept it
            self._store.create(kept, data, metadata={})
        failpoints.reach("repair.aside")

    def _objects(self) -> None:
        """Make the objects of single records that are missing or damaged."""
        name, number = self._topic.topic, self.done.partition
        missing: list[tuple[int, int]] = []
        reached = self._audited.first
        for start, stop, info in coverage(self._store, name, number, 0):
            if start > reached:
                missing.append((reached, start))
            if info.key in self._bad and start >= self._audited.first and not marker_of(info.key):
                missing.append((start, stop))
            reached = max(reached, stop)
        for start, stop in missing:
            if start < self._low:
                self.done.lost.append((start, min(stop, self._low)))
            if stop > self._low:
                self._make_objects(max(start, self._low), stop)

    def _make_objects(self, start: int, stop: int) -> None:
        name, number = self._topic.topic, self.done.partition
        encoded = rows.encode(self._read(start, stop))
        keep_rejects(self._store, name, number, encoded.rejects)
        for offset, line in zip(encoded.offsets, encoded.lines, strict=True):
            self._put(segment_key(name, number, offset, "json"), f"{line}\n".encode(), {}, "application/json")
            self.done.records += 1
        taken = sorted([*encoded.offsets, *(reject.offset for reject in encoded.rejects)])
        for before, after in zip([start - 1, *taken], [*taken, stop], strict=True):
            if after > before + 1:
                key = marker_key(name, number, Marker("hole", before + 1, after))
                self._put(key, b"", {}, "application/json")

    def _rejects(self, findings: Iterable[Finding]) -> None:
        """Keep the rejects again that are missing or damaged, where the comparison named them."""
        wanted = {
            int(finding.key.rpartition("/")[2].partition(".")[0])
            for finding in findings
            if finding.key.startswith("rejects/") and finding.key.endswith(".json")
        }
        for offset in sorted(wanted):
            if offset < self._low:
                self.done.lost.append((offset, offset + 1))
                continue
            for reject in rows.encode(self._read(offset, offset + 1)).rejects:
                key = reject_key(self._topic.topic, self.done.partition, offset)
                self._put(key, reject.to_json(), {}, "application/json")
