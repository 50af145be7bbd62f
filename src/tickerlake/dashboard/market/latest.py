"""The latest values of all instruments, as columns, and the tick at which each changed."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tickerlake.analytics.bars import Floats, Ints

LAST, TIME_MS, PREVIOUS_CLOSE, OPEN, HIGH, LOW, VOLUME, AVERAGE_VOLUME = range(8)
COLUMNS: Final = ("last", "time_ms", "previous", "open", "high", "low", "volume", "average_volume")
"""The rows of `LatestValues.values`: last price and its time, close of the previous session, the session's
open, high, low and volume, and the average volume of recent sessions. NaN if unknown."""

SPARKLINE_POINTS: Final = 48
"""Closes in a sparkline: one per pixel or two at the width of the watch list's column."""

AVERAGE_SESSIONS: Final = 20
"""Sessions in the average volume: a month of trading days."""

_NEVER: Final = np.iinfo(np.int64).min


class LatestValues:
    """Latest values, sparklines and daily volumes of instruments.

    Attributes
    ----------
    values
        `COLUMNS` of the instruments: (8, n).
    session
        The session of the values, in days since 1970-01-01: (n,).
    changed_tick, sparkline_tick
        The tick at which an instrument's values, and its sparkline, last changed: (n,).
    sparklines
        Closes, oldest first, padded with NaN at the front: (n, `SPARKLINE_POINTS`).
    tick
        Number of changes so far.
    """

    def __init__(self) -> None:
        self.values: Floats = np.empty((len(COLUMNS), 0))
        self.session: Ints = np.empty(0, dtype=np.int64)
        self.changed_tick: Ints = np.empty(0, dtype=np.int64)
        self.sparkline_tick: Ints = np.empty(0, dtype=np.int64)
        self.sparklines: NDArray[np.float32] = np.empty((0, SPARKLINE_POINTS), dtype=np.float32)
        self.tick = 0
        self._daily_volumes: Floats = np.empty((0, AVERAGE_SESSIONS))
        self._daily_session: Ints = np.empty(0, dtype=np.int64)

    def grow(self, size: int) -> None:
        """Extend the columns to ``size`` instruments."""
        more = size - len(self.session)
        self.values = np.concatenate([self.values, np.full((len(COLUMNS), more), np.nan)], axis=1)
        self.session = np.concatenate([self.session, np.full(more, _NEVER)])
        self._daily_session = np.concatenate([self._daily_session, np.full(more, _NEVER)])
        self.changed_tick = np.concatenate([self.changed_tick, np.zeros(more, dtype=np.int64)])
        self.sparkline_tick = np.concatenate([self.sparkline_tick, np.zeros(more, dtype=np.int64)])
        self.sparklines = np.concatenate(
            [self.sparklines, np.full((more, SPARKLINE_POINTS), np.nan, dtype=np.float32)]
        )
        self._daily_volumes = np.concatenate([self._daily_volumes, np.full((more, AVERAGE_SESSIONS), np.nan)])

    def add(self, ids: Ints, session: Ints, last_ns: Ints, prices: Floats) -> None:
        """Add a part of a session to each of some distinct instruments; older sessions are skipped.

        Parameters
        ----------
        ids, session, last_ns
            Instruments, the session of each part and the time of its last price: (k,).
        prices
            Open, high, low, close and volume of the parts: (5, k).
        """
        is_current = session >= self.session[ids]
        ids, session, last_ns, prices = (
            ids[is_current],
            session[is_current],
            last_ns[is_current],
            prices[:, is_current],
        )
        if not len(ids):
            return
        values = self.values
        starts_session = session > self.session[ids]
        new_session_ids, same_session_ids = ids[starts_session], ids[~starts_session]
        values[PREVIOUS_CLOSE, new_session_ids] = values[LAST, new_session_ids]
        self.session[new_session_ids] = session[starts_session]
        values[OPEN : LOW + 1, new_session_ids] = prices[:3, starts_session]
        values[VOLUME, new_session_ids] = prices[4, starts_session]
        values[HIGH, same_session_ids] = np.fmax(values[HIGH, same_session_ids], prices[1, ~starts_session])
        values[LOW, same_session_ids] = np.fmin(values[LOW, same_session_ids], prices[2, ~starts_session])
        values[VOLUME, same_session_ids] = np.nan_to_num(values[VOLUME, same_session_ids]) + np.nan_to_num(
            prices[4, ~starts_session]
        )
        newest = ~(last_ns / 1e6 < values[TIME_MS, ids])
        values[LAST, ids[newest]] = prices[3, newest]
        values[TIME_MS, ids[newest]] = last_ns[newest] // 1_000_000
        self.tick += 1
        self.changed_tick[ids] = self.tick

    def add_daily_volume(self, ids: Ints, session: Ints, volume: Floats) -> None:
        """Add the volume of a complete session to the average of each of some distinct instruments."""
        is_newer = (session > self._daily_session[ids]) & np.isfinite(volume)
        ids, session, volume = ids[is_newer], session[is_newer], volume[is_newer]
        if not len(ids):
            return
        self._daily_session[ids] = session
        self._daily_volumes[ids, :-1] = self._daily_volumes[ids, 1:]
        self._daily_volumes[ids, -1] = volume
        self.values[AVERAGE_VOLUME, ids] = np.nanmean(self._daily_volumes[ids], axis=1)
        self.tick += 1
        self.changed_tick[ids] = self.tick

    def add_close(self, ids: Ints, close: Floats) -> None:
        """Append a close to the sparkline of each of some distinct instruments."""
        self.sparklines[ids, :-1] = self.sparklines[ids, 1:]
        self.sparklines[ids, -1] = close
        self.tick += 1
        self.sparkline_tick[ids] = self.tick
