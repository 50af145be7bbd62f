"""The buffer of a partition, when another worker was first and cut its segment elsewhere."""

from concurrent.futures import Future
from dataclasses import dataclass

import polars as pl
import pytest

from tickerlake.lake.segment import StoreResult
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA
from tickerlake.pipeline.sink import SinkOptions, _PartitionBuffer


@dataclass
class Writer:
    """A writer at a given position of the chain."""

    position: int = 0

    def put(self, frame: pl.DataFrame) -> StoreResult:
        raise AssertionError("not called")

    def put_gap(self, end: int) -> StoreResult:
        raise AssertionError("not called")


def records(start: int, end: int) -> pl.DataFrame:
    offsets = list(range(start, end))
    return pl.DataFrame(
        {
            "offset": offsets,
            "timestamp_ms": offsets,
            "key": None,
            "value": [b"{}"] * len(offsets),
            "headers": None,
        },
        schema=KAFKA_RECORD_SCHEMA,
    )


def pending_offsets(buffer: _PartitionBuffer) -> list[int]:
    return [offset for frame in buffer.frames for offset in frame.get_column("offset")]


@pytest.mark.parametrize(
    ("adopted_end", "remaining"),
    [(10, range(10, 30)), (4, range(4, 30)), (25, range(25, 30)), (99, range(0))],
)
def test_records_not_covered_by_an_adopted_segment_stay_buffered(adopted_end: int, remaining: range) -> None:
    buffer = _PartitionBuffer(Writer())
    for start in (0, 6, 15):
        buffer.add(records(start, {0: 6, 6: 15, 15: 30}[start]))
    segment = buffer.cut_segment(SinkOptions(flush_records=10))
    assert segment.get_column("offset").to_list() == list(range(10))
    assert pending_offsets(buffer) == list(range(10, 30))
    buffer.future = Future()
    buffer.on_stored(StoreResult(0, adopted_end, records=0, rejects=0, objects=0, bytes=0, adopted=True))
    assert pending_offsets(buffer) == list(remaining)
    assert buffer.records == len(remaining)
    assert buffer.future is None


def test_stored_records_are_not_buffered_again() -> None:
    buffer = _PartitionBuffer(Writer(position=5))
    buffer.add(records(0, 8))
    assert pending_offsets(buffer) == [5, 6, 7]
