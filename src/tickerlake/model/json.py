"""Records as JSON, one document per record, without a step in Python per record."""

import io
import json
import re
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final

import msgspec
import polars as pl

from tickerlake.model.schema import RECORD_TYPE_OF

JSON_COLUMNS: Final = frozenset({"extra", "values"})
_LINE_COLUMN: Final = "\n"
_NEEDS_ESCAPE: Final = r'["\\\x00-\x1f]'
_SCALES: Final = (0, 2, 4, 6)
_MAX_TABLE_DECIMALS: Final = 4
"""Up to this many decimals, fractions come from a table: it has 10,000 texts."""

_MAX_ROWWISE_RECORDS: Final = 32
"""Up to this many records, the fixed cost of expressions is higher than that of a loop."""

_ESCAPE_REGEX: Final = re.compile(_NEEDS_ESCAPE)


def to_json_lines(records: pl.DataFrame) -> list[bytes]:
    """Return one JSON document per record, as UTF-8, without line ends.

    Prices and sizes are plain decimal numbers, exact and as short as possible. Nulls are omitted. The
    columns ``extra`` and ``values`` hold JSON text and become nested JSON.

    Parameters
    ----------
    records
        Records of any type, in columns as :func:`tickerlake.model.schema.polars_schema` names them.
    """
    return to_json_series(records).cast(pl.Binary).to_list()


def to_json_series(records: pl.DataFrame) -> pl.Series:
    """Return the documents of :func:`to_json_lines` as a column of text."""
    if records.is_empty():
        return pl.Series("json", [], pl.String)
    columns = [c for c in records.get_columns() if c.null_count() < len(c)]
    if not columns or columns[0].null_count():
        raise ValueError("the first column of records must have no nulls")
    if records.height <= _MAX_ROWWISE_RECORDS and (lines := _encode_rowwise(records)) is not None:
        return pl.Series("json", lines, pl.String)
    parts: list[str | pl.Expr] = ["{"]
    for position, column in enumerate(columns):
        parts += _member_parts(column, "," if position else "")
    parts = _merge_literals([*parts, "}"])
    # one template is twice as fast as joining every part
    template = "".join(_escape_braces(part) if isinstance(part, str) else "{}" for part in parts)
    line = pl.format(template, *[part for part in parts if isinstance(part, pl.Expr)])
    # `pl.format` panics on columns whose first chunks are empty (Polars 2.1)
    records = records.rechunk()
    # `with_columns` returns a line for every record even if the line is a constant
    return records.with_columns(line.alias(_LINE_COLUMN)).get_column(_LINE_COLUMN)


def _encode_rowwise(records: pl.DataFrame) -> list[str] | None:
    """Return the documents of a few records, which is faster in a loop; None if texts need escapes."""
    names = [(json.dumps(name), name in JSON_COLUMNS) for name in records.columns]
    lines = []
    for row in records.iter_rows():
        members = []
        for (name, is_json), value in zip(names, row, strict=True):
            if value is None:
                continue
            text = value if is_json else _encode_scalar(value)
            if text is None:
                return None
            members.append(f"{name}:{text}")
        lines.append(f"{{{','.join(members)}}}")
    return lines


