"""Bars of which only the close is known: what needs a range has no value; nothing is made up."""

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from analytics.test_indicators import SHORT_SPECS, bar, new_indicator, random_walk
from support.records import batch, trade
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import engine_state
from tickerlake.analytics.decode import decode
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.analytics.types import EngineOptions, Output

MINUTE = 60 * 10**9
DAY = 1440 * MINUTE
NEEDS_RANGE = {"STOCH", "ATR", "ADX"}


def minute_bar(minute: int, close: float, **fields: Any) -> bytes:
    return msgspec.json.encode(
        {
            "schema": "bar.v1", "instrument_id": "NAV.XXXX", "interval": "1m", "session_date": "1970-01-01",
            "ts_open_ns": minute * MINUTE, "ts_close_ns": (minute + 1) * MINUTE, "close": close, **fields,
        }
    )  # fmt: skip


def daily_bar(day: int, close: float, **fields: Any) -> bytes:
    date = str(np.datetime64(day, "D"))
    days = {"interval": "1d", "session_date": date, "ts_open_ns": day * DAY, "ts_close_ns": (day + 1) * DAY}
    return minute_bar(0, close, **days, **fields)


RANGE = {"open": 10.5, "high": 12, "low": 9}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        (dict.fromkeys(RANGE), None),
        ({**RANGE}, None),
        ({**RANGE, "open": None}, "price_missing"),
        ({"high": 12}, "price_missing"),
        ({"open": 11, "low": 9}, "price_missing"),
        ({"close": None}, "price_missing"),
        ({**RANGE, "close": None}, "price_missing"),
        (dict.fromkeys(RANGE, "n/a"), "price_missing"),
        ({name: [] for name in RANGE}, "price_missing"),
        ({"open": {"price": 11}}, "price_missing"),
        ({"close": 0}, "price_nonpositive"),
        ({"close": -1}, "price_nonpositive"),
        ({"close": 10**11}, "out_of_range"),
        ({"close": 10**10, "volume": 10**8}, "out_of_range"),
    ],
)
def test_a_bar_has_open_high_and_low_or_none_of_them(fields: dict[str, Any], reason: str | None) -> None:
    decoded = decode(batch([minute_bar(0, **{"close": 11, **fields})]))
    assert decoded.rejects["reason"].to_list() == ([reason] if reason else [])
    assert decoded.rows.height == (reason is None)


def engine(rules: str = "", **options: Any) -> Engine:
    chosen = EngineOptions(**{"intervals": ("5m",), "lateness_ns": 0, **options})
    watcher = AlertEngine(parse(rules, "test").rules, chosen.intervals) if rules else None
    return Engine(chosen, lambda _: ALWAYS_OPEN, watcher)


def prices(*outputs: Output) -> list[tuple[Any, ...]]:
    names = ("ts_open_ns", "open", "high", "low", "close", "volume", "vwap", "revision")
    return [row for output in outputs for row in output.bars.select(names).iter_rows()]


CLOSES = [minute_bar(n, 10 + n, **({"volume": 100} if n != 2 else {})) for n in range(6)]


@pytest.mark.parametrize("split", range(7))
def test_longer_bars_have_the_last_close_and_no_range(split: int) -> None:
    frame = batch(CLOSES)
    subject = engine()
    outputs = [subject.process(frame.head(split)), subject.process(frame.slice(split))]
    # the closes weighted by volume: (10 + 11 + 13 + 14) / 4
    assert prices(*outputs) == [(0, None, None, None, Decimal(14), Decimal(400), Decimal(12), 0)]


def test_a_snapshot_restores_forming_bars_without_a_range() -> None:
    before, after = engine(), engine()
    before.process(batch(CLOSES[:3]))
    engine_state.restore(after, 0, engine_state.snapshot(before, 0))
    resumed = after.process(batch(CLOSES[3:], first_offset=3))
    assert prices(resumed) == [(0, None, None, None, Decimal(14), Decimal(400), Decimal(12), 0)]


@pytest.mark.parametrize("at", [0, 2, 4])
def test_one_close_leaves_the_range_of_a_longer_bar_unknown(at: int) -> None:
    values = [minute_bar(n, 10, **({} if n == at else {"open": 10, "high": 11, "low": 9})) for n in range(6)]
    (longer,) = prices(engine().process(batch(values)))
    assert longer[1:5] == (None, None, None, Decimal(10))
    # the next bar is complete again
    more = [minute_bar(n, 10, open=10, high=11, low=9) for n in range(5, 11)]
    assert prices(engine().process(batch(more)))[0][1:5] == (10, 11, 9, 10)


def test_trades_keep_their_range_next_to_closes_of_others() -> None:
    trades = [trade("AAA.XNAS", n * MINUTE, Decimal(5 + n), Decimal(1)) for n in range(6)]
    bars = engine().process(batch([*CLOSES, *trades])).bars
    assert bars.select("instrument_id", "open", "high", "low", "close").rows() == [
        ("NAV.XXXX", None, None, None, 14),
        ("AAA.XNAS", 5, 9, 5, 9),
    ]


