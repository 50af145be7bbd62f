"""Kafka records ⇄ the bytes of a segment. Pure: the same records give the same bytes.

Whether a record is a row or a reject is decided for each record alone, by one parser, so that it
does not depend on which records happen to share a segment.
"""

import base64
import struct
import zlib
from dataclasses import dataclass

import google_crc32c
import msgspec
import polars as pl
from isal import igzip

from tickerlake.errors import LakeError
from tickerlake.lake.segment import SegmentMeta

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
_ENVELOPE = frozenset(
    {"kafka_offset", "kafka_timestamp_ms", "kafka_key", "kafka_key_base64", "kafka_tombstone"}
)
_SUBFIELD = b"TL"


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record whose bytes do not decode, as it is kept under ``rejects/``."""

    offset: int
    timestamp_ms: int
    reason: str
    key_base64: str | None
    value_base64: str | None

    def to_json(self) -> bytes:
        """Return the content of its object, which depends on the record only."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows of one segment: newline-terminated JSON documents, and what was refused."""

    lines: bytes
    records: int
    rejects: list[RejectedRecord]


def encode(batch: pl.DataFrame) -> Rows:
    """Turn records into rows.

    Parameters
    ----------
    batch
        Columns as `model.schema.KAFKA_RECORDS`.
    """
    lines: list[bytes] = []
    rejects: list[RejectedRecord] = []
    for offset, timestamp_ms, key, value in batch.iter_rows():
        try:
            lines.append(_row(offset, timestamp_ms, key, value))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejects.append(
                RejectedRecord(offset, timestamp_ms, f"not JSON: {error}", _base64(key), _base64(value))
            )
    return Rows(b"".join(lines), len(lines), rejects)


def _row(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> bytes:
    head = b'{"kafka_offset":%d,"kafka_timestamp_ms":%d' % (offset, timestamp_ms)
    if value is None:
        return b'%b%b,"kafka_tombstone":true}\n' % (head, _key_field(key))
    value.decode()
    if not value.lstrip().startswith(b"{"):
        _ANY.decode(value)
        return b'%b%b,"value":%b}\n' % (head, _key_field(key), _one_line(value.strip()))
    fields = _FIELDS.decode(value)
    if key is not None and bytes(fields.get("instrument_id", b"")) != b'"%b"' % key:
        head += _key_field(key)
    if any(name.startswith("kafka_") for name in fields):
        fields = _moved(fields)
    elif b"\n" not in value and b"\r" not in value:
        body = value.strip()[1:]
        return head + (b"," if fields else b"") + body + b"\n"
    body = b",".join(msgspec.json.encode(name) + b":" + _one_line(bytes(raw)) for name, raw in fields.items())
    return head + b"," + body + b"}\n" if body else head + b"}\n"


def _moved(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Move the message's own ``kafka_…`` fields into ``extra``; those names are the envelope's."""
    kept = {name: raw for name, raw in fields.items() if not name.startswith("kafka_")}
    extra: dict[str, msgspec.Raw] = {n: r for n, r in fields.items() if n.startswith("kafka_")}
    own = kept.pop("extra", None)
    if own is not None:
        extra = {**_FIELDS.decode(own), **extra} if bytes(own).startswith(b"{") else {**extra, "extra": own}
    return {**kept, "extra": msgspec.Raw(msgspec.json.encode(extra))}


def _one_line(document: bytes) -> bytes:
    """JSON without line ends: they are white space, since inside strings JSON escapes them."""
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


def checksum(lines: bytes) -> str:
    """CRC-32C of the uncompressed rows, as eight hexadecimal digits."""
    return f"{google_crc32c.value(lines):08x}"


def pack(lines: bytes, meta: SegmentMeta) -> bytes:
    """Compress rows to one gzip member whose header carries the segment's metadata.

    The header's extra field (RFC 1952, 2.3.1.1, subfield ``TL``) makes the object describe itself,
    so that a store without object metadata, such as a folder, needs nothing beside it.
    """
    said = msgspec.json.encode(meta)
    extra = _SUBFIELD + struct.pack("<H", len(said)) + said
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra
    deflater = igzip.compress(lines, compresslevel=1, mtime=0)[10:]
    return header + deflater


def unpack_meta(head: bytes, key: str) -> SegmentMeta:
    """Read a segment's metadata from its first bytes (4,096 are enough)."""
    try:
        if head[:4] != b"\x1f\x8b\x08\x04":
            raise ValueError("no gzip header with an extra field")
        (length,) = struct.unpack("<H", head[14:16])
        if head[12:14] != _SUBFIELD:
            raise ValueError("the extra field is not ours")
        return msgspec.json.decode(head[16 : 16 + length], type=SegmentMeta)
    except (ValueError, struct.error, msgspec.MsgspecError) as error:
        raise LakeError(
            f"{key} is not a segment: {error}.", "It is damaged or something else wrote it; run the audit."
        ) from error


def unpack(data: bytes, key: str) -> bytes:
    """Decompress a segment's rows.

    Raises
    ------
    LakeError
        If the object is cut off or damaged.
    """
    try:
        return zlib.decompress(data, wbits=31)
    except zlib.error as error:
        raise LakeError(f"{key} is damaged: {error}.", "Run `tickerlake audit --deep`.") from error
