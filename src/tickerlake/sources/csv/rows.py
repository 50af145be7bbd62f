"""A chunk of lines becomes a table of text, one row per physical line."""

import io
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import polars as pl

from tickerlake.model.schema import DECIMAL
from tickerlake.sources.csv.chunks import Chunk
from tickerlake.sources.csv.cut import BLANKS
from tickerlake.sources.csv.dialect import Dialect

LINE: Final = "_line"
RAW: Final = "_raw"
FIELDS: Final = "_fields"
BLANK: Final = "_blank"


class Rows(NamedTuple):
    """The rows of a chunk.

    Parameters
    ----------
    frame
        ``_line`` and the cells: text, but of plain numbers exact decimals, null where the text is empty. If
        ``even`` is False, ``_fields`` (how many cells the line has) and ``_blank`` (blank lines and repeated
        headers) as well.
    even
        True if every line is known to have as many cells as there are columns.
    chunk
        Where they stand.
    """

    frame: pl.DataFrame
    even: bool
    chunk: Chunk

    def texts(self, lines: pl.Series) -> pl.Series:
        """Return the text of lines by their numbers."""
        return _texts(self.chunk).gather(lines - self.chunk.first_line)


def read_rows(
    chunk: Chunk, dialect: Dialect, wanted: Sequence[str] | None = None, plain: Sequence[str] = ()
) -> Rows:
    """Return the cells ``c0``, ``c1`` … of each line of the table, or only the cells ``wanted``.

    A line is a row: a quoted line end would let one stray quote swallow the rest of a file.

    Parameters
    ----------
    chunk
        Where the rows stand.
    dialect
        How lines are cut.
    wanted
        Cells to return; all, if it is left out.
    plain
        Cells that are likely to be plain numbers. They are read as decimals at once, which is much quicker,
        if they are nothing else on any line of the chunk.
    """
    chunk = _below_header(chunk, dialect)
    frame = _even(chunk, dialect, wanted, plain)
    if frame is not None:
        return Rows(frame, even=True, chunk=chunk)
    return Rows(_uneven(chunk, dialect, wanted), even=False, chunk=chunk)


def _below_header(chunk: Chunk, dialect: Dialect) -> Chunk:
    skip = dialect.first_line - chunk.first_line
    if skip <= 0:
        return chunk
    if skip >= chunk.lines:
        return chunk._replace(data=b"", lines=0, first_line=dialect.first_line)
    at = 0
    for _ in range(skip):
        at = chunk.data.index(b"\n", at) + 1
    return chunk._replace(data=chunk.data[at:], lines=chunk.lines - skip, first_line=dialect.first_line)


def _named(data: bytes, fields: int, separator: str) -> bytes:
    return separator.join(f"c{i}" for i in range(fields)).encode() + b"\n" + data


def _even(
    chunk: Chunk, dialect: Dialect, wanted: Sequence[str] | None, plain: Sequence[str]
) -> pl.DataFrame | None:
    """Read a chunk without quotes whose every line has as many cells as there are columns."""
    data, separator = chunk.data, dialect.separator
    if separator == BLANKS or b'"' in data or not data:
        return None
    if data.count(separator.encode()) != chunk.lines * (dialect.fields - 1):
        return None
    if any(header and header.encode() in data for header in dialect.headers):
        return None
    try:
        cells = pl.read_csv(
            _named(data, dialect.fields, separator),
            columns=wanted,
            infer_schema=False,
            schema_overrides=dict.fromkeys(plain, DECIMAL),
            separator=separator,
            quote_char=None,
            empty_string_is_null=False,
        )
    except pl.exceptions.ComputeError:
        # a number is not plain; or one line has more cells and another has fewer
        return _even(chunk, dialect, wanted, ()) if plain else None
    if cells.height != chunk.lines:
        return None
    return cells.with_columns(pl.int_range(chunk.first_line, chunk.first_line + chunk.lines).alias(LINE))


def _texts(chunk: Chunk) -> pl.Series:
    return pl.read_lines(io.BytesIO(chunk.data), name=RAW).get_column(RAW)


def _uneven(chunk: Chunk, dialect: Dialect, wanted: Sequence[str] | None) -> pl.DataFrame:
    if not chunk.data:
        empty = {name: pl.String() for name in (wanted or [f"c{i}" for i in range(dialect.fields)])}
        return pl.DataFrame(schema={LINE: pl.Int64(), FIELDS: pl.Int32(), BLANK: pl.Boolean(), **empty})
    raw = _texts(chunk)
    lines, data, separator = raw.to_frame(), chunk.data, dialect.separator
    if separator == BLANKS:
        data = re.sub(rb"[ \t]+", b" ", re.sub(rb"(?m)^[ \t]+|[ \t]+$", b"", data))
        lines = _texts(chunk._replace(data=data)).to_frame()
    quoted = b'"' in data
    cells = _cells(data, lines, dialect.fields, separator, wanted, quoted=quoted)
    text, fields = pl.col(RAW), _fields(separator, quoted=quoted)
    nothing = text.str.strip_chars(f" \t{separator}") == ""
    # One separator more at the end of a full line is a habit of some vendors, not a field.
    habit = text.str.ends_with(separator) & (fields == dialect.fields + 1) & (not dialect.closed)
    marks = lines.select(
        pl.int_range(chunk.first_line, chunk.first_line + chunk.lines).alias(LINE),
        (fields - habit.cast(pl.Int32)).alias(FIELDS),
        (nothing | text.is_in(list(dialect.headers))).alias(BLANK),
    )
    return pl.concat([marks, cells], how="horizontal")


def _fields(separator: str, *, quoted: bool) -> pl.Expr:
    """Count a line's fields; none if a quote is left open."""
    raw = pl.col(RAW)
    if not quoted:
        return raw.str.count_matches(separator, literal=True).cast(pl.Int32) + 1
    bare = raw.str.replace_all(r'"[^"]*"', "")
    count = bare.str.count_matches(separator, literal=True).cast(pl.Int32) + 1
    return pl.when(bare.str.contains('"', literal=True)).then(0).otherwise(count)


def _cells(
    data: bytes,
    lines: pl.DataFrame,
    fields: int,
    separator: str,
    wanted: Sequence[str] | None,
    *,
    quoted: bool,
) -> pl.DataFrame:
    if quoted:
        raw = pl.col(RAW)
        count = _fields(separator, quoted=True)
        # a quote in the wrong place may not reach other lines
        stray = (count != fields) & ~((count == fields + 1) & raw.str.ends_with(separator))
        # a blank before a quote makes the quote a part of the cell
        tidy = raw.str.replace_all(f'{re.escape(separator)} +"', f'{separator}"').str.replace(r'^ +"', '"')
        tidy = pl.when(stray).then(pl.lit("")).otherwise(tidy)
        changed = lines.select(tidy.alias("tidy"), (tidy != raw).alias("changed"))
        if changed["changed"].any():
            data = "\n".join(changed["tidy"]).encode() + b"\n"
    for quote in ('"', None) if quoted else (None,):
        try:
            cells = pl.read_csv(
                _named(data, fields, separator),
                columns=wanted,
                infer_schema=False,
                separator=separator,
                quote_char=quote,
                empty_string_is_null=False,
                truncate_ragged_lines=True,
            )
        except pl.exceptions.ComputeError:
            continue
        if cells.height == lines.height:
            return cells
    raise AssertionError("every line is a row once quotes mean nothing")
