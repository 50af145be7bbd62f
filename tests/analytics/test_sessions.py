from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.analytics.bars import Ints
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions, load_sessions
from tickerlake.errors import UsageError

DAY_NS = 86_400 * 10**9
ZONES = {"XNYS": "America/New_York", "XTKS": "Asia/Tokyo", "XBOM": "Asia/Kolkata", "CMES": "America/Chicago"}

load_cached = cache(load_sessions)


def days(*texts: str) -> Ints:
    return np.array([(date.fromisoformat(text) - date(1970, 1, 1)).days for text in texts])


def local_to_utc_ns(calendar: str, *texts: str) -> Ints:
    """Return the UTC nanoseconds of local times of an exchange."""
    zone = ZoneInfo(ZONES[calendar])
    times = (datetime.fromisoformat(text).replace(tzinfo=zone) for text in texts)
    return np.array([int(time.timestamp()) * 10**9 for time in times])


def local_times(calendar: str, times_ns: Ints) -> list[str]:
    zone = ZoneInfo(ZONES[calendar])
    times = [datetime.fromtimestamp(int(time) // 10**9, UTC).astimezone(zone) for time in times_ns]
    return [f"{time:%Y-%m-%d %H:%M}" for time in times]


@pytest.mark.parametrize(
    ("calendar", "day", "opens", "closes"),
    [
        ("XNYS", "2024-03-08", "2024-03-08 09:30", "2024-03-08 16:00"),
        ("XNYS", "2024-03-11", "2024-03-11 09:30", "2024-03-11 16:00"),
        ("XNYS", "2024-07-03", "2024-07-03 09:30", "2024-07-03 13:00"),
        ("XNYS", "2024-11-29", "2024-11-29 09:30", "2024-11-29 13:00"),
        ("XNYS", "2000-01-03", "2000-01-03 09:30", "2000-01-03 16:00"),
        ("XTKS", "2024-05-07", "2024-05-07 09:00", "2024-05-07 15:00"),
        ("XBOM", "2024-05-07", "2024-05-07 09:15", "2024-05-07 15:30"),
        ("CMES", "2024-05-07", "2024-05-06 17:00", "2024-05-07 17:00"),
    ],
)
def test_exchange_hours_are_correct(calendar: str, day: str, opens: str, closes: str) -> None:
    sessions = load_cached(calendar, 1990, 2025)
    open_ns, close_ns, *_ = sessions.hours(days(day))
    assert local_times(calendar, np.concatenate([open_ns, close_ns])) == [opens, closes]
    session, first_ns, last_ns = sessions.lookup(open_ns)
    assert (session, first_ns, last_ns) == (days(day), open_ns, close_ns)


def test_the_clock_change_moves_the_session_in_utc() -> None:
    open_ns, *_ = load_cached("XNYS", 1990, 2025).hours(days("2024-03-08", "2024-03-11"))
    assert (open_ns % DAY_NS // 60_000_000_000).tolist() == [14 * 60 + 30, 13 * 60 + 30]


@pytest.mark.parametrize(
    ("calendar", "local_time", "day"),
    [
        ("XNYS", "2024-05-07 09:29", "2024-05-07"),
        ("XNYS", "2024-05-07 04:00", "2024-05-07"),
        ("XNYS", "2024-05-07 16:00", "2024-05-07"),
        ("XNYS", "2024-05-07 19:59:59", "2024-05-07"),
        # overnight venues trade for the next session
        ("XNYS", "2024-05-07 20:00", "2024-05-08"),
        ("XNYS", "2024-05-05 20:00", "2024-05-06"),
        ("XNYS", "2024-05-08 00:45", "2024-05-08"),
        ("XNYS", "2024-05-03 19:59", "2024-05-03"),
        ("XNYS", "2024-05-06 04:00", "2024-05-06"),
        ("XNYS", "2024-11-29 16:59", "2024-11-29"),
        ("CMES", "2024-05-06 17:00", "2024-05-07"),
        ("CMES", "2024-05-06 23:00", "2024-05-07"),
        ("CMES", "2024-05-07 15:59", "2024-05-07"),
        ("CMES", "2024-05-05 17:00", "2024-05-06"),
        ("XTKS", "2024-05-07 08:00", "2024-05-07"),
        ("XBOM", "2024-05-07 18:00", "2024-05-07"),
    ],
)
def test_a_time_belongs_to_the_nearest_session(calendar: str, local_time: str, day: str) -> None:
    session, _, _ = load_cached(calendar, 1990, 2025).lookup(local_to_utc_ns(calendar, local_time))
    assert session == days(day)


def test_days_without_a_session_are_utc_days() -> None:
    christmas = days("2024-12-25", "2024-12-28", "1970-01-01", "2100-01-01")
    open_ns, close_ns, *_ = load_cached("XNYS", 1990, 2025).hours(christmas)
    assert (open_ns == christmas * DAY_NS).all()
    assert (close_ns == open_ns + DAY_NS).all()


def test_outside_of_the_table_a_session_is_the_utc_day() -> None:
    sessions = load_cached("XNYS", 2023, 2024)
    last = days("2024-12-31")
    times_ns = np.concatenate([days("2022-12-31", "2025-06-01") * DAY_NS + 5, last * DAY_NS + DAY_NS - 1])
    session, open_ns, close_ns = sessions.lookup(times_ns)
    assert (session == np.concatenate([days("2022-12-31", "2025-06-01"), last])).all()
    assert (open_ns[:2] == session[:2] * DAY_NS).all()
    assert (close_ns[:2] == open_ns[:2] + DAY_NS).all()
    assert local_times("XNYS", open_ns[2:]) == ["2024-12-31 09:30"]


@given(st.lists(st.integers(-(2**61), 2**61), max_size=5))
def test_without_a_calendar_a_session_is_the_utc_day(times: list[int]) -> None:
    times_ns = np.array(times, dtype=np.int64)
    session, open_ns, close_ns = ALWAYS_OPEN.lookup(times_ns)
    assert ((open_ns <= times_ns) & (times_ns < close_ns)).all()
    assert (close_ns - open_ns == DAY_NS).all()
    none = np.zeros_like(times_ns)
    for actual, expected in zip(ALWAYS_OPEN.hours(session), (open_ns, close_ns, none, none), strict=True):
        assert (actual == expected).all()


@given(st.data())
def test_no_other_session_is_nearer(data: st.DataObject) -> None:
    gaps = data.draw(
        st.lists(st.integers(1, 1000), min_size=2, max_size=20).filter(lambda x: len(x) % 2 == 0)
    )
    edges = np.cumsum(gaps).astype(np.int64)
    opens, closes = edges[::2], edges[1::2]
    sessions = Sessions(np.arange(len(opens)), opens, closes)
    times = np.array(data.draw(st.lists(st.integers(0, int(edges[-1]) + 500), min_size=1)), dtype=np.int64)
    session, open_ns, close_ns = sessions.lookup(times)
    distance = np.maximum(opens - times[:, np.newaxis], times[:, np.newaxis] - closes).clip(min=0)
    chosen = np.maximum(open_ns - times, times - close_ns).clip(min=0)
    # The middle of an odd number of nanoseconds can go either way.
    assert (chosen <= distance.min(axis=1) + 1).all()
    assert (opens[session] == open_ns).all()
    assert (closes[session] == close_ns).all()


@pytest.mark.parametrize(
    ("dates", "opens", "closes"),
    [
        ([1, 2], [10, 20], [15]),
        ([2, 1], [10, 20], [15, 25]),
        ([1, 2], [10, 20], [21, 25]),
        ([1, 2], [10, 20], [10, 25]),
    ],
)
def test_an_invalid_session_table_is_rejected(dates: list[int], opens: list[int], closes: list[int]) -> None:
    with pytest.raises(ValueError, match="sessions"):
        Sessions(np.array(dates), np.array(opens), np.array(closes))


def test_a_calendar_is_loaded_up_to_its_bounds() -> None:
    bombay = load_cached("XBOM", 1990, 2100)
    assert days("1997-01-01") <= bombay.dates[0] < days("1997-02-01")
    assert len(load_sessions("XSAU", 1990, 1995)) == 0
    new_york = load_cached("XNYS", 1990, 2025)
    assert new_york.dates[[0, -1]].tolist() == days("1990-01-02", "2025-12-31").tolist()
    assert new_york.dates.dtype == new_york.open_ns.dtype == new_york.close_ns.dtype == np.int64


def test_an_unknown_calendar_is_rejected_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"There is no exchange calendar 'xnyse'\. Did you mean XNYS\?"):
        load_sessions("xnyse", 2020, 2021)


def test_a_calendar_that_cannot_be_computed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NotImplementedError("no Easter" * 10_000)

    monkeypatch.setattr("exchange_calendars.get_calendar", fail)
    with pytest.raises(
        UsageError, match=r"^exchange_calendars \S+ cannot compute its calendar ASEX\."
    ) as caught:
        load_sessions("ASEX", 2020, 2021)
    assert len(str(caught.value)) < 120


def test_new_york_sessions_are_ordered_over_a_year_of_minutes() -> None:
    sessions = load_cached("XNYS", 1990, 2025)
    first = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    times_ns = first + np.arange(0, timedelta(days=366) // timedelta(minutes=7)) * 7 * 60 * 10**9
    session, open_ns, close_ns = sessions.lookup(times_ns)
    assert (np.diff(session) >= 0).all()
    inside = (times_ns >= open_ns) & (times_ns < close_ns)
    # 252 sessions, three of them half days.
    assert abs(inside.sum() * 7 - (252 * 390 - 3 * 180)) < 252 * 7
    assert len(np.unique(session)) == 252
