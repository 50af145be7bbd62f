"""Why a value is not JSON, in words that name the cause."""

import msgspec
import pytest

from tickerlake.model.not_json import explain_not_json


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            b"\0\0\0\0\x11rest",
            "Confluent wire format, schema id 17 (Avro, Protobuf or JSON Schema); tickerlake",
        ),
        (b'\0\x00\x00\x01\x00{"a":1}', "Confluent wire format, schema id 256"),
        (b"\x03\x00" + bytes(range(16)) + b"x", "AWS Glue wire format, schema version 000102030405060708"),
        (b"Obj\x01xx", "it looks like an Avro file"),
        (b"\x1f\x8b\x08\0", "it looks like gzip"),
        (b"PAR1xx", "it looks like Parquet"),
        (b"<?xml version='1.0'?>", "it looks like XML"),
        (b"<html>", "it looks like XML or HTML"),
        (b"\xef\xbb\xbf{}", "it looks like text with a byte order mark"),
        ("{}".encode("utf-16"), "it looks like UTF-16 text"),
        (b"", "the value is empty"),
        (b" \n", "the value is white space"),
        (b'{"price": NaN}', "NaN is not a number in JSON (byte 10); write null"),
        (b"[1,-Infinity]", "-Infinity is not a number in JSON (byte 3)"),
        (b"NaN", "NaN is not a number in JSON (byte 0)"),
        (b'{"a":"\xe9"}', "byte 6 is not UTF-8"),
        (b'{"a":"\\ud800"}', "\\ud800 is half of a surrogate pair (byte 6)"),
        (b'{"a":"\\udc00x"}', "\\udc00 is half of a surrogate pair (byte 6)"),
        (b'{"a":1,}', "JSON is malformed: trailing comma"),
        (b'{"a": "NaN is text", b}', "JSON is malformed"),
    ],
)
def test_the_reason_names_the_cause(value: bytes, reason: str) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as raised:
        msgspec.json.decode(value.decode())
    assert explain_not_json(value, raised.value).startswith(reason)
