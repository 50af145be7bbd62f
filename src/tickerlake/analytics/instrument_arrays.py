"""Arrays with one value per instrument, which grow and shrink together."""

from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

import numpy as np

from tickerlake.analytics.bars import Ints

_VALUE_BITS: Final = 42
_MAX_VALUE: Final = (1 << _VALUE_BITS) - 1
"""Of 63 bits, 21 are left for the row: two million instruments. Values are relative to a batch, which spans
fewer than 2⁴² offsets; 2⁴² buckets of a second are 139,000 years."""


class PerInstrument(Protocol):
    """Whatever has state per instrument, indexed by its row."""

    def grow(self, size: int) -> None:
        """Add instruments up to ``size``."""
        ...

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        ...


class InstrumentArrays:
    """int64 arrays of the shape (n,), indexed by an instrument's row.

    A subclass names them in ``initial``, with the value of a new instrument, and annotates them.
    """

    initial: ClassVar[Mapping[str, int]]

    def __init__(self) -> None:
        for name in self.initial:
            setattr(self, name, np.empty(0, dtype=np.int64))

    def grow(self, size: int) -> None:
        """Add instruments up to ``size``, with initial values."""
        for name, value in self.initial.items():
            array = getattr(self, name)
            added = np.full(max(0, size - len(array)), value, dtype=np.int64)
            setattr(self, name, np.concatenate([array, added]))

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        for name in self.initial:
            setattr(self, name, getattr(self, name)[rows])


def sort_key(row: Ints, value: Ints | int) -> Ints:
    """Return keys that sort by instrument, then by value; values are clipped to 0 … 2⁴² − 1."""
    keys: Ints = (row << _VALUE_BITS) + np.clip(value, 0, _MAX_VALUE)
    return keys
