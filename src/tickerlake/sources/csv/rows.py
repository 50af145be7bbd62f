"""A chunk of lines becomes a table of text, one row per physical line."""

import io
from collections.abc import Sequence
from typing import Final

import polars as pl

from tickerlake.sources.csv.chunks import Chunk
from tickerlake.sources.csv.layout import Layout

LINE: Final = "_line"
RAW: Final = "_raw"
FIELDS: Final = "_fields"
BLANK: Final = "_blank"


def read_rows(
    chunk: Chunk,
    layout: Layout,
    separator: str,
    header_line: int,
    header: str,
    wanted: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the cells ``c0``, ``c1`` … of each line below the header, with its number and its own text.

    Only the cells ``wanted``, if they are named.

    A line is a row: a quoted line end would let one stray quote swallow the rest of a file. ``_fields``
    counts a line's fields; ``_blank`` marks blank lines and repeated headers.
    """
    lines = pl.read_lines(io.BytesIO(chunk.data), name=RAW)
    quoted = b'"' in chunk.data
    cells = _cells(chunk.data, lines, layout.columns, separator, wanted, quoted=quoted)
    marks = lines.select(
        pl.int_range(chunk.first_line, chunk.first_line + len(lines)).alias(LINE),
        RAW,
        _fields(separator, quoted=quoted).alias(FIELDS),
        (pl.col(RAW) == header).alias(BLANK),
    )
    marks = _mark_odd_lines(marks, len(layout.names), separator)
    rows = pl.concat([marks, cells], how="horizontal")
    return rows.filter(pl.col(LINE) > header_line) if chunk.first_line <= header_line else rows


def _fields(separator: str, *, quoted: bool) -> pl.Expr:
    """Count a line's fields; none if a quote is left open."""
    raw = pl.col(RAW)
    if not quoted:
        return raw.str.count_matches(separator, literal=True).cast(pl.Int32) + 1
    bare = raw.str.replace_all(r'"[^"]*"', "")
    count = bare.str.count_matches(separator, literal=True).cast(pl.Int32) + 1
    return pl.when(bare.str.contains('"', literal=True)).then(0).otherwise(count)


def _mark_odd_lines(marks: pl.DataFrame, fields: int, separator: str) -> pl.DataFrame:
    short = pl.col(RAW).str.len_bytes() <= 2 * fields
    if marks.select((short | (pl.col(FIELDS) != fields)).any()).item():
        empty = pl.col(RAW).str.strip_chars(f" \t{separator}") == ""
        # One separator more at the end of a full line is a habit of some vendors, not a field.
        habit = pl.col(RAW).str.ends_with(separator) & (pl.col(FIELDS) == fields + 1)
        return marks.with_columns(
            pl.col(FIELDS) - habit.cast(pl.Int32),
            pl.col(BLANK) | empty,
        )
    return marks


def _cells(
    data: bytes,
    lines: pl.DataFrame,
    columns: list[str],
    separator: str,
    wanted: Sequence[str] | None,
    *,
    quoted: bool,
) -> pl.DataFrame:
    if quoted:
        raw = pl.col(RAW)
        stray = (raw.str.count_matches('"', literal=True) % 2 == 1).alias("stray")
        if lines.select(stray.any()).item():
            data = "\n".join(
                lines.select(pl.when(stray).then(pl.lit("")).otherwise(raw)).to_series()
            ).encode()
            data += b"\n"
    head = (separator.join(columns) + "\n").encode()
    for quote in ('"', None) if quoted else (None,):
        try:
            cells = pl.read_csv(
                head + data,
                columns=wanted,
                separator=separator,
                quote_char=quote,
                infer_schema=False,
                empty_string_is_null=False,
                truncate_ragged_lines=True,
            )
        except pl.exceptions.ComputeError:
            continue
        if len(cells) == len(lines):
            return cells
    raise AssertionError("every line is a row once quotes mean nothing")


def time_text(layout: Layout) -> pl.Expr:
    """Return the text of a row's date, with its time of day if that has a column of its own."""
    text = pl.col(layout.column("time")).str.strip_chars()
    if "clock" in layout.roles:
        text = pl.concat_str(text, pl.lit(" "), pl.col(layout.column("clock")).str.strip_chars())
    return text
