"""The known splits of instruments, by row, and state that is converted to new shares for a while."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import StateTable
from tickerlake.model.split import KnownSplits, Split

NO_SESSION: Final = int(np.iinfo(np.int64).min)
"""The last session of an instrument without a bar."""

_MIN_LOG_FACTOR: Final = 0.2
"""The smallest split, 5:4, that a price shows."""

AdjustForSplit = Callable[[Ints, Floats], None]
"""Converts state to the new shares, given rows and price factors."""


class InstrumentSplits:
    """The known splits of instruments, by row.

    Parameters
    ----------
    known
        The splits by name.
    """

    def __init__(self, known: KnownSplits) -> None:
        self._known = known
        self._by_row: list[Sequence[Split] | None] = []
        self._is_covered = np.zeros(0, dtype=bool)
        self._has_splits = np.zeros(0, dtype=bool)

    def add(self, instruments: Iterable[tuple[str, str]]) -> None:
        """Add instruments by id and symbol."""
        self._by_row += [self._known.of(*each) for each in instruments]
        self._is_covered = np.array([each is not None for each in self._by_row], dtype=bool)
        self._has_splits = np.array([bool(each) for each in self._by_row], dtype=bool)

    def clear(self) -> None:
        """Drop all instruments."""
        self._by_row = []
        self.add([])

    @property
    def are_known(self) -> bool:
        """True if the splits of some instrument are known."""
        return bool(self._known.by_name)

    def set_factors(self, bars: Bars, last_session: Ints, last_close: Floats) -> None:
        """Set `Bars.split_factor` of bars, given the sessions and closes of the last bars.

        A split that the prices do not show is 1: they are adjusted for it.
        """
        bars.split_factor[:] = np.where(self._is_covered[bars.rows], 1.0, np.nan)
        begins = self._has_splits[bars.rows] & (last_session < bars.session) & (last_session != NO_SESSION)
        for at in np.flatnonzero(begins).tolist():
            factor = 1.0
            for split in self._by_row[bars.rows[at]] or ():
                if last_session[at] < split.session <= bars.session[at]:
                    factor *= split.price_factor
            if not _is_adjusted(float(bars.first_price[at] / last_close[at]), factor):
                bars.split_factor[at] = factor


def _is_adjusted(change: float, factor: float) -> bool:
    """Return whether a price changed so little at a split that it must be in new shares before it, too.

    A move overnight can hide, or look like, a small split.
    """
    size = math.log(factor)
    return abs(size) >= _MIN_LOG_FACTOR and abs(math.log(change)) < abs(math.log(change) - size)


@contextmanager
def after_splits(
    forming: Bars, components: Collection[tuple[AdjustForSplit, Collection[StateTable]]]
) -> Iterator[None]:
    """Convert the state of components to the shares of forming bars, until the block ends.

    A forming bar does not change state: the bar that closes converts it for good.

    Parameters
    ----------
    forming
        Bars, any number of each instrument.
    components
        Functions that convert state, given rows and price factors, and the tables that they change.
    """
    if not forming.has_splits:
        yield
        return
    rows, first = np.unique(forming.rows[forming.is_split], return_index=True)
    factor = forming.split_factor[forming.is_split][first]
    saved = [(table, table.gather(rows)) for _, tables in components for table in tables]
    for adjust, _ in components:
        adjust(rows, factor)
    try:
        yield
    finally:
        for table, block in saved:
            table.scatter(rows, block)
