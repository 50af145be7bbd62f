"""The chain: whatever crashes, repeats or runs twice, each record is stored once."""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.errors import LakeError, StoreUnavailable, UsageError
from tickerlake.lake.audit import audit
from tickerlake.lake.segment import TopicMeta, segment_key
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.writer import PartitionWriter, open_topic
from tickerlake.model.schema import KAFKA_RECORDS

TOPIC = TopicMeta("bars", "id-1", "cluster-1", "ndjson", {"0": 0}, 0)


def records(offsets: list[int]) -> pl.DataFrame:
    values = [b"poison" if offset % 7 == 3 else b'{"id":%d}' % offset for offset in offsets]
    return pl.DataFrame(
        {"offset": offsets, "timestamp_ms": offsets, "key": [None] * len(offsets), "value": values},
        schema=KAFKA_RECORDS,
    )


def stored_offsets(store: MemoryStore) -> Iterator[int]:
    """Read rows and rejects without the code under test."""
    for info in store.list("raw/bars/partition=0/"):
        for line in gzip.decompress(store.read(info.key)).splitlines():
            yield json.loads(line)["kafka_offset"]
    for info in store.list("rejects/bars/partition=0/"):
        yield json.loads(store.read(info.key))["offset"]


class Worker:
    """A sink reduced to its ledger: it reads the log from the chain's end and cuts where it likes."""

    def __init__(self, store: MemoryStore, log: list[int]) -> None:
        self.store, self.log = store, log
        self.writer = PartitionWriter(store, TOPIC, 0)

    def step(self, size: int) -> bool:
        waiting = [offset for offset in self.log if offset >= self.writer.position][:size]
        if not waiting:
            return False
        self.writer.put(records(waiting))
        return True


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 4))
def test_crashes_zombies_and_other_cuts_store_each_record_once(seed: int, size: int, workers: int) -> None:
    dice = random.Random(seed)
    # offsets with holes, as transactions and compaction leave them
    log = sorted(dice.sample(range(size * 2), size))
    lost = [False]

    def lose(_key: str) -> None:
        if lost[0]:
            lost[0] = False
            raise StoreUnavailable("the reply was lost", "")

    store = MemoryStore(before_reply=lose)
    open_topic(store, TOPIC)
    crew = [Worker(store, log) for _ in range(workers)]
    for _ in range(10_000):
        at = dice.randrange(workers)
        lost[0] = dice.random() < 0.2
        try:
            crew[at].step(dice.randint(1, 9))
        except StoreUnavailable:
            crew[at] = Worker(store, log)  # as after a crash: only the lake remembers
        lost[0] = False
        if dice.random() < 0.1:
            crew[at] = Worker(store, log)
        if PartitionWriter(store, TOPIC, 0).position > log[-1]:
            break
    assert sorted(stored_offsets(store)) == log
    (result,) = audit(store, deep=True)
    assert not result.findings
    assert result.records + result.rejects == len(log)


def test_a_second_write_adopts_the_first() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    first, second = PartitionWriter(store, TOPIC, 0), PartitionWriter(store, TOPIC, 0)
    first.put(records([0, 1]))
    stored = second.put(records([0, 1, 2]))
    assert stored.adopted
    assert second.position == 2


def test_another_topics_segment_is_never_adopted() -> None:
    store = MemoryStore()
    PartitionWriter(store, replace(TOPIC, topic_id="id-2"), 0).put(records([0, 1]))
    with pytest.raises(LakeError, match="does not belong here"):
        PartitionWriter(store, TOPIC, 0)


def test_a_topic_created_anew_is_refused() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    with pytest.raises(LakeError, match="created anew"):
        open_topic(store, replace(TOPIC, topic_id="id-2"))
    with pytest.raises(LakeError, match="another cluster"):
        open_topic(store, replace(TOPIC, cluster_id="c-2"))
    assert open_topic(store, replace(TOPIC, created_ms=99)) == TOPIC


@pytest.mark.parametrize("hint", [None, (2, 4), (0, 2), (2, 5), (9, 9), (4, 9)])
def test_a_hint_is_only_a_hint(hint: tuple[int, int] | None) -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    writer = PartitionWriter(store, TOPIC, 0)
    for start in (0, 2, 4):
        writer.put(records([start, start + 1]))
    assert PartitionWriter(store, TOPIC, 0, hint).position == 6


def test_a_gap_is_said() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    writer = PartitionWriter(store, TOPIC, 0)
    writer.put(records([0, 1]))
    writer.put_gap(10)
    writer.put(records([10]))
    (result,) = audit(store, deep=True)
    assert (result.gaps, result.records, result.next) == (8, 2, 11)


@pytest.mark.parametrize("topic", ["../etc", "a/b", "", ".", "..", "a\0b", "x" * 250])
def test_names_are_made_of_valid_parts_only(topic: str) -> None:
    with pytest.raises(UsageError):
        open_topic(MemoryStore(), replace(TOPIC, topic=topic))


def test_a_record_before_the_chains_end_is_never_stored_again() -> None:
    store = MemoryStore()
    open_topic(store, TOPIC)
    writer = PartitionWriter(store, TOPIC, 0)
    writer.put(records([0, 1, 2]))
    with pytest.raises(AssertionError):
        writer.put(records([2, 3]))


def test_keys_sort_as_positions_do() -> None:
    assert segment_key("t", 0, 9, "ndjson") < segment_key("t", 0, 10, "ndjson")
