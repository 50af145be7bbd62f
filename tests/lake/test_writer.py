"""The chain: whatever crashes, is retried or runs twice, each record is stored once."""

import gzip
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.oracle import select_rejects
from tickerlake.errors import LakeError, StoreUnavailable, UsageError
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.segment import Marker, marker_key, segment_key
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import Format, TopicMeta, open_topic
from tickerlake.lake.writer import SegmentWriter, open_writer
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

TOPIC = TopicMeta("bars", "id-1", "cluster-1", "ndjson", {"0": 0}, 0)
FORMATS: list[Format] = ["ndjson", "parquet", "json"]
UPLOADS = ThreadPoolExecutor(2)


def records(offsets: list[int]) -> pl.DataFrame:
    values = [b"poison" if offset % 7 == 3 else b'{"id":%d}' % offset for offset in offsets]
    return pl.DataFrame(
        {"offset": offsets, "timestamp_ms": offsets, "key": None, "value": values, "headers": None},
        schema=KAFKA_RECORD_SCHEMA,
    )


def stored_offsets(store: MemoryStore) -> Iterator[int]:
    """Read rows and rejects without the code under test."""
    for info in store.list("raw/bars/partition=0/"):
        data = store.read(info.key)
        if info.key.endswith(".parquet"):
            yield from pl.read_parquet(data)["kafka_offset"].to_list()
            continue
        lines = gzip.decompress(data) if info.key.endswith(".gz") else data
        for line in lines.splitlines():
            yield json.loads(line)["kafka_offset"]
    segments, objects = (
        {info.key.rpartition("/")[2]: store.read(info.key) for info in store.list(prefix)}
        for prefix in ("raw/bars/partition=0/", "rejects/bars/partition=0/")
    )
    for reject in select_rejects(segments, objects):
        yield reject["offset"]


class Worker:
    """A sink reduced to its writer: it reads the log from the chain's end, in batches of any size."""

    def __init__(self, store: MemoryStore, log: list[int], topic: TopicMeta) -> None:
        self.store, self.log = store, log
        self.writer = open_writer(store, topic, 0, None, UPLOADS)

    def step(self, size: int) -> bool:
        pending = [offset for offset in self.log if offset >= self.writer.position][:size]
        if not pending:
            return False
        self.writer.put(records(pending))
        return True


@pytest.mark.parametrize("fmt", FORMATS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 80), worker_count=st.integers(1, 4))
def test_crashes_zombies_and_batch_sizes_store_each_record_once(
    fmt: Format, seed: int, size: int, worker_count: int
) -> None:
    rng = random.Random(seed)
    topic = replace(TOPIC, format=fmt)
    # offsets with holes, as transactions and compaction cause them
    log = sorted(rng.sample(range(size * 2), size))
    lost = [False]

    def lose(_key: str) -> None:
        if lost[0]:
            lost[0] = False
            raise StoreUnavailable("the reply was lost", "")

    store = MemoryStore(before_reply=lose)
    open_topic(store, topic)
    workers = [Worker(store, log, topic) for _ in range(worker_count)]
    for _ in range(10_000):
        at = rng.randrange(worker_count)
        lost[0] = rng.random() < 0.2
        try:
            workers[at].step(rng.randint(1, 9))
        except StoreUnavailable:
            workers[at] = Worker(store, log, topic)  # as after a crash: only the lake has state
        lost[0] = False
        if rng.random() < 0.1:
            workers[at] = Worker(store, log, topic)
        if open_writer(store, topic, 0, None, UPLOADS).position > log[-1]:
            break
    assert sorted(stored_offsets(store)) == log
    (result,) = audit(store, deep=True)
    assert not result.findings
    assert result.records + result.rejects == len(log)


def test_a_second_write_adopts_the_first() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    first, second = SegmentWriter(store, TOPIC, 0), SegmentWriter(store, TOPIC, 0)
    first.put(records([0, 1]))
    stored = second.put(records([0, 1, 2]))
    assert stored.adopted
    assert second.position == 2


def test_another_topics_segment_is_never_adopted() -> None:
    store = MemoryStore()
    SegmentWriter(store, replace(TOPIC, topic_id="id-2"), 0).put(records([0, 1]))
    with pytest.raises(LakeError, match="not part of this chain"):
        SegmentWriter(store, TOPIC, 0)


def test_a_recreated_topic_is_rejected() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    with pytest.raises(LakeError, match="deleted and recreated"):
        open_topic(store, replace(TOPIC, topic_id="id-2"))
    with pytest.raises(LakeError, match="another cluster"):
        open_topic(store, replace(TOPIC, cluster_id="c-2"))
    assert open_topic(store, replace(TOPIC, created_ms=99)) == TOPIC


