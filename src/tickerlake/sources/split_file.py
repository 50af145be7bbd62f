"""Reads known splits: a list of splits, or a file of bars with a column of ratios or of adjusted closes."""

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from tickerlake.errors import UsageError
from tickerlake.model.dates import to_days
from tickerlake.model.split import SPLIT_RATIOS, KnownSplits, Split
from tickerlake.sources.csv.detect.file_name import parse_file_name

_SYMBOL_NAMES: Final = "symbol ticker instrument instrumentid actsymbol stock code".split()
_DATE_NAMES: Final = (
    "date exdate splitdate exsplitdate executiondate effectivedate tradedate sessiondate day timestamp "
    "datetime time"
).split()
_RATIO_NAMES: Final = (
    "ratio splitratio split splits stocksplits stocksplit splitcoefficient splitfactor".split()
)
_PAIRS: Final = (
    *(("new", "old"), ("newshares", "oldshares"), ("splitto", "splitfrom"), ("tofactor", "forfactor")),
    *(("newrate", "oldrate"), ("numerator", "denominator"), ("to", "from")),
)
"""Names of the columns of new and old shares, as vendors write them."""

_CLOSE_NAMES: Final = "close closeprice last closingprice".split()
_ADJUSTED_NAMES: Final = "adjclose adjustedclose closeadj adjustedcloseprice".split()
_DATE_PATTERN: Final = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?!\d)")
_RATIO_PATTERN: Final = re.compile(
    r"(\d+(?:\.\d*)?|\.\d+)(?:\s*(?::|/|-?\s*for\s*-?|\bto\b|-)\s*(\d+(?:\.\d*)?|\.\d+))?", re.IGNORECASE
)
_MAX_RATIO: Final = 10_000.0
_ADJUSTMENT_TOLERANCE: Final = 0.02
"""Of the ratio that two adjusted closes show: a dividend on the same day, and the rounding of both."""

_MIN_DIGITS: Final = 3
"""An adjusted close with fewer is too coarse."""

_DELIMITERS: Final = ",;\t|"
_COLUMNS_HINT: Final = (
    "Give it a header and columns such as symbol,date,ratio with rows such as AAPL,2020-08-31,4:1."
)


def read_splits(paths: Sequence[Path]) -> KnownSplits:
    """Read files of splits.

    A file covers all symbols that it names: what it does not list for them is no split. A file without a
    column of symbols is that of the symbol in its name.

    Parameters
    ----------
    paths
        CSV files, also compressed with gzip.

    Raises
    ------
    UsageError
        If a file cannot be read, or a value is not valid.
    """
    splits: dict[str, dict[int, Split]] = {}
    for path in paths:
        try:
            _SplitFile(path, splits).read()
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UsageError(
                f"The file of splits {path} cannot be read: {error}.", "Check --splits."
            ) from error
    return KnownSplits({name: tuple(sorted(each.values())) for name, each in splits.items()})


class _Columns(NamedTuple):
    """Positions of the columns; -1 for one that the file does not have."""

    symbol: int
    date: int
    ratio: int
    new: int
    old: int
    close: int
    adjusted: int

    @classmethod
    def find(cls, header: Sequence[str]) -> "_Columns":
        at = {re.sub(r"[^a-z]", "", name.lower()): number for number, name in reversed([*enumerate(header)])}

        def first(names: Sequence[str]) -> int:
            return next((at[name] for name in names if name in at), -1)

        new, old = next(((at[a], at[b]) for a, b in _PAIRS if a in at and b in at), (-1, -1))
        ratio, adjusted, close = first(_RATIO_NAMES), first(_ADJUSTED_NAMES), first(_CLOSE_NAMES)
        return cls(first(_SYMBOL_NAMES), first(_DATE_NAMES), ratio, new, old, close, adjusted)

    @property
    def has_ratios(self) -> bool:
        return self.ratio >= 0 or self.new >= 0

    @property
    def has_closes(self) -> bool:
        return self.close >= 0 and self.adjusted >= 0


