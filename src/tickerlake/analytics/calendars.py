"""The sessions of each market, and the session date of each record; the user names the fallback calendar."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from tickerlake import clock
from tickerlake.analytics.market_calendars import calendar_of_mic
from tickerlake.analytics.market_hours import market_hours
from tickerlake.analytics.sessions import (
    ALWAYS_OPEN,
    FIRST_YEAR,
    InstrumentSessions,
    Sessions,
    load_sessions,
)
from tickerlake.analytics.unscheduled import UnscheduledRecords
from tickerlake.errors import UsageError
from tickerlake.model.dates import from_days, to_days
from tickerlake.model.duration import SECOND_NS
from tickerlake.model.instrument import UNKNOWN_MIC, mic_of
from tickerlake.model.markets import ZONE_OF_MIC
from tickerlake.session_changes import ExtraSession, SessionChanges

ROUND_THE_CLOCK = "24/7"
_NONE = np.empty(0, dtype=np.int64)
_SHOWN_MARKETS = 12
"""So many markets name themselves in a line; a mistaken column of markets may have thousands."""


class MarketSessions:
    """Returns the sessions of a market by its ISO 10383 code; calendars are loaded when first needed.

    Parameters
    ----------
    calendar
        The calendar of unknown markets: a code such as ``XNYS``, or ``24/7``.
    changes
        What differs from the calendars, by the code of a market or calendar.

    Raises
    ------
    UsageError
        If there is no such calendar, or none for the code of a change.
    """

    def __init__(self, calendar: str, changes: Mapping[str, SessionChanges] | None = None) -> None:
        self._changes = dict(changes or {})
        for code in self._changes:
            if calendar_of_mic(code) is None:
                raise UsageError(
                    f"calendar.{code} in the settings: there is no calendar of the market {code}.",
                    "Use an ISO 10383 code such as XNYS, XBOM or XLON.",
                )
        self._final_year = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).year + 1
        self._by_market: dict[str, Sessions] = {}
        self._calendars: dict[str, Sessions | None] = {}
        self._unknown: list[str] = []
        self._not_computed: list[str] = []
        self._named: set[str] = set()
        self._fallback_name = calendar
        self._fallback = ALWAYS_OPEN if calendar == ROUND_THE_CLOCK else self._load_fallback(calendar)

    def __call__(self, mic: str) -> Sessions:
        """Return the sessions of a market; of an unknown one, or one without a calendar, the fallback's."""
        if mic not in self._by_market:
            self._by_market[mic] = self._find(mic)
        return self._by_market[mic]

    def take_notes(self) -> list[str]:
        """Return what the user should know about the markets that are new since the last call."""
        not_computed, self._not_computed = self._not_computed, []
        unknown, self._unknown = self._unknown, []
        notes = [self._not_computed_note(not_computed)] if not_computed else []
        return [*notes, _unknown_note(unknown)] if unknown else notes

    def _find(self, mic: str) -> Sessions:
        name = calendar_of_mic(mic)
        if name is None:
            if self._fallback is ALWAYS_OPEN:
                self._unknown.append(mic)
            return self._fallback
        if name not in self._calendars:
            self._calendars[name] = self._load(name)
        sessions = self._calendars[name]
        if sessions is not None:
            return sessions if mic == name else change_sessions(sessions, self._changes.get(mic), mic)
        listed = self._listed(mic)
        if listed is None:
            if name not in self._named:
                self._named.add(name)
                self._not_computed.append(name)
            return self._fallback
        return listed

    def _load(self, name: str) -> Sessions | None:
        """Return the sessions of a calendar, None if neither the library nor the settings have any."""
        try:
            sessions = load_sessions(name, FIRST_YEAR, self._final_year)
        except UsageError:
            # exchange_calendars cannot compute all of its calendars, and a record names the market
            return self._listed(name)
        return change_sessions(sessions, self._changes.get(name), name)

    def _listed(self, code: str) -> Sessions | None:
        """Return the sessions that the settings list; None if there are none."""
        changes = self._changes.get(code)
        zone = ZONE_OF_MIC.get(code) or ZONE_OF_MIC.get(calendar_of_mic(code) or "")
        if changes is None or not changes.extra or zone is None:
            return None
        none = Sessions(_NONE, _NONE, _NONE, zone, hours=market_hours(code))
        return change_sessions(none, changes, code)

    def _load_fallback(self, calendar: str) -> Sessions:
        name = calendar_of_mic(calendar) or calendar
        sessions = load_sessions(name, FIRST_YEAR, self._final_year)
        changed = self._calendars[name] = change_sessions(sessions, self._changes.get(name), name)
        return changed

    def _not_computed_note(self, names: list[str]) -> str:
        one = len(names) == 1
        hours = "trade round the clock" if self._fallback is ALWAYS_OPEN else f"use {self._fallback_name}"
        return (
            f"exchange_calendars cannot compute {'the calendar' if one else 'the calendars'} "
            f"{', '.join(names)}: {'its' if one else 'their'} symbols {hours}. "
            f"List the sessions in tickerlake.toml ([calendar.{names[0]}])."
        )


