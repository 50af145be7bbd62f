"""The first lines of a file split into cells, at the delimiter that fits best. Pure."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.close_names import quoted_amount
from tickerlake.sources.csv.detect.columns.layout import count_named_roles, role_ranks
from tickerlake.sources.csv.detect.times.dates import is_temporal
from tickerlake.sources.csv.not_csv import no_rows_error
from tickerlake.sources.csv.numbers import bare_number, is_missing

SPACES: Final = " "
"""The delimiter of tables whose columns are separated by any number of spaces."""

TEXT_FORMULA: Final = r'^ *="([^"]*)" *$'
"""A cell as spreadsheets keep a code from becoming a number: ``="0050"``."""

HEAD_LINES: Final = 1000
"""The lines from which delimiter, header and columns are detected: enough for rare formats, and fast."""

DELIMITERS: Final = ",;\t|"
_RARE_DELIMITERS: Final = ("^", "~", SPACES)
_MAX_SCORED_LINES: Final = 120
HEADER_SEARCH_LINES: Final = 60
"""The header is searched in this many lines: preambles of vendors are shorter."""

_MAX_CELL_LENGTH: Final = 1000
"""No longer text is a name, a number, a date or a symbol: it bounds the time for texts that are not."""

_MIN_HEADER_NAMES: Final = 3
"""Two words of a message may be names of columns by chance."""
_SYMBOL_CODE: Final = re.compile(r"\d{4,6}\.[A-Z]{1,2}")
"""A symbol such as ``7203.T``: no number is written so."""

_GOOD_SCORE: Final = 0.9
"""With a better score, a common delimiter is used without trying the rare ones."""

_FULL_SHARE: Final = 2 / 3
"""If this share of the lines are rows, the rest (preamble, footer) does not lower the score."""

_SPACES_FACTOR: Final = 0.9
"""Spaces also occur inside dates and names, so another delimiter is preferred to them."""

_WORD: Final = re.compile(
    r"[^\W\d][\w.&^=\- /()']*|[A-Z]{2,8}:[\w.&-]+|[A-Za-z0-9.^_&=-]{1,32}"
    r"|[-−]?\d[\d.,]* [A-Za-z]{2,12}|\[.*\]|[\d,]+"
)
"""A word, a symbol with its market, a number with a unit, a list."""


@dataclass(frozen=True)
class ColumnSplit:
    """The first lines, split at one delimiter.

    Parameters
    ----------
    delimiter
        The delimiter.
    rows
        The cells of every line.
    field_count
        The most common number of cells in lines with data.
    data_rows
        The indexes of the lines with data that have this many cells.
    score
        How well the delimiter fits, to compare: quality of the cells, number of rows, number of fields.
    """

    delimiter: str
    rows: list[list[str]]
    field_count: int
    data_rows: list[int]
    score: tuple[float, int, int]


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line, without spaces around them, and not longer than `_MAX_CELL_LENGTH`."""
    cells = [cell[:_MAX_CELL_LENGTH] for cell in _split(line, delimiter)]
    return [re.sub(TEXT_FORMULA, r"\1", cell) for cell in cells] if '="' in line else cells


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == SPACES:
        return [cell.strip('"') for cell in re.findall(r'"(?:[^"]|"")*"|\S+', line)]
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [
            cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        ]
    except csv.Error:
        return [line]


def choose_split(name: str, lines: Sequence[str], delimiter: str | None) -> ColumnSplit:
    """Split lines at the delimiter that the user specifies, or at the one that fits best.

    Raises
    ------
    DataError
        If no line is a row of dates and numbers.
    """
    if delimiter is not None:
        split = _split_lines(lines, delimiter)
        if not split.data_rows:
            raise DataError(
                f"{name} has no rows with the delimiter {delimiter!r}.",
                "Omit --delimiter, or specify another.",
            )
        return split
    splits = [_split_lines(lines, each) for each in DELIMITERS]
    best = max(splits, key=lambda split: split.score)
    if best.score[0] < _GOOD_SCORE:
        best = max(
            [best, *(_split_lines(lines, each) for each in _RARE_DELIMITERS)],
            key=lambda split: split.score,
        )
    if best.score[0] < _GOOD_SCORE and (of_list := _split_list_of_closes(lines)):
        return of_list
    if not best.data_rows:
        raise no_rows_error(name, lines, _find_header_line(lines))
    return best


