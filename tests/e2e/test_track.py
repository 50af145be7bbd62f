"""Tracking on a real broker: whatever faults occur, the results equal those of a run without faults."""

import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from support.process import run
from support.records import trade
from support.scenario import RecordProperty, count_differences, record_result
from support.topics import delete_topic
from support.tracker import RESULT_TOPICS, TrackResults, count_values, make_tracker, read_results
from tickerlake.errors import BrokerUnreachable, KafkaError, Rebalanced
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.producer import Producer
from tickerlake.pipeline.track import TrackProgress

NEVER_STOP = threading.Event()
TRADES = 12_000


@pytest.fixture(scope="module")
def market(kafka: str) -> str:
    """A topic of trades, some late, some that are rejected."""
    topic = "market.trades"
    run("simulate", "-t", topic, "-b", kafka, "--trades", TRADES, "--symbols", 12, "--days", 1, "--jumps", 3)
    producer = Producer(kafka, "rejects", {})
    producer.begin()
    values = [b"hello", trade("S001.XXXX", 1, "5", "5"), trade("S001.XXXX", 1_704_205_800 * 10**9, "-5", "5")]
    producer.send(topic, [b"S001.XXXX"] * 3, values)
    producer.commit()
    return topic


@pytest.fixture(scope="module")
def baseline(kafka: str, market: str, tmp_path_factory: pytest.TempPathFactory) -> TrackResults:
    """The results of a run without faults, in batches of all records."""
    state = tmp_path_factory.mktemp("baseline")
    progress = make_tracker(kafka, market, "baseline", "baseline", state, batch_records=50_000).run(
        NEVER_STOP, until_end=True
    )
    results = read_results(kafka, "baseline")
    counts = {
        name: sum(len(values) for (topic, _), values in results.items() if topic == name)
        for name in RESULT_TOPICS
    }
    assert counts == {
        "bars": progress.bars,
        "indicators": progress.indicators,
        "alerts": progress.alerts,
        "rejects": progress.rejects.total(),
    }
    assert progress.alerts > 10
    assert counts["rejects"] == 3
    return results


