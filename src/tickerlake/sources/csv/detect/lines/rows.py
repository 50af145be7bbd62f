"""A chunk of lines as a table of text, one row per physical line."""

import io
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from tickerlake.model.schema import DECIMAL
from tickerlake.sources.csv.chunks import Chunk
from tickerlake.sources.csv.detect.lines.dialect import FIELD_COUNT, Dialect
from tickerlake.sources.csv.detect.lines.split_lines import SPACES, TEXT_FORMULA

LINE: Final = "_line"
RAW: Final = "_raw"
SKIPPED: Final = "_skipped"
"""Column of the lines that are neither records nor rejects."""


class ChunkRows(NamedTuple):
    """The rows of a chunk.

    Parameters
    ----------
    frame
        ``_line`` and the cells: text, but exact decimals for columns of plain numbers, null where the text is
        empty. If ``uniform`` is False, also ``_fields`` (the number of cells of the line) and ``_skipped``
        (blank lines and repeated headers).
    uniform
        True if every line is known to have as many cells as there are columns.
    chunk
        The chunk without its header.
    """

    frame: pl.DataFrame
    uniform: bool
    chunk: Chunk

    def raw_lines(self, line_numbers: pl.Series) -> pl.Series:
        """Return the text of lines by line number."""
        return _raw_lines(self.chunk).gather(line_numbers - self.chunk.first_line)


def read_rows(
    chunk: Chunk, dialect: Dialect, columns: Sequence[str] | None = None, number_columns: Sequence[str] = ()
) -> ChunkRows:
    """Return the cells ``c0``, ``c1`` … of each line of the table.

    A line is a row: a quoted line end would let one stray quote swallow the rest of a file.

    Parameters
    ----------
    chunk
        Whole lines.
    dialect
        How lines are split.
    columns
        The cells to return; default: all.
    number_columns
        Cells that are likely to be plain numbers. They are read directly as decimals, which is much faster,
        if they are plain numbers on every line of the chunk.
    """
    chunk = _skip_header(_cut_end(chunk, dialect), dialect)
    frame = _read_uniform(chunk, dialect, columns, number_columns)
    if frame is not None:
        return ChunkRows(frame, uniform=True, chunk=chunk)
    return ChunkRows(_read_ragged(chunk, dialect, columns), uniform=False, chunk=chunk)


def _skip_header(chunk: Chunk, dialect: Dialect) -> Chunk:
    skip = dialect.first_line - chunk.first_line
    if skip <= 0:
        return chunk
    if skip >= chunk.lines:
        return chunk._replace(data=b"", lines=0, first_line=dialect.first_line)
    at = 0
    for _ in range(skip):
        at = chunk.data.index(b"\n", at) + 1
    return chunk._replace(data=chunk.data[at:], lines=chunk.lines - skip, first_line=dialect.first_line)


def _cut_end(chunk: Chunk, dialect: Dialect) -> Chunk:
    """Return a chunk without the lines behind the table."""
    lines = max(0, dialect.last_line - chunk.first_line + 1)
    if not dialect.last_line or lines >= chunk.lines:
        return chunk
    kept = b"".join(line + b"\n" for line in chunk.data.split(b"\n", lines)[:lines])
    return chunk._replace(data=kept, lines=lines)


def _with_header(data: bytes, fields: int, delimiter: str) -> bytes:
    return delimiter.join(f"c{i}" for i in range(fields)).encode() + b"\n" + data


def _read_uniform(
    chunk: Chunk, dialect: Dialect, columns: Sequence[str] | None, number_columns: Sequence[str]
) -> pl.DataFrame | None:
    """Read a chunk without quotes if every line has as many cells as there are columns; else return None."""
    data, delimiter = chunk.data, dialect.delimiter
    if delimiter == SPACES or b'"' in data or not data or dialect.row_prefix:
        return None
    if data.count(delimiter.encode()) != chunk.lines * (dialect.field_count - 1):
        return None
    if any(header and header.encode() in data for header in dialect.raw_headers):
        return None
    try:
        cells = pl.read_csv(
            _with_header(data, dialect.field_count, delimiter),
            columns=columns,
            infer_schema=False,
            schema_overrides=dict.fromkeys(number_columns, DECIMAL),
            separator=delimiter,
            quote_char=None,
            empty_string_is_null=False,
        )
    except pl.exceptions.ComputeError:
        # a number is not plain, or one line has more cells and another has fewer
        return _read_uniform(chunk, dialect, columns, ()) if number_columns else None
    if cells.height != chunk.lines:
        return None
    return cells.with_columns(pl.int_range(chunk.first_line, chunk.first_line + chunk.lines).alias(LINE))


