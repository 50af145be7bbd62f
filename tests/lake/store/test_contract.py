"""The contract of every store."""

import base64
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import google_crc32c
import pytest

from support.gcs import FakeGcs
from tickerlake.errors import ObjectExists, ObjectMissing, StoreError
from tickerlake.lake.store import Store, open_store
from tickerlake.lake.store.base import create_if_absent

_numbers = itertools.count()


@pytest.fixture(params=["memory", "local", "gcs", "gcs-prefix"])
def lake_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    number = next(_numbers)
    if request.param == "memory":
        return f"memory://contract-{number}"
    if request.param == "local":
        return str(tmp_path / "lake")
    emulator: FakeGcs = request.getfixturevalue("fake_gcs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    emulator.create_bucket(f"contract-{number}")
    return f"gs://contract-{number}" + ("/some/lake" if request.param == "gcs-prefix" else "")


@pytest.fixture
def store(lake_uri: str) -> Store:
    return open_store(lake_uri)


def _create_objects(store: Store, *keys: str) -> None:
    for key in keys:
        store.create(key, key.encode(), metadata={})


def _keys(store: Store, prefix: str = "", start_at: str = "") -> list[str]:
    return [info.key for info in store.list(prefix, start_at)]


@pytest.mark.parametrize("size", [0, 1, 200, 20 * 1024 * 1024 + 1], ids=str)
def test_content_round_trips(store: Store, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    store.create("raw/t/partition=0/00000000000000000000.ndjson.gz", data, metadata={"records": "1"})
    assert store.read("raw/t/partition=0/00000000000000000000.ndjson.gz") == data
    info = store.stat("raw/t/partition=0/00000000000000000000.ndjson.gz")
    assert info is not None
    assert info.size == size


def test_create_if_absent_leaves_the_first_version(store: Store) -> None:
    assert create_if_absent(store, "a.json", b"1", content_type="application/json")
    assert not create_if_absent(store, "a.json", b"2", content_type="application/json")
    assert store.read("a.json") == b"1"


def test_compressed_content_round_trips_unchanged(store: Store) -> None:
    gzip_header = b"\x1f\x8b\x08\x00 not really\r\n--boundary--\r\n"
    store.create("a.gz", gzip_header, metadata={}, content_type="application/gzip")
    assert store.read("a.gz") == gzip_header


def test_create_never_overwrites(store: Store) -> None:
    store.create("a", b"first", metadata={"who": "first"})
    with pytest.raises(ObjectExists):
        store.create("a", b"second", metadata={"who": "second"})
    assert store.read("a") == b"first"


def test_one_of_many_creators_wins(store: Store) -> None:
    contents = [bytes([65 + number]) * 100_000 for number in range(16)]

    def create(content: bytes) -> bool:
        try:
            store.create("raw/t/partition=0/1", content, metadata={"first": content[:1].decode()})
        except ObjectExists:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, contents))
    assert won.count(True) == 1
    assert store.read("raw/t/partition=0/1") == contents[won.index(True)]
    assert _keys(store) == ["raw/t/partition=0/1"]


def test_a_missing_object_is_reported_as_missing(store: Store) -> None:
    _create_objects(store, "folder/file")
    assert store.stat("folder/other") is None
    assert store.stat("folder") is None
    for key in ("folder/other", "folder", "x/y/z"):
        with pytest.raises(ObjectMissing):
            store.read(key)
        with pytest.raises(ObjectMissing):
            store.read_range(key, 0, 1)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 4, b"0123"), (3, 4, b"3456"), (8, 100, b"89"), (10, 1, b""), (99, 1, b""), (2, 0, b"")],
)
def test_ranges(store: Store, start: int, length: int, expected: bytes) -> None:
    store.create("a", b"0123456789", metadata={})
    assert store.read_range("a", start, length) == expected


def test_metadata_round_trips_or_is_not_stored(store: Store) -> None:
    metadata = {"position": "0", "next": "17", "topic": "stocks.raw", "note": 'naïve – 株 "q" \\'}
    store.create("a", b"content", metadata=metadata)
    crc32c = base64.b64encode(google_crc32c.value(b"content").to_bytes(4, "big")).decode()
    for info in (store.stat("a"), *store.list("")):
        assert info is not None
        assert info.metadata in (None, metadata)
        assert info.crc32c in (None, crc32c)
    if not store.uri.startswith("/"):
        assert info is not None
        assert info.metadata == metadata
        assert info.crc32c == crc32c


