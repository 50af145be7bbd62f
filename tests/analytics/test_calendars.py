"""The sessions of markets: calendars, changes of the settings, and what the user is told of them."""

import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.analytics.bars import Ints
from tickerlake.analytics.calendars import MarketSessions, SessionDates, change_sessions
from tickerlake.analytics.market_calendars import calendar_of_mic
from tickerlake.analytics.market_hours import MarketHours
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions, load_sessions
from tickerlake.errors import UsageError
from tickerlake.session_changes import ExtraSession, SessionChanges

EPOCH = date(1970, 1, 1)
DAY_NS = 86_400 * 10**9
KOLKATA, CHICAGO = "Asia/Kolkata", "America/Chicago"
BUDGET_SATURDAY = ExtraSession(date(2025, 2, 1), time(9, 15), time(15, 30))
BROKEN = ("ASEX", "XBEL", "XBSE", "XCYS", "XTAE")
"""Calendars that some releases of `exchange_calendars` list and cannot compute."""


@pytest.fixture
def no_broken_calendars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every release fail for the same calendars, in the worst way."""

    def load(calendar: str, first_year: int, last_year: int) -> Sessions:
        if calendar in BROKEN:
            raise UsageError(f"cannot compute {calendar}")
        return load_sessions(calendar, first_year, last_year)

    monkeypatch.setattr("tickerlake.analytics.calendars.load_sessions", load)


def number(day: date | str) -> int:
    return ((date.fromisoformat(day) if isinstance(day, str) else day) - EPOCH).days


def utc_ns(zone: str, *texts: str) -> Ints:
    times = (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)) for text in texts)
    return np.array([int(each.timestamp()) * 10**9 for each in times])


def session_dates(sessions: Sessions, zone: str, *texts: str) -> list[str]:
    days, _, _ = sessions.lookup(utc_ns(zone, *texts))
    return [str(EPOCH + timedelta(int(day))) for day in days]


@pytest.mark.parametrize(
    ("mic", "calendar"),
    [
        *((mic, "XNYS") for mic in "XNAS XNYS ARCX BATS IEXG XASE EDGX MEMX OOTC XCBO".split()),
        *((mic, "CMES") for mic in "XCME XCBT XNYM XCEC GLBX CMES".split()),
        *((mic, "IEPA") for mic in "IFUS IFEU IEPA".split()),
        *(("XNSE", "XBOM"), ("XBOM", "XBOM"), ("XSHE", "XSHG"), ("XKOS", "XKRX"), ("ROCO", "XTAI")),
        *(("XTKS", "XTKS"), ("XETR", "XETR"), ("XBER", "XFRA"), ("XEUR", "XEUR"), ("XCBF", "XCBF")),
        *(("XTSX", "XTSE"), ("XCNQ", "XTSE"), ("NEOE", "XTSE"), ("MISX", "XMOS"), ("XATH", "ASEX")),
        *(("XXXX", None), ("ZZZZ", None), ("XIMC", None)),
    ],
)
def test_markets_have_calendars(mic: str, calendar: str | None) -> None:
    assert calendar_of_mic(mic) == calendar


def test_every_calendar_of_the_table_exists() -> None:
    import exchange_calendars

    from tickerlake.analytics.market_calendars import _CALENDAR_OF, _MARKETS

    assert set(_MARKETS) <= set(exchange_calendars.get_calendar_names(include_aliases=False))
    assert all(len(mic) == 4 for mic in _CALENDAR_OF)
    names = [*_MARKETS, *(mic for mics in _MARKETS.values() for mic in mics.split())]
    assert sorted(names) == sorted(_CALENDAR_OF), "a market is there twice"


def test_futures_of_chicago_and_new_york_begin_on_the_evening_before() -> None:
    sessions_of = MarketSessions("24/7")
    for mic in ("XCME", "XCBT", "XNYM", "XCEC", "GLBX"):
        times = ("2024-05-06T17:00", "2024-05-07T15:59", "2024-05-05T17:00")
        assert session_dates(sessions_of(mic), CHICAGO, *times) == ["2024-05-07", "2024-05-07", "2024-05-06"]
    assert not sessions_of.take_notes()


def test_the_calendar_library_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from tickerlake.analytics.market_calendars import calendar_of_mic as of; of('XNAS'); "
        "of('XXXX'); of('XCME'); assert 'exchange_calendars' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("no_broken_calendars")
def test_calendars_that_cannot_be_computed_are_named_once_and_fall_back() -> None:
    sessions_of = MarketSessions("24/7")
    for mic in (*BROKEN, "XNAS", "XATH", *BROKEN):
        assert (sessions_of(mic) is ALWAYS_OPEN) == (mic != "XNAS")
    (note,) = sessions_of.take_notes()
    assert note == (
        "exchange_calendars cannot compute the calendars ASEX, XBEL, XBSE, XCYS, XTAE: their symbols trade "
        "round the clock. List the sessions in tickerlake.toml ([calendar.ASEX])."
    )
    assert sessions_of("XTAE") is ALWAYS_OPEN
    assert not sessions_of.take_notes()


@pytest.mark.usefixtures("no_broken_calendars")
def test_calendars_that_cannot_be_computed_fall_back_to_the_one_of_unknown_markets() -> None:
    sessions_of = MarketSessions("XNYS")
    assert sessions_of("XTAE") is sessions_of("ZZZZ") is sessions_of("XNAS")
    (note,) = sessions_of.take_notes()
    assert note.startswith("exchange_calendars cannot compute the calendar XTAE: its symbols use XNYS.")


@pytest.mark.parametrize("calendar", ["ASEX", "XTAE"])
def test_the_calendar_of_unknown_markets_must_be_usable(
    monkeypatch: pytest.MonkeyPatch, calendar: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("Special dates" * 10_000)

    monkeypatch.setattr("exchange_calendars.get_calendar", fail)
    with pytest.raises(UsageError) as caught:
        MarketSessions(calendar)
    assert calendar in str(caught.value)
    assert len(str(caught.value)) < 200


def test_markets_without_a_calendar_are_named_once() -> None:
    sessions_of = MarketSessions("24/7")
    for mic in ("ZZZZ", "XXXX", "XNAS", "YYYY", "ZZZZ"):
        sessions_of(mic)
    (note,) = sessions_of.take_notes()
    assert note.startswith(
        "the exchange of some symbols is unknown, and no calendar is known for YYYY, ZZZZ; "
        "they count as trading round the clock. Use --calendar,"
    )
    sessions_of("ZZZZ")
    assert not sessions_of.take_notes()
    sessions_of("AAAA")
    assert sessions_of.take_notes()[0].startswith("no calendar is known for AAAA; they")
    for n in range(3_000):
        sessions_of(f"{n:04}")
    assert len(sessions_of.take_notes()[0]) < 300


def test_the_calendar_of_unknown_markets_can_be_named_by_a_market() -> None:
    assert MarketSessions("XCME")("XXXX").zone == CHICAGO


def test_with_a_calendar_for_them_unknown_markets_need_no_note() -> None:
    sessions_of = MarketSessions("XNYS")
    assert sessions_of("XXXX") is sessions_of("ZZZZ") is sessions_of("XNAS")
    assert not sessions_of.take_notes()


# changes of the settings


def test_an_extra_session_has_its_trades() -> None:
    times = ("2025-01-31T15:29", "2025-02-01T09:15", "2025-02-01T15:29", "2025-02-03T09:15")
    plain = MarketSessions("24/7")("XBOM")
    assert session_dates(plain, KOLKATA, *times)[1] == "2025-01-31"
    changes = SessionChanges(extra=(BUDGET_SATURDAY,))
    sessions = MarketSessions("24/7", {"XBOM": changes})("XBOM")
    assert session_dates(sessions, KOLKATA, *times) == [
        "2025-01-31",
        "2025-02-01",
        "2025-02-01",
        "2025-02-03",
    ]
    open_ns, close_ns = sessions.lookup(utc_ns(KOLKATA, "2025-02-01T12:00"))[1:]
    assert [*open_ns, *close_ns] == utc_ns(KOLKATA, "2025-02-01T09:15", "2025-02-01T15:30").tolist()
    assert len(sessions) == len(plain) + 1


def test_changes_of_a_calendar_apply_to_its_markets_and_those_of_a_market_to_it_alone() -> None:
    evening = ExtraSession(date(2024, 11, 1), time(18), time(19))
    changes = {
        "XBOM": SessionChanges(extra=(BUDGET_SATURDAY,)),
        "XNSE": SessionChanges(extra=(evening,)),
    }
    sessions_of = MarketSessions("24/7", changes)
    times = ("2025-02-01T10:00", "2024-11-01T18:30")
    assert session_dates(sessions_of("XBOM"), KOLKATA, *times) == ["2025-02-01", "2024-10-31"]
    assert session_dates(sessions_of("XNSE"), KOLKATA, *times) == ["2025-02-01", "2024-11-01"]


def test_a_closed_day_has_no_session_and_an_extra_one_replaces_the_hours() -> None:
    half_day = ExtraSession(date(2024, 5, 8), time(9, 30), time(13))
    changes = SessionChanges(extra=(half_day,), closed=(date(2024, 5, 7), date(2024, 5, 11)))
    sessions = MarketSessions("XNYS", {"XNYS": changes})("ZZZZ")
    zone = "America/New_York"
    assert session_dates(sessions, zone, "2024-05-07T10:00", "2024-05-08T12:59") == ["2024-05-08"] * 2
    assert number("2024-05-07") not in sessions.dates
    _, _, close_ns = sessions.lookup(utc_ns(zone, "2024-05-08T14:00"))
    assert close_ns.tolist() == utc_ns(zone, "2024-05-08T13:00").tolist()


def test_a_session_that_closes_before_it_opens_opens_on_the_day_before() -> None:
    sunday = ExtraSession(date(2024, 5, 5), time(17), time(16))
    sessions = MarketSessions("24/7", {"XCME": SessionChanges(extra=(sunday,))})("XCME")
    assert session_dates(sessions, CHICAGO, "2024-05-04T17:00", "2024-05-05T15:59") == ["2024-05-05"] * 2
    assert session_dates(sessions, CHICAGO, "2024-05-05T17:00") == ["2024-05-06"]


@pytest.mark.usefixtures("no_broken_calendars")
@pytest.mark.parametrize("code", [*BROKEN, "XATH"])
def test_the_settings_can_list_the_sessions_of_a_calendar_that_cannot_be_computed(code: str) -> None:
    extra = tuple(ExtraSession(date(2026, 3, day), time(10), time(17, 25)) for day in (2, 3, 4))
    sessions_of = MarketSessions("24/7", {code: SessionChanges(extra=extra)})
    assert len(sessions_of(code)) == 3
    zone = sessions_of(code).zone
    assert zone in "Europe/Athens Europe/Belgrade Europe/Bucharest Asia/Nicosia Asia/Jerusalem".split()
    assert (
        session_dates(sessions_of(code), zone, "2026-03-03T09:00", "2026-03-03T18:00") == ["2026-03-03"] * 2
    )
    assert not sessions_of.take_notes()


def test_changes_that_cannot_be_made_are_errors() -> None:
    with pytest.raises(UsageError, match=r"calendar\.XBMO in the settings: there is no calendar"):
        MarketSessions("24/7", {"XBMO": SessionChanges()})
    # opens on the evening before, when the session of that day still trades
    late = ExtraSession(date(2024, 5, 8), time(15), time(14))
    with pytest.raises(UsageError, match="the session of 2024-05-08 opens before that of 2024-05-07 closes"):
        MarketSessions("24/7", {"XNYS": SessionChanges(extra=(late,))})("XNAS")


_TIMES = st.times().map(lambda at: at.replace(microsecond=0))
_EXTRA = st.builds(ExtraSession, st.dates(date(2024, 1, 1), date(2024, 3, 31)), _TIMES, _TIMES)


@given(
    st.lists(_EXTRA, max_size=6, unique_by=lambda each: each.date),
    st.sets(st.dates(date(2024, 1, 1), date(2024, 3, 31)), max_size=6),
    st.sampled_from(["Asia/Kolkata", "America/New_York", "Australia/Sydney", "UTC"]),
)
def test_changed_sessions_are_the_unchanged_ones_and_the_extra_ones(
    extra: list[ExtraSession], closed: set[date], zone: str
) -> None:
    closed -= {each.date for each in extra}
    base_days = [number(date(2024, 1, 1)) + n for n in range(90) if n % 7 < 5]
    opens = np.array([day * 86_400 + 36_000 for day in base_days]) * 10**9
    days = np.array(base_days)
    breaks_ns = (days * DAY_NS + 1, days * DAY_NS + 2)
    base = Sessions(days, opens, opens + 6 * 3_600 * 10**9, zone, *breaks_ns, MarketHours(1, 2))
    changes = SessionChanges(tuple(extra), tuple(closed))
    expected: dict[int, tuple[int, int]] = {
        int(day): (int(open_ns), int(close_ns))
        for day, open_ns, close_ns in zip(base.dates, base.open_ns, base.close_ns, strict=True)
        if EPOCH + timedelta(int(day)) not in closed
    }
    for each in extra:
        close = datetime.combine(each.date, each.close, ZoneInfo(zone))
        first_day = each.date if each.open < each.close else each.date - timedelta(1)
        open_ = datetime.combine(first_day, each.open, ZoneInfo(zone))
        expected[number(each.date)] = (int(open_.timestamp()) * 10**9, int(close.timestamp()) * 10**9)
    ordered = [expected[day] for day in sorted(expected)]
    if any(first[1] > second[0] for first, second in pairwise(ordered)):
        with pytest.raises(UsageError, match="opens before that of"):
            change_sessions(base, changes, "XBOM")
        return
    changed = change_sessions(base, changes, "XBOM")
    assert changed.dates.tolist() == sorted(expected)
    assert list(zip(changed.open_ns.tolist(), changed.close_ns.tolist(), strict=True)) == ordered
    assert changed.zone == zone
    assert changed.market_hours is base.market_hours
    added = {number(each.date) for each in extra}
    breaks = {day: (0, 0) if day in added else (day * DAY_NS + 1, day * DAY_NS + 2) for day in expected}
    bounds = zip(changed.break_start_ns.tolist(), changed.break_end_ns.tolist(), strict=True)
    assert dict(zip(changed.dates.tolist(), bounds, strict=True)) == breaks


# session dates of lakes


def test_session_dates_follow_the_changes_and_say_what_is_unknown() -> None:
    notes: list[str] = []
    changes = {"XBOM": SessionChanges(extra=(BUDGET_SATURDAY,))}
    dates = SessionDates("24/7", changes, notes.append)
    times_ns = pl.Series(utc_ns(KOLKATA, "2025-02-01T10:00", "2025-02-01T10:00", "2025-02-01T10:00"))
    result = dates(pl.Series(["500325.BO.XBOM", "A.ZZZZ", "B.XXXX"]), times_ns)
    assert result.to_list() == [date(2025, 2, 1)] * 3
    (note,) = notes
    assert note.startswith("the exchange of some symbols is unknown, and no calendar is known for ZZZZ;")
    dates(pl.Series(["C.ZZZZ"]), times_ns[:1])
    assert len(notes) == 1


def test_session_dates_say_that_a_day_has_no_session() -> None:
    notes: list[str] = []
    dates = SessionDates("24/7", on_note=notes.append)
    first_ns = int(utc_ns(KOLKATA, "2024-01-20T09:15")[0])
    times_ns = pl.Series(first_ns + np.arange(100) * 60 * 10**9)
    result = dates(pl.repeat("A.XNSE", 100, eager=True), times_ns)
    assert result.unique().to_list() == [date(2024, 1, 19)]
    (note,) = notes
    assert note == (
        "XNSE has records from 09:15 on Saturday, 2024-01-20, when its calendar has no session; they count "
        "as traded outside the hours of 2024-01-19. If it was a session, write its hours in tickerlake.toml: "
        '[calendar.XNSE] extra = [{ date = 2024-01-20, open = "09:15", close = "…" }]'
    )
    assert datetime.fromtimestamp(first_ns / 1e9, UTC).date() == date(2024, 1, 20)
