"""Bars, ticks and counts of trades with sale conditions, against the rules record by record."""

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import batch, trade
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import engine_state
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions
from tickerlake.analytics.types import EngineOptions, FiredAlert, Output

SECOND = 10**9
MINUTE = 60 * SECOND
DAY = 1440 * MINUTE
END_OF_TIME = (1 << 62) - 1
START = 1_704_205_800 * SECOND  # 2024-01-02 09:30 in New York
ID = "AAA.XNAS"
PRICES = ("open", "high", "low", "close")
NAMES = ("ts_open_ns", *PRICES, "volume", "trade_count", "revision", "offset")

# codes: sets intraday prices; sets the day's open and close; sets the day's high and low; counts
RULES = {
    ("@",): (True, True, True, True),
    ("@", "F"): (True, True, True, True),
    ("@", "T"): (True, True, True, True),
    ("@", "6", "X"): (True, True, True, True),
    ("@", "I"): (False, False, False, True),
    ("@", "W"): (False, False, False, True),
    ("14", "37", "41"): (False, False, False, True),
    ("@", "4"): (False, False, True, True),
    ("@", "Z"): (False, False, True, True),
    ("@", "M"): (False, False, False, False),
    ("@", "9"): (False, True, True, False),
}
Trade = tuple[int, Decimal, Decimal, tuple[str, ...]]


def record(ts: int, price: Decimal, size: Decimal, codes: tuple[str, ...], name: str = ID) -> bytes:
    return trade(name, ts, price, size, conditions=json.dumps(codes))


def engine(**options: Any) -> Engine:
    defaults: dict[str, Any] = {"intervals": ("1m",), "lateness_ns": 0}
    return Engine(EngineOptions(**defaults | options), lambda _: ALWAYS_OPEN)


def run(subject: Engine, values: list[bytes], *split_points: int) -> list[Output]:
    frame = batch(values)
    edges = sorted({0, frame.height, *(point for point in split_points if point < frame.height)})
    return [subject.process(frame.slice(a, b - a)) for a, b in itertools.pairwise(edges)]


def rows(outputs: list[Output], interval: str = "1m") -> list[dict[str, Any]]:
    bars = pl.concat([output.bars for output in outputs]).filter(pl.col("interval") == interval)
    return bars.select(NAMES).to_dicts()


@dataclass
class Bar:
    ends: list[tuple[int, int, Decimal]] = field(default_factory=list)
    prices: list[Decimal] = field(default_factory=list)
    volume: Decimal = Decimal(0)
    sized: int = 0
    revision: int = -1

    def add(self, offset: int, item: Trade, *, daily: bool) -> None:
        ts, price, size, codes = item
        intraday, ends, in_range, counts = RULES[codes]
        if ends if daily else intraday:
            self.ends.append((ts, offset, price))
        if in_range if daily else intraday:
            self.prices.append(price)
        if counts:
            self.volume += size
            self.sized += 1

    def publish(self, bucket: int, length: int, offset: int) -> list[dict[str, Any]]:
        if not self.ends:
            return []
        self.revision += 1
        # of several trades of one time the first opens, the last closes
        first, last = min(self.ends, key=lambda each: each[:2]), max(self.ends, key=lambda each: each[:2])
        values = (
            bucket * length,
            *(first[2], max(self.prices), min(self.prices), last[2]),
            *(self.volume if self.sized else None, self.sized or None, self.revision, offset),
        )
        return [dict(zip(NAMES, values, strict=True))]


def expected_bars(trades: list[Trade], length: int, lateness: int) -> list[dict[str, Any]]:
    opened: dict[int, Bar] = {}
    closed: dict[int, Bar] = {}
    published: list[dict[str, Any]] = []
    watermark = None
    for offset, item in enumerate(trades):
        bucket = item[0] // length
        if watermark is not None and watermark // length > bucket:
            if (watermark - lateness) // length <= bucket:
                bar = closed.setdefault(bucket, Bar())
                bar.add(offset, item, daily=length == DAY)
                published += bar.publish(bucket, length, offset)
        else:
            opened.setdefault(bucket, Bar()).add(offset, item, daily=length == DAY)
        watermark = max(item[0], watermark or item[0])
        for passed in sorted(each for each in opened if watermark // length > each):
            closed[passed] = opened.pop(passed)
            published += closed[passed].publish(passed, length, offset)
    return published


steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 40), st.integers(0, 200), st.integers(-90, 0)),
        st.integers(1, 30).map(Decimal),
        st.integers(0, 20).map(Decimal),
        st.sampled_from(list(RULES)),
    ),
    min_size=1,
    max_size=40,
)


