"""Explains why the value of a Kafka message is not JSON, in words that name the cause."""

import re
from typing import Final

_CONFLUENT_HEADER_BYTES: Final = 5
_GLUE_HEADER_BYTES: Final = 18
_SIGNATURES: Final = {
    b"Obj\x01": "an Avro file",
    b"\xc3\x01": "a single Avro object",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "Parquet",
    b"ORC": "ORC",
    b"ARROW1": "Arrow",
    b"\xff\xff\xff\xff": "an Arrow stream",
    b"\xac\xed\x00\x05": "a serialized Java object",
    b"\x80\x04\x95": "a Python pickle",
    b"\x80\x05\x95": "a Python pickle",
    b"\xd9\xd9\xf7": "CBOR",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\xef\xbb\xbf": "text with a byte order mark",
    b"<?xml": "XML",
    b"<": "XML or HTML",
}
"""By first bytes: what a value is instead of JSON."""
_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_NOT_A_NUMBER: Final = re.compile(
    rb"[\s,:\[](-?(?:NaN|nan|Infinity|inf))\s*[,}\]]|^\s*(-?(?:NaN|Infinity))\s*$"
)


def find_wire_format(value: bytes) -> str | None:
    """Return the wire format of a schema registry that a value is in, with its schema id; else None.

    Confluent's begins with a zero byte and a schema id of four bytes; AWS Glue's with 3, a byte for the
    compression, and a UUID.
    """
    if len(value) >= _CONFLUENT_HEADER_BYTES and value[0] == 0:
        schema_id = int.from_bytes(value[1:_CONFLUENT_HEADER_BYTES], "big")
        return f"Confluent wire format, schema id {schema_id} (Avro, Protobuf or JSON Schema)"
    if len(value) >= _GLUE_HEADER_BYTES and value[0] == 3 and value[1] in {0, 5}:
        return f"AWS Glue wire format, schema version {value[2:_GLUE_HEADER_BYTES].hex()}"
    return None


def explain_not_json(value: bytes, error: Exception) -> str:
    """Return why a value is not JSON: its cause if that can be told, else what the decoder says.

    Parameters
    ----------
    value
        What does not decode.
    error
        From the decoder.
    """
    if wire_format := find_wire_format(value):
        return f"{wire_format}; tickerlake reads JSON without a schema registry"
    for signature, name in _SIGNATURES.items():
        if value.startswith(signature):
            return f"it looks like {name}"
    if not value.strip():
        return "the value is empty" if not value else "the value is white space"
    if match := _NOT_A_NUMBER.search(value):
        literal = (match[1] or match[2]).decode()
        at = match.start(1) if match[1] else match.start(2)
        return f"{literal} is not a number in JSON (byte {at}); write null"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if match := _SURROGATE.search(value):
        return f"{match[0].decode()} is half of a surrogate pair (byte {match.start()})"
    return str(error)
