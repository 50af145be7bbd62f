"""A lake has a format version, and only a version that can be read is read."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from lake.test_writer import TOPIC, records
from support.lake_builder import LakeTopic, bar, utc_dates
from support.process import run
from tickerlake.errors import LakeError
from tickerlake.lake.audit.curated import audit_curated
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.compact import Compactor
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.snapshots import Snapshots
from tickerlake.lake.store import LocalStore, Store
from tickerlake.lake.store.base import LAKE_KEY
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import open_topic
from tickerlake.lake.writer import open_writer
from tickerlake.tools.doctor import check_lake
from tickerlake.version import VERSION
from tickerlake.warehouse.external_tables import ensure_external_tables
from tickerlake.warehouse.load import Loader

NO_WAREHOUSE: Any = None
OLD = "version of tickerlake before 0.1.0"


def build_lake(store: Store, meta: bytes | None) -> None:
    """Store a topic in a lake whose `_lake.json` is replaced by other content, or removed."""
    current = MemoryStore()
    LakeTopic(current, "bars").add_segment([bar("A", 1)])
    for info in current.list(""):
        if info.key != LAKE_KEY:
            store.create(info.key, current.read(info.key), metadata=info.metadata or {})
    if meta is not None:
        store.create(LAKE_KEY, meta, metadata={})


def open_everything(store: Store, folder: Path) -> dict[str, Callable[[], object]]:
    """Every way to open a lake, by name."""
    return {
        "sink": lambda: open_topic(store, TOPIC),
        "track": lambda: Snapshots(store, "job", "bars", "id").read_latest(0, 9),
        "audit": lambda: list(audit(store)),
        "audit curated": lambda: audit_curated(store),
        "compact": lambda: Compactor(store, utc_dates, folder).run(),
        "query": lambda: LakeDatabase(store, utc_dates),
        "load": lambda: Loader(store, NO_WAREHOUSE, utc_dates, wait=lambda _: False).run(),
        "external tables": lambda: ensure_external_tables(store, NO_WAREHOUSE, NO_WAREHOUSE, with_views=True),
    }


OPENINGS = list(open_everything(MemoryStore(), Path()))


def test_the_first_writer_creates_the_version_before_anything_else() -> None:
    created: list[str] = []
    store = MemoryStore(before_reply=created.append)
    assert not check_format_version(store)
    open_topic(store, TOPIC)
    assert created == [LAKE_KEY, "raw/bars/_topic.json"]
    expected = {"format_version": 1, "created_by": f"tickerlake {VERSION}"}
    assert json.loads(store.read(LAKE_KEY)) == expected
    assert check_format_version(store)


def test_of_two_writers_one_creates_the_version() -> None:
    store, barrier = MemoryStore(), Barrier(4)

    def open_one(number: int) -> None:
        barrier.wait()
        topic = open_topic(store, TOPIC)
        open_writer(store, topic, number, None, None).put(records([0, 1]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_one, range(4)))
    assert next(store.list("")).key == LAKE_KEY
    assert [result.records for result in audit(store)] == [2, 2, 2, 2]


def test_a_reader_that_races_with_the_first_writer_accepts_the_lake() -> None:
    class Racing(MemoryStore):
        """A writer creates the lake right after a reader found no metadata."""

        def read(self, key: str) -> bytes:
            try:
                return super().read(key)
            finally:
                if key == LAKE_KEY and self.stat(LAKE_KEY) is None:
                    build_lake(self, b'{"format_version":1}')

    assert check_format_version(Racing())


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_lake_of_an_older_version_is_rejected(opening: str, tmp_path: Path) -> None:
    store = MemoryStore()
    build_lake(store, None)
    before = [info.key for info in store.list("")]
    with pytest.raises(LakeError, match=OLD) as caught:
        open_everything(store, tmp_path)[opening]()
    assert "into an empty lake" in caught.value.hint
    assert [info.key for info in store.list("")] == before


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_lake_of_a_newer_version_is_rejected(opening: str, tmp_path: Path) -> None:
    store = MemoryStore()
    build_lake(store, b'{"format_version":2,"created_by":"tickerlake 9.0.0","later":true}')
    with pytest.raises(LakeError, match=f"has format version 2; tickerlake {VERSION} reads") as caught:
        open_everything(store, tmp_path)[opening]()
    assert caught.value.hint == "Update tickerlake."


def test_unknown_fields_of_the_metadata_are_ignored() -> None:
    store = MemoryStore()
    build_lake(store, b'{"format_version":1,"later":{"a":[1]}}')
    assert check_format_version(store)


@pytest.mark.parametrize("meta", [b"", b"{}", b'{"format_version":"1"}'])
def test_damaged_metadata_is_reported(meta: bytes) -> None:
    store = MemoryStore()
    build_lake(store, meta)
    with pytest.raises(LakeError, match=r"_lake\.json is damaged"):
        check_format_version(store)


@pytest.mark.parametrize("key", ["state/job/bars/id/partition=0/5", "damaged/raw/bars/x", "rejects/x"])
def test_a_folder_without_topics_becomes_a_lake(key: str) -> None:
    store = MemoryStore()
    store.create(key, b"x", metadata={})
    open_topic(store, TOPIC)
    assert store.stat(LAKE_KEY)


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit",),
        ("compact",),
        ("query", "select * from bars"),
        ("serve", "-b", "127.0.0.1:1", "--port", "0"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_explain_an_old_lake_in_one_sentence(arguments: tuple[str, ...], tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    build_lake(store, None)
    out, err = run(*arguments, "--lake", tmp_path, exit_code=4)
    assert err.count(OLD) == 1
    assert "Traceback" not in out + err


def test_doctor_reports_an_old_lake(tmp_path: Path) -> None:
    build_lake(LocalStore(tmp_path), None)
    failed = [check for check in check_lake(str(tmp_path)) if check.state == "failed"]
    assert len(failed) == 1
    assert OLD in failed[0].found
