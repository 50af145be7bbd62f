"""Typical bugs of sinks, to be seeded into ours: the oracle and the simulation must detect each of them."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from tickerlake import clock
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset
from tickerlake.lake.segment import StoreResult, partition_prefix
from tickerlake.lake.store.base import ObjectInfo, crc32c
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.writer import SegmentWriter
from tickerlake.pipeline.sink import Sink

SEEDED_BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def _seeded_bug(function: Callable[[pytest.MonkeyPatch], None]) -> None:
    SEEDED_BUGS[function.__name__] = function


@_seeded_bug
def overwrites(patch: pytest.MonkeyPatch) -> None:
    """Overwrites existing objects."""
    create = MemoryStore.create

    def create_or_overwrite(
        self: MemoryStore, key: str, data: bytes, *, metadata: Mapping[str, str], **more: str
    ) -> None:
        if self.stat(key):
            info = ObjectInfo(key, len(data), MappingProxyType(dict(metadata)), crc32c(data))
            self._bucket.objects[key] = (data, info)
        else:
            create(self, key, data, metadata=metadata, **more)

    patch.setattr(MemoryStore, "create", create_or_overwrite)
    patch.setattr(LocalStore, "_link", lambda _, temp, path: os.replace(temp, path))  # noqa: PTH105


@_seeded_bug
def commits_before_storing(patch: pytest.MonkeyPatch) -> None:
    """Commits offsets before the records are stored, and resumes from them."""
    real_open, real_store = Sink._open_partition, Sink._start_store

    def commit(self: Sink, partition: Partition, buffer: Any) -> None:
        real_store(self, partition, buffer)
        self._consumer.commit(partition, int(buffer.in_flight.item(-1, "offset")) + 1, "")

    def resume(self: Sink, partition: Partition, committed: CommittedOffset | None) -> int:
        start = real_open(self, partition, None)
        if committed is None:
            return start
        self._buffers[partition].writer.position = committed.offset  # type: ignore[misc]
        return committed.offset

    patch.setattr(Sink, "_start_store", commit)
    patch.setattr(Sink, "_open_partition", resume)


@_seeded_bug
def skips_a_record_on_rebalance(patch: pytest.MonkeyPatch) -> None:
    """Takes the committed offset for the last one stored, not for the next one."""
    real = Sink._open_partition

    def resume(self: Sink, partition: Partition, committed: CommittedOffset | None) -> int:
        start = real(self, partition, committed)
        return start + 1 if committed else start

    patch.setattr(Sink, "_open_partition", resume)


@_seeded_bug
def names_segments_by_time(patch: pytest.MonkeyPatch) -> None:
    """Names a segment by the time it was cut."""
    numbers: dict[str, int] = {}

    def key(self: SegmentWriter, position: int) -> str:
        # two writers never cut at the same time
        cut_id = f"{id(self)}:{position}"
        numbers.setdefault(cut_id, clock.now_ns() // 1000 + len(numbers))
        extension = {"ndjson": "ndjson.gz"}.get(self.topic.format, self.topic.format)
        return f"{partition_prefix(self.topic.topic, self.partition)}{numbers[cut_id]:020d}.{extension}"

    patch.setattr(SegmentWriter, "_key", key)
    patch.setattr(SegmentWriter, "_check_meta", lambda _, meta, __: meta)


@_seeded_bug
def adopts_without_checking(patch: pytest.MonkeyPatch) -> None:
    """Adopts any object with its segment's name."""
    real = SegmentWriter.put

    def put(self: SegmentWriter, batch: pl.DataFrame) -> StoreResult:
        self.expected_end = int(batch.item(-1, "offset")) + 1  # type: ignore[attr-defined]
        return real(self, batch)

    def adopt(self: SegmentWriter, key: str) -> StoreResult:
        del key
        return StoreResult(self.position, self.expected_end, 0, 0, 0, 0, adopted=True)  # type: ignore[attr-defined]

    patch.setattr(SegmentWriter, "put", put)
    patch.setattr(SegmentWriter, "_adopt", adopt)


@_seeded_bug
def names_segments_by_first_record(patch: pytest.MonkeyPatch) -> None:
    """Names a segment by its first record, which compaction can remove before another worker reads it."""
    real = SegmentWriter.put

    def put(self: SegmentWriter, batch: pl.DataFrame) -> StoreResult:
        self.position = int(batch.item(0, "offset"))
        return real(self, batch)

    patch.setattr(SegmentWriter, "put", put)
