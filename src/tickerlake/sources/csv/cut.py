"""The first lines of a file cut into cells, at the delimiter that gives most sense. Pure."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.cells import Cells
from tickerlake.sources.csv.dates import is_temporal
from tickerlake.sources.csv.layout import is_header
from tickerlake.sources.csv.numbers import bare, is_missing

BLANKS: Final = " "
"""The delimiter of tables whose columns are set apart by any number of blanks."""
HEAD_LINES: Final = 1000
SEPARATORS: Final = ",;\t|"
_OTHERS: Final = ("^", "~", BLANKS)
_SCORED_LINES: Final = 120
HEADER_WITHIN: Final = 60


@dataclass(frozen=True)
class Cut:
    """The first lines cut at one separator."""

    separator: str
    rows: list[list[str]]
    fields: int
    data: list[int]
    score: tuple[float, int, int]


def cut_line(line: str, separator: str) -> list[str]:
    """Return the cells of one line, without blanks around them."""
    if separator == BLANKS:
        return [cell.strip('"') for cell in re.findall(r'"(?:[^"]|"")*"|\S+', line)]
    if '"' not in line:
        return [cell.strip() for cell in line.split(separator)]
    try:
        return [
            cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        ]
    except csv.Error:
        return [line]


def choose_cut(name: str, lines: Sequence[str], delimiter: str | None) -> Cut:
    """Cut lines at the delimiter that the user names, or at the one that gives most sense.

    Raises
    ------
    DataError
        If no line below it is a row of dates and numbers.
    """
    if delimiter is not None:
        cut = _cut(lines, delimiter)
        if not cut.data:
            raise DataError(
                f"{name} has no rows with the delimiter {delimiter!r}.",
                "Leave --delimiter out, or name another.",
            )
        return cut
    cuts = [_cut(lines, separator) for separator in SEPARATORS]
    best = max(cuts, key=lambda cut: cut.score)
    if best.score[0] < 0.9:
        best = max([best, *(_cut(lines, separator) for separator in _OTHERS)], key=lambda cut: cut.score)
    if not best.data:
        raise DataError(
            f"{name} has no rows of dates and numbers: it begins with "
            f"{next((x for x in lines if x.strip()), '')[:80].strip()!r}.",
            "A table with at least date, open, high, low and close is needed.",
        )
    return best


def _cut(lines: Sequence[str], separator: str) -> Cut:
    """Cut lines at a separator, and say how well its cells look like dates, numbers and words."""
    rows = [_uncommented(line, separator) for line in lines]
    scored = [i for i in range(len(rows)) if any(rows[i])][: _SCORED_LINES + HEADER_WITHIN]
    data = [i for i in scored if _is_data(rows[i])]
    if not data:
        return Cut(separator, rows, 0, [], (0.0, 0, 0))
    fields = Counter(len(rows[i]) for i in data).most_common(1)[0][0]
    data = [i for i in range(len(rows)) if len(rows[i]) == fields and _is_data(rows[i])]
    looked = data[:_SCORED_LINES]
    cells = [cell for i in looked for cell in rows[i]]
    clean = sum(_clean(cell) for cell in cells) / len(cells)
    share = len(looked) / max(1, len(scored[:_SCORED_LINES]))
    # blanks stand inside dates and names as well
    worth = clean * min(1.0, share * 1.5) * (0.9 if separator == BLANKS else 1.0)
    return Cut(separator, rows, fields, data, (round(worth, 2), len(looked), fields))


def _uncommented(line: str, separator: str) -> list[str]:
    """Return the cells of a line; a header may be a comment to others."""
    if line.startswith("#"):
        cells = cut_line(line.lstrip("# "), separator)
        if is_header(cells) > 1:
            return cells
    return cut_line(line, separator)


def _is_data(row: Sequence[str]) -> bool:
    """Tell whether a line holds at least two numbers or dates, one of which is long enough to be a time."""
    values = 0
    for cell in row:
        if (cell and cell[0] in "0123456789-+.($€£¥₹(−" and (bare(cell) or is_temporal(cell))) or (
            cell and is_temporal(cell)
        ):
            values += 1
    return values >= 2


def _clean(cell: str) -> bool:
    """Tell whether a cell is one thing: a number, a date, a word or nothing."""
    return (
        is_missing(cell)
        or bool(bare(cell))
        or is_temporal(cell)
        or re.fullmatch(r"[^\W\d][\w.&^=\- /()']*|[A-Za-z0-9.^_&=-]{1,32}|\[.*\]|[\d,]+", cell) is not None
    )


def columns_of(cut: Cut) -> list[Cells]:
    """Return the first cells of each column."""
    return [Cells([cut.rows[i][k] for i in cut.data]) for k in range(cut.fields)]


def numbers_of(columns: Sequence[Cells]) -> list[str]:
    """Return the cells of the columns that are numbers."""
    return [
        text
        for cells in columns
        if cells.share(bare) >= 0.5 and not cells.share(is_temporal) > 0.5
        for text in cells.texts
    ]
