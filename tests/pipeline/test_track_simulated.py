"""Tracking in a simulated Kafka that follows a script: the results are the same whatever happens."""

import random
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
import pytest
import zstandard

from support.records import trade
from support.sim_kafka import Event, Killed, Log, SimAdmin, SimCluster, SimConsumer, SimPool, SimProducer
from tickerlake import clock
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.analytics.types import EngineOptions, Output
from tickerlake.errors import BrokerUnreachable, Rebalanced, StoreUnavailable
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.model.json import to_json_lines
from tickerlake.pipeline import publisher, track
from tickerlake.pipeline.partition_state import ClockClose
from tickerlake.pipeline.track import Tracker, TrackOptions

SECOND = 10**9
START_S = 1_704_205_800
OPTIONS = EngineOptions(
    intervals=("10s", "1m"),
    indicators=("EMA(2)", "VWAP"),
    grace_ns=5 * SECOND,
    lateness_ns=20 * SECOND,
    idle_ns=3 * SECOND,
)
RULES = parse(
    """
    [[rule]]
    id = "silent"
    kind = "stale"
    after = "8s"
    cooldown = "10s"

    [[rule]]
    id = "bad"
    kind = "data_quality"
    count = 2
    window = "1m"

    [[rule]]
    id = "move"
    kind = "pct_change"
    interval = ["10s", "1m"]
    window = "1m"
    pct = 1
    when = "tick"
    cooldown = "5s"
    """,
    "test",
)
Written = dict[tuple[str, bytes | None], list[bytes]]


def engine() -> Engine:
    return Engine(OPTIONS, lambda _: ALWAYS_OPEN, AlertEngine(RULES.rules, OPTIONS.intervals))


class NoWaitStop(threading.Event):
    """Does not wait."""

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        return self.is_set()


class SimulatedTracking:
    """Workers one after another, with the same store and Kafka."""

    def __init__(self, logs: dict[int, Log], *, is_slow: bool = False, **options: Any) -> None:
        self.store: Store = MemoryStore()
        self.options = TrackOptions(OPTIONS, "x", **options)
        self.cluster = SimCluster(logs, iter(()), lambda: None, START_S, defers_writes=is_slow)
        self.warnings: list[str] = []

    def run(self, events: Iterable[Event]) -> None:
        """Run a worker until the events end, or until it is killed."""
        stop = NoWaitStop()
        self.cluster.script, self.cluster.stop = iter(events), stop.set
        self.cluster.commit_fault, self.cluster.is_killed = "", False
        with self._simulated():
            watcher = AlertEngine(RULES.rules, OPTIONS.intervals)
            worker = Tracker("", "t", self.store, "g", self.options, lambda _: ALWAYS_OPEN, watcher)
            try:
                worker.run(stop, on_warning=self.warnings.append)
            except Killed:
                return
            except (Rebalanced, BrokerUnreachable):
                assert stop.is_set()

    @contextmanager
    def _simulated(self) -> Iterator[None]:
        cluster = self.cluster
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(track, "Admin", lambda *_: SimAdmin(cluster))
            patch.setattr(track, "Producer", lambda *_, **__: SimProducer(cluster))
            patch.setattr(track, "Consumer", lambda a, b, c, *on, instance: SimConsumer(cluster, *on))
            patch.setattr(publisher, "ThreadPoolExecutor", lambda *_, **__: SimPool(cluster))
            patch.setattr(track, "instance_slot", lambda _: nullcontext(0))
            patch.setattr(clock, "now_ns", lambda: int(cluster.now_s * SECOND))
            patch.setattr(clock, "monotonic_s", lambda: cluster.now_s)
            yield

    def written(self) -> Written:
        results = {key: list(values) for key, values in self.cluster.published.items()}
        rejects = map(msgspec.json.decode, results.pop(("x.rejects", None), []))
        keys = [(each["partition"], each["offset"], each["reason"]) for each in rejects]
        # the partitions share one topic of rejects: their order is not defined
        return results | {("x.rejects", None): [msgspec.json.encode(key) for key in sorted(keys)]}

    def expected(self) -> Written:
        """Return the results of one engine for all committed records, with the clock closes between them."""
        results: Written = defaultdict(list, {("x.rejects", None): []})
        for number, log in self.cluster.logs.items():
            committed = self.cluster.committed.get(number)
            end = committed.offset if committed else 0
            clock_closes = list(self.cluster.idle_closes[number])
            for output in reference_outputs(
                number, [record for record in log if record[0] < end], clock_closes
            ):
                add_output(results, output)
        return dict(results)


