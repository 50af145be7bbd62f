"""The newest manifest is found among any number, with few lookups."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.lake.store.base import ObjectInfo
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.warehouse.manifests import Manifests, Range


class Counting(MemoryStore):
    """A store that counts how often it is asked for one object."""

    asked = 0

    def stat(self, key: str) -> ObjectInfo | None:
        self.asked += 1
        return super().stat(key)


@settings(max_examples=25)
@given(st.integers(0, 300), st.integers(0, 20))
def test_the_last_is_found_and_then_followed(count: int, more: int) -> None:
    store = Counting()
    mine, theirs = (Manifests(store, "project", "d", "bars") for _ in range(2))
    last = None
    for number in range(count):
        last = theirs.plan(last, [Range("t", 0, number, number + 1, 1)])
    store.asked = 0
    assert mine.last() == last
    assert store.asked <= 2 * count.bit_length() + 2
    for number in range(count, count + more):
        last = theirs.plan(last, [Range("t", 0, number, number + 1, 1)])
        store.asked = 0
        assert mine.last() == last
        assert store.asked <= 3


def test_of_two_plans_the_first_counts() -> None:
    store = MemoryStore()
    mine, theirs = (Manifests(store, "project", "d", "bars") for _ in range(2))
    first = theirs.plan(None, [Range("t", 0, 0, 5, 5)])
    assert mine.plan(None, [Range("t", 0, 0, 3, 3)]) == first
    assert first.through == {"t": {"0": 5}}
