"""Quoted cells with line breaks below the first lines, in the pass over the whole file."""

from typing import NamedTuple

import polars as pl

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.lines.broken_cells import (
    BROKEN_CELL,
    REPLACE_LINE_BREAKS,
    find_broken_cells,
)
from tickerlake.sources.csv.detect.lines.dialect import FIELD_COUNT, Dialect
from tickerlake.sources.csv.detect.lines.rows import LINE, ChunkRows
from tickerlake.sources.csv.detect.lines.split_lines import HEAD_LINES


class BrokenCells(NamedTuple):
    """Lines of a chunk whose last cell goes on in the next one, and one of them that hides a row, or 0."""

    lines: list[int]
    hiding: int = 0


class BrokenCellWatch:
    """Looks for quoted cells with line breaks among the rows behind the first lines of a file.

    Parameters
    ----------
    name
        The file's name.
    dialect
        How its lines are split.
    """

    def __init__(self, name: str, dialect: Dialect) -> None:
        self._name = name
        self._dialect = dialect
        self._first = 0
        self._count = 0

    def find(self, rows: ChunkRows) -> BrokenCells:
        """Return the rows of a chunk whose last cell goes on in the next line."""
        if rows.uniform:
            return BrokenCells([])
        # a quote that is not closed leaves no fields
        is_open = (pl.col(FIELD_COUNT) == 0) & (pl.col(LINE) > HEAD_LINES)
        candidates = rows.frame.lazy().filter(is_open).select(LINE).collect().get_column(LINE)
        if candidates.is_empty():
            return BrokenCells([])
        lines = rows.chunk.data.decode("utf-8", "replace").split("\n")
        first = rows.chunk.first_line
        indexes = [line - first for line in candidates]
        found, hiding = find_broken_cells(lines, indexes, self._dialect.delimiter, self._dialect.field_count)
        return BrokenCells([i + first for i in found], hiding + first if hiding >= 0 else 0)

    def add(self, found: BrokenCells) -> None:
        """Count the broken cells of the next chunk.

        Raises
        ------
        DataError
            If a line inside one of them would be read as a row.
        """
        if found.hiding:
            raise DataError(
                f"{self._name}, line {found.hiding}: {BROKEN_CELL}: line breaks in cells are not supported.",
                REPLACE_LINE_BREAKS,
            )
        if found.lines:
            self._first = self._first or found.lines[0]
            self._count += len(found.lines)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is said of the rows that are rejected."""
        if not self._count:
            return ()
        more = f", and {self._count - 1:,} more below it do so" if self._count > 1 else ""
        problem = f"{self._name}, line {self._first:,}: {BROKEN_CELL}{more}"
        return (f"{problem}: line breaks in cells are not supported, and such rows are rejected.",)
