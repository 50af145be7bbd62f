"""Mistakes that sinks make, to be planted in ours: whoever judges must notice each of them."""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from tickerlake import clock
from tickerlake.kafka.consumer import Committed, Partition
from tickerlake.lake.segment import Stored, partition_prefix
from tickerlake.lake.store.base import ObjectInfo
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore, crc32c
from tickerlake.lake.writer import PartitionWriter
from tickerlake.pipeline.sink import Sink

PLANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {}


def _plant(function: Callable[[pytest.MonkeyPatch], None]) -> None:
    PLANTS[function.__name__] = function


@_plant
def overwrites(patch: pytest.MonkeyPatch) -> None:
    """Writes over what is there."""
    create = MemoryStore.create

    def over(self: MemoryStore, key: str, data: bytes, *, metadata: Mapping[str, str], **more: str) -> None:
        if self.stat(key):
            info = ObjectInfo(key, len(data), MappingProxyType(dict(metadata)), crc32c(data))
            self._shelf.objects[key] = (data, info)
        else:
            create(self, key, data, metadata=metadata, **more)

    patch.setattr(MemoryStore, "create", over)
    patch.setattr(LocalStore, "_link", lambda _, temp, path: os.replace(temp, path))  # noqa: PTH105


@_plant
def commits_before_it_stores(patch: pytest.MonkeyPatch) -> None:
    """Says that records are done when it takes them, and believes that later."""
    real_open, real_store = Sink._open, Sink._store

    def commit(self: Sink, partition: Partition, lane: Any) -> None:
        real_store(self, partition, lane)
        self._consumer.commit(partition, int(lane.flying.item(-1, "offset")) + 1, "")

    def resume(self: Sink, partition: Partition, committed: Committed | None) -> int:
        start = real_open(self, partition, None)
        if committed is None:
            return start
        self._lanes[partition].writer.position = committed.offset  # type: ignore[misc]
        return committed.offset

    patch.setattr(Sink, "_store", commit)
    patch.setattr(Sink, "_open", resume)


@_plant
def skips_a_record_at_a_rebalance(patch: pytest.MonkeyPatch) -> None:
    """Takes an offset that was committed for the last one done."""
    real = Sink._open

    def resume(self: Sink, partition: Partition, committed: Committed | None) -> int:
        start = real(self, partition, committed)
        return start + 1 if committed else start

    patch.setattr(Sink, "_open", resume)


@_plant
def names_by_time(patch: pytest.MonkeyPatch) -> None:
    """Names a segment by when it was cut."""
    places: dict[str, int] = {}

    def key(self: PartitionWriter, position: int) -> str:
        # each writer cuts at moments of its own
        place = f"{id(self)}:{position}"
        places.setdefault(place, clock.now_ns() // 1000 + len(places))
        extension = {"ndjson": "ndjson.gz"}.get(self.topic.format, self.topic.format)
        return f"{partition_prefix(self.topic.topic, self.partition)}{places[place]:020d}.{extension}"

    patch.setattr(PartitionWriter, "_key", key)
    patch.setattr(PartitionWriter, "_check", lambda _, meta, __: meta)


@_plant
def adopts_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Takes what has its segment's name for its segment."""
    real = PartitionWriter.put

    def put(self: PartitionWriter, batch: pl.DataFrame) -> Stored:
        self.wanted = int(batch.item(-1, "offset")) + 1  # type: ignore[attr-defined]
        return real(self, batch)

    def adopt(self: PartitionWriter, key: str) -> Stored:
        del key
        return Stored(self.position, self.wanted, 0, 0, 0, 0, adopted=True)  # type: ignore[attr-defined]

    patch.setattr(PartitionWriter, "put", put)
    patch.setattr(PartitionWriter, "_adopt", adopt)


@_plant
def names_by_the_first_record(patch: pytest.MonkeyPatch) -> None:
    """Names a segment by its first record, which another reader may not see any more."""
    real = PartitionWriter.put

    def put(self: PartitionWriter, batch: pl.DataFrame) -> Stored:
        self.position = int(batch.item(0, "offset"))
        return real(self, batch)

    patch.setattr(PartitionWriter, "put", put)
