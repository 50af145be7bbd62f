"""Records on days on which the calendar of their market has no session."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickerlake.analytics.bars import Ints
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import ALWAYS_OPEN, Sessions, load_sessions
from tickerlake.analytics.types import EngineOptions
from tickerlake.analytics.unscheduled import UnscheduledRecords
from tickerlake.model.duration import DAY_NS
from tickerlake.session_changes import ExtraSession, SessionChanges

MINUTE_NS = 60 * 10**9
ZONES = {
    "XBOM": "Asia/Kolkata",
    "XNYS": "America/New_York",
    "CMES": "America/Chicago",
    "XTKS": "Asia/Tokyo",
    "XLON": "Europe/London",
}


@cache
def sessions_of(mic: str) -> Sessions:
    return load_sessions(mic, 2023, 2025) if mic in ZONES else ALWAYS_OPEN


def local_ns(mic: str, text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONES[mic])).timestamp()) * 10**9


def counted(mic: str, times_ns: Iterable[int]) -> UnscheduledRecords:
    unscheduled = UnscheduledRecords(sessions_of)
    unscheduled.add([mic])
    times = np.fromiter(times_ns, dtype=np.int64)
    unscheduled.count(np.zeros(len(times), dtype=np.int64), times)
    return unscheduled


@pytest.mark.parametrize(
    ("mic", "first", "day"),
    [
        ("XBOM", "2024-01-20T09:15", "Saturday, 2024-01-20"),
        ("XBOM", "2024-03-02T09:15", "Saturday, 2024-03-02"),
        ("XBOM", "2025-02-01T09:15", "Saturday, 2025-02-01"),
        # an hour on the evening of a holiday
        ("XBOM", "2024-11-01T18:00", "Friday, 2024-11-01"),
        ("XNYS", "2024-07-04T09:30", "Thursday, 2024-07-04"),
        ("XTKS", "2024-05-04T09:00", "Saturday, 2024-05-04"),
        ("CMES", "2024-05-04T10:00", "Saturday, 2024-05-04"),
        ("XLON", "2024-12-28T08:00", "Saturday, 2024-12-28"),
    ],
)
def test_a_session_that_the_calendar_lacks_is_said_once(mic: str, first: str, day: str) -> None:
    times = [local_ns(mic, first) + n * MINUTE_NS for n in range(60)]
    unscheduled = counted(mic, times)
    (note,) = unscheduled.take_notes()
    assert note.startswith(f"{mic} has records from {first[-5:]} on {day}, when its calendar has no session;")
    assert f"[calendar.{mic}] extra = [{{ date = {first[:10]}, open = " in note
    assert unscheduled.totals() == {mic: (60, 1)}
    unscheduled.count(np.zeros(60, dtype=np.int64), np.array(times) + MINUTE_NS)
    assert not unscheduled.take_notes()
    assert unscheduled.totals() == {mic: (120, 1)}


def test_a_market_without_a_calendar_of_its_own_is_said_to_have_that_of_the_option() -> None:
    unscheduled = UnscheduledRecords(MarketSessions("XNYS"))
    unscheduled.add(["XXXX"])
    first_ns = local_ns("XNYS", "2024-05-04T10:00")
    unscheduled.count(np.zeros(60, dtype=np.int64), first_ns + np.arange(60) * MINUTE_NS)
    (note,) = unscheduled.take_notes()
    assert note.startswith(
        "XXXX has records from 10:00 on Saturday, 2024-05-04, when the calendar of --calendar"
    )
    assert "[calendar.…] extra = [" in note


@pytest.mark.parametrize(
    ("mic", "times"),
    [
        ("XNYS", ("2024-05-07T04:00", "2024-05-07T12:00", "2024-05-07T19:59", "2024-05-07T23:59")),
        # overnight: of the next session
        ("XNYS", ("2024-05-05T20:00", "2024-05-06T00:30", "2024-05-06T03:59", "2024-05-27T20:00")),
        ("XNYS", ("2024-11-29T13:00", "2024-11-29T16:59")),
        ("CMES", ("2024-05-05T17:00", "2024-05-05T23:59", "2024-05-06T16:59", "2024-05-06T17:00")),
        ("XBOM", ("2024-01-19T09:00", "2024-01-19T15:45", "2024-01-23T09:08")),
        ("XLON", ("2024-12-24T16:35",)),
        ("XXXX", ("2024-05-04T12:00",)),
    ],
)
def test_trades_around_a_session_are_not_without_one(mic: str, times: tuple[str, ...]) -> None:
    zone = ZONES.get(mic, "UTC")
    times_ns = [
        int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 10**9 for text in times
    ]
    unscheduled = counted(mic, times_ns)
    assert not unscheduled.totals()
    assert not unscheduled.take_notes()


@pytest.mark.parametrize("minutes", [(0,), (0, 29), (0, 1, 2, 3, 29), (0, 600)])
def test_stray_prints_are_counted_and_not_said(minutes: tuple[int, ...]) -> None:
    saturday = local_ns("XNYS", "2024-05-04T11:00")
    unscheduled = counted("XNYS", [saturday + n * MINUTE_NS for n in minutes])
    assert not unscheduled.take_notes()
    assert unscheduled.totals() == {"XNYS": (len(minutes), 1)}


def test_many_days_of_a_market_are_not_all_said() -> None:
    saturday = local_ns("XBOM", "2024-01-06T10:00")
    times = [saturday + week * 7 * DAY_NS + n * MINUTE_NS for week in range(40) for n in range(60)]
    unscheduled = counted("XBOM", times)
    assert len(unscheduled.take_notes()) == 5
    assert not unscheduled.take_notes()
    assert unscheduled.totals() == {"XBOM": (2_400, 40)}


def test_the_end_of_a_calendar_is_said_once() -> None:
    after = local_ns("XBOM", "2026-03-03T10:00")
    unscheduled = counted("XBOM", [after + n * MINUTE_NS for n in range(60)])
    (note,) = unscheduled.take_notes()
    assert note.startswith("the calendar of XBOM ends with 2025-12-31: later sessions are days in UTC.")
    unscheduled.count(np.zeros(1, dtype=np.int64), np.array([after + DAY_NS]))
    assert not unscheduled.take_notes()
    assert not unscheduled.totals()


@given(
    st.lists(
        st.tuples(st.sampled_from([*ZONES, "XXXX"]), st.integers(0, 60 * 24 * 60)), min_size=1, max_size=60
    ),
    st.integers(1, 20),
)
def test_counts_do_not_depend_on_batches(records: list[tuple[str, int]], size: int) -> None:
    first_ns = local_ns("XNYS", "2024-01-01T00:00")
    markets = [*ZONES, "XXXX"]
    unscheduled = UnscheduledRecords(sessions_of)
    unscheduled.add(markets)
    expected: Counter[str] = Counter()
    for mic, minute in records:
        alone = counted(mic, [first_ns + minute * MINUTE_NS]).totals()
        expected[mic] += alone.get(mic, (0, 0))[0]
    for start in range(0, len(records), size):
        part = sorted(records[start : start + size], key=lambda each: markets.index(each[0]))
        row: Ints = np.array([markets.index(mic) for mic, _ in part])
        unscheduled.count(row, np.array([first_ns + minute * MINUTE_NS for _, minute in part]))
    assert {mic: count for mic, (count, _) in unscheduled.totals().items()} == dict(+expected)


def messages(instrument: str, times_ns: Iterable[int]) -> pl.DataFrame:
    times = list(times_ns)
    values = [
        f'{{"schema":"trade.v1","instrument_id":"{instrument}","symbol":"A","ts_event_ns":{at},'
        f'"price":{100 + n % 3},"size":10}}'
        for n, at in enumerate(times)
    ]
    return pl.DataFrame(
        {
            "partition": pl.repeat(0, len(times), dtype=pl.Int64, eager=True),
            "offset": pl.int_range(len(times), eager=True),
            "timestamp_ms": [at // 10**6 for at in times],
            "value": pl.Series(values).cast(pl.Binary),
        }
    )


def days_of(engine: Engine, batch: pl.DataFrame) -> list[str]:
    output = engine.process(batch)
    closed = engine.close_idle(0, local_ns("XBOM", "2025-03-01T00:00"), 0)
    return [str(day) for bars in (output.bars, closed.bars) for day in bars.get_column("session_date")]


def test_an_extra_session_has_its_own_day_and_no_note() -> None:
    friday = [local_ns("XBOM", "2025-01-31T10:00") + n * MINUTE_NS for n in range(60)]
    saturday = [local_ns("XBOM", "2025-02-01T09:15") + n * MINUTE_NS for n in range(60)]
    monday = [local_ns("XBOM", "2025-02-03T10:00") + n * MINUTE_NS for n in range(60)]
    batch = messages("A.XNSE", [*friday, *saturday, *monday])
    plain = Engine(EngineOptions(("1d",)), MarketSessions("24/7"))
    assert days_of(plain, batch) == ["2025-01-31", "2025-02-03"]
    assert len(plain.instruments.unscheduled.take_notes()) == 1
    assert plain.instruments.unscheduled.totals() == {"XNSE": (60, 1)}
    extra = ExtraSession(date(2025, 2, 1), time(9, 15), time(15, 30))
    changed = Engine(EngineOptions(("1d",)), MarketSessions("24/7", {"XBOM": SessionChanges(extra=(extra,))}))
    assert days_of(changed, batch) == ["2025-01-31", "2025-02-01", "2025-02-03"]
    assert not changed.instruments.unscheduled.take_notes()
    assert not changed.instruments.unscheduled.totals()
