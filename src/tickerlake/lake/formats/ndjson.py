"""Segments as newline-delimited JSON in one gzip member, whose header holds their metadata. Pure."""

import struct
from dataclasses import replace
from typing import Any

import msgspec
import polars as pl
from isal import igzip, igzip_lib, isal_zlib

from tickerlake.errors import LakeError
from tickerlake.lake.formats.columns import Column
from tickerlake.lake.formats.format import ReadRange
from tickerlake.lake.formats.lines import LineFormat
from tickerlake.lake.formats.rows import RejectedRecord, checksum, encode
from tickerlake.lake.segment import REPAIR_HINT, SegmentMeta
from tickerlake.model.json import to_ndjson

HEADER_READ_BYTES = 4096
"""One range read always holds the metadata: a topic's name has at most 249 characters, the rest is short."""

_SUBFIELD = b"TL"
_IsalError: Any = igzip_lib.IsalError  # its type is declared wrongly


class NdjsonFormat(LineFormat):
    """The format ``ndjson``."""

    one_object_per_record = False
    content_type = "application/gzip"

    def encode(
        self, batch: pl.DataFrame, meta: SegmentMeta, columns: list[Column]
    ) -> tuple[bytes, SegmentMeta, list[RejectedRecord]]:
        """Return the segment's bytes, ``meta`` with counts and checksum, and the rejects."""
        del columns
        rows = encode(batch)
        data = to_ndjson(rows.lines)
        meta = replace(meta, records=len(rows.lines), rejects=len(rows.rejects), rows_crc32c=checksum(data))
        return encode_segment(data, meta), meta, rows.rejects

    def read_meta(self, read: ReadRange, size: int, key: str) -> SegmentMeta:
        """Read the metadata from the gzip header."""
        del size
        return decode_meta(read(0, HEADER_READ_BYTES), key)

    def decode_text(self, data: bytes, key: str) -> bytes:
        """Decompress the rows."""
        return decode_rows(data, key)

    def embedded_meta(self, data: bytes, key: str) -> SegmentMeta:
        """Return the metadata of the gzip header."""
        return decode_meta(data, key)


def encode_segment(lines: bytes, meta: SegmentMeta) -> bytes:
    """Compress rows to one gzip member whose header carries the segment's metadata.

    The header's extra field (RFC 1952, 2.3.1.1, subfield ``TL``) makes the object describe itself,
    so that a store without object metadata, such as a folder, needs no second file.
    """
    metadata = msgspec.json.encode(meta)
    extra = _SUBFIELD + struct.pack("<H", len(metadata)) + metadata
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra
    deflater = igzip.compress(lines, compresslevel=1, mtime=0)[10:]
    return header + deflater


def decode_meta(head: bytes, key: str) -> SegmentMeta:
    """Read a segment's metadata from its first `HEADER_READ_BYTES`."""
    try:
        if head[:4] != b"\x1f\x8b\x08\x04":
            raise ValueError("no gzip header with an extra field")
        (length,) = struct.unpack("<H", head[14:16])
        if head[12:14] != _SUBFIELD:
            raise ValueError("the extra field is not that of a segment")
        return msgspec.json.decode(head[16 : 16 + length], type=SegmentMeta)
    except (ValueError, struct.error, msgspec.MsgspecError) as error:
        raise LakeError(
            f"{key} is not a segment: {error}.", f"It is damaged, or another program wrote it. {REPAIR_HINT}"
        ) from error


def decode_rows(data: bytes, key: str) -> bytes:
    """Decompress a segment's rows.

    Raises
    ------
    LakeError
        If the object is truncated or damaged.
    """
    try:
        return isal_zlib.decompress(data, wbits=31)
    except _IsalError as error:
        raise LakeError(f"{key} is damaged: {error}.", REPAIR_HINT) from error