def _encode_scalar(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            text = f"{value:f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
        case str():
            return None if _ESCAPE_REGEX.search(value) else f'"{value}"'
        case date():
            return f'"{value.isoformat()}"'
        case []:
            return "[]"
        case _:
            return None


def _member_parts(column: pl.Series, comma: str) -> list[str | pl.Expr]:
    """Return key and values of a column as expressions, which Polars evaluates in parallel."""
    key = f"{comma}{json.dumps(column.name)}:"
    if column.null_count():
        return [pl.concat_str([pl.lit(key), *map(_as_expression, _value_parts(column))]).fill_null("")]
    if _is_constant(column):
        first = column.head(1)
        value = pl.concat_str([_as_expression(part) for part in _value_parts(first)])
        return [key, str(first.to_frame().select(value).item())]
    return [key, *_value_parts(column)]


def _is_constant(column: pl.Series) -> bool:
    if isinstance(column.dtype, pl.List):
        return column.list.len().max() == 0
    return bool((column == column[0]).all())


def _value_parts(column: pl.Series) -> list[str | pl.Expr]:
    """Return the texts of a column's values, null for null."""
    dtype, text = column.dtype, pl.col(column.name)
    if column.name in JSON_COLUMNS:
        return [text]
    if isinstance(dtype, pl.Decimal):
        return _decimal_parts(column)
    if isinstance(dtype, pl.Date):
        days = column.unique().drop_nulls()
        return ['"', text.replace_strict(days, days.cast(pl.String), return_dtype=pl.String), '"']
    if dtype.is_integer() or isinstance(dtype, pl.Boolean):
        return [text.cast(pl.String)]
    if isinstance(dtype, pl.String) and not column.str.contains(_NEEDS_ESCAPE).any():
        return ['"', text, '"']
    if isinstance(dtype, pl.String | pl.List):
        return [_json_encoded(text)]
    raise TypeError(f"column {column.name} has the type {dtype}, which records do not have")


def _json_encoded(text: pl.Expr) -> pl.Expr:
    # Polars encodes only structs: of {"x":…}, the value is all but the first 5 and the last character
    document = pl.struct(text.alias("x")).struct.json_encode()
    return pl.when(text.is_not_null()).then(document.str.slice(5).str.strip_suffix("}"))


def format_decimals(column: pl.Series) -> pl.Expr:
    """Return an expression for decimals as the shortest plain text: ``12.5``, ``0.000000001``, ``-3``.

    Parameters
    ----------
    column
        The decimals, from the frame for which the expression is: it depends on their values.
    """
    decimals = _decimals_needed(column)
    text = pl.col(column.name).cast(pl.Decimal(38, decimals)).cast(pl.String)
    return text.str.strip_chars_end("0").str.strip_suffix(".") if decimals else text


def _decimal_parts(column: pl.Series) -> list[str | pl.Expr]:
    """Return the text of decimals in two parts, the second from a table: half the cost of trimming zeros."""
    scale, decimals = getattr(column.dtype, "scale", 0), _decimals_needed(column)
    smallest = column.to_physical().min()
    if not 0 < decimals <= _MAX_TABLE_DECIMALS or not isinstance(smallest, int) or smallest < 0:
        return [format_decimals(column)]
    units = pl.col(column.name).to_physical().cast(pl.Int64)
    index = units % 10**scale // 10 ** (scale - decimals)
    return [(units // 10**scale).cast(pl.String), pl.lit(_fraction_strings(decimals)).gather(index)]


@cache
def _fraction_strings(decimals: int) -> pl.Series:
    """Return the texts of all fractions with a number of decimals: ``.25`` for 2500 of four decimals."""
    return pl.Series([f".{n:0{decimals}}".rstrip("0").rstrip(".") for n in range(10**decimals)])


def _decimals_needed(column: pl.Series) -> int:
    """Return the number of decimals that all values need: fewer decimals mean fewer zeros to strip."""
    scale = getattr(column.dtype, "scale", 0)
    units = column.to_physical()
    smallest, largest = units.min(), units.max()
    if not isinstance(smallest, int) or not isinstance(largest, int) or max(-smallest, largest) >= 2**63:
        return int(scale)
    units = units.cast(pl.Int64)
    fewer = (s for s in _SCALES if s < scale and (units % 10 ** (scale - s) == 0).all())
    return next(fewer, scale)


def _merge_literals(parts: list[str | pl.Expr]) -> list[str | pl.Expr]:
    """Join adjacent constant texts."""
    merged: list[str | pl.Expr] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(last := merged[-1], str):
            merged[-1] = last + part
        else:
            merged.append(part)
    return merged


def _escape_braces(text: str) -> str:
    """Return a text with its braces escaped for a template."""
    return text.replace("{", "{{").replace("}", "}}")


def _as_expression(part: str | pl.Expr) -> pl.Expr:
    return pl.lit(part) if isinstance(part, str) else part


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"null")


_SCHEMA_DECODER: Final = msgspec.json.Decoder(_Schema)
_TEXT_DECODER: Final = msgspec.json.Decoder(str)
_SCHEMA_BY_JSON: Final = {f'"{schema}"'.encode(): schema for schema in RECORD_TYPE_OF}


def find_schema(document: bytes | str) -> str | None:
    """Return the schema that a JSON document names, None if it names none.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        It is not JSON; the bytes of other fields are not examined.
    """
    try:
        return parse_schema(_SCHEMA_DECODER.decode(document).schema)
    except msgspec.ValidationError:
        return None


def parse_schema(value: bytes | memoryview | None) -> str | None:
    """Return the name in the JSON text of a field ``schema``, None if it is not text."""
    text = bytes(value or b"")
    if (schema := _SCHEMA_BY_JSON.get(text)) is not None:
        return schema
    try:
        return _TEXT_DECODER.decode(text) if text.startswith(b'"') else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def find_known_schema(document: bytes | str) -> str | None:
    """Return the schema of a record, such as ``bar.v1``; None if it is not a record of ours."""
    try:
        schema = find_schema(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return schema if schema in RECORD_TYPE_OF else None


def find_record_type(document: bytes | str) -> str | None:
    """Return the record type of a record, such as ``bars``; None if it is not a record of ours."""
    return RECORD_TYPE_OF.get(find_known_schema(document) or "")


def to_ndjson(lines: pl.Series) -> bytes:
    """Join documents to newline-terminated JSON (NDJSON)."""
    buffer = io.BytesIO()
    # without quotes, CSV of one column is its lines; unlike a join in Python it does not hold the lock
    lines.to_frame().write_csv(buffer, include_header=False, quote_style="never")
    return buffer.getvalue()


def decode_utf8(column: pl.Series) -> pl.Series:
    """Return bytes as text, null where they are not UTF-8."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:  # some value is not: find it in a loop
        return pl.Series([_decode_value(value) for value in column], dtype=pl.String)


def _decode_value(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def parse_documents(lines: pl.Series, schema: pl.Schema) -> tuple[pl.DataFrame, pl.Series]:
    """Parse the fields of JSON documents, and return which of them are JSON.

    Parameters
    ----------
    lines
        One document each, with line ends only where JSON allows white space.
    schema
        The fields; null if a document lacks them, or has them with another type.

    Returns
    -------
    frame, is_valid
        The fields of the valid documents, in order, and for each document whether it is valid.
    """
    frame = _parse_lines(lines, schema)
    if frame is not None:
        return frame, pl.repeat(value=True, n=len(lines), dtype=pl.Boolean(), eager=True)
    # JSON strings have no line ends, so these are white space
    parts = _parse_by_bisection(lines.str.replace_all(r"[\r\n]", " "), schema)
    is_valid = pl.Series([part is not None for part, count in parts for _ in range(count)], dtype=pl.Boolean)
    return pl.concat([schema.to_frame(), *(part for part, _ in parts if part is not None)]), is_valid


def _parse_lines(lines: pl.Series, schema: pl.Schema) -> pl.DataFrame | None:
    """Return the fields of documents, None if one of them is invalid or has several lines."""
    try:
        frame = pl.read_ndjson(io.BytesIO(to_ndjson(lines)), schema=schema, ignore_errors=True)
    except pl.exceptions.PolarsError:
        return None
    return frame if frame.height == len(lines) else None


def _parse_by_bisection(lines: pl.Series, schema: pl.Schema) -> list[tuple[pl.DataFrame | None, int]]:
    """Return the fields of documents in parts, with their counts; None for an invalid document."""
    frame = _parse_lines(lines, schema)
    if frame is not None or len(lines) == 1:
        return [(frame, len(lines))]
    half = len(lines) // 2
    return _parse_by_bisection(lines.head(half), schema) + _parse_by_bisection(lines.slice(half), schema)
