"""Real days and kinds of days: which openings are splits."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from alerts.alert_builders import MINUTES, bars, close_bars, daily_bars, make_engine
from tickerlake.alerts.splits import HISTORY_SESSIONS, SplitDetector
from tickerlake.analytics.bars import Bars
from tickerlake.model.split import SPLIT_RATIOS


class Day(NamedTuple):
    """A session after ``sessions`` others.

    Parameters
    ----------
    before, opened, closed
        The last close, and the day's open and close.
    volume
        Shares traded, in medians of the sessions before, as the tape counts them.
    usual
        The size of an overnight move that one of ten earlier sessions exceeded.
    """

    before: float
    opened: float
    closed: float
    volume: float
    usual: float = 0.006


SPLIT_DAYS = {
    "AAPL 2000-06-21 2:1": (Day(101.25, 50.50, 55.63, 2.7), "2:1"),
    "AAPL 2014-06-09 7:1": (Day(645.57, 92.70, 93.70, 7.2), "7:1"),
    "AAPL 2020-08-31 4:1": (Day(499.23, 127.58, 129.04, 4.9), "4:1"),
    "TSLA 2020-08-31 5:1, +12.6% by the close": (Day(2213.40, 444.61, 498.32, 8.0, 0.03), "5:1"),
    "TSLA 2022-08-25 3:1": (Day(891.29, 302.36, 296.07, 2.0, 0.02), "3:1"),
    "AMZN 2022-06-06 20:1": (Day(2447.00, 125.25, 124.79, 30.0, 0.015), "20:1"),
    "NVDA 2024-06-10 10:1": (Day(1208.88, 120.37, 121.79, 7.0, 0.015), "10:1"),
    "AIG 1998-08-03 3:2": (Day(150.8125, 100.5, 98.75, 1.3), "3:2"),
    "AIG 1999-08-02 5:4": (Day(116.125, 93.0625, 92.6875, 1.2), "5:4"),
    "AIG 2000-07-31 3:2, 2.2% above": (Day(128.3125, 87.4375, 87.6875, 2.04), "3:2"),
    "2:1 on twice the usual money (BNO 2013)": (Day(90.0, 45.2, 45.0, 4.3), "2:1"),
    "4:3": (Day(80.0, 60.1, 59.5, 1.5, 0.01), "4:3"),
    "5:3": (Day(100.0, 60.1, 61.0, 1.7, 0.01), "5:3"),
    "1:10 in a volatile stock": (Day(0.62, 6.10, 5.60, 0.15, 0.08), "1:10"),
    "4:1 in a stock that opens 4% off": (Day(400.0, 104.0, 108.0, 5.0, 0.045), "4:1"),
    "1:4": (Day(3.0, 12.1, 12.4, 0.3, 0.04), "1:4"),
    **{
        f"made {new}:1, 1.25 × the money": (Day(1000.0, 1000 / new, 1010 / new, 1.25 * new), f"{new}:1")
        for new in (2, 3, 4, 5, 7, 10, 20, 50)
    },
}  # fmt: skip

OTHER_DAYS = {
    "AAPL 2000-09-29, results": Day(53.50, 28.19, 25.75, 22.0, 0.03),
    "META 2018-07-26": Day(217.50, 174.89, 176.26, 9.0),
    "META 2022-02-03": Day(323.00, 244.65, 237.76, 8.0, 0.015),
    "META 2022-10-27": Day(129.82, 97.98, 97.94, 7.0, 0.02),
    "NFLX 2022-01-21": Day(508.25, 400.43, 397.50, 12.0, 0.015),
    "NFLX 2022-04-20": Day(348.61, 245.20, 226.19, 15.0, 0.015),
    "NVDA 2018-11-16, 0.9% from 5:4": Day(202.39, 163.32, 164.43, 3.2, 0.02),
    "BAC 2009-02-27, 0.1% from 5:4 in a stock that moves": Day(5.32, 4.25, 3.95, 1.0, 0.114),
    "BAC 2009-02-27, if it were calm: closes 7% below": Day(5.32, 4.25, 3.95, 1.0),
    "WM 2008-09-26, seized": Day(1.69, 0.17, 0.16, 0.003, 0.1),
    "IBM 2002-12-23, a bad open": Day(79.79, 159.58, 80.46, 0.8),
    "a bad open of half the price": Day(79.79, 39.90, 80.0, 1.1),
    "a penny stock, two ticks from 5:4": Day(0.31, 0.25, 0.25, 1.0),
    "a penny stock that usually moves as much": Day(1.55, 1.24, 1.25, 1.0, 0.06),
    "a seized bank that goes on falling": Day(7.04, 1.00, 0.73, 5.0, 0.05),
    "half the price on 12 × the shares": Day(100.0, 50.0, 49.0, 12.0),
    "half the price on 6 × the shares": Day(100.0, 50.0, 49.0, 6.0),
    "a fall by a third, 1% from 3:2, on 3 × the shares": Day(100.0, 67.3, 66.0, 3.0),
    "a fall by a fifth, exact, on 4 × the shares": Day(100.0, 80.0, 79.5, 4.0),
    "a fall by a fifth, exact, that goes on": Day(100.0, 80.0, 74.0, 1.0),
    "a fall by a quarter, exact, in a stock that moves": Day(100.0, 75.0, 75.0, 1.0, 0.06),
    "a tenth of the price, hardly traded": Day(50.0, 5.0, 5.0, 0.5),
    "a rise by half is no reverse split": Day(10.0, 15.0, 15.1, 1.0),
    "a calm stock that opens 4% off a ratio": Day(400.0, 104.0, 108.0, 5.0, 0.01),
    "6% off a ratio": Day(400.0, 106.1, 108.0, 5.0, 0.1),
    "between two ratios": Day(100.0, 44.0, 44.0, 1.0),
}


def make_bar(interval: str, day: int, opened: float, closed: float, volume: float, **fields: Any) -> Bars:
    """Return the day's bar, or its first minute."""
    make = daily_bars if interval == "1d" else bars
    return make([closed], day=day, open=[opened], volume=[volume], **fields)


