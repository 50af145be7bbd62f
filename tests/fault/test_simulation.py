"""24: many runs of the sink in a simulated Kafka and store, each told by its seed."""

from collections import Counter
from collections.abc import Callable

import pytest

from fault.simulation import InvariantViolation, run_seed, try_seed
from support.seeded_bugs import SEEDED_BUGS

SEEDS = 200
SEEDS_PER_TEST = 50


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_each_record_is_stored_exactly_once(
    first: int, record_property: Callable[[str, object], None]
) -> None:
    event_counts: Counter[str] = Counter()
    for seed in range(first, first + SEEDS_PER_TEST):
        _, violation, counts = try_seed(seed)
        assert not violation, f"seed {seed}: {violation}\nreplay: make simulate SEEDS=1 FIRST={seed}"
        event_counts += counts
    for event in ("killed while storing", "late request arrived", "reply lost", "zombie", "compacted"):
        assert event_counts[event] > 5, f"{event} must happen, to prove anything"
    fault_count = sum(count for what, count in event_counts.items() if what != "nothing fetched")
    row = {"no": "24", "fault": f"{SEEDS_PER_TEST} runs of mishaps by seed, from {first} on"}
    record_property("fault", row | {"injected": fault_count, "struck": fault_count, "lost": 0, "doubled": 0})


@pytest.mark.parametrize("name", SEEDED_BUGS)
def test_the_simulation_detects_a_seeded_bug(name: str) -> None:
    for seed in range(200):
        try:
            run_seed(seed, SEEDED_BUGS[name])
        except InvariantViolation as noticed:
            print(f"{name} is noticed with seed {seed}: {noticed}")
            return
    pytest.fail("nobody notices it")
