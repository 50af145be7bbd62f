"""Bars that are not closed yet, of all instruments, for one interval."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tickerlake.analytics.bars import Floats, Ints

_NONE = np.iinfo(np.int64).min


class Forming:
    """The bar that is forming and the one before it, in columns.

    The one before is kept, as a closed bar comes from Kafka a little later than the trade that closes it.

    Attributes
    ----------
    bucket
        Number of the bar, counted from 1970 (a day: its session), of the shape (2, n); row 0 is the forming
        one. The smallest integer where there is none.
    prices
        Open, high, low, close, volume, of the shape (2, 5, n).
    """

    def __init__(self) -> None:
        self.bucket: Ints = np.empty((2, 0), dtype=np.int64)
        self.prices: Floats = np.empty((2, 5, 0))

    def grow(self, size: int) -> None:
        """Make room for instruments up to ``size``."""
        more = size - self.bucket.shape[1]
        self.bucket = np.concatenate([self.bucket, np.full((2, more), _NONE)], axis=1)
        self.prices = np.concatenate([self.prices, np.full((2, 5, more), np.nan)], axis=2)

    def add(self, ids: NDArray[np.int64], bucket: Ints, prices: Floats) -> None:
        """Add a piece of a bar to each of some instruments, none twice; older pieces are passed over.

        Parameters
        ----------
        ids, bucket
            Instruments, and the bars in which the pieces lie: (k,).
        prices
            Open, high, low, close and volume of the pieces: (5, k).
        """
        now = self.bucket[0, ids]
        newer = bucket > now
        if newer.any():
            fresh = ids[newer]
            self.bucket[1, fresh], self.prices[1][:, fresh] = now[newer], self.prices[0][:, fresh]
            self.bucket[0, fresh], self.prices[0][:, fresh] = bucket[newer], prices[:, newer]
        for slot, same in ((0, bucket == now), (1, bucket == self.bucket[1, ids])):
            same = same & ~newer  # noqa: PLW2901
            if same.any():
                self._merge(slot, ids[same], prices[:, same])

    def _merge(self, slot: int, ids: NDArray[np.int64], prices: Floats) -> None:
        mine = self.prices[slot]
        mine[1, ids] = np.maximum(mine[1, ids], prices[1])
        mine[2, ids] = np.minimum(mine[2, ids], prices[2])
        mine[3, ids] = prices[3]
        mine[4, ids] += prices[4]

    def of(self, number: int, after_bucket: int) -> list[tuple[int, Floats]]:
        """Return an instrument's bars later than a closed one: bucket and prices (5,), oldest first."""
        found = []
        for slot in (1, 0):
            bucket = int(self.bucket[slot, number])
            if bucket > max(after_bucket, _NONE):
                found.append((bucket, self.prices[slot][:, number].copy()))
        return found

    def oldest_first(self) -> Iterator[tuple[Ints, Floats]]:
        """Yield the bars before, then the forming ones: buckets (n,) and prices (5, n)."""
        for slot in (1, 0):
            yield self.bucket[slot], self.prices[slot]
