"""Bars compared with a direct implementation of the rules, record by record, for any batching."""

import contextlib
import itertools
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import batch, trade
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions
from tickerlake.analytics.types import EngineOptions, Output
from tickerlake.errors import DataError

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
NAMES = (
    "instrument_id interval ts_open_ns open high low close volume vwap trade_count is_partial revision offset"
).split()
START = 1_704_205_800 * SECOND  # 2024-01-02 09:30 in New York


def engine(**options: Any) -> Engine:
    defaults: dict[str, Any] = {"intervals": ("1m",), "lateness_ns": 0}
    return Engine(EngineOptions(**defaults | options), lambda _: ALWAYS_OPEN)


def bars(*outputs: Output) -> list[dict[str, Any]]:
    return [row for output in outputs for row in output.bars.select(NAMES).iter_rows(named=True)]


@dataclass
class Bar:
    first: tuple[int, Decimal]
    last: tuple[int, Decimal]
    high: Decimal
    low: Decimal
    volume: Decimal
    notional: Decimal
    count: int = 1
    revision: int = 0

    @classmethod
    def from_trade(cls, ts: int, price: Decimal, size: Decimal) -> "Bar":
        return cls((ts, price), (ts, price), price, price, size, price * size)

    def add(self, ts: int, price: Decimal, size: Decimal) -> None:
        if ts < self.first[0]:
            self.first = (ts, price)
        if ts >= self.last[0]:
            self.last = (ts, price)
        self.high, self.low = max(self.high, price), min(self.low, price)
        self.volume += size
        self.notional += price * size
        self.count += 1