def start_worker(
    kafka: str, topic: str, name: str, state: Path, batch_records: int = 400, *, keep_running: bool = False
) -> "subprocess.Popen[str]":
    arguments = [kafka, topic, name, name, state, batch_records, "forever" if keep_running else "until-end"]
    return subprocess.Popen(
        [sys.executable, "-m", "support.tracker", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def wait_until_read(child: "subprocess.Popen[str]", count: int) -> bool:
    """Wait until a worker has read ``count`` records; False if it exits before."""
    assert child.stdout is not None
    return any(int(line) >= count for line in child.stdout)


def test_a_killed_worker_resumes_where_it_stopped(
    kafka: str, market: str, baseline: TrackResults, tmp_path: Path
) -> None:
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")
    rng = random.Random(seed)
    killed = 0
    for _ in range(6):
        with start_worker(kafka, market, "killed", tmp_path) as child:
            if wait_until_read(child, rng.randrange(1, 4_000)):
                time.sleep(rng.random() * 0.05)
                child.kill()
                killed += 1
    assert killed >= 3
    make_tracker(kafka, market, "killed", "killed", tmp_path).run(NEVER_STOP, until_end=True)
    assert read_results(kafka, "killed") == baseline


def test_without_snapshots_the_topic_is_replayed(
    kafka: str, market: str, baseline: TrackResults, tmp_path: Path
) -> None:
    with start_worker(kafka, market, "no-snapshots", tmp_path) as child:
        assert wait_until_read(child, 3_000)
        child.kill()
    shutil.rmtree(tmp_path)
    warnings: list[str] = []
    restarted = make_tracker(kafka, market, "no-snapshots", "no-snapshots", tmp_path)
    restarted.run(NEVER_STOP, until_end=True, on_warning=warnings.append)
    assert any("there is no snapshot" in text for text in warnings)
    assert read_results(kafka, "no-snapshots") == baseline


@pytest.mark.full
def test_workers_come_and_go(
    kafka: str,
    market: str,
    baseline: TrackResults,
    tmp_path: Path,
    record_property: RecordProperty,
) -> None:
    with (
        start_worker(kafka, market, "shared", tmp_path, 50, keep_running=True) as first,
        start_worker(kafka, market, "shared", tmp_path, 50, keep_running=True) as second,
    ):
        # one gets all partitions first, then shares them with the other
        assert wait_until_read(first, 0)
        assert wait_until_read(second, 0)
        first.kill()
        with start_worker(kafka, market, "shared", tmp_path, 50) as third:
            assert third.wait(60) == 0
        second.kill()
    make_tracker(kafka, market, "shared", "shared", tmp_path).run(NEVER_STOP, until_end=True)
    results = read_results(kafka, "shared")
    differences = count_differences(count_values(baseline), count_values(results))
    record_result(
        record_property, "22", "tracked by three workers, two killed; batches of 50", 2, 2, **differences
    )
    assert results == baseline


def test_a_recreated_topic_is_not_mistaken_for_the_old_one(kafka: str, tmp_path: Path) -> None:
    topic = "recreated.trades"
    simulate = ("simulate", "-t", topic, "-b", kafka, "--trades", 500, "--symbols", 1, "--days", 1)
    run(*simulate)
    recreated = threading.Event()

    def recreate(now: TrackProgress) -> None:
        if now.records and not recreated.is_set():
            recreated.set()
            delete_topic(kafka, topic)
            run(*simulate)

    with pytest.raises(KafkaError, match="recreated"):
        make_tracker(kafka, topic, "recreated", "recreated", tmp_path).run(NEVER_STOP, on_progress=recreate)
    progress = make_tracker(kafka, topic, "other", "recreated", tmp_path).run(NEVER_STOP, until_end=True)
    assert progress.records == 500


def test_a_bar_closed_by_the_clock_is_restated_by_the_next_worker(kafka: str, tmp_path: Path) -> None:
    topic, start = "idle.trades", 1_704_205_800 * 10**9
    Admin(kafka).create_topic(topic, 1)
    producer = Producer(kafka, "idle", {})

    def produce(*times: int) -> None:
        producer.begin()
        producer.send(
            topic, [b"A.XXXX"] * len(times), [trade("A.XXXX", start + ts, "5", "5") for ts in times]
        )
        producer.commit()

    # the bar ends 1 ms after its last trade, and the clock is far ahead
    produce(0, 59_999_000_000)
    stop = threading.Event()
    first = make_tracker(kafka, topic, "idle", "idle", tmp_path, idle_ns=0)
    first.run(stop, on_progress=lambda now: stop.set() if now.bars else None)
    shutil.rmtree(tmp_path)  # no snapshot remains: only the commit metadata says that the bar was closed
    produce(30_000_000_000, 60_000_000_000, 120_000_000_000)
    make_tracker(kafka, topic, "idle", "idle", tmp_path).run(NEVER_STOP, until_end=True)
    bars = pl.DataFrame({"v": read_results(kafka, "idle")["bars", b"A.XXXX"]}).select(
        pl.col("v")
        .cast(pl.String)
        .str.json_decode(pl.Struct({"ts_open_ns": pl.Int64, "revision": pl.Int64, "volume": pl.Float64}))
    )
    minute = 60 * 10**9
    assert bars.unnest("v").rows() == [(start, 0, 10), (start, 1, 15), (start + minute, 0, 5)]


@pytest.mark.parametrize("failure_point", ["before", pytest.param("after", marks=pytest.mark.full)])
def test_a_failed_commit_is_recovered(
    kafka: str,
    market: str,
    baseline: TrackResults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure_point: str,
) -> None:
    name, commit, calls = f"failed-commit-{failure_point}", Producer.commit, 0

    def fail(self: Producer) -> None:
        nonlocal calls
        calls += 1
        if calls % 4 != 2:
            commit(self)
        elif failure_point == "before":
            self.abort()
            raise Rebalanced("no longer assigned")
        else:
            # committed, but the reply is lost
            commit(self)
            raise BrokerUnreachable("the reply was lost")

    monkeypatch.setattr(Producer, "commit", fail)
    warnings: list[str] = []
    worker = make_tracker(kafka, market, name, name, tmp_path, batch_records=2_000)
    worker.run(NEVER_STOP, until_end=True, on_warning=warnings.append)
    monkeypatch.undo()
    assert sum("Restarting" in text for text in warnings) >= 2
    assert read_results(kafka, name) == baseline
