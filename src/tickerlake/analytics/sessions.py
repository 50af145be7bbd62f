"""The sessions of an exchange: which session a time belongs to, and when it opens and closes.

The tables come from `exchange_calendars`. They can be wrong or incomplete, so a time that no session covers
still belongs to one.
"""

import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Flags, Ints
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import UNKNOWN_MIC

FIRST_YEAR: Final = 1990
"""The first year of calendars: earlier history is rare, and each year costs loading time."""

_NEW_YORK_MICS: Final = frozenset(
    "XNYS XNAS ARCX XASE BATS BATY EDGA EDGX IEXG XBOS XPHL XPSX XCHI XCIS MEMX "
    "LTSE EPRL OOTC XNGS XNMS XNCM XADF".split()
)
_CALENDAR_ALIASES: Final = {**dict.fromkeys(_NEW_YORK_MICS, "XNYS"), "XNSE": "XBOM"}


class Sessions:
    """The sessions of an exchange, in order; every array is int64 of the shape (n,).

    Parameters
    ----------
    dates
        Session dates, in days since 1970-01-01.
    open_ns, close_ns
        Open and close, UTC nanoseconds. A session can open on the calendar day before, as for futures.
    zone
        IANA time zone of the exchange.

    Raises
    ------
    ValueError
        If the sessions are not in order, or overlap.
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

        The boundary between two sessions is halfway between the close and the next open: after-hours trades
        belong to the session before, pre-market trades to the session after. Outside the table a session is
        the UTC day.

        Parameters
        ----------
        ts_ns
            UTC nanoseconds, of the shape (k,).

        Returns
        -------
        tuple of int64 arrays
            Session date (days since 1970-01-01), open and close, each of the shape (k,).
        """
        days = ts_ns // DAY_NS
        if not len(self):
            return _utc_days(days)
        first_ns = min(self.open_ns[0], self.dates[0] * DAY_NS)
        end_ns = max(self.close_ns[-1], (self.dates[-1] + 1) * DAY_NS)
        positions = np.searchsorted(self._boundaries, ts_ns, side="right")
        return self._select(positions, (ts_ns >= first_ns) & (ts_ns < end_ns), days)

    def hours(self, days: Ints) -> tuple[Ints, Ints]:
        """Return when sessions open and close.

        Parameters
        ----------
        days
            Session dates, in days since 1970-01-01, of the shape (k,).

        Returns
        -------
        tuple of int64 arrays
            UTC nanoseconds, each of the shape (k,); the UTC day for a date without a session.
        """
        if not len(self):
            return _utc_days(days)[1:]
        positions = np.minimum(np.searchsorted(self.dates, days), len(self) - 1)
        return self._select(positions, self.dates[positions] == days, days)[1:]

    def _select(self, positions: Ints, covered: Flags, days: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the sessions at these positions, the UTC day where the table does not cover the time."""
        day, open_ns, close_ns = _utc_days(days)
        return (
            np.where(covered, self.dates[positions], day),
            np.where(covered, self.open_ns[positions], open_ns),
            np.where(covered, self.close_ns[positions], close_ns),
        )


def _utc_days(days: Ints) -> tuple[Ints, Ints, Ints]:
    return days, days * DAY_NS, (days + 1) * DAY_NS


class InstrumentSessions:
    """The sessions of instruments, by row: each has those of its market.

    Parameters
    ----------
    sessions_of
        Returns the sessions of a market by its ISO 10383 code.
    """

    def __init__(self, sessions_of: Callable[[str], Sessions]) -> None:
        self._sessions_of = sessions_of
        self._sessions: list[Sessions] = []
        self._market_index: Ints = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._market_index)

    def add(self, markets: Iterable[str]) -> None:
        """Add one instrument per market; loading the sessions of a new market can take seconds."""
        numbers = [self._index_of(self._sessions_of(market)) for market in markets]
        self._market_index = np.concatenate([self._market_index, np.array(numbers, dtype=np.int64)])

    def clear(self) -> None:
        """Drop all instruments."""
        self._market_index = self._market_index[:0]

    def lookup(self, row: Ints, ts_ns: Ints) -> tuple[Ints, Ints, Ints]:
        """Return session date, open and close of the sessions that times belong to."""
        return self._by_market(row, ts_ns, lambda sessions, times: sessions.lookup(times))

    def hours(self, row: Ints, session: Ints) -> tuple[Ints, Ints]:
        """Return open and close of sessions by their dates."""
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
        for number, loaded in enumerate(self._sessions):
            if loaded is sessions:
                return number
        self._sessions.append(sessions)
        return len(self._sessions) - 1


_EMPTY: Final = np.empty(0, dtype=np.int64)
ALWAYS_OPEN: Final = Sessions(_EMPTY, _EMPTY, _EMPTY)
"""No calendar: a session is the UTC day, open for 24 hours."""


def load_sessions(calendar: str, first_year: int, last_year: int) -> Sessions:
    """Load the sessions of an exchange from `exchange_calendars`, which can take some seconds.

    Parameters
    ----------
    calendar
        A name of `exchange_calendars`, such as ``XNYS``.
    first_year, last_year
        Both inclusive; limited to the years that the calendar covers.

    Raises
    ------
    UsageError
        If there is no such calendar, or `exchange_calendars` cannot compute it.
    """
    import exchange_calendars

    names = exchange_calendars.get_calendar_names()
    if calendar not in names:
        hint = did_you_mean(calendar.upper(), sorted(names), cutoff=0.5)
        raise UsageError(f"There is no exchange calendar {calendar!r}.", hint)
    # exchange_calendars uses deprecated functions of pandas, which a user cannot change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return _load_calendar(exchange_calendars, calendar, f"{first_year}-01-01", f"{last_year}-12-31")
        except Exception as error:
            message = f"exchange_calendars cannot compute its calendar {calendar}: {error!r}"
            raise UsageError(
                message, "Install another version of exchange_calendars, or use another calendar."
            ) from error


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
    # only an instance knows the bounds of its calendar publicly; a range beyond them is an error
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