def _unknown_note(markets: list[str]) -> str:
    named = sorted(mic for mic in markets if mic != UNKNOWN_MIC)
    shown = ", ".join(named[:_SHOWN_MARKETS])
    if len(named) > _SHOWN_MARKETS:
        shown += f" and {len(named) - _SHOWN_MARKETS:,} more"
    reasons = ["the exchange of some symbols is unknown"] if UNKNOWN_MIC in markets else []
    reasons += [f"no calendar is known for {shown}"] if named else []
    return (
        f"{', and '.join(reasons)}; they count as trading round the clock. "
        "Use --calendar, such as --calendar XNYS for the sessions of New York."
    )


def change_sessions(sessions: Sessions, changes: SessionChanges | None, code: str) -> Sessions:
    """Return sessions with the changes that the settings make to them.

    Raises
    ------
    UsageError
        If a session overlaps another one.
    """
    if changes is None:
        return sessions
    extra = sorted(changes.extra, key=lambda each: each.date)
    changed = np.array([to_days(day) for day in (*changes.closed, *(each.date for each in extra))])
    kept = ~np.isin(sessions.dates, changed)
    zone = ZoneInfo(sessions.zone)
    bounds = np.array([_bounds_ns(each, zone) for each in extra], dtype=np.int64).reshape(-1, 2)
    no_break = np.zeros(len(extra), dtype=np.int64)
    pairs = (
        (sessions.dates, np.array([to_days(each.date) for each in extra], dtype=np.int64)),
        (sessions.open_ns, bounds[:, 0]),
        (sessions.close_ns, bounds[:, 1]),
        (sessions.break_start_ns, no_break),
        (sessions.break_end_ns, no_break),
    )
    merged = [np.concatenate([present[kept], added]) for present, added in pairs]
    order = np.argsort(merged[0])
    dates, open_ns, close_ns, break_start_ns, break_end_ns = (column[order] for column in merged)
    overlaps = np.flatnonzero(close_ns[:-1] > open_ns[1:])
    if len(overlaps):
        first, second = (from_days(int(dates[overlaps[0] + n])) for n in (0, 1))
        raise UsageError(
            f"calendar.{code} in the settings: the session of {second} opens before that of {first} closes.",
            "Correct the hours; they are in the time zone of the exchange.",
        )
    return Sessions(
        dates, open_ns, close_ns, sessions.zone, break_start_ns, break_end_ns, sessions.market_hours
    )


def _bounds_ns(session: ExtraSession, zone: ZoneInfo) -> tuple[int, int]:
    first = session.date if session.open < session.close else session.date - timedelta(1)
    times = (
        datetime.combine(day, time, zone)
        for day, time in ((first, session.open), (session.date, session.close))
    )
    open_ns, close_ns = (int(time.timestamp()) * SECOND_NS for time in times)
    return open_ns, close_ns


class SessionDates:
    """Returns session dates; calendars are loaded when they are first needed. Thread-safe.

    Parameters
    ----------
    calendar
        The calendar of unknown markets: a code such as ``XNYS``, or ``24/7``.
    changes
        What differs from the calendars, by the code of a market or calendar.
    on_note
        Called with each thing that the user should know, as a line of text.
    """

    def __init__(
        self,
        calendar: str,
        changes: Mapping[str, SessionChanges] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self._calendar, self._changes, self._on_note = calendar, changes, on_note
        self._rows: dict[str, int] = {}
        self._lock = threading.Lock()

    @cached_property
    def _markets(self) -> MarketSessions:
        return MarketSessions(self._calendar, self._changes)

    @cached_property
    def _sessions(self) -> InstrumentSessions:
        return InstrumentSessions(self._markets)

    @cached_property
    def _unscheduled(self) -> UnscheduledRecords:
        return UnscheduledRecords(self._markets)

    def __call__(self, instruments: pl.Series, ts_ns: pl.Series) -> pl.Series:
        """Return the session date of each record.

        Parameters
        ----------
        instruments, ts_ns
            Instrument ids and UTC nanoseconds, each of the shape (n,).

        Returns
        -------
        Series of dates
            Of the shape (n,).
        """
        if instruments.is_empty():
            return pl.Series([], dtype=pl.Date)
        unique = instruments.unique()
        with self._lock:
            new = [name for name in unique if name not in self._rows]
            markets = [mic_of(name) for name in new]
            self._sessions.add(markets)
            self._unscheduled.add(markets)
            self._rows |= {name: len(self._rows) + n for n, name in enumerate(new)}
            numbers = [self._rows[name] for name in unique]
            row = instruments.replace_strict(unique, numbers, return_dtype=pl.Int64).to_numpy()
            days, _, _ = self._sessions.lookup(row, ts_ns.to_numpy())
            if self._on_note:
                self._unscheduled.count(row, ts_ns.to_numpy())
                for note in (*self._markets.take_notes(), *self._unscheduled.take_notes()):
                    self._on_note(note)
        return pl.Series(days).cast(pl.Int32).cast(pl.Date)
