"""All rules together: replays, groupings, snapshots, order, intervals and data rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert_builders import DAY, MINUTE, OPEN, bars, close_bars, daily_bars, encoded_alerts, make_engine
from alerts.scripted import SCRIPTED
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.presets import PRESETS
from tickerlake.alerts.rules.ruleset import parse, preset
from tickerlake.analytics.bars import Bars
from tickerlake.analytics.sessions import Hours
from tickerlake.analytics.types import Instrument
from tickerlake.model.instrument import instrument_id

ALL_RULES = """
[[rule]]
kind = "zscore"
interval = "1m"
threshold = 3
warmup = 5
[[rule]]
kind = "jump"
interval = "1m"
warmup = 5
[[rule]]
kind = "pct_change"
interval = "1m"
window = "3m"
pct = 2
[[rule]]
kind = "pct_change"
interval = "1m"
window = "1d"
pct = 3
symbols = ["A", "C"]
[[rule]]
kind = "gap_open"
interval = "1m"
pct = 2
[[rule]]
kind = "new_high"
interval = "1m"
window = 4
[[rule]]
kind = "new_low"
interval = "1m"
window = "1d"
[[rule]]
kind = "cross"
interval = "1m"
level = 100
[[rule]]
kind = "channel"
interval = "1m"
upper = 104
lower = 96
symbols = ["B"]
[[rule]]
kind = "volume_spike"
interval = "1m"
times = 3
warmup = 3
[[rule]]
kind = "halt"
interval = "1m"
minutes = 2
[[rule]]
kind = "limit_band"
interval = "1m"
tier = 1
[[rule]]
kind = "condition"
interval = "1m"
if = "day_range > 80"
[[rule]]
kind = "condition"
interval = "1m"
within = 3
all = ["close crosses 100", { kind = "pct_change", window = "1d", pct = 1 }, { kind = "zscore" }]
"""
SYMBOLS = ("A", "B", "C", "D")


def random_bars(seed: int, rounds: int = 60) -> list[Bars]:
    """Return bars of four instruments over two days, with jumps, a split, and gaps."""
    rng = np.random.default_rng(seed)
    price = np.full(4, 100.0)
    engine = []
    for number in range(rounds):
        day, minute = divmod(number, rounds // 2)
        price = price * np.exp(0.004 * rng.standard_normal(4) + 0.05 * (rng.random(4) < 0.03))
        opened = price * (1 - 0.03 * (minute == 0))
        if day == 1 and minute == 0:
            opened[0] = price[0] = price[0] / 2
        volume = 1000.0 + 200 * rng.random(4) + 20_000 * (rng.random(4) < 0.02)
        engine.append(bars(price.round(2), open=opened.round(2), minute=minute, day=day, volume=volume))
    return engine


def test_a_replay_raises_the_same_alerts_with_the_same_ids() -> None:
    first, second = make_engine(ALL_RULES, SYMBOLS), make_engine(ALL_RULES, SYMBOLS)
    alerts = [alert for one in random_bars(1) for alert in close_bars(first, "1m", one)]
    replayed = [alert for one in random_bars(1) for alert in close_bars(second, "1m", one)]
    assert len({alert.kind for alert in alerts}) >= 9
    assert alerts == replayed
    assert len({alert.alert_id for alert in alerts}) == len(alerts)


@settings(max_examples=25)
@given(seed=st.integers(0, 5), groups=st.lists(st.integers(0, 3), min_size=60, max_size=60), data=st.data())
def test_alerts_do_not_depend_on_the_grouping_of_instruments(
    seed: int, groups: list[int], data: st.DataObject
) -> None:
    together, separate = make_engine(ALL_RULES, SYMBOLS), make_engine(ALL_RULES, SYMBOLS)
    for one, cut in zip(random_bars(seed), groups, strict=True):
        at_once = close_bars(together, "1m", one)
        order = np.array(data.draw(st.permutations(range(4)))) if cut else np.arange(4)
        parts = [part for part in np.split(order, [cut]) if len(part)]
        by_part = [alert for part in parts for alert in close_bars(separate, "1m", one.select(part))]
        assert sorted(a.to_json() for a in at_once) == sorted(a.to_json() for a in by_part)
    for name, table in together.tables().items():
        rows = np.arange(4)
        np.testing.assert_array_equal(table.gather(rows), separate.tables()[name].gather(rows), name)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 5), at=st.integers(1, 59), order=st.permutations(range(4)), count=st.integers(1, 4)
)
def test_a_fresh_engine_resumes_from_a_snapshot(seed: int, at: int, order: list[int], count: int) -> None:
    engine = make_engine(ALL_RULES, SYMBOLS)
    series = random_bars(seed)
    for one in series[:at]:
        close_bars(engine, "1m", one)
    rows = np.array(order[:count])
    saved = {name: table.gather(rows) for name, table in engine.tables().items()}
    fresh = make_engine(ALL_RULES, [SYMBOLS[row] for row in rows.tolist()])
    assert saved.keys() == fresh.tables().keys()
    for name, table in fresh.tables().items():
        table.scatter(np.arange(count), saved[name])
    engine.retain(rows)
    for one in series[at:]:
        renumbered = one.select(rows)
        renumbered.rows[:] = np.arange(count)
        expected = close_bars(engine, "1m", renumbered)
        assert close_bars(fresh, "1m", renumbered) == expected


def test_alerts_are_ordered_by_position_then_rule() -> None:
    text = "".join(
        f'[[rule]]\nid = "{name}"\nkind = "{SCRIPTED}"\ninterval = "1m"\n{extra}\n'
        for name, extra in (("z", ""), ("b", 'symbols = ["B"]'), ("a", ""))
    )
    engine = make_engine(text, ["A", "B"])
    series = bars([110, 110], rows=[1, 0])
    fired = engine.on_close("1m", series, {}, series.ts_close_ns)
    assert [(one.position, one.alert.symbol, one.alert.rule_id) for one in fired] == [
        (0, "B", "z"),
        (0, "B", "b"),
        (0, "B", "a"),
        (1, "A", "z"),
        (1, "A", "a"),
    ]


def test_rules_apply_to_the_symbols_they_name() -> None:
    text = f'[lists]\ntech = ["AAPL", "MSFT"]\n[[rule]]\nkind = "{SCRIPTED}"\nsymbols = ["@tech", "BRK*"]\n'
    engine = make_engine(text + 'exclude = ["BRK.A"]', ["AAPL", "IBM", "BRK.A"])
    engine.add_instruments([Instrument("BRK.B.XNYS", "BRK.B"), Instrument("MSFT.XNAS", "MSFT")])
    fired = close_bars(engine, "1m", bars([110] * 5))
    assert [alert.symbol for alert in fired] == ["AAPL", "BRK.B", "MSFT"]


def test_rules_name_symbols_as_they_are_written() -> None:
    names = ["BTC/USD", "ETH/USD", "BRK B", "$SPX", "@ES#", "NSE:INFY", "日経 225", "ÉTÉ"]
    text = f'[lists]\nindex = ["日経 225", "$SPX"]\n[[rule]]\nkind = "{SCRIPTED}"\n'
    text += 'symbols = ["@index", "BTC/*", "BRK B", "[@]ES#", "NSE:*", "E\u0301TE\u0301"]\n'
    engine = make_engine(text, [])
    engine.add_instruments([Instrument(instrument_id(name), name) for name in names])
    fired = close_bars(engine, "1m", bars([110] * len(names)))
    assert [alert.symbol for alert in fired] == [name for name in names if name != "ETH/USD"]


def test_a_rule_without_an_interval_uses_the_finest_suitable_one() -> None:
    text = f"""
