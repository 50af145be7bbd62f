"""The days of an exchange: to which session a time belongs, and when that opens and closes.

The tables come from `exchange_calendars`. They are data, not truth: a time that no session covers still gets
one.
"""

import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Flags, Ints
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.instrument import UNKNOWN_MIC

FIRST_YEAR: Final = 1990
"""Since when the hours of exchanges are worth loading."""

_DAY_NS: Final = 86_400 * 10**9
_NEW_YORK_MICS: Final = frozenset(
    "XNYS XNAS ARCX XASE BATS BATY EDGA EDGX IEXG XBOS XPHL XPSX XCHI XCIS MEMX "
    "LTSE EPRL OOTC XNGS XNMS XNCM XADF".split()
)
_CALENDAR_ALIASES: Final = {**dict.fromkeys(_NEW_YORK_MICS, "XNYS"), "XNSE": "XBOM"}


class Sessions:
    """The sessions of an exchange, in order; every array has the shape (n,) and the type int64.

    Parameters
    ----------
    dates
        The exchange's days, since 1970-01-01.
    open_ns, close_ns
        When each opens and closes, UTC nanoseconds. It may open on the calendar day before, as futures do.
    zone
        The time zone of the exchange, as IANA names it.

    Raises
    ------
    ValueError
        If they are not in order, or overlap.
    """

    def __init__(self, dates: Ints, open_ns: Ints, close_ns: Ints, zone: str = "UTC") -> None:
        if not len(dates) == len(open_ns) == len(close_ns):
            raise ValueError("sessions need as many opens and closes as dates")
        if (np.diff(dates) <= 0).any() or (open_ns >= close_ns).any():
            raise ValueError("sessions must be in order, and open before they close")
        if (close_ns[:-1] > open_ns[1:]).any():
            raise ValueError("sessions must not overlap")
        self.dates, self.open_ns, self.close_ns = dates, open_ns, close_ns
        self.zone = zone
        self._boundaries = close_ns[:-1] + (open_ns[1:] - close_ns[:-1]) // 2

    def __len__(self) -> int:
        return len(self.dates)

    def lookup(self, ts_ns: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the session that each time belongs to: the nearest one.

        Between two sessions the boundary is in the middle between the close and the next open, so the hours
        after the close belong to the day before, and those before the open to the day after. Outside of the
        table a session is the UTC day.

        Parameters
        ----------
        ts_ns
            UTC nanoseconds, of the shape (k,).

        Returns
        -------
        tuple of int64 arrays
            The exchange's day, since 1970-01-01, and when it opens and closes, each of the shape (k,).
        """
        days = ts_ns // _DAY_NS
        if not len(self):
            return _utc_days(days)
        first_ns = min(self.open_ns[0], self.dates[0] * _DAY_NS)
        end_ns = max(self.close_ns[-1], (self.dates[-1] + 1) * _DAY_NS)
        positions = np.searchsorted(self._boundaries, ts_ns, side="right")
        return self._select(positions, (ts_ns >= first_ns) & (ts_ns < end_ns), days)

    def hours(self, days: Ints) -> tuple[Ints, Ints]:
        """Return when the exchange opens and closes on given days.

        Parameters
        ----------
        days
            The exchange's days, since 1970-01-01, of the shape (k,).

        Returns
        -------
        tuple of int64 arrays
            UTC nanoseconds, each of the shape (k,): the whole UTC day for one that is no session.
        """
        if not len(self):
            return _utc_days(days)[1:]
        positions = np.minimum(np.searchsorted(self.dates, days), len(self) - 1)
        return self._select(positions, self.dates[positions] == days, days)[1:]

    def _select(self, positions: Ints, covered: Flags, days: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the sessions at some places of the table, but the UTC day where it does not cover it."""
        day, open_ns, close_ns = _utc_days(days)
        return (
            np.where(covered, self.dates[positions], day),
            np.where(covered, self.open_ns[positions], open_ns),
            np.where(covered, self.close_ns[positions], close_ns),
        )


def _utc_days(days: Ints) -> tuple[Ints, Ints, Ints]:
    return days, days * _DAY_NS, (days + 1) * _DAY_NS


class InstrumentSessions:
    """The sessions of instruments, which are numbered from 0, each that of its market.

    Parameters
    ----------
    sessions_of
        The sessions of a market, by its ISO 10383 code.
    """

    def __init__(self, sessions_of: Callable[[str], Sessions]) -> None:
        self._sessions_of = sessions_of
        self._sessions: list[Sessions] = []
        self._market_index: Ints = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._market_index)

    def add(self, markets: Iterable[str]) -> None:
        """Add an instrument for each of some markets; loading the sessions of a new one may take seconds."""
        numbers = [self._index_of(self._sessions_of(market)) for market in markets]
        self._market_index = np.concatenate([self._market_index, np.array(numbers, dtype=np.int64)])

    def clear(self) -> None:
        """Drop all instruments."""
        self._market_index = self._market_index[:0]

    def lookup(self, row: Ints, ts_ns: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the sessions in which times lie, and when these open and close."""
        return self._by_market(row, ts_ns, lambda sessions, times: sessions.lookup(times))

    def hours(self, row: Ints, session: Ints) -> tuple[Ints, Ints]:
        """Return when sessions open and close, by their days."""
        _, opens, closes = self._by_market(row, session, lambda each, days: (days, *each.hours(days)))
        return opens, closes

    def _by_market(
        self, row: Ints, values: Ints, query: Callable[[Sessions, Ints], tuple[Ints, Ints, Ints]]
    ) -> tuple[Ints, Ints, Ints]:
        if len(self._sessions) == 1:
            return query(self._sessions[0], values)
        market = self._market_index[row]
        results = (np.empty_like(values), np.empty_like(values), np.empty_like(values))
        for number, sessions in enumerate(self._sessions):
            in_market = market == number
            if in_market.any():
                for result, part in zip(results, query(sessions, values[in_market]), strict=True):
                    result[in_market] = part
        return results

    def _index_of(self, sessions: Sessions) -> int:
        for number, known in enumerate(self._sessions):
            if known is sessions:
                return number
        self._sessions.append(sessions)
        return len(self._sessions) - 1


_EMPTY: Final = np.empty(0, dtype=np.int64)
ALWAYS_OPEN: Final = Sessions(_EMPTY, _EMPTY, _EMPTY)
"""No calendar: a session is the UTC day, open for 24 hours."""


def load_sessions(calendar: str, first_year: int, last_year: int) -> Sessions:
    """Load the sessions of an exchange from `exchange_calendars`, which takes up to a few seconds.

    Parameters
    ----------
    calendar
        A name of `exchange_calendars`, as ``XNYS``.
    first_year, last_year
        Both inclusive; less if the calendar does not know as much.

    Raises
    ------
    UsageError
        If there is no such calendar, or the installed one is broken.
    """
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if calendar not in names:
        hint = did_you_mean(calendar.upper(), sorted(names), cutoff=0.5)
        raise UsageError(f"There is no exchange calendar {calendar!r}.", hint)
    # It uses what its own dependency, pandas, has announced to remove: nothing that a user could change.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return _load_calendar(exchange_calendars, calendar, f"{first_year}-01-01", f"{last_year}-12-31")
        except Exception as error:
            message = f"exchange_calendars can't compute its calendar {calendar}: {error!r}"
            raise UsageError(message, "Use another version of it, or no calendar.") from error


def calendar_of_mic(mic: str) -> str | None:
    """Return the name of the calendar of a market, given its ISO 10383 code; None if there is none."""
    if mic == UNKNOWN_MIC:
        return None
    if mic in _CALENDAR_ALIASES:
        return _CALENDAR_ALIASES[mic]
    import exchange_calendars

    is_listed = mic in exchange_calendars.get_calendar_names()
    return str(exchange_calendars.resolve_alias(mic)) if is_listed else None


def _load_calendar(library: ModuleType, calendar: str, first: str, last: str) -> Sessions:
    # Only an instance tells publicly how far its calendar reaches; asking for more is an error.
    full_calendar = library.get_calendar(calendar)
    earliest, latest = full_calendar.bound_min(), full_calendar.bound_max()
    first = first if earliest is None else max(first, f"{earliest:%Y-%m-%d}")
    last = last if latest is None else min(last, f"{latest:%Y-%m-%d}")
    if first > last:
        return ALWAYS_OPEN
    bounded_calendar = library.get_calendar(calendar, start=first, end=last)
    dates = bounded_calendar.sessions.to_numpy().astype("datetime64[D]").astype(np.int64)
    return Sessions(
        dates, bounded_calendar.opens_nanos, bounded_calendar.closes_nanos, str(bounded_calendar.tz)
    )