def reference_outputs(number: int, log: Log, clock_closes: list[ClockClose]) -> Iterator[Output]:
    """Run one engine that processes all records between two clock closes at once."""
    subject, at = engine(), 0
    for close in [*clock_closes, None]:
        until = close.offset if close else log[-1][0] + 1 if log else 0
        part = [record for record in log[at:] if record[0] < until]
        at += len(part)
        if part:
            rows = [(number, offset, ms, value) for offset, ms, value in part]
            schema = {"partition": pl.Int64, "offset": pl.Int64, "timestamp_ms": pl.Int64, "value": pl.Binary}
            yield subject.process(pl.DataFrame(rows, schema=schema, orient="row"))
        if close is not None:
            yield subject.close_idle(number, close.now_ns, close.idle_ns)


def add_output(written: Written, output: Output) -> None:
    for suffix, frame in (("bars", output.bars), ("indicators", output.indicators)):
        plain = frame.drop("partition", "offset")
        for key, value in zip(plain["instrument_id"].to_list(), to_json_lines(plain), strict=True):
            written[f"x.{suffix}", key.encode()].append(bytes(value))
    for raised in output.alerts:
        written["x.alerts", raised.alert.instrument_id.encode()].append(raised.alert.to_json())
    for key in output.rejects.select("partition", "offset", "reason").iter_rows():
        written["x.rejects", None].append(msgspec.json.encode(key))


def make_log(number: int, steps: Iterable[tuple[int, int, int, int, int]]) -> Log:
    """Return records of two instruments, some of them late or invalid, with holes between offsets."""
    log: Log = []
    now, offset = START_S, 0
    for instrument, step, late, cents, hole in steps:
        now += step
        offset += 1 + hole
        price = Decimal(cents) / 100
        name = f"{'AB'[instrument]}{number}.XNAS"
        log.append((offset, now * 1000, trade(name, (now - late) * SECOND, price, Decimal(1))))
    return log


def random_steps(rng: random.Random) -> Iterator[tuple[int, int, int, int, int]]:
    for _ in range(rng.randrange(5, 60)):
        late = rng.choice([0, 0, 0, rng.randrange(40)])
        cents = rng.choice([-5, *[rng.randrange(9_800, 10_200)] * 9])
        yield rng.randrange(2), rng.choice([0, 1, 4, 12]), late, cents, rng.choice([0, 0, 0, 2])


def random_events(rng: random.Random) -> Iterator[Event]:
    """Yield what happens to a worker: records arrive and are read, time passes, and faults occur."""
    for _ in range(rng.randrange(5, 60)):
        match rng.choice("grrrrwwwmf"):
            case "g":
                yield "grow", rng.randrange(2), rng.randrange(1, 12)
            case "r":
                yield "read", rng.choice([(99, 99), (99, 99), (rng.randrange(6), rng.randrange(6))])
            case "w":
                yield "wait", rng.choice([0.5, 1.5, 2.5, 6.0, 20.0])
            case "m":
                yield "move", rng.randrange(2)
            case "f":
                yield "fail", rng.choice(["before", "after", "kill before", "kill after"])
    yield rng.choice([("kill",), ("kill",), ("stop",)])