def _raw_lines(chunk: Chunk) -> pl.Series:
    return pl.read_lines(io.BytesIO(chunk.data), name=RAW).get_column(RAW)


def _read_ragged(chunk: Chunk, dialect: Dialect, columns: Sequence[str] | None) -> pl.DataFrame:
    if not chunk.data:
        empty = {name: pl.String() for name in (columns or [f"c{i}" for i in range(dialect.field_count)])}
        return pl.DataFrame(
            schema={LINE: pl.Int64(), FIELD_COUNT: pl.Int32(), SKIPPED: pl.Boolean(), **empty}
        )
    raw = _raw_lines(chunk)
    lines, data, delimiter = raw.to_frame(), chunk.data, dialect.delimiter
    if delimiter == SPACES:
        data = re.sub(rb"[ \t]+", b" ", re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", data))
        lines = _raw_lines(chunk._replace(data=data)).to_frame()
    quoted = b'"' in data
    cells = _read_cells(data, lines, dialect.field_count, delimiter, columns, quoted=quoted)
    if b'="' in data:
        cells = cells.with_columns(pl.all().str.replace(TEXT_FORMULA, "${1}"))
    text, fields = pl.col(RAW), _field_counts(delimiter, quoted=quoted)
    is_blank = text.str.strip_chars(f" \t{delimiter}") == ""
    # some vendors end full lines with one more delimiter: it is not a field
    has_trailing_delimiter = (
        text.str.ends_with(delimiter)
        & (fields == dialect.field_count + 1)
        & (not dialect.has_trailing_delimiter)
    )
    marks = lines.select(
        pl.int_range(chunk.first_line, chunk.first_line + chunk.lines).alias(LINE),
        (fields - has_trailing_delimiter.cast(pl.Int32)).alias(FIELD_COUNT),
        (is_blank | text.is_in(list(dialect.raw_headers)) | ~text.str.starts_with(dialect.row_prefix)).alias(
            SKIPPED
        ),
    )
    return pl.concat([marks, cells], how="horizontal")


def _field_counts(delimiter: str, *, quoted: bool) -> pl.Expr:
    """Count a line's fields; 0 if a quote is not closed."""
    raw = pl.col(RAW)
    if not quoted:
        return raw.str.count_matches(delimiter, literal=True).cast(pl.Int32) + 1
    bare = raw.str.replace_all(r'"[^"]*"', "")
    count = bare.str.count_matches(delimiter, literal=True).cast(pl.Int32) + 1
    return pl.when(bare.str.contains('"', literal=True)).then(0).otherwise(count)


def _read_cells(
    data: bytes,
    lines: pl.DataFrame,
    field_count: int,
    delimiter: str,
    columns: Sequence[str] | None,
    *,
    quoted: bool,
) -> pl.DataFrame:
    if quoted:
        raw = pl.col(RAW)
        count = _field_counts(delimiter, quoted=True)
        # a quote in the wrong place must not affect other lines
        has_stray_quote = (count != field_count) & ~(
            (count == field_count + 1) & raw.str.ends_with(delimiter)
        )
        # a space before a quote would make the quote part of the cell
        tidy = raw.str.replace_all(f'{re.escape(delimiter)} +"', f'{delimiter}"').str.replace(r'^ +"', '"')
        tidy = pl.when(has_stray_quote).then(pl.lit("")).otherwise(tidy)
        changed = lines.select(tidy.alias("tidy"), (tidy != raw).alias("changed"))
        if changed["changed"].any():
            data = "\n".join(changed["tidy"]).encode() + b"\n"
    for quote in ('"', None) if quoted else (None,):
        try:
            cells = pl.read_csv(
                _with_header(data, field_count, delimiter),
                columns=columns,
                infer_schema=False,
                separator=delimiter,
                quote_char=quote,
                empty_string_is_null=False,
                truncate_ragged_lines=True,
            )
        except pl.exceptions.ComputeError:
            continue
        if cells.height == lines.height:
            return cells
    raise AssertionError("without quotes, every line is a row")
