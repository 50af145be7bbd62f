r"""Kafka records → rows: one line of JSON each. Pure: the same record gives the same row.

Whether a record becomes a row or a reject, and the content of its row, depend on that record alone, not on
the records that share its segment. Records that match a regular expression of plain JSON objects are
spliced column by column; each other record goes through a JSON parser. Both ways give the same bytes.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import google_crc32c
import msgspec
import polars as pl

from tickerlake.model.json import decode_utf8
from tickerlake.model.not_json import explain_not_json

_ANY = msgspec.json.Decoder(msgspec.Raw)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBERS_AS_TEXT: Final = json.JSONDecoder(parse_int=str, parse_float=str)
_WHITESPACE: Final = re.compile(r"[ \t\n\r]*")

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
    headers: list[dict[str, str | None]] | None = None

    def to_json(self) -> bytes:
        """Return the content of its object, which depends only on the record."""
        return msgspec.json.encode(self)


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
    others = batch.filter(spliced.get_column("line").is_null())
    for offset, timestamp_ms, key, value, headers in others.iter_rows():
        try:
            parsed.append(encode_record(offset, timestamp_ms, key, value, headers).decode())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            parsed.append(None)
            reason = f"not JSON: {explain_not_json(value, error)}"
            decoded_headers = headers and msgspec.json.decode(headers)
            rejects.append(
                RejectedRecord(offset, timestamp_ms, reason, _base64(key), _base64(value), decoded_headers)
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
    headers = batch.get_column("headers")
    if headers.null_count() < batch.height:
        header_field = pl.concat_str([pl.lit(',"kafka_headers":'), pl.col("headers")]).fill_null("")
        text = text.with_columns(headers.to_frame().select(header_field=header_field))
        parts.append(pl.col("header_field"))
    line = pl.concat_str([*parts, pl.lit(","), pl.col("value").str.slice(1)])
    return text.select("offset", line=pl.when("plain").then(line))


def _key_fields(keys: pl.Series, values: pl.Series) -> pl.Series:
    """Return the field of each key as text, empty if it has none; null where a parser is needed."""
    key = decode_utf8(keys)
    frame = pl.DataFrame({"key": key, "value": values})
    # quotes in a key would match across members: `","x":"`
    is_plain = pl.col("key").str.contains(_PLAIN_KEY)
    needle = pl.concat_str([pl.lit('"instrument_id":"'), pl.col("key"), pl.lit('"')])
    key_in_value = frame.select(pl.col("value").str.contains(needle, literal=True)).to_series()
    if not key_in_value.all():
        needle = pl.concat_str([pl.lit('"instrument_id": "'), pl.col("key"), pl.lit('"')])
        key_in_value |= frame.select(pl.col("value").str.contains(needle, literal=True)).to_series()
    field = pl.concat_str([pl.lit(',"kafka_key":"'), pl.col("key"), pl.lit('"')])
    absent = keys.is_null()
    return frame.select(
        pl.when(absent | (is_plain & key_in_value)).then(pl.lit("")).when(is_plain).then(field)
    ).to_series()


def encode_record(
    offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: str | None = None
) -> bytes:
    """Encode the row of one record with a JSON parser.

    Raises
    ------
    msgspec.DecodeError, UnicodeDecodeError, RecursionError
        The value is not JSON.
    """
    prefix = b'{"kafka_offset":%d,"kafka_timestamp_ms":%d' % (offset, timestamp_ms)
    header_field = b"" if headers is None else b',"kafka_headers":%b' % headers.encode()
    if value is None:
        return b'%b%b%b,"kafka_tombstone":true}' % (prefix, _key_field(key), header_field)
    text = value.decode()
    _check_nesting(value)
    _ANY.decode(value)
    document = _one_line(value.strip())
    if not document.startswith(b"{"):
        return b'%b%b%b,"value":%b}' % (prefix, _key_field(key), header_field, document)
    members = split_members(text)
    # which of several ids counts is ambiguous; a key with a backslash differs from the text of its escape
    ids = [raw for name, _, raw in members if name == "instrument_id"]
    if key is None or (len(ids) == 1 and b"\\" not in key and ids[0].encode() == b'"%b"' % key):
        key_field = b""
    else:
        key_field = _key_field(key)
    if any(name.startswith("kafka_") for name, *_ in members):
        document = _one_line(_move_reserved(members).encode())
    separator = b"," if members else b""
    return b"".join([prefix, key_field, header_field, separator, document[1:]])


def split_members(text: str) -> list[tuple[str, str, str]]:
    """Return the members of a JSON object, duplicates included: name, name as written, value as written.

    Parameters
    ----------
    text
        A valid JSON object.
    """
    data = text.encode()
    members = [(name, f'"{name}"', bytes(raw).decode()) for name, raw in _FIELDS.decode(data).items()]
    # without white space and escapes in names, the members account for each byte unless one was a duplicate
    if len(data) == sum(len(raw_name.encode()) + len(raw.encode()) + 2 for _, raw_name, raw in members) + 1:
        return members
    return list(_scan_members(text))


def _scan_members(text: str) -> Iterator[tuple[str, str, str]]:
    at = _skip_whitespace(text, text.index("{") + 1)
    while text[at] != "}":
        name, end = _NUMBERS_AS_TEXT.raw_decode(text, at)
        raw_name = text[at:end]
        at = _skip_whitespace(text, _skip_whitespace(text, end) + 1)
        _, end = _NUMBERS_AS_TEXT.raw_decode(text, at)
        yield name, raw_name, text[at:end]
        at = _skip_whitespace(text, end)
        if text[at] == ",":
            at = _skip_whitespace(text, at + 1)


def _skip_whitespace(text: str, at: int) -> int:
    if text[at] not in " \t\n\r":
        return at
    match = _WHITESPACE.match(text, at)
    assert match is not None
    return match.end()


def _move_reserved(members: list[tuple[str, str, str]]) -> str:
    """Return an object with these members, those whose names are reserved moved into its object ``extra``."""
    kept: list[str] = []
    extra: list[str] = []
    reserved: list[str] = []
    for name, raw_name, raw in members:
        if name.startswith("kafka_"):
            reserved.append(f"{raw_name}:{raw}")
        elif name != "extra":
            kept.append(f"{raw_name}:{raw}")
        elif raw.startswith("{"):
            extra += [f"{inner_name}:{inner}" for _, inner_name, inner in split_members(raw)]
        else:
            extra.append(f"{raw_name}:{raw}")
    return "{" + ",".join([*kept, '"extra":{' + ",".join([*extra, *reserved]) + "}"]) + "}"


def _check_nesting(value: bytes) -> None:
    # the parser's own limit depends on its caller's stack, but a record must always give the same row
    if value.count(b"[") + value.count(b"{") <= MAX_NESTING_DEPTH:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_NESTING_DEPTH:
            raise msgspec.DecodeError(f"nested more than {MAX_NESTING_DEPTH} deep")


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
