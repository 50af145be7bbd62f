"""Whether a stored row is what Kafka holds. Pure.

It decodes both and compares them, and shares no code with what encodes rows: an error there must show here.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import polars as pl

from tickerlake.lake.formats.columns import Column
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.model.schema import FieldType, polars_type

KafkaRecord = tuple[int, int, bytes | None, bytes | None, str | None]
"""Offset, timestamp, key, value and headers, in the columns of `model.schema.KAFKA_RECORD_SCHEMA`."""

_MAX_NESTING_DEPTH: Final = 500
_ENVELOPE: Final = frozenset(
    {
        "kafka_offset",
        "kafka_timestamp_ms",
        "kafka_key",
        "kafka_key_base64",
        "kafka_headers",
        "kafka_tombstone",
    }
)


class _Object(list[tuple[str, Any]]):
    """The members of a JSON object in their order, duplicates included."""


def _number(text: str) -> tuple[str, str]:
    """Keep a number as it is written: ``1.10`` is not ``1.1``."""
    return "number", text


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_number, parse_float=_number, parse_constant=_refuse_constant
)


def find_line_mismatches(records: pl.DataFrame, lines: pl.Series) -> pl.Series:
    """Return which rows of JSON are not those of their records.

    Parameters
    ----------
    records
        Columns as `model.schema.KAFKA_RECORD_SCHEMA`, of shape (n,).
    lines
        The row of each record; they are JSON, which a deep audit checks first.

    Returns
    -------
    polars.Series
        Booleans of shape (n,).
    """
    doubtful = ~(verbatim_lines(records) == lines).fill_null(value=False)
    if doubtful.any():
        pairs = zip(records.filter(doubtful).iter_rows(), lines.filter(doubtful), strict=True)
        differing = pl.Series([not _line_matches(record, line) for record, line in pairs], dtype=pl.Boolean)
        return doubtful.scatter(doubtful.arg_true(), differing)
    return doubtful


def verbatim_lines(records: pl.DataFrame) -> pl.Series:
    """Return the row of each record whose value is in it unchanged, after offset, time and key; else null."""
    frame = records.with_columns(
        key_text=_as_text(records.get_column("key")), text=_as_text(records.get_column("value"))
    )
    key, text = pl.col("key_text"), pl.col("text")
    # without escapes, an id before any inner object is a member of the outer one; it must be the only one
    has_id = text.str.contains('"instrument_id"', literal=True)
    names_key = text.str.contains(
        pl.concat_str([pl.lit('"instrument_id":"'), key, pl.lit('"')]), literal=True
    )
    is_outer = text.str.contains(r'^\{[^{}\[\]]*"instrument_id":')
    is_plain = ~key.str.contains(r'["\\\x00-\x1f\x7f-\x{10ffff}]')
    is_id = is_plain & names_key & is_outer & (text.str.count_matches('"instrument_id"', literal=True) == 1)
    key_member = (
        pl.when(pl.col("key").is_null() | is_id)
        .then(pl.lit(""))
        .when(is_plain & ~has_id)
        .then(pl.concat_str([pl.lit(',"kafka_key":"'), key, pl.lit('"')]))
    )
    expected = pl.concat_str(
        [
            pl.lit('{"kafka_offset":'),
            pl.col("offset").cast(pl.String),
            pl.lit(',"kafka_timestamp_ms":'),
            pl.col("timestamp_ms").cast(pl.String),
            key_member,
            pl.lit(","),
            text.str.slice(1),
        ]
    )
    is_object = text.str.starts_with("{") & (text != "{}")
    # escapes could hide a reserved name
    is_simple = ~text.str.contains('"kafka_', literal=True) & ~text.str.contains("\\", literal=True)
    is_verbatim = is_object & is_simple & pl.col("headers").is_null()
    return frame.select(line=pl.when(is_verbatim).then(expected)).to_series()


def _as_text(column: pl.Series) -> pl.Series:
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series([_decode_text(value) for value in column], dtype=pl.String)


def _decode_text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _line_matches(record: KafkaRecord, line: str) -> bool:
    try:
        members = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(members, _Object):
        return False
    envelope = dict(members[: sum(name in _ENVELOPE for name, _ in members)])
    content = _Object(members[len(envelope) :])
    if not _ENVELOPE.issuperset(envelope):
        return False
    expected = _expected_members(record[3])
    return (
        expected is not None
        and envelope.pop("kafka_offset", None) == _number(str(record[0]))
        and envelope.pop("kafka_timestamp_ms", None) == _number(str(record[1]))
        and envelope.pop("kafka_tombstone", False) is (record[3] is None)
        and envelope.pop("kafka_headers", None) == (record[4] and _DECODER.decode(record[4]))
        and _key_matches(record[2], envelope, content)
        and _are_equal(content, expected)
    )


def _are_equal(first: Any, second: Any) -> bool:
    """Compare decoded JSON without recursion: a row may be nested deeper than Python can compare."""
    pending = [(first, second)]
    while pending:
        a, b = pending.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, list):
            if len(a) != len(b):
                return False
            if isinstance(a, _Object):
                if [name for name, _ in a] != [name for name, _ in b]:
                    return False
                pending += zip(_values(a), _values(b), strict=True)
            else:
                pending += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def _key_matches(key: bytes | None, envelope: dict[str, Any], content: _Object) -> bool:
    text, in_base64 = envelope.get("kafka_key"), envelope.get("kafka_key_base64")
    if text is None and in_base64 is None:
        return key is None or [value for name, value in content if name == "instrument_id"] == [
            _decode_text(key)
        ]
    if text is not None:
        return in_base64 is None and key is not None and text == _decode_text(key)
    try:
        return _from_base64(in_base64) == key
    except (TypeError, ValueError):
        return False


def becomes_row(value: bytes | None) -> bool:
    """Return whether a message with this value becomes a row: it is absent, or JSON that is not too deep."""
    return _expected_members(value) is not None


def _expected_members(value: bytes | None) -> _Object | None:
    """Return the members that the row of a value has; None if the value does not become a row."""
    if value is None:
        return _Object()
    document = _decode_value(value)
    if document is _NOT_JSON:
        return None
    if not isinstance(document, _Object):
        return _Object([("value", document)])
    if not any(name.startswith("kafka_") for name, _ in document):
        return document
    return _Object([*_unreserved(document), ("extra", _extra_of(document))])


def _unreserved(document: _Object) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in document if name != "extra" and not name.startswith("kafka_"))


def _extra_of(document: _Object) -> _Object:
    extra = _Object()
    for name, value in document:
        if name == "extra":
            extra += value if isinstance(value, _Object) else [(name, value)]
    return _Object([*extra, *(member for member in document if member[0].startswith("kafka_"))])


_NOT_JSON: Final = object()


def _decode_value(value: bytes) -> Any:
    try:
        text = value.decode()
        document = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return _NOT_JSON
    return document if _is_storable(document) else _NOT_JSON


def _is_storable(document: Any) -> bool:
    """Return whether a document is not too deep, and its texts have no halves of surrogate pairs."""
    level = [document]
    for _ in range(_MAX_NESTING_DEPTH + 1):
        names = [name for each in level if isinstance(each, _Object) for name, _ in each]
        try:
            "".join([*names, *(each for each in level if isinstance(each, str))]).encode()
        except UnicodeEncodeError:
            return False
        nested = [each for each in level if isinstance(each, list)]
        if not nested:
            return True
        level = [value for each in nested for value in (_values(each) if isinstance(each, _Object) else each)]
    return False


def _values(members: _Object) -> Iterator[Any]:
    return (value for _, value in members)


def find_column_mismatches(records: pl.DataFrame, rows: pl.DataFrame, columns: Sequence[Column]) -> pl.Series:
    """Return which rows of typed columns are not those of their records.

    Parameters
    ----------
    records
        As for `find_line_mismatches`.
    rows
        The envelope and ``columns``, in the order of the records.
    columns
        The topic's columns.
    """
    names = [column.name for column in columns if column.name != "extra" and column.name in rows.columns]
    types = {column.name: column.type for column in columns}
    envelope = [name for name in sorted(_ENVELOPE) if name in rows.columns]
    has_extra = "extra" in rows.columns
    doubtful = ~_are_plainly_equal(records, rows, [column for column in columns if column.name in names])
    selected = rows.select(*envelope, *names, *(["extra"] if has_extra else [])).filter(doubtful)
    differing = []
    for record, values in zip(records.filter(doubtful).iter_rows(), selected.iter_rows(), strict=True):
        row = {name: value for name, value in zip(selected.columns, values, strict=True) if value is not None}
        differing.append(not _row_matches(record, row, types))
    result = doubtful.scatter(doubtful.arg_true(), pl.Series(differing, dtype=pl.Boolean))
    for name in names:
        if types[name] is FieldType.TIMESTAMP_NS:
            timestamp = rows.get_column(name.removesuffix("_ns")).cast(pl.Int64)
            result |= (timestamp != rows.get_column(name) // 1000).fill_null(value=False)
            result |= timestamp.is_null() != rows.get_column(name).is_null()
    return result


_VALUE_PATTERNS: Final = {
    FieldType.STRING: r'"([^"]*)"',
    FieldType.DATE: r'"([^"]*)"',
    FieldType.BOOL: r"(true|false)",
    FieldType.DECIMAL: r"(-?[0-9]{1,20}(?:\.[0-9]{1,9})?) ?[,}]",
    FieldType.INT: r"(-?[0-9]{1,19}) ?[,}]",
    FieldType.TIMESTAMP_NS: r"(-?[0-9]{1,19}) ?[,}]",
    FieldType.STRING_LIST: r"\[((?:\"[^\"]*\",?)*)\]",
}
"""Texts of values in objects without escapes, by type; values of other types are compared one by one."""


def _are_plainly_equal(records: pl.DataFrame, rows: pl.DataFrame, columns: Sequence[Column]) -> pl.Series:
    """Return which rows are certainly right: each column equals the text of a member, and all have one."""
    text = pl.col("text")
    members = text.str.count_matches('":', literal=True)  # without escapes, quotes are in no name or value
    null_members = text.str.count_matches(r'": ?null')
    filled = pl.sum_horizontal(pl.lit(0), *(pl.col(f"={column.name}").is_not_null() for column in columns))
    row_id = pl.col("=instrument_id") if any(each.name == "instrument_id" for each in columns) else pl.lit("")
    envelope = {name: pl.col(f"={name}") for name in _ENVELOPE if name in rows.columns}
    equal = [
        pl.col("offset") == envelope["kafka_offset"],
        pl.col("timestamp_ms") == envelope["kafka_timestamp_ms"],
        pl.col("headers").is_null(),
        *(envelope[name].is_null() for name in envelope.keys() - {"kafka_offset", "kafka_timestamp_ms"}),
        pl.col("key").is_null() | (pl.col("key_text") == row_id),
        text.str.starts_with("{"),
        text.str.count_matches("{", literal=True) == 1,
        ~text.str.contains("\\", literal=True),
        ~text.str.contains('"kafka_', literal=True),
        members - null_members == filled,
    ]
    if "extra" in rows.columns:
        equal.append(pl.col("=extra").is_null())
    equal += [_member_equals(column) for column in columns]
    frame = pl.concat([records, rows.rename(lambda name: f"={name}")], how="horizontal").with_columns(
        key_text=_as_text(records.get_column("key")), text=_as_text(records.get_column("value"))
    )
    return frame.select(pl.all_horizontal(each.fill_null(value=False) for each in equal)).to_series()


def _member_equals(column: Column) -> pl.Expr:
    """Return whether the member of a column has its value, or the column has none."""
    stored = pl.col(f"={column.name}")
    if (pattern := _VALUE_PATTERNS.get(column.type)) is None or not column.name.isidentifier():
        return stored.is_null()
    member = pl.col("text").str.extract(f'"{column.name}": ?{pattern}')
    match column.type:
        case FieldType.STRING:
            value = member == stored
        case FieldType.DATE:
            value = member == stored.cast(pl.String)
        case FieldType.BOOL:
            value = (member == "true") == stored
        case FieldType.STRING_LIST:
            quoted = pl.concat_str([pl.lit('"'), stored.list.join('","'), pl.lit('"')])
            value = pl.when(stored.list.len() == 0).then(member == "").otherwise(member == quoted)
        case _:
            value = member.cast(polars_type(column.type), strict=False) == stored
    return stored.is_null() | value


def _row_matches(record: KafkaRecord, row: dict[str, Any], types: dict[str, FieldType]) -> bool:
    envelope = {name: row.pop(name) for name in _ENVELOPE & row.keys()}
    headers, expected = envelope.pop("kafka_headers", None), _expected_members(record[3])
    if expected is None or not (
        envelope.pop("kafka_offset", None) == record[0]
        and envelope.pop("kafka_timestamp_ms", None) == record[1]
        and envelope.pop("kafka_tombstone", False) is (record[3] is None)
        and (headers and _DECODER.decode(headers)) == (record[4] and _DECODER.decode(record[4]))
    ):
        return False
    ids = _Object()
    if (instrument_id := row.get("instrument_id")) is not None:
        is_json = types["instrument_id"] is FieldType.JSON
        ids.append(("instrument_id", _DECODER.decode(instrument_id) if is_json else instrument_id))
    if not _key_matches(record[2], envelope, ids):
        return False
    extra: dict[str, list[Any]] = {}
    for name, value in _DECODER.decode(row.pop("extra")) if "extra" in row else ():
        extra.setdefault(name, []).append(value)
    for name, value in expected:
        if value is None:
            continue
        if name in row and _value_matches(row[name], value, types[name]):
            del row[name]
            continue
        inner = value if name == "extra" and isinstance(value, _Object) else [(name, value)]
        for inner_name, inner_value in inner:
            values = extra.get(inner_name, [])
            same = (at for at, each in enumerate(values) if _are_equal(each, inner_value))
            if (at := next(same, None)) is None:
                return False
            del values[at]
    return not row and not any(extra.values())


def _value_matches(stored: Any, value: Any, column_type: FieldType) -> bool:
    match column_type:
        case FieldType.JSON:
            return _are_equal(_DECODER.decode(stored), value)
        case FieldType.STRING | FieldType.BOOL | FieldType.STRING_LIST:
            return type(stored) is type(value) and stored == value
        case FieldType.DATE:
            return isinstance(stored, date) and stored.isoformat() == value
    if not isinstance(value, tuple):
        return False
    text = value[1]
    if column_type is FieldType.FLOAT:
        return bool(float(text) == stored)
    return bool(Decimal(text) == stored)


def find_reject_mismatch(record: KafkaRecord, reject: RejectedRecord) -> str | None:
    """Return what is wrong with a reject, None if it holds the record and rightly so."""
    offset, timestamp_ms, key, value, headers = record
    try:
        stored = (_from_base64(reject.key_base64), _from_base64(reject.value_base64))
    except ValueError:
        return "is not readable"
    content = (*stored, reject.offset, reject.timestamp_ms, reject.headers)
    if content != (key, value, offset, timestamp_ms, headers and json.loads(headers)):
        return "does not hold the bytes that Kafka has"
    return "is JSON, and should be a row" if _expected_members(value) is not None else None


def _from_base64(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
