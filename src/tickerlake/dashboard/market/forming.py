"""Forming bars of all instruments, for one interval."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tickerlake.analytics.bars import Floats, Ints

NO_BUCKET: Final = np.iinfo(np.int64).min


class FormingBars:
    """The forming bar and the previous one of each instrument, as columns.

    The previous one is still needed, as the closed bar arrives from Kafka after the trade that closes it.

    Attributes
    ----------
    buckets
        Number of the bar since 1970 (for days: its session), (2, n); row 0 is the forming bar. `NO_BUCKET`
        where there is none.
    prices
        Open, high, low, close and volume: (2, 5, n).
    """

    def __init__(self) -> None:
        self.buckets: Ints = np.empty((2, 0), dtype=np.int64)
        self.prices: Floats = np.empty((2, 5, 0))

    def grow(self, size: int) -> None:
        """Extend the columns to ``size`` instruments."""
        more = size - self.buckets.shape[1]
        self.buckets = np.concatenate([self.buckets, np.full((2, more), NO_BUCKET)], axis=1)
        self.prices = np.concatenate([self.prices, np.full((2, 5, more), np.nan)], axis=2)

    def add(self, ids: NDArray[np.int64], buckets: Ints, prices: Floats) -> None:
        """Add a part of a bar to each of some distinct instruments; parts of older bars are skipped.

        Parameters
        ----------
        ids, buckets
            Instruments, and the bars that the parts belong to: (k,).
        prices
            Open, high, low, close and volume of the parts: (5, k).
        """
        current = self.buckets[0, ids]
        newer = buckets > current
        if newer.any():
            new_ids = ids[newer]
            self.buckets[1, new_ids], self.prices[1][:, new_ids] = current[newer], self.prices[0][:, new_ids]
            self.buckets[0, new_ids], self.prices[0][:, new_ids] = buckets[newer], prices[:, newer]
        for row, same in ((0, buckets == current), (1, buckets == self.buckets[1, ids])):
            same = same & ~newer  # noqa: PLW2901
            if same.any():
                self._merge(row, ids[same], prices[:, same])

    def _merge(self, row: int, ids: NDArray[np.int64], prices: Floats) -> None:
        columns = self.prices[row]
        columns[1, ids] = np.maximum(columns[1, ids], prices[1])
        columns[2, ids] = np.minimum(columns[2, ids], prices[2])
        columns[3, ids] = prices[3]
        columns[4, ids] += prices[4]

    def bars_after(self, number: int, after_bucket: int) -> list[tuple[int, Floats]]:
        """Return an instrument's bars after a closed one: bucket and prices (5,), oldest first."""
        bars = []
        for row in (1, 0):
            bucket = int(self.buckets[row, number])
            if bucket > max(after_bucket, NO_BUCKET):
                bars.append((bucket, self.prices[row][:, number].copy()))
        return bars

    def oldest_first(self) -> Iterator[tuple[Ints, Floats]]:
        """Yield the previous bars, then the forming ones: buckets (n,) and prices (5, n)."""
        for row in (1, 0):
            yield self.buckets[row], self.prices[row]