@dataclass
class _SplitFile:
    """One file, and the splits by name and session to add to."""

    path: Path
    splits: dict[str, dict[int, Split]]
    last_factors: dict[str, tuple[int, float]] = field(default_factory=dict)

    def read(self) -> None:
        """Add the splits of the file."""
        with self.path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
        with (
            gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
            if is_gzip
            else self.path.open(encoding="utf-8-sig", newline="") as lines
        ):
            header = next((line for line in lines if line.strip()), "")
            delimiter = max(_DELIMITERS, key=header.count)
            rows = csv.reader(chain([header], lines), delimiter=delimiter)
            columns = _Columns.find([name.strip() for name in next(rows, [])])
            if columns.date < 0 or not (columns.has_ratios or columns.has_closes):
                raise UsageError(
                    f"{self.path} has no columns of dates and ratios: {header.strip()[:200]!r}.",
                    _COLUMNS_HINT,
                )
            self._add_rows(rows, columns, self._symbol_of_name() if columns.symbol < 0 else "")

    def _symbol_of_name(self) -> str:
        if symbol := parse_file_name(self.path.name).symbol:
            return symbol
        raise UsageError(f"{self.path} names no symbol, in a column or in its name.", _COLUMNS_HINT)

    def _add_rows(self, rows: Iterator[list[str]], columns: _Columns, symbol: str) -> None:
        for number, row in enumerate(rows, 2):
            if not any(row) or row[0].startswith("#"):
                continue
            if len(row) <= max(columns):
                raise self._error(number, f"the row has {len(row)} cells", "Complete or delete it.")
            name = symbol or row[columns.symbol].strip()
            if not name:
                raise self._error(number, "the symbol is missing", "Add it, or delete the row.")
            known = self.splits.setdefault(name, {})
            session = self._session(number, row[columns.date].strip())
            if columns.has_ratios:
                ratio = self._ratio(number, row, columns)
            else:
                session, ratio = self._ratio_of_closes(name, session, row, columns)
            if ratio is None:
                continue
            split = Split(session, *ratio)
            if known.setdefault(session, split).price_factor != split.price_factor:
                raise self._error(number, f"{name} has two ratios on the same day", "Keep one of them.")

    def _session(self, number: int, text: str) -> int:
        if match := _DATE_PATTERN.match(text):
            try:
                return to_days(date(int(match[1]), int(match[3]), int(match[4])))
            except ValueError:
                pass
        raise self._error(number, f"{text!r} is not a date", "Write it as 2020-08-31.")

    def _ratio(self, number: int, row: Sequence[str], columns: _Columns) -> tuple[float, float] | None:
        """Return new and old shares; None for no split, which files of bars write as 0, 1 or nothing."""
        if columns.ratio >= 0:
            text = row[columns.ratio].strip()
        else:
            text = f"{row[columns.new].strip()}:{row[columns.old].strip()}"
        if text in ("", ":"):
            return None
        match = _RATIO_PATTERN.fullmatch(re.sub(r"(\d),(\d)", r"\1.\2", text))
        new, old = (float(match[1]), float(match[2] or 1)) if match else (-1.0, 1.0)
        if new == 0 and match and not match[2]:
            return None
        if not (old > 0 and 1 / _MAX_RATIO <= new / old <= _MAX_RATIO):
            raise self._error(
                number,
                f"{text!r} is not a ratio",
                "Write new:old shares: 4:1 for a split, 1:20 for a reverse split.",
            )
        return None if new == old else (new, old)

    def _ratio_of_closes(
        self, name: str, session: int, row: Sequence[str], columns: _Columns
    ) -> tuple[int, tuple[float, float] | None]:
        """Return the split between a row and the one before it, and the later of their sessions."""
        close, adjusted = row[columns.close].strip(), row[columns.adjusted].strip()
        digits = adjusted.replace(".", "").lstrip("0")
        try:
            factor = float(adjusted) / float(close) if len(digits) >= _MIN_DIGITS else 0.0
        except (ValueError, ZeroDivisionError):
            factor = 0.0
        if not 0 < factor < float("inf"):
            return session, None
        last_session, last_factor = self.last_factors.get(name, (session, factor))
        self.last_factors[name] = session, factor
        change = factor / last_factor if session > last_session else last_factor / factor
        new, old = min(SPLIT_RATIOS, key=lambda pair: abs(change * pair[1] / pair[0] - 1))
        is_split = abs(change * old / new - 1) <= _ADJUSTMENT_TOLERANCE
        return max(session, last_session), (float(new), float(old)) if is_split else None

    def _error(self, number: int, problem: str, hint: str) -> UsageError:
        return UsageError(f"{self.path}, line {number}: {problem}.", hint)
