"""The first cells of a column, and what they may be. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Final

from tickerlake.model.instrument import is_symbol
from tickerlake.sources.csv.dates import CLOCK, is_moment, is_temporal
from tickerlake.sources.csv.numbers import bare, is_missing

MOST_CELLS: Final = 60
"""How many cells are looked at to tell what a column is."""

_CLEAR: Final = 0.8
_MANY_SHARES: Final = 100
_CLOCK_DIGITS: Final = {1: 4, 2: 4, 3: 4, 4: 4, 5: 6, 6: 6, 8: 9, 9: 9, 12: 12, 15: 15}
"""Digits of a time of day as it is written, with its noughts: 930, 93000, 093000123."""


@dataclass(frozen=True)
class Cells:
    """The first cells of a column.

    Parameters
    ----------
    texts
        Without blanks around them.
    decimal
        What stands before decimals.
    """

    texts: Sequence[str]
    decimal: str = "."

    @cached_property
    def present(self) -> list[str]:
        """The cells that say something."""
        return [text for text in self.texts if not is_missing(text)]

    def share(self, test: Callable[[str], object]) -> float:
        """Return for how many of the cells that say something a test holds."""
        some = self.present[:MOST_CELLS]
        return sum(bool(test(text)) for text in some) / len(some) if some else 0.0

    @cached_property
    def numeric(self) -> bool:
        """True if its cells are numbers, and not dates."""
        return self.share(bare) >= _CLEAR and not self.share(is_temporal) >= _CLEAR

    @cached_property
    def price(self) -> bool:
        """True if its cells may be prices: numbers, and no percentages."""
        return self.numeric and self.share(lambda text: text.endswith("%")) < 0.5

    @cached_property
    def temporal(self) -> str:
        """``moment`` (a date, maybe with a time), ``clock``, or nothing."""
        if self.share(CLOCK.fullmatch) >= _CLEAR:
            return "clock"
        return "moment" if self.share(is_moment) >= _CLEAR else ""

    @cached_property
    def symbols(self) -> bool:
        """True if its cells may be symbols. ``NA`` and ``NULL`` are."""
        some = [text for text in self.texts[:MOST_CELLS] if text]
        return bool(some) and sum(map(is_symbol, some)) >= 0.5 * len(some)

    @cached_property
    def values(self) -> list[float | None]:
        """Its numbers, None where a cell is none."""
        return [self._value(text) for text in self.texts]

    def _value(self, text: str) -> float | None:
        digits = re.sub(r"[ \u00a0\u2009\u202f'’_]", "", bare(text)).replace("−", "-")
        group = "," if self.decimal == "." else "."
        try:
            return float(digits.replace(group, "").replace(",", "."))
        except ValueError:
            return None


def full_rows(columns: Sequence[Cells], indexes: Sequence[int]) -> list[tuple[float, ...]]:
    """Return the numbers of some columns, of the rows in which each has one."""
    rows = zip(*(columns[i].values for i in indexes), strict=True)
    return [tuple(v for v in row if v is not None) for row in rows if None not in row]


def reads_as_clock(text: str) -> bool:
    """Tell whether digits may be a time of day: ``930``, ``93000``."""
    if not text.isdigit() or len(text) not in _CLOCK_DIGITS or (len(text) == 8 and is_moment(text)):
        return False
    digits = text.zfill(_CLOCK_DIGITS[len(text)]).ljust(6, "0")
    return int(digits[:2]) < 24 and int(digits[2:4]) < 60 and int(digits[4:6]) < 60


def clock_digits(texts: Sequence[str]) -> int:
    """Return to how many digits times of day are filled up, 0 if they are not written as digits."""
    digits = [text for text in texts if text.isdigit()]
    longest = max(map(len, digits), default=0)
    return _CLOCK_DIGITS.get(longest, 0) if len(digits) > 0.9 * len(texts) else 0


def counts_shares(cells: Cells) -> bool:
    """Tell whether a column may be numbers of shares: whole, most of them large, and not running."""
    values = [value for value in cells.values if value is not None]
    if not values or not cells.numeric or median(values) < _MANY_SHARES:
        return False
    return all(value >= 0 and value == int(value) for value in values) and not runs(cells)


def runs(cells: Cells) -> bool:
    """Tell whether a column is a running number: of trades, of rows."""
    values = [value for value in cells.values if value is not None]
    return len(values) >= 10 and all(b > a and b == int(b) for a, b in pairwise(values))
