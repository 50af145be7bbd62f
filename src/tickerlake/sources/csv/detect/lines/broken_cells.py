"""Quoted cells with line breaks: a line is a row, so they are understood in the header only. Pure."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.lines.split_lines import ColumnSplit, is_data_row, split_line

_OPENS: Final = re.compile(r'(?:^|[,;\t|]) *"[^"]*$')
_CLOSES: Final = re.compile(r'[^"]*" *(?:[,;\t|]|$)')
_MAX_LINES: Final = 20
"""A cell of more lines is a quote that nothing closes."""

_MAX_SHARE: Final = 0.5
BROKEN_CELL: Final = "a quoted cell goes on in the next line"
REPLACE_LINE_BREAKS: Final = (
    "Replace them by spaces in a spreadsheet, or export the file without that column."
)


class JoinedLines(NamedTuple):
    """Lines in which a row with broken cells is one line, and empty lines follow it.

    Parameters
    ----------
    lines
        As many as there were.
    last_lines
        The index of a joined line to that of its last line.
    """

    lines: list[str]
    last_lines: dict[int, int]


def join_broken_cells(lines: Sequence[str]) -> JoinedLines:
    """Return lines with those joined whose quoted cells go on in the next ones."""
    joined, last_lines = list(lines), {}
    first = 0
    while first < len(lines):
        last = _last_line(lines, first)
        if last > first:
            joined[first] = " ".join(line.strip("\r") for line in lines[first : last + 1])
            joined[first + 1 : last + 1] = [""] * (last - first)
            last_lines[first] = last
        first = last + 1
    return JoinedLines(joined, last_lines)


def _last_line(lines: Sequence[str], first: int) -> int:
    """Return the index of the last line of a row, which is the first one unless a quoted cell goes on."""
    if lines[first].count('"') % 2 == 0 or not _OPENS.search(lines[first]):
        return first
    for last in range(first + 1, min(first + _MAX_LINES, len(lines))):
        if '"' not in lines[last]:
            continue
        if not _CLOSES.match(lines[last]):
            return first
        if lines[last].count('"') % 2 == 1:
            return last
        # an even number: one cell ends there, and another one begins
        if not _OPENS.search(lines[last]):
            return first
    return first


def find_broken_cells(
    lines: Sequence[str], opening: Sequence[int], delimiter: str, field_count: int
) -> tuple[list[int], int]:
    """Return the lines whose last cell goes on in the next one, and one inside which a line would be a row.

    Parameters
    ----------
    lines
        Some lines of a file.
    opening
        The indexes of those with a quote that is not closed.
    delimiter, field_count
        How lines are split, and the number of cells of a row.

    Returns
    -------
    list of int, int
        The indexes of the lines, and that of the one that hides a row; -1 if none does.
    """
    found, end = [], -1
    for i in opening:
        last = _last_line(lines, i)
        if last == i or i <= end:
            continue
        found.append(i)
        end = last
        for line in lines[i + 1 : last]:
            cells = split_line(line, delimiter)
            if len(cells) == field_count and is_data_row(cells):
                return found, i
    return found, -1


def check_broken_cells(name: str, lines: Sequence[str], joined: JoinedLines, split: ColumnSplit) -> str:
    """Return a warning if some rows have cells with line breaks; empty if none has.

    Raises
    ------
    DataError
        If most have, or if a line inside a cell would be a row.
    """
    broken = [i for i in split.data_rows if i in joined.last_lines]
    if not broken:
        return ""
    problem = f"{name}, line {broken[0] + 1}: {BROKEN_CELL}"
    inner = [lines[k] for i in broken for k in range(i + 1, joined.last_lines[i])]
    cells = [split_line(line, split.delimiter) for line in inner]
    has_rows = any(len(row) == split.field_count and is_data_row(row) for row in cells)
    if has_rows or len(broken) > _MAX_SHARE * len(split.data_rows):
        raise DataError(
            f"{problem}: line breaks in cells are not supported.",
            REPLACE_LINE_BREAKS,
        )
    return f"{problem}: line breaks in cells are not supported, and such rows are rejected."
