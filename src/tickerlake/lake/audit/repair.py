"""Makes the chain of a partition whole again from the records that Kafka still has.

A sound segment is never touched. What is damaged, and what does not belong where it is, is kept under
``damaged/`` before something else takes its place. What Kafka no longer has stays as it is, and is named.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists
from tickerlake.lake.audit.segments import Finding, PartitionAudit
from tickerlake.lake.formats import rows
from tickerlake.lake.formats.ndjson import NdjsonCodec
from tickerlake.lake.formats.parquet import ParquetCodec
from tickerlake.lake.formats.record_objects import coverage, store_rejects
from tickerlake.lake.reader import read_columns, read_meta, segments
from tickerlake.lake.segment import (
    Marker,
    SegmentMeta,
    marker_key,
    parse_marker,
    parse_position,
    reject_key,
    segment_key,
)
from tickerlake.lake.store.base import Store, create_if_absent
from tickerlake.lake.topic import TopicMeta

ReadRecords = Callable[[int, int], pl.DataFrame]
"""Returns the committed records of the offsets ``[start, end)`` of a partition."""

MAX_SEGMENT_OFFSETS: Final = 200_000
"""A segment made by a repair spans so many offsets at most."""

_DAMAGE_KINDS: Final = {
    "unreadable", "foreign", "misnamed", "damaged", "metadata", "checksum", "count", "order", "range",
    "differs",
}  # fmt: skip
"""Kinds of findings which say that an object is not to be trusted."""


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What has to be done to a chain.

    Parameters
    ----------
    ranges
        The offsets ``[start, end)`` of segments to be made. An object at ``start`` gives way.
    aside
        Objects that are in nobody's place, to be taken out of the chain.
    """

    ranges: list[tuple[int, int]]
    to_quarantine: list[str]


@dataclass(slots=True)
class RepairResult:
    """What was done to one partition; ``lost`` are offsets ``[start, end)`` that can't be had back."""

    topic: str
    partition: int
    made: list[str] = field(default_factory=list)
    records: int = 0
    aside: list[str] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)


