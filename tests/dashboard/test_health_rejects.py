"""Rejects: the newest of a topic, and a single one with any content."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tickerlake.dashboard.health import rejects as rejects_module
from tickerlake.dashboard.health.rejects import MAX_BYTES, newest_rejects, read_reject
from tickerlake.errors import LakeError, ObjectMissing, UsageError
from tickerlake.lake import rejects
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.rejects import reject_key
from tickerlake.lake.store import Store, open_store

TOPIC = "s.bars"


def store_reject(
    store: Store, partition: int, offset: int, ms: int, value: bytes | None, key: bytes | None = None
) -> None:
    encoded = [None if part is None else base64.b64encode(part).decode() for part in (key, value)]
    record = RejectedRecord(offset, ms, "not JSON: x", encoded[0], encoded[1])
    rejects.store_rejects(store, TOPIC, partition, (offset, offset + 1), [record])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_the_newest_rejects_of_all_partitions(store: Store) -> None:
    for number in range(20):
        store_reject(store, number % 2, number * 7, 1_000 + number, b"x" * number)
    store_reject(store, 10, 3, 5_000, b"late")
    listed = newest_rejects(store, TOPIC, 5)
    assert [each["timestamp_ms"] for each in listed["rejects"]] == [5_000, 1_019, 1_018, 1_017, 1_016]
    assert (listed["topic"], listed["more"], listed["complete"]) == (TOPIC, True, True)
    assert listed["rejects"][1] == {
        "topic": TOPIC,
        "partition": 1,
        "offset": 133,
        "timestamp_ms": 1_019,
        "reason": "not JSON: x",
        "bytes": 19,
    }
    everything = newest_rejects(store, TOPIC, 1_000)
    assert (len(everything["rejects"]), everything["more"]) == (21, False)
    assert newest_rejects(store, "s.other")["rejects"] == []
    assert newest_rejects(store, "s.bar")["rejects"] == [], "a prefix of the topic's name is another topic"


def test_rejects_in_bulk_are_listed_once(store: Store) -> None:
    records = [RejectedRecord(offset, 1_000 + offset, "not JSON: x", None, "eA==") for offset in range(10)]
    # of a writer that stopped before its segment was stored, and of the segments that were stored instead
    rejects.store_rejects(store, TOPIC, 0, (0, 10), records)
    rejects.store_rejects(store, TOPIC, 0, (0, 4), records[:4])
    rejects.store_rejects(store, TOPIC, 0, (4, 10), records[4:])
    rejects.store_reject(store, TOPIC, 1, RejectedRecord(7, 5_000, "not JSON: y", None, "eA=="))
    listed = newest_rejects(store, TOPIC, 4)
    assert [each["offset"] for each in listed["rejects"]] == [7, 9, 8, 7]
    assert read_reject(store, TOPIC, 0, 3)["timestamp_ms"] == 1_003
    assert read_reject(store, TOPIC, 1, 7)["reason"] == "not JSON: y"
    with pytest.raises(ObjectMissing):
        read_reject(store, TOPIC, 0, 12)


def test_listing_stops_at_the_time_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store_reject(store, 0, 1, 9, b"x")
    store_reject(store, 0, 2, 9, b"x")
    monkeypatch.setattr("tickerlake.dashboard.health.rejects._LIST_TIMEOUT_S", -1.0)
    listed = newest_rejects(store, TOPIC)
    assert (len(listed["rejects"]), listed["complete"]) == (1, False)


def test_one_reject_in_full(store: Store) -> None:
    store_reject(store, 0, 1, 9, b'{"\xc3\xa9', b"key")
    store_reject(store, 0, 2, -1, b"\xff\x00")
    store_reject(store, 0, 3, 9, None)
    store_reject(store, 0, 4, 9, b"." + "é".encode() * MAX_BYTES)
    text = read_reject(store, TOPIC, 0, 1)
    assert (text["value"], text["value_base64"], text["key"], text["bytes"]) == ('{"é', None, "key", 4)
    raw = read_reject(store, TOPIC, 0, 2)
    assert (raw["value"], raw["value_base64"], raw["timestamp_ms"]) == (None, "/wA=", 0)
    none = read_reject(store, TOPIC, 0, 3)
    assert (none["value"], none["value_base64"], none["bytes"]) == (None, None, 0)
    long = read_reject(store, TOPIC, 0, 4)
    assert long["value_cut"]
    assert long["value"] == "." + "é" * (MAX_BYTES // 2 - 1), "no character is split"
    assert long["bytes"] == 2 * MAX_BYTES + 1


def test_large_rejects_are_read_one_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = b"x", b"x" * (1 << 20)
    for offset in range(40):
        value = base64.b64encode(large if offset % 2 else small).decode()
        rejects.store_reject(store, TOPIC, 0, RejectedRecord(offset, offset, "not JSON: x", None, value))
    reading, most = 0, 0
    lock = threading.Lock()
    read = rejects_module._read_summaries

    def counted(store: Store, topic: str, partition: int, key: str) -> list[dict[str, Any]]:
        nonlocal reading, most
        is_large = int(key[-6]) % 2
        with lock:
            reading += is_large
            most = max(most, reading)
        summaries = read(store, topic, partition, key)
        with lock:
            reading -= is_large
        return summaries

    monkeypatch.setattr(rejects_module, "_read_summaries", counted)
    with ThreadPoolExecutor(4) as pool:
        lists = list(pool.map(lambda _: newest_rejects(store, TOPIC), range(4)))
    expected = [(offset, len(large) if offset % 2 else 1) for offset in reversed(range(40))]
    for listed in lists:
        assert [(each["offset"], each["bytes"]) for each in listed["rejects"]] == expected
    assert most == 1


@pytest.mark.parametrize("length", range(8))
def test_the_size_of_a_value_is_counted_without_decoding_it(store: Store, length: int) -> None:
    store_reject(store, 0, length, 1, bytes(length))
    assert newest_rejects(store, TOPIC)["rejects"][0]["bytes"] == length


def test_damaged_and_missing_rejects(store: Store) -> None:
    store_reject(store, 0, 1, 9, b"x")
    store.create(reject_key(TOPIC, 0, 2), b"{", metadata={})
    store.create(rejects.rejects_key(TOPIC, 0, 3, 9), b"{", metadata={})
    store.create(f"rejects/{TOPIC}/partition=0/notes.txt", b"", metadata={})
    offsets = [
        (each["offset"], "damaged" in each["reason"]) for each in newest_rejects(store, TOPIC)["rejects"]
    ]
    assert sorted(offsets) == [(1, False), (2, True), (3, True)]
    with pytest.raises(LakeError, match="damaged"):
        read_reject(store, TOPIC, 0, 2)
    with pytest.raises(ObjectMissing):
        read_reject(store, TOPIC, 1, 2)


@pytest.mark.parametrize("topic", ["", "..", "../raw", "a/b", "a\n", "x" * 250])
def test_topic_names_are_validated(store: Store, topic: str) -> None:
    with pytest.raises(UsageError):
        newest_rejects(store, topic)
    with pytest.raises(UsageError):
        read_reject(store, topic, 0, 0)


@pytest.mark.parametrize(("partition", "offset"), [(-1, 0), (0, -1), (1 << 31, 0), (0, 1 << 63)])
def test_partitions_and_offsets_are_validated(store: Store, partition: int, offset: int) -> None:
    with pytest.raises(UsageError):
        read_reject(store, TOPIC, partition, offset)
