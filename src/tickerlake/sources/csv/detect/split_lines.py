"""The first lines of a file cut into cells, at the delimiter that gives most sense. Pure."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.cells import ColumnSample
from tickerlake.sources.csv.detect.dates import is_temporal
from tickerlake.sources.csv.detect.layout import count_named_roles
from tickerlake.sources.csv.numbers import bare_number, is_missing

SPACES: Final = " "
"""The delimiter of tables whose columns are set apart by any number of blanks."""
HEAD_LINES: Final = 1000
DELIMITERS: Final = ",;\t|"
_RARE_DELIMITERS: Final = ("^", "~", SPACES)
_MAX_SCORED_LINES: Final = 120
HEADER_SEARCH_LINES: Final = 60


@dataclass(frozen=True)
class ColumnSplit:
    """The first lines cut at one separator."""

    delimiter: str
    rows: list[list[str]]
    field_count: int
    data_rows: list[int]
    score: tuple[float, int, int]


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line, without blanks around them."""
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
    """Cut lines at the delimiter that the user names, or at the one that gives most sense.

    Raises
    ------
    DataError
        If no line below it is a row of dates and numbers.
    """
    if delimiter is not None:
        split = _split_lines(lines, delimiter)
        if not split.data_rows:
            raise DataError(
                f"{name} has no rows with the delimiter {delimiter!r}.",
                "Leave --delimiter out, or name another.",
            )
        return split
    splits = [_split_lines(lines, separator) for separator in DELIMITERS]
    best = max(splits, key=lambda cut: cut.score)
    if best.score[0] < 0.9:
        best = max(
            [best, *(_split_lines(lines, separator) for separator in _RARE_DELIMITERS)],
            key=lambda cut: cut.score,
        )
    if not best.data_rows:
        raise DataError(
            f"{name} has no rows of dates and numbers: it begins with "
            f"{next((x for x in lines if x.strip()), '')[:80].strip()!r}.",
            "A table with at least date, open, high, low and close is needed.",
        )
    return best


def _split_lines(lines: Sequence[str], delimiter: str) -> ColumnSplit:
    """Cut lines at a separator, and say how well its cells look like dates, numbers and words."""
    rows = [_split_uncommented(line, delimiter) for line in lines]
    scored = [i for i in range(len(rows)) if any(rows[i])][: _MAX_SCORED_LINES + HEADER_SEARCH_LINES]
    data_rows = [i for i in scored if _is_data_row(rows[i])]
    if not data_rows:
        return ColumnSplit(delimiter, rows, 0, [], (0.0, 0, 0))
    field_count = Counter(len(rows[i]) for i in data_rows).most_common(1)[0][0]
    data_rows = [i for i in range(len(rows)) if len(rows[i]) == field_count and _is_data_row(rows[i])]
    scored_rows = data_rows[:_MAX_SCORED_LINES]
    cells = [cell for i in scored_rows for cell in rows[i]]
    clean = sum(_is_clean_cell(cell) for cell in cells) / len(cells)
    share = len(scored_rows) / max(1, len(scored[:_MAX_SCORED_LINES]))
    # blanks stand inside dates and names as well
    quality = clean * min(1.0, share * 1.5) * (0.9 if delimiter == SPACES else 1.0)
    return ColumnSplit(
        delimiter, rows, field_count, data_rows, (round(quality, 2), len(scored_rows), field_count)
    )


def _split_uncommented(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; a header may be a comment to others."""
    if line.startswith("#"):
        cells = split_line(line.lstrip("# "), delimiter)
        if count_named_roles(cells) > 1:
            return cells
    return split_line(line, delimiter)


def _is_data_row(row: Sequence[str]) -> bool:
    """Tell whether a line holds at least two numbers or dates, one of which is long enough to be a time."""
    values = 0
    for cell in row:
        if (cell and cell[0] in "0123456789-+.($€£¥₹(−" and (bare_number(cell) or is_temporal(cell))) or (
            cell and is_temporal(cell)
        ):
            values += 1
    return values >= 2


def _is_clean_cell(cell: str) -> bool:
    """Tell whether a cell is one thing: a number, a date, a word or nothing."""
    return (
        is_missing(cell)
        or bool(bare_number(cell))
        or is_temporal(cell)
        or re.fullmatch(r"[^\W\d][\w.&^=\- /()']*|[A-Za-z0-9.^_&=-]{1,32}|\[.*\]|[\d,]+", cell) is not None
    )


def column_samples(split: ColumnSplit) -> list[ColumnSample]:
    """Return the first cells of each column."""
    return [ColumnSample([split.rows[i][k] for i in split.data_rows]) for k in range(split.field_count)]


def numeric_cells(columns: Sequence[ColumnSample]) -> list[str]:
    """Return the cells of the columns that are numbers."""
    return [
        text
        for cells in columns
        if cells.share_where(bare_number) >= 0.5 and not cells.share_where(is_temporal) > 0.5
        for text in cells.strings
    ]
