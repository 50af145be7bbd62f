"""The latest values of all instruments, in columns, with a number that says when each changed."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tickerlake.analytics.bars import Floats, Ints

LAST, TIME_MS, PREVIOUS, OPEN, HIGH, LOW, VOLUME, AVERAGE_VOLUME = range(8)
COLUMNS: Final = ("last", "time_ms", "previous", "open", "high", "low", "volume", "average_volume")
"""The rows of `Latest.values`: last price and its time, the close of the session before, the session's open,
high, low and volume, and the mean volume of the last sessions. NaN where it is not known."""

POINTS: Final = 48
"""Closes of a sparkline."""

SESSIONS: Final = 20
"""Sessions of which the mean volume is taken."""

_NEVER: Final = np.iinfo(np.int64).min


class Latest:
    """Latest values, sparklines and daily volumes of instruments.

    Attributes
    ----------
    values
        `COLUMNS` of the instruments: (8, n).
    session
        The session that the values are of, days since 1970-01-01: (n,).
    changed, moved
        The tick at which an instrument's values, and its sparkline, changed last: (n,).
    closes
        The sparklines, oldest first, NaN in front: (n, `POINTS`).
    tick
        Counts the changes.
    """

    def __init__(self) -> None:
        self.values: Floats = np.empty((len(COLUMNS), 0))
        self.session: Ints = np.empty(0, dtype=np.int64)
        self.changed: Ints = np.empty(0, dtype=np.int64)
        self.moved: Ints = np.empty(0, dtype=np.int64)
        self.closes: NDArray[np.float32] = np.empty((0, POINTS), dtype=np.float32)
        self.tick = 0
        self._volumes: Floats = np.empty((0, SESSIONS))
        self._daily: Ints = np.empty(0, dtype=np.int64)

    def grow(self, size: int) -> None:
        """Make room for instruments up to ``size``."""
        more = size - len(self.session)
        self.values = np.concatenate([self.values, np.full((len(COLUMNS), more), np.nan)], axis=1)
        self.session = np.concatenate([self.session, np.full(more, _NEVER)])
        self._daily = np.concatenate([self._daily, np.full(more, _NEVER)])
        self.changed = np.concatenate([self.changed, np.zeros(more, dtype=np.int64)])
        self.moved = np.concatenate([self.moved, np.zeros(more, dtype=np.int64)])
        self.closes = np.concatenate([self.closes, np.full((more, POINTS), np.nan, dtype=np.float32)])
        self._volumes = np.concatenate([self._volumes, np.full((more, SESSIONS), np.nan)])

    def add(self, ids: Ints, session: Ints, last_ns: Ints, prices: Floats) -> None:
        """Add a piece of a session to each of some instruments, none twice.

        Parameters
        ----------
        ids, session, last_ns
            Instruments, the session of each piece and the time of its last price: (k,).
        prices
            Open, high, low, close and volume of the pieces: (5, k).
        """
        kept = session >= self.session[ids]
        ids, session, last_ns, prices = ids[kept], session[kept], last_ns[kept], prices[:, kept]
        if not len(ids):
            return
        values = self.values
        rolls = session > self.session[ids]
        fresh, same = ids[rolls], ids[~rolls]
        values[PREVIOUS, fresh] = values[LAST, fresh]
        self.session[fresh] = session[rolls]
        values[OPEN : LOW + 1, fresh] = prices[:3, rolls]
        values[VOLUME, fresh] = prices[4, rolls]
        values[HIGH, same] = np.fmax(values[HIGH, same], prices[1, ~rolls])
        values[LOW, same] = np.fmin(values[LOW, same], prices[2, ~rolls])
        values[VOLUME, same] = np.nan_to_num(values[VOLUME, same]) + np.nan_to_num(prices[4, ~rolls])
        newest = ~(last_ns / 1e6 < values[TIME_MS, ids])
        values[LAST, ids[newest]] = prices[3, newest]
        values[TIME_MS, ids[newest]] = last_ns[newest] // 1_000_000
        self.tick += 1
        self.changed[ids] = self.tick

    def add_daily(self, ids: Ints, session: Ints, volume: Floats) -> None:
        """Add the volume of a whole session to the means, none of an instrument twice."""
        kept = (session > self._daily[ids]) & np.isfinite(volume)
        ids, session, volume = ids[kept], session[kept], volume[kept]
        if not len(ids):
            return
        self._daily[ids] = session
        self._volumes[ids, :-1] = self._volumes[ids, 1:]
        self._volumes[ids, -1] = volume
        self.values[AVERAGE_VOLUME, ids] = np.nanmean(self._volumes[ids], axis=1)
        self.tick += 1
        self.changed[ids] = self.tick

    def add_close(self, ids: Ints, close: Floats) -> None:
        """Move the sparklines of some instruments on by one close, none twice."""
        self.closes[ids, :-1] = self.closes[ids, 1:]
        self.closes[ids, -1] = close
        self.tick += 1
        self.moved[ids] = self.tick
