"""The only writer of the lake: opens a topic's chain, finds its end, adds one segment at a time.

Every write is create-only, so whatever crashes, repeats or runs twice, the first segment stored at a
chain position is the one that stays, and everybody else adopts where it ends.
"""

from concurrent.futures import Executor
from typing import Protocol

import msgspec
import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists, ObjectMissing, UsageError
from tickerlake.lake.formats import columns, rows
from tickerlake.lake.formats.ndjson import NdjsonCodec
from tickerlake.lake.formats.parquet import ParquetCodec
from tickerlake.lake.formats.record_objects import ObjectWriter, store_rejects
from tickerlake.lake.reader import read_columns, read_meta, read_segment
from tickerlake.lake.segment import (
    REPAIR_HINT,
    TOP_LEVEL_PREFIXES,
    SegmentMeta,
    StoreResult,
    TopicMeta,
    check_topic,
    columns_key,
    parse_position,
    partition_prefix,
    segment_key,
    topic_key,
)
from tickerlake.lake.store.base import ObjectInfo, Store, create_if_absent
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA


class Writer(Protocol):
    """Adds records to the chain of one partition; one call at a time."""

    @property
    def position(self) -> int:
        """Where the chain ends: records below it are done."""
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
    """Find the end of a partition's chain and return what continues it, in the topic's format.

    Parameters
    ----------
    hint
        As for `PartitionWriter`.
    uploads
        Threads that store single objects, for the format ``json``.
    """
    if topic.format == "json":
        assert uploads is not None, "one object a record needs threads"
        return ObjectWriter(store, topic, partition, uploads)
    return SegmentWriter(store, topic, partition, hint)


class Codec(Protocol):
    """How rows become the bytes of a segment."""

    @property
    def content_type(self) -> str:
        """Media type of the object."""
        ...

    def encode(
        self, batch: pl.DataFrame, meta: SegmentMeta
    ) -> tuple[bytes, SegmentMeta, list[rows.RejectedRecord]]:
        """Return the object's bytes, ``meta`` with counts and checksum, and what was refused."""
        ...


def open_topic(store: Store, expected: TopicMeta) -> TopicMeta:
    """Create the topic's description in the lake, or check that the one there is of the same topic.

    Returns
    -------
    TopicMeta
        The one that counts: ``first_positions`` and ``created_ms`` are those of the first worker.

    Raises
    ------
    LakeError
        The topic was deleted and created anew, or is of another cluster.
    UsageError
        The chain has another format, or the place holds something that is no lake.
    """
    key = topic_key(check_topic(expected.topic))
    _check_location(store)
    try:
        store.create(key, msgspec.json.encode(expected), metadata={}, content_type="application/json")
    except ObjectExists:
        return check_same_topic(read_topic(store, expected.topic), expected, store.uri)
    return expected


def _check_location(store: Store) -> None:
    first = next((info for info in store.list("") if not info.key.startswith(".")), None)
    if first and not first.key.startswith(TOP_LEVEL_PREFIXES) and next(store.list("raw/"), None) is None:
        raise UsageError(
            f"{store.uri} is no lake: it holds {first.key}.",
            "Name an empty folder or prefix, or one that holds a lake (--lake).",
        )


def read_topic(store: Store, topic: str) -> TopicMeta:
    """Read a topic's description; ObjectMissing if the lake does not have the topic."""
    key = topic_key(topic)
    try:
        return msgspec.json.decode(store.read(key), type=TopicMeta)
    except msgspec.MsgspecError as error:
        raise LakeError(f"{store.uri}/{key} is damaged: {error}.", "Restore it from a copy.") from error


def check_same_topic(stored: TopicMeta, expected: TopicMeta, uri: str) -> TopicMeta:
    """Return ``found`` if it is of the topic that is ``wanted``; raises as `open_topic` does."""
    if (stored.cluster_id, stored.topic_id) != (expected.cluster_id, expected.topic_id):
        reason = (
            "was deleted and created anew"
            if stored.cluster_id == expected.cluster_id
            else "is of another cluster"
        )
        raise LakeError(
            f"The topic {expected.topic} {reason} since {uri} began to store it (topic id {stored.topic_id} on "
            f"cluster {stored.cluster_id} there, {expected.topic_id} on {expected.cluster_id} here).",
            "Its offsets mean other records now. Store the new topic in another lake (--lake).",
        )
    if stored.format != expected.format:
        raise UsageError(
            f"{uri} stores the topic {expected.topic} as {stored.format}, not {expected.format}.",
            f"Use --format {stored.format}, or another lake.",
        )
    return stored


