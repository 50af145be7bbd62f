"""Closed bars of one interval, in order: indicators are computed of them, and a watcher looks at them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.columnar import Table
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.registry import make, outputs_of, parse

_NO_SESSION = np.iinfo(np.int64).min


class Series:
    """The closed bars of one interval of all instruments.

    Parameters
    ----------
    interval
        Their interval.
    published, needed
        Indicators, as a user writes them: those whose values are results, and those that a watcher wants.
    """

    def __init__(self, interval: str, published: Sequence[str], needed: Sequence[str] = ()) -> None:
        self.interval = interval
        self.session: Ints = np.empty(0, dtype=np.int64)
        self._indicators: dict[str, Indicator] = {}
        self._outputs: dict[str, tuple[str, ...]] = {}
        self.published = [each.text for text in published for each in outputs_of(parse(text))]
        self.want([*published, *needed])

    def want(self, needed: Sequence[str]) -> None:
        """Compute further indicators from now on."""
        for text in needed:
            spec = parse(text)
            if spec.indicator_text not in self._indicators:
                indicator = self._indicators[spec.indicator_text] = make(spec)
                indicator.table.grow(len(self.session))
                every = outputs_of(parse(spec.indicator_text))
                self._outputs[spec.indicator_text] = tuple(each.text for each in every)

    @property
    def names(self) -> list[str]:
        """Names of all values, as ``RSI(14)`` or ``MACD(12,26,9).signal``."""
        return [name for names in self._outputs.values() for name in names]

    def tables(self) -> dict[str, Table]:
        """Return what is kept for each instrument, by indicator."""
        return {f"{self.interval} {text}": each.table for text, each in self._indicators.items()}

    def grow(self, size: int) -> None:
        """Make room for instruments up to ``size``."""
        self.session = np.concatenate([self.session, np.full(size - len(self.session), _NO_SESSION)])
        for indicator in self._indicators.values():
            indicator.table.grow(size)

    def keep(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew in the given order."""
        self.session = self.session[rows]
        for indicator in self._indicators.values():
            indicator.table.keep(rows)

    def mark_first(self, bars: Bars) -> None:
        """Say of bars, one of an instrument at most, which are the first of their session."""
        bars.first_of_session[:] = self.session[bars.rows] != bars.session

    def update(self, bars: Bars) -> dict[str, Floats]:
        """Take closed bars, one of an instrument at most, and return the indicators' values."""
        self.mark_first(bars)
        self.session[bars.rows] = bars.session
        values: dict[str, Floats] = {}
        for text, indicator in self._indicators.items():
            values.update(zip(self._outputs[text], indicator.update(bars), strict=True))
        return values

    def peek(self, bars: Bars, wanted: frozenset[str]) -> Mapping[str, Floats]:
        """Return what some values would be if these bars closed now."""
        values: dict[str, Floats] = {}
        for text, indicator in self._indicators.items():
            if wanted.intersection(self._outputs[text]):
                values.update(zip(self._outputs[text], indicator.peek(bars), strict=True))
        return values


def rounds(row: Ints) -> tuple[Ints, list[slice]]:
    """Return an order of bars, and its rounds: in the n-th there is the n-th bar of each instrument.

    Parameters
    ----------
    row
        Instruments of the bars, sorted; the bars of an instrument stand in the order of time.
    """
    starts = (
        np.flatnonzero(np.append(True, values=row[1:] != row[:-1])) if len(row) else np.empty(0, np.int64)
    )
    sizes = np.diff(np.append(starts, len(row)))
    number = np.arange(len(row)) - np.repeat(starts, sizes)
    order = np.argsort(number, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(number))]) if len(row) else np.zeros(1, np.int64)
    return order, [slice(int(a), int(b)) for a, b in pairwise(edges)]
