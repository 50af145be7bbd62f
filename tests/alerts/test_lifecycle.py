"""The life cycle of one rule for one instrument: the measured values, and the alerts of each bar."""

import numpy as np
import pytest

from alerts.alert_builders import (
    DAY,
    FIRST_DAY,
    MINUTE,
    OPEN,
    bars,
    close_bars,
    make_engine,
    transitions_per_bar,
)
from alerts.scripted import SCRIPTED
from tickerlake.alerts.engine import AlertEngine

FIRED_WARNING = "fired warning"
FIRED_CRITICAL = "fired critical"
CLEARED_WARNING = "cleared warning"


def make_scripted_engine(extra: str) -> AlertEngine:
    return make_engine(f'[[rule]]\nkind = "{SCRIPTED}"\ninterval = "1m"\nthreshold = 5\nclear = 2\n{extra}')


@pytest.mark.parametrize(
    ("extra", "values", "expected"),
    [
        # fires at the threshold, and clears after three bars below 2
        ("", [4.9, 5, 1, 1.9, 0, 0], ["", FIRED_WARNING, "", "", CLEARED_WARNING, ""]),
        # a bar between the thresholds restarts the count
        ("", [5, 1, 1, 2, 1, 1, 1], [FIRED_WARNING, "", "", "", "", "", CLEARED_WARNING]),
        # and so does one that reaches the threshold
        ("", [5, 1, 1, 6, 1, 1, 1], [FIRED_WARNING, "", "", "", "", "", CLEARED_WARNING]),
        # a missing value does not
        ("", [5, 1, 1, None, 1], [FIRED_WARNING, "", "", "", CLEARED_WARNING]),
        # within the cooldown, only a move of twice the size fires …
        ("", [5, 6, 9.9, 10, 19], [FIRED_WARNING, "", "", FIRED_WARNING, ""]),
        # … or one in the other direction, …
        ("", [5, -5, -6, 0], [FIRED_WARNING, FIRED_WARNING, "", ""]),
        # … each direction once within a cooldown: a price that swings is no series of news …
        ("", [5, -5, 5, -5, 5], [FIRED_WARNING, FIRED_WARNING, "", "", ""]),
        (
            'cooldown = "3m"',
            [5, -5, 5, 5, -5],
            [FIRED_WARNING, FIRED_WARNING, "", FIRED_WARNING, FIRED_WARNING],
        ),
        # … and only if the rule looks for it …
        ("direction = 'up'", [5, -11, 0, 0], [FIRED_WARNING, "", "", CLEARED_WARNING]),
        # … or a higher severity
        ("critical = 8", [5, 7, 8, 9], [FIRED_WARNING, "", FIRED_CRITICAL, ""]),
        # a severity that falls and rises back does not fire
        ("critical = 6", [6, 5, 7], [FIRED_CRITICAL, "", ""]),
        # the cooldown counts from the last fired alert, even if it has cleared since
        (
            'clear_bars = 1\ncooldown = "4m"',
            [5, 0, 5, 5, 5, 5],
            [FIRED_WARNING, CLEARED_WARNING, "", "", FIRED_WARNING, ""],
        ),
        ("clear_bars = 1", [5, 0, 5, 0], [FIRED_WARNING, CLEARED_WARNING, "", ""]),
        (
            "clear_bars = 1\ncooldown = 0",
            [5, 5, 0, 5],
            [FIRED_WARNING, FIRED_WARNING, CLEARED_WARNING, FIRED_WARNING],
        ),
        ('repeat = "every"', [5, 5, 1, 5], [FIRED_WARNING, FIRED_WARNING, "", FIRED_WARNING]),
        ('repeat = "every"\ncooldown = "2m"', [5, 5, 5], [FIRED_WARNING, "", FIRED_WARNING]),
        (
            'repeat = "once"\nclear_bars = 1\ncritical = 9',
            [5, 0, 9, 20],
            [FIRED_WARNING, CLEARED_WARNING, "", ""],
        ),
        ("direction = 'up'", [-9, 5, -9, -9, -9], ["", FIRED_WARNING, "", "", CLEARED_WARNING]),
        ("direction = 'down'", [9, -5, 9, 9, 9], ["", FIRED_WARNING, "", "", CLEARED_WARNING]),
        ("warmup = 2", [9, 9, 5], ["", "", FIRED_WARNING]),
        (
            'severity = "info"\nwarning = 7\ncritical = 9',
            [5, 7, 9],
            ["fired info", FIRED_WARNING, FIRED_CRITICAL],
        ),
    ],
)
def test_lifecycle_scenarios(extra: str, values: list[float | None], expected: list[str]) -> None:
    prices = [100.0 + value if value is not None else np.nan for value in values]
    assert transitions_per_bar(make_scripted_engine(extra), "1m", prices) == expected