class SegmentWriter:
    """Adds segments to the chain of one partition, one at a time.

    Parameters
    ----------
    store
        Where the lake is.
    topic
        From `open_topic`.
    partition
        Number of the partition.
    hint
        A chain position known from elsewhere (Kafka's committed offset and the position of the
        segment before it), which saves listing the whole chain. Believed only if the lake agrees.
    """

    def __init__(
        self, store: Store, topic: TopicMeta, partition: int, hint: tuple[int, int] | None = None
    ) -> None:
        self.store = store
        self.topic = topic
        self.partition = partition
        self._codec: Codec | None = NdjsonCodec() if topic.format == "ndjson" else None
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
        """Read what a segment says about itself, if it is one to build upon."""
        meta = self._check_meta(read_meta(self.store, info), info.key)
        # a bucket looks after what it holds; a folder's disk may have cut it or turned a bit
        if info.metadata is None and read_segment(self.store, info.key)[1] != meta.rows_crc32c:
            raise LakeError(
                f"{self.store.uri}/{info.key} is damaged: its rows have another checksum.", REPAIR_HINT
            )
        return meta

    def _check_meta(self, meta: SegmentMeta, key: str) -> SegmentMeta:
        if not meta.matches(self.topic, self.partition, key):
            raise LakeError(
                f"{self.store.uri}/{key} holds records of {meta.topic} partition {meta.partition} from "
                f"offset {meta.position} (topic id {meta.topic_id}): it does not belong here.",
                "Two topics were written to one place. Nothing was changed; choose another --lake.",
            )
        if meta.next_position <= meta.position:
            raise LakeError(f"{self.store.uri}/{key} ends before it begins.", REPAIR_HINT)
        return meta

    def put(self, batch: pl.DataFrame) -> StoreResult:
        """Store records as the next segment, or adopt the one that is already there."""
        offsets = batch.get_column("offset")
        assert offsets[0] >= self.position, "a record before the chain's end must never be stored again"
        return self._create(batch, offsets[-1] + 1)

    def put_gap(self, end: int) -> StoreResult:
        """Record that the offsets from `position` to ``end`` were lost before they could be stored."""
        return self._create(pl.DataFrame(schema=KAFKA_RECORD_SCHEMA), end, gap=True)

    def _create(self, batch: pl.DataFrame, end: int, *, gap: bool = False) -> StoreResult:
        self._codec = codec = self._codec or ParquetCodec(self._ensure_columns(batch))
        key = self._key(self.position)
        data, meta, rejects = codec.encode(
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
        )
        store_rejects(self.store, self.topic.topic, self.partition, rejects)
        failpoints.reach("segment.rejects")
        try:
            self.store.create(key, data, metadata=meta.to_metadata(), content_type=codec.content_type)
            failpoints.reach("segment.stored")
        except ObjectExists:
            stored = self._adopt(key)
        else:
            stored = StoreResult(meta.position, meta.next_position, meta.records, meta.rejects, 1, len(data))
        self.position = stored.next_position
        return stored

    def _ensure_columns(self, batch: pl.DataFrame) -> list[columns.Column]:
        """Read the topic's columns, or fix them by these records if nobody has yet."""
        key = columns_key(self.topic.topic)
        if not self.store.stat(key):
            sample = rows.encode(batch.head(columns.SAMPLE_RECORDS))
            inferred = columns.encode_columns(columns.infer_columns(sample.lines))
            # if another worker was first, its columns count
            create_if_absent(self.store, key, inferred, content_type="application/json")
        return read_columns(self.store, self.topic.topic)

    def _adopt(self, key: str) -> StoreResult:
        info = self.store.stat(key)
        if info is None:
            raise ObjectMissing(
                f"{self.store.uri}/{key} was there and is gone.",
                "Something deletes objects from the lake; stop it.",
            )
        meta = self._read_checked_meta(info)
        return StoreResult(meta.position, meta.next_position, 0, 0, 0, 0, adopted=True)
