"""Segments as Parquet (zstd), whose footer holds their metadata. Pure.

The metadata is in the footer's key-value pairs under ``tickerlake``. Its ``rows_crc32c`` is the
checksum of all bytes before the footer, so that a changed byte is detected without a second copy.
"""

import io
from collections.abc import Collection
from dataclasses import replace

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.formats.columns import Column, encode
from tickerlake.lake.formats.format import ObjectContent, ReadRange, StoredRows
from tickerlake.lake.formats.rows import RejectedRecord, checksum
from tickerlake.lake.segment import REPAIR_HINT, SegmentMeta

FOOTER_READ_BYTES = 65_536
"""One range read that holds the footer of most segments; the rest of a larger one takes a second."""

_MAGIC = b"PAR1"
_METADATA_KEY = "tickerlake"
_ESCAPE = "\\u"
"""JSON text can name a schema with it, so that a search for the name does not find it."""
_CHECKSUM_PLACEHOLDER = "0" * 8


class ParquetFormat:
    """The format ``parquet``: the columns are those of the topic."""

    has_columns = True
    one_object_per_record = False
    content_type = "application/vnd.apache.parquet"

    def encode(
        self, batch: pl.DataFrame, meta: SegmentMeta, columns: list[Column]
    ) -> tuple[bytes, SegmentMeta, list[RejectedRecord]]:
        """Return the segment's bytes, ``meta`` with counts and checksum, and the rejects."""
        frame, rejects = encode(batch, columns)
        data, meta = encode_segment(frame, replace(meta, records=frame.height, rejects=len(rejects)))
        return data, meta, rejects

    def read_meta(self, read: ReadRange, size: int, key: str) -> SegmentMeta:
        """Read the metadata from the footer."""
        start = max(0, size - FOOTER_READ_BYTES)
        tail = read(start, FOOTER_READ_BYTES)
        if missing := min(start, missing_footer_bytes(tail)):
            tail = read(start - missing, missing) + tail
        return decode_meta(tail, key)

    def read_rows(self, data: bytes, key: str) -> StoredRows:
        """Return an object's columns."""
        return decode_rows(data, key)[0]

    def read_rows_naming(self, data: bytes, key: str, schemas: Collection[str]) -> StoredRows | None:
        """Return an object's columns, None if none of its rows contains the name of a schema."""
        try:
            dtypes = pl.read_parquet_schema(io.BytesIO(data))
            # names are in a column of text or of JSON text; if there is none, they are in `extra`
            column = "schema" if dtypes.get("schema") == pl.String() else "extra"
            values = pl.read_parquet(io.BytesIO(data), columns=[column]).get_column(column)
        except (ValueError, pl.exceptions.PolarsError) as error:
            raise _damaged(key, error) from error
        if values.unique().str.contains_any([*schemas, _ESCAPE]).any():
            return self.read_rows(data, key)
        return None

    def read_content(self, data: bytes, key: str) -> ObjectContent:
        """Read the offsets of all rows."""
        frame, crc32c = decode_rows(data, key)
        return ObjectContent(frame.get_column("kafka_offset").to_list(), crc32c, decode_meta(data, key))


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
    # the checksum is known only after the pages are written; it replaces a placeholder of its length
    checksum_start = (
        data.index(metadata_json, footer) + metadata_json.index(b'"rows_crc32c":"') + len(b'"rows_crc32c":"')
    )
    data[checksum_start : checksum_start + len(_CHECKSUM_PLACEHOLDER)] = meta.rows_crc32c.encode()
    return bytes(data), meta


def _footer_start(data: bytes | bytearray) -> int:
    """Offset of the footer in a file; negative if these last bytes of a file are too few to hold it."""
    if data[-4:] != _MAGIC:
        raise ValueError("it does not end as a Parquet file")
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def missing_footer_bytes(tail: bytes) -> int:
    """Return how many bytes before ``tail`` belong to the footer."""
    try:
        return max(0, -_footer_start(tail))
    except ValueError:
        return 0


def decode_meta(tail: bytes, key: str) -> SegmentMeta:
    """Read a segment's metadata from its last bytes, which must contain the footer."""
    try:
        _footer_start(tail)
        metadata_json = pl.read_parquet_metadata(io.BytesIO(tail)).get(_METADATA_KEY)
        if metadata_json is None:
            raise ValueError("its footer holds no metadata of a segment")
        return msgspec.json.decode(metadata_json, type=SegmentMeta)
    except (ValueError, msgspec.MsgspecError, pl.exceptions.PolarsError) as error:
        raise LakeError(
            f"{key} is not a segment: {error}.", f"It is damaged, or another program wrote it. {REPAIR_HINT}"
        ) from error


def decode_rows(data: bytes, key: str) -> tuple[pl.DataFrame, str]:
    """Read a segment: its rows and the checksum of the bytes before the footer.

    Raises
    ------
    LakeError
        If the object is truncated or damaged.
    """
    try:
        return pl.read_parquet(io.BytesIO(data)), checksum(data[: _footer_start(data)])
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise _damaged(key, error) from error


def _damaged(key: str, error: Exception) -> LakeError:
    return LakeError(f"{key} is damaged: {error}.", REPAIR_HINT)
