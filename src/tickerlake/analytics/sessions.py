"""The sessions of an exchange: which session a time belongs to, when it opens and closes, and its phases.

The tables come from `exchange_calendars`. They can be wrong or incomplete, so a time that no session covers
still belongs to one.
"""

import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final, NamedTuple

import numpy as np

from tickerlake.analytics.bars import Flags, Ints
from tickerlake.analytics.market_hours import DEFAULT_HOURS, MarketHours, market_hours, phase_of
from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.duration import DAY_NS

FIRST_YEAR: Final = 1990
"""The first year of calendars: earlier history is rare, and each year costs loading time."""


class Hours(NamedTuple):
    """When k sessions open and close; UTC nanoseconds, int64 of the shape (k,).

    Parameters
    ----------
    open_ns, close_ns
        Open and close.
    break_start_ns, break_end_ns
        The lunch break; both 0 if there is none.
    """

    open_ns: Ints
    close_ns: Ints
    break_start_ns: Ints
    break_end_ns: Ints


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
    break_start_ns, break_end_ns
        Lunch breaks; both 0 for a session without one. None if there are none.
    hours
        When the market trades outside its sessions.

    Raises
    ------
    ValueError
        If the sessions are not in order, or overlap.
    """

    def __init__(
        self,
        dates: Ints,
        open_ns: Ints,
        close_ns: Ints,
        zone: str = "UTC",
        break_start_ns: Ints | None = None,
        break_end_ns: Ints | None = None,
        hours: MarketHours = DEFAULT_HOURS,
    ) -> None:
        if not len(dates) == len(open_ns) == len(close_ns):
            raise ValueError("sessions need as many opens and closes as dates")
        if (np.diff(dates) <= 0).any() or (open_ns >= close_ns).any():
            raise ValueError("sessions must be in order, and open before they close")
        if (close_ns[:-1] > open_ns[1:]).any():
            raise ValueError("sessions must not overlap")
        self.dates, self.open_ns, self.close_ns = dates, open_ns, close_ns
        self.zone, self.market_hours = zone, hours
        self.break_start_ns = np.zeros_like(open_ns) if break_start_ns is None else break_start_ns
        self.break_end_ns = np.zeros_like(open_ns) if break_end_ns is None else break_end_ns
        self._boundaries = close_ns[:-1] + (open_ns[1:] - close_ns[:-1]) // 2
        if hours.ends_after_hours:
            self._boundaries = np.minimum(self._boundaries, close_ns[:-1] + hours.after_ns)

    def __len__(self) -> int:
        return len(self.dates)

    def lookup(self, ts_ns: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the session that each time belongs to: the nearest one.

        A session begins where the after-hours trading of the one before ends; where that is not known,
        halfway between the close and the next open. Outside the table a session is the UTC day.

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
        first_ns, end_ns = self._covered_ns()
        positions = np.searchsorted(self._boundaries, ts_ns, side="right")
        return self._select(positions, (ts_ns >= first_ns) & (ts_ns < end_ns), days)

    def spans(self, ts_ns: Ints) -> tuple[Ints, Ints]:
        """Return when the times that belong to the same session as each time begin and end.

        Parameters
        ----------
        ts_ns
            UTC nanoseconds, of the shape (k,).

        Returns
        -------
        tuple of int64 arrays
            UTC nanoseconds: ``[begin, end)``, each of the shape (k,).
        """
        day_start_ns = ts_ns // DAY_NS * DAY_NS
        if not len(self):
            return day_start_ns, day_start_ns + DAY_NS
        first_ns, end_ns = self._covered_ns()
        edges = np.concatenate([[first_ns], self._boundaries, [end_ns]])
        positions = np.searchsorted(self._boundaries, ts_ns, side="right")
        covered = (ts_ns >= first_ns) & (ts_ns < end_ns)
        return (
            np.where(covered, edges[positions], day_start_ns),
            np.where(covered, edges[positions + 1], day_start_ns + DAY_NS),
        )

    def hours(self, days: Ints) -> Hours:
        """Return when sessions open and close.

        Parameters
        ----------
        days
            Session dates, in days since 1970-01-01, of the shape (k,).

        Returns
        -------
        Hours
            The UTC day for a date without a session.
        """
        if not len(self):
            none = np.zeros_like(days)
            return Hours(*_utc_days(days)[1:], none, none)
        positions = np.minimum(np.searchsorted(self.dates, days), len(self) - 1)
        covered = self.dates[positions] == days
        _, open_ns, close_ns = self._select(positions, covered, days)
        break_start_ns = np.where(covered, self.break_start_ns[positions], 0)
        return Hours(open_ns, close_ns, break_start_ns, np.where(covered, self.break_end_ns[positions], 0))

    def phases(self, start_ns: Ints, end_ns: Ints) -> Ints:
        """Return the phase (`bars.Phase`) that each trade or bar belongs to.

        Parameters
        ----------
        start_ns, end_ns
            Start and end of bars, UTC nanoseconds of the shape (k,); both the time of a trade.
        """
        _, open_ns, close_ns = self.lookup(start_ns)
        return phase_of(start_ns, end_ns, open_ns, close_ns, self.market_hours)

    def _covered_ns(self) -> tuple[int, int]:
        """Return the time that the table covers."""
        first_ns = min(self.open_ns[0], self.dates[0] * DAY_NS)
        return first_ns, max(self.close_ns[-1], (self.dates[-1] + 1) * DAY_NS)

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
        session, open_ns, close_ns = self._by_market(row, lambda one, at: one.lookup(ts_ns[at]))
        return session, open_ns, close_ns

    def spans(self, row: Ints, ts_ns: Ints) -> tuple[Ints, Ints]:
        """Return when the times that belong to the same session as each time begin and end."""
        begin_ns, end_ns = self._by_market(row, lambda one, at: one.spans(ts_ns[at]))
        return begin_ns, end_ns

    def hours(self, row: Ints, session: Ints) -> Hours:
        """Return open, close and lunch break of sessions by their dates."""
        return Hours(*self._by_market(row, lambda one, at: one.hours(session[at])))

    def phases(self, row: Ints, start_ns: Ints, end_ns: Ints) -> Ints:
        """Return the phase (`bars.Phase`) that each trade or bar belongs to."""
        return self._by_market(row, lambda one, at: (one.phases(start_ns[at], end_ns[at]),))[0]

    def _by_market(
        self, row: Ints, query: Callable[[Sessions, Flags | slice], tuple[Ints, ...]]
    ) -> tuple[Ints, ...]:
        """Return the results of a query of each market's sessions for its rows."""
        if len(self._sessions) <= 1:
            return query(self._sessions[0] if self._sessions else ALWAYS_OPEN, slice(None))
        market = self._market_index[row]
        results: tuple[Ints, ...] = ()
        for number, sessions in enumerate(self._sessions):
            in_market = market == number
            if in_market.any() or not number:
                part = query(sessions, in_market)
                results = results or tuple(np.empty(len(row), dtype=np.int64) for _ in part)
                for result, values in zip(results, part, strict=True):
                    result[in_market] = values
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
            # an error can list every date of twenty years
            version = exchange_calendars.__version__
            raise UsageError(
                f"exchange_calendars {version} cannot compute its calendar {calendar}.", "Use another one."
            ) from error


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
        dates,
        bounded_calendar.opens_nanos,
        bounded_calendar.closes_nanos,
        str(bounded_calendar.tz),
        # a session without a break has NaT, the smallest integer
        np.maximum(bounded_calendar.break_starts_nanos, 0),
        np.maximum(bounded_calendar.break_ends_nanos, 0),
        market_hours(calendar),
    )
