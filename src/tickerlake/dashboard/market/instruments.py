"""Numbers instruments in the order of arrival."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Ints
from tickerlake.errors import DataError
from tickerlake.model.instrument import split_instrument_id

MAX_INSTRUMENTS: Final = 50_000
"""Further instruments are not shown: the memory and the time of a frame grow with their number."""


class InstrumentIndex:
    """Maps instrument identifiers to numbers; -1 for an invalid identifier."""

    def __init__(self) -> None:
        self.instrument_ids: list[str] = []
        self.symbols: list[str] = []
        self.markets: list[str] = []
        self._numbers: dict[str, int] = {}
        self._by_symbol: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.instrument_ids)

    def numbers(self, names: Iterable[str]) -> Ints:
        """Return the numbers of instruments; new instruments are added."""
        numbers = self._numbers
        return np.array(
            [numbers[name] if name in numbers else self._add(name) for name in names], dtype=np.int64
        )

    def find(self, name: str) -> int | None:
        """Return the number of an instrument by its identifier, or else by its symbol."""
        number = self._numbers.get(name, -1)
        return number if number >= 0 else self._by_symbol.get(name)

    def _add(self, name: str) -> int:
        try:
            symbol, market = split_instrument_id(name)
        except DataError:
            return -1
        if len(self.instrument_ids) >= MAX_INSTRUMENTS:
            return -1
        number = self._numbers[name] = len(self.instrument_ids)
        self.instrument_ids.append(name)
        self.symbols.append(symbol)
        self.markets.append(market)
        self._by_symbol.setdefault(symbol, number)
        return number
