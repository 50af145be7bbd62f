"""The storage formats: how records become objects of the lake, and back.

A new format is a module here, its name in `lake.topic.Format`, its extension in `lake.segment` and
a line in `_FORMATS`.
"""

from typing import Final

from tickerlake.lake.formats.format import ObjectContent, SegmentFormat, StorageFormat, StoredRows
from tickerlake.lake.formats.lines import JsonFormat
from tickerlake.lake.formats.ndjson import NdjsonFormat
from tickerlake.lake.formats.parquet import ParquetFormat
from tickerlake.lake.segment import EXTENSIONS
from tickerlake.lake.topic import Format

__all__ = [
    "ObjectContent",
    "SegmentFormat",
    "StorageFormat",
    "StoredRows",
    "for_key",
    "for_segments",
    "for_topic",
]

_SEGMENT_FORMATS: Final[dict[Format, SegmentFormat]] = {
    "ndjson": NdjsonFormat(),
    "parquet": ParquetFormat(),
}
_FORMATS: Final[dict[Format, StorageFormat]] = {**_SEGMENT_FORMATS, "json": JsonFormat()}
_BY_EXTENSION: Final = {f".{EXTENSIONS[name]}": storage_format for name, storage_format in _FORMATS.items()}


def for_topic(name: Format) -> StorageFormat:
    """Return the storage format of a topic."""
    return _FORMATS[name]


def for_segments(name: Format) -> SegmentFormat:
    """Return the storage format of a topic that is stored in segments."""
    return _SEGMENT_FORMATS[name]


def for_key(key: str) -> StorageFormat:
    """Return the storage format of the object with this key, by its extension."""
    _, dot, extension = key.rpartition("/")[2].partition(".")
    return _BY_EXTENSION[dot + extension]
