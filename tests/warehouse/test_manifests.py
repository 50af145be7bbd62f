"""The newest manifest is found with few lookups, however many there are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.lake.store.base import ObjectInfo
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.warehouse.manifests import ManifestLog, Range


class CountingStore(MemoryStore):
    """A store that counts calls of `stat`."""

    stat_calls = 0

    def stat(self, key: str) -> ObjectInfo | None:
        self.stat_calls += 1
        return super().stat(key)


@settings(max_examples=25)
@given(st.integers(0, 300), st.integers(0, 20))
def test_the_newest_manifest_is_found_and_followed(count: int, more: int) -> None:
    store = CountingStore()
    reader, writer = (ManifestLog(store, "project", "d", "bars") for _ in range(2))
    last = None
    for number in range(count):
        last = writer.create_next(last, [Range("t", 0, number, number + 1, 1)])
    store.stat_calls = 0
    assert reader.find_latest() == last
    assert store.stat_calls <= 2 * count.bit_length() + 2
    for number in range(count, count + more):
        last = writer.create_next(last, [Range("t", 0, number, number + 1, 1)])
        store.stat_calls = 0
        assert reader.find_latest() == last
        assert store.stat_calls <= 3


def test_the_first_of_two_plans_wins() -> None:
    store = MemoryStore()
    loser, winner = (ManifestLog(store, "project", "d", "bars") for _ in range(2))
    first = winner.create_next(None, [Range("t", 0, 0, 5, 5)])
    assert loser.create_next(None, [Range("t", 0, 0, 3, 3)]) == first
    assert first.next_offsets == {"t": {"0": 5}}
