"""The known splits of instruments, by row, and state that is converted to new shares for a while."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import StateTable
from tickerlake.model.split import KnownSplits, Split

NO_SESSION: Final = int(np.iinfo(np.int64).min)
"""The last session of an instrument without a bar."""


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

    def set_factors(self, factors: Floats, rows: Ints, last_session: Ints, session: Ints) -> None:
        """Set `Bars.split_factor` of bars, given their sessions and those of the last bars."""
        if not self._known.by_name:
            return
        factors[:] = np.where(self._is_covered[rows], 1.0, np.nan)
        begins = self._has_splits[rows] & (last_session < session) & (last_session != NO_SESSION)
        for at in np.flatnonzero(begins).tolist():
            for split in self._by_row[rows[at]] or ():
                if last_session[at] < split.session <= session[at]:
                    factors[at] *= split.price_factor


@contextmanager
def after_splits(
    forming: Bars, components: Collection[tuple[Callable[[Ints, Floats], None], Collection[StateTable]]]
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
