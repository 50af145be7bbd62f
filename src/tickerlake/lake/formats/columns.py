"""Kafka records → typed columns, for the format ``parquet``. Pure: the same record gives the same row.

A topic's columns are fixed once (``_columns.json``). What a column cannot hold, and what has no
column, goes to ``extra`` as JSON text, so no value is lost or changed and no column changes its type.
Records that match a regular expression are parsed together by Polars; each other record becomes a row of
JSON first (`formats.rows`), whose members are then parsed one by one.
"""

import io
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.formats import rows
from tickerlake.lake.formats.rows import STRING, RejectedRecord, split_members
from tickerlake.model.json import decode_utf8, parse_schema, to_ndjson
from tickerlake.model.schema import SCHEMAS, FieldType, polars_type, with_timestamps

MAX_COLUMNS: Final = 1000
"""Bounds the footer of a segment and the memory of a row group; further fields go to ``extra``."""

SAMPLE_RECORDS: Final = 10_000
"""Records of the first segment from which columns are inferred, once per topic but one by one."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_TEXTS = msgspec.json.Decoder(list[str])
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAX_FLOAT_DIGITS = 17  # the shortest text of a double has at most 17 digits

# up to 15 significant digits: Polars' reader may pass them through a double unchanged
_SHORT_NUMBER: Final = (
    r"-?(?:[1-9][0-9]{0,14}|(?:0|[1-9][0-9]{0,5})\.[0-9]{1,9}|[1-9][0-9]{0,10}\.[0-9]{1,4}|0)"
)
# Polars decodes escapes in nested strings without encoding them again: such records are parsed individually
_NESTED_STRING: Final = r'"[^"\\\x00-\x1f]*"'
_SCALAR: Final = f"(?:{_NESTED_STRING}|{_SHORT_NUMBER}|true|false|null)"
_ARRAY: Final = rf"\[(?:{_SCALAR}(?:, ?{_SCALAR})*)?\]"
_MEMBER: Final = f"{_NESTED_STRING}: ?(?:{_SCALAR}|{_ARRAY})"
_OBJECT: Final = rf"\{{(?:{_MEMBER}(?:, ?{_MEMBER})*)?\}}"
_PATTERNS: Final[dict[FieldType, str]] = {
    FieldType.STRING: STRING,
    FieldType.DECIMAL: _SHORT_NUMBER,
    FieldType.FLOAT: (
        r"-?(?:0|[1-9][0-9]{0,7})\.[0-9]{1,9}|-?(?:0|[1-9])\.[0-9]{1,16}|-?(?:0|[1-9][0-9]{0,14})"
    ),
    FieldType.INT: r"-?(?:0|[1-9][0-9]{0,17}|[1-8][0-9]{18})",
    FieldType.TIMESTAMP_NS: r"-?(?:0|[1-9][0-9]{0,17}|[1-8][0-9]{18})",
    FieldType.DATE: r'"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[0-9]{2}-[0-9]{2}"',
    FieldType.BOOL: "true|false",
    FieldType.STRING_LIST: rf"\[(?:{STRING}(?:, ?{STRING})*)?\]",
    FieldType.JSON: f"{_OBJECT}|{_ARRAY}",
}
# read as text by Polars' JSON reader, then converted to the column's type
_READ_AS_TEXT: Final = frozenset({FieldType.STRING, FieldType.DECIMAL, FieldType.DATE, FieldType.JSON})


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the field's name in the row and its type."""

    name: str
    type: FieldType


ENVELOPE: Final = (
    Column("kafka_offset", FieldType.INT),
    Column("kafka_timestamp_ms", FieldType.INT),
    Column("kafka_key", FieldType.STRING),
    Column("kafka_key_base64", FieldType.STRING),
    Column("kafka_headers", FieldType.JSON),
    Column("kafka_tombstone", FieldType.BOOL),
)
_EXTRA: Final = Column("extra", FieldType.JSON)


def infer_columns(lines: pl.Series) -> list[Column]:
    """Infer a topic's columns from the first rows of its first segment (`SAMPLE_RECORDS` of them).

    They are the fields of all schemas of tickerlake that the rows name, the commonest schema first. If most
    rows name none, the fields of these follow, each with the common type of its values: text, bool, int,
    float (also if some are integers), else JSON text.
    """
    schema_counts: Counter[str] = Counter()
    inferred = _InferredTypes()
    for line in lines:
        fields = _FIELDS.decode(line)
        schema = parse_schema(fields.get("schema"))
        if schema in SCHEMAS:
            schema_counts[schema] += 1
        else:
            inferred.add(fields)
    types = {
        field.name: field.type
        for schema, _ in schema_counts.most_common()
        for field in SCHEMAS[schema]
        if field.name != _EXTRA.name
    }
    if len(lines) > 2 * schema_counts.total():
        types = types | {name: kind for name, kind in inferred.common().items() if name not in types}
    columns = [Column(name, field_type) for name, field_type in types.items()]
    return [*columns[:MAX_COLUMNS], _EXTRA]


