"""Delimiter, header and columns of a file, detected from its first lines. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import polars as pl

from tickerlake.errors import DataError, UsageError
from tickerlake.model.schema import BAR, RANGE_PRICES
from tickerlake.sources.csv.detect.columns.apostrophes import without_apostrophes
from tickerlake.sources.csv.detect.columns.cells import ColumnSample, is_share_count
from tickerlake.sources.csv.detect.columns.daily_list import as_daily_list
from tickerlake.sources.csv.detect.columns.layout import TIME_ROLES, Layout, count_named_roles, normalize_name
from tickerlake.sources.csv.detect.columns.other_tables import check_market_data
from tickerlake.sources.csv.detect.columns.roles import detect_roles
from tickerlake.sources.csv.detect.columns.totals import check_prices_are_no_totals
from tickerlake.sources.csv.detect.lines.broken_cells import check_broken_cells, join_broken_cells
from tickerlake.sources.csv.detect.lines.header import (
    align_header,
    contradiction_error,
    find_header,
    format_roles,
    has_consistent_prices,
)
from tickerlake.sources.csv.detect.lines.metadata import check_no_year_columns
from tickerlake.sources.csv.detect.lines.missing_roles import (
    check_no_header,
    missing_roles_error,
    no_header_error,
)
from tickerlake.sources.csv.detect.lines.named_columns import (
    check_named_numbers,
    check_named_symbols,
    check_named_times,
    split_named_symbols,
    unusable_names_error,
)
from tickerlake.sources.csv.detect.lines.sections import (
    detect_section,
    find_list_section,
    find_sections,
    last_row,
    name_other_tables,
)
from tickerlake.sources.csv.detect.lines.split_lines import (
    DELIMITERS,
    HEADER_SEARCH_LINES,
    SPACES,
    ColumnSplit,
    choose_split,
    column_samples,
    is_data_row,
    numeric_cells,
    split_line,
)
from tickerlake.sources.csv.detect.lines.tables import check_one_table
from tickerlake.sources.csv.not_csv import check_is_table
from tickerlake.sources.csv.numbers import possible_decimal_separators

MAX_COLUMNS: Final = 2000
"""Wider tables are not prices; every column costs time and memory in detection."""
_MAX_LINE_LENGTH: Final = 64 * MAX_COLUMNS
"""A longer line is not looked at when the format is detected; among the rows, it is rejected."""

_MIN_SHORT_ROWS: Final = 3
_OPTIONAL_ROLES: Final = frozenset(
    """
    volume vwap trade_count adj_close bid_size ask_size sequence trade_id conditions correction aggressor_side
    buyer_is_maker currency
    """.split()
)
FIELD_COUNT: Final = "_fields"
"""Column with the number of cells of a line."""

_DELIMITER_NAMES: Final = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "space": SPACES,
    "blanks": SPACES,
}

_DIGIT: Final = re.compile("[0-9]")


@dataclass(frozen=True)
class Dialect:
    """How the lines of a file are read.

    Parameters
    ----------
    delimiter
        One character; `SPACES` for any number of spaces.
    header_lines
        The line numbers of the header, from 1; empty if there is no header.
    first_line
        The line number of the first row.
    field_count
        The number of cells in a row.
    decimal_separators
        The possible decimal separators, by the first lines.
    layout
        What the columns mean.
    raw_headers
        The lines of the header as written: repetitions of them are skipped.
    preamble
        The lines above the header.
    warnings
        What is assumed.
    has_trailing_delimiter
        True if every line ends with a delimiter: then the last cell is always empty.
    row_prefix
        How every row begins, if the file is a report of several sections; other lines are skipped.
    last_line
        The line number of the last row, if another table is below it; else 0.
    short_counts
        Other numbers of cells of rows that lack only their last, optional ones.
    empty_columns
        Columns without a role that are empty in the first rows.
    """

    delimiter: str
    header_lines: tuple[int, ...]
    first_line: int
    field_count: int
    decimal_separators: frozenset[str]
    layout: Layout
    raw_headers: tuple[str, ...] = ()
    preamble: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    has_trailing_delimiter: bool = False
    row_prefix: str = ""
    last_line: int = 0
    short_counts: frozenset[int] = frozenset()
    empty_columns: frozenset[int] = frozenset()

    def is_complete(self) -> pl.Expr:
        """Return whether rows have all cells, or lack only their last, optional ones."""
        return pl.col(FIELD_COUNT).is_in([self.field_count, *sorted(self.short_counts)])


def parse_delimiter(text: str) -> str:
    """Return the delimiter of an option: a character, or ``tab``, ``comma``, ``space`` and so on."""
    delimiter = _DELIMITER_NAMES.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter.isalnum() or delimiter in {'"', "\n", "\r"}:
        raise UsageError(
            f"--delimiter {text!r} is not a delimiter.",
            "Specify one character, or tab, comma, semicolon, pipe, space.",
        )
    return delimiter


def detect_dialect(
    name: str,
    lines: Sequence[str],
    *,
    delimiter: str | None = None,
    decimal: str | None = None,
    columns: Sequence[str] | None = None,
) -> Dialect:
    """Detect delimiter, header and the roles of the columns.

    Parameters
    ----------
    name
        The file's name, for errors.
    lines
        The first lines of the file, without line ends.
    delimiter, decimal
        What the user specifies, if anything.
    columns
        The names of the columns, if the user specifies them.

    Raises
    ------
    DataError
        If the file is not a table of prices, or leaves a question open.
    """
    _check_is_csv(name, lines)
    lines = _without_overlong_lines(name, lines)
    if sections := find_sections(lines):

        def detect(section_lines: Sequence[str], prefix: str) -> Dialect:
            dialect = _detect_table(name, section_lines, ",", decimal, columns)
            return replace(dialect, row_prefix=prefix)

        return detect_section(name, lines, sections, detect)
    return _detect_table(name, lines, delimiter, decimal, columns)


def _detect_table(
    name: str, lines: Sequence[str], delimiter: str | None, decimal: str | None, columns: Sequence[str] | None
) -> Dialect:
    try:
        dialect = _detect_lines(name, lines, delimiter, decimal, columns)
    except DataError:
        section = find_list_section(lines) if columns is None else None
        if section is None:
            raise
        blank = [line if section.header <= i < section.end else "" for i, line in enumerate(lines)]
        dialect = _detect_lines(name, blank, delimiter or section.delimiter, decimal, columns)
        if TIME_ROLES & set(dialect.layout.roles):
            raise
        dialect = replace(dialect, preamble=tuple(lines[: section.header]))
        if section.end < len(lines):
            dialect = replace(dialect, last_line=last_row(lines, section, dialect.field_count) + 1)
    if columns is not None or not dialect.header_lines or TIME_ROLES & set(dialect.layout.roles):
        return dialect
    header, end = dialect.header_lines[0] - 1, dialect.last_line or len(lines)
    warning = name_other_tables(name, lines, dialect.delimiter, header, end)
    return replace(dialect, warnings=(*dialect.warnings, *filter(None, [warning])))


def _detect_lines(
    name: str, lines: Sequence[str], delimiter: str | None, decimal: str | None, columns: Sequence[str] | None
) -> Dialect:
    joined = join_broken_cells(lines)
    split = choose_split(name, joined.lines, delimiter)
    dialect = _detect_split(name, joined.lines, split, decimal, columns)
    if not joined.last_lines:
        return dialect
    warning = check_broken_cells(name, lines, joined, split)
    # the rest of a header whose last cell is broken is not a row
    last_header = dialect.first_line - 2
    return replace(
        dialect,
        first_line=joined.last_lines.get(last_header, last_header) + 2,
        warnings=(*dialect.warnings, *filter(None, [warning])),
    )


def _detect_split(
    name: str,
    lines: Sequence[str],
    split: ColumnSplit,
    decimal: str | None,
    columns: Sequence[str] | None,
) -> Dialect:
    cells = column_samples(split)
    decimal_separators = frozenset(
        decimal or possible_decimal_separators(numeric_cells(cells), split.delimiter)
    )
    dialect = _detect_dialect(name, lines, split, cells, decimal_separators, columns)
    number_columns = [cells[i] for i in dialect.layout.decimal_columns]
    dialect = replace(dialect, has_trailing_delimiter=all(not text for text in cells[-1].strings))
    certain_separators = frozenset(
        decimal or possible_decimal_separators(numeric_cells(number_columns), split.delimiter)
    )
    # columns without a role, such as lists, may have other commas
    if certain_separators != decimal_separators:
        dialect = replace(
            _detect_dialect(name, lines, split, cells, certain_separators, columns),
            has_trailing_delimiter=dialect.has_trailing_delimiter,
        )
    return replace(
        dialect,
        short_counts=_find_short_counts(split, dialect.layout),
        empty_columns=_find_empty_columns(dialect, cells),
    )


def _find_empty_columns(dialect: Dialect, cells: Sequence[ColumnSample]) -> frozenset[int]:
    """Return the columns without a role that may get one by later values."""
    layout = dialect.layout
    used = {*layout.date_duplicates, *layout.passed_over, *chain(*layout.columns_by_role().values())}
    are_named = any(layout.names)
    return frozenset(
        i
        for i, each in enumerate(cells)
        if i not in used and not each.non_missing and (layout.names[i] or not are_named)
    )


def _find_short_counts(split: ColumnSplit, layout: Layout) -> frozenset[int]:
    """Return the numbers of cells of rows that end after the last one that a record needs.

    A single such row may be cut off within a number.
    """
    if layout.panels or split.delimiter == SPACES:
        return frozenset()
    needed = [i for role, i in layout.roles.items() if role not in _OPTIONAL_ROLES]
    rows = [row for row in split.rows[split.data_rows[0] :] if is_data_row(row)]
    counts = Counter(
        len(row) for row in rows if max((*needed, *layout.executed)) < len(row) < split.field_count
    )
    return frozenset(n for n, rows_of in counts.items() if rows_of >= max(_MIN_SHORT_ROWS, 0.05 * len(rows)))


def _detect_dialect(
    name: str,
    lines: Sequence[str],
    split: ColumnSplit,
    cells: list[ColumnSample],
    decimal_separators: frozenset[str],
    columns: Sequence[str] | None,
) -> Dialect:
    cells = [ColumnSample(each.strings, min(decimal_separators, key=".,".index)) for each in cells]
    first_data_row = split.data_rows[0]
    if columns is not None:
        return _dialect_with_names(name, lines, split, cells, decimal_separators, list(columns))
    header = find_header(split, first_data_row)
    if header is None:
        check_no_year_columns(name, split.rows[first_data_row])
        check_no_header(name, split, first_data_row)
        layout = detect_roles([""] * split.field_count, cells)
        if not layout.record_type:
            check_market_data(name, layout.names, cells, layout)
            raise no_header_error(name, first_data_row + 1, lines[first_data_row], layout, cells)
        return Dialect(
            split.delimiter,
            (),
            first_data_row + 1,
            split.field_count,
            decimal_separators,
            layout,
            (),
            tuple(lines[:first_data_row]),
            (_no_header_warning(name, layout),),
        )
    header_rows, symbols, names = header
    cells = without_apostrophes(names, cells)
    check_one_table(name, split, header_rows)
    check_market_data(name, names, cells)
    layout, warnings = align_header(name, names, cells, symbols)
    if not layout.record_type:
        layout = as_daily_list(layout, cells)
        if layout.record_type and not has_consistent_prices(layout, cells):
            raise contradiction_error(name, layout)
    check_market_data(name, layout.names, cells, layout)
    if not layout.record_type:
        raise missing_roles_error(name, header_rows[0] + 1, layout, cells)
    _check_symbols_present(name, layout, cells)
    check_prices_are_no_totals(name, layout, cells)
    headers = tuple(lines[i] for i in header_rows)
    warnings += _volume_warnings(name, layout, cells)
    warnings += tuple(f"{name}: {note}" for note in layout.notes)
    return Dialect(
        split.delimiter,
        tuple(i + 1 for i in header_rows),
        header_rows[-1] + 2,
        split.field_count,
        decimal_separators,
        layout,
        headers,
        tuple(lines[: header_rows[0]]),
        warnings,
    )


def count_names(text: str) -> float:
    """Return how many roles the best of the first lines of words names: it tells encodings apart."""
    lines = text.splitlines()
    words = [line for line in lines if not line.isascii() and not _DIGIT.search(line)]
    return max(
        (
            count_named_roles(split_line(line, sign))
            for line in (*lines[:HEADER_SEARCH_LINES], *words[:HEADER_SEARCH_LINES])
            for sign in DELIMITERS
            if sign in line
        ),
        default=0,
    )


def _check_is_csv(name: str, lines: Sequence[str]) -> None:
    check_is_table(name, lines)
    nuls = sum(line.count("\0") for line in lines[:50])
    if nuls > 0.1 * sum(map(len, lines[:50])) + 10:
        raise DataError(f"{name} is not text: it has many NUL bytes.", "Export it as CSV.")


def _without_overlong_lines(name: str, lines: Sequence[str]) -> list[str]:
    """Return lines, each empty if it is too long or has too many cells for a row.

    Raises
    ------
    DataError
        If most lines are.
    """
    cells = [max(map(line.count, DELIMITERS)) + 1 for line in lines]
    kept = [
        line if count <= MAX_COLUMNS and len(line) <= _MAX_LINE_LENGTH else ""
        for line, count in zip(lines, cells, strict=True)
    ]
    overlong = sum(old != new for old, new in zip(lines, kept, strict=True))
    if overlong > 0.5 * sum(bool(line.strip()) for line in lines):
        widest = max(cells)
        what = f"{widest:,} columns, more than {MAX_COLUMNS:,}"
        if widest <= MAX_COLUMNS:
            what = f"lines of {max(map(len, lines)):,} characters"
        raise DataError(f"{name} has {what}.", "Is it a table of prices?")
    return kept


def _check_symbols_present(name: str, layout: Layout, cells: list[ColumnSample]) -> None:
    if "symbol" not in layout.roles:
        return
    texts = cells[layout.roles["symbol"]].strings
    if sum(not text for text in texts) > 0.5 * len(texts):
        raise DataError(
            f"{name}: the column {layout.names[layout.roles['symbol']]} is empty on most rows; "
            "its cells may have been merged.",
            "Write the symbol on every row, or name the columns without it: "
            "--columns ,date,open,high,low,close",
        )


def _volume_warnings(name: str, layout: Layout, cells: Sequence[ColumnSample]) -> tuple[str, ...]:
    """Return a warning for bars without a volume, if a column looks like one."""
    if layout.record_type != BAR or layout.panels or "volume" in layout.roles or "high" not in layout.roles:
        return ()
    used = {*layout.roles.values(), *layout.date_duplicates}
    candidates = [layout.names[i] for i, each in enumerate(cells) if i not in used and is_share_count(each)]
    if not candidates:
        return ()
    warning = (
        f"{name}: no column is known to be the volume; {', '.join(candidates)} may be. Stored as extra: "
        "name the columns with --columns if one is."
    )
    return (warning,)


def _dialect_with_names(
    name: str,
    lines: Sequence[str],
    split: ColumnSplit,
    cells: list[ColumnSample],
    decimal_separators: frozenset[str],
    names: list[str],
) -> Dialect:
    """Return the dialect of a file whose columns the user has named."""
    if len(names) > split.field_count:
        raise UsageError(
            f"--columns has {len(names)} names, the rows of {name} have {split.field_count} fields.",
            "Name each column; leave unknown ones empty.",
        )
    names = names + [""] * (split.field_count - len(names))
    cells = without_apostrophes(names, cells)
    symbols, bare_names = split_named_symbols(names)
    if any(symbols):
        used = [
            each if name else ColumnSample([""] * len(each.strings))
            for name, each in zip(names, cells, strict=True)
        ]
        layout = replace(detect_roles(bare_names, used, symbols), names=tuple(names))
    else:
        layout = as_daily_list(detect_roles(names, cells), cells)
    if "high" not in layout.price_roles and set(RANGE_PRICES) & set(map(normalize_name, names)):
        layout = replace(layout, record_type="")  # who names the open wants all four
    check_named_times(name, names, layout, cells)
    check_named_symbols(name, names, cells)
    if not layout.record_type:
        check_named_numbers(name, names, cells)
        raise unusable_names_error(name, names, layout, cells)
    if layout.record_type == BAR and not has_consistent_prices(layout, cells):
        raise contradiction_error(name, layout, is_named=True)
    if not layout.panels and "symbol" in map(normalize_name, names) and "symbol" not in layout.roles:
        raise UsageError(
            f"--columns names a column of symbols, which is empty in {name}.", "Leave its name empty."
        )
    above = [i for i in range(split.data_rows[0]) if any(split.rows[i])]
    header = above[-1:] if above and count_named_roles(split.rows[above[-1]]) >= 2 else []
    headers = tuple(lines[i] for i in header)
    start = header[-1] + 1 if header else split.data_rows[0]
    return Dialect(
        split.delimiter,
        tuple(i + 1 for i in header),
        start + 1,
        split.field_count,
        decimal_separators,
        layout,
        headers,
        tuple(lines[: start - len(header)]),
    )


def _no_header_warning(name: str, layout: Layout) -> str:
    return (
        f"{name} has no header; by their values, its columns are {format_roles(layout)}. "
        "If that is wrong, name them with --columns."
    )
