"""What every storage format does. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from tickerlake.lake.formats.columns import Column
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.segment import SegmentMeta

StoredRows = pl.Series | pl.DataFrame
"""Rows as they are stored: lines of JSON, or a frame of typed columns."""

ReadRange = Callable[[int, int], bytes]
"""Returns up to ``length`` bytes of an object from ``start``."""


@dataclass(frozen=True, slots=True)
class ObjectContent:
    """What a deep check compares: offsets of the rows, their checksum, and the embedded metadata."""

    offsets: list[int]
    rows_crc32c: str
    meta: SegmentMeta | None


class StorageFormat(Protocol):
    """How records become the rows of an object, and back."""

    @property
    def has_columns(self) -> bool:
        """Whether a topic's columns are fixed by its first segment (``_columns.json``)."""
        ...

    @property
    def one_object_per_record(self) -> bool:
        """Whether each record is an object: there are no segments, and objects have no metadata."""
        ...

    def read_meta(self, read: ReadRange, size: int, key: str) -> SegmentMeta:
        """Read a segment's metadata from the part of the object that holds it.

        Raises
        ------
        LakeError
            The object is not a segment.
        """
        ...

    def read_rows(self, data: bytes, key: str) -> StoredRows:
        """Decode an object's rows; LakeError if it is damaged."""
        ...

    def read_rows_naming(self, data: bytes, key: str, schemas: Collection[str]) -> StoredRows | None:
        """Decode an object's rows if one of them may name one of some schemas; otherwise return None."""
        ...

    def read_content(self, data: bytes, key: str) -> ObjectContent:
        """Decode an object for a deep check; LakeError if it is damaged."""
        ...


class SegmentFormat(StorageFormat, Protocol):
    """A storage format that puts many records into one object."""

    @property
    def content_type(self) -> str:
        """Media type of the objects."""
        ...

    def encode(
        self, batch: pl.DataFrame, meta: SegmentMeta, columns: list[Column]
    ) -> tuple[bytes, SegmentMeta, list[RejectedRecord]]:
        """Return a segment's bytes, ``meta`` with counts and checksum, and the rejects."""
        ...
