"""Another header among the rows of a file, in the pass over the whole of it."""

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.lines.dialect import FIELD_COUNT, Dialect
from tickerlake.sources.csv.detect.lines.rows import LINE, RAW, ChunkRows
from tickerlake.sources.csv.detect.lines.split_lines import SPACES, split_line
from tickerlake.sources.csv.detect.lines.tables import (
    SEPARATE_TABLES,
    is_header,
    is_section_header,
    join_names,
    names_fit,
    normalize_header,
    several_tables_error,
    title_symbol,
)

_MAX_CHECKED_CELLS: Final = 50_000
"""Of lines that may be headers, in the whole file: it bounds the time for files of words."""

_ROLES_WITH_DIGITS: Final = ("time", "clock", "year", "close", "price", "bid_price")
"""One of them is in every table: each row has digits there."""


class HeaderWatch:
    """Looks for another header among all rows of a file.

    Parameters
    ----------
    name
        The file's name.
    dialect
        How its lines are split, and its header.
    """

    def __init__(self, name: str, dialect: Dialect) -> None:
        self._name = name
        self._dialect = dialect
        self._known = {normalize_header(split_line(line, dialect.delimiter)) for line in dialect.raw_headers}
        self._titles = {title_symbol(line) for line in dialect.preamble}
        self._last: pl.DataFrame | None = None
        self._seen: set[str] = set()
        self._cells_left = _MAX_CHECKED_CELLS
        sign = r"\s" if dialect.delimiter == SPACES else re.escape(dialect.delimiter)
        self._number = rf'(?:^|{sign})[ "]*[-+]?[$€£¥]?[0-9][0-9.,]*[ "]*(?:{sign}|$)'

        roles = {**dialect.layout.roles, **next(iter(dialect.layout.panels.values()), {})}
        self._column = next(roles[role] for role in _ROLES_WITH_DIGITS if role in roles)

    @property
    def columns(self) -> tuple[int, ...]:
        """The columns that it reads."""
        return (self._column,)

    def candidates(self, rows: ChunkRows) -> pl.DataFrame:
        """Return number and text of the lines that may be headers: no number where rows have one."""
        text = pl.col(f"c{self._column}")
        has_digits = text.str.contains("[0-9]")
        if self._dialect.layout.names[self._column]:
            has_digits &= text.str.strip_chars() != self._dialect.layout.names[self._column]
        if not rows.uniform:
            has_digits &= pl.col(FIELD_COUNT) == self._dialect.field_count
        found = rows.frame.lazy().select(LINE, row=has_digits.fill_null(value=False)).collect()
        lines = found.filter(~pl.col("row")).get_column(LINE)
        if lines.is_empty():
            return pl.DataFrame(schema={LINE: pl.Int64(), RAW: pl.String()})
        if rows.chunk.first_line <= self._dialect.first_line:
            # names may have several lines: in two languages, with units
            first = found.filter("row").get_column(LINE).min()
            lines = lines.filter(lines > first) if first is not None else lines.clear()
        return pl.DataFrame({LINE: lines, RAW: rows.raw_lines(lines)}).filter(
            ~pl.col(RAW).str.contains(self._number),
            pl.col(RAW).str.starts_with(self._dialect.row_prefix),
        )

    def check(self, candidates: pl.DataFrame) -> None:
        """Raise an error for a header that is not the file's own, or that of another symbol's table."""
        if candidates.is_empty():
            return
        self._check_titles(candidates)
        for line, text in candidates.unique(RAW, maintain_order=True).iter_rows():
            if text in self._seen or self._cells_left <= 0:
                continue
            self._seen.add(text)
            cells = split_line(text.lstrip("# "), self._dialect.delimiter)
            self._cells_left -= len(cells)
            if is_header(cells) and not self._is_known(cells):
                raise self._error(line, cells)

    def _check_titles(self, candidates: pl.DataFrame) -> None:
        """Raise an error if the file's own header is repeated below the name of another symbol."""
        if self._last is not None:
            candidates = pl.concat([self._last, candidates])
        self._last = candidates.tail(1)
        is_header, gap = pl.col(RAW).is_in(list(self._dialect.raw_headers)), pl.col(LINE).diff()
        titles = candidates.with_columns(title=pl.col(RAW).shift()).filter(is_header & (gap <= 2))
        for line, _, text in titles.unique("title", maintain_order=True).iter_rows():
            title = title_symbol(text)
            if title and title not in self._titles:
                raise DataError(
                    f"{self._name} has several tables: the header is repeated in line {line}, "
                    f"below {title!r}.",
                    SEPARATE_TABLES,
                )

    def _is_known(self, cells: Sequence[str]) -> bool:
        if self._known:
            header = split_line(self._dialect.raw_headers[-1], self._dialect.delimiter)
            return normalize_header(cells) in self._known or is_section_header(cells, header)
        return names_fit(self._dialect.layout, cells)

    def _error(self, line: int, cells: Sequence[str]) -> DataError:
        dialect = self._dialect
        if dialect.raw_headers:
            header = split_line(dialect.raw_headers[-1], dialect.delimiter)
            return several_tables_error(self._name, [(dialect.header_lines[-1], header), (line, cells)])
        return DataError(
            f"{self._name} has several tables: the first one has no header, that in line {line} is "
            f"{join_names(cells)}.",
            SEPARATE_TABLES,
        )
