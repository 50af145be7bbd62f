"""1–3: after a process is killed, at each failpoint or at random, no record is lost or duplicated."""

import json
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from support import oracle
from support.csv_files import write_daily_csv
from support.http_fault_proxy import FaultProxy
from support.process import is_halted, run, tickerlake, wait_until
from support.scenario import Scenario, count_differences, record_result
from support.tracker import (
    TrackResults,
    count_values,
    make_tracker,
    read_results,
    run_baseline,
    simulate_trades,
)
from tickerlake.failpoints import ENV_VARIABLE, FAILPOINTS

# a restarted static member gets its partitions at once, not after its session timeout
STATIC_MEMBER = ("-X", "group.instance.id=sink")
_OTHER_PREFIXES = ("compact.", "load.", "repair.")
_PRODUCE_PREFIX, _TRACK_PREFIX = "ingest.", "track."
_FAST_FAILPOINTS = {"segment.stored"}
_FORMAT_BY_PREFIX = {"object": "json", "local": "parquet"}


def failpoint_params(names: Iterable[str]) -> list[object]:
    return [pytest.param(name, marks=() if name in _FAST_FAILPOINTS else pytest.mark.full) for name in names]


@pytest.mark.parametrize(
    "failpoint",
    failpoint_params(
        name for name in FAILPOINTS if not name.startswith((*_OTHER_PREFIXES, _PRODUCE_PREFIX, _TRACK_PREFIX))
    ),
)
def test_a_sink_killed_at_each_failpoint_and_rerun(scenario: Scenario, failpoint: str) -> None:
    scenario.sink_options = (
        *STATIC_MEMBER,
        "--format",
        _FORMAT_BY_PREFIX.get(failpoint.partition(".")[0], "ndjson"),
    )
    scenario.produce(1000)
    scenario.produce_raw((b"K%d" % number, b"{") for number in range(50))
    scenario.produce(1000)
    stored: list[str] = []
    triggered = 0
    for occurrence in (1, 3):
        with scenario.start_sink(
            "--until-end", "--flush-records", 100, failpoints=f"{failpoint}=kill@{occurrence}"
        ) as child:
            _, err = child.communicate(timeout=60)
        triggered += child.returncode == -signal.SIGKILL
        assert set(stored) <= set(scenario.object_keys()), f"stored segments remain\n{err}"
        stored = scenario.object_keys()
    with scenario.start_sink("--until-end", "--flush-records", 170) as child:
        recovery_s = wait_until(lambda: len(scenario.object_keys()) > len(stored), child)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert set(stored) <= set(scenario.object_keys()), "stored segments remain"
    verdict = scenario.assert_survived(
        "1", f"sink killed at {failpoint}", injected=2, triggered=triggered, recovery_s=recovery_s
    )
    assert verdict.rejected == 50


@pytest.mark.full
@pytest.mark.parametrize("failpoint", [name for name in FAILPOINTS if name.startswith(_PRODUCE_PREFIX)])
def test_produce_killed_at_each_failpoint_and_rerun(
    scenario: Scenario, tmp_path: Path, failpoint: str
) -> None:
    rows = 3000
    path = write_daily_csv(tmp_path, rows)
    options = ("produce", path, "-t", scenario.topic, "-b", scenario.servers)
    triggered = 0
    for occurrence in (1, 2):
        env = {ENV_VARIABLE: f"{failpoint}=kill@{occurrence}"}
        with tickerlake(*options, "--rate", "4000/s", env=env) as child:
            _, err = child.communicate(timeout=60)
        triggered += child.returncode == -signal.SIGKILL
    assert triggered == 2, err
    run(*options)
    scenario.assert_produced_once("1", f"produce killed at {failpoint}", 2, triggered, rows)


@pytest.fixture(scope="module")
def trades(kafka: str) -> str:
    return simulate_trades(kafka)


@pytest.fixture(scope="module")
def baseline(kafka: str, trades: str, tmp_path_factory: pytest.TempPathFactory) -> TrackResults:
    return run_baseline(kafka, trades, tmp_path_factory.mktemp("baseline"))


@pytest.mark.full
@pytest.mark.parametrize("failpoint", [name for name in FAILPOINTS if name.startswith(_TRACK_PREFIX)])
def test_track_killed_at_each_failpoint_and_rerun(
    scenario: Scenario, trades: str, baseline: TrackResults, tmp_path: Path, failpoint: str
) -> None:
    name = scenario.topic
    arguments = (scenario.servers, trades, name, name, tmp_path / "state", 400, "until-end")
    command = [sys.executable, "-m", "support.tracker", *map(str, arguments)]
    triggered = 0
    for occurrence in (1, 3):
        env = {**os.environ, ENV_VARIABLE: f"{failpoint}=kill@{occurrence}"}
        completed = subprocess.run(
            command, env=env, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, timeout=60,
            check=False,
        )  # fmt: skip
        triggered += completed.returncode == -signal.SIGKILL
    assert triggered == 2, "track must be killed at the failpoint"
    make_tracker(scenario.servers, trades, name, name, tmp_path / "state").run(
        threading.Event(), until_end=True
    )
    results = read_results(scenario.servers, name)
    assert results == baseline
    differences = count_differences(count_values(baseline), count_values(results))
    fault = f"track killed at {failpoint}"
    record_result(scenario.record_property, "1", fault, 2, triggered, **differences)


