"""24: randomized runs of the sink against a simulated Kafka and store, each determined by its seed."""

from collections import Counter

import pytest

from fault.simulation import InvariantViolation, run_seed, try_seed
from support.scenario import RecordProperty, record_result
from support.seeded_bugs import SEEDED_BUGS

# enough for each kind of fault to occur often, and few enough for every test run
SEEDS = 200
# xdist distributes tests, not loops
SEEDS_PER_TEST = 50


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_each_record_is_stored_exactly_once(first: int, record_property: RecordProperty) -> None:
    event_counts: Counter[str] = Counter()
    for seed in range(first, first + SEEDS_PER_TEST):
        _, violation, counts = try_seed(seed)
        assert not violation, f"seed {seed}: {violation}\nreplay: make simulate SEEDS=1 FIRST={seed}"
        event_counts += counts
    for event in ("killed while storing", "late request arrived", "reply lost", "zombie", "compacted"):
        assert event_counts[event] > 5, f"{event} must occur for the run to prove anything"
    fault_count = sum(count for event, count in event_counts.items() if event != "nothing fetched")
    fault = f"randomized faults, seeds {first}–{first + SEEDS_PER_TEST - 1}"
    record_result(record_property, "24", fault, fault_count, fault_count, lost=0, duplicated=0)


@pytest.mark.parametrize("name", SEEDED_BUGS)
def test_the_simulation_detects_a_seeded_bug(name: str) -> None:
    for seed in range(200):
        try:
            run_seed(seed, SEEDED_BUGS[name])
        except InvariantViolation as violation:
            print(f"{name} is detected with seed {seed}: {violation}")
            return
    pytest.fail("no seed detects it")