@pytest.mark.parametrize("text", SHORT_SPECS)
def test_an_indicator_that_needs_a_range_has_no_value_without_one(text: str) -> None:
    made = random_walk(5, bars=60)
    unknown = np.full_like(made["close"], np.nan)
    closes = {**made, "open": unknown, "high": unknown, "low": unknown}
    with_range, without = new_indicator(text, 1), new_indicator(text, 1)
    expected, actual = [], []
    for number in range(60):
        # the vwap is known: only the range is missing
        vwap = bar(made, number).vwap
        expected.append([each[0] for each in with_range.update(bar(made, number))])
        one = bar(closes, number)
        one.vwap[:] = vwap
        actual.append([each[0] for each in without.update(one)])
    if text.partition("(")[0] in NEEDS_RANGE:
        assert np.isnan(actual).all()
        assert np.isfinite(expected).any()
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("text", ["ATR(4)", "ADX(3)", "STOCH(4,2,3)"])
def test_a_close_between_complete_bars_does_not_count(text: str) -> None:
    made = random_walk(9, bars=40, instruments=2)
    alone, between = new_indicator(text, 2), new_indicator(text, 2)
    for number in range(40):
        expected = alone.update(bar(made, number))
        if number % 3 == 1:
            close = bar(made, number)
            for each in (close.open, close.high, close.low):
                each[1] = np.nan
            # of the first instrument it is the bar itself; of the second a close, and then the bar
            preview = between.preview(close)
            actual = between.update(close)
            np.testing.assert_array_equal(actual, preview)
            np.testing.assert_array_equal([each[0] for each in actual], [each[0] for each in expected])
            assert np.isnan([each[1] for each in actual]).all()
            second = between.update(bar(made, number, np.array([1])))
            np.testing.assert_array_equal([each[0] for each in second], [each[1] for each in expected])
        else:
            np.testing.assert_array_equal(between.update(bar(made, number)), expected)


def test_indicator_records_of_closes_have_the_values_of_closes() -> None:
    output = engine(intervals=("1d",), indicators=("SMA(3)", "ATR(2)", "VWAP", "RSI(2)")).process(
        batch([daily_bar(n, 10 + n, volume=7) for n in range(6)])
    )
    values = [msgspec.json.decode(text) for text in output.indicators["values"]]
    assert values[-1] == {"SMA(3)": 14.0, "VWAP": 15.0, "RSI(2)": 100.0}
    assert all("ATR(2)" not in each for each in values)


RULES = """
[[rule]]
id = "move"
kind = "pct_change"
pct = 5

[[rule]]
id = "gap"
kind = "gap_open"
pct = 1

[[rule]]
id = "range"
kind = "range_expansion"
k = 0.1
timeperiod = 2

[[rule]]
id = "high"
kind = "new_high"
window = "3d"

[[rule]]
id = "low"
kind = "new_low"
window = "3d"

[[rule]]
id = "spike"
kind = "volume_spike"
times = 5
warmup = 3
"""


def test_rules_that_need_a_range_measure_nothing_and_the_others_work() -> None:
    subject = engine(RULES, intervals=("1d",))
    closes = [100, 101, 100, 101, 103, 96, 97]
    volumes = [10, 10, 10, 10, 10, 90, 10]
    output = subject.process(
        batch([daily_bar(n, close, volume=volumes[n]) for n, close in enumerate(closes)])
    )
    fired = {each.alert.rule_id: each.alert for each in output.alerts if each.alert.state == "fired"}
    assert sorted(fired) == ["high", "low", "move", "spike"]
    assert fired["move"].message.startswith("NAV fell 6.8% in 1d: 96.00 from 103.00")
    assert fired["high"].price == 103
    assert fired["spike"].message == "NAV traded 90 in 1d, 9.0 × the usual 10; price 96.00"
    watcher = subject.watcher
    assert isinstance(watcher, AlertEngine)
    assert [rule.id for rule in watcher.rules_without_range] == ["gap", "range"]
    complete = engine(RULES, intervals=("1d",))
    complete.process(batch([daily_bar(n, 10, open=10, high=11, low=9) for n in range(3)]))
    assert isinstance(complete.watcher, AlertEngine)
    assert complete.watcher.rules_without_range == []


def test_a_close_half_as_high_may_be_a_split() -> None:
    rules = '[[rule]]\nid = "move"\nkind = "pct_change"\npct = 5\n'
    days = [daily_bar(n, 100, volume=10) for n in range(5)]
    output = engine(rules, intervals=("1d",)).process(batch([*days, daily_bar(5, 50, volume=10)]))
    (raised,) = output.alerts
    assert raised.alert.cause == "probable_split"
    assert "2:1 split" in raised.alert.message


def test_the_input_bar_of_a_batch_is_not_published_again() -> None:
    output = engine(intervals=("1d",)).process(batch([daily_bar(n, 10) for n in range(3)]))
    assert output.bars.is_empty()
    assert output.rejects.is_empty()
