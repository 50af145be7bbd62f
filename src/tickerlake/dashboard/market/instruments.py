"""Instruments as small numbers, in the order in which they came."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Ints
from tickerlake.errors import DataError
from tickerlake.model.instrument import split_instrument_id

MAX_INSTRUMENTS: Final = 50_000
"""Instruments beyond these are not shown."""


class InstrumentIndex:
    """Numbers of instruments; a name that is no instrument's has none (-1)."""

    def __init__(self) -> None:
        self.instrument_ids: list[str] = []
        self.symbols: list[str] = []
        self.markets: list[str] = []
        self._numbers: dict[str, int] = {}
        self._by_symbol: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.instrument_ids)

    def numbers(self, names: Iterable[str]) -> Ints:
        """Return the numbers of instruments, new ones for those that are new."""
        numbers = self._numbers
        return np.array(
            [numbers[name] if name in numbers else self._add(name) for name in names], dtype=np.int64
        )

    def find(self, name: str) -> int | None:
        """Return the number of an instrument by its identifier or, if that is unknown, its symbol."""
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