def after_history(
    before: float, usual: float, interval: str = "1d", sessions: int = HISTORY_SESSIONS
) -> SplitDetector:
    """Return a detector after sessions that end at a price, with moves of up to ``usual`` overnight."""
    detector = SplitDetector()
    for table in detector.tables().values():
        table.grow(1)
    price = before
    for day in range(sessions):
        # three of twenty nights bring the move that one of ten exceeds, the others a fifth of it
        move = (usual if day % 7 == 3 else usual / 5) * (-1) ** day
        opened, price = price * np.exp(move), before
        detector.update(make_bar(interval, day, opened, price, 1000.0), {})
    return detector


def told(day: Day, interval: str = "1d", *, sessions: int = HISTORY_SESSIONS, forming: bool = False) -> str:
    """Return the ratio that the day is told as; empty for no split, with ``?`` if only possible."""
    detector = after_history(day.before, day.usual, interval, sessions)
    candidates = detector.detect(
        make_bar(interval, sessions, day.opened, day.closed, 1000.0 * day.volume), forming=forming
    )
    return "".join(
        f"{one.new_shares}:{one.old_shares}{'' if one.certainty == 'probable' else '?'}"
        for one in candidates.values()
    )


@pytest.mark.parametrize("name", SPLIT_DAYS)
def test_a_split(name: str) -> None:
    day, ratio = SPLIT_DAYS[name]
    assert told(day) == ratio
    # the first minute of the day knows no close
    assert told(day._replace(closed=day.opened), "1m") == ratio


@pytest.mark.parametrize("name", OTHER_DAYS)
def test_no_split(name: str) -> None:
    assert not told(OTHER_DAYS[name])


def test_the_close_of_the_first_minute_is_not_that_of_the_day() -> None:
    falling = Day(100.0, 25.0, 19.0, 4.0)
    assert told(falling, "1m") == "4:1"
    assert not told(falling)
    # one bar can be the whole session
    detector = after_history(100.0, 0.006, "1m")
    whole = make_bar("1m", HISTORY_SESSIONS, 25.0, 19.0, 4000.0, width=MINUTES)
    assert not detector.detect(whole)


def test_a_forming_bar_has_no_close_yet_and_little_volume() -> None:
    assert told(Day(100.0, 25.0, 19.0, 0.01), forming=True) == "4:1"
    assert not told(Day(100.0, 25.0, 25.0, 12.0), forming=True)


def test_without_a_history_a_split_is_possible_but_not_one_below_2() -> None:
    assert told(Day(100.0, 25.0, 25.0, 4.0), sessions=2) == "4:1?"
    assert not told(Day(100.0, 80.0, 80.0, 1.0), sessions=2)
    assert told(Day(100.0, 25.0, 25.0, np.nan)) == "4:1?"
    assert told(Day(100.0, 80.0, 80.0, np.nan)) == "5:4?"
    assert not told(Day(100.0, 79.0, 79.0, np.nan))


