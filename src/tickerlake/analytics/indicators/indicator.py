"""What an indicator is, and how one is found by what a user writes: ``RSI(14)``, ``MACD(12,26,9).signal``."""

from abc import ABC, abstractmethod
from typing import ClassVar

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.state_table import Fields, State, StateTable


class Indicator(ABC):
    """A value of each closed bar, computed from the bars before it and itself.

    A subclass gives ``parameters`` with their defaults, ``outputs``, ``fields`` and ``step``; the rest
    follows. The result must not depend on which other instruments share a step: only element-wise arithmetic,
    no sums along an axis.
    """

    parameters: ClassVar[dict[str, float]] = {}
    """Names (TA-Lib's) and defaults, in the order in which they are written."""

    minimums: ClassVar[dict[str, int]] = {}
    """Parameters that are whole numbers, and the least that each may be; the others may be any number."""

    outputs: ClassVar[tuple[str, ...]] = ("",)
    """Names of the results; one without a name for an indicator that has a single result."""

    def __init__(self, **arguments: float) -> None:
        self.arguments = {**self.parameters, **arguments}
        self.table = StateTable(self.fields())

    def int_argument(self, name: str) -> int:
        """Return a parameter that is a whole number."""
        return int(self.arguments[name])

    @abstractmethod
    def fields(self) -> Fields:
        """Return what is kept for each instrument; ``self.arguments`` holds the parameters."""

    @abstractmethod
    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Take one bar of each of some instruments into their state, in place.

        Returns
        -------
        tuple of arrays
            Each output, of the shape (k,); NaN where there is no value yet.
        """

    def update(self, bars: Bars) -> tuple[Floats, ...]:
        """Take closed bars, at most one of each instrument, and return the outputs."""
        block = self.table.gather(bars.rows)
        values = self.step(self.table.fields.view(block), bars)
        self.table.scatter(bars.rows, block)
        return values

    def preview(self, bars: Bars) -> tuple[Floats, ...]:
        """Return what the outputs would be if these bars closed now; nothing changes."""
        return self.step(self.table.fields.view(self.table.gather(bars.rows)), bars)
