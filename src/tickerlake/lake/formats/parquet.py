"""Segments as Parquet (zstd), whose footer says what they hold. Pure.

The metadata stand in the footer's key-value pairs under ``tickerlake``. Their ``rows_crc32c`` is the
checksum of all bytes before the footer, so that a changed byte is found without another copy.
"""

import io
from dataclasses import replace

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.formats.columns import Column, encode
from tickerlake.lake.formats.rows import RejectedRecord, checksum
from tickerlake.lake.segment import REPAIR_HINT, SegmentMeta

FOOTER_READ_BYTES = 65_536
_MAGIC = b"PAR1"
_METADATA_KEY = "tickerlake"
_CHECKSUM_PLACEHOLDER = "0" * 8


class ParquetCodec:
    """Packs rows for the format ``parquet`` with the columns of one topic."""

    content_type = "application/vnd.apache.parquet"

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns

    def encode(
        self, batch: pl.DataFrame, meta: SegmentMeta
    ) -> tuple[bytes, SegmentMeta, list[RejectedRecord]]:
        """Return the segment's bytes, ``meta`` with counts and checksum, and what was refused."""
        frame, rejects = encode(batch, self.columns)
        data, meta = encode_segment(frame, replace(meta, records=frame.height, rejects=len(rejects)))
        return data, meta, rejects


def encode_segment(frame: pl.DataFrame, meta: SegmentMeta) -> tuple[bytes, SegmentMeta]:
    """Write a frame and its metadata as one Parquet file."""
    metadata_json = msgspec.json.encode(replace(meta, rows_crc32c=_CHECKSUM_PLACEHOLDER))
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", compression_level=1, metadata={_METADATA_KEY: metadata_json.decode()}
    )
    data = bytearray(buffer.getvalue())
    footer = _footer_start(data)
    meta = replace(meta, rows_crc32c=checksum(bytes(data[:footer])))
    # the sum is known only when the pages are written; eight digits take the place of eight
    checksum_start = (
        data.index(metadata_json, footer) + metadata_json.index(b'"rows_crc32c":"') + len(b'"rows_crc32c":"')
    )
    data[checksum_start : checksum_start + len(_CHECKSUM_PLACEHOLDER)] = meta.rows_crc32c.encode()
    return bytes(data), meta


def _footer_start(data: bytes | bytearray) -> int:
    """Where the footer begins in a whole file; negative in a tail that is too short."""
    if data[-4:] != _MAGIC:
        raise ValueError("it does not end as a Parquet file")
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def missing_footer_bytes(tail: bytes) -> int:
    """How many bytes before ``tail`` belong to the footer, too."""
    try:
        return max(0, -_footer_start(tail))
    except ValueError:
        return 0


def decode_meta(tail: bytes, key: str) -> SegmentMeta:
    """Read a segment's metadata from its last bytes, the whole footer among them."""
    try:
        _footer_start(tail)
        metadata_json = pl.read_parquet_metadata(io.BytesIO(tail)).get(_METADATA_KEY)
        if metadata_json is None:
            raise ValueError("its footer does not say which records it holds")
        return msgspec.json.decode(metadata_json, type=SegmentMeta)
    except (ValueError, msgspec.MsgspecError, pl.exceptions.PolarsError) as error:
        raise LakeError(
            f"{key} is not a segment: {error}.", f"It is damaged or something else wrote it. {REPAIR_HINT}"
        ) from error


def decode_rows(data: bytes, key: str) -> tuple[pl.DataFrame, str]:
    """Read a segment: its rows and the checksum of the bytes before the footer.

    Raises
    ------
    LakeError
        If the object is cut off or damaged.
    """
    try:
        return pl.read_parquet(io.BytesIO(data)), checksum(data[: _footer_start(data)])
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise LakeError(f"{key} is damaged: {error}.", REPAIR_HINT) from error