[[rule]]
id = "any"
kind = "{SCRIPTED}"
[[rule]]
id = "intraday"
kind = "{SCRIPTED}"
interval = "intraday"
[[rule]]
id = "both"
kind = "{SCRIPTED}"
interval = ["60s", "1d"]
[[rule]]
id = "vwap"
kind = "vwap_deviation"
pct = 5
"""
    engine = make_engine(text, intervals=["1d", "1m", "5m"])
    assert engine.required_indicators == {"1m": {"VWAP"}, "1d": frozenset()}
    assert [
        alert.rule_id for alert in close_bars(engine, "1m", bars([110.0]), {"VWAP": np.array([100.0])})
    ] == [
        "any",
        "intraday",
        "both",
        "vwap",
    ]
    assert [alert.rule_id for alert in close_bars(engine, "1d", daily_bars([110.0]))] == ["both"]
    assert close_bars(engine, "5m", bars([110.0], width=5)) == []
    only_days = make_engine(text, intervals=["1d"])
    assert [rule.id for rule in only_days.rules_without_interval] == ["intraday", "vwap"]
    assert [alert.rule_id for alert in close_bars(only_days, "1d", daily_bars([110.0]))] == ["any", "both"]


def test_required_indicators_are_canonical() -> None:
    text = """
[[rule]]
kind = "cross"
level = "sma( 20 )"
interval = "1d"
[[rule]]
kind = "channel"
upper = "bbands.upper"
interval = "1d"
[[rule]]
kind = "range_expansion"
"""
    engine = make_engine(text)
    assert engine.required_indicators["1d"] >= {"SMA(20)"}
    assert any(
        name.startswith("BBANDS(") and name.endswith(".upper") for name in engine.required_indicators["1d"]
    )
    assert engine.required_indicators["1m"] == {"ATR(14)"}


def test_a_rules_version_depends_on_its_content_not_its_position() -> None:
    (first,) = parse('[[rule]]\nkind = "zscore"', "x").rules
    (same,) = parse('# a comment\n\n[[rule]]\nkind = "zscore"', "x").rules
    (other,) = parse('[[rule]]\nkind = "zscore"\nthreshold = 6', "x").rules
    assert first.version == same.version != other.version
    (more_severe,) = parse('[[rule]]\nkind = "zscore"\nseverity = "critical"', "x").rules
    assert first.version != more_severe.version
    # a rule with another severity can use the same state
    assert first.state_version == more_severe.state_version != other.state_version


def test_a_rules_version_does_not_depend_on_what_was_read_before() -> None:
    (first,) = parse('[[rule]]\nkind = "zscore"', "x").rules
    (second,) = parse('[[rule]]\nkind = "zscore"', "x").rules
    assert second.state_version == first.state_version
    assert second.version == first.version
    # alerts in topics and lakes carry these numbers, snapshots of the state are named by them
    (big_move, *_) = preset("default").rules
    assert (big_move.version, big_move.state_version) == (3_795_128_261, 598_147_377)


def test_a_stale_instrument_is_reported_once_and_cleared_by_the_next_trade() -> None:
    engine = make_engine(
        '[[rule]]\nkind = "stale"\nafter = "10m"\nsymbols = ["AAPL", "IBM"]', ["AAPL", "IBM", "FB"]
    )
    rows = np.arange(3)
    opened = np.full(3, DAY * 20_000 + OPEN * MINUTE)
    closed = opened + 390 * MINUTE
    hours = Hours(opened, closed, opened * 0, opened * 0)

    def idle_alerts(last: list[int], now: int) -> list[tuple[str, str, int]]:
        last_ns = opened + np.array(last) * MINUTE
        fired = engine.on_idle(rows, last_ns, int(opened[0]) + now * MINUTE, hours)
        return [
            (one.alert.symbol, one.alert.state, (one.alert.ts_event_ns - int(opened[0])) // MINUTE)
            for one in fired
        ]

    assert idle_alerts([3, -900, 0], 9) == []
    # an instrument that sent nothing today is measured from the open
    assert idle_alerts([3, -900, 0], 12) == [("IBM", "fired", 10)]
    assert idle_alerts([3, -900, 0], 14) == [("AAPL", "fired", 13)]
    assert idle_alerts([3, -900, 0], 20) == []
    assert idle_alerts([20, -900, 0], 21) == [("AAPL", "cleared", 20)]
    assert idle_alerts([20, -900, 0], 500) == []
    # the open of the next session alone brings no data
    opened += DAY
    closed += DAY
    assert idle_alerts([-1000, -2000, 0], 1) == []
    assert idle_alerts([0, 0, 0], 1) == [("IBM", "cleared", 0)]


def test_many_rejects_in_a_window_are_reported() -> None:
    engine = make_engine('[[rule]]\nkind = "data_quality"\ncount = 10\nwindow = "6m"', ["AAPL", "IBM"])
    start = DAY * 20_000

    def reject_alerts(row: int, count: int, minute: int) -> list[tuple[str, str, str]]:
        at = np.array([start + minute * MINUTE])
        fired = engine.on_rejects(np.array([row]), np.array([count]), at, at + 1)
        return [(one.alert.symbol, one.alert.state, str(one.alert.value)) for one in fired]

    assert reject_alerts(0, 6, 0) == []
    assert reject_alerts(1, 9, 1) == []
    assert reject_alerts(0, 3, 5) == []
    assert reject_alerts(0, 7, 6) == [("AAPL", "fired", "10")]  # the six of minute 0 have left the window
    assert reject_alerts(0, 1, 30) == [("AAPL", "cleared", "1")]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_work_with_minute_and_daily_bars(name: str) -> None:
    engine = AlertEngine(preset(name).rules, ["1m", "1d"])
    engine.add_instruments([Instrument(f"{symbol}.XNAS", symbol) for symbol in SYMBOLS])
    for one in random_bars(2):
        engine.on_close("1m", one, {}, one.ts_close_ns)
    assert engine.rules_without_interval == []


def test_positions_refer_to_all_bars_of_the_call() -> None:
    engine = make_engine(f'[[rule]]\nkind = "{SCRIPTED}"\nsymbols = ["B"]', ["A", "B"])
    series = bars([100, 110], rows=[0, 1])
    assert [at for at, _ in encoded_alerts(engine.on_close("1m", series, {}, series.ts_close_ns))] == [1]