def test_a_split_does_not_make_the_next_one_usual() -> None:
    detector = after_history(100.0, 0.005)
    usual = detector.usual_move(0)
    for day, (opened, volume) in enumerate([(25.0, 4000.0), (20.0, 5000.0)], HISTORY_SESSIONS):
        one = make_bar("1d", day, opened, opened, volume)
        candidates = detector.detect(one)
        assert [each.certainty for each in candidates.values()] == ["probable"]
        detector.update(one, candidates)
    assert detector.usual_move(0) == pytest.approx(usual, rel=0.1)
    assert detector.median_volume(0) == pytest.approx(5000.0)


@pytest.mark.parametrize("seed", range(8))
def test_random_splits_and_crashes(seed: int) -> None:
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    for _ in range(40):
        new, old = SPLIT_RATIOS[random.integers(len(SPLIT_RATIOS))]
        is_small = 1 < new / old < 2
        usual = random.uniform(0.0, 0.02 if is_small else 0.1)
        before = float(np.exp(random.uniform(np.log(5), np.log(3000))))
        night = random.uniform(-1, 1) * (0.004 if is_small else 0.02)
        money = random.uniform(0.2, 2.8)
        opened = before * old / new * (1 + night)
        closed = before * old / new * (1 + random.uniform(-1, 1) * (0.04 if is_small else 0.14))
        day = Day(before, opened, closed, money * new / old, usual)
        assert told(day) == f"{new}:{old}", day
        # as much money as in a crash, hardly any, another price at the close, or a ratio of nothing
        assert not told(day._replace(volume=random.uniform(3.1, 30) * new / old)), day
        assert not told(day._replace(volume=random.uniform(0, 0.09) * new / old)), day
        assert not told(day._replace(closed=closed * random.choice([0.7, 1.4]))), day
        assert not told(day._replace(opened=before * random.uniform(0.83, 1.9), closed=before)), day
        if is_small:
            assert not told(day._replace(usual=random.uniform(1.1, 2) * np.log(new / old) / 5)), day


@pytest.mark.parametrize("scale", [0.25, 64.0])
def test_what_is_a_split_does_not_depend_on_the_unit_of_shares(scale: float) -> None:
    for name, (day, ratio) in SPLIT_DAYS.items():
        if day.before * min(scale, 1.0) >= 1:
            scaled = Day(day.before * scale, day.opened * scale, day.closed * scale, day.volume, day.usual)
            assert told(scaled) == ratio, name


def test_trades_before_the_open_do_not_hide_a_split() -> None:
    engine = make_engine(
        "".join(
            f'[[rule]]\nid = "{session}"\nkind = "pct_change"\npct = 15\ninterval = "1m"\n'
            f'window = 1\nsession = "{session}"\nclear_bars = 1\ncooldown = "1s"\n'
            for session in ("regular", "all")
        ),
        intervals=["1m"],
    )
    fired = []
    for day in range(22):
        k = 4 if day == 21 else 1
        for minute in (-2, -1, 0, 1, 2, 390):
            one = replace(
                bars([100 / k], day=day, minute=minute, volume=[1000 * k]),
                first_of_phase=np.array([minute in {-2, 0, 390}]),
            )
            fired += [alert for alert in close_bars(engine, "1m", one) if alert.state == "fired"]
    assert [(alert.rule_id, alert.cause) for alert in fired] == [
        ("all", "unknown"),
        ("regular", "probable_split"),
    ]
    assert fired[0].message.endswith("; may be a 4:1 split: usual volume not known")
    assert fired[1].message.endswith("; looks like a 4:1 split, not a crash")


def test_the_shares_of_a_split_are_no_volume_spike() -> None:
    engine = make_engine(
        '[[rule]]\nkind = "volume_spike"\ntimes = 3\nwarmup = 5\n[[rule]]\nkind = "gap_open"\npct = 10\n',
        intervals=["1d"],
    )
    fired = []
    for day in range(30):
        k = 20 if day >= 25 else 1
        # on the 28th day four times as much is traded
        volume = 1000 * k * (4 if day == 27 else 1)
        bar = make_bar("1d", day, 100 / k, 100 / k, volume)
        fired += [(day, one.kind) for one in close_bars(engine, "1d", bar) if one.state == "fired"]
    assert fired == [(25, "gap_open"), (27, "volume_spike")]
