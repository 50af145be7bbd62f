"""Columns that are empty in the first rows and filled later, in the pass over the whole of a file.

What they mean is decided by names and values together, so it is decided again, with rows that have values.
"""

from typing import NamedTuple

import polars as pl

from tickerlake.errors import DataError
from tickerlake.model.schema import BAR, RANGE_PRICES
from tickerlake.sources.csv.detect.columns.layout import ROLES_BY_TYPE, columns_option, role_ranks
from tickerlake.sources.csv.detect.head import FileHead, read_head
from tickerlake.sources.csv.detect.lines.dialect import Dialect
from tickerlake.sources.csv.detect.lines.rows import LINE, SKIPPED, ChunkRows
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.numbers import is_missing_expr

_MAX_LINES = 500
"""How many later lines are added to the first ones each time."""

_MAX_TIMES = 4
"""How often the columns are decided again: it bounds the time for files whose columns fill one by one."""


class LateRows(NamedTuple):
    """The lines of a chunk from the first one on in which a column is filled that was empty before."""

    column: int
    line: int
    lines: list[str]


class LateColumnWatch:
    """Looks for values in columns without a role that are empty in the first rows.

    Parameters
    ----------
    head
        How the lines of the file are read.
    """

    def __init__(self, head: FileHead) -> None:
        self._dialect = head.dialect
        self.columns = tuple(sorted(head.dialect.empty_columns))
        """The columns that it reads."""

    def find(self, rows: ChunkRows, dates: pl.Expr) -> LateRows | None:
        """Return the lines from the first one on in which one of the columns has a value.

        Parameters
        ----------
        rows
            The rows of a chunk.
        dates
            The text of each row's date: lines without digits in it are not rows.
        """
        filled = [column for column in self.columns if self._is_filled(rows.frame, column)]
        if not filled:
            return None
        is_row = dates.str.contains("[0-9]")
        if not rows.uniform:
            is_row &= ~pl.col(SKIPPED) & self._dialect.is_complete()
        has_value = {column: ~is_missing_expr(pl.col(f"c{column}")) & is_row for column in filled}
        found = rows.frame.select(
            pl.col(LINE).filter(each).min().alias(f"{column}") for column, each in has_value.items()
        ).row(0)
        lines = [(line, column) for line, column in zip(found, filled, strict=True) if line is not None]
        if not lines:
            return None
        line, column = min(lines)
        last = min(line + _MAX_LINES, rows.chunk.first_line + rows.chunk.lines)
        return LateRows(column, line, rows.raw_lines(pl.Series(range(line, last))).to_list())

    def _is_filled(self, frame: pl.DataFrame, column: int) -> bool:
        cells = frame.get_column(f"c{column}")
        if not (cells != "").any():
            return False
        return bool(cells.unique().to_frame("c").select((~is_missing_expr(pl.col("c"))).any()).item())


def read_head_again(head: FileHead, options: Options, late: LateRows) -> FileHead:
    """Detect the columns again, from the first lines and later ones.

    Raises
    ------
    DataError
        If a column that means something in such a table is filled after this has been done several times.
    """
    dialect, text_file = head.dialect, head.text_file
    if head.later_blocks < _MAX_TIMES:
        again = read_head(
            text_file.file,
            options,
            chunk_bytes=text_file.chunk_bytes,
            later_lines=(*head.later_lines, *late.lines),
        )
        warnings = tuple(filter(None, [*head.later_warnings, _late_range_warning(dialect, again, late)]))
        return again.with_later(head.later_blocks + 1, late.line, warnings)
    name = dialect.layout.names[late.column]
    if not set(role_ranks(name)) & {*ROLES_BY_TYPE[dialect.layout.record_type], *RANGE_PRICES}:
        return head.without_empty_column(late.column)
    raise DataError(
        f"{text_file.file_name}: the column {name} is empty at first, and filled from line {late.line:,} on, "
        "as others are before it.",
        "Split the file there, or name the columns: --columns date,open,high,low,close,volume",
    )


def _late_range_warning(dialect: Dialect, again: FileHead, late: LateRows) -> str:
    """Return what is said of rows with the close alone above those with all prices, if there are some."""
    before, layout = dialect.layout, again.dialect.layout
    if layout.record_type != BAR or layout.panels or "high" in before.roles or "high" not in layout.roles:
        return ""
    names = ", ".join(layout.names[layout.roles[role]] for role in RANGE_PRICES)
    words = {
        column: {"time": "date", "clock": "time"}.get(role, role)
        for role, column in layout.roles.items()
        if role in {"time", "clock", "symbol", "close", "volume"}
    }
    return (
        f"{again.text_file.file_name}: {names} are empty before line {late.line:,}, and such rows are "
        f"rejected. To read the closes of all rows instead: --columns {columns_option(words)}"
    )