@dataclass
class Oracle:
    """The rules of `bar_builder` for one interval, in the most direct code."""

    length: int
    grace: int
    lateness: int
    watermark: dict[str, int] = field(default_factory=dict)
    first_bucket: dict[str, int] = field(default_factory=dict)
    open: dict[str, dict[int, Bar]] = field(default_factory=dict)
    closed: dict[str, dict[int, Bar]] = field(default_factory=dict)
    emitted: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)

    def process(self, offset: int, name: str, ts: int, price: Decimal, size: Decimal) -> None:
        bucket = ts // self.length
        if name not in self.first_bucket:
            complete = ts - bucket * self.length <= min(MINUTE, self.length // 20)
            self.first_bucket[name] = -1 if complete else bucket
        before = self.watermark.get(name)
        opened, closed = self.open.setdefault(name, {}), self.closed.setdefault(name, {})
        if before is not None and (before - self.grace) // self.length > bucket:
            if (before - self.grace - self.lateness) // self.length > bucket:
                self.rejected.append(offset)
            else:
                if bucket in closed:
                    closed[bucket].add(ts, price, size)
                    closed[bucket].revision += 1
                else:
                    closed[bucket] = Bar.from_trade(ts, price, size)
                self.emit(offset, name, bucket, closed[bucket])
        elif bucket in opened:
            opened[bucket].add(ts, price, size)
        else:
            opened[bucket] = Bar.from_trade(ts, price, size)
        self.watermark[name] = ts if before is None else max(before, ts)
        for passed in sorted(b for b in opened if (self.watermark[name] - self.grace) // self.length > b):
            closed[passed] = opened.pop(passed)
            self.emit(offset, name, passed, closed[passed])

    def emit(self, offset: int, name: str, bucket: int, bar: Bar) -> None:
        vwap = None
        if bar.volume:
            units = int(bar.notional * 10**18)
            volume = int(bar.volume * 10**9)
            vwap = Decimal((units + volume // 2) // volume).scaleb(-9)
        self.emitted.append(
            {
                "instrument_id": name,
                "interval": "1m",
                "ts_open_ns": bucket * self.length,
                "open": bar.first[1],
                "high": bar.high,
                "low": bar.low,
                "close": bar.last[1],
                "volume": bar.volume,
                "vwap": vwap,
                "trade_count": bar.count,
                "is_partial": bucket <= self.first_bucket[name],
                "revision": bar.revision,
                "offset": offset,
            }
        )


trades = st.lists(
    st.tuples(
        st.sampled_from(["AAA.XNAS", "BBB.XNAS"]),
        # mostly forward, sometimes back by up to three minutes
        st.one_of(st.integers(0, 40), st.integers(0, 200), st.integers(-180, 0)),
        st.decimals("0.0001", "2000000", places=4),
        st.one_of(st.integers(0, 500).map(Decimal), st.decimals("0", "10", places=6)),
    ),
    max_size=60,
)
split_points_lists = st.lists(st.integers(0, 60), max_size=6)


def split_frame(frame: pl.DataFrame, split_points: list[int]) -> list[pl.DataFrame]:
    edges = sorted({0, frame.height, *(point for point in split_points if point < frame.height)})
    return [frame.slice(a, b - a) for a, b in itertools.pairwise(edges)]


def at_times(steps: list[tuple[str, int, Decimal, Decimal]]) -> list[tuple[str, int, Decimal, Decimal]]:
    now, records = START, []
    for name, step, price, size in steps:
        now += step * SECOND
        records.append((name, now, price, size))
    return records


@settings(max_examples=150, derandomize=True)
@given(trades, split_points_lists, st.sampled_from([0, 30, 90]), st.sampled_from([0, 60, 150]))
def test_bars_match_the_reference_for_any_batching(
    steps: list[tuple[str, int, Decimal, Decimal]], split_points: list[int], grace: int, lateness: int
) -> None:
    oracle = Oracle(MINUTE, grace * SECOND, lateness * SECOND)
    made = at_times(steps)
    for offset, record in enumerate(made):
        oracle.process(offset, *record)
    frame = batch([trade(*record) for record in made])
    subject = engine(grace_ns=grace * SECOND, lateness_ns=lateness * SECOND)
    outputs = [subject.process(part) for part in split_frame(frame, split_points)]
    assert bars(*outputs) == oracle.emitted
    assert [offset for output in outputs for offset in output.rejects["offset"]] == oracle.rejected


@settings(max_examples=60, derandomize=True)
@given(trades, st.integers(0, 60), st.sampled_from([0, 30]), st.sampled_from([0, 60]))
def test_another_engine_resumes_from_a_snapshot(
    steps: list[tuple[str, int, Decimal, Decimal]], at: int, grace: int, lateness: int
) -> None:
    frame = batch([trade(*record) for record in at_times(steps)])
    options = {
        "intervals": ("1m", "5m", "1d"),
        "grace_ns": grace * SECOND,
        "lateness_ns": lateness * SECOND,
        "indicators": ("SMA(2)", "RSI(2)", "VWAP"),
    }
    uninterrupted = engine(**options)
    first, rest = frame.head(at), frame.slice(at)
    expected = [uninterrupted.process(first), uninterrupted.process(rest)][1]
    before, after = engine(**options), engine(**options)
    before.process(first)
    # an engine that already has other partitions
    after.process(batch([trade("CCC.XNAS", START, Decimal(5), Decimal(1))], partition=7))
    engine_state.restore(after, 0, engine_state.snapshot(before, 0))
    resumed = after.process(rest)
    assert resumed.bars.equals(expected.bars)
    assert resumed.indicators.equals(expected.indicators)
    assert resumed.rejects.equals(expected.rejects)


@settings(max_examples=40, derandomize=True)
@given(trades, trades, split_points_lists)
def test_partitions_are_independent(
    first_steps: list[tuple[str, int, Decimal, Decimal]],
    second_steps: list[tuple[str, int, Decimal, Decimal]],
    split_points: list[int],
) -> None:
    first = batch([trade(*record) for record in at_times(first_steps)], partition=0)
    second = batch([trade(*record) for record in at_times(second_steps)], partition=1)
    options = {"indicators": ("EMA(3)", "ATR(2)"), "lateness_ns": MINUTE}
    together, one, two = engine(**options), engine(**options), engine(**options)
    both = [
        together.process(pl.concat([a, b]))
        for a, b in zip(split_frame(first, split_points), split_frame(second, split_points), strict=False)
    ]
    shared = len(both)
    of_first = [one.process(part) for part in split_frame(first, split_points)[:shared]]
    of_second = [two.process(part) for part in split_frame(second, split_points)[:shared]]
    for name in ("bars", "indicators", "rejects"):
        results = pl.concat([getattr(output, name) for output in both]) if both else None
        for number, outputs in ((0, of_first), (1, of_second)):
            if results is not None:
                of_partition = results.filter(pl.col("partition") == number)
                assert of_partition.equals(pl.concat([getattr(output, name) for output in outputs]))


def test_a_dropped_partition_leaves_the_others_as_they_were() -> None:
    first = batch([trade("AAA.XNAS", START + n * 7 * SECOND, Decimal(10 + n), Decimal(1)) for n in range(60)])
    second = batch(
        [trade("BBB.XNAS", START + n * 9 * SECOND, Decimal(90 - n), Decimal(2)) for n in range(60)],
        partition=1,
    )
    alone, both = engine(indicators=("EMA(3)",)), engine(indicators=("EMA(3)",))
    alone.process(second.head(30))
    both.process(pl.concat([first.head(30), second.head(30)]))
    both.drop_partition(0)
    assert len(both.instruments) == 1
    assert both.process(second.slice(30)).indicators.equals(alone.process(second.slice(30)).indicators)


def test_several_intervals_are_built_at_once() -> None:
    subject = engine(intervals=("1m", "5m", "1h"))
    output = subject.process(
        batch([trade("AAA.XNAS", START + n * MINUTE, Decimal(100 + n), Decimal(1)) for n in range(61)])
    )
    counts = output.bars.group_by("interval").len().sort("len").rows()
    assert counts == [("1h", 1), ("5m", 12), ("1m", 60)]
    hour = output.bars.filter(pl.col("interval") == "1h").row(0, named=True)
    # 09:30 is 14:30 UTC: the first hour has only its second half, and closes at the 30th minute
    assert (hour["open"], hour["close"], hour["is_partial"]) == (100, 129, True)
    assert output.bars.get_column("offset").is_sorted()


def test_a_day_is_the_exchanges_session() -> None:
    new_york = Sessions(
        np.array([19_724, 19_725]),
        np.array([START, START + 24 * 60 * MINUTE]),
        np.array([START + 390 * MINUTE, START + (24 * 60 + 390) * MINUTE]),
    )
    subject = Engine(EngineOptions(intervals=("1d",), lateness_ns=0, day="all"), lambda _: new_york)
    # at the open, after hours (past midnight UTC), and before the next open
    times = [START, START + 10 * 60 * MINUTE, START + 20 * 60 * MINUTE]
    output = subject.process(
        batch([trade("AAA.XNAS", ts, Decimal(n + 1), Decimal(1)) for n, ts in enumerate(times)])
    )
    (day,) = output.bars.iter_rows(named=True)
    assert (str(day["session_date"]), day["open"], day["close"], day["is_partial"]) == (
        "2024-01-02",
        1,
        2,
        False,
    )
    assert day["ts_open_ns"] == 19_724 * 24 * 60 * MINUTE


def test_bars_built_from_finer_bars_close_with_the_last_of_them() -> None:
    subject = engine(intervals=("5m", "1d"), indicators=("SMA(2)",))
    made = [bar("AAA.XNAS", "1m", START + n * MINUTE, 10 + n, volume=100, vwap=10 + n) for n in range(10)]
    output = subject.process(batch(made))
    assert output.bars.select(
        "interval", "open", "high", "low", "close", "volume", "vwap", "offset"
    ).rows() == [
        ("5m", 10, 15, 9, 14, 500, 12, 4),
        ("5m", 15, 20, 14, 19, 500, 17, 9),
    ]
    # indicators of the bars that were sent, and of those that were built
    assert output.indicators.group_by("interval").len().sort("interval").rows() == [("1m", 9), ("5m", 1)]


def bar(name: str, interval: str, ts_open: int, price: int, **overrides: Any) -> bytes:
    length = MINUTE if interval == "1m" else 5 * MINUTE
    return msgspec.json.encode(
        {
            "schema": "bar.v1",
            "instrument_id": name,
            "interval": interval,
            "ts_open_ns": ts_open,
            "ts_close_ns": ts_open + length,
            "session_date": "2024-01-02",
            "open": price,
            "high": price + 1,
            "low": price - 1,
            "close": price,
            "is_final": True,
            "is_partial": False,
            "revision": 0,
            "source": "file",
            **overrides,
        }
    )


def test_a_duplicate_bar_is_not_counted_twice() -> None:
    subject = engine(intervals=("5m",), lateness_ns=5 * MINUTE)
    made = [bar("AAA.XNAS", "1m", START + n * MINUTE, 10, volume=1) for n in (0, 1, 1, 2, 3, 4)]
    output = subject.process(batch(made))
    assert output.bars["volume"].to_list() == [5]
    assert output.rejects.select("offset", "reason").rows() == [(2, "late")]


def test_bars_without_volume_give_null_volume() -> None:
    output = engine(intervals=("5m",)).process(
        batch([bar("AAA.XNAS", "1m", START + n * MINUTE, 10) for n in range(5)])
    )
    assert output.bars.select("volume", "vwap").rows() == [(None, None)]


def test_an_instrument_keeps_its_record_type_and_interval() -> None:
    made = [bar("AAA.XNAS", "1m", START, 10), bar("AAA.XNAS", "5m", START + MINUTE, 10)]
    output = engine().process(batch([*made, trade("AAA.XNAS", START + 9 * MINUTE, Decimal(1), Decimal(1))]))
    assert output.rejects["reason"].to_list() == ["interval_changed", "interval_changed"]


def test_our_own_and_unfinished_and_restated_bars_are_skipped() -> None:
    made = [
        bar("AAA.XNAS", "1m", START, 10, source="track"),
        bar("AAA.XNAS", "1m", START, 10, is_final=False),
        bar("AAA.XNAS", "1m", START, 10, is_partial=True),
        bar("AAA.XNAS", "1m", START, 10, revision=1),
    ]
    output = engine(source_tag="track").process(batch(made))
    assert output.rows == 0
    assert output.skipped == {"own bars": 1, "unfinished bars": 1, "partial bars": 1, "restated bars": 1}


def test_partial_bars_are_emitted_but_excluded_from_indicators() -> None:
    made = [trade("AAA.XNAS", START + (30 + 60 * n) * SECOND, Decimal(10), Decimal(1)) for n in range(4)]
    output = engine(indicators=("SMA(1)",)).process(batch(made))
    assert output.bars["is_partial"].to_list() == [True, False, False]
    assert output.indicators["ts_open_ns"].to_list() == [START + MINUTE, START + 2 * MINUTE]


NOW = START + 10**18


@pytest.mark.parametrize(("waited_s", "closes"), [(59 + 30, False), (60 + 30, True)])
def test_the_clock_closes_a_bar_once_no_more_records_can_arrive(waited_s: int, closes: bool) -> None:
    subject = engine(lateness_ns=MINUTE)
    # a minute of the bar is left when its only record arrives
    subject.process(batch([trade("AAA.XNAS", START, Decimal(10), Decimal(1))], timestamp_ms=NOW // 10**6))
    output = subject.close_idle(0, NOW + waited_s * SECOND, 30 * SECOND)
    assert output.bars.height == closes
    assert subject.close_idle(0, NOW + waited_s * SECOND, 30 * SECOND).bars.is_empty()
    if closes:
        late = subject.process(
            batch([trade("AAA.XNAS", START + SECOND, Decimal(11), Decimal(1))], first_offset=1)
        )
        assert late.bars.select("revision", "high").rows() == [(1, 11)]


def test_another_partition_is_not_closed_by_the_clock() -> None:
    subject = engine()
    for number in (0, 1):
        frame = batch([trade(f"A{number}.XNAS", START, Decimal(10), Decimal(1))], partition=number)
        subject.process(frame)
    assert subject.close_idle(1, NOW * 2, 0).bars["instrument_id"].to_list() == ["A1.XNAS"]


def test_bars_close_in_their_order_when_the_clock_closes_them() -> None:
    subject = engine(grace_ns=2 * MINUTE, lateness_ns=MINUTE)
    # the last record of the earlier bar arrives after that of the later bar
    for offset, (at, seen) in enumerate([(0, 0), (110, 110), (59, 200)]):
        made = [trade("AAA.XNAS", START + at * SECOND, Decimal(10), Decimal(1))]
        subject.process(batch(made, first_offset=offset, timestamp_ms=START // 10**6 + seen * 1_000))
    closed = [subject.close_idle(0, START + seen * SECOND, 30 * SECOND).bars for seen in range(200, 800, 10)]
    assert pl.concat(closed).select("ts_open_ns", "volume").rows() == [(START, 2), (START + MINUTE, 1)]


def test_records_after_a_clock_close_are_rejected_without_restatement() -> None:
    subject = engine(lateness_ns=0)
    subject.process(batch([trade("AAA.XNAS", START, Decimal(10), Decimal(1))]))
    assert subject.close_idle(0, NOW * 2, 0).bars.height == 1
    late = subject.process(
        batch([trade("AAA.XNAS", START + SECOND, Decimal(11), Decimal(1))], first_offset=1)
    )
    assert late.rejects.select("offset", "reason").rows() == [(1, "late")]


@pytest.mark.parametrize("options", [{"lateness_ns": 10 * MINUTE}, {"grace_ns": 10 * MINUTE}])
def test_a_closed_bar_is_not_reopened_by_more_lateness(options: dict[str, Any]) -> None:
    before, after = engine(), engine(**options)
    times = [0, 61]
    before.process(batch([trade("AAA.XNAS", START + at * SECOND, Decimal(10), Decimal(1)) for at in times]))
    for _ in range(2):
        # nor by a second restart
        engine_state.restore(after, 0, engine_state.snapshot(before, 0))
        before, after = after, engine(**options)
    output = before.process(
        batch([trade("AAA.XNAS", START + 30 * SECOND, Decimal(11), Decimal(1))], first_offset=2)
    )
    assert output.bars.is_empty()
    assert output.rejects.select("offset", "reason").rows() == [(2, "late")]


def test_a_closed_bar_is_still_restated_with_a_longer_grace_period() -> None:
    before, after = engine(lateness_ns=MINUTE), engine(grace_ns=10 * MINUTE, lateness_ns=MINUTE)
    made = [trade("AAA.XNAS", START + at * SECOND, Decimal(10), Decimal(1)) for at in (0, 61, 30)]
    before.process(batch(made[:2]))
    engine_state.restore(after, 0, engine_state.snapshot(before, 0))
    output = after.process(batch(made[2:], first_offset=2))
    assert output.bars.select("ts_open_ns", "volume", "revision").rows() == [(START, 2, 1)]


def test_an_instruments_record_type_is_fixed_by_its_first_for_any_batching() -> None:
    made = [bar("AAA.XNAS", "1m", START, 10), trade("AAA.XNAS", START + MINUTE, Decimal(1), Decimal(1))]
    assert engine().process(batch(made)).rejects["offset"].to_list() == [1]


def test_a_rejected_bar_makes_no_other_bar_late() -> None:
    made = [bar("AAA.XNAS", "1m", START + at * SECOND, 10, volume=1) for at in (0, 30, 60)]
    assert engine(intervals=("5m",)).process(batch(made)).rejects["offset"].to_list() == [1]


def test_a_bar_from_next_year_makes_no_other_bar_late() -> None:
    made = [bar("AAA.XNAS", "1m", START + n * MINUTE, 10, volume=1) for n in range(5)]
    made[1] = bar("AAA.XNAS", "1m", START + MINUTE, 10, ts_close_ns=START + 365 * 24 * 60 * MINUTE)
    output = engine(intervals=("5m",)).process(batch(made))
    assert output.rejects.select("offset", "reason").rows() == [(1, "timestamp_off_grid")]
    assert output.bars["volume"].to_list() == [4]


def test_the_largest_sizes_can_be_summed() -> None:
    made = [trade("AAA.XNAS", START, "0.000000001", "1000000000000000000")] * 2_000
    made += [trade("AAA.XNAS", START, "10000000000", "10000000")] * 1_700
    output = engine().process(batch([*made, trade("AAA.XNAS", START + MINUTE, "1", "1")]))
    (minute,) = output.bars.iter_rows(named=True)
    assert output.rejects.is_empty()
    assert minute["volume"] == 2_000 * 10**18 + 1_700 * 10**7
    assert minute["low"] <= minute["vwap"] <= minute["high"]


def test_a_damaged_snapshot_is_reported() -> None:
    subject = engine(indicators=("SMA(2)",))
    subject.process(batch([trade("AAA.XNAS", START, Decimal(10), Decimal(1))]))
    state = engine_state.snapshot(subject, 0)
    flipped = [state[:at] + bytes([state[at] ^ 1]) + state[at + 1 :] for at in range(len(state))]

    def restored(data: bytes) -> bytes | None:
        other = engine(indicators=("SMA(2)",))
        with contextlib.suppress(DataError):
            engine_state.restore(other, 0, data)
            return engine_state.snapshot(other, 0)
        return None

    assert restored(b"") is restored(state[:-1]) is None
    results = [restored(damaged) for damaged in flipped]
    # a few bits have no meaning
    assert results.count(None) > 0.9 * len(results)
    assert set(results) == {None, restored(state)}


def modify_snapshot(state: bytes, **changes: Any) -> bytes:
    """Return a snapshot with changed members."""
    document = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(state))
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(document | changes))


@pytest.mark.parametrize(
    ("version", "error", "message"),
    [
        (engine_state.VERSION - 1, engine_state.OutdatedSnapshot, "an earlier release wrote"),
        (engine_state.VERSION + 1, DataError, f"has version {engine_state.VERSION + 1}"),
    ],
)
def test_a_snapshot_of_another_version_is_reported(
    version: int, error: type[DataError], message: str
) -> None:
    state = modify_snapshot(engine_state.snapshot(engine(), 0), version=version, watermark_ns=None)
    with pytest.raises(DataError, match=message) as caught:
        engine_state.restore(engine(), 0, state)
    assert caught.type is error


@pytest.mark.parametrize("changed", [{"day": "all"}, {"align": "utc"}])
def test_a_snapshot_of_other_bars_is_not_used(changed: dict[str, str]) -> None:
    state = engine_state.snapshot(engine(), 0)
    with pytest.raises(engine_state.OutdatedSnapshot, match="--day or --align has changed"):
        engine_state.restore(engine(**changed), 0, state)


def test_an_indicator_with_a_changed_state_restarts() -> None:
    before, after = engine(indicators=("SMA(2)",)), engine(indicators=("SMA(2)",))
    made = [trade("AAA.XNAS", START + n * MINUTE, Decimal(10 + n), Decimal(1)) for n in range(6)]
    before.process(batch(made[:3]))
    state = engine_state.snapshot(before, 0)
    other = {"1m SMA(2)": {"dtype": "<f8", "shape": [1, 1], "data": bytes(8)}}
    engine_state.restore(after, 0, modify_snapshot(state, tables=other))
    assert after.process(batch(made[3:], first_offset=3)).indicators["ts_open_ns"].to_list() == [
        START + 3 * MINUTE,
        START + 4 * MINUTE,
    ]


def test_the_earliest_trade_gives_the_open_even_in_a_later_batch() -> None:
    subject = engine()
    for offset, (at, price) in enumerate([(20, 10), (5, 11), (20, 12), (61, 13)]):
        made = [trade("AAA.XNAS", START + at * SECOND, Decimal(price), Decimal(1))]
        output = subject.process(batch(made, first_offset=offset))
    assert output.bars.select("open", "close").rows() == [(11, 12)]


@pytest.mark.parametrize(("last", "closes_s"), [(10, 50 + 90 + 30), (130, 90 + 30)])
def test_the_clock_respects_the_grace_period(last: int, closes_s: int) -> None:
    subject = engine(grace_ns=90 * SECOND)
    made = [trade("AAA.XNAS", START + at * SECOND, Decimal(10), Decimal(1)) for at in (0, last)]
    subject.process(batch(made, timestamp_ms=NOW // 10**6))
    assert subject.close_idle(0, NOW + closes_s * SECOND - 1, 30 * SECOND).bars.is_empty()
    closed = subject.close_idle(0, NOW + closes_s * SECOND, 30 * SECOND).bars
    assert closed["ts_open_ns"].to_list() == [START]


def test_only_bars_that_can_be_restated_are_retained() -> None:
    subject = engine(lateness_ns=2 * MINUTE)
    for n in range(20):
        made = [trade("AAA.XNAS", START + n * MINUTE, Decimal(10), Decimal(1))]
        subject.process(batch(made, first_offset=n))
        assert subject.builders["1m"].recent_bars.height <= 2


@pytest.mark.parametrize(("late_s", "is_partial"), [(60, False), (61, True)])
def test_an_hour_that_starts_a_minute_late_is_complete(late_s: int, is_partial: bool) -> None:
    hour = START // (60 * MINUTE) * 60 * MINUTE
    made = [trade("AAA.XNAS", hour + at * SECOND, Decimal(10), Decimal(1)) for at in (late_s, 3_600)]
    assert engine(intervals=("1h",)).process(batch(made)).bars["is_partial"].to_list() == [is_partial]


@pytest.mark.parametrize(("late_s", "is_partial"), [(60, False), (61, True)])
def test_a_session_that_opens_the_evening_before_starts_there(late_s: int, is_partial: bool) -> None:
    opens = np.array([19_724, 19_725]) * 24 * 60 * MINUTE - 60 * MINUTE
    futures = Sessions(np.array([19_724, 19_725]), opens, opens + 23 * 60 * MINUTE)
    subject = Engine(EngineOptions(intervals=("1d",), lateness_ns=0), lambda _: futures)
    made = [trade("AAA.XNAS", int(ts) + late_s * SECOND, Decimal(10), Decimal(1)) for ts in opens]
    (day,) = subject.process(batch(made)).bars.iter_rows(named=True)
    assert (str(day["session_date"]), day["is_partial"]) == ("2024-01-02", is_partial)
