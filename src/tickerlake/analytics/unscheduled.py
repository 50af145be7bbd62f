"""Records on days on which the calendar of their market has no session: a special one, or a wrong date."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Flags, Ints
from tickerlake.analytics.market_calendars import calendar_of_mic
from tickerlake.analytics.sessions import Sessions
from tickerlake.model.dates import from_days
from tickerlake.model.duration import parse_duration_ns

_SLICE_NS: Final = parse_duration_ns("5m")
"""Records of a market are looked up once per slice: a lookup of each would cost as much as a bar."""

_MIN_RECORDS: Final = 3
_MIN_SPAN_NS: Final = parse_duration_ns("30m")
"""From so many records over so long a time, a day is worth a note: stray prints on a weekend are not."""

_MAX_DAYS_SHOWN: Final = 5
"""More days of a market have no note of their own: its calendar is then the wrong one."""

_EVENING_ZONES: Final = frozenset({"America/New_York", "America/Chicago"})
_EVENING_HOUR: Final = 17
"""Where trading at night belongs to the next day."""


@dataclass(slots=True)
class _Day:
    first_ns: int
    last_ns: int
    session: int
    records: int = 0
    is_noted: bool = False


class UnscheduledRecords:
    """Counts records of instruments, by row, on days without a session of their market.

    Parameters
    ----------
    sessions_of
        Returns the sessions of a market by its ISO 10383 code.
    """

    def __init__(self, sessions_of: Callable[[str], Sessions]) -> None:
        self._sessions_of = sessions_of
        self._markets: list[str] = []
        self._has_calendar: Flags = np.empty(0, dtype=np.bool_)
        self._market: Ints = np.empty(0, dtype=np.int64)
        self._days: dict[tuple[str, int], _Day] = {}
        self._noted: Counter[str] = Counter()
        self._ended: dict[str, bool] = {}

    def add(self, markets: Iterable[str]) -> None:
        """Add one instrument per market."""
        numbers = {mic: number for number, mic in enumerate(self._markets)}
        added = [numbers.setdefault(mic, len(numbers)) for mic in markets]
        self._markets = list(numbers)
        self._market = np.concatenate([self._market, np.array(added, dtype=np.int64)])
        known = len(self._has_calendar)
        has_calendar = [len(self._sessions_of(mic)) > 0 for mic in self._markets[known:]]
        self._has_calendar = np.concatenate([self._has_calendar, np.array(has_calendar, dtype=np.bool_)])

    def clear(self) -> None:
        """Drop all instruments; what was counted stays."""
        self._market = self._market[:0]

    def count(self, row: Ints, ts_ns: Ints) -> None:
        """Count the records that are on a day without a session.

        Parameters
        ----------
        row, ts_ns
            Instruments and UTC nanoseconds, of the shape (k,).
        """
        if not self._has_calendar.any() or not len(row):
            return
        market, time_slice = self._market[row], ts_ns // _SLICE_NS
        begins = np.append(True, values=(market[1:] != market[:-1]) | (time_slice[1:] != time_slice[:-1]))
        starts = np.flatnonzero(begins)
        records = np.diff(np.append(starts, len(row)))
        market, times_ns = market[starts], ts_ns[starts]
        for number in np.unique(market).tolist():
            if self._has_calendar[number]:
                selected = market == number
                self._count_market(self._markets[number], times_ns[selected], records[selected])

    def _count_market(self, mic: str, times_ns: Ints, records: Ints) -> None:
        sessions = self._sessions_of(mic)
        session, open_ns, close_ns = sessions.lookup(times_ns)
        outside = (times_ns < open_ns) | (times_ns >= close_ns)
        if (session > sessions.dates[-1]).any():
            self._ended.setdefault(mic, False)
        if not outside.any():
            return
        session, times_ns, records = session[outside], times_ns[outside], records[outside]
        local = pl.Series(times_ns).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(sessions.zone)
        day = local.dt.date().to_physical().cast(pl.Int64).to_numpy()
        unscheduled = ~np.isin(day, sessions.dates)
        if sessions.zone in _EVENING_ZONES:
            evening = local.dt.hour().to_numpy() >= _EVENING_HOUR
            unscheduled &= ~(evening & np.isin(day + 1, sessions.dates))
        for at in np.flatnonzero(unscheduled).tolist():
            self._add(mic, int(day[at]), int(times_ns[at]), int(session[at]), int(records[at]))

    def _add(self, mic: str, number: int, time_ns: int, session: int, records: int) -> None:
        day = self._days.setdefault((mic, number), _Day(time_ns, time_ns, session))
        day.first_ns, day.last_ns = min(day.first_ns, time_ns), max(day.last_ns, time_ns)
        day.records += records

    def take_notes(self) -> list[str]:
        """Return the notes on days, and on calendars that have ended, that are new since the last call."""
        notes = [self._end_note(mic) for mic, is_noted in self._ended.items() if not is_noted]
        self._ended = dict.fromkeys(self._ended, True)
        for (mic, number), day in self._days.items():
            is_session = day.records >= _MIN_RECORDS and day.last_ns - day.first_ns >= _MIN_SPAN_NS
            if day.is_noted or not is_session:
                continue
            day.is_noted = True
            self._noted[mic] += 1
            if self._noted[mic] <= _MAX_DAYS_SHOWN:
                notes.append(self._day_note(mic, number, day))
        return notes

    def _day_note(self, mic: str, number: int, day: _Day) -> str:
        zone = ZoneInfo(self._sessions_of(mic).zone)
        opens = datetime.fromtimestamp(day.first_ns / 1e9, UTC).astimezone(zone).strftime("%H:%M")
        code = "…" if calendar_of_mic(mic) is None else mic
        which = "the calendar of --calendar" if code == "…" else "its calendar"
        on, session = from_days(number), from_days(day.session)
        return (
            f"{mic} has records from {opens} on {on:%A}, {on}, when {which} has no session; "
            f"they count as traded outside the hours of {session}. "
            "If it was a session, write its hours in tickerlake.toml: "
            f'[calendar.{code}] extra = [{{ date = {on}, open = "{opens}", close = "…" }}]'
        )

    def _end_note(self, mic: str) -> str:
        last = from_days(int(self._sessions_of(mic).dates[-1]))
        return (
            f"the calendar of {mic} ends with {last}: later sessions are days in UTC. "
            "Install a newer exchange_calendars, or list the sessions in tickerlake.toml."
        )

    def totals(self) -> dict[str, tuple[int, int]]:
        """Return, by market, how many records were on how many days without a session."""
        totals: dict[str, tuple[int, int]] = {}
        for (mic, _), day in self._days.items():
            records, days = totals.get(mic, (0, 0))
            totals[mic] = (records + day.records, days + 1)
        return totals
