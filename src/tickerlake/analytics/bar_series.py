"""Closed bars of one interval, in order: indicators are computed of them, and a watcher looks at them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.registry import make, outputs_of, parse
from tickerlake.analytics.state_table import StateTable

_NO_SESSION = np.iinfo(np.int64).min


class BarSeries:
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
        self.last_session: Ints = np.empty(0, dtype=np.int64)
        self._indicators: dict[str, Indicator] = {}
        self._outputs: dict[str, tuple[str, ...]] = {}
        self.published = [each.text for text in published for each in outputs_of(parse(text))]
        self.add_indicators([*published, *needed])

    def add_indicators(self, texts: Sequence[str]) -> None:
        """Compute further indicators from now on."""
        for text in texts:
            spec = parse(text)
            if spec.indicator_text not in self._indicators:
                indicator = self._indicators[spec.indicator_text] = make(spec)
                indicator.table.grow(len(self.last_session))
                outputs = outputs_of(parse(spec.indicator_text))
                self._outputs[spec.indicator_text] = tuple(each.text for each in outputs)

    @property
    def output_names(self) -> list[str]:
        """Names of all values, as ``RSI(14)`` or ``MACD(12,26,9).signal``."""
        return [name for names in self._outputs.values() for name in names]

    def tables(self) -> dict[str, StateTable]:
        """Return what is kept for each instrument, by indicator."""
        return {f"{self.interval} {text}": each.table for text, each in self._indicators.items()}

    def grow(self, size: int) -> None:
        """Make room for instruments up to ``size``."""
        self.last_session = np.concatenate(
            [self.last_session, np.full(size - len(self.last_session), _NO_SESSION)]
        )
        for indicator in self._indicators.values():
            indicator.table.grow(size)

    def retain(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew in the given order."""
        self.last_session = self.last_session[rows]
        for indicator in self._indicators.values():
            indicator.table.retain(rows)

    def mark_session_starts(self, bars: Bars) -> None:
        """Say of bars, one of an instrument at most, which are the first of their session."""
        bars.first_of_session[:] = self.last_session[bars.rows] != bars.session

    def update(self, bars: Bars) -> dict[str, Floats]:
        """Take closed bars, one of an instrument at most, and return the indicators' values."""
        self.mark_session_starts(bars)
        self.last_session[bars.rows] = bars.session
        values: dict[str, Floats] = {}
        for text, indicator in self._indicators.items():
            values.update(zip(self._outputs[text], indicator.update(bars), strict=True))
        return values

    def preview(self, bars: Bars, requested: frozenset[str]) -> Mapping[str, Floats]:
        """Return what some values would be if these bars closed now."""
        values: dict[str, Floats] = {}
        for text, indicator in self._indicators.items():
            if requested.intersection(self._outputs[text]):
                values.update(zip(self._outputs[text], indicator.preview(bars), strict=True))
        return values


def split_into_rounds(row: Ints) -> tuple[Ints, list[slice]]:
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