DRAIN_EVENTS: list[Event] = [
    ("grow", 0, 99),
    ("grow", 1, 99),
    ("read", (99, 99)),
    ("wait", 1.5),
    ("read", (99, 99)),
    ("wait", 1.5),
    ("read", (99, 99)),
]


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_results_equal_those_of_one_engine_under_any_faults(first: int) -> None:
    for seed in range(first, first + 10):
        rng = random.Random(seed)
        logs = {number: make_log(number, random_steps(rng)) for number in (0, 1)}
        snapshot_records = rng.choice([3, 10, 1000])
        kafka = SimulatedTracking(
            logs, is_slow=rng.random() < 0.5, snapshot_records=snapshot_records, snapshot_s=30.0
        )
        for _ in range(rng.randrange(1, 6)):
            kafka.run(random_events(rng))
        kafka.run(DRAIN_EVENTS)
        assert kafka.written() == kafka.expected(), f"seed {seed}"


READ_ALL: Event = ("read", (99, 99))


def test_a_stale_alert_before_a_restart_clears_once_after_it() -> None:
    kafka = SimulatedTracking(
        {0: make_log(0, [(0, 0, 0, 10_000, 0), (1, 4, 0, 10_000, 0), (1, 30, 0, 10_000, 0)])}
    )
    # two clock closes at one offset, both in the snapshot at the end and in the commit metadata
    kafka.run(
        [
            ("grow", 0, 2),
            READ_ALL,
            ("wait", 8.5),
            READ_ALL,
            READ_ALL,
            ("wait", 4.0),
            READ_ALL,
            READ_ALL,
            ("stop",),
        ]
    )
    kafka.run([("grow", 0, 9), READ_ALL, ("wait", 1.5), READ_ALL])
    kafka.run([READ_ALL, ("wait", 3.0), READ_ALL, ("wait", 1.5), READ_ALL])
    assert kafka.written() == kafka.expected()
    states = [msgspec.json.decode(value)["state"] for value in kafka.written()["x.alerts", b"B0.XNAS"]]
    assert states[:2] == ["fired", "cleared"]


def test_a_clock_close_after_a_snapshot_is_not_mistaken_for_a_committed_one() -> None:
    logs = {0: make_log(0, [(0, 0, 0, 10_000, 0), (1, 4, 0, 10_000, 0)])}
    kafka = SimulatedTracking(logs, snapshot_records=1)
    # the iteration after the snapshot takes so long that the clock is checked again before a commit
    kafka.run([("grow", 0, 2), READ_ALL, ("wait", 8.5), READ_ALL, *[("wait", 4.0), READ_ALL] * 3, ("kill",)])
    assert kafka.written()["x.alerts", b"B0.XNAS"]
    assert kafka.written() == kafka.expected()


def test_the_clock_closes_all_bars_without_new_records() -> None:
    # many instruments become idle one after another: more clock closes at one offset than the metadata holds
    names = [f"N{number}.XNAS" for number in range(200)]
    log = [
        (number, (START_S + 3 * number) * 1000, trade(name, (START_S + 3 * number) * SECOND, 5, 1))
        for number, name in enumerate(names)
    ]
    kafka = SimulatedTracking({0: log})
    kafka.run(
        [
            ("grow", 0, 999),
            READ_ALL,
            READ_ALL,
            READ_ALL,
            *[("wait", 2.1), READ_ALL] * 300,
            *[("wait", 600.0), READ_ALL] * 60,
        ]
    )
    closed = {key for (topic, key) in kafka.written() if topic == "x.bars"}
    assert closed == {name.encode() for name in names}
    encoded = [committed.metadata for committed in kafka.cluster.committed.values()]
    assert all(len(metadata) < 4_096 for metadata in encoded)
    kafka.run([("grow", 0, 0), READ_ALL, ("wait", 1.5), READ_ALL])
    assert kafka.written() == kafka.expected()


