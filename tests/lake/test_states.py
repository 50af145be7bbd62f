"""Snapshots: the newest before an offset, and no more than are needed."""

import pytest

from tickerlake.errors import StoreError, StoreUnavailable
from tickerlake.lake.states import States
from tickerlake.lake.store.memory import MemoryStore


def test_the_newest_before_an_offset_is_found() -> None:
    states = States(MemoryStore(), "job", "topic", "a/b+c==")
    assert states.newest(0, 10) is None
    states.keep(0, 5, b"five")
    states.keep(0, 12, b"twelve")
    states.keep(1, 7, b"other")
    assert states.newest(0, 11) == (5, b"five")
    assert states.newest(0, 12) == (12, b"twelve")
    assert states.newest(0, 4) is None


def test_a_topic_created_anew_has_none() -> None:
    store = MemoryStore()
    States(store, "job", "topic", "first").keep(0, 5, b"five")
    assert States(store, "job", "topic", "second").newest(0, 10) is None


def test_old_ones_are_deleted_and_later_ones_are_not() -> None:
    store = MemoryStore()
    states = States(store, "job", "topic", "id")
    # a later one is there already: of a worker that was thought dead
    for offset in (1, 2, 9, 3, 4):
        states.keep(0, offset, b"x")
    assert [int(info.key[-2:]) for info in store.list("state/")] == [3, 4, 9]
    assert not states.keep(0, 4, b"again")
    assert states.newest(0, 4) == (4, b"x")


@pytest.mark.parametrize("error", [StoreError("No permission."), StoreUnavailable("no answer")])
def test_who_can_not_delete_keeps_all(error: Exception) -> None:
    class CreateOnly(MemoryStore):
        def delete(self, key: str) -> None:
            raise error

    store = CreateOnly()
    states = States(store, "job", "topic", "id")
    for offset in range(5):
        assert states.keep(0, offset, b"x")
    assert len(list(store.list("state/"))) == 5


def test_what_is_no_snapshot_is_passed_over() -> None:
    store = MemoryStore()
    states = States(store, "job", "topic", "id")
    states.keep(0, 5, b"five")
    (key,) = [info.key for info in store.list("state/")]
    store.create(f"{key.rpartition('/')[0]}/readme", b"", metadata={})
    assert states.newest(0, 9) == (5, b"five")
    assert states.keep(0, 6, b"six")