def at_times(made: list[Trade]) -> list[Trade]:
    times = itertools.accumulate((step for step, *_ in made), initial=0)
    return [
        (START + at * SECOND, price, size, codes)
        for at, (_, price, size, codes) in zip(list(times)[1:], made, strict=True)
    ]


@settings(max_examples=120, derandomize=True, deadline=None)
@given(steps, st.lists(st.integers(0, 40), max_size=5), st.sampled_from([0, 60, 150]))
def test_bars_match_the_reference_for_any_batching(
    made: list[Trade], split_points: list[int], lateness: int
) -> None:
    trades = at_times(made)
    subject = engine(intervals=("1m", "1d"), day="all", lateness_ns=lateness * SECOND)
    outputs = run(subject, [record(*each) for each in trades], *split_points)
    assert rows(outputs) == expected_bars(trades, MINUTE, lateness * SECOND)
    # the clock closes what is open
    days = subject.close_idle(0, END_OF_TIME, 0)
    last = expected_bars([*trades, (START + 2 * DAY, Decimal(1), Decimal(1), ("@",))], DAY, lateness * SECOND)
    same = [*PRICES, "volume", "trade_count"]
    assert [{n: each[n] for n in same} for each in rows([*outputs, days], "1d")] == [
        {n: each[n] for n in same} for each in last
    ]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(steps, st.integers(0, 40))
def test_a_replay_from_a_snapshot_is_the_same(made: list[Trade], at: int) -> None:
    values = [record(*each) for each in at_times(made)]
    options = {"intervals": ("1m", "1d"), "lateness_ns": MINUTE, "indicators": ("SMA(2)",)}
    whole, before, after = engine(**options), engine(**options), engine(**options)
    frame = batch(values)
    whole.process(frame.head(at))
    expected = whole.process(frame.slice(at))
    before.process(frame.head(at))
    engine_state.restore(after, 0, engine_state.snapshot(before, 0))
    resumed = after.process(frame.slice(at))
    assert resumed.bars.equals(expected.bars)
    assert resumed.indicators.equals(expected.indicators)


def minute(*trades: tuple[int, int, int, tuple[str, ...]], name: str = ID, **options: Any) -> list[Output]:
    values = [record(START + at * SECOND, Decimal(p), Decimal(s), codes, name) for at, p, s, codes in trades]
    return run(engine(**options), [*values, record(START + 9 * MINUTE, Decimal(1), Decimal(1), ("@",), name)])


OUTLIERS = ((0, 10, 100, ("@",)), (20, 99, 7, ("@", "I")), (40, 1, 50, ("@", "W")), (50, 11, 100, ("@", "F")))


def test_odd_lots_and_average_prices_count_but_set_no_price() -> None:
    (bar,) = rows(minute(*OUTLIERS))
    assert [bar[name] for name in (*PRICES, "volume", "trade_count")] == [10, 11, 10, 11, 257, 4]


def test_all_trades_set_prices_if_conditions_are_not_used() -> None:
    outputs = minute(*OUTLIERS, conditions="all")
    (bar,) = rows(outputs)
    assert [bar[name] for name in PRICES] == [10, 99, 1, 11]
    assert not outputs[0].left_out


def test_trades_of_other_markets_set_prices_whatever_their_codes() -> None:
    (bar,) = rows(minute(*OUTLIERS, name="AAA.XLON"))
    assert [bar[name] for name in PRICES] == [10, 99, 1, 11]


def test_official_prices_are_no_trades() -> None:
    (bar,) = rows(minute((0, 10, 100, ("@",)), (1, 10, 500_000, ("@", "M")), (2, 10, 9, ("@", "Q"))))
    assert (bar["volume"], bar["trade_count"]) == (100, 1)