class _InferredTypes:
    """The types of the values of each field."""

    def __init__(self) -> None:
        self._types_by_field: dict[str, set[FieldType]] = {}

    def add(self, fields: dict[str, msgspec.Raw]) -> None:
        for name, raw in fields.items():
            field_type = _infer_type(bytes(raw))
            if field_type and not name.startswith("kafka_") and name != _EXTRA.name:
                self._types_by_field.setdefault(name, set()).add(field_type)

    def common(self) -> dict[str, FieldType]:
        types = {name: _common_type(types) for name, types in self._types_by_field.items()}
        if FieldType.STRING in self._types_by_field.get("schema", ()):
            types["schema"] = FieldType.STRING  # as JSON text, the names of schemas would be in quotes
        return types


def _infer_type(raw: bytes) -> FieldType | None:
    first = raw[:1]
    if first == b"n":
        return None
    if first == b'"':
        return FieldType.STRING
    if first in b"tf":
        return FieldType.BOOL
    if first in b"{[":
        return FieldType.JSON
    return FieldType.INT if _INTEGER.fullmatch(raw.decode()) else FieldType.FLOAT


def _common_type(types: set[FieldType]) -> FieldType:
    if len(types) == 1:
        return next(iter(types))
    return FieldType.FLOAT if types == {FieldType.INT, FieldType.FLOAT} else FieldType.JSON


def encode_columns(columns: list[Column]) -> bytes:
    """Return the content of ``_columns.json``."""
    listed = [{"name": column.name, "type": column.type.value} for column in columns]
    return msgspec.json.encode({"version": 1, "columns": listed})


def decode_columns(data: bytes, key: str) -> list[Column]:
    """Read what `encode_columns` wrote; LakeError if it is something else."""

    class Document(msgspec.Struct):
        version: int
        columns: list[Column]

    try:
        return msgspec.json.decode(data, type=Document).columns
    except msgspec.MsgspecError as error:
        raise LakeError(f"{key} is damaged: {error}.", "Restore it from a backup.") from error


def encode(batch: pl.DataFrame, columns: list[Column]) -> tuple[pl.DataFrame, list[RejectedRecord]]:
    """Turn records into a frame of `ENVELOPE` and ``columns``, by offset, and the rejects.

    Times are int64 nanoseconds as in the record; for each ``ts_…_ns`` there is also a timestamp ``ts_…`` in
    microseconds (UTC), truncated, not rounded.

    Parameters
    ----------
    batch
        Columns as `model.schema.KAFKA_RECORDS`.
    columns
        From `infer_columns`.
    """
    value, key = decode_utf8(batch.get_column("value")), decode_utf8(batch.get_column("key"))
    fits = value.str.contains(_pattern(columns)).fill_null(value=False)
    fits &= key.is_not_null() | batch.get_column("key").is_null()
    read, converted = _parse_together(value.filter(fits), columns)
    kafka_fields = batch.select("offset", "timestamp_ms", "headers", key=key).filter(fits)
    frame = pl.concat([_envelope(kafka_fields, read), read], how="horizontal").filter(converted)
    rejects: list[RejectedRecord] = []
    if frame.height < batch.height:
        parsed_offsets = frame.get_column("kafka_offset")
        others = rows.encode(batch.filter(~pl.col("offset").is_in(parsed_offsets.implode())))
        rejects = others.rejects
        frame = pl.concat([frame, _parse_individually(others.lines, [*ENVELOPE, *columns])]).sort(
            "kafka_offset"
        )
    times = [column.name for column in columns if column.type is FieldType.TIMESTAMP_NS]
    return with_timestamps(frame, times), rejects


def decode(lines: pl.Series, layout: list[Column]) -> pl.DataFrame:
    """Parse rows of JSON, as `formats.rows` writes them, into the columns of ``layout``, in order.

    A value that its column cannot hold, and a field without a column, go to ``extra``, which the layout
    must have.
    """
    read, parsed_together = decode_regular(lines, layout)
    if read.height == len(lines):
        return read
    row_numbers = pl.int_range(len(lines), dtype=pl.Int64(), eager=True)
    parsed_individually = row_numbers.filter(~row_numbers.is_in(parsed_together.implode()))
    frame = pl.concat([read, _parse_individually(lines.gather(parsed_individually), layout)])
    return frame[pl.concat([parsed_together, parsed_individually]).arg_sort()]