def plan_repair(
    first: int,
    end: int,
    low_watermark: int,
    sound: Iterable[tuple[str, SegmentMeta]],
    damaged: Iterable[tuple[str, int]],
) -> RepairPlan:
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
    to_quarantine: list[str] = []
    gaps: list[tuple[int, int]] = []
    next_offset = first
    for key, meta in sound:
        if meta.position < next_offset and (
            meta.next_position <= next_offset or next_offset >= low_watermark
        ):
            to_quarantine.append(key)
            continue
        if meta.position > next_offset:
            gaps.append((next_offset, meta.position))
        next_offset = meta.next_position
    if end > next_offset:
        gaps.append((next_offset, end))
    damaged_at = {position: key for key, position in damaged}
    ranges: list[tuple[int, int]] = []
    for start, stop in gaps:
        # an object that can give way to its successor need not be deleted
        inside = sorted(place for place in damaged_at if start < place < stop)
        for a, b in pairwise([start, *inside, stop]):
            ranges += [(at, min(at + MAX_SEGMENT_OFFSETS, b)) for at in range(a, b, MAX_SEGMENT_OFFSETS)]
    starts = {start for start, _ in ranges}
    to_quarantine += [key for place, key in damaged_at.items() if place not in starts]
    return RepairPlan(ranges, to_quarantine)


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
        self,
        store: Store,
        topic: TopicMeta,
        audit: PartitionAudit,
        watermarks: tuple[int, int],
        read: ReadRecords,
    ) -> None:
        self._store, self._topic, self._audit = store, topic, audit
        self._low_watermark, self._high_watermark = watermarks
        self._read = read
        self._damaged_keys = {finding.key for finding in audit.findings if finding.kind in _DAMAGE_KINDS}
        self.result = RepairResult(topic.topic, audit.partition)

    def run(self) -> RepairResult:
        """Make whole what can be.

        Raises
        ------
        StoreError
            We may not replace objects.
        """
        if self._topic.format == "json":
            self._repair_objects()
        else:
            self._repair_chain()
        self._repair_rejects(self._audit.findings)
        return self.result

    def _repair_chain(self) -> None:
        sound: list[tuple[str, SegmentMeta]] = []
        damaged: list[tuple[str, int]] = []
        end, unknown_position = self._audit.first, -1
        for info in segments(self._store, self._topic.topic, self.result.partition):
            position = parse_position(info.key)
            assert position is not None, "segments have positions"
            try:
                meta = read_meta(self._store, info)
            except LakeError:
                damaged.append((info.key, position))
                unknown_position = position
                continue
            if info.key in self._damaged_keys:
                damaged.append((info.key, position))
            else:
                sound.append((info.key, meta))
            if meta.matches(self._topic, self.result.partition, info.key):
                end = max(end, min(meta.next_position, self._high_watermark))
            else:
                unknown_position = position
        if unknown_position >= end:
            end = self._high_watermark  # nobody knows how far the one that is due there reached
        repair_plan = plan_repair(self._audit.first, end, self._low_watermark, sound, damaged)
        for start, stop in repair_plan.ranges:
            self._rebuild_segment(start, stop)
        for key in repair_plan.to_quarantine:
            self._quarantine(key)
            self._store.replace_damaged(key, None, metadata={})
            self.result.aside.append(key)

    def _rebuild_segment(self, start: int, stop: int) -> None:
        if start < self._low_watermark:
            self.result.lost.append((start, min(stop, self._low_watermark)))
            start = self._low_watermark
        if start >= stop:
            return
        codec = (
            NdjsonCodec()
            if self._topic.format == "ndjson"
            else ParquetCodec(read_columns(self._store, self._topic.topic))
        )
        number = self.result.partition
        meta = SegmentMeta(self._topic.topic, self._topic.topic_id, number, start, stop, 0, 0, "")
        data, meta, rejects = codec.encode(self._read(start, stop), meta)
        store_rejects(self._store, self._topic.topic, number, rejects)
        key = segment_key(self._topic.topic, number, start, self._topic.format)
        self._create_or_replace(key, data, meta.to_metadata(), codec.content_type)
        self.result.records += meta.records

    def _create_or_replace(self, key: str, data: bytes, metadata: dict[str, str], content_type: str) -> None:
        try:
            self._store.create(key, data, metadata=metadata, content_type=content_type)
        except ObjectExists:
            self._quarantine(key)
            self._store.replace_damaged(key, data, metadata=metadata)
        failpoints.reach("repair.replaced")
        self.result.made.append(key)

    def _quarantine(self, key: str) -> None:
        """Keep what is damaged, under a name that says what it was and which bytes they are."""
        data = self._store.read(key)
        quarantine_key = f"damaged/{key}.{rows.checksum(data)}"
        create_if_absent(self._store, quarantine_key, data)  # an interrupted repair may have stored it
        failpoints.reach("repair.quarantined")

    def _repair_objects(self) -> None:
        """Make the objects of single records that are missing or damaged."""
        name, number = self._topic.topic, self.result.partition
        missing: list[tuple[int, int]] = []
        next_offset = self._audit.first
        for start, stop, info in coverage(self._store, name, number, 0):
            if start > next_offset:
                missing.append((next_offset, start))
            if info.key in self._damaged_keys and start >= self._audit.first and not parse_marker(info.key):
                missing.append((start, stop))
            next_offset = max(next_offset, stop)
        for start, stop in missing:
            if start < self._low_watermark:
                self.result.lost.append((start, min(stop, self._low_watermark)))
            if stop > self._low_watermark:
                self._rebuild_objects(max(start, self._low_watermark), stop)

    def _rebuild_objects(self, start: int, stop: int) -> None:
        name, number = self._topic.topic, self.result.partition
        encoded = rows.encode(self._read(start, stop))
        store_rejects(self._store, name, number, encoded.rejects)
        for offset, line in zip(encoded.offsets, encoded.lines, strict=True):
            self._create_or_replace(
                segment_key(name, number, offset, "json"), f"{line}\n".encode(), {}, "application/json"
            )
            self.result.records += 1
        offsets = sorted([*encoded.offsets, *(reject.offset for reject in encoded.rejects)])
        for before, after in zip([start - 1, *offsets], [*offsets, stop], strict=True):
            if after > before + 1:
                key = marker_key(name, number, Marker("hole", before + 1, after))
                self._create_or_replace(key, b"", {}, "application/json")

    def _repair_rejects(self, findings: Iterable[Finding]) -> None:
        """Keep the rejects again that are missing or damaged, where the comparison named them."""
        offsets = {
            int(finding.key.rpartition("/")[2].partition(".")[0])
            for finding in findings
            if finding.key.startswith("rejects/") and finding.key.endswith(".json")
        }
        for offset in sorted(offsets):
            if offset < self._low_watermark:
                self.result.lost.append((offset, offset + 1))
                continue
            for reject in rows.encode(self._read(offset, offset + 1)).rejects:
                key = reject_key(self._topic.topic, self.result.partition, offset)
                self._create_or_replace(key, reject.to_json(), {}, "application/json")
