"""The sessions of each market, and the session date of each record; the user names the fallback calendar."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, cached_property

import polars as pl

from tickerlake import clock
from tickerlake.analytics.sessions import (
    ALWAYS_OPEN,
    FIRST_YEAR,
    InstrumentSessions,
    Sessions,
    calendar_of_mic,
    load_sessions,
)
from tickerlake.errors import DataError, UsageError
from tickerlake.model.instrument import UNKNOWN_MIC, split_instrument_id

ROUND_THE_CLOCK = "24/7"


def sessions_by_market(
    calendar: str, on_unknown_market: Callable[[], None] = lambda: None
) -> Callable[[str], Sessions]:
    """Return a function that returns the sessions of a market by its ISO 10383 code.

    Parameters
    ----------
    calendar
        The calendar of unknown markets: a code such as ``XNYS``, or ``24/7``.
    on_unknown_market
        Called for each unknown market, once, if ``calendar`` is ``24/7``.

    Raises
    ------
    UsageError
        If there is no such calendar.
    """
    final_year = datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).year + 1

    @cache
    def load_once(name: str) -> Sessions:
        return load_sessions(name, FIRST_YEAR, final_year)

    fallback = ALWAYS_OPEN if calendar == ROUND_THE_CLOCK else load_once(calendar)

    @cache
    def sessions_of(mic: str) -> Sessions:
        name = None if mic == UNKNOWN_MIC else calendar_of_mic(mic)
        if name is not None:
            # `exchange_calendars` cannot compute all of its calendars, and a record names the market
            with suppress(UsageError):
                return load_once(name)
        if fallback is ALWAYS_OPEN:
            on_unknown_market()
        return fallback

    return sessions_of


class SessionDates:
    """Returns session dates; calendars are loaded when they are first needed. Thread-safe.

    Parameters
    ----------
    calendar
        The calendar of unknown markets: a code such as ``XNYS``, or ``24/7``.
    on_unknown_market
        Called for each unknown market, once, if ``calendar`` is ``24/7``.
    """

    def __init__(self, calendar: str, on_unknown_market: Callable[[], None] = lambda: None) -> None:
        self._calendar = calendar
        self._on_unknown_market = on_unknown_market
        self._rows: dict[str, int] = {}
        self._lock = threading.Lock()

    @cached_property
    def _sessions(self) -> InstrumentSessions:
        return InstrumentSessions(sessions_by_market(self._calendar, self._on_unknown_market))

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
            self._sessions.add(_mic_of(name) for name in new)
            self._rows |= {name: len(self._rows) + n for n, name in enumerate(new)}
            numbers = [self._rows[name] for name in unique]
            row = instruments.replace_strict(unique, numbers, return_dtype=pl.Int64)
            days, _, _ = self._sessions.lookup(row.to_numpy(), ts_ns.to_numpy())
        return pl.Series(days).cast(pl.Int32).cast(pl.Date)


def _mic_of(instrument_id: str) -> str:
    try:
        return split_instrument_id(instrument_id)[1]
    except DataError:
        return UNKNOWN_MIC  # a record of another program, with another form of identifier
