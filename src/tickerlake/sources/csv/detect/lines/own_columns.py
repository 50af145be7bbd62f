"""The columns of a file that is not understood: which of them may be prices, and how to name them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.errors import DataError
from tickerlake.model.schema import RANGE_PRICES
from tickerlake.sources.csv.detect.columns.cells import (
    ColumnSample,
    counts_rows,
    is_running_number,
    is_share_count,
)
from tickerlake.sources.csv.detect.columns.close_names import is_definite_close
from tickerlake.sources.csv.detect.columns.close_values import is_price
from tickerlake.sources.csv.detect.columns.layout import (
    PRICES,
    ROLE_WORDS,
    is_other_date,
    normalize_name,
    role_ranks,
)
from tickerlake.sources.csv.detect.columns.roles import detect_roles
from tickerlake.sources.csv.detect.lines.header import find_header
from tickerlake.sources.csv.detect.lines.metadata import names_columns
from tickerlake.sources.csv.detect.lines.split_lines import ColumnSplit, choose_split, column_samples
from tickerlake.sources.csv.numbers import possible_decimal_separators

TO_BE_NAMED: Final = "…"
"""Stands in ``--columns`` for a name that only the user knows."""

_WORDS: Final = ROLE_WORDS | {
    role: role for role in ("symbol", "size", "bid_size", "ask_size", "volume", *PRICES)
}
_MAX_SHOWN: Final = 12
_MAX_TEXT: Final = 20
_MIN_CHECKED: Final = 3
_LAST_CERTAIN_RANK: Final = 500
_GUESSED: Final = frozenset({"close", "price"})
_OTHERS: Final = frozenset({"size", "volume", "time", "symbol", "trade_count", "trade_id"})


@dataclass(frozen=True)
class OwnColumns:
    """The columns of a file that is not understood.

    Parameters
    ----------
    names
        As in the header; empty where there is none.
    cells
        The first cells of each.
    roles
        What their names, or their values in the case of dates, say for certain: column to a word of
        ``--columns``.
    """

    names: tuple[str, ...]
    cells: tuple[ColumnSample, ...]
    roles: dict[int, str]

    def describe(self) -> str:
        """Return how to name the columns, with what is known of them; empty if they hold no prices."""
        numbers = [i for i, each in enumerate(self.cells) if each.is_numeric and i not in self._dates()]
        if not numbers:
            return "None of its columns has numbers that may be prices."
        shown = range(min(len(self.names), _MAX_SHOWN))
        words = [self._word(i) for i in shown]
        listed = ", ".join(map(self._show, shown))
        rest = len(self.names) - len(words)
        symbols = ""
        if sum(i not in self.roles for i in numbers) > 1:
            symbols = "; the close of a symbol is AAPL:close"
        return (
            f"Its columns are {listed}{f', and {rest:,} more' if rest else ''}. Name them in this order, and "
            f"leave those without a meaning empty{symbols}: --columns {','.join(words)}"
        )

    def _dates(self) -> list[int]:
        return [
            i
            for i, each in enumerate(self.cells)
            if each.temporal_kind == "timestamp" or self.roles.get(i) == "date"
        ]

    def _word(self, column: int) -> str:
        return self.roles.get(column, TO_BE_NAMED) if self.cells[column].non_missing else ""

    def _show(self, column: int) -> str:
        texts = self.cells[column].non_missing
        sample = _shorten(texts[0]) if texts else "empty"
        name = _shorten(self.names[column])
        return f"{column + 1} {name} ({sample})" if name else f"{column + 1} ({sample})"

    def may_be(self, words: Sequence[str], condition: str = "", given_by_user: Sequence[str] = ()) -> bool:
        """Return whether ``--columns`` says nothing of the columns that their names or values contradict.

        Parameters
        ----------
        words
            The names by position.
        condition
            On what the user is to use them: ``If LAST is the close of each row``.
        given_by_user
            The names by position that the user specifies: these are not doubted.
        """
        if len(words) > len(self.cells):
            return False
        if TO_BE_NAMED in words:
            return False
        given = {i: normalize_name(word) for i, word in enumerate(words) if word}
        if any(":" in word for word in words):
            return True
        has_clock = any(each.temporal_kind == "clock" and i not in given for i, each in enumerate(self.cells))
        if has_clock and "time" not in given.values():
            return False
        of_symbols = "symbol" in given.values()
        guesses = [
            i
            for i, word in given.items()
            if word in _GUESSED
            and not self._is_known(i)
            and self.names[i] not in condition.split()
            and word not in given_by_user[i : i + 1]
        ]
        return all(self._is_likeliest(i, given, of_symbols=of_symbols) for i in guesses)

    def _is_likeliest(self, column: int, given: dict[int, str], *, of_symbols: bool) -> bool:
        """Return whether a column is the only one that may be the price."""
        others = [i for i in range(len(self.cells)) if i not in given and i not in self.roles]
        if not self._varies(column):
            return False
        if not any(map(self._varies, others)):
            return True
        return self._may_be_price(column, of_symbols=of_symbols) and not any(
            self._is_rival(i, column, of_symbols=of_symbols) for i in others
        )

    def _is_known(self, column: int) -> bool:
        name = self.names[column]
        return is_definite_close(name) or any(
            rank < _LAST_CERTAIN_RANK for role, rank in role_ranks(name).items() if role in _GUESSED
        )

    def _varies(self, column: int) -> bool:
        """Return whether a column has numbers that are neither a constant, nor of rows, nor of shares."""
        cells, ranks = self.cells[column], role_ranks(self.names[column]).keys()
        texts = cells.non_missing
        is_constant = len(texts) >= _MIN_CHECKED and len(set(texts)) == 1
        is_other = bool(ranks & _OTHERS) and not ranks & _GUESSED
        is_number = is_running_number(cells) or counts_rows(cells)
        return cells.is_price_like and not (is_constant or is_other or is_number)

    def _may_be_price(self, column: int, *, of_symbols: bool) -> bool:
        return self._varies(column) and is_price(self.cells[column], of_symbols=of_symbols)

    def _is_rival(self, column: int, chosen: int, *, of_symbols: bool) -> bool:
        """Return whether another column may be the price as well."""
        cells, price = self.cells[column], self.cells[chosen]
        is_count = is_share_count(cells) and not is_share_count(price)
        is_copy = list(cells.strings) == list(price.strings)
        return not is_count and not is_copy and self._may_be_price(column, of_symbols=of_symbols)


def find_own_columns(
    name: str, lines: Sequence[str], delimiter: str | None, decimal: str | None
) -> OwnColumns | None:
    """Return the columns of a file that is not understood; None if its lines have no columns.

    Parameters
    ----------
    name
        The file's name.
    lines
        Its first lines.
    delimiter, decimal
        What the user specifies, if anything.
    """
    try:
        split = choose_split(name, lines, delimiter)
    except DataError:
        return None
    cells = column_samples(split)
    separators = frozenset(decimal or possible_decimal_separators(_numeric(cells), split.delimiter))
    cells = [ColumnSample(each.strings, min(separators, key=".,".index)) for each in cells]
    names = _find_names(split)
    return OwnColumns(tuple(names), tuple(cells), _certain_roles(names, cells))


def _numeric(cells: Sequence[ColumnSample]) -> list[str]:
    return [text for each in cells if each.is_numeric for text in each.non_missing]


def _find_names(split: ColumnSplit) -> list[str]:
    first = split.data_rows[0]
    try:
        header = find_header(split, first)
    except DataError:
        header = None
    names = header[2] if header and len(header[2]) == split.field_count else []
    if not names and not header:
        above = (split.rows[i] for i in reversed(range(first)))
        names = next((row for row in above if names_columns(row, split.field_count)), [])
    return [*names] or [""] * split.field_count


def _certain_roles(names: Sequence[str], cells: Sequence[ColumnSample]) -> dict[int, str]:
    """Return what is certain of the columns, in the words of ``--columns``."""
    try:
        roles = detect_roles(list(names), list(cells)).roles
    except DataError:
        roles = {}
        for role in ("time", "symbol"):
            ranked = [(rank, i) for i, name in enumerate(names) if (rank := role_ranks(name).get(role))]
            roles |= {role: min(ranked)[1]} if ranked else {}
    words = {
        i: _WORDS[role]
        for role, i in roles.items()
        if role in _WORDS and _is_certain(names[i], role) and (role != "clock" or cells[i].temporal_kind)
    }
    for kind, word in (("timestamp", "date"), ("clock", "time")):
        of_kind = [i for i, each in enumerate(cells) if each.temporal_kind == kind]
        if word not in words.values() and len(of_kind) == 1 and not is_other_date(names[of_kind[0]]):
            words[of_kind[0]] = word
    if not {*RANGE_PRICES} <= set(words.values()):
        # who names the open must name all four
        words = {i: word for i, word in words.items() if word not in RANGE_PRICES}
    return words


def _is_certain(name: str, role: str) -> bool:
    if role in {"time", "clock", "symbol"}:
        return bool(name) and not is_other_date(name)
    if role in _GUESSED:
        return is_definite_close(name)
    return role_ranks(name).get(role, _LAST_CERTAIN_RANK) < _LAST_CERTAIN_RANK


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
