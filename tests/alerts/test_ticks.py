"""Rules that evaluate single trades (`when = "tick"`)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert_builders import MINUTE, SECOND, bars, close_bars, encoded_alerts, make_engine
from alerts.scripted import SCRIPTED
from tickerlake.alerts.engine import AlertEngine
from tickerlake.analytics.bars import Bars
from tickerlake.analytics.types import FiredAlert

RULES = f"""
[[rule]]
id = "ticks"
kind = "{SCRIPTED}"
interval = "1m"
threshold = 5
critical = 9
when = "tick"
cooldown = "2m"
clear_bars = 1

[[rule]]
id = "each"
kind = "{SCRIPTED}"
interval = "1m"
threshold = 7
when = "tick"
repeat = "every"

[[rule]]
id = "move"
kind = "pct_change"
interval = "1m"
pct = 3
when = "tick"

[[rule]]
id = "closes"
kind = "{SCRIPTED}"
interval = "1m"
threshold = 5
"""
SYMBOLS = ("A", "B", "C")


def process_ticks(
    alert_engine: AlertEngine, trades: list[tuple[int, float]], minute: int, first_second: int = 0
) -> list[FiredAlert]:
    """Evaluate the trades (row, price) of one minute, one per second."""
    rows = [row for row, _ in trades]
    forming = bars([price for _, price in trades], minute=minute, rows=rows)
    event_ns = forming.ts_open_ns + np.arange(first_second, first_second + len(trades)) * SECOND
    return alert_engine.on_tick("1m", forming, {}, event_ns, event_ns + 1_000_000)


def test_an_alert_fires_at_the_trade_and_not_again_at_the_bar() -> None:
    engine = make_engine(RULES, SYMBOLS)
    fired = process_ticks(engine, [(0, 101), (0, 105), (1, 100), (0, 106)], minute=1)
    assert [(one.position, one.alert.rule_id) for one in fired] == [(1, "ticks")]
    assert fired[0].alert.ts_event_ns == int(bars([1], minute=1).ts_open_ns[0]) + SECOND
    assert [alert.rule_id for alert in close_bars(engine, "1m", bars([106], minute=1))] == ["closes"]
    # triggers in the rest of its bar do not count as suppressed; those in the next bar count once
    process_ticks(engine, [(0, 106), (0, 106)], minute=2)
    (again,) = process_ticks(engine, [(0, 112)], minute=3)[:1]
    assert (again.alert.rule_id, again.alert.suppressed_count) == ("ticks", 1)


def test_a_severity_that_rises_within_the_bar_is_reported() -> None:
    engine = make_engine(RULES, SYMBOLS)
    fired = process_ticks(engine, [(0, 105), (0, 110), (0, 111)], minute=1)
    assert [(one.position, one.alert.severity) for one in fired if one.alert.rule_id == "ticks"] == [
        (0, "warning"),
        (1, "critical"),
    ]


def test_trades_do_not_change_detector_state() -> None:
    engine, other = make_engine(RULES, SYMBOLS), make_engine(RULES, SYMBOLS)
    for minute in range(6):
        process_ticks(engine, [(0, 99), (1, 101), (0, 98)], minute)
        one = bars([100, 101, 100 + minute], minute=minute)
        assert close_bars(engine, "1m", one) == close_bars(other, "1m", one)
    detectors = {name: table for name, table in engine.tables().items() if name.endswith("detector")}
    rows = np.arange(3)
    for name, table in detectors.items():
        np.testing.assert_array_equal(table.gather(rows), other.tables()[name].gather(rows))


def test_only_intervals_with_tick_rules_need_trades() -> None:
    assert make_engine(RULES).tick_intervals == {"1m"}
    assert make_engine('[[rule]]\nkind = "zscore"').tick_intervals == frozenset()
    one = bars([200.0])
    assert (
        make_engine('[[rule]]\nkind = "zscore"').on_tick("1m", one, {}, one.ts_open_ns, one.ts_open_ns) == []
    )


TRADE = st.tuples(st.integers(0, 2), st.sampled_from([100.0, 104.0, 105.0, 107.0, 109.0, 112.0, 95.0]))
MINUTES = st.lists(st.lists(TRADE, max_size=12), min_size=1, max_size=5)


@settings(max_examples=60)
@given(minutes=MINUTES, size=st.integers(1, 12))
def test_alerts_do_not_depend_on_the_batching_of_trades(
    minutes: list[list[tuple[int, float]]], size: int
) -> None:
    at_once_engine, split_engine = make_engine(RULES, SYMBOLS), make_engine(RULES, SYMBOLS)
    for minute, trades in enumerate(minutes):
        at_once = encoded_alerts(process_ticks(at_once_engine, trades, minute))
        in_parts = []
        for start in range(0, len(trades), size):
            part = process_ticks(split_engine, trades[start : start + size], minute, first_second=start)
            in_parts += [(at + start, alert) for at, alert in encoded_alerts(part)]
        assert at_once == in_parts
        ending = bars([trades[-1][1] if trades else 100.0] * 3, minute=minute)
        assert close_bars(at_once_engine, "1m", ending) == close_bars(split_engine, "1m", ending)


def test_times_of_trades_are_kept_to_the_nanosecond() -> None:
    engine = make_engine(RULES, SYMBOLS)
    forming: Bars = bars([108.0, 108.0, 108.0], rows=[0, 0, 0])
    start = int(forming.ts_open_ns[0])
    event_ns = np.array([start + 1, start + 1, start + 2])
    fired = engine.on_tick("1m", forming, {}, event_ns, event_ns)
    # the second is the same event as the first, the third is another
    assert [one.position for one in fired if one.alert.rule_id == "each"] == [0, 2]
    # in another batch, too
    repeated = engine.on_tick("1m", bars([108.0]), {}, event_ns[2:], event_ns[2:])
    assert [one for one in repeated if one.alert.rule_id == "each"] == []
    again = engine.on_tick("1m", bars([108.0]), {}, event_ns[:1] + MINUTE, event_ns[:1] + MINUTE)
    assert [one.alert.ts_event_ns for one in again if one.alert.rule_id == "each"] == [start + 1 + MINUTE]
