"""Rules of the kind ``condition``: comparisons of indicators and prices, and several of them together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from alerts.alert_builders import bars, close_bars, daily_bars, make_engine
from tickerlake.alerts.detectors.comparison import parse_comparison
from tickerlake.alerts.rules.rule_table import RulesError
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.errors import UsageError
from tickerlake.model.alert import Alert


def rule(condition: str, extra: str = "") -> str:
    return f'[[rule]]\nkind = "condition"\ninterval = "1m"\n{condition}\n{extra}\n'


def alerts_by_minute(
    text: str, closes: Sequence[float], values: Mapping[str, Sequence[float]], **fields: Any
) -> list[tuple[int, Alert]]:
    engine = make_engine(text)
    assert engine.required_indicators["1m"] == set(values)
    return [
        (minute, alert)
        for minute, close in enumerate(closes)
        for alert in close_bars(
            engine,
            "1m",
            bars([close], minute=minute, **_fields_of(minute, fields)),
            {name: np.array([column[minute]]) for name, column in values.items()},
        )
    ]


def _fields_of(minute: int, fields: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {name: [column[minute]] for name, column in fields.items()}


def fired(raised: Sequence[tuple[int, Alert]]) -> list[int]:
    return [minute for minute, alert in raised if alert.state == "fired"]


@pytest.mark.parametrize(
    "text",
    [
        "RSI(14) < 30",
        "rsi<30",
        "RSI( timeperiod = 14 )<  30",
    ],
)
def test_an_indicator_below_a_number_is_told_once(text: str) -> None:
    rsi = [np.nan, 35, 29.4, 28, 31, 29, 33, 34, 35, 36, *[28.0] * 20]
    raised = alerts_by_minute(rule(f'if = "{text}"'), [100.0] * 30, {"RSI(14)": rsi})
    # it has not cleared at 31; after three bars above, it has, and fires again after the cooldown
    assert [(minute, alert.state) for minute, alert in raised] == [
        (2, "fired"),
        (8, "cleared"),
        (17, "fired"),
    ]
    first = raised[0][1]
    assert first.message == "AAPL: RSI(14) 29.40 < 30; price 100.00, volume 1,000"
    assert (str(first.value), str(first.threshold), first.unit, first.direction) == (
        "29.4",
        "30",
        "number",
        "down",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MACD.macd crosses MACD.signal", [(2, "up"), (4, "down")]),
        ("MACD.macd crosses above MACD.signal", [(2, "up")]),
        ("MACD.macd  Crosses  Below MACD.signal", [(4, "down")]),
    ],
)
def test_two_indicators_cross(text: str, expected: list[tuple[int, str]]) -> None:
    name = "MACD(12,26,9)"
    values = {f"{name}.macd": [-0.2, -0.1, 0.3, 0.1, -0.3, -0.2], f"{name}.signal": [0.0, 0, 0.1, 0.1, 0, 0]}
    raised = alerts_by_minute(rule(f'if = "{text}"', "cooldown = 0"), [100.0] * 6, values)
    assert [(minute, one.direction) for minute, one in raised if one.state == "fired"] == expected


def test_a_sign_changes() -> None:
    text = rule('if = "MACD.hist crosses above 0"')
    raised = alerts_by_minute(text, [100.0] * 3, {"MACD(12,26,9).hist": [-0.02, 0.0, 0.015]})
    assert fired(raised) == [2]
    message = raised[0][1].message
    assert message == "AAPL: MACD(12,26,9).hist 0.0150 crosses above 0; price 100.00, volume 1,000"


@pytest.mark.parametrize("close_only", [False, True])
def test_a_bollinger_band_is_touched_also_by_closes(close_only: bool) -> None:
    lows = [99.5, 98.9, 99.5]
    unknown = {name: [np.nan] * 3 for name in ("open", "high", "low")}
    fields = unknown if close_only else {"low": lows}
    closes = lows if close_only else [100.0] * 3
    band = {"BBANDS(20,2,2).lower": [99.0] * 3}
    raised = alerts_by_minute(rule('if = "low <= BBANDS.lower"'), closes, band, **fields)
    assert fired(raised) == [1]
    assert (str(raised[0][1].reference_price), raised[0][1].unit) == ("99", "price")


def test_the_position_in_the_day_s_range() -> None:
    closes = [100.0, 101, 100.5, 98, 100.9, 100.95]
    raised = alerts_by_minute(rule('if = "day_range > 95"', "cooldown = 0\nclear_bars = 1"), closes, {})
    # at 101 it is at the top, and the second time at 98.3%
    assert fired(raised) == [1, 4]
    engine = make_engine(
        '[[rule]]\nkind = "condition"\nif = "day_range >= 90"\ninterval = "1d"\n', intervals=["1d"]
    )
    days = [(100, 99, 104), (103.6, 99, 104), (103.4, 99, 104)]
    told = [
        day
        for day, (close, low, high) in enumerate(days)
        for alert in close_bars(engine, "1d", daily_bars([close], day=day, low=[low], high=[high]))
        if alert.state == "fired"
    ]
    assert told == [1]


def test_an_operand_can_have_a_factor() -> None:
    raised = alerts_by_minute(
        rule('if = "close < 0.98 * SMA(20)"'), [98.1, 97.9], {"SMA(20)": [100.0, 100.0]}
    )
    assert fired(raised) == [1]
    assert raised[0][1].message.startswith("AAPL: close 97.90 < 0.98 * SMA(20) 98.00; price")


def test_vwap_is_that_of_the_session() -> None:
    raised = alerts_by_minute(rule('if = "close > 1.01 * vwap"'), [101.5], {"VWAP": [100.0]})
    assert raised[0][1].message.startswith("AAPL: close 101.50 > 1.01 * VWAP 101.00; price")


def test_all_parts_hold_in_one_bar() -> None:
    text = rule(
        'all = ["RSI < 30", "close > SMA(200)", { kind = "pct_change", pct = 1, direction = "down" }]'
    )
    values = {"RSI(14)": [25.0, 25, 25, 35, 25], "SMA(200)": [99.0] * 5}
    raised = alerts_by_minute(text, [101.0, 100.9, 99.5, 98, 97], values)
    assert fired(raised) == [2]
    parts = "RSI(14) 25.00 < 30 and close 99.50 > SMA(200) 99.00 and pct_change -1.4%"
    assert raised[0][1].message == f"AAPL: {parts}; price 99.50, volume 1,000"


def test_parts_hold_within_some_bars() -> None:
    text = rule('all = ["MACD.hist crosses above 0", "RSI < 30"]\nwithin = 3')
    values = {"MACD(12,26,9).hist": [-1.0, -1, -1, 1, 1, 1], "RSI(14)": [40.0, 28, 40, 40, 28, 28]}
    raised = alerts_by_minute(text, [100.0] * 6, values)
    assert fired(raised) == [3]
    assert "crosses above 0 and RSI(14) < 30 2 bars ago; price" in raised[0][1].message
    alone = alerts_by_minute(text.replace("within = 3", ""), [100.0] * 6, values)
    assert fired(alone) == []


def test_parts_of_another_kind_keep_their_state_in_snapshots() -> None:
    text = rule('all = ["close > 90", { kind = "pct_change", window = "1d", pct = 5 }]\nwithin = 2')
    engine, fresh = make_engine(text), make_engine(text)
    close_bars(engine, "1m", bars([100]))
    saved = {name: table.gather(np.array([0])) for name, table in engine.tables().items()}
    assert any(":part" in name for name in saved)
    for name, table in fresh.tables().items():
        table.scatter(np.array([0]), saved[name])
    one = bars([94], day=1)
    assert [alert.state for alert in close_bars(fresh, "1m", one)] == ["fired"]
    assert close_bars(engine, "1m", one)


def test_a_forming_bar_changes_no_state() -> None:
    text = rule('all = ["close crosses below 100", "volume > 10"]', 'when = "tick"')
    engine = make_engine(text)
    close_bars(engine, "1m", bars([101]))
    before = {
        name: table.gather(np.array([0])) for name, table in engine.tables().items() if "detector" in name
    }
    forming = bars([100.5, 99.0, 101.0], minute=1, rows=[0, 0, 0])
    event_ns = forming.ts_open_ns + np.array([1, 2, 3])
    assert [one.position for one in engine.on_tick("1m", forming, {}, event_ns, event_ns)] == [1]
    for name, block in before.items():
        np.testing.assert_array_equal(engine.tables()[name].gather(np.array([0])), block)


@pytest.mark.parametrize(
    ("condition", "problem", "hint"),
    [
        ('if = "RSI(14) is low"', 'if is "RSI(14) is low", not a comparison.', "RSI(14) < 30"),
        ('if = "RSY(14) < 30"', 'if is "RSY(14) < 30": there is no indicator RSY.', "RSI"),
        ('if = "closes > 30"', 'if is "closes > 30": there is no "closes".', "close"),
        ('if = "MACD > 0"', 'if is "MACD > 0": MACD has 3 outputs.', "MACD(12,26,9).hist"),
        ('if = "30 > RSI"', 'if is "30 > RSI", which begins with a number.', "RSI(14) < 30"),
        ('if = "close > close"', "which compares close with itself.", "SMA(200)"),
        ("if = 30", "if is 30, not a comparison.", "quotes"),
        ("", "either if or all is required.", "RSI(14) < 30"),
        ('if = "RSI < 30"\nall = ["RSI < 30"]', "either if or all is required.", "RSI(14) < 30"),
        ("all = []", "all is not a list of 1 to 8 parts.", "close > SMA(200)"),
        (
            'all = ["RSI < 30", "close SMA(20)"]',
            'part 2 is "close SMA(20)", not a comparison.',
            "crosses above",
        ),
        ('all = [{ kind = "volume_spike" }]', "part 1 (volume_spike): times is missing.", "times"),
        ('all = [{ kind = "volume_spike", time = 3 }]', "part 1 (volume_spike) has no key time.", "times"),
        ('all = [{ kind = "volume_spike", times = "x" }]', 'part 1 (volume_spike): times is "x"', "quotes"),
        ('all = [{ kind = "volumespike" }]', "part 1 has no known kind", "volume_spike"),
        ('all = [{ kind = "halt" }]', "part 1 cannot be halt.", "rule of its own"),
        ('if = "RSI < 30"\ncritical = 20', "condition has no size.", 'severity = "critical"'),
        ('if = "RSI < 30"\nclear = 20', "condition has no clear threshold.", "Remove"),
        ('if = "RSI < 30"\ndirection = "up"', "condition has no direction.", "Remove"),
    ],
)
def test_errors_name_the_line_and_a_remedy(condition: str, problem: str, hint: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse(rule(condition), "x")
    (one,) = caught.value.problems
    assert problem in one.message
    assert hint in one.hint
    assert one.line in {1, 2, 4, 5}


def test_comparisons_have_one_text() -> None:
    assert parse_comparison("rsi<30").text == parse_comparison("RSI( 14 ) <  30").text == "RSI(14) < 30"
    with pytest.raises(UsageError):
        parse_comparison("close <> 3")
