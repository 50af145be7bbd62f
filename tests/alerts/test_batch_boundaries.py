"""Trades, bars and clock checks of several markets: results do not depend on batches or rebalances."""

import itertools
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import batch, trade
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions
from tickerlake.analytics.types import EngineOptions, Output

SECOND = 10**9
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
FIRST_DAY = 19_724
START = 1_704_205_800 * SECOND  # 2024-01-02 09:30 in New York
OPENS = np.array([START, START + DAY, START + 3 * DAY])
# a half day, and a day without a session
NEW_YORK = Sessions(
    np.array([FIRST_DAY, FIRST_DAY + 1, FIRST_DAY + 3]),
    OPENS,
    OPENS + np.array([390, 210, 390]) * MINUTE,
)
RULES = parse(
    """
    [[rule]]
    id = "move"
    kind = "pct_change"
    interval = ["45s", "1m", "1d"]
    window = "1d"
    pct = 1
    when = "tick"
    repeat = "every"

    [[rule]]
    id = "gap"
    kind = "gap_open"
    interval = "1m"
    pct = 1
    when = "tick"
    cooldown = "1m"

    [[rule]]
    id = "closed"
    kind = "pct_change"
    interval = ["1m", "1d"]
    window = "1d"
    pct = 0.5
    repeat = "every"

    [[rule]]
    id = "average"
    kind = "cross"
    level = "SMA(2)"
    interval = ["45s", "1m"]
    when = "tick"
    cooldown = "30s"

    [[rule]]
    id = "silent"
    kind = "stale"
    after = "1m"

    [[rule]]
    id = "bad"
    kind = "data_quality"
    count = 3
    window = "10m"
    """,
    "test",
)
ClockTick = tuple[int, int]


def make_engine(grace: int, lateness: int) -> Engine:
    options = EngineOptions(
        intervals=("45s", "1m", "1h", "1d"),
        indicators=("SMA(2)", "VWAP"),
        grace_ns=grace * SECOND,
        lateness_ns=lateness * SECOND,
        max_ahead_ns=None,
    )
    markets = {"XNYS": NEW_YORK}
    watcher = AlertEngine(RULES.rules, options.intervals)
    return Engine(options, lambda mic: markets.get(mic, ALWAYS_OPEN), watcher)


def bar(name: str, interval: str, ts_ns: int, price: Decimal, width_s: int) -> bytes:
    start_ns = ts_ns // MINUTE * MINUTE
    low, high = float(price), float(price) + 1
    return msgspec.json.encode(
        {
            "schema": "bar.v1",
            "instrument_id": name,
            "interval": interval,
            "ts_open_ns": start_ns,
            "ts_close_ns": start_ns + width_s * SECOND,
            "session_date": "2024-01-02",
            "open": low,
            "high": high,
            "low": low,
            "close": high,
            "volume": 5,
        }
    )


steps = st.lists(
    st.tuples(
        st.sampled_from(["A.XNYS", "B.XNYS", "C.XXXX"]),
        st.one_of(st.integers(0, 40), st.integers(0, 300), st.integers(-200, 0), st.just(30_000)),
        st.one_of(st.decimals("95", "105", places=1), st.just(Decimal(-1))),
        st.sampled_from(["trade"] * 6 + ["bar", "5s bar"]),
        # the clock: at once, shortly later, much later
        st.sampled_from([None, None, None, 0, 70, 90_000]),
    ),
    max_size=50,
)
cuts = st.lists(st.integers(0, 50), max_size=8)
NAMES = ("bars", "indicators", "rejects")


def make_records(
    events: list[tuple[str, int, Decimal, str, int | None]],
) -> tuple[pl.DataFrame, dict[int, ClockTick]]:
    """Return records, and after which of them the clock closes bars."""
    now, values, times, clock_ticks = START, [], [], {}
    clock = START
    for number, (name, step, price, kind, waits) in enumerate(events):
        now += step * SECOND
        clock = max(clock, now)
        times.append(clock // 10**6)
        if kind == "trade":
            values.append(trade(name, now, price, Decimal(1)))
        else:
            width_s = 60 if kind == "bar" else 110
            values.append(bar(name, "1m" if kind == "bar" else "60s", now, price, width_s))
        if waits is not None:
            clock += waits * SECOND
            clock_ticks[number + 1] = (clock, 10 * SECOND)
    frame = batch(values).with_columns(timestamp_ms=pl.Series(times, dtype=pl.Int64))
    return frame, clock_ticks


def collect_results(outputs: list[Output]) -> dict[str, Any]:
    rows: dict[str, Any] = {name: [row for o in outputs for row in getattr(o, name).rows()] for name in NAMES}
    alerts = [(raised.offset, raised.alert.to_json()) for output in outputs for raised in output.alerts]
    return {**rows, "alerts": alerts, "rows": sum(o.rows for o in outputs)}


def run_engine(
    subject: Engine, frame: pl.DataFrame, clock_ticks: dict[int, ClockTick], cut_points: list[int]
) -> list[Output]:
    edges = sorted(
        {0, frame.height, *clock_ticks, *(offset for offset in cut_points if offset < frame.height)}
    )
    outputs = []
    for a, b in itertools.pairwise(edges):
        outputs.append(subject.process(frame.slice(a, b - a)))
        if b in clock_ticks:
            outputs.append(subject.close_idle(0, *clock_ticks[b]))
    return outputs


@settings(max_examples=30, derandomize=True)
@given(steps, cuts, st.sampled_from([0, 50]), st.sampled_from([0, 90]))
def test_results_do_not_depend_on_batching(
    events: list[tuple[str, int, Decimal, str, int | None]], cut_points: list[int], grace: int, lateness: int
) -> None:
    frame, clock_ticks = make_records(events)
    expected = collect_results(
        run_engine(make_engine(grace, lateness), frame, clock_ticks, list(range(frame.height)))
    )
    assert (
        collect_results(run_engine(make_engine(grace, lateness), frame, clock_ticks, cut_points)) == expected
    )


@settings(max_examples=20, derandomize=True)
@given(steps, steps, st.lists(st.integers(0, 50), max_size=5, unique=True), st.sampled_from([0, 50]))
def test_results_do_not_depend_on_rebalances(
    events: list[tuple[str, int, Decimal, str, int | None]],
    others: list[tuple[str, int, Decimal, str, int | None]],
    handovers: list[int],
    grace: int,
) -> None:
    frame, clock_ticks = make_records(events)
    expected = collect_results(run_engine(make_engine(grace, 90), frame, clock_ticks, []))
    other, _ = make_records(others)
    other = other.with_columns(partition=pl.lit(1, dtype=pl.Int64))
    edges = sorted(
        {0, frame.height, *clock_ticks, *(offset for offset in handovers if offset < frame.height)}
    )
    one, outputs, has_other = make_engine(grace, 90), [], False
    for a, b in itertools.pairwise(edges):
        outputs.append(one.process(frame.slice(a, b - a)))
        if b in clock_ticks:
            outputs.append(one.close_idle(0, *clock_ticks[b]))
        if b not in handovers:
            continue
        if has_other:
            # the owner drops another partition, and gets it back later
            one.drop_partition(1)
        else:
            state, one = engine_state.snapshot(one, 0), make_engine(grace, 90)
            one.process(other)
            engine_state.restore(one, 0, state)
        has_other = not has_other
    assert collect_results(outputs) == expected
