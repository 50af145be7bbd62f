"""Instruments as small numbers, in the order in which they came."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Ints
from tickerlake.errors import DataError
from tickerlake.model.instrument import split_instrument_id

MOST: Final = 50_000
"""Instruments beyond these are not shown."""


class Names:
    """Numbers of instruments; a name that is no instrument's has none (-1)."""

    def __init__(self) -> None:
        self.instruments: list[str] = []
        self.symbols: list[str] = []
        self.markets: list[str] = []
        self._numbers: dict[str, int] = {}
        self._by_symbol: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.instruments)

    def numbers(self, names: Iterable[str]) -> Ints:
        """Return the numbers of instruments, new ones for those that are new."""
        known = self._numbers
        return np.array([known[name] if name in known else self._new(name) for name in names], dtype=np.int64)

    def find(self, name: str) -> int | None:
        """Return the number of an instrument by its identifier or, if that is unknown, its symbol."""
        number = self._numbers.get(name, -1)
        return number if number >= 0 else self._by_symbol.get(name)

    def _new(self, name: str) -> int:
        try:
            symbol, market = split_instrument_id(name)
        except DataError:
            return -1
        if len(self.instruments) >= MOST:
            return -1
        number = self._numbers[name] = len(self.instruments)
        self.instruments.append(name)
        self.symbols.append(symbol)
        self.markets.append(market)
        self._by_symbol.setdefault(symbol, number)
        return number
