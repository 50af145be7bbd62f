"""Tracking on a real broker: whatever happens on the way, the results are those of one quiet run."""

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from support.process import run
from support.records import trade
from support.topics import delete
from support.tracker import RESULTS, Written, amounts, tracker, written
from tickerlake.errors import BrokerUnreachable, KafkaError, Rebalanced
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.producer import Producer
from tickerlake.pipeline.track import TrackProgress

NEVER = threading.Event()
TRADES = 12_000


@pytest.fixture(scope="module")
def market(kafka: str) -> str:
    """A topic of trades, some of them late, some refused."""
    topic = "market.trades"
    run("simulate", "-t", topic, "-b", kafka, "--trades", TRADES, "--symbols", 12, "--days", 1, "--jumps", 3)
    producer = Producer(kafka, "spoil", {})
    producer.begin()
    values = [b"hello", trade("S001.XXXX", 1, "5", "5"), trade("S001.XXXX", 1_704_205_800 * 10**9, "-5", "5")]
    producer.send(topic, [b"S001.XXXX"] * 3, values)
    producer.commit()
    return topic


@pytest.fixture(scope="module")
def quiet(kafka: str, market: str, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """What one run writes that nothing happens to, in batches as large as can be."""
    state = tmp_path_factory.mktemp("quiet")
    done = tracker(kafka, market, "quiet", "quiet", state, batch_records=50_000).run(NEVER, until_end=True)
    found = written(kafka, "quiet")
    counts = {
        name: sum(len(values) for (topic, _), values in found.items() if topic == name) for name in RESULTS
    }
    assert counts == {
        "bars": done.bars,
        "indicators": done.indicators,
        "alerts": done.alerts,
        "refused": done.refused.total(),
    }
    assert done.alerts > 10
    assert counts["refused"] == 3
    return found


def worker(
    kafka: str, topic: str, name: str, state: Path, batch_records: int = 400, *, forever: bool = False
) -> "subprocess.Popen[str]":
    arguments = [kafka, topic, name, name, state, batch_records, "forever" if forever else "until-end"]
    return subprocess.Popen(
        [sys.executable, "-m", "support.tracker", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


def read_until(child: "subprocess.Popen[str]", count: int) -> bool:
    """Wait until a worker has read so many records; False if it ended before."""
    assert child.stdout is not None
    return any(int(line) >= count for line in child.stdout)


def test_a_killed_worker_goes_on_where_it_was(
    kafka: str, market: str, quiet: Written, tmp_path: Path
) -> None:
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed = 0
    for _ in range(6):
        with worker(kafka, market, "killed", tmp_path) as child:
            if read_until(child, chance.randrange(1, 4_000)):
                time.sleep(chance.random() * 0.05)
                child.kill()
                killed += 1
    assert killed >= 3
    tracker(kafka, market, "killed", "killed", tmp_path).run(NEVER, until_end=True)
    assert written(kafka, "killed") == quiet


def test_without_snapshots_the_topic_is_read_again(
    kafka: str, market: str, quiet: Written, tmp_path: Path
) -> None:
    with worker(kafka, market, "forgetful", tmp_path) as child:
        assert read_until(child, 3_000)
        child.kill()
    shutil.rmtree(tmp_path)
    warnings: list[str] = []
    again = tracker(kafka, market, "forgetful", "forgetful", tmp_path)
    again.run(NEVER, until_end=True, on_warning=warnings.append)
    assert any("there is no snapshot" in text for text in warnings)
    assert written(kafka, "forgetful") == quiet


@pytest.mark.full
def test_workers_come_and_go(
    kafka: str,
    market: str,
    quiet: Written,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with (
        worker(kafka, market, "shared", tmp_path, 50, forever=True) as first,
        worker(kafka, market, "shared", tmp_path, 50, forever=True) as second,
    ):
        # whoever is first to have partitions, and then shares them
        assert read_until(first, 0)
        assert read_until(second, 0)
        first.kill()
        with worker(kafka, market, "shared", tmp_path, 50) as third:
            assert third.wait(60) == 0
        second.kill()
    tracker(kafka, market, "shared", "shared", tmp_path).run(NEVER, until_end=True)
    again = written(kafka, "shared")
    wanted, found = amounts(quiet), amounts(again)
    row = {"no": "22", "fault": "tracked by three workers, in batches of 50", "injected": 2, "struck": 2}
    row |= {"records": wanted.total(), "stored": found.total()}
    row |= {"lost": (wanted - found).total(), "doubled": (found - wanted).total()}
    record_property("fault", row)
    assert again == quiet


def test_a_topic_created_anew_is_not_taken_for_the_old_one(kafka: str, tmp_path: Path) -> None:
    topic = "renewed.trades"
    make = ("simulate", "-t", topic, "-b", kafka, "--trades", 500, "--symbols", 1, "--days", 1)
    run(*make)
    renewed = threading.Event()

    def renew(now: TrackProgress) -> None:
        if now.records and not renewed.is_set():
            renewed.set()
            delete(kafka, topic)
            run(*make)

    with pytest.raises(KafkaError, match="created anew"):
        tracker(kafka, topic, "renewed", "renewed", tmp_path).run(NEVER, on_progress=renew)
    done = tracker(kafka, topic, "other", "renewed", tmp_path).run(NEVER, until_end=True)
    assert done.records == 500


def test_a_bar_that_the_clock_closed_is_restated_by_who_comes_after(kafka: str, tmp_path: Path) -> None:
    topic, start = "idle.trades", 1_704_205_800 * 10**9
    Admin(kafka).create(topic, 1)
    producer = Producer(kafka, "idle", {})

    def send(*times: int) -> None:
        producer.begin()
        producer.send(
            topic, [b"A.XXXX"] * len(times), [trade("A.XXXX", start + ts, "5", "5") for ts in times]
        )
        producer.commit()

    # the bar has a minute less 59.999 s to go, and the clock is hours ahead
    send(0, 59_999_000_000)
    stop = threading.Event()
    first = tracker(kafka, topic, "idle", "idle", tmp_path, idle_ns=0)
    first.run(stop, on_progress=lambda now: stop.set() if now.bars else None)
    shutil.rmtree(tmp_path)  # not even the snapshot of the end: the note alone says that the bar was closed
    send(30_000_000_000, 60_000_000_000, 120_000_000_000)
    tracker(kafka, topic, "idle", "idle", tmp_path).run(NEVER, until_end=True)
    bars = pl.DataFrame({"v": written(kafka, "idle")["bars", b"A.XXXX"]}).select(
        pl.col("v")
        .cast(pl.String)
        .str.json_decode(pl.Struct({"ts_open_ns": pl.Int64, "revision": pl.Int64, "volume": pl.Float64}))
    )
    minute = 60 * 10**9
    assert bars.unnest("v").rows() == [(start, 0, 10), (start, 1, 15), (start + minute, 0, 5)]


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=pytest.mark.full)])
def test_a_commit_that_fails_is_made_up_for(
    kafka: str, market: str, quiet: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    name, commit, calls = f"unlucky-{when}", Producer.commit, 0

    def fail(self: Producer) -> None:
        nonlocal calls
        calls += 1
        if calls % 4 != 2:
            commit(self)
        elif when == "before":
            self.abort()
            raise Rebalanced("no longer ours")
        else:
            # it is committed, and nobody says so
            commit(self)
            raise BrokerUnreachable("the reply was lost")

    monkeypatch.setattr(Producer, "commit", fail)
    warnings: list[str] = []
    subject = tracker(kafka, market, name, name, tmp_path, batch_records=2_000)
    subject.run(NEVER, until_end=True, on_warning=warnings.append)
    monkeypatch.undo()
    assert sum("Beginning again" in text for text in warnings) >= 2
    assert written(kafka, name) == quiet
