"""Several tables in one file: a second header among the rows, or above the header. Pure.

Rows below another header have other columns. They must never be read with the roles of the first one.
"""

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.layout import Layout, count_named_roles, normalize_name, role_ranks
from tickerlake.sources.csv.detect.columns.vocabulary import SECTION_HEADER
from tickerlake.sources.csv.detect.lines.split_lines import ColumnSplit, is_data_row
from tickerlake.sources.csv.detect.times.dates import is_temporal
from tickerlake.sources.csv.numbers import bare_number

_MIN_NAMES: Final = 3
"""Two words of a footer may be names of columns by chance."""

_MIN_TABLE_ROWS: Final = 2
"""One row above the header, without a date, is a summary: the last price of the symbol, say."""

_SECTION_ROLES: Final = frozenset({"time", "symbol", "price", "size"})
_TITLE: Final = re.compile(
    r"(?i:(?:symbol|ticker|stock|code|instrument|security|name|isin|wkn|contract|pair)\W+)?"
    r"([A-Z0-9][A-Z0-9.^=/&-]{0,19})"
)
_NO_TITLES: Final = frozenset("TOTAL SUM END EOF PAGE NOTE NOTES DATA PRICES TABLE SUMMARY".split())
_MAX_NAME_WORDS: Final = 5
_MAX_SHOWN_NAMES: Final = 5
SEPARATE_TABLES: Final = "Save each table as a file of its own, with its header."


def is_header(cells: Sequence[str]) -> bool:
    """Return whether the cells of a line are names of columns, and none of them is a value."""
    filled = sum(map(bool, cells))
    if any(len(cell.split()) > _MAX_NAME_WORDS for cell in cells):
        return False  # a sentence with commas
    if filled < _MIN_NAMES or any(bare_number(cell) or is_temporal(cell) for cell in cells):
        return False
    return count_named_roles(cells) >= (_MIN_NAMES if 2 * filled < len(cells) else _MIN_NAMES - 1)


def check_one_table(name: str, split: ColumnSplit, header_rows: Sequence[int]) -> None:
    """Raise an error if the first lines have another header, below or above the one of the table.

    Parameters
    ----------
    name
        The file's name.
    split
        Its first lines.
    header_rows
        The indexes of the header's lines.
    """
    known = {normalize_header(split.rows[i]) for i in header_rows}
    data_rows = set(split.data_rows)
    headers = [
        i
        for i, cells in enumerate(split.rows)
        if i not in data_rows
        and is_header(cells)
        and normalize_header(cells) not in known
        and not is_section_header(cells, split.rows[header_rows[-1]])
    ]
    first, last = header_rows[0], header_rows[-1]
    for i, following in zip_longest(headers, headers[1:], fillvalue=first):
        is_below = i > split.data_rows[0]
        is_above = i < first and _is_table(split.rows[i + 1 : min(following, first)])
        if is_below or is_above:
            raise several_tables_error(name, [(last + 1, split.rows[last]), (i + 1, split.rows[i])])


def is_section_header(cells: Sequence[str], header: Sequence[str]) -> bool:
    """Return whether a line may have other names in a file whose rows name their section: ``Trades,Data``.

    Rows of another section cannot be taken for those of the table. Headers of its own section must have the
    same names for what a record needs.
    """
    if len(header) < _MIN_NAMES or header[1].strip().casefold() != SECTION_HEADER:
        return False
    if normalize_name(cells[0]) != normalize_name(header[0]):
        return True
    return all(
        normalize_name(one) == normalize_name(other)
        for one, other in zip_longest(cells, header, fillvalue="")
        if _SECTION_ROLES & {*role_ranks(one), *role_ranks(other)}
    )


def several_tables_error(name: str, headers: Sequence[tuple[int, Sequence[str]]]) -> DataError:
    """Return the error for a file with several headers: their line numbers and their cells."""
    (one, names), (two, others) = sorted(headers)
    return DataError(
        f"{name} has several tables: the header in line {one} is {join_names(names)}, "
        f"that in line {two} is {join_names(others)}.",
        SEPARATE_TABLES,
    )


def join_names(cells: Sequence[str]) -> str:
    """Return the first names of a header, for errors."""
    names = [cell for cell in cells if cell]
    return ", ".join(names[:_MAX_SHOWN_NAMES]) + (" …" if len(names) > _MAX_SHOWN_NAMES else "")


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    values = [cells for cells in rows if is_data_row(cells)]
    return len(values) >= _MIN_TABLE_ROWS or any(is_temporal(cell) for cells in values for cell in cells)


def title_symbol(line: str) -> str:
    """Return the symbol that a line above a header consists of, empty if it is none: ``Symbol: AAPL,,,``."""
    match = _TITLE.fullmatch(line.strip(' ,;\t|"#'))
    return match[1] if match and match[1].upper() not in _NO_TITLES else ""


def normalize_header(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a header to compare: without spaces, signs and empty last cells."""
    names = [normalize_name(cell.lstrip("# ")) for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def names_fit(layout: Layout, cells: Sequence[str]) -> bool:
    """Return whether the names in a line are those of a layout's roles, column by column."""
    if layout.panels:
        return False
    return all(index < len(cells) and _is_name_of(role, cells[index]) for role, index in layout.roles.items())


def _is_name_of(role: str, cell: str) -> bool:
    ranks = role_ranks(cell)
    roles = ("time", "clock") if role in {"time", "clock"} else (role,)
    return any(each in ranks for each in roles)