def _split_list_of_closes(lines: Sequence[str]) -> ColumnSplit | None:
    """Return the lines of a list of symbols with their closes, and no other number; None for others."""
    for i, line in enumerate(lines[:HEADER_SEARCH_LINES]):
        for delimiter in DELIMITERS:
            if delimiter not in line or count_named_roles(names := split_line(line, delimiter)) < 2:
                continue
            roles = {role for each in names for role in role_ranks(each)}
            if not {"symbol", "close"} <= roles or "time" in roles or any(map(bare_number, names)):
                continue
            rows = [_split_uncommented(each, delimiter) for each in lines]
            found = [
                k
                for k in range(i + 1, len(rows))
                if len(rows[k]) == len(names) and sum(map(_is_value, rows[k])) == 1 and any(rows[k])
            ]
            if len(found) > 1 and 2 * len(found) > sum(map(any, rows[i + 1 :])):
                return ColumnSplit(delimiter, rows, len(names), found, (1.0, len(found), len(names)))
    return None


def _find_header_line(lines: Sequence[str]) -> int:
    """Return the index of the line that names most columns, -1 if none names several."""
    counts = [
        max(count_named_roles(_split_uncommented(line, each)) for each in DELIMITERS)
        for line in lines[:HEADER_SEARCH_LINES]
    ]
    best = max(range(len(counts)), key=counts.__getitem__, default=-1)
    return best if best >= 0 and counts[best] >= _MIN_HEADER_NAMES else -1


def _split_lines(lines: Sequence[str], delimiter: str) -> ColumnSplit:
    """Split lines at a delimiter, and score how well its cells look like dates, numbers and words."""
    rows = [_split_uncommented(line, delimiter) for line in lines]
    scored = [i for i in range(len(rows)) if any(rows[i])][: _MAX_SCORED_LINES + HEADER_SEARCH_LINES]
    data_rows = [i for i in scored if is_data_row(rows[i])]
    if not data_rows:
        return ColumnSplit(delimiter, rows, 0, [], (0.0, 0, 0))
    field_count = Counter(len(rows[i]) for i in data_rows).most_common(1)[0][0]
    data_rows = [i for i in range(len(rows)) if len(rows[i]) == field_count and is_data_row(rows[i])]
    data_rows = _without_metadata(rows, data_rows)
    scored_rows = data_rows[:_MAX_SCORED_LINES]
    cells = [cell for i in scored_rows for cell in rows[i]]
    clean = sum(_is_clean_cell(cell) for cell in cells) / len(cells)
    share = len(scored_rows) / max(1, len(scored[:_MAX_SCORED_LINES]))
    quality = clean * min(1.0, share / _FULL_SHARE) * (_SPACES_FACTOR if delimiter == SPACES else 1.0)
    return ColumnSplit(
        delimiter, rows, field_count, data_rows, (round(quality, 2), len(scored_rows), field_count)
    )


def _without_metadata(rows: list[list[str]], data_rows: list[int]) -> list[int]:
    """Return the lines with data without those above the first row that describe columns by dates.

    Such as ``Publication date,24-Jul-2026,24-Jul-2026``, where rows begin with a date.
    """
    dated = [i for i in data_rows[:_MAX_SCORED_LINES] if is_temporal(rows[i][0])]
    if not dated or 2 * len(dated) < min(len(data_rows), _MAX_SCORED_LINES):
        return data_rows
    return [i for i in data_rows if i >= dated[0] or not re.search(r"[^\W\d]{3}", rows[i][0])]


def _split_uncommented(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; a header may be written as a comment."""
    if line.startswith("#"):
        cells = split_line(line.lstrip("# "), delimiter)
        if count_named_roles(cells) > 1:
            return cells
    return split_line(line, delimiter)


def is_data_row(row: Sequence[str]) -> bool:
    """Return whether a line has at least two numbers or dates."""
    values = 0
    for cell in row:
        values += _is_value(cell)
    return values >= 2


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number or a date."""
    if not cell or _SYMBOL_CODE.fullmatch(cell) or quoted_amount(cell):
        return False
    return (cell[0] in "0123456789-+.($€£¥₹(−" and bool(bare_number(cell))) or is_temporal(cell)


def _is_clean_cell(cell: str) -> bool:
    """Return whether a cell is one value: a number, perhaps with a unit, a date, a word or empty."""
    return (
        is_missing(cell) or bool(bare_number(cell)) or is_temporal(cell) or _WORD.fullmatch(cell) is not None
    )


def column_samples(split: ColumnSplit) -> list[ColumnSample]:
    """Return the first cells of each column."""
    return [ColumnSample([split.rows[i][k] for i in split.data_rows]) for k in range(split.field_count)]


def forward_fill(cells: Sequence[str]) -> list[str]:
    """Fill empty cells, which merged cells leave behind, with the cell before them."""
    filled, last = [], ""
    for k, cell in enumerate(cells):
        last = cell or (last if k > 1 else "")
        filled.append(last)
    return filled


def numeric_cells(columns: Sequence[ColumnSample]) -> list[str]:
    """Return the cells of the columns of numbers."""
    return [
        text
        for cells in columns
        if cells.share_where(bare_number) >= 0.5 and not cells.share_where(is_temporal) > 0.5
        for text in cells.strings
    ]
