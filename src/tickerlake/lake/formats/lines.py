"""Rows as lines of JSON, in ``ndjson`` segments and in the objects of the format ``json``. Pure."""

import io
from abc import ABC, abstractmethod
from collections.abc import Collection

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.formats import rows
from tickerlake.lake.formats.format import ObjectContent, ReadRange, StoredRows
from tickerlake.lake.segment import REPAIR_HINT, SegmentMeta


class _Offset(msgspec.Struct):
    kafka_offset: int


_OFFSET_DECODER = msgspec.json.Decoder(_Offset)
_ESCAPE = b"\\u"
"""A name can be written with it, so that a search for the name does not find it."""
_LEADING_OFFSET = r'^\{"kafka_offset":([0-9]+)'


class LineFormat(ABC):
    """What the formats of lines have in common."""

    has_columns = False

    def read_rows(self, data: bytes, key: str) -> StoredRows:
        """Return an object's lines."""
        return split_lines(self.decode_text(data, key), key)

    def read_rows_naming(self, data: bytes, key: str, schemas: Collection[str]) -> StoredRows | None:
        """Return an object's lines, None if none of them contains the name of a schema."""
        text = self.decode_text(data, key)
        if any(name.encode() in text for name in schemas) or _ESCAPE in text:
            return split_lines(text, key)
        return None

    def read_content(self, data: bytes, key: str) -> ObjectContent:
        """Parse every line."""
        text = self.decode_text(data, key)
        try:
            offsets = [row.kafka_offset for row in _OFFSET_DECODER.decode_lines(text)]
        except msgspec.MsgspecError as error:
            raise LakeError(f"{key} is damaged: a row is not readable ({error}).", REPAIR_HINT) from error
        return ObjectContent(offsets, rows.checksum(text), self.embedded_meta(data, key))

    @abstractmethod
    def decode_text(self, data: bytes, key: str) -> bytes:
        """Return the lines of an object, uncompressed."""

    @abstractmethod
    def embedded_meta(self, data: bytes, key: str) -> SegmentMeta | None:
        """Return the metadata in an object; None if the format has none."""


def line_offsets(lines: pl.Series) -> pl.Series:
    """Return the offset of each row."""
    # every row begins with its offset; a parser is needed only where something else wrote it
    offsets = lines.str.extract(_LEADING_OFFSET).cast(pl.Int64, strict=False)
    if offsets.null_count():
        offsets = pl.Series([_OFFSET_DECODER.decode(line).kafka_offset for line in lines], dtype=pl.Int64)
    return offsets


class JsonFormat(LineFormat):
    """The format ``json``: one record per object, without metadata."""

    one_object_per_record = True

    def decode_text(self, data: bytes, key: str) -> bytes:
        """Return the object as it is."""
        del key
        return data

    def embedded_meta(self, data: bytes, key: str) -> None:
        """Return None: the only metadata is the key."""

    def read_meta(self, read: ReadRange, size: int, key: str) -> SegmentMeta:
        """Raise: a record's object is not a segment."""
        del read, size
        raise LakeError(f"{key} is not a segment: it holds one record.", REPAIR_HINT)


def split_lines(text: bytes, key: str) -> pl.Series:
    """Return lines as a column of text.

    Raises
    ------
    LakeError
        If the text is not UTF-8.
    """
    if not text:
        return pl.Series("line", [], dtype=pl.String)
    try:
        # JSON never contains this separator, so each line is one cell: twenty times as fast as splitting
        frame = pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            separator="\x01",
            quote_char=None,
            schema={"line": pl.String()},
        )
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{key} is damaged: {error}.", REPAIR_HINT) from error
    return frame.get_column("line")
