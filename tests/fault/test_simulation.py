"""24: many runs of the sink in a simulated Kafka and store, each told by its seed."""

from collections import Counter
from collections.abc import Callable

import pytest

from fault.simulation import Wrong, play, try_seed
from support.planted import PLANTS

RUNS = 200
CHUNK = 50


@pytest.mark.parametrize("first", range(0, RUNS, CHUNK))
def test_each_record_is_stored_once_whatever_happens(
    first: int, record_property: Callable[[str, object], None]
) -> None:
    happened: Counter[str] = Counter()
    for seed in range(first, first + CHUNK):
        _, wrong, counts = try_seed(seed)
        assert not wrong, f"seed {seed}: {wrong}\nreplay: make simulate SEEDS=1 FIRST={seed}"
        happened += counts
    for what in ("killed while storing", "late request arrived", "reply lost", "zombie", "compacted"):
        assert happened[what] > 5, f"{what} must happen, to prove anything"
    mishaps = sum(count for what, count in happened.items() if what != "nothing fetched")
    row = {"no": "24", "fault": f"{CHUNK} runs of mishaps by seed, from {first} on"}
    record_property("fault", row | {"injected": mishaps, "struck": mishaps, "lost": 0, "doubled": 0})


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_mistake_is_noticed(name: str) -> None:
    for seed in range(200):
        try:
            play(seed, PLANTS[name])
        except Wrong as noticed:
            print(f"{name} is noticed with seed {seed}: {noticed}")
            return
    pytest.fail("nobody notices it")
