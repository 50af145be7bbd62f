r"""Kafka records → rows: one line of JSON each. Pure: the same record gives the same row.

Whether a record becomes a row or a reject, and the content of its row, depend on that record alone, not on
the records that share its segment. Records that match a regular expression of plain JSON objects are
spliced column by column; each other record goes through a JSON parser. Both ways give the same bytes.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

import google_crc32c
import msgspec
import polars as pl

from tickerlake.model.json import decode_utf8

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)

STRING: Final = (
    r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))*"'
)
"""Regular expression of a JSON string (RFC 8259, 7) without escaped surrogates."""
_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_ANY_CHARS: Final = r'[^"\\\x00-\x1f]*'


def _not_starting_with(char: str) -> str:
    return rf'[^{char}"\\\x00-\x1f]{_ANY_CHARS}'


def _other_than(word: str, *, prefix: bool) -> str:
    """Match text other than ``word``, or with ``prefix`` text that does not begin with it."""
    if not word:
        return _not_starting_with("")
    if prefix and len(word) == 1:
        return f"(?:{_not_starting_with(word)})?"
    return f"(?:{_not_starting_with(word[0])}|{word[0]}{_other_than(word[1:], prefix=prefix)})?"


_ID_TAIL: Final = _other_than("nstrument_id", prefix=False)
_NAME: Final = f'"(?:{_not_starting_with("ki")}|k{_other_than("afka_", prefix=True)}|i{_ID_TAIL})?": ?'
_INNER_NAME: Final = f'"(?:{_not_starting_with("i")}|i{_ID_TAIL})?": ?'
_SCALAR: Final = f"(?:{STRING}|{_NUMBER}|true|false|null)"
_ARRAY: Final = rf"\[(?:{_SCALAR}(?:, ?{_SCALAR})*)?\]"
_INNER: Final = f"{_INNER_NAME}(?:{_SCALAR}|{_ARRAY})"
_OBJECT: Final = rf"\{{(?:{_INNER}(?:, ?{_INNER})*)?\}}"
_MEMBER: Final = f"{_NAME}(?:{_SCALAR}|{_ARRAY}|{_OBJECT})"
PLAIN_OBJECT_PATTERN: Final = (
    rf'^\{{(?:{_MEMBER}, ?)*(?:{_MEMBER}|"instrument_id": ?{_SCALAR}(?:, ?{_MEMBER})*)\}}$'
)
"""Objects on one line, with at least one member, no whitespace but single spaces after ``:`` and ``,``, no
name that begins with ``kafka_``, and the name ``instrument_id`` at most once and not in an inner object."""
MAX_NESTING_DEPTH: Final = 500
"""Deeper records are rejected: well below the parser's own limit, Python's recursion limit of 1,000."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_PLAIN_KEY: Final = r"^[ !#-\[\]-~]*$"


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that does not decode, as it is stored under ``rejects/``."""

    offset: int
    timestamp_ms: int
    reason: str
    key_base64: str | None
    value_base64: str | None

    def to_json(self) -> bytes:
        """Return the content of its object, which depends only on the record."""
        return msgspec.json.encode(self)


REJECT_DECODER: Final = msgspec.json.Decoder(RejectedRecord)
"""Reads what `RejectedRecord.to_json` wrote."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in offset order, and the rejects.

    ``lines`` is a column of text, one JSON document each, ``offsets`` a column of int64 of the same length.
    """

    lines: pl.Series
    offsets: pl.Series
    rejects: list[RejectedRecord]


def encode(batch: pl.DataFrame) -> Rows:
    """Turn records into rows.

    Parameters
    ----------
    batch
        Columns as `model.schema.KAFKA_RECORDS`.
    """
    spliced = _splice(batch)
    if not spliced.get_column("line").null_count():
        return Rows(spliced.get_column("line"), spliced.get_column("offset"), [])
    rejects: list[RejectedRecord] = []
    parsed: list[str | None] = []
    for offset, timestamp_ms, key, value in batch.filter(spliced.get_column("line").is_null()).iter_rows():
        try:
            parsed.append(encode_record(offset, timestamp_ms, key, value).decode())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            parsed.append(None)
            rejects.append(
                RejectedRecord(offset, timestamp_ms, f"not JSON: {error}", _base64(key), _base64(value))
            )
    parsed_rows = spliced.filter(pl.col("line").is_null()).select(
        "offset", line=pl.Series(parsed, dtype=pl.String)
    )
    all_rows = pl.concat([spliced.drop_nulls("line"), parsed_rows.drop_nulls("line")]).sort("offset")
    return Rows(all_rows.get_column("line"), all_rows.get_column("offset"), rejects)


def _splice(batch: pl.DataFrame) -> pl.DataFrame:
    """Return rows of plain records as ``offset, line``; the line is null where a parser is needed."""
    value = decode_utf8(batch.get_column("value"))
    text = batch.select("offset", "timestamp_ms", value=value, plain=value.str.contains(PLAIN_OBJECT_PATTERN))
    parts = [
        pl.lit('{"kafka_offset":'),
        pl.col("offset"),
        pl.lit(',"kafka_timestamp_ms":'),
        pl.col("timestamp_ms"),
    ]
    if batch.get_column("key").null_count() < batch.height:
        text = text.with_columns(key_field=_key_fields(batch.get_column("key"), value))
        parts.append(pl.col("key_field"))
    line = pl.concat_str([*parts, pl.lit(","), pl.col("value").str.slice(1)])
    return text.select("offset", line=pl.when("plain").then(line))


def _key_fields(keys: pl.Series, values: pl.Series) -> pl.Series:
    """Return the field of each key as text, empty if it has none; null where a parser is needed."""
    key = decode_utf8(keys)
    frame = pl.DataFrame({"key": key, "value": values})
    needle = pl.concat_str([pl.lit('"instrument_id":"'), pl.col("key"), pl.lit('"')])
    key_in_value = frame.select(pl.col("value").str.contains(needle, literal=True)).to_series()
    if not key_in_value.all():
        needle = pl.concat_str([pl.lit('"instrument_id": "'), pl.col("key"), pl.lit('"')])
        key_in_value |= frame.select(pl.col("value").str.contains(needle, literal=True)).to_series()
    field = pl.concat_str([pl.lit(',"kafka_key":"'), pl.col("key"), pl.lit('"')])
    absent = keys.is_null()
    return frame.select(
        pl.when(absent | key_in_value)
        .then(pl.lit(""))
        .when(pl.col("key").str.contains(_PLAIN_KEY))
        .then(field)
    ).to_series()


def encode_record(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> bytes:
    """Encode the row of one record with a JSON parser.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        The value is not JSON.
    """
    prefix = b'{"kafka_offset":%d,"kafka_timestamp_ms":%d' % (offset, timestamp_ms)
    if value is None:
        return b'%b%b,"kafka_tombstone":true}' % (prefix, _key_field(key))
    value.decode()
    _check_nesting(value)
    if not value.lstrip().startswith(b"{"):
        _ANY.decode(value)
        return b'%b%b,"value":%b}' % (prefix, _key_field(key), _one_line(value.strip()))
    fields = _FIELDS.decode(value)
    if key is not None and bytes(fields.get("instrument_id", b"")) != b'"%b"' % key:
        prefix += _key_field(key)
    if any(name.startswith("kafka_") for name in fields):
        plain_fields = {name: raw for name, raw in fields.items() if not name.startswith("kafka_")}
        fields = with_extra(plain_fields, {n: raw for n, raw in fields.items() if n.startswith("kafka_")})
    elif b"\n" not in value and b"\r" not in value:
        return prefix + (b"," if fields else b"") + value.strip()[1:]
    body = b",".join(msgspec.json.encode(name) + b":" + _one_line(bytes(raw)) for name, raw in fields.items())
    return prefix + b"," + body + b"}" if body else prefix + b"}"


def _check_nesting(value: bytes) -> None:
    # the parser's own limit depends on its caller's stack, but a record must always give the same row
    if value.count(b"[") + value.count(b"{") <= MAX_NESTING_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_NESTING_DEPTH:
            raise msgspec.DecodeError(f"nested more than {MAX_NESTING_DEPTH} deep")


def with_extra(fields: dict[str, msgspec.Raw], extra: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Add members to a record's object ``extra``; one that is not an object becomes a member of it."""
    members = dict(fields)
    existing = members.pop("extra", None)
    if existing is not None:
        extra = (
            {**_FIELDS.decode(existing), **extra}
            if bytes(existing).startswith(b"{")
            else {**extra, "extra": existing}
        )
    return {**members, "extra": msgspec.Raw(msgspec.json.encode(extra))}


def _one_line(document: bytes) -> bytes:
    """Replace line breaks in JSON: they are whitespace, since JSON escapes them within strings."""
    return document.replace(b"\n", b" ").replace(b"\r", b" ")


def _key_field(key: bytes | None) -> bytes:
    if key is None:
        return b""
    try:
        return b',"kafka_key":' + msgspec.json.encode(key.decode())
    except UnicodeDecodeError:
        return b',"kafka_key_base64":"' + base64.b64encode(key) + b'"'


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def checksum(data: bytes) -> str:
    """Return the CRC-32C as eight hexadecimal digits."""
    return f"{google_crc32c.value(data):08x}"