def decode_regular(lines: pl.Series, layout: list[Column]) -> tuple[pl.DataFrame, pl.Series]:
    """Parse those rows of `decode` that Polars can parse together; also return their row numbers."""
    fits = lines.str.contains(_pattern(layout))
    row_numbers = pl.int_range(len(lines), dtype=pl.Int64(), eager=True)
    read, converted = _parse_together(lines.filter(fits), layout)
    return read.filter(converted), row_numbers.filter(fits).filter(converted)


def to_lines(frame: pl.DataFrame, layout: list[Column], fields: Collection[str] = ()) -> pl.Series:
    """Return the rows of a segment as JSON, one document each.

    Parameters
    ----------
    frame
        `ENVELOPE` and ``layout``; other columns are ignored.
    fields
        Members of ``extra`` that become fields of the row again, if it has no such field.
    """
    raw = {column.name for column in layout if column.type is FieldType.JSON}
    names = [column.name for column in (*ENVELOPE, *layout) if column.name in frame.columns]
    lines = []
    for row in frame.select(names).iter_rows():
        members = {
            name: msgspec.Raw(value.encode()) if name in raw else value
            for name, value in zip(names, row, strict=True)
            if value is not None
        }
        restored = _take_from_extra(members, fields) if fields and _EXTRA.name in members else []
        line = _ENCODER.encode(members).decode()
        lines.append(f"{line[:-1]},{','.join(restored)}}}" if restored else line)
    return pl.Series("line", lines, dtype=pl.String)


def _take_from_extra(members: dict[str, Any], fields: Collection[str]) -> list[str]:
    """Remove the members of a row's ``extra`` that are fields which the row lacks; return them."""
    extra = bytes(members[_EXTRA.name]).decode()
    if not extra.startswith("{"):
        return []
    taken: list[str] = []
    kept: list[str] = []
    for name, raw_name, raw in split_members(extra):
        (taken if name in fields and name not in members else kept).append(f"{raw_name}:{raw}")
    if taken:
        members[_EXTRA.name] = msgspec.Raw(f"{{{','.join(kept)}}}".encode())
        if not kept:
            del members[_EXTRA.name]
    return taken


