"""The writer of the format ``json``: one object per record, named by the record's offset.

An object's name and content depend only on its record, so many uploads can be in flight. The chain ends
where its contiguous stored prefix ends. Offsets without a record (transaction markers, compaction) would
interrupt it: each such run gets an empty marker, ``<start>-<end>.hole``, which is the same for every writer.
"""

from concurrent.futures import Executor
from itertools import pairwise

import polars as pl

from tickerlake import failpoints
from tickerlake.lake.chain import walk
from tickerlake.lake.formats.rows import RejectedRecord, encode
from tickerlake.lake.rejects import reason_of, store_reject
from tickerlake.lake.segment import Marker, StoreResult, marker_key, segment_key
from tickerlake.lake.store.base import Store, create_if_absent
from tickerlake.lake.topic import TopicMeta

_CONTENT_TYPE = "application/json"


class ObjectWriter:
    """Stores each record of one partition as a separate object.

    Parameters
    ----------
    store
        The lake.
    topic
        From `topic.open_topic`.
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
        for piece in walk(self.store, self.topic, self.partition, end):
            if piece.start > end:
                break
            end = max(end, piece.end)
        return end

    def put(self, batch: pl.DataFrame) -> StoreResult:
        """Store each record unless it is stored already."""
        offsets = batch.get_column("offset").to_list()
        assert offsets[0] >= self.position, "a stored record must never be stored again"
        rows = encode(batch)
        new_rejects = sum(self._uploads.map(self._create_reject, rows.rejects))
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
        return self._advance(
            offsets[-1] + 1, len(sizes), new_rejects, sum(sizes), reject_reason=reason_of(rows.rejects)
        )

    def put_gap(self, end: int) -> StoreResult:
        """Record that the offsets from `position` to ``end`` were lost before they could be stored."""
        self._create((marker_key(self.topic.topic, self.partition, Marker("gap", self.position, end)), b""))
        return self._advance(end, 0, 0, 0)

    def _advance(
        self, end: int, records: int, rejects: int, size: int, *, reject_reason: str = ""
    ) -> StoreResult:
        start, self.position = self.position, end
        return StoreResult(start, end, records, rejects, records, size, reject_reason=reject_reason)

    def _create_reject(self, reject: RejectedRecord) -> bool:
        return store_reject(self.store, self.topic.topic, self.partition, reject)

    def _create(self, entry: tuple[str, bytes]) -> bool:
        key, data = entry
        created = create_if_absent(self.store, key, data, content_type=_CONTENT_TYPE)
        failpoints.reach("object.stored")
        return created
