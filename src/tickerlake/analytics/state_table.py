"""State of many instruments in columns: the basis of indicators and detectors.

A component is a pure function of one step: it receives the state of some instruments and one bar of each, and
updates the state in place. Storage, growth and snapshots of the state are the same for all components.
"""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Floats, Ints

State = Mapping[str, Floats]
"""Fields of a component's state: ``state["x"]`` has the shape (k,), a window of n values (n, k).

A step writes into the arrays: ``state["x"][:] = …``.
"""

_GROWTH_FACTOR: Final = 1.5
"""Growing by a factor keeps the total cost of copies proportional to the size."""


class Fields:
    """Names, sizes and initial values of a component's state.

    Parameters
    ----------
    initial
        Initial value of each field, NaN for "not known yet".
    windows
        Number of values of the fields that hold more than one.
    """

    def __init__(self, initial: Mapping[str, float], windows: Mapping[str, int] | None = None) -> None:
        self._slices: dict[str, slice | int] = {}
        values: list[float] = []
        for name, value in initial.items():
            size = (windows or {}).get(name)
            self._slices[name] = len(values) if size is None else slice(len(values), len(values) + size)
            values += [value] * (1 if size is None else size)
        self.initial = np.array(values, dtype=np.float64).reshape(-1, 1)

    @property
    def height(self) -> int:
        """Number of values per instrument."""
        return len(self.initial)

    def view(self, block: Floats) -> dict[str, Floats]:
        """Return the fields of a block of the shape (height, k), as views."""
        return {name: block[position] for name, position in self._slices.items()}


class StateTable:
    """The state of a component for all instruments, indexed by their row.

    Parameters
    ----------
    fields
        The state of one instrument.
    """

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self._block: Floats = np.repeat(fields.initial, 0, axis=1)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def grow(self, size: int) -> None:
        """Add instruments up to ``size``, with the initial state."""
        if size > self._block.shape[1]:
            extra = max(size, int(self._block.shape[1] * _GROWTH_FACTOR)) - self._block.shape[1]
            self._block = np.concatenate([self._block, np.repeat(self.fields.initial, extra, axis=1)], axis=1)
        self._size = max(self._size, size)

    def gather(self, rows: Ints) -> Floats:
        """Return a copy of the state of some instruments, of the shape (height, k)."""
        # Not `block[:, rows]`: its result is laid out by instrument, and every step would stride through it.
        return self._block.take(rows, axis=1)

    def scatter(self, rows: Ints, block: Floats) -> None:
        """Write the state of some instruments back."""
        self._block[:, rows] = block

    def rescale(
        self, rows: Ints, factor: Floats, price_fields: Collection[str], share_fields: Collection[str]
    ) -> None:
        """Convert fields to the new shares after splits.

        Parameters
        ----------
        rows, factor
            The instruments, and their new price divided by the old one.
        price_fields, share_fields
            Fields that hold prices, and numbers of shares.
        """
        block = self.gather(rows)
        state = self.fields.view(block)
        for name in state.keys() & set(price_fields):
            state[name] *= factor
        for name in state.keys() & set(share_fields):
            state[name] /= factor
        self.scatter(rows, block)

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        self._block = np.ascontiguousarray(self._block[:, rows])
        self._size = len(rows)
