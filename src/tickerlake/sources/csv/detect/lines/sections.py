"""Files of several tables of which one is read: reports by sections, and bulletins. Pure.

The rows of a report begin with the name of their section, and say whether they are its header.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.layout import PRICES, role_ranks
from tickerlake.sources.csv.detect.columns.table import EXECUTIONS_HINT
from tickerlake.sources.csv.detect.lines.split_lines import DELIMITERS, is_data_row, split_line
from tickerlake.sources.csv.detect.lines.tables import (
    SEPARATE_TABLES,
    is_header,
    join_names,
    normalize_header,
)
from tickerlake.sources.csv.detect.times.dates import is_temporal
from tickerlake.sources.csv.numbers import bare_number

_LINE: Final = re.compile(r"([^,\"]{1,60}),(Header|Data|SubTotal|Total|Notes),", re.IGNORECASE)
_MIN_SECTIONS: Final = 2
_MIN_SHARE: Final = 0.8
_LIST_ROLES: Final = frozenset({"symbol", *PRICES})
_MIN_OTHER_ROWS: Final = 2
"""One row above a header may be a summary."""

_MAX_TITLE: Final = 40

T = TypeVar("T")


def find_sections(lines: Sequence[str]) -> list[str]:
    """Return the names of a report's sections: ``Trades,Header,…`` is above ``Trades,Data,…``."""
    filled = [line for line in lines if line.strip()]
    matches = [match for line in filled if (match := _LINE.match(line))]
    with_header = [match[1] for match in matches if match[2].lower() == "header"]
    names = list(dict.fromkeys(with_header))
    return names if len(names) >= _MIN_SECTIONS and len(matches) >= _MIN_SHARE * len(filled) else []


def detect_section(
    name: str, lines: Sequence[str], sections: Sequence[str], detect: Callable[[list[str], str], T]
) -> T:
    """Return what is detected in the one section that is market data.

    Parameters
    ----------
    name
        The file's name.
    lines
        Its first lines.
    sections
        The names of its sections.
    detect
        Detects the dialect of a section, by its lines (others are empty) and how its rows begin, or raises
        a `DataError`.

    Raises
    ------
    DataError
        If no section is market data, or several are.
    """
    found: dict[str, T] = {}
    errors: dict[str, DataError] = {}
    for section in sections:
        prefix = f"{section},"
        try:
            found[section] = detect([line if line.startswith(prefix) else "" for line in lines], prefix)
        except DataError as error:
            errors[section] = error
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise DataError(
            f"{name} has several sections of market data: {join_names(list(found))}.", SEPARATE_TABLES
        )
    if likely := next((each for each in errors if each.lower() in {"trades", "executions"}), ""):
        raise DataError(f"{errors[likely].message} That is its section {likely}.", errors[likely].hint)
    raise DataError(
        f"{name} is a report of several sections ({join_names(sections)}), "
        "none of which is bars, trades or quotes.",
        EXECUTIONS_HINT,
    )


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
