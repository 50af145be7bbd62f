"""Snapshots: the newest before an offset is read, and old ones are deleted."""

import pytest

from tickerlake.errors import StoreError, StoreUnavailable
from tickerlake.lake.snapshots import Snapshots
from tickerlake.lake.store.memory import MemoryStore


def test_the_newest_before_an_offset_is_read() -> None:
    snapshots = Snapshots(MemoryStore(), "job", "topic", "a/b+c==")
    assert snapshots.read_latest(0, 10) is None
    snapshots.save(0, 5, b"five")
    snapshots.save(0, 12, b"twelve")
    snapshots.save(1, 7, b"other")
    assert snapshots.read_latest(0, 11) == (5, b"five")
    assert snapshots.read_latest(0, 12) == (12, b"twelve")
    assert snapshots.read_latest(0, 4) is None


def test_a_recreated_topic_has_no_snapshot() -> None:
    store = MemoryStore()
    Snapshots(store, "job", "topic", "first").save(0, 5, b"five")
    assert Snapshots(store, "job", "topic", "second").read_latest(0, 10) is None


def test_old_snapshots_are_deleted_and_later_ones_are_not() -> None:
    store = MemoryStore()
    snapshots = Snapshots(store, "job", "topic", "id")
    # a later one exists already: a zombie worker stored it
    for offset in (1, 2, 9, 3, 4):
        snapshots.save(0, offset, b"x")
    assert [int(info.key[-2:]) for info in store.list("state/")] == [3, 4, 9]
    assert not snapshots.save(0, 4, b"again")
    assert snapshots.read_latest(0, 4) == (4, b"x")


@pytest.mark.parametrize("error", [StoreError("No permission."), StoreUnavailable("no answer")])
def test_without_delete_permission_all_snapshots_stay(error: Exception) -> None:
    class CreateOnly(MemoryStore):
        def delete(self, key: str) -> None:
            raise error

    store = CreateOnly()
    snapshots = Snapshots(store, "job", "topic", "id")
    for offset in range(5):
        assert snapshots.save(0, offset, b"x")
    assert len(list(store.list("state/"))) == 5


def test_objects_that_are_not_snapshots_are_skipped() -> None:
    store = MemoryStore()
    snapshots = Snapshots(store, "job", "topic", "id")
    snapshots.save(0, 5, b"five")
    (key,) = [info.key for info in store.list("state/")]
    store.create(f"{key.rpartition('/')[0]}/readme", b"", metadata={})
    assert snapshots.read_latest(0, 9) == (5, b"five")
    assert snapshots.save(0, 6, b"six")