def ten_second_bars(kafka: SimulatedTracking) -> list[tuple[int, int]]:
    """Return seconds since the start, and trades, of the 10-second bars of the first instrument."""
    records = map(msgspec.json.decode, kafka.written().get(("x.bars", b"A0.XNAS"), []))
    return [
        (each["ts_open_ns"] // SECOND - START_S, each["trade_count"])
        for each in records
        if each["interval"] == "10s"
    ]


TWO_TRADES = [(0, 0, 0, 10_000, 0), (0, 1, 0, 10_000, 0)]


def test_a_resumed_worker_closes_bars_by_the_clock_without_new_records() -> None:
    kafka = SimulatedTracking({0: make_log(0, TWO_TRADES)})
    kafka.run([("grow", 0, 2), READ_ALL, ("wait", 1.5), READ_ALL, ("kill",)])
    assert ten_second_bars(kafka) == []
    kafka.run([READ_ALL, ("wait", 30.0), READ_ALL])
    assert ten_second_bars(kafka) == [(0, 2)]


def test_the_clock_closes_nothing_before_all_is_read() -> None:
    kafka = SimulatedTracking({0: make_log(0, TWO_TRADES)})
    kafka.run(
        [("grow", 0, 2), ("wait", 3_600.0), ("read", (1,)), ("wait", 5.0), READ_ALL, ("wait", 5.0), READ_ALL]
    )
    assert ten_second_bars(kafka) == [(0, 2)]


def test_clock_closes_fit_into_the_commit_metadata_without_snapshots() -> None:
    class Unavailable(MemoryStore):
        def create(self, key: str, data: bytes, **options: Any) -> None:
            del key, data, options
            raise StoreUnavailable("no answer")

    kafka = SimulatedTracking({0: make_log(0, [(0, 12, 0, 10_000, 0)] * 150)})
    kafka.store = Unavailable()
    kafka.run([("wait", 30.0), *[("grow", 0, 1), READ_ALL, ("wait", 12.0), READ_ALL] * 150, ("stop",)])
    assert len(kafka.cluster.committed[0].metadata) < 4_096
    assert len(kafka.cluster.idle_closes[0]) > 50
    assert any("no snapshot was stored" in text for text in kafka.warnings)


def test_a_snapshot_older_than_retention_is_not_used() -> None:
    kafka = SimulatedTracking({0: make_log(0, [(0, 2, 0, 10_000, 0)] * 9)})
    kafka.run([("grow", 0, 3), READ_ALL, ("wait", 1.5), READ_ALL, ("stop",)])
    kafka.cluster.low_watermarks[0] = 7
    kafka.run([("grow", 0, 99), READ_ALL, ("wait", 90.0), READ_ALL])
    assert any("Kafka deleted the offsets 4 to 6" in text for text in kafka.warnings)
    # the seventh record is at 14 seconds: the bar that started before it is partial
    (first, *_) = map(msgspec.json.decode, kafka.written()["x.bars", b"A0.XNAS"])
    assert (first["trade_count"], first["is_partial"]) == (3, True)


def test_a_snapshot_of_an_earlier_release_is_ignored_and_the_records_are_replayed() -> None:
    class Outdated(MemoryStore):
        def read(self, key: str) -> bytes:
            if not key.startswith("state/"):
                return super().read(key)
            document = {"version": engine_state.VERSION - 1, "moments": []}
            return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(document))

    kafka = SimulatedTracking({0: make_log(0, [(0, 2, 0, 10_000, 0)] * 9)})
    kafka.store = Outdated()
    kafka.run([("grow", 0, 5), READ_ALL, ("wait", 1.5), READ_ALL, ("stop",)])
    kafka.run([("grow", 0, 99), READ_ALL, ("wait", 90.0), READ_ALL])
    (warning,) = kafka.warnings
    assert warning == ("an earlier release wrote the snapshot of t partition 0: replaying the offsets 0 to 5")
    assert kafka.written() == kafka.expected()