def _envelope(kafka_fields: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
    has_instrument_id = read.schema.get("instrument_id") == pl.String()
    key_in_value = (
        kafka_fields.get_column("key") == read.get_column("instrument_id")
        if has_instrument_id
        else pl.lit(value=False)
    )
    return kafka_fields.select(
        kafka_offset="offset",
        kafka_timestamp_ms="timestamp_ms",
        kafka_key=pl.when(~key_in_value.fill_null(value=False)).then("key"),
        kafka_key_base64=pl.lit(None, dtype=pl.String),
        kafka_headers="headers",
        kafka_tombstone=pl.lit(None, dtype=pl.Boolean),
    )


def _pattern(columns: list[Column]) -> str:
    """Match objects whose members are these columns, each at most once, in this order, with fitting values.

    The first column is required.
    """
    values = [_OBJECT if column == _EXTRA else _PATTERNS[column.type] for column in columns]
    members = [
        rf'"{_escape_for_regex(column.name)}": ?(?:null|{value})'
        for column, value in zip(columns, values, strict=True)
    ]
    return rf"^\{{{members[0]}" + "".join(f"(?:, ?{member})?" for member in members[1:]) + r"\}$"


def _escape_for_regex(name: str) -> str:
    text = msgspec.json.encode(name).decode()[1:-1]
    return "".join(c if c.isalnum() or c == "_" else f"\\x{{{ord(c):x}}}" for c in text)


def _parse_together(lines: pl.Series, columns: list[Column]) -> tuple[pl.DataFrame, pl.Series]:
    """Parse records that match; also return which of them Polars could convert."""
    schema = {c.name: pl.String() if c.type in _READ_AS_TEXT else polars_type(c.type) for c in columns}
    target = {column.name: polars_type(column.type) for column in columns}
    if lines.is_empty():
        return pl.DataFrame(schema=target), pl.Series([], dtype=pl.Boolean)
    read = pl.read_ndjson(io.BytesIO(to_ndjson(lines)), schema=schema)
    converted = read.with_columns(
        _convert(pl.col(name), kind) for name, kind in target.items() if kind != schema[name]
    )
    conversions = [
        read.get_column(name).is_null() | converted.get_column(name).is_not_null()
        for name, kind in target.items()
        if kind != schema[name]
    ]
    all_converted = (
        pl.select(pl.all_horizontal(conversions)).to_series()
        if conversions
        else pl.repeat(True, len(lines), eager=True)
    )
    return converted, all_converted


def _convert(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return (
        column.str.to_date("%Y-%m-%d", strict=False)
        if dtype == pl.Date()
        else column.cast(dtype, strict=False)
    )


def _parse_individually(lines: pl.Series, layout: list[Column]) -> pl.DataFrame:
    types = {column.name: column.type for column in layout}
    values: dict[str, list[Any]] = {name: [] for name in types}
    for line in lines:
        fitting = _parse_members(line, types)
        for name, column in values.items():
            column.append(fitting.get(name))
    return pl.DataFrame(
        {name: pl.Series(name, column, dtype=polars_type(types[name])) for name, column in values.items()}
    )


def _parse_members(line: str, types: dict[str, FieldType]) -> dict[str, Any]:
    """Return the values of one row by column: of members with the same name the last one that is not null."""
    fitting: dict[str, Any] = {}
    raw_by_name: dict[str, str] = {}
    extra: list[str] | None = None
    misfits: list[str] = []
    for name, raw_name, raw in split_members(line):
        if raw == "null":
            continue
        if name == _EXTRA.name:
            if raw.startswith("{"):
                inner = [f"{inner_name}:{value}" for _, inner_name, value in split_members(raw)]
                extra = [*(extra or []), *inner]
            else:
                misfits.append(f"{raw_name}:{raw}")
            continue
        value, fits = _parse_value(raw, types[name]) if name in types else (None, False)
        if not fits:
            misfits.append(f"{raw_name}:{raw}")
            continue
        if name in fitting:
            misfits.append(f"{raw_name}:{raw_by_name[name]}")
        fitting[name], raw_by_name[name] = value, raw
    if extra is not None or misfits:
        fitting[_EXTRA.name] = "{" + ",".join([*(extra or []), *misfits]) + "}"
    return fitting


def _parse_value(raw: str, column_type: FieldType) -> tuple[Any, bool]:
    """Return a JSON value in its column's type, and whether the column can hold it."""
    if column_type is FieldType.JSON:
        return raw, raw != "null"
    try:
        return _PARSERS[column_type](raw), True
    except (ValueError, InvalidOperation, msgspec.MsgspecError):
        return None, False


def _parse_integer(raw: str) -> int:
    if not _INTEGER.fullmatch(raw) or not -(2**63) <= (number := int(raw)) < 2**63:
        raise ValueError(raw)
    return number


def _parse_float(raw: str) -> float:
    digits = raw.lower().partition("e")[0].strip("-").replace(".", "").lstrip("0")
    if (
        raw[0] not in "-0123456789"
        or len(digits) > _MAX_FLOAT_DIGITS
        or (number := float(raw)) in _INFINITIES
    ):
        raise ValueError(raw)
    return number


_INFINITIES = (float("inf"), float("-inf"))


def _parse_decimal(raw: str) -> Decimal:
    if raw[0] not in "-0123456789":
        raise ValueError(raw)
    number = Decimal(raw)
    if not number:
        return Decimal(0)
    if not -9 <= number.adjusted() <= 28:
        raise ValueError(raw)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    units = digits[: len(digits) + exponent + 9]
    if any(digits[len(units) :]):
        raise ValueError(raw)
    return Decimal((sign, (*units, *[0] * max(0, exponent + 9)), -9))


def _parse_date(raw: str) -> date:
    text = _TEXT.decode(raw)
    if not _DATE.fullmatch(text):
        raise ValueError(raw)
    return date.fromisoformat(text)


def _parse_bool(raw: str) -> bool:
    if raw not in {"true", "false"}:
        raise ValueError(raw)
    return raw == "true"


_PARSERS: Final = {
    FieldType.STRING: _TEXT.decode,
    FieldType.DECIMAL: _parse_decimal,
    FieldType.FLOAT: _parse_float,
    FieldType.INT: _parse_integer,
    FieldType.TIMESTAMP_NS: _parse_integer,
    FieldType.DATE: _parse_date,
    FieldType.BOOL: _parse_bool,
    FieldType.STRING_LIST: _TEXTS.decode,
}
