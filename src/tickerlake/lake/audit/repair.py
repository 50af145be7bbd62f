"""Repairs the chain of a partition from the records that Kafka still has.

Sound segments are never touched. Damaged ones, and those that belong elsewhere, are copied to ``damaged/``
before they are replaced. What Kafka no longer has stays as it is, and is reported.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import polars as pl

from tickerlake import failpoints
from tickerlake.errors import ObjectExists
from tickerlake.lake.audit.segments import Finding, PartitionAudit
from tickerlake.lake.chain import walk
from tickerlake.lake.formats import for_segments, for_topic, rows
from tickerlake.lake.reader import read_columns
from tickerlake.lake.rejects import encode_rejects, parse_range, store_reject, store_rejects
from tickerlake.lake.segment import (
    Marker,
    SegmentMeta,
    marker_key,
    segment_key,
)
from tickerlake.lake.store.base import Store, create_if_absent
from tickerlake.lake.topic import TopicMeta

ReadRecords = Callable[[int, int], pl.DataFrame]
"""Returns the committed records of the offsets ``[start, end)`` of a partition."""

MAX_SEGMENT_OFFSETS: Final = 200_000
"""Maximum length of a rebuilt segment in offsets: bounds memory, since its records are read at once."""

_DAMAGE_KINDS: Final = {
    "unreadable", "wrong_topic", "misnamed", "damaged", "metadata", "checksum", "count", "order", "range",
    "differs",
}  # fmt: skip
"""Kinds of findings after which an object is rebuilt."""


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """The steps that repair a chain.

    Parameters
    ----------
    ranges
        The offsets ``[start, end)`` of segments to rebuild. An object at ``start`` is replaced.
    to_quarantine
        Objects to remove from the chain.
    """

    ranges: list[tuple[int, int]]
    to_quarantine: list[str]


@dataclass(slots=True)
class RepairResult:
    """What was done to one partition.

    Parameters
    ----------
    made, aside
        Keys of objects that were rebuilt, and that were moved to ``damaged/`` without a replacement.
    records
        Rows that were stored.
    lost
        Offsets ``[start, end)`` that cannot be recovered.
    """

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
    """Plan the repair of a chain. Pure.

    Parameters
    ----------
    first
        Where the chain begins.
    end
        Where it is known to have ended: what is missing before that is rebuilt.
    low_watermark
        The first offset that Kafka still has. A segment that overlaps others stays in the chain if only it
        has records from before.
    sound
        Keys and metadata of sound segments, by position.
    damaged
        Keys and positions of the others, by position.
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
        # a damaged object is replaced rather than deleted where a rebuilt segment can begin
        inside = sorted(position for position in damaged_at if start < position < stop)
        for a, b in pairwise([start, *inside, stop]):
            ranges += [(at, min(at + MAX_SEGMENT_OFFSETS, b)) for at in range(a, b, MAX_SEGMENT_OFFSETS)]
    starts = {start for start, _ in ranges}
    to_quarantine += [key for position, key in damaged_at.items() if position not in starts]
    return RepairPlan(ranges, to_quarantine)


class Repair:
    """Repairs one partition.

    Parameters
    ----------
    store, topic
        The lake and the topic's metadata.
    audit
        Result of the deep audit; if it compared the partition with Kafka, rows that differ are rebuilt, too.
    watermarks
        Kafka's low and high watermark.
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
        """Repair what can be repaired.

        Raises
        ------
        StoreError
            This account may not replace objects.
        """
        if for_topic(self._topic.format).one_object_per_record:
            self._repair_objects()
        else:
            self._repair_chain()
        self._repair_rejects(self._audit.findings)
        return self.result

    def _repair_chain(self) -> None:
        sound: list[tuple[str, SegmentMeta]] = []
        damaged: list[tuple[str, int]] = []
        end, unknown_position = self._audit.first, -1
        for piece in walk(self._store, self._topic, self.result.partition):
            if piece.problem is None and piece.meta:
                end = max(end, min(piece.end, self._high_watermark))
            else:
                unknown_position = piece.start
            if piece.problem or piece.meta is None or piece.key in self._damaged_keys:
                damaged.append((piece.key, piece.start))
            else:
                sound.append((piece.key, piece.meta))
        if unknown_position >= end:
            end = self._high_watermark  # the last segment is damaged: where it ended is not known
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
        segment_format = for_segments(self._topic.format)
        columns = read_columns(self._store, self._topic.topic) if segment_format.has_columns else []
        number = self.result.partition
        meta = SegmentMeta(self._topic.topic, self._topic.topic_id, number, start, stop, 0, 0, "")
        data, meta, rejects = segment_format.encode(self._read(start, stop), meta, columns)
        store_rejects(self._store, self._topic.topic, number, (start, stop), rejects)
        key = segment_key(self._topic.topic, number, start, self._topic.format)
        self._create_or_replace(key, data, meta.to_metadata(), segment_format.content_type)
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
        """Copy an object to ``damaged/``, under its key and the checksum of its bytes."""
        data = self._store.read(key)
        quarantine_key = f"damaged/{key}.{rows.checksum(data)}"
        create_if_absent(self._store, quarantine_key, data)  # an interrupted repair may have stored it
        failpoints.reach("repair.quarantined")

    def _repair_objects(self) -> None:
        """Rebuild the objects of records, and the markers, that are missing or damaged."""
        missing: list[tuple[int, int]] = []
        next_offset = self._audit.first
        for piece in walk(self._store, self._topic, self.result.partition):
            if piece.start > next_offset:
                missing.append((next_offset, piece.start))
            is_record = piece.kind in {"object", "reject"}
            if is_record and piece.key in self._damaged_keys and piece.start >= self._audit.first:
                missing.append((piece.start, piece.end))
            next_offset = max(next_offset, piece.end)
        for start, stop in missing:
            if start < self._low_watermark:
                self.result.lost.append((start, min(stop, self._low_watermark)))
            if stop > self._low_watermark:
                self._rebuild_objects(max(start, self._low_watermark), stop)

    def _rebuild_objects(self, start: int, stop: int) -> None:
        name, number = self._topic.topic, self.result.partition
        encoded = rows.encode(self._read(start, stop))
        for reject in encoded.rejects:
            store_reject(self._store, name, number, reject)
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
        """Store rejects again that are missing or damaged, where the comparison reported them."""
        ranges = {
            finding.key: span
            for finding in findings
            if finding.key.startswith("rejects/") and (span := parse_range(finding.key)) is not None
        }
        for key, (start, stop) in sorted(ranges.items()):
            if start < self._low_watermark:
                self.result.lost.append((start, min(stop, self._low_watermark)))
            elif rejects := rows.encode(self._read(start, stop)).rejects:
                data, content_type = encode_rejects(key, rejects)
                self._create_or_replace(key, data, {}, content_type)
