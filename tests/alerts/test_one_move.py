"""One move raises one alert: kinds whose measure lasts longer than the cooldown."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from alerts.alert_builders import bars, close_bars, daily_bars, make_engine
from tickerlake.alerts.engine import AlertEngine
from tickerlake.analytics.bars import Bars

DAY_CHANGE = '[[rule]]\nkind = "pct_change"\ninterval = "1m"\nwindow = "1d"\npct = 5\n'
Session = Sequence[float]


def fired_minutes(engine: AlertEngine, sessions: Sequence[Session]) -> list[tuple[int, int, str]]:
    """Return session, minute and direction of the alerts of one-minute closes."""
    return [
        (day, minute, alert.direction)
        for day, closes in enumerate(sessions)
        for minute, close in enumerate(closes)
        for alert in close_bars(engine, "1m", bars([close], minute=minute, day=day))
        if alert.state == "fired"
    ]


def test_a_day_s_change_is_told_once_while_it_stays() -> None:
    fall = [100.0] * 5 + [94.0] * 200
    assert fired_minutes(make_engine(DAY_CHANGE), [[100.0], fall]) == [(1, 5, "down")]
    # a rule can ask for reminders
    reminders = DAY_CHANGE + 'repeat = "every"\ncooldown = "1h"\n'
    assert [minute for _, minute, _ in fired_minutes(make_engine(reminders), [[100.0], fall])] == [
        5,
        65,
        125,
        185,
    ]
    per_bar = DAY_CHANGE + 'repeat = "once_per_bar_close"\ncooldown = 0\n'
    assert len(fired_minutes(make_engine(per_bar), [[100.0], fall])) == 200


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        # a further fall of the same size is news, and the way back up
        ([94.0] * 60 + [87.9] * 60, [(1, 0, "down"), (1, 60, "down")]),
        ([94.0] * 60 + [89.0] * 60, [(1, 0, "down")]),
        ([94.0] * 5 + [106.0] * 60, [(1, 0, "down"), (1, 5, "up")]),
        # after it has cleared, a fall is another one
        ([94.0] * 5 + [100.0] * 10 + [94.0] * 5, [(1, 0, "down"), (1, 15, "down")]),
        # but it has not while it is still halfway
        ([94.0] * 5 + [97.0] * 30 + [94.0] * 5, [(1, 0, "down")]),
    ],
)
def test_what_makes_a_day_s_change_news_again(closes: Session, expected: list[tuple[int, int, str]]) -> None:
    assert fired_minutes(make_engine(DAY_CHANGE), [[100.0], closes]) == expected


def test_the_next_session_s_change_is_another_move() -> None:
    sessions = [[100.0], [109.0] * 30, [115.0] * 30, [115.0] * 30]
    assert fired_minutes(make_engine(DAY_CHANGE), sessions) == [(1, 0, "up"), (2, 0, "up")]
    # a change within a week stays the same move as long as the week begins before it
    week = DAY_CHANGE.replace("1d", "1w")
    weeks = [[100.0]] * 5 + [[106.0] * 20] * 5 + [[112.0] * 20]
    assert fired_minutes(make_engine(week), weeks) == [(5, 0, "up"), (10, 0, "up")]


def test_a_fall_that_continues_is_told_after_the_cooldown() -> None:
    rule = '[[rule]]\nkind = "pct_change"\ninterval = "1m"\nwindow = "5m"\npct = 2\n'
    falling = [100.0 * 0.995**minute for minute in range(60)]
    minutes = [minute for _, minute, _ in fired_minutes(make_engine(rule), [falling])]
    # at twice and four times the first fall; then a fall that began after the last alert, and twice that …
    assert minutes == [5, 11, 23, 38, 44, 56]
    # one fall that stays in a long window is told once
    long_window = rule.replace("5m", "4h")
    assert fired_minutes(make_engine(long_window), [[100.0] * 3 + [97.5] * 200]) == [(0, 3, "down")]
    bar_window = rule.replace('"5m"', "100")
    assert fired_minutes(make_engine(bar_window), [[100.0] * 100 + [97.5] * 90]) == [(0, 100, "down")]


def test_volume_doubles_in_volume_not_in_price() -> None:
    engine = make_engine('[[rule]]\nkind = "volume_spike"\ninterval = "1d"\ntimes = 5\ncooldown = "9d"\n')
    volumes = [1000.0] * 35 + [8000.0, 8000.0, 8000.0, 30_000.0]
    cents = [0.0] * 35 + [0.01, 0.02, 0.04, 0.05]
    fired = [
        day
        for day, (volume, cent) in enumerate(zip(volumes, cents, strict=True))
        for alert in close_bars(engine, "1d", daily_bars([100 + cent], day=day, open=[100], volume=[volume]))
        if alert.state == "fired"
    ]
    assert fired == [35, 38]


def test_a_long_window_s_high_is_told_once_per_session() -> None:
    engine = make_engine('[[rule]]\nkind = "new_high"\ninterval = "1m"\nwindow = "3d"\n')
    rising = [100 + 0.01 * minute for minute in range(40)]
    pauses = [101.0, 100.0, 100.0, 100.0, 100.0] + [100.0] * 20 + [101.1] * 3
    sessions = [[100.0], [100.0], [100.0], rising, pauses, [99.0] * 3, [100.0]]
    assert fired_minutes(engine, sessions) == [(3, 1, "up"), (4, 0, "up")]
    daily = make_engine('[[rule]]\nkind = "new_high"\ninterval = "1d"\nwindow = "52w"\n', intervals=["1d"])
    closes = [100 + 0.1 * (day % 7) for day in range(260)] + [100.5, 101.0, 102.0, 100.0, 103.0]
    fired = [
        (day, alert.state)
        for day, close in enumerate(closes)
        for alert in close_bars(daily, "1d", daily_bars([close], day=day))
    ]
    assert fired == [(261, "fired"), (262, "fired"), (263, "cleared"), (264, "fired")]


def test_a_distance_from_the_vwap_is_told_once_per_session() -> None:
    engine = make_engine('[[rule]]\nkind = "vwap_deviation"\ninterval = "1m"\npct = 1\n')
    fired = [
        (day, minute)
        for day in range(2)
        for minute in range(100)
        for alert in close_bars(
            engine, "1m", bars([101.5], minute=minute, day=day), {"VWAP": np.array([100.0])}
        )
        if alert.state == "fired"
    ]
    assert fired == [(0, 0), (1, 0)]


def test_a_market_wide_breaker_is_told_once_per_level() -> None:
    engine = make_engine('[[rule]]\nkind = "market_breaker"\ncritical = 13\n')
    closes = [92.0] * 40 + [86.0] * 40 + [79.0] * 40
    assert [minute for _, minute, _ in fired_minutes(engine, [[100.0], closes])] == [0, 40, 80]


def test_a_move_is_told_once_by_trades_and_closed_bars() -> None:
    engine = make_engine(DAY_CHANGE + 'when = "tick"\n')
    close_bars(engine, "1m", bars([100]))
    fired = []
    for minute in range(60):
        forming = bars([94.0, 93.9], minute=minute, day=1, rows=[0, 0])
        event_ns = forming.ts_open_ns + np.array([1, 2])
        fired += [one.alert.ts_event_ns for one in engine.on_tick("1m", forming, {}, event_ns, event_ns)]
        fired += [one.ts_event_ns for one in close_bars(engine, "1m", bars([94.0], minute=minute, day=1))]
    assert fired == [int(bars([94.0], day=1).ts_open_ns[0]) + 1]


GAP_RULES = """
[[rule]]
id = "gap"
kind = "gap_open"
pct = 3
critical = 10
[[rule]]
id = "day"
kind = "pct_change"
window = "1d"
pct = 5
"""


DAY_FALL = "AAPL fell 6.0% in 1d: 94.00 from 100.00, volume 1,000"


@pytest.mark.parametrize("make_bars", [bars, daily_bars])
@pytest.mark.parametrize(
    ("opened", "close", "expected"),
    [
        (95.0, 94.0, [("day", "warning", f"{DAY_FALL}; 5.0% down at the open")]),
        (89.0, 94.0, [("day", "critical", f"{DAY_FALL}; 11.0% down at the open")]),
        # one without the other, or in two directions
        (99.0, 94.0, [("day", "warning", DAY_FALL)]),
        (96.0, 96.5, [("gap", "warning", "AAPL fell 4.0% at the open: 96.00 from 100.00")]),
        (
            104.0,
            94.0,
            [
                ("gap", "warning", "AAPL rose 4.0% at the open: 104.00 from 100.00"),
                ("day", "warning", DAY_FALL),
            ],
        ),
    ],
)
def test_a_move_that_begins_with_a_gap_is_one_alert(
    make_bars: Callable[..., Bars], opened: float, close: float, expected: list[tuple[str, str, str]]
) -> None:
    interval = "1m" if make_bars is bars else "1d"
    engine = make_engine(GAP_RULES, intervals=[interval])
    close_bars(engine, interval, make_bars([100]))
    one = make_bars([close], day=1, open=[opened])
    alerts = [
        (alert.rule_id, alert.severity, alert.message.removesuffix(" (2024-10-04), volume 1,000"))
        for alert in close_bars(engine, interval, one)
    ]
    assert alerts == expected


def test_a_gap_told_by_another_alert_has_no_end_of_its_own() -> None:
    engine = make_engine(GAP_RULES, ["A", "B"], intervals=["1d"])
    sessions = [
        ([100, 100], [100, 100]),
        ([94, 96], [95, 96]),
        ([94, 96], [94, 96]),
        ([94, 90], [94, 92]),
        ([94, 90], [94, 90]),
    ]
    transitions = [
        (day, alert.symbol, alert.rule_id, alert.state)
        for day, (closes, opens) in enumerate(sessions)
        for alert in close_bars(engine, "1d", daily_bars(closes, day=day, open=opens))
    ]
    assert transitions == [
        (1, "A", "day", "fired"),
        (1, "B", "gap", "fired"),
        (2, "B", "gap", "cleared"),
        (3, "B", "day", "fired"),
        (4, "A", "day", "cleared"),
    ]


def test_a_gap_of_trades_is_told_once() -> None:
    tick = GAP_RULES.replace("pct =", 'when = "tick"\npct =')
    engine = make_engine(tick)
    close_bars(engine, "1m", bars([100]))
    forming = bars([94.0, 93.9, 93.8], day=1, open=[95.0] * 3, rows=[0, 0, 0])
    event_ns = forming.ts_open_ns + np.array([1, 2, 3])
    fired = [one.alert.rule_id for one in engine.on_tick("1m", forming, {}, event_ns, event_ns)]
    fired += [one.rule_id for one in close_bars(engine, "1m", bars([94.0], day=1, open=[95.0]))]
    assert fired == ["day"]
