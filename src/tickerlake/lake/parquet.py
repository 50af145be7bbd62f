"""Segments as Parquet (zstd), whose footer says what they hold. Pure.

The metadata stand in the footer's key-value pairs under ``tickerlake``. Their ``rows_crc32c`` is the
checksum of all bytes before the footer, so that a changed byte is found without another copy.
"""

import io
from dataclasses import replace

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.columns import Column, encode
from tickerlake.lake.rows import RejectedRecord, checksum
from tickerlake.lake.segment import MEND, SegmentMeta

TAIL_BYTES = 65_536
_MAGIC = b"PAR1"
_NAME = "tickerlake"
_UNKNOWN = "0" * 8


class ParquetCodec:
    """Packs rows for the format ``parquet`` with the columns of one topic."""

    content_type = "application/vnd.apache.parquet"

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns

    def pack(self, batch: pl.DataFrame, meta: SegmentMeta) -> tuple[bytes, SegmentMeta, list[RejectedRecord]]:
        """Return the segment's bytes, ``meta`` with counts and checksum, and what was refused."""
        frame, rejects = encode(batch, self.columns)
        data, meta = pack(frame, replace(meta, records=frame.height, rejects=len(rejects)))
        return data, meta, rejects


def pack(frame: pl.DataFrame, meta: SegmentMeta) -> tuple[bytes, SegmentMeta]:
    """Write a frame and its metadata as one Parquet file."""
    said = msgspec.json.encode(replace(meta, rows_crc32c=_UNKNOWN))
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1, metadata={_NAME: said.decode()})
    data = bytearray(buffer.getvalue())
    footer = _footer_start(data)
    meta = replace(meta, rows_crc32c=checksum(bytes(data[:footer])))
    # the sum is known only when the pages are written; eight digits take the place of eight
    at = data.index(said, footer) + said.index(b'"rows_crc32c":"') + len(b'"rows_crc32c":"')
    data[at : at + len(_UNKNOWN)] = meta.rows_crc32c.encode()
    return bytes(data), meta


def _footer_start(data: bytes | bytearray) -> int:
    """Where the footer begins in a whole file; negative in a tail that is too short."""
    if data[-4:] != _MAGIC:
        raise ValueError("it does not end as a Parquet file")
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def missing_bytes(tail: bytes) -> int:
    """How many bytes before ``tail`` belong to the footer, too."""
    try:
        return max(0, -_footer_start(tail))
    except ValueError:
        return 0


def unpack_meta(tail: bytes, key: str) -> SegmentMeta:
    """Read a segment's metadata from its last bytes, the whole footer among them."""
    try:
        _footer_start(tail)
        said = pl.read_parquet_metadata(io.BytesIO(tail)).get(_NAME)
        if said is None:
            raise ValueError("its footer does not say which records it holds")
        return msgspec.json.decode(said, type=SegmentMeta)
    except (ValueError, msgspec.MsgspecError, pl.exceptions.PolarsError) as error:
        raise LakeError(
            f"{key} is not a segment: {error}.", f"It is damaged or something else wrote it. {MEND}"
        ) from error


def unpack(data: bytes, key: str) -> tuple[pl.DataFrame, str]:
    """Read a segment: its rows and the checksum of the bytes before the footer.

    Raises
    ------
    LakeError
        If the object is cut off or damaged.
    """
    try:
        return pl.read_parquet(io.BytesIO(data)), checksum(data[: _footer_start(data)])
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise LakeError(f"{key} is damaged: {error}.", MEND) from error
