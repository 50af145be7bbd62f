"""The format ``json``: one object a record, named by the record's own offset.

Names and contents depend on nothing but the record, so many uploads may be in flight. What counts as
the chain's end is the end of its contiguous stored prefix. Offsets without a record (transaction
markers, compaction) would break it: each such run gets an empty marker, ``<start>-<end>.hole``, which
is a fact of the log and the same for every reader.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from heapq import merge
from itertools import pairwise

import polars as pl

from tickerlake import failpoints
from tickerlake.lake.formats.rows import RejectedRecord, encode
from tickerlake.lake.segment import (
    Marker,
    StoreResult,
    marker_key,
    parse_marker,
    parse_position,
    partition_prefix,
    reject_key,
    reject_prefix,
    segment_key,
)
from tickerlake.lake.store.base import ObjectInfo, Store, create_if_absent
from tickerlake.lake.topic import TopicMeta

CoveredRange = tuple[int, int, ObjectInfo]


def coverage(store: Store, topic: str, partition: int, start: int) -> Iterator[CoveredRange]:
    """Yield the offsets ``[start, end)`` that each object of a partition stands for, by offset."""
    return merge(
        _covered_ranges(store, partition_prefix(topic, partition), start),
        _covered_ranges(store, reject_prefix(topic, partition), start),
        key=lambda found: found[:2],
    )


def _covered_ranges(store: Store, prefix: str, start: int) -> Iterator[CoveredRange]:
    for info in store.list(prefix, f"{prefix}{start:020d}"):
        position, marker = parse_position(info.key), parse_marker(info.key)
        if position is not None:
            yield position, position + 1, info
        elif marker:
            yield marker.start, marker.end, info


class ObjectWriter:
    """Stores the records of one partition, each as an object of its own.

    Parameters
    ----------
    store
        Where the lake is.
    topic
        From `writer.open_topic`.
    partition
        Number of the partition.
    uploads
        Threads that store the objects, shared by all partitions.
    """

    def __init__(self, store: Store, topic: TopicMeta, partition: int, uploads: Executor) -> None:
        self.store = store
        self.topic = topic
        self.partition = partition
        self._uploads = uploads
        self.position = self._find_end()

    def _find_end(self) -> int:
        end = self.topic.first_position(self.partition)
        for start, stop, _ in coverage(self.store, self.topic.topic, self.partition, end):
            if start > end:
                break
            end = max(end, stop)
        return end

    def put(self, batch: pl.DataFrame) -> StoreResult:
        """Store each record; those which are there already are left alone."""
        offsets = batch.get_column("offset").to_list()
        assert offsets[0] >= self.position, "a record before the chain's end must never be stored again"
        rows = encode(batch)
        new_rejects = store_rejects(self.store, self.topic.topic, self.partition, rows.rejects)
        holes = [
            (marker_key(self.topic.topic, self.partition, Marker("hole", before + 1, after)), b"")
            for before, after in pairwise([self.position - 1, *offsets])
            if after > before + 1
        ]
        documents = [
            (segment_key(self.topic.topic, self.partition, offset, "json"), f"{line}\n".encode())
            for offset, line in zip(rows.offsets, rows.lines, strict=True)
        ]
        created = list(self._uploads.map(self._create, [*holes, *documents]))[len(holes) :]
        sizes = [len(data) for (_, data), new in zip(documents, created, strict=True) if new]
        return self._advance(offsets[-1] + 1, len(sizes), new_rejects, sum(sizes))

    def put_gap(self, end: int) -> StoreResult:
        """Record that the offsets from `position` to ``end`` were lost before they could be stored."""
        self._create((marker_key(self.topic.topic, self.partition, Marker("gap", self.position, end)), b""))
        return self._advance(end, 0, 0, 0)

    def _advance(self, end: int, records: int, rejects: int, size: int) -> StoreResult:
        start, self.position = self.position, end
        return StoreResult(start, end, records, rejects, records, size)

    def _create(self, entry: tuple[str, bytes]) -> bool:
        key, data = entry
        # an earlier attempt may have stored it: its content depends on the record only
        created = create_if_absent(self.store, key, data, content_type="application/json")
        failpoints.reach("object.stored")
        return created


def store_rejects(store: Store, topic: str, partition: int, rejects: Iterable[RejectedRecord]) -> int:
    """Keep records that do not decode, each as an object of its own; return how many were not there yet.

    They are stored before what covers them is.
    """
    return sum(
        create_if_absent(
            store,
            reject_key(topic, partition, reject.offset),
            reject.to_json(),
            content_type="application/json",
        )
        for reject in rejects
    )
