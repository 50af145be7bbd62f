"""Known splits: results after a split are those of prices that were in new shares all along."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from analytics.test_indicators import SHORT_SPECS
from support.records import batch
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.market_hours import MarketHours
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions
from tickerlake.analytics.types import EngineOptions, Output
from tickerlake.model.alert import Alert
from tickerlake.model.split import KnownSplits, Split

SECOND: Final = 10**9
DAY: Final = 86_400 * SECOND
FIRST: Final = 19_700
SPLIT_DAY: Final = FIRST + 30
TRADES_A_DAY: Final = 45
RULES: Final = """
[[rule]]
kind = "pct_change"
window = 1
pct = 3
[[rule]]
kind = "pct_change"
id = "week"
window = "5d"
pct = 4
[[rule]]
kind = "gap_open"
pct = 1
[[rule]]
kind = "zscore"
threshold = 2
[[rule]]
kind = "jump"
[[rule]]
kind = "new_high"
window = "5d"
[[rule]]
kind = "new_low"
window = 7
[[rule]]
kind = "volume_spike"
times = 2
warmup = 3
[[rule]]
kind = "range_expansion"
k = 1.5
timeperiod = 5
[[rule]]
kind = "cross"
level = "SMA(5)"
[[rule]]
kind = "channel"
upper = "BBANDS(5,1,1).upper"
[[rule]]
kind = "limit_band"
[[rule]]
kind = "market_breaker"
"""
TICK_RULES: Final = """
[[rule]]
id = "tick-move"
kind = "pct_change"
interval = "1m"
window = 3
pct = 0.4
when = "tick"
repeat = "every"
cooldown = "1s"
[[rule]]
id = "tick-gap"
kind = "gap_open"
interval = "1m"
pct = 0.05
when = "tick"
[[rule]]
id = "tick-cross"
kind = "cross"
interval = "1m"
level = "SMA(5)"
when = "tick"
cooldown = "1s"
"""


def known(*days: int, new: float = 4, old: float = 1, name: str = "AAPL") -> KnownSplits:
    return KnownSplits({name: tuple(Split(day, new, old) for day in days)})


def engine(
    rules: str, intervals: Sequence[str], splits: KnownSplits, sessions: Sessions = ALWAYS_OPEN
) -> Engine:
    options = EngineOptions(
        tuple(intervals), tuple(SHORT_SPECS), lateness_ns=0, max_ahead_ns=None, splits=splits
    )
    return Engine(
        options, lambda _: sessions, AlertEngine(parse(rules, "test").rules, intervals) if rules else None
    )


def scale(session: int, day: int, ratio: int) -> int:
    """Return the factor of prices as they were traded: that of old shares before the split."""
    return 1 if session >= day else ratio


def bar_records(seed: int, ratio: int, split_day: int = SPLIT_DAY, days: int = 60) -> list[bytes]:
    """Return daily bars as traded."""
    random = np.random.default_rng(seed)
    price, records = 100.0, []
    for session in range(FIRST, FIRST + days):
        opened = price * float(np.exp(random.normal(0, 0.01)))
        price = opened * float(np.exp(random.normal(0, 0.015 if random.random() < 0.9 else 0.06)))
        high, low = max(opened, price) * 1.01, min(opened, price) * 0.99
        k = scale(session, split_day, ratio)
        volume = int(random.lognormal(7, 0.5)) * 400 // k
        prices = {"open": opened, "high": high, "low": low, "close": price}
        records.append(
            msgspec.json.encode(
                {
                    "schema": "bar.v1", "instrument_id": "AAPL.XNAS", "interval": "1d",
                    "session_date": str(np.datetime64(session, "D")), "volume": volume,
                    "ts_open_ns": session * DAY, "ts_close_ns": (session + 1) * DAY,
                    **{name: round(value, 2) * k for name, value in prices.items()},
                }
            )
        )  # fmt: skip
    return records


def trade_records(seed: int, ratio: int, split_day: int, days: int = 6) -> list[bytes]:
    """Return trades of the first minutes of each day, one in 20 seconds, as traded."""
    random = np.random.default_rng(seed)
    price, records = 100.0, []
    for session in range(FIRST, FIRST + days):
        price *= float(np.exp(random.normal(0, 0.005)))
        k = scale(session, split_day, ratio)
        for number in range(TRADES_A_DAY):
            price *= float(np.exp(random.normal(0, 0.002)))
            size = int(random.integers(1, 50)) * 100 // k
            ts_ns = session * DAY + number * 20 * SECOND
            records.append(
                msgspec.json.encode(
                    {
                        "schema": "trade.v1", "instrument_id": "AAPL.XNAS", "ts_event_ns": ts_ns,
                        "price": round(round(price, 2) * k, 2), "size": size,
                    }
                )
            )  # fmt: skip
    return records


def run(subject: Engine, records: Sequence[bytes], size: int = 10**6) -> list[Output]:
    return [
        subject.process(batch(records[start : start + size], first_offset=start))
        for start in range(0, len(records), size)
    ]


def values_after(outputs: Sequence[Output], session: int) -> list[dict[str, Any]]:
    return [
        {"ts": row["ts_close_ns"], **msgspec.json.decode(row["values"])}
        for output in outputs
        for row in output.indicators.iter_rows(named=True)
        if row["ts_open_ns"] >= session * DAY
    ]


def assert_same_values(traded: Sequence[Output], uniform: Sequence[Output], session: int) -> None:
    actual, expected = values_after(traded, session), values_after(uniform, session)
    assert expected
    # only money is a decimal of 9 places, of a price in either shares
    assert actual == [pytest.approx(row, rel=1e-9) for row in expected]


def alerts_of(outputs: Sequence[Output]) -> list[Alert]:
    return [each.alert for output in outputs for each in output.alerts]


def facts_after(outputs: Sequence[Output], session: int) -> list[tuple[Any, ...]]:
    return [
        (
            *(alert.rule_id, alert.state, alert.ts_event_ns, alert.severity, alert.cause, alert.value),
            *(alert.reference_price, alert.price, alert.volume, alert.suppressed_count),
        )
        for alert in alerts_of(outputs)
        if alert.ts_event_ns > session * DAY
    ]


@pytest.mark.parametrize(("seed", "ratio"), [(0, 2), (1, 4), (2, 8)])
def test_daily_results_after_a_split_are_those_of_new_shares(seed: int, ratio: int) -> None:
    print(f"seed {seed}")
    traded = run(engine(RULES, ["1d"], known(SPLIT_DAY, new=ratio)), bar_records(seed, ratio))
    uniform = run(engine(RULES, ["1d"], known()), bar_records(seed, 1))
    assert_same_values(traded, uniform, SPLIT_DAY)
    expected = facts_after(uniform, SPLIT_DAY)
    assert len({fact[0] for fact in expected}) >= 8
    assert facts_after(traded, SPLIT_DAY) == expected


@pytest.mark.parametrize("seed", range(2))
def test_results_at_each_trade_after_a_split_are_those_of_new_shares(seed: int) -> None:
    print(f"seed {seed}")
    rules, intervals, day = RULES + TICK_RULES, ["1m", "1d"], FIRST + 4
    traded = run(engine(rules, intervals, known(day, new=4)), trade_records(seed, 4, day))
    uniform = run(engine(rules, intervals, known()), trade_records(seed, 1, day))
    assert_same_values(traded, uniform, day)
    expected = facts_after(uniform, day)
    assert {"tick-move", "tick-gap", "tick-cross"} <= {fact[0] for fact in expected}
    assert facts_after(traded, day) == expected


def with_extended_hours() -> Sessions:
    """Return sessions that open five minutes into the day, and close after six."""
    days = np.arange(FIRST, FIRST + 10)
    opens = days * DAY + 300 * SECOND
    return Sessions(days, opens, opens + 360 * SECOND, hours=MarketHours(300 * SECOND, 600 * SECOND))


@pytest.mark.parametrize("hours", ["regular", "extended", "all"])
def test_a_split_takes_effect_before_the_open_also_in_rules_for_regular_hours(hours: str) -> None:
    rules = (RULES + TICK_RULES).replace("[[rule]]", f'[[rule]]\nsession = "{hours}"')
    day, intervals, sessions = FIRST + 4, ["1m", "1d"], with_extended_hours()
    traded = run(engine(rules, intervals, known(day, new=4), sessions), trade_records(3, 4, day))
    uniform = run(engine(rules, intervals, known(), sessions), trade_records(3, 1, day))
    assert_same_values(traded, uniform, day)
    expected = facts_after(uniform, day)
    assert len(expected) >= 5
    assert facts_after(traded, day) == expected


@pytest.mark.parametrize("size", [7, 100])
def test_results_do_not_depend_on_batches_or_snapshots(size: int) -> None:
    splits, records = known(FIRST + 2, FIRST + 4), trade_records(1, 4, FIRST + 4)
    whole = run(engine(RULES + TICK_RULES, ["1m", "1d"], splits), records)
    subject = engine(RULES + TICK_RULES, ["1m", "1d"], splits)
    # within the first minute of the session in new shares
    middle = 4 * TRADES_A_DAY + 2
    parts = run(subject, records[:middle], size)
    other = engine(RULES + TICK_RULES, ["1m", "1d"], splits)
    engine_state.restore(other, 0, engine_state.snapshot(subject, 0))
    parts += [
        other.process(batch(records[start : min(start + size, len(records))], first_offset=start))
        for start in range(middle, len(records), size)
    ]
    assert [one.to_json() for one in alerts_of(parts)] == [one.to_json() for one in alerts_of(whole)]
    assert values_after(parts, 0) == values_after(whole, 0)


MOVE_RULES: Final = """
[[rule]]
kind = "gap_open"
pct = 10
critical = 25
[[rule]]
kind = "pct_change"
pct = 10
"""


def move_on(day: int, ratio: float, splits: KnownSplits) -> list[Alert]:
    """Return the alerts of a day that opens and closes at a ratio to 25 days at 100."""
    records = [
        msgspec.json.encode(
            {
                "schema": "bar.v1", "instrument_id": "AAPL.XNAS", "interval": "1d",
                "session_date": str(np.datetime64(session, "D")), "volume": 1000,
                "ts_open_ns": session * DAY, "ts_close_ns": (session + 1) * DAY,
                **dict.fromkeys(("open", "high", "low", "close"), round(price, 4)),
            }
        )
        for session, price in [
            *((FIRST + n, 100 + n % 2) for n in range(25)),
            (day, 100 * ratio),
        ]
    ]  # fmt: skip
    outputs = run(engine(MOVE_RULES, ["1d"], splits), records)
    return [one for one in alerts_of(outputs) if one.state == "fired" and one.ts_event_ns > day * DAY]


def test_a_known_split_is_no_move() -> None:
    day = FIRST + 25
    assert move_on(day, 0.25, known(day)) == []
    assert move_on(day, 1.02 / 8, known(day, new=8)) == []
    assert move_on(day, 20.5, known(day, new=1, old=20)) == []
    # it can have taken effect on a day without a bar, and in several steps
    assert move_on(day + 9, 0.25, known(day + 3)) == []
    assert move_on(day + 9, 1 / 16, known(day + 3, day + 9)) == []
    assert move_on(day, 0.25, known(day, name="AAPL.XNAS")) == []


def test_a_move_beyond_a_known_split_is_measured_in_new_shares() -> None:
    day = FIRST + 25
    (move,) = move_on(day, 20 * 0.87, known(day, new=1, old=20))
    assert (move.severity, move.cause) == ("warning", "market")
    assert move.message == (
        "AAPL fell 13.0% in 1d: 1,740.00 from 2,000.00, volume 1,000, 20 × usual"
        "; prices are those after a 1:20 reverse split; 13.0% down at the open"
    )
    (move,) = move_on(day, 0.25 * 0.6, known(day))
    assert (move.severity, move.cause) == ("critical", "market")
    assert "AAPL fell 40.0% in 1d" in move.message
    assert "; prices are those after a 4:1 split" in move.message


def test_what_a_covered_symbol_does_not_list_is_no_split() -> None:
    day = FIRST + 25
    (move,) = move_on(day, 0.25, known(day + 1))
    assert (move.severity, move.cause) == ("critical", "market")
    assert "split" not in move.message
    # of another symbol nothing is known, so the ratio decides
    (move,) = move_on(day, 0.25, known(day + 1, name="MSFT"))
    assert (move.severity, move.cause) == ("warning", "probable_split")


def test_a_split_before_the_first_bar_changes_nothing() -> None:
    records = bar_records(3, 1)
    first = run(engine(RULES, ["1d"], known(FIRST)), records)
    assert facts_after(first, FIRST) == facts_after(run(engine(RULES, ["1d"], known()), records), FIRST)


def test_prices_without_a_range_are_converted_too() -> None:
    """An indicator that skips a bar of which only the close is known has state in old shares otherwise."""
    day = FIRST + 20

    def closes_only(ratio: int) -> list[bytes]:
        records = []
        for number, record in enumerate(bar_records(5, ratio, day, days=40)):
            fields = msgspec.json.decode(record)
            if 18 <= number <= 21:
                fields |= dict.fromkeys(("open", "high", "low"))
            records.append(msgspec.json.encode(fields))
        return records

    traded = run(engine("", ["1d"], known(day, new=4)), closes_only(4))
    uniform = run(engine("", ["1d"], known()), closes_only(1))
    assert_same_values(traded, uniform, day)


def test_prices_that_are_adjusted_already_are_left_alone() -> None:
    day = FIRST + 25
    for ratio, splits in ((1.0, known(day)), (0.93, known(day, new=5)), (1.06, known(day, new=1, old=20))):
        assert move_on(day, ratio, splits) == []
    (move,) = move_on(day, 0.8, known(day))
    assert (move.cause, move.severity) == ("market", "warning")
    assert "split" not in move.message
    records = bar_records(7, 1)
    adjusted = run(engine(RULES, ["1d"], known(SPLIT_DAY)), records)
    plain = run(engine(RULES, ["1d"], known()), records)
    assert values_after(adjusted, 0) == values_after(plain, 0)
    assert facts_after(adjusted, 0) == facts_after(plain, 0)