def test_a_bar_without_a_price_is_not_published_but_its_trades_are_counted() -> None:
    outputs = minute(
        (0, 10, 100, ("@",)), (60, 99, 7, ("@", "I")), (70, 98, 7, ("@", "4")), (120, 11, 1, ("@",))
    )
    assert [(bar["ts_open_ns"] - START) // MINUTE for bar in rows(outputs)] == [0, 2]
    left_out = sum((output.left_out for output in outputs), Counter())
    assert left_out == {"odd lot trade": 1, "derivatively priced": 1}


def test_a_late_trade_gives_a_bar_its_first_price() -> None:
    values = [
        record(START + at * SECOND, Decimal(p), Decimal(10), codes)
        for at, p, codes in [
            (0, 10, ("@",)),
            (60, 99, ("@", "I")),
            (121, 11, ("@",)),
            (61, 12, ("@",)),
            (62, 5, ("@", "I")),
        ]
    ]
    bars = rows(run(engine(lateness_ns=5 * MINUTE), values, 3))
    assert [(bar["ts_open_ns"], bar["close"], bar["volume"], bar["revision"]) for bar in bars] == [
        (START, 10, 10, 0),
        (START + MINUTE, 12, 20, 0),
        (START + MINUTE, 12, 30, 1),
    ]


def test_a_derivatively_priced_trade_sets_only_the_range_of_the_day() -> None:
    outputs = minute(
        (0, 10, 100, ("@",)), (20, 99, 7, ("@", "4")), (40, 12, 9, ("@",)), intervals=("1m", "1d")
    )
    (bar,) = rows(outputs)
    assert [bar[name] for name in PRICES] == [10, 12, 10, 12]
    subject = engine(intervals=("1d",))
    values = [
        record(START + n, Decimal(p), Decimal(1), c)
        for n, (p, c) in enumerate([(10, ("@",)), (99, ("@", "4"))])
    ]
    run(subject, values)
    (day,) = rows([subject.close_idle(0, END_OF_TIME, 0)], "1d")
    assert [day[name] for name in PRICES] == [10, 99, 10, 10]


TICK_RULE = """
[[rule]]
id = "any"
kind = "pct_change"
interval = "1m"
window = "1m"
pct = 1
when = "tick"
"""


class TickRecorder(AlertEngine):
    """Records the forming bars that rules would evaluate."""

    ticks: list[tuple[float, ...]]

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> list[FiredAlert]:
        """Record the bars."""
        columns = [(event_ns - START) // SECOND, bars.open, bars.high, bars.low, bars.close, bars.volume]
        self.ticks = [*getattr(self, "ticks", []), *zip(*(each.tolist() for each in columns), strict=True)]
        return []


@pytest.mark.parametrize("codes", [("@", "I"), ("@", "W"), ("@", "4"), ("@", "Z"), ("37",)])
def test_ticks_of_trades_that_set_no_price_are_not_evaluated(codes: tuple[str, ...]) -> None:
    recorder = TickRecorder(parse(TICK_RULE, "test").rules, ["1m"])
    subject = Engine(EngineOptions(intervals=("1m",)), lambda _: ALWAYS_OPEN, recorder)
    prices = [(0, 99, codes), (1, 10, ("@",)), (2, 99, codes), (3, 11, ("@",)), (4, 1, codes)]
    values = [record(START + at * SECOND, Decimal(p), Decimal(1), c) for at, p, c in prices]
    run(subject, values, 3)
    assert recorder.ticks == [(1, 10, 10, 10, 10, 2), (3, 10, 11, 10, 11, 4)]


def test_unknown_codes_are_eligible_and_counted() -> None:
    outputs = minute((0, 10, 100, ("@",)), (20, 99, 7, ("%",)), (21, 98, 7, ("%", "XYZ")))
    assert [bar["high"] for bar in rows(outputs)] == [99]
    assert outputs[0].unknown_conditions == {"%": 2, "XYZ": 1}


def test_conditions_of_another_form() -> None:
    values = [
        trade(ID, START + n * SECOND, Decimal(10 + n), Decimal(1), conditions=text)
        for n, text in enumerate(["null", '{"a":1}', "[12, 14]", '"@I"', "[37]", '["@", null, "W"]'])
    ]
    (output,) = run(engine(), [*values, record(START + 9 * MINUTE, Decimal(1), Decimal(1), ("@",))])
    assert [bar["high"] for bar in rows([output])] == [12]
    assert output.left_out == {"odd lot trade": 2, "average price trade": 1}


def test_the_closing_print_is_the_close_of_the_day_and_extended_hours_are_not_part_of_it() -> None:
    session = Sessions(
        np.array([19_724, 19_725]),
        np.array([START, START + DAY]),
        np.array([START, START + DAY]) + 390 * MINUTE,
    )
    close = START + 390 * MINUTE
    trades = [
        (START - 5 * MINUTE, 7, ("@", "T")),
        (START, 10, ("@", "O", "X")),
        (close - MINUTE, 12, ("@",)),
        # reported as of extended hours, though within two seconds of the close
        (close + SECOND, 30, ("@", "T")),
        (close + 5 * MINUTE, 13, ("@", "6", "X")),
        (close + 5 * MINUTE, 13, ("@", "M")),
        (close + 6 * MINUTE, 99, ("@", "T")),
    ]
    values = [record(ts, Decimal(price), Decimal(100), codes) for ts, price, codes in trades]

    def day(**options: Any) -> list[int]:
        subject = Engine(EngineOptions(intervals=("1d",), **options), lambda _: session)
        (bar,) = rows([*run(subject, values, 4), subject.close_idle(0, END_OF_TIME, 0)], "1d")
        return [int(bar[name]) for name in (*PRICES, "volume")]

    assert day() == [10, 13, 10, 13, 300]
    assert day(day="all") == [7, 99, 7, 99, 600]