@pytest.mark.parametrize("hint", [None, (2, 4), (0, 2), (2, 5), (9, 9), (4, 9)])
def test_a_hint_is_only_a_hint(hint: tuple[int, int] | None) -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    writer = SegmentWriter(store, TOPIC, 0)
    for start in (0, 2, 4):
        writer.put(records([start, start + 1]))
    assert SegmentWriter(store, TOPIC, 0, hint).position == 6


def test_a_location_that_is_not_a_lake_is_rejected() -> None:
    store = MemoryStore()
    store.create(".hidden", b"", metadata={})
    store.create("photos/1.jpg", b"x", metadata={})
    with pytest.raises(UsageError, match=r"is not a lake: it holds photos/1\.jpg"):
        open_topic(store, TOPIC)
    assert [info.key for info in store.list("")] == [".hidden", "photos/1.jpg"]
    store.create("_lake.json", b'{"format_version":1}', metadata={})
    open_topic(store, TOPIC)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_gap_is_reported(fmt: Format) -> None:
    store = MemoryStore()
    topic = open_topic(store, replace(TOPIC, format=fmt))
    writer = open_writer(store, topic, 0, None, UPLOADS)
    writer.put(records([0, 1]))
    writer.put_gap(10)
    writer.put(records([10]))
    (result,) = audit(store, deep=True)
    assert (result.gaps, result.records, result.next) == (8, 2, 11)


@pytest.mark.parametrize("topic", ["../etc", "a/b", "", ".", "..", "a\0b", "x" * 250])
def test_invalid_topic_names_are_rejected(topic: str) -> None:
    with pytest.raises(UsageError):
        open_topic(MemoryStore(), replace(TOPIC, topic=topic))


def test_a_record_before_the_chains_end_is_never_stored_again() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    writer = SegmentWriter(store, TOPIC, 0)
    writer.put(records([0, 1, 2]))
    with pytest.raises(AssertionError):
        writer.put(records([2, 3]))


def test_keys_sort_as_positions_do() -> None:
    assert segment_key("t", 0, 9, "ndjson") < segment_key("t", 0, 10, "ndjson")


def test_one_object_per_record_continues_at_the_first_missing_offset() -> None:
    store = MemoryStore()
    topic = open_topic(store, replace(TOPIC, format="json"))
    writer = open_writer(store, topic, 0, None, UPLOADS)
    writer.put(records([0, 2]))
    # the upload of a later record succeeded, those before it did not: the worker died
    store.create(segment_key("bars", 0, 6, "json"), b'{"kafka_offset":6}\n', metadata={})
    again = open_writer(store, topic, 0, None, UPLOADS)
    assert again.position == 3
    stored = again.put(records([4, 5, 6]))
    assert (stored.records, stored.next_position) == (2, 7)
    assert sorted(stored_offsets(store)) == [0, 2, 4, 5, 6]
    (result,) = audit(store, deep=True)
    assert (result.findings, result.records, result.holes) == ([], 5, 2)


@pytest.mark.parametrize("damage", ["missing", "other", "doubled", "hole_missing"])
def test_damaged_objects_are_reported(damage: str) -> None:
    store = MemoryStore()
    topic = open_topic(store, replace(TOPIC, format="json"))
    open_writer(store, topic, 0, None, UPLOADS).put(records([0, 1, 4, 5]))
    hole, second = marker_key("bars", 0, Marker("hole", 2, 4)), segment_key("bars", 0, 1, "json")
    damaged = MemoryStore()
    for info in store.list(""):
        data = store.read(info.key)
        if info.key == second:
            if damage == "missing":
                continue
            data = {"other": b'{"kafka_offset":9}\n', "doubled": data + data}.get(damage, data)
        if info.key != hole or damage != "hole_missing":
            damaged.create(info.key, data, metadata={})
    (result,) = audit(damaged, deep=True)
    assert len(result.findings) == 1


def test_the_first_segment_fixes_the_columns_for_all_writers() -> None:
    store = MemoryStore()
    topic = open_topic(store, replace(TOPIC, format="parquet"))
    first, second = (open_writer(store, topic, number, None, None) for number in (0, 1))
    first.put(records([0, 1]))
    values = [b'{"id":"text","new":1}', b'{"id":7}']
    second.put(records([0, 1]).with_columns(value=pl.Series(values, dtype=pl.Binary)))
    frame = pl.read_parquet(store.read(segment_key("bars", 1, 0, "parquet")))
    assert frame["id"].to_list() == [None, 7]
    assert [json.loads(extra) if extra else None for extra in frame["extra"]] == [
        {"id": "text", "new": 1},
        None,
    ]
    second.put_gap(9)
    assert pl.read_parquet(store.read(segment_key("bars", 1, 2, "parquet"))).schema == frame.schema
