"""Pre-market, regular hours and after-hours: phases, the bars that follow from them, and their alerts."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.records import batch, trade
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import parse
from tickerlake.analytics.bar_times import BarTimes
from tickerlake.analytics.bars import Phase
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.market_hours import MarketHours
from tickerlake.analytics.sessions import InstrumentSessions, Sessions, load_sessions
from tickerlake.analytics.types import EngineOptions, Output

MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
PRE, REGULAR, AFTER, CLOSED = Phase


@cache
def sessions(calendar: str) -> Sessions:
    return load_sessions(calendar, 2024, 2024)


def utc_ns(calendar: str, *local_times: str) -> list[int]:
    zone = ZoneInfo(sessions(calendar).zone)
    times = [datetime.fromisoformat(text).replace(tzinfo=zone) for text in local_times]
    return [int(time.timestamp()) * 10**9 + time.microsecond * 1_000 for time in times]


def local_times(calendar: str, times_ns: Sequence[int]) -> list[str]:
    zone = ZoneInfo(sessions(calendar).zone)
    return [datetime.fromtimestamp(ns / 1e9, zone).strftime("%H:%M") for ns in times_ns]


@pytest.mark.parametrize(
    ("calendar", "time", "phase"),
    [
        ("XNYS", "2024-05-07 03:59:59", CLOSED),
        ("XNYS", "2024-05-07 04:00", PRE),
        ("XNYS", "2024-05-07 09:29:59", PRE),
        ("XNYS", "2024-05-07 09:30", REGULAR),
        ("XNYS", "2024-05-07 15:59:59", REGULAR),
        # the closing auction prints after the close
        ("XNYS", "2024-05-07 16:00:00.4", REGULAR),
        ("XNYS", "2024-05-07 16:00:02", AFTER),
        ("XNYS", "2024-05-07 19:59:59", AFTER),
        ("XNYS", "2024-05-07 20:00", CLOSED),
        ("XNYS", "2024-07-03 13:00:01", REGULAR),
        ("XNYS", "2024-07-03 16:59", AFTER),
        ("XNYS", "2024-05-05 12:00", CLOSED),
        ("XLON", "2024-05-07 16:35:12", REGULAR),
        ("XLON", "2024-05-07 16:45", AFTER),
        ("XHKG", "2024-05-07 09:20", REGULAR),
        ("XHKG", "2024-05-07 12:30", REGULAR),
        ("XHKG", "2024-05-07 16:08", REGULAR),
        ("XTKS", "2024-05-07 12:00", REGULAR),
        # a special session of a Saturday, which the calendar lacks
        ("XBOM", "2024-03-02 10:00", CLOSED),
        ("CMES", "2024-05-07 03:00", REGULAR),
    ],
)
def test_a_trade_has_a_phase(calendar: str, time: str, phase: Phase) -> None:
    at_ns = np.array(utc_ns(calendar, time))
    assert Phase(sessions(calendar).phases(at_ns, at_ns)[0]) is phase


@pytest.mark.parametrize(
    ("start", "minutes", "phase"),
    [
        ("09:00", 30, PRE),
        ("09:00", 60, REGULAR),
        ("15:59", 1, REGULAR),
        ("15:30", 60, REGULAR),
        # a minute of after-hours trading, whatever the auction printed in its first second
        ("16:00", 1, AFTER),
    ],
)
def test_a_bar_that_overlaps_regular_hours_is_regular(start: str, minutes: int, phase: Phase) -> None:
    start_ns = np.array(utc_ns("XNYS", f"2024-05-07 {start}"))
    assert Phase(sessions("XNYS").phases(start_ns, start_ns + minutes * MINUTE)[0]) is phase


def test_lunch_breaks_are_known() -> None:
    hours = sessions("XTKS").hours(np.array([19_850]))
    assert local_times("XTKS", [int(ns[0]) for ns in hours]) == ["09:00", "15:00", "11:30", "12:30"]
    assert [int(ns[0]) for ns in sessions("XNYS").hours(np.array([19_850]))[2:]] == [0, 0]


def instrument_sessions(calendar: str) -> InstrumentSessions:
    result = InstrumentSessions(lambda _: sessions(calendar))
    result.add(["XNYS"])
    return result


@pytest.mark.parametrize(
    ("interval", "day", "starts"),
    [
        ("1h", "2024-05-07", "08:30 09:30 10:30 14:30 15:30 16:00 17:00"),
        # the clocks changed: the same local times
        ("1h", "2024-01-09", "08:30 09:30 10:30 14:30 15:30 16:00 17:00"),
        ("30m", "2024-05-07", "09:00 09:30 10:00 15:00 15:30 16:00 16:30"),
        ("4h", "2024-05-07", "05:30 09:30 09:30 13:30 13:30 16:00 16:00"),
    ],
)
def test_long_bars_start_at_the_open_and_end_at_the_close(interval: str, day: str, starts: str) -> None:
    at_ns = utc_ns(
        "XNYS", *(f"{day} {t}" for t in ("09:29", "09:30", "10:30", "15:29", "15:59", "16:00", "17:15"))
    )
    expected = starts.split()
    if interval == "30m":
        at_ns = utc_ns(
            "XNYS", *(f"{day} {t}" for t in ("09:29", "09:30", "10:15", "15:29", "15:59", "16:00", "16:59"))
        )
    times = BarTimes(interval, instrument_sessions("XNYS"))
    row = np.zeros(len(at_ns), dtype=np.int64)
    start_ns, end_ns = times.boundaries(row, times.bucket(row, np.array(at_ns)))
    assert local_times("XNYS", start_ns.tolist()) == expected
    assert (end_ns <= start_ns + times.length_ns).all()
    assert local_times("XNYS", end_ns.tolist())[4] == "16:00"


def test_utc_alignment_is_the_clocks() -> None:
    times = BarTimes("1h", instrument_sessions("XNYS"), align="utc")
    at_ns = np.array(utc_ns("XNYS", "2024-05-07 09:45"))
    bucket = times.bucket(np.zeros(1, dtype=np.int64), at_ns)
    assert local_times("XNYS", times.boundaries(np.zeros(1, dtype=np.int64), bucket)[0].tolist()) == ["09:00"]


@given(
    st.sampled_from(["1m", "5m", "30m", "1h", "2h", "4h", "12h"]),
    st.sampled_from(["XNYS", "XTKS", "CMES", "XLON"]),
    st.lists(st.integers(1_704_000_000, 1_735_800_000), min_size=1, max_size=50),
)
def test_every_time_is_in_one_bar_that_does_not_span_an_open_or_a_close(
    interval: str, calendar: str, seconds: list[int]
) -> None:
    at_ns = np.sort(np.array(seconds)) * 10**9
    row = np.zeros(len(at_ns), dtype=np.int64)
    times = BarTimes(interval, instrument_sessions(calendar))
    bucket = times.bucket(row, at_ns)
    start_ns, end_ns = times.boundaries(row, bucket)
    assert (start_ns <= at_ns).all()
    assert (at_ns < end_ns).all()
    assert (np.diff(bucket) >= 0).all()
    assert (times.bucket(row, start_ns) == bucket).all()
    assert (times.bucket(row, end_ns - 1) == bucket).all()
    _, open_ns, close_ns = sessions(calendar).lookup(at_ns)
    if times.length_ns >= 30 * MINUTE:
        for edge_ns in (open_ns, close_ns):
            assert ~((start_ns < edge_ns) & (edge_ns < end_ns)).any()


def engine(watcher: AlertEngine | None = None, **options: object) -> Engine:
    defaults: dict[str, object] = {"intervals": ("1m", "1d"), "lateness_ns": 0, "max_ahead_ns": None}
    return Engine(EngineOptions(**defaults | options), lambda _: sessions("XNYS"), watcher)  # type: ignore[arg-type]


def trades(entries: Sequence[tuple[str, str, int]]) -> pl.DataFrame:
    return batch(
        [
            trade("AAA.XNYS", utc_ns("XNYS", time)[0], Decimal(price), Decimal(size))
            for time, price, size in entries
        ]
    )


DAY = [
    ("2024-05-07 07:00", "90", 10),
    ("2024-05-07 09:30:00", "100", 100),
    ("2024-05-07 12:00", "104", 100),
    ("2024-05-07 12:30", "98", 100),
    ("2024-05-07 15:59:59", "101", 100),
    ("2024-05-07 16:00:00.3", "102", 1_000),
    ("2024-05-07 18:00", "120", 10),
    ("2024-05-08 04:00", "95", 10),
]


def daily(output: Output) -> list[tuple[object, ...]]:
    bars = output.bars.filter(pl.col("interval") == "1d")
    return bars.select("open", "high", "low", "close", "volume").rows()


def test_a_daily_bar_is_regular_hours_with_the_auctions() -> None:
    assert daily(engine().process(trades(DAY))) == [(100, 104, 98, 102, 1_400)]


def test_a_daily_bar_of_all_hours_is_an_option() -> None:
    assert daily(engine(day="all").process(trades(DAY))) == [(90, 120, 90, 120, 1_420)]


def test_a_session_of_after_hours_trades_alone_has_no_daily_bar() -> None:
    made = [("2024-05-07 18:00", "120", 10), ("2024-05-08 09:30", "95", 10), ("2024-05-09 09:30", "95", 10)]
    assert daily(engine().process(trades(made))) == [(95, 95, 95, 95, 10)]


def minutes_of(
    day: str, first: str, count: int, price: Decimal, step: Decimal = Decimal("0.01")
) -> list[tuple[str, str, int]]:
    """Return a trade a minute whose price alternates by a step."""
    hour, minute = map(int, first.split(":"))
    return [
        (
            f"{day} {(hour * 60 + minute + n) // 60:02}:{(minute + n) % 60:02}:10",
            str(price + step * (n % 2)),
            100,
        )
        for n in range(count)
    ]


def fired(rules: str, entries: Sequence[tuple[str, str, int]]) -> list[tuple[str, str]]:
    watcher = AlertEngine(parse(rules, "test").rules, ("1m",))
    output = engine(watcher, intervals=("1m",)).process(trades(entries))
    return [
        (each.alert.rule_id, local_times("XNYS", [each.alert.ts_event_ns])[0])
        for each in output.alerts
        if each.alert.state == "fired"
    ]


GAP = '[[rule]]\nid = "gap"\nkind = "gap_open"\npct = 1\n'


@pytest.mark.parametrize("session", ["all", "regular"])
@pytest.mark.parametrize("pre_market", [False, True])
def test_a_gap_is_from_regular_close_to_regular_open(session: str, *, pre_market: bool) -> None:
    made = minutes_of("2024-05-07", "15:00", 60, Decimal(100))
    if pre_market:
        made += minutes_of("2024-05-07", "17:00", 20, Decimal(110))
        made += minutes_of("2024-05-08", "08:00", 60, Decimal(103))
    made += minutes_of("2024-05-08", "09:30", 5, Decimal(103))
    assert fired(f'{GAP}session = "{session}"', made) == [("gap", "09:31")]


def test_a_night_and_a_lunch_break_are_no_halts() -> None:
    rules = '[[rule]]\nid = "halt"\nkind = "halt"\nminutes = 5\nsession = "regular"'
    made = minutes_of("2024-05-07", "09:30", 390, Decimal(100))
    made += minutes_of("2024-05-08", "08:00", 60, Decimal(103))
    made += minutes_of("2024-05-08", "09:30", 60, Decimal(103))
    made += minutes_of("2024-05-08", "10:45", 10, Decimal(103))
    assert fired(rules, made) == [("halt", "10:46")]


def test_a_lunch_break_is_no_halt() -> None:
    rules = '[[rule]]\nid = "halt"\nkind = "halt"\nminutes = 5'
    watcher = AlertEngine(parse(rules, "test").rules, ("1m",))
    subject = Engine(EngineOptions(lateness_ns=0, max_ahead_ns=None), lambda _: sessions("XTKS"), watcher)
    open_ns, _, break_ns, resume_ns = (int(ns[0]) for ns in sessions("XTKS").hours(np.array([19_850])))
    # until 10 minutes before the break and from 20 minutes after it: only 30 of the 90 minutes are a pause
    times_ns = [
        *range(open_ns, break_ns - 10 * MINUTE, MINUTE),
        *range(resume_ns + 20 * MINUTE, resume_ns + 30 * MINUTE, MINUTE),
    ]
    made = [trade("7203.XTKS", ns, Decimal(100), Decimal(1)) for ns in times_ns]
    (alert,) = (each.alert for each in subject.process(batch(made)).alerts if each.alert.state == "fired")
    assert alert.value == 30 * 60
    # without a pause beside the break there is nothing to tell
    watcher = AlertEngine(parse(rules, "test").rules, ("1m",))
    subject = Engine(EngineOptions(lateness_ns=0, max_ahead_ns=None), lambda _: sessions("XTKS"), watcher)
    times_ns = [*range(open_ns, break_ns, MINUTE), *range(resume_ns, resume_ns + 30 * MINUTE, MINUTE)]
    made = [trade("7203.XTKS", ns, Decimal(100), Decimal(1)) for ns in times_ns]
    assert subject.process(batch(made)).alerts == []


@pytest.mark.parametrize(
    ("calendar", "last_trade", "closing_print", "halts"),
    [
        ("XHKG", "15:59:50", "16:08:20", []),  # the auction follows the close
        ("XLON", "16:29:50", "16:35:10", []),
        ("XKRX", "15:19:50", "15:30:00", []),  # it ends with the close
        ("XHKG", "15:30:50", "16:08:20", [19]),  # a halt, and then the auction
        ("XHKG", "15:30:50", "15:50:00", [19]),
    ],
)
def test_the_call_of_a_closing_auction_is_no_halt(
    calendar: str, last_trade: str, closing_print: str, halts: list[int]
) -> None:
    rules = '[[rule]]\nid = "halt"\nkind = "halt"\nminutes = 5'
    watcher = AlertEngine(parse(rules, "test").rules, ("1m",))
    subject = Engine(EngineOptions(lateness_ns=0, max_ahead_ns=None), lambda _: sessions(calendar), watcher)
    last, closing, after = utc_ns(
        calendar, f"2024-05-07 {last_trade}", f"2024-05-07 {closing_print}", "2024-05-08 10:00"
    )
    times_ns = [*range(last - 60 * MINUTE, last + 1, MINUTE), closing, after]
    made = [trade(f"X.{calendar}", ns, Decimal(100), Decimal(1)) for ns in times_ns]
    alerts = [each.alert for each in subject.process(batch(made)).alerts if each.alert.state == "fired"]
    assert [alert.value for alert in alerts] == [minutes * 60 for minutes in halts]


def test_regular_and_extended_hours_have_their_own_baselines() -> None:
    rules = '[[rule]]\nid = "move"\nkind = "zscore"\nwarmup = 30\ncooldown = "1m"\nsession = "{}"'
    quiet, wild = Decimal("0.01"), Decimal("0.50")
    made = minutes_of("2024-05-07", "09:30", 390, Decimal(100), wild)
    made += minutes_of("2024-05-07", "17:00", 120, Decimal(100), quiet)
    # the same small move is news after the close, and none in regular hours
    made += [("2024-05-07 19:00:10", "100.30", 100)]
    made += minutes_of("2024-05-08", "09:30", 60, Decimal(100), wild)
    made += [("2024-05-08 10:30:10", "100.30", 100)]
    for session, expected in (("all", ["19:01"]), ("extended", ["19:01"]), ("regular", [])):
        assert [time for _, time in fired(rules.format(session), made)] == expected, session


def test_a_small_print_in_thin_trading_is_no_move() -> None:
    rules = '[[rule]]\nid = "move"\nkind = "zscore"\nsession = "extended"\nleast = {}'
    made = minutes_of("2024-05-07", "17:00", 120, Decimal(100))
    made += [("2024-05-07 19:00:10", "103", 40), ("2024-05-07 19:01:10", "103", 40)]
    assert len(fired(rules.format(0), made)) == 1
    assert fired(rules.format(50), made) == []


def test_the_vwap_begins_anew_at_the_open() -> None:
    made = minutes_of("2024-05-07", "08:00", 30, Decimal(90), Decimal(0))
    made += minutes_of("2024-05-07", "09:30", 30, Decimal(100), Decimal(0))
    made += minutes_of("2024-05-07", "16:30", 30, Decimal(200), Decimal(0))
    output = engine(intervals=("1m",), indicators=("VWAP",)).process(trades(made))
    values = [float(text.partition(":")[2].rstrip("}")) for text in output.indicators["values"].to_list()]
    # an instrument's first bar is partial, and has no value; its last one is open
    assert values[:29] == [90] * 29
    assert values[29:59] == [100] * 30
    assert values[59] == pytest.approx((30 * 100 + 200) / 31)


def test_phase_numbers_are_stable() -> None:
    # snapshots contain them
    assert [each.value for each in Phase] == [0, 1, 2, 3]


def test_an_unknown_market_has_sessions_halfway_between_close_and_open() -> None:
    hours = MarketHours(HOUR, HOUR)
    opens = np.array([10, 34]) * HOUR
    subject = Sessions(np.array([0, 1]), opens, opens + 8 * HOUR, hours=hours)
    assert subject.lookup(np.array([25 * HOUR, 27 * HOUR]))[0].tolist() == [0, 1]
    overnight = Sessions(
        np.array([0, 1]), opens, opens + 8 * HOUR, hours=hours._replace(ends_after_hours=True)
    )
    assert overnight.lookup(np.array([18 * HOUR, 19 * HOUR, 27 * HOUR]))[0].tolist() == [0, 1, 1]
