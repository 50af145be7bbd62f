"""Closed bars of one interval, in order, and the indicators computed from them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints, Phase
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.registry import make, outputs_of, parse
from tickerlake.analytics.instrument_arrays import InstrumentArrays, PerInstrument
from tickerlake.analytics.known_splits import NO_SESSION, InstrumentSplits, after_splits
from tickerlake.analytics.state_table import Fields, StateTable


class SeriesArrays(InstrumentArrays):
    """Where in a session each instrument's last closed bars are.

    Attributes
    ----------
    last_session
        The session date of the last regular bar, in days since 1970-01-01.
    last_phase
        The session date of the last bar × the number of phases + its phase.
    """

    last_session: Ints
    last_phase: Ints
    initial: ClassVar = {"last_session": NO_SESSION, "last_phase": NO_SESSION}


class BarSeries:
    """The closed bars of one interval, of all instruments.

    Parameters
    ----------
    interval
        Their interval.
    published, needed
        Indicators in the user's syntax: those whose values are published, and those that the watcher needs.
    splits
        The known splits of the instruments.
    """

    def __init__(
        self, interval: str, published: Sequence[str], needed: Sequence[str], splits: InstrumentSplits
    ) -> None:
        self.interval = interval
        self._splits = splits
        self.arrays = SeriesArrays()
        self._closes = StateTable(Fields({"close": np.nan}))
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
                indicator.table.grow(len(self.arrays.last_session))
                outputs = outputs_of(parse(spec.indicator_text))
                self._outputs[spec.indicator_text] = tuple(each.text for each in outputs)

    @property
    def output_names(self) -> list[str]:
        """Names of all values, such as ``RSI(14)`` or ``MACD(12,26,9).signal``."""
        return [name for names in self._outputs.values() for name in names]

    def tables(self) -> dict[str, StateTable]:
        """Return the state of each indicator, and the last closes if they are needed for known splits."""
        tables = {f"{self.interval} {text}": each.table for text, each in self._indicators.items()}
        return tables | ({f"{self.interval} closes": self._closes} if self._splits.are_known else {})

    def grow(self, size: int) -> None:
        """Add instruments up to ``size``."""
        for each in self._per_instrument():
            each.grow(size)

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        for each in self._per_instrument():
            each.retain(rows)

    def _per_instrument(self) -> list[PerInstrument]:
        return [self.arrays, *self.tables().values()]

    def mark_session_starts(self, bars: Bars) -> None:
        """Set ``first_of_session``, ``first_of_phase`` and ``split_factor`` of bars."""
        regular, last_phase = bars.is_regular, self.arrays.last_phase[bars.rows]
        bars.first_of_session[:] = regular & (self.arrays.last_session[bars.rows] != bars.session)
        bars.first_of_phase[:] = last_phase != _phase_number(bars)
        if self._splits.are_known:
            last_session = np.where(last_phase == NO_SESSION, NO_SESSION, last_phase // len(Phase))
            self._splits.set_factors(bars, last_session, self._closes.gather(bars.rows)[0])

    def update(self, bars: Bars) -> dict[str, Floats]:
        """Process closed bars, at most one per instrument, and return the indicators' values."""
        self.mark_session_starts(bars)
        regular = bars.is_regular
        self.arrays.last_session[bars.rows[regular]] = bars.session[regular]
        self.arrays.last_phase[bars.rows] = _phase_number(bars)
        if bars.has_splits:
            rows, factor = bars.rows[bars.is_split], bars.split_factor[bars.is_split]
            for indicator in self._indicators.values():
                indicator.adjust_for_split(rows, factor)
        if self._splits.are_known:
            self._closes.scatter(bars.rows, bars.close[np.newaxis])
        values: dict[str, Floats] = {}
        for text, indicator in self._indicators.items():
            values.update(zip(self._outputs[text], indicator.update(bars), strict=True))
        return values

    def preview(self, bars: Bars, requested: frozenset[str]) -> Mapping[str, Floats]:
        """Return the values of some indicators as if these bars closed now."""
        values: dict[str, Floats] = {}
        used = {
            text: each
            for text, each in self._indicators.items()
            if requested.intersection(self._outputs[text])
        }
        with after_splits(bars, [(each.adjust_for_split, [each.table]) for each in used.values()]):
            for text, indicator in used.items():
                values.update(zip(self._outputs[text], indicator.preview(bars), strict=True))
        return values


def _phase_number(bars: Bars) -> Ints:
    return bars.session * len(Phase) + bars.phase


def split_into_rounds(row: Ints) -> tuple[Ints, list[slice]]:
    """Return an order of bars and its rounds: round n contains the n-th bar of each instrument.

    Parameters
    ----------
    row
        The instruments of the bars, sorted; each instrument's bars are in order of time.
    """
    starts = (
        np.flatnonzero(np.append(True, values=row[1:] != row[:-1])) if len(row) else np.empty(0, np.int64)
    )
    sizes = np.diff(np.append(starts, len(row)))
    number = np.arange(len(row)) - np.repeat(starts, sizes)
    order = np.argsort(number, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(number))]) if len(row) else np.zeros(1, np.int64)
    return order, [slice(int(a), int(b)) for a, b in pairwise(edges)]
