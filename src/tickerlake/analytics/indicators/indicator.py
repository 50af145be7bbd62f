"""The base class of indicators."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import Fields, State, StateTable


class Indicator(ABC):
    """A value of each closed bar, computed from the bar and the bars before it.

    A subclass defines ``parameters`` with their defaults, ``outputs``, ``fields`` and ``step``. The result
    must not depend on which instruments share a step: only element-wise arithmetic, no sums along an axis.
    """

    parameters: ClassVar[dict[str, float]] = {}
    """Names (TA-Lib's) and defaults, in the order of positional arguments."""

    minimums: ClassVar[dict[str, int]] = {}
    """Parameters that are integers, with their minimum; the others accept any number."""

    outputs: ClassVar[tuple[str, ...]] = ("",)
    """Names of the results; a single empty name for an indicator with one result."""

    needs_range: ClassVar[bool] = False
    """True if it reads open, high or low: bars of which only the close is known do not count, and have no
    value."""

    price_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that hold prices: a known split multiplies them."""

    share_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that hold numbers of shares: a known split divides them."""

    def __init__(self, **arguments: float) -> None:
        self.arguments = {**self.parameters, **arguments}
        self.table = StateTable(self.fields())

    def int_argument(self, name: str) -> int:
        """Return a parameter that is an integer."""
        return int(self.arguments[name])

    @abstractmethod
    def fields(self) -> Fields:
        """Return the state per instrument; ``self.arguments`` holds the parameters."""

    @abstractmethod
    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Update the state of some instruments, in place, with one bar of each.

        Returns
        -------
        tuple of arrays
            Each output, of the shape (k,); NaN where there is no value yet.
        """

    def update(self, bars: Bars) -> tuple[Floats, ...]:
        """Process closed bars, at most one per instrument, and return the outputs."""
        return self._process(bars, save=True)

    def preview(self, bars: Bars) -> tuple[Floats, ...]:
        """Return the outputs as if these bars closed now, without changing the state."""
        return self._process(bars, save=False)

    def adjust_for_split(self, rows: Ints, factor: Floats) -> None:
        """Convert the state to the new shares; the factor is the new price divided by the old one."""
        self.table.rescale(rows, factor, self.price_fields, self.share_fields)

    def _process(self, bars: Bars, *, save: bool) -> tuple[Floats, ...]:
        if self.needs_range and not (has_range := bars.has_range).all():
            known = np.flatnonzero(has_range)
            outputs = tuple(np.full(len(bars), np.nan) for _ in self.outputs)
            for output, each in zip(outputs, self._process(bars.select(known), save=save), strict=True):
                output[known] = each
            return outputs
        block = self.table.gather(bars.rows)
        values = self.step(self.table.fields.view(block), bars)
        if save:
            self.table.scatter(bars.rows, block)
        return values
