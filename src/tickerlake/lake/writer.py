"""Appends records to the chain of a partition, one segment at a time.

Every write is create-only: whatever crashes, is retried or runs twice, the first segment stored at a
chain position stays, and every other writer adopts it and continues where it ends.
"""

from concurrent.futures import Executor
from typing import Protocol

import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists, ObjectMissing
from tickerlake.lake.formats import columns, for_segments, for_topic, rows
from tickerlake.lake.object_writer import ObjectWriter
from tickerlake.lake.reader import read_columns, read_content, read_meta
from tickerlake.lake.rejects import reason_of, store_rejects
from tickerlake.lake.segment import (
    REPAIR_HINT,
    SegmentMeta,
    StoreResult,
    columns_key,
    parse_position,
    partition_prefix,
    segment_key,
)
from tickerlake.lake.store.base import ObjectInfo, Store, create_if_absent
from tickerlake.lake.topic import TopicMeta
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA


class Writer(Protocol):
    """Appends records to the chain of one partition; not thread-safe."""

    @property
    def position(self) -> int:
        """Where the chain ends: records at lower offsets are stored."""
        ...

    def put(self, batch: pl.DataFrame) -> StoreResult:
        """Store records.

        Parameters
        ----------
        batch
            Columns as `model.schema.KAFKA_RECORDS`, at least one row, offsets ascending from `position` on.
        """
        ...

    def put_gap(self, end: int) -> StoreResult:
        """Record that the offsets from `position` to ``end`` were lost before they could be stored."""
        ...


def open_writer(
    store: Store, topic: TopicMeta, partition: int, hint: tuple[int, int] | None, uploads: Executor | None
) -> Writer:
    """Find the end of a partition's chain and return a writer for the topic's format.

    Parameters
    ----------
    hint
        As for `PartitionWriter`.
    uploads
        Threads that store objects, for the format ``json``.
    """
    if for_topic(topic.format).one_object_per_record:
        assert uploads is not None, "the format json needs upload threads"
        return ObjectWriter(store, topic, partition, uploads)
    return SegmentWriter(store, topic, partition, hint)


class SegmentWriter:
    """Appends segments to the chain of one partition.

    Parameters
    ----------
    store
        The lake.
    topic
        From `topic.open_topic`.
    partition
        Number of the partition.
    hint
        Position and end of a segment (commit metadata and committed offset of the consumer group),
        which saves listing the chain before it. Used only if the lake holds that segment.
    """

    def __init__(
        self, store: Store, topic: TopicMeta, partition: int, hint: tuple[int, int] | None = None
    ) -> None:
        self.store = store
        self.topic = topic
        self.partition = partition
        self._format = for_segments(topic.format)
        self._columns: list[columns.Column] | None = None if self._format.has_columns else []
        self.position = self._find_end(hint)

    def _find_end(self, hint: tuple[int, int] | None) -> int:
        start_at = ""
        if hint and self._ends_at(*hint):
            start_at = self._key(hint[0])
        last = None
        for info in self.store.list(partition_prefix(self.topic.topic, self.partition), start_at):
            if parse_position(info.key) is not None:
                last = info
        if last is None:
            return self.topic.first_position(self.partition)
        return self._read_checked_meta(last).next_position

    def _ends_at(self, position: int, end: int) -> bool:
        info = self.store.stat(self._key(position))
        return info is not None and read_meta(self.store, info).next_position == end

    def _key(self, position: int) -> str:
        return segment_key(self.topic.topic, self.partition, position, self.topic.format)

    def _read_checked_meta(self, info: ObjectInfo) -> SegmentMeta:
        """Read the metadata of the segment that the chain is to continue from."""
        meta = self._check_meta(read_meta(self.store, info), info.key)
        # Cloud Storage verifies its own checksums; a local disk may have truncated it or flipped a bit
        if info.metadata is None and read_content(self.store, info.key).rows_crc32c != meta.rows_crc32c:
            raise LakeError(
                f"{self.store.uri}/{info.key} is damaged: the checksum of its rows does not match.",
                REPAIR_HINT,
            )
        return meta

    def _check_meta(self, meta: SegmentMeta, key: str) -> SegmentMeta:
        if not meta.matches(self.topic, self.partition, key):
            raise LakeError(
                f"{self.store.uri}/{key} holds records of {meta.topic} partition {meta.partition} from "
                f"offset {meta.position} (topic id {meta.topic_id}): it is not part of this chain.",
                "Two topics were written to one lake. Nothing was changed; choose another --lake.",
            )
        if meta.next_position <= meta.position:
            raise LakeError(f"{self.store.uri}/{key} ends before it begins.", REPAIR_HINT)
        return meta

    def put(self, batch: pl.DataFrame) -> StoreResult:
        """Store records as the next segment, or adopt the one that another writer stored."""
        offsets = batch.get_column("offset")
        assert offsets[0] >= self.position, "a stored record must never be stored again"
        return self._create(batch, offsets[-1] + 1)

    def put_gap(self, end: int) -> StoreResult:
        """Record that the offsets from `position` to ``end`` were lost before they could be stored."""
        return self._create(pl.DataFrame(schema=KAFKA_RECORD_SCHEMA), end, gap=True)

    def _create(self, batch: pl.DataFrame, end: int, *, gap: bool = False) -> StoreResult:
        if self._columns is None:
            self._columns = self._ensure_columns(batch)
        key = self._key(self.position)
        data, meta, rejects = self._format.encode(
            batch,
            SegmentMeta(
                topic=self.topic.topic,
                topic_id=self.topic.topic_id,
                partition=self.partition,
                position=self.position,
                next_position=end,
                records=0,
                rejects=0,
                rows_crc32c="",
                gap=gap,
            ),
            self._columns,
        )
        store_rejects(self.store, self.topic.topic, self.partition, (self.position, end), rejects)
        failpoints.reach("segment.rejects")
        try:
            self.store.create(key, data, metadata=meta.to_metadata(), content_type=self._format.content_type)
            failpoints.reach("segment.stored")
        except ObjectExists:
            stored = self._adopt(key)
        else:
            counts = (meta.records, meta.rejects, 1, len(data))
            stored = StoreResult(meta.position, meta.next_position, *counts, reject_reason=reason_of(rejects))
        self.position = stored.next_position
        return stored

    def _ensure_columns(self, batch: pl.DataFrame) -> list[columns.Column]:
        """Return the topic's columns; infer and store them if this is its first segment."""
        key = columns_key(self.topic.topic)
        if not self.store.stat(key):
            sample = rows.encode(batch.head(columns.SAMPLE_RECORDS))
            inferred = columns.encode_columns(columns.infer_columns(sample.lines))
            # if another worker was first, its columns are used
            create_if_absent(self.store, key, inferred, content_type="application/json")
        return read_columns(self.store, self.topic.topic)

    def _adopt(self, key: str) -> StoreResult:
        info = self.store.stat(key)
        if info is None:
            raise ObjectMissing(
                f"{self.store.uri}/{key} existed and was deleted.",
                "Another program deletes objects from the lake; stop it.",
            )
        meta = self._read_checked_meta(info)
        return StoreResult(meta.position, meta.next_position, 0, 0, 0, 0, adopted=True)
