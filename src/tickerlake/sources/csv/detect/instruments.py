"""Whether the rows of a file without a column of symbols are of one instrument. Pure, on the first rows."""

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import Layout, columns_option
from tickerlake.sources.csv.detect.columns.vocabulary import classify_cell
from tickerlake.sources.csv.detect.head import FileHead

_MIN_FACTOR: Final = 3
"""Prices of one instrument hardly ever differ so much from row to row."""

_MAX_INSTRUMENTS: Final = 50
_MIN_SHARE_NEAR: Final = 0.95
_MIN_SHARE_APART: Final = 0.5
_CODE: Final = re.compile(r"[A-Z]{2,6}(?:[/_-]?[A-Z]{2,6})?")
_TEXT: Final = re.compile(r"[^\W_][\w .:/&()+-]{0,39}")
_COLUMN_WORDS: Final = {
    "time": "time",
    "clock": "time",
    "bid_price": "bid",
    "ask_price": "ask",
    "adj_close": "adj close",
}


def check_one_instrument(head: FileHead, decimal_separator: str, name: str) -> None:
    """Raise an error if a column of codes divides the rows into instruments, by prices that are far apart.

    Parameters
    ----------
    head
        How the file is read: no column is the symbol.
    decimal_separator
        ``.`` or ``,``.
    name
        The file's name, for the error.

    Raises
    ------
    DataError
        If the rows of one code have prices near each other, and those of others prices several times as high.
    """
    layout = head.dialect.layout
    price = next(
        (layout.roles[role] for role in ("price", "close", "bid_price") if role in layout.roles), None
    )
    if price is None or head.first_rows.is_empty():
        return
    columns = {
        i: [text or "" for text in head.first_rows.get_column(f"c{i}").str.strip_chars().to_list()]
        for i in range(len(layout.names))
    }
    prices = ColumnSample(columns[price], decimal_separator).numbers
    rows = [
        k
        for k, value in enumerate(prices)
        if value and value > 0 and all(columns[i][k].lower() in texts for i, texts in layout.executed.items())
    ]
    used = {*layout.roles.values(), *layout.date_duplicates, *layout.executed}
    for i, texts in columns.items():
        pairs = [(texts[k], value) for k in rows if texts[k] and (value := prices[k]) is not None]
        if i not in used and (far := _find_far_codes(ColumnSample(texts), pairs)):
            column = layout.names[i] or f"{i + 1}"
            (one, low), (other, high) = far
            raise DataError(
                f"{name}: its rows are of several instruments, and no column is known to be the symbol: the "
                f"price is about {low:,.6g} with {one} in the column {column}, {high:,.6g} with {other}.",
                f"{_remedy(layout, i, column)} If all rows are of one instrument: --symbol AAPL",
            )


def _find_far_codes(
    cells: ColumnSample, pairs: Sequence[tuple[str, float]]
) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """Return two codes and their usual prices, if the codes of a column tell instruments apart."""
    by_code: dict[str, list[float]] = {}
    for code, price in pairs:
        by_code.setdefault(code, []).append(price)
    if not 2 <= len(by_code) <= _MAX_INSTRUMENTS or cells.is_numeric or cells.temporal_kind:
        return None
    if not all(map(_TEXT.fullmatch, by_code)) or any(map(_says_what_a_row_is, by_code)):
        return None
    steps = [_factor(a, b) for prices in by_code.values() for a, b in pairwise(prices)]
    if len(by_code) > len(pairs) / 2 and not (all(map(_CODE.fullmatch, by_code)) and len(pairs) > 2):
        return None  # texts that differ on most rows
    if sum(step <= _MIN_FACTOR for step in steps) < _MIN_SHARE_NEAR * len(steps):
        return None
    usual = {code: median(prices) for code, prices in by_code.items()}
    changes = [
        _factor(p, q)
        for (a, p), (b, q) in pairwise(pairs)
        if a != b and _factor(usual[a], usual[b]) > _MIN_FACTOR
    ]
    if not changes or sum(each > _MIN_FACTOR for each in changes) < _MIN_SHARE_APART * len(changes):
        return None
    low, high = (choose(usual.items(), key=lambda item: item[1]) for choose in (min, max))
    return low, high


def _factor(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def _says_what_a_row_is(text: str) -> bool:
    """Return whether a text is a side, a kind of transaction or the state of an order."""
    return bool(classify_cell("row_kinds", text, whole=True) or classify_cell("states", text, whole=True))


def _remedy(layout: Layout, index: int, column: str) -> str:
    if layout.executed:
        # with named columns, all rows would count as executions
        return f"If {column} is the symbol, call it symbol in the header."
    words = {i: _COLUMN_WORDS.get(role, role) for role, i in layout.roles.items()} | {index: "symbol"}
    if "clock" in layout.roles and "time" in layout.roles:
        words[layout.roles["time"]] = "date"
    names = columns_option(words)
    return f"If {column} is the symbol: --columns {names}."