def test_lists_are_in_byte_order(store: Store) -> None:
    keys = [
        "raw/a-b/1",
        "raw/a.b/1",
        "raw/a/1",
        "raw/a/10",
        "raw/a/2",
        "raw/aé/1",
        "raw/aｚ/1",
        "raw/a𝛑/1",
        "z",
    ]
    _create_objects(store, *reversed(keys))
    assert sorted(keys, key=str.encode) == keys
    assert _keys(store) == keys
    assert _keys(store, "raw/a") == keys[:-1]
    assert _keys(store, "raw/a/") == keys[2:5]
    assert _keys(store, "raw/a/1") == keys[2:4]
    assert _keys(store, "nothing/") == []


def test_lists_start_at_the_requested_key(store: Store) -> None:
    keys = [f"raw/t.x/partition={p}/{n:020d}" for p in (0, 1, 10, 2) for n in (0, 5, 70)]
    _create_objects(store, *keys)
    for first in range(len(keys)):
        assert _keys(store, "raw/t.x/", keys[first]) == keys[first:]
        assert _keys(store, "raw/t.x/", keys[first] + "0") == keys[first + 1 :]
    assert _keys(store, "raw/t.x/partition=1/", "raw/t.x/partition=1/00000000000000000005") == keys[4:6]
    assert _keys(store, "raw/t.x/partition=1/", "a") == keys[3:6]
    assert _keys(store, "raw/t.x/partition=1/", "raw/z") == []


def test_long_lists_are_complete(store: Store) -> None:
    keys = [f"t/{number:06d}" for number in range(1010)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: _create_objects(store, key), keys))
    assert _keys(store, "t/") == keys


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "./a",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\u202eb",
        ".tmp/a",
        "\ud800",
        "k" * 1025,
    ],
)
def test_dangerous_names_are_rejected(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="not a valid object name"):
        store.create(key, b"", metadata={})
    assert _keys(store) == []


def test_another_store_at_the_same_location_sees_the_objects(store: Store, lake_uri: str) -> None:
    _create_objects(store, "topic.with.dots/a")
    other = open_store(lake_uri)
    assert other.uri == store.uri == lake_uri
    assert _keys(other) == ["topic.with.dots/a"]
    other.close()


def test_a_damaged_object_can_be_replaced(store: Store) -> None:
    _create_objects(store, "raw/a", "raw/b", "raw/c")
    store.replace_damaged("raw/b", b"sound", metadata={"records": "1"})
    store.replace_damaged("raw/c", None, metadata={})
    assert _keys(store) == ["raw/a", "raw/b"]
    assert store.read("raw/b") == b"sound"
    info = store.stat("raw/b")
    assert info is not None
    assert info.metadata in {None: None, 1: {"records": "1"}}.values()
    for data in (b"new", None):
        with pytest.raises(ObjectMissing):
            store.replace_damaged("raw/c", data, metadata={})
    assert _keys(store) == ["raw/a", "raw/b"]


def test_only_derived_objects_are_deleted(store: Store) -> None:
    store.create("state/a/1", b"x", metadata={})
    store.create("raw/a", b"x", metadata={})
    store.delete("state/a/1")
    store.delete("state/a/1")
    assert store.stat("state/a/1") is None
    for key in ("raw/a", "state/../raw/a", "state"):
        with pytest.raises(StoreError):
            store.delete(key)
    assert store.read("raw/a") == b"x"


def test_a_store_describes_itself(store: Store, lake_uri: str) -> None:
    _create_objects(store, "raw/a")
    is_local, is_remote = lake_uri.startswith("/"), lake_uri.startswith("gs://")
    if is_local:
        assert store.local_path is not None
        assert (store.local_path / "raw/a").read_bytes() == b"raw/a"
    else:
        assert store.local_path is None
    assert store.bigquery_uri == (lake_uri if is_remote else None)
    assert store.listing_costs == is_remote
    service = store.service_info()
    assert (service is not None) == is_remote
    if service:
        assert service.server_time_s is None or service.server_time_s > 0
