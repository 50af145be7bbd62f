"""Validates the oracle: it must detect each bug that is seeded into the sink, on a real broker."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from support import oracle
from support.process import wait_until
from support.scenario import RecordProperty, Scenario, record_result
from support.seeded_bugs import SEEDED_BUGS
from tickerlake.errors import StoreUnavailable
from tickerlake.lake.store.local import LocalStore
from tickerlake.pipeline.sink import Sink, SinkOptions

REAL_BROKER_BUGS = (
    "overwrites",
    "commits_before_storing",
    "skips_a_record_on_rebalance",
    "names_segments_by_time",
    "adopts_without_checking",
)


class FlakyStore(LocalStore):
    """Fails once, at the third segment."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.segments_created = 0

    def create(self, key: str, data: bytes, *, metadata: Mapping[str, str], content_type: str = "") -> None:
        self.segments_created += key.endswith(".gz")
        if self.segments_created == 3:
            raise StoreUnavailable("The disk was unavailable.")
        super().create(key, data, metadata=metadata)


def store_under_faults(scenario: Scenario) -> oracle.Verdict:
    """Pause a worker while another one fails, restarts and overtakes it; a last one stores the rest."""
    lake = Path(scenario.lake)
    options = SinkOptions(flush_records=70, flush_age_s=3600)
    scenario.produce(2000)
    zombie = Sink(
        scenario.servers,
        [scenario.topic],
        LocalStore(lake),
        f"{scenario.topic}-b",
        replace(options, flush_records=10**6),
    )
    zombie.open()

    def has_read() -> bool:
        zombie.step()
        return zombie._has_read_all()

    wait_until(has_read)
    zombie.options = replace(options, flush_records=31)
    with pytest.raises(StoreUnavailable):
        Sink(scenario.servers, [scenario.topic], FlakyStore(lake), scenario.topic, options).run(
            threading.Event(), until_end=True
        )
    restarted = Sink(scenario.servers, [scenario.topic], LocalStore(lake), scenario.topic, options)
    restarted.run(threading.Event(), until_end=True)
    try:
        while not zombie._is_idle():
            zombie.step(until_end=True)
    finally:
        zombie.close()
    scenario.produce(500)
    final = Sink(
        scenario.servers,
        [scenario.topic],
        LocalStore(lake),
        scenario.topic,
        replace(options, flush_records=40),
    )
    final.run(threading.Event(), until_end=True)
    return oracle.compare_with_kafka(scenario.servers, scenario.topic, lake)


def test_the_oracle_accepts_a_correct_sink(scenario: Scenario) -> None:
    assert store_under_faults(scenario).is_sound


@pytest.mark.parametrize(
    "name",
    [*REAL_BROKER_BUGS[:1], *(pytest.param(name, marks=pytest.mark.full) for name in REAL_BROKER_BUGS[1:])],
)
def test_the_oracle_detects_a_seeded_bug(
    scenario: Scenario,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    record_property: RecordProperty,
) -> None:
    SEEDED_BUGS[name](monkeypatch)
    verdict = store_under_faults(scenario)
    assert not verdict.is_sound
    fault = f"seeded bug: {name.replace('_', ' ')}; detected"
    cells = {"records": verdict.sent, "lost": len(verdict.lost), "duplicated": len(verdict.duplicated)}
    record_result(record_property, "oracle", fault, 1, 1, **cells)
