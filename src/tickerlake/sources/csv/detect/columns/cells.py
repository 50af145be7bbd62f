"""The first cells of a column, and what they can be. Pure."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Final

from tickerlake.model.instrument import is_plain_symbol
from tickerlake.sources.csv.detect.times.dates import CLOCK_PATTERN, is_temporal, is_timestamp
from tickerlake.sources.csv.numbers import bare_number, is_missing

SAMPLE_CELLS: Final = 60
"""The number of cells by which a column is classified: enough for a majority, and fast."""

MIN_SHARE: Final = 0.8
"""The share of the cells that must pass a test: it tolerates some broken ones."""

_MIN_MEDIAN_SHARES: Final = 100
"""A round lot."""

_MAX_NUMBER: Final = 9e18
"""Nothing is that large; the limits of integers, which stand for no value, are."""

_MS_PER_DAY: Final = 86_400_000
_CLOCK_WIDTHS: Final = {1: 4, 2: 4, 3: 4, 4: 4, 5: 6, 6: 6, 8: 9, 9: 9, 12: 12, 15: 15}
"""Digits of a time of day as written, and with its leading zeros: 930, 93000, 093000123."""


@dataclass(frozen=True)
class ColumnSample:
    """The first cells of a column.

    Parameters
    ----------
    strings
        Without spaces around them.
    decimal_separator
        ``.`` or ``,``.
    """

    strings: Sequence[str]
    decimal_separator: str = "."

    @cached_property
    def non_missing(self) -> list[str]:
        """The cells that are not empty, nor a word for a missing value."""
        return [text for text in self.strings if not is_missing(text)]

    def share_where(self, predicate: Callable[[str], object]) -> float:
        """Return the share of the cells that are not missing that pass a test."""
        sample = self.non_missing[:SAMPLE_CELLS]
        return sum(bool(predicate(text)) for text in sample) / len(sample) if sample else 0.0

    @cached_property
    def is_numeric(self) -> bool:
        """True if its cells are numbers, and not dates."""
        return self.share_where(bare_number) >= MIN_SHARE and not self.share_where(is_temporal) >= MIN_SHARE

    @cached_property
    def is_price_like(self) -> bool:
        """True if its cells can be prices: numbers, but not percentages."""
        return self.is_numeric and self.share_where(lambda text: text.endswith("%")) < 0.5

    @cached_property
    def temporal_kind(self) -> str:
        """``timestamp`` (a date, with or without a time), ``clock``, or empty."""
        if self.share_where(CLOCK_PATTERN.fullmatch) >= MIN_SHARE:
            return "clock"
        return "timestamp" if self.share_where(is_timestamp) >= MIN_SHARE else ""

    @cached_property
    def is_symbol_like(self) -> bool:
        """True if its cells can be symbols of the usual characters; ``NA`` and ``NULL`` are symbols."""
        sample = [text for text in self.strings[:SAMPLE_CELLS] if text]
        return bool(sample) and sum(map(is_plain_symbol, sample)) >= 0.5 * len(sample)

    @cached_property
    def numbers(self) -> list[float | None]:
        """Its numbers, None where a cell is not a number."""
        return [self._to_number(text) for text in self.strings]

    def _to_number(self, text: str) -> float | None:
        digits = re.sub(r"[ \u00a0\u2009\u202f'’_]", "", bare_number(text)).replace("−", "-")
        group = "," if self.decimal_separator == "." else "."
        try:
            number = float(digits.replace(group, "").replace(",", "."))
        except ValueError:
            return None
        return number if abs(number) < _MAX_NUMBER else None


def complete_rows(columns: Sequence[ColumnSample], indexes: Sequence[int]) -> list[tuple[float, ...]]:
    """Return the numbers of some columns, from the rows in which all of them have one."""
    rows = zip(*(columns[i].numbers for i in indexes), strict=True)
    return [tuple(v for v in row if v is not None) for row in rows if None not in row]


def is_clock_digits(text: str) -> bool:
    """Return whether digits can be a time of day: ``930``, ``93000``."""
    if not text.isdigit() or len(text) not in _CLOCK_WIDTHS or (len(text) == 8 and is_timestamp(text)):
        return False
    digits = text.zfill(_CLOCK_WIDTHS[len(text)]).ljust(6, "0")
    return int(digits[:2]) < 24 and int(digits[2:4]) < 60 and int(digits[4:6]) < 60


def is_milliseconds_of_day(text: str) -> bool:
    """Return whether a number can be milliseconds since midnight: ``34200000``, ``34200000.367``."""
    return re.fullmatch(r"\d{1,8}(\.\d{1,6})?", text) is not None and float(text) < _MS_PER_DAY


def clock_width(strings: Sequence[str]) -> int:
    """Return the number of digits of times of day with leading zeros; 0 if they are not written as digits."""
    digits = [text for text in strings if text.isdigit()]
    longest = max(map(len, digits), default=0)
    return _CLOCK_WIDTHS.get(longest, 0) if len(digits) > 0.9 * len(strings) else 0


def is_share_count(cells: ColumnSample) -> bool:
    """Return whether a column can be numbers of shares: whole, mostly large, and not consecutive."""
    values = [value for value in cells.numbers if value is not None]
    if not values or not cells.is_numeric or median(values) < _MIN_MEDIAN_SHARES:
        return False
    return all(value >= 0 and value == int(value) for value in values) and not is_running_number(cells)


def is_running_number(cells: ColumnSample) -> bool:
    """Return whether a column is a running number, of trades or rows."""
    values = [value for value in cells.numbers if value is not None]
    return len(values) >= 10 and all(b > a and b == int(b) for a, b in pairwise(values))


def counts_rows(cells: ColumnSample) -> bool:
    """Return whether a column numbers rows or pairs of rows: whole numbers that rise or fall by 0 or 1."""
    values = [value for value in cells.numbers if value is not None]
    distinct = sorted(set(values))
    steps = {b - a for a, b in pairwise(values)}
    if len(distinct) < 3 or distinct[0] != int(distinct[0]) or not (steps <= {0, 1} or steps <= {0, -1}):
        return False
    # on few rows, sizes may rise from 2 to 4
    return len(values) >= 10 or distinct[0] in {0, 1}
