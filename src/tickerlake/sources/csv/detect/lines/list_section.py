"""Bulletins of one day with several tables: the one list of prices is read, the others are named. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tickerlake.sources.csv.detect.columns.layout import PRICES, role_ranks
from tickerlake.sources.csv.detect.lines.split_lines import DELIMITERS, is_data_row, split_line
from tickerlake.sources.csv.detect.lines.tables import is_header, normalize_header
from tickerlake.sources.csv.detect.times.dates import is_temporal
from tickerlake.sources.csv.numbers import bare_number

_LIST_ROLES: Final = frozenset({"symbol", *PRICES})
_MIN_OTHER_ROWS: Final = 2
"""One row above a header may be a summary."""

_MAX_TITLE: Final = 40


class ListSection(NamedTuple):
    """Where the list is among the first lines: the indexes of its header and of the line behind it."""

    header: int
    end: int
    delimiter: str


def find_list_section(lines: Sequence[str]) -> ListSection | None:
    """Return where the only list of symbols with all prices is among the first lines, if any."""
    found: dict[tuple[str, ...], tuple[int, str]] = {}
    for i, line in enumerate(lines):
        for sign in DELIMITERS:
            if line.count(sign) < len(PRICES):
                continue
            cells = split_line(line, sign)
            if any(bare_number(cell) or is_temporal(cell) for cell in cells):
                continue
            if {role for cell in cells for role in role_ranks(cell)} >= _LIST_ROLES:
                found.setdefault(normalize_header(cells), (i, sign))
    if len(found) != 1:
        return None
    ((names, (header, sign)),) = found.items()
    return ListSection(header, _find_end(lines, header, sign, names), sign)


def _find_end(lines: Sequence[str], header: int, delimiter: str, names: tuple[str, ...]) -> int:
    for i in range(header + 1, len(lines)):
        cells = split_line(lines[i], delimiter)
        if is_header(cells) and normalize_header(cells) != names:
            return i
    return len(lines)


def last_row(lines: Sequence[str], section: ListSection, field_count: int) -> int:
    """Return the index of the last row of a list that is followed by another table."""
    rows = [split_line(lines[i], section.delimiter) for i in range(section.header, section.end)]
    full = [k for k, cells in enumerate(rows) if len(cells) == field_count and is_data_row(cells)]
    return section.header + max(full, default=0)


def name_other_tables(name: str, lines: Sequence[str], delimiter: str, header: int, end: int) -> str:
    """Return a warning that names the tables beside the list of prices; empty if there are none.

    Parameters
    ----------
    name
        The file's name.
    lines
        Its first lines.
    delimiter
        That of the list.
    header, end
        The indexes of the list's header, and of the line behind it.
    """
    others = [*range(header), *range(end, len(lines))]
    rows = [i for i in others if is_data_row(split_line(lines[i], delimiter))]
    if len(rows) < _MIN_OTHER_ROWS:
        return ""
    parts = []
    for which, part in (("above", [i for i in rows if i < header]), ("below", [i for i in rows if i >= end])):
        if part:
            lead = next(
                filter(None, (lines[i].strip(' ",;\t\r') for i in range(part[0] - 2, part[0]) if i >= 0)), ""
            )
            parts.append(f"{len(part)} rows {which} it, from line {part[0] + 1} ({lead[:_MAX_TITLE]} …)")
    return (
        f"{name} has several tables: the list of prices with the header in line {header + 1} is read, "
        f"others are not: {', '.join(parts)}."
    )