@pytest.mark.parametrize(
    ("fmt", "kills", "membership_options"),
    [
        ("ndjson", 2, STATIC_MEMBER),
        pytest.param("ndjson", 40, STATIC_MEMBER, marks=[pytest.mark.full, pytest.mark.timeout(400)]),
        # a dynamic member restarts as a new one, and gets partitions after the old one's session timeout
        pytest.param("ndjson", 10, (), marks=[pytest.mark.full, pytest.mark.timeout(400)]),
        pytest.param("parquet", 5, STATIC_MEMBER, marks=pytest.mark.full),
        pytest.param("json", 5, STATIC_MEMBER, marks=pytest.mark.full),
    ],
)
def test_a_sink_killed_at_random_times(
    scenario: Scenario, fmt: str, kills: int, membership_options: tuple[str, ...]
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    records_per_object = 1 if fmt == "json" else 60
    objects_per_flush = 20 if fmt == "json" else 1
    scenario.produce(records_per_object * objects_per_flush * 8 * kills + 2000)
    triggered, recovery_times_s = 0, []
    for _ in range(kills):
        stored_before = len(scenario.object_keys())
        with scenario.start_sink(
            "--until-end", "--flush-records", records_per_object, "--format", fmt, *membership_options
        ) as child:
            recovery_times_s.append(
                wait_until(partial(has_more_objects_than, scenario, stored_before), child)
            )
            target_count = len(scenario.object_keys()) + rng.randint(0, 8) * objects_per_flush
            wait_until(partial(has_more_objects_than, scenario, target_count), child)
            triggered += child.poll() is None
            child.kill()
    stored_before = len(scenario.object_keys())
    with scenario.start_sink("--until-end", "--format", fmt, *membership_options) as child:
        recovery_times_s.append(wait_until(lambda: len(scenario.object_keys()) > stored_before, child))
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    # five session timeouts: what a dynamic member waits for, with slack for a slow machine
    assert max(recovery_times_s) < 30
    member = "static member" if membership_options else "dynamic member"
    median_s = statistics.median(recovery_times_s)
    fault = f"sink killed at random times, {fmt}, {member}; median recovery {median_s:.1f} s"
    # some can finish before they are killed
    scenario.assert_survived(
        "1", fault, injected=kills * 4 // 5, triggered=triggered, recovery_s=max(recovery_times_s)
    )


def has_more_objects_than(scenario: Scenario, count: int) -> bool:
    return len(scenario.object_keys()) > count


@pytest.mark.full
@pytest.mark.parametrize("failpoint", ["segment.stored", "sink.stored"])
def test_a_sink_killed_between_put_and_commit_is_resumed(scenario: Scenario, failpoint: str) -> None:
    scenario.sink_options = (*STATIC_MEMBER, "--group", scenario.topic)
    scenario.produce(100)
    scenario.run_sink()
    committed = scenario.committed_offsets()
    scenario.produce(2000)
    with scenario.start_sink("--until-end", "--flush-records", 100, failpoints=f"{failpoint}=kill") as child:
        child.communicate(timeout=60)
    stored = {key: (Path(scenario.lake) / key).read_bytes() for key in scenario.object_keys()}
    assert scenario.committed_offsets() == committed, "nothing is committed"
    next_offsets = {number: last_offset(scenario, number) + 1 for number in committed}
    assert next_offsets != committed, "a segment is stored"
    scenario.run_sink()
    assert {key: (Path(scenario.lake) / key).read_bytes() for key in stored} == stored
    for number, end in next_offsets.items():
        assert f"raw/{scenario.topic}/partition={number}/{end:020d}.ndjson.gz" in scenario.object_keys()
    scenario.assert_survived(
        "2", f"sink killed at {failpoint}, before the commit", injected=1, triggered=child.returncode == -9
    )


def last_offset(scenario: Scenario, partition: int) -> int:
    stored = oracle.read_rows(Path(scenario.lake), scenario.topic)
    return max(offset for number, offset in stored if number == partition)


def test_a_killed_workers_segment_is_adopted(scenario: Scenario) -> None:
    scenario.produce(1000)
    with scenario.start_sink(
        "--until-end", "--json", "--group", f"{scenario.topic}.b", failpoints="sink.segment_cut=stop"
    ) as late:
        wait_until(lambda: is_halted(late.pid), late)
        with scenario.start_sink(
            "--until-end", "--flush-records", 60, failpoints="sink.stored=kill@3"
        ) as early:
            early.communicate(timeout=60)
        stored = scenario.object_keys()
        late.send_signal(signal.SIGCONT)
        out, err = late.communicate(timeout=60)
    assert late.returncode == 0, err
    assert set(stored) <= set(scenario.object_keys())
    adopted = json.loads(out)["adopted"]
    scenario.assert_survived(
        "2", "another worker stored first and was killed: adopted", injected=1, triggered=adopted
    )
    assert early.returncode == -signal.SIGKILL


@pytest.mark.full
@pytest.mark.parametrize("fault", ["stall", "forward_half", "hold_reply"])
def test_a_sink_killed_during_an_upload(cloud: tuple[Scenario, FaultProxy], fault: str) -> None:
    scenario, proxy = cloud
    scenario.sink_options += STATIC_MEMBER
    scenario.produce(2000, lambda number: "one partition")
    getattr(proxy, fault)()
    stored_before = scenario.object_keys()
    with scenario.start_sink("--until-end", "--flush-records", 900) as child:
        assert proxy.blocked.acquire(timeout=60)
        child.kill()
    stored = set(scenario.object_keys()) - set(stored_before)
    assert len(stored) == (fault == "hold_reply"), "no object, or a complete one"
    out, _ = scenario.run_sink("--json")
    assert json.loads(out)["records"] == (1100 if stored else 2000)
    outcomes = {
        "stall": "nothing stored",
        "forward_half": "half arrived, nothing stored",
        "hold_reply": "segment stored",
    }
    scenario.assert_survived(
        "3", f"sink killed during an upload: {outcomes[fault]}", injected=1, triggered=1 - proxy.pending
    )