def test_suppressed_alerts_are_counted_in_the_next_alert() -> None:
    engine = make_scripted_engine("")
    counts = []
    for minute, price in enumerate([105, 106, 107, 90, 111, 112, 100, 100, 100]):
        counts += [
            (a.state, a.suppressed_count) for a in close_bars(engine, "1m", bars([price], minute=minute))
        ]
    assert counts == [("fired", 0), ("fired", 2), ("cleared", 2)]


def test_a_rule_expires_once_and_ends_an_open_episode() -> None:
    engine = make_scripted_engine("expires = 2024-10-04T14:34:00Z\ncooldown = 0")
    assert (FIRST_DAY * DAY + (OPEN + 4) * MINUTE) == 1_728_052_440 * 10**9
    assert transitions_per_bar(engine, "1m", [105, 105, 100, 105, 105, 105]) == [
        FIRED_WARNING,
        FIRED_WARNING,
        "",
        "expired warning",
        "",
        "",
    ]
    expired = make_scripted_engine("expires = 2024-10-04T14:34:00Z\nclear_bars = 1\ncooldown = 0")
    assert transitions_per_bar(expired, "1m", [105, 100, 100, 105, 105]) == [
        FIRED_WARNING,
        CLEARED_WARNING,
        "",
        "",
        "",
    ]


def test_bars_outside_the_session_are_skipped() -> None:
    engine = make_scripted_engine('session = "regular"\nwarmup = 1')
    assert close_bars(engine, "1m", bars([105], minute=-1)) == []
    assert (
        close_bars(engine, "1m", bars([105], minute=0)) == []
    )  # the first one that counts towards the warm-up
    assert close_bars(engine, "1m", bars([105], minute=1)) != []
    all_hours = make_scripted_engine("warmup = 1")
    close_bars(all_hours, "1m", bars([105], minute=-1))
    assert close_bars(all_hours, "1m", bars([105], minute=0)) != []


def test_an_alert_has_all_fields() -> None:
    engine = make_engine(f'[[rule]]\nid = "mine"\nkind = "{SCRIPTED}"\ninterval = "1m"\nthreshold = 5')
    one = bars([107.5], minute=3, volume=[1.9e6])
    (alert,) = close_bars(engine, "1m", one)
    event_ns = int(one.ts_close_ns[0])
    assert (alert.rule_id, alert.kind, alert.instrument_id, alert.symbol) == (
        "mine",
        SCRIPTED,
        "AAPL.XNAS",
        "AAPL",
    )
    assert (alert.ts_event_ns, alert.ts_detected_ns) == (event_ns, event_ns + 5_000_000)
    values = {
        name: str(getattr(alert, name)) for name in "latency_ms value threshold price score volume".split()
    }
    assert values == {
        "latency_ms": "5",
        "value": "7.5",
        "threshold": "5",
        "price": "107.5",
        "score": "1.5",
        "volume": "1900000",
    }
    assert (alert.direction, alert.unit, alert.window, alert.cause) == ("up", "sigma", "1m", "market")
    assert alert.message == "AAPL: scripted is 7.5 σ: 107.50 from 100.00, volume 1.9 M"


def test_fired_and_cleared_share_a_key_but_not_an_id() -> None:
    engine = make_scripted_engine("clear_bars = 1")
    fired, cleared = (
        alert
        for minute, price in enumerate([105, 100])
        for alert in close_bars(engine, "1m", bars([price], minute=minute))
    )
    assert fired.dedup_key == cleared.dedup_key
    assert fired.alert_id != cleared.alert_id


@pytest.mark.parametrize(
    ("late_ns", "latency"), [(0, "0"), (-1, "None"), (DAY, "None"), (DAY - 10**9, "86399000")]
)
def test_history_has_no_latency(late_ns: int, latency: str) -> None:
    one = bars([105])
    (fired,) = make_scripted_engine("").on_close("1m", one, {}, one.ts_close_ns + late_ns)
    assert str(fired.alert.latency_ms) == latency
