"""Which bar of an interval a time belongs to, and when bars start and end.

Bars are numbered in *buckets*, integers in order of time. A bar of less than half an hour is aligned to the
UTC day. Longer ones are aligned to the session, as on charts: forwards and backwards from the open, and from
the close after it. So no bar contains trades of two phases. A daily bar is a session.
"""

from typing import Final, Literal

import numpy as np

from tickerlake.analytics.bars import Flags, Ints, Phase
from tickerlake.analytics.condition_codes import IS_AUCTION, IS_EXTENDED
from tickerlake.analytics.sessions import InstrumentSessions
from tickerlake.model.duration import DAY_NS, MINUTE_NS, SECOND_NS
from tickerlake.model.interval import interval_ns

Day = Literal["regular", "all"]
Alignment = Literal["session", "utc"]

_MIN_ALIGNED_NS: Final = 30 * MINUTE_NS
"""Shorter bars start at the same times with either alignment: sessions open at quarters of hours."""


class BarTimes:
    """The bars of one interval.

    Parameters
    ----------
    interval
        ``1s`` to ``12h``, or ``1d``: the exchange's session.
    sessions
        The sessions of instruments.
    day
        Which trades a daily bar contains: those of the regular session with its auctions, or all.
    align
        What bars of half an hour to 12 hours are aligned to.
    """

    def __init__(
        self, interval: str, sessions: InstrumentSessions, day: Day = "regular", align: Alignment = "session"
    ) -> None:
        self.interval, self.length_ns = interval, interval_ns(interval)
        self._sessions = sessions
        self._is_daily = interval == "1d"
        self._regular_only = self._is_daily and day == "regular"
        self.align = align
        self._is_aligned = align == "session" and _MIN_ALIGNED_NS <= self.length_ns < DAY_NS
        self._bucket_ns = SECOND_NS if self._is_aligned else self.length_ns

    def bucket(self, row: Ints, ts_ns: Ints) -> Ints:
        """Return the buckets of times.

        Parameters
        ----------
        row, ts_ns
            Instruments and UTC nanoseconds, of the shape (k,).
        """
        if self._is_daily:
            return self._sessions.lookup(row, ts_ns)[0]
        if not self._is_aligned:
            return ts_ns // self.length_ns
        _, open_ns, close_ns = self._sessions.lookup(row, ts_ns)
        start_ns = self._grid_start_ns(ts_ns, open_ns, close_ns)
        outside = (ts_ns >= close_ns) | (ts_ns < open_ns)
        if np.count_nonzero(outside):
            begin_ns, _ = self._sessions.spans(row, ts_ns)
            start_ns = np.where(outside, np.maximum(start_ns, begin_ns), start_ns)
        return start_ns // SECOND_NS

    def boundaries(self, row: Ints, bucket: Ints) -> tuple[Ints, Ints]:
        """Return when bars start and end, UTC nanoseconds; for a day, the UTC day of the session date."""
        start_ns = bucket * self._bucket_ns
        if not self._is_aligned or not len(bucket):
            return start_ns, start_ns + self.length_ns
        _, open_ns, close_ns = self._sessions.lookup(row, start_ns)
        _, span_end_ns = self._sessions.spans(row, start_ns)
        limit_ns = np.where(start_ns < open_ns, open_ns, np.where(start_ns < close_ns, close_ns, span_end_ns))
        end_ns = self._grid_start_ns(start_ns, open_ns, close_ns) + self.length_ns
        return start_ns, np.minimum(end_ns, limit_ns)

    def _grid_start_ns(self, ts_ns: Ints, open_ns: Ints, close_ns: Ints) -> Ints:
        """Return the starts of whole bars, counted from the open, or from the close after it."""
        anchor_ns = np.where(ts_ns >= close_ns, close_ns, open_ns)
        return anchor_ns + (ts_ns - anchor_ns) // self.length_ns * self.length_ns

    def trading_start_ns(self, row: Ints, ts_ns: Ints, bucket: Ints) -> Ints:
        """Return when trading starts in the bars of some times: at the open, in the bar that contains it."""
        start_ns, end_ns = self.boundaries(row, bucket)
        _, open_ns, _ = self._sessions.lookup(row, ts_ns)
        has_open = (start_ns <= open_ns) & (open_ns < end_ns) | self._is_daily
        return np.where(has_open, open_ns, start_ns)

    def sessions(self, row: Ints, bucket: Ints) -> Ints:
        """Return the session date of bars, in days since 1970-01-01."""
        return bucket if self._is_daily else self._sessions.lookup(row, bucket * self._bucket_ns)[0]

    def bucket_of(self, row: Ints, start_ns: Ints) -> Ints:
        """Return the buckets of bars by their starts: the inverse of `boundaries`."""
        return start_ns // DAY_NS if self._is_daily else self.bucket(row, start_ns)

    def entry_ns(self, row: Ints, start_ns: Ints, end_ns: Ints) -> Ints:
        """Return the time by which each trade or shorter bar enters a bar.

        That is its start; or the open of the session, for a shorter bar that lies across it.

        Parameters
        ----------
        row, start_ns, end_ns
            Instruments, starts and ends of the shape (k,); both are the time of a trade.
        """
        if not self._is_aligned:
            return start_ns
        _, open_ns, _ = self._sessions.lookup(row, start_ns)
        return np.where((start_ns < open_ns) & (open_ns < end_ns), open_ns, start_ns)

    def enters(self, row: Ints, start_ns: Ints, end_ns: Ints, sets: Ints | None = None) -> Flags | None:
        """Return which trades or shorter bars enter a bar of this interval; None for all.

        A trade's sale conditions can say that it is of an auction, or of extended hours (`condition_codes`).
        """
        if not self._regular_only:
            return None
        phase = self._sessions.phases(row, start_ns, end_ns)
        regular: Flags = phase == Phase.REGULAR
        if sets is not None:
            regular = regular & (sets & IS_EXTENDED == 0) | (sets & IS_AUCTION != 0)
        return None if regular.all() else regular
