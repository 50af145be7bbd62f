"""One walk shows a chain in every storage format, with one listing and no extra reads."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.test_writer import TOPIC, records
from tickerlake.lake.audit.match import find_column_mismatches, find_line_mismatches
from tickerlake.lake.chain import read_segment_piece, stored_ranges, walk
from tickerlake.lake.formats import for_key, for_segments, for_topic
from tickerlake.lake.formats.lines import line_offsets
from tickerlake.lake.reader import read_columns, read_rows, segments
from tickerlake.lake.segment import EXTENSIONS, SegmentMeta, segment_key
from tickerlake.lake.store.base import ObjectInfo
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import Format, TopicMeta, open_topic
from tickerlake.lake.writer import open_writer

UPLOADS = ThreadPoolExecutor(2)


def build_chain(store: MemoryStore | LocalStore, fmt: Format) -> TopicMeta:
    """Offset 3 is a reject, 2 has no record, 6 to 8 are lost."""
    topic = open_topic(store, replace(TOPIC, format=fmt))
    writer = open_writer(store, topic, 0, None, UPLOADS)
    writer.put(records([0, 1, 3]))
    writer.put(records([4, 5]))
    writer.put_gap(9)
    writer.put(records([9]))
    return topic


def kinds(
    store: MemoryStore | LocalStore, topic: TopicMeta, start: int | None = None
) -> list[tuple[str, int, int]]:
    return [(piece.kind, piece.start, piece.end) for piece in walk(store, topic, 0, start)]


@pytest.mark.parametrize("fmt", ["ndjson", "parquet"])
def test_segments_are_pieces(fmt: Format) -> None:
    store = MemoryStore()
    topic = build_chain(store, fmt)
    assert kinds(store, topic) == [("segment", 0, 4), ("segment", 4, 6), ("gap", 6, 9), ("segment", 9, 10)]
    assert kinds(store, topic, 4) == kinds(store, topic)[1:]
    assert [piece.records for piece in walk(store, topic, 0)] == [2, 2, 0, 1]
    assert list(stored_ranges(store, topic, 0)) == [(0, 4), (4, 6), (9, 10)]


def test_objects_rejects_and_markers_are_pieces() -> None:
    store = MemoryStore()
    topic = build_chain(store, "json")
    expected = [
        ("object", 0, 1), ("object", 1, 2), ("hole", 2, 3), ("reject", 3, 4), ("object", 4, 5),
        ("object", 5, 6), ("gap", 6, 9), ("object", 9, 10),
    ]  # fmt: skip
    assert kinds(store, topic) == expected
    assert kinds(store, topic, 4) == expected[4:]
    assert sum(piece.records for piece in walk(store, topic, 0)) == 5
    assert [start for start, _ in stored_ranges(store, topic, 0)] == [0, 1, 2, 3, 4, 5, 9]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"topic_id": "other"}, "wrong_topic"),
        ({"partition": 1}, "wrong_topic"),
        ({"position": 5}, "misnamed"),
        ({"next_position": 4}, "misnamed"),
        (None, "unreadable"),
    ],
)
def test_a_segment_that_is_not_part_of_the_chain_has_a_problem(
    change: dict[str, Any] | None, problem: str
) -> None:
    store = MemoryStore()
    topic = build_chain(store, "ndjson")
    (info,) = [info for info in segments(store, "bars", 0) if info.key == segment_key("bars", 0, 4, "ndjson")]
    meta = SegmentMeta.from_metadata(info.metadata or {}, info.key)
    metadata = replace(meta, **change).to_metadata() if change else {}
    piece = read_segment_piece(store, topic, 0, replace(info, metadata=metadata))
    assert piece.problem is not None
    assert (piece.problem.kind, piece.start, piece.end) == (problem, 4, 4)
    assert (piece.has_rows, piece.records) == (False, 0)
    assert (piece.meta is None) == (change is None)


@pytest.mark.parametrize(("fmt", "listings"), [("ndjson", 1), ("parquet", 1), ("json", 2)])
def test_a_walk_costs_a_listing_and_no_reads(fmt: Format, listings: int) -> None:
    calls: Counter[str] = Counter()

    class Counting(MemoryStore):
        def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
            calls["list"] += 1
            return super().list(prefix, start_at)

        def read(self, key: str) -> bytes:
            calls["read"] += 1
            return super().read(key)

        def stat(self, key: str) -> ObjectInfo | None:
            calls["stat"] += 1
            return super().stat(key)

    store = Counting()
    topic = build_chain(store, fmt)
    calls.clear()
    assert len(list(walk(store, topic, 0))) >= 4
    assert calls == {"list": listings}


@pytest.mark.parametrize("fmt", ["ndjson", "parquet"])
def test_without_object_metadata_a_segment_costs_one_range_read(
    fmt: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    topic = build_chain(store, fmt)
    reads: list[str] = []
    original_read = LocalStore.read_range

    def counted(self: LocalStore, key: str, start: int, length: int) -> bytes:
        reads.append(key)
        return original_read(self, key, start, length)

    monkeypatch.setattr(LocalStore, "read_range", counted)
    assert kinds(store, topic) == [("segment", 0, 4), ("segment", 4, 6), ("gap", 6, 9), ("segment", 9, 10)]
    assert len(reads) == len(set(reads)) == 4


@pytest.mark.parametrize("fmt", list(EXTENSIONS))
def test_a_format_is_known_by_topic_and_by_key(fmt: Format) -> None:
    assert for_key(segment_key("t.json.parquet", 0, 7, fmt)) is for_topic(fmt)
    if fmt != "json":
        assert for_segments(fmt) is for_topic(fmt)


@pytest.mark.parametrize("fmt", list(EXTENSIONS))
def test_rows_read_as_they_were_encoded(fmt: Format) -> None:
    store = MemoryStore()
    topic = build_chain(store, fmt)
    storage_format = for_topic(fmt)
    columns = read_columns(store, "bars") if storage_format.has_columns else []
    expected = records([0, 1, 4, 5, 9])
    rows = [read_rows(store, piece.key) for piece in walk(store, topic, 0) if piece.has_rows]
    if storage_format.has_columns:
        frames = [each for each in rows if isinstance(each, pl.DataFrame)]
        differing = find_column_mismatches(expected, pl.concat(frames), columns)
    else:
        differing = find_line_mismatches(expected, pl.concat([e for e in rows if isinstance(e, pl.Series)]))
    assert differing.to_list() == [False] * 5


def test_offsets_of_rows_that_another_program_wrote_are_parsed() -> None:
    rows = pl.Series(['{"id":1,"kafka_offset":5}', '{"kafka_offset":6}'])
    assert line_offsets(rows).to_list() == [5, 6]
