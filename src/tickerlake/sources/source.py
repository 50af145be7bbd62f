"""What any source of records is to those who read it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import polars as pl

from tickerlake.model.reject import Reject


@dataclass(frozen=True)
class Fingerprint:
    """What tells a file, or another part of a source, from another, or from itself after a change.

    Parameters
    ----------
    name
        The name that its records carry as ``source``.
    size
        Its size in bytes, as stored.
    digest
        BLAKE2b-128 of its bytes, as stored; empty if it was not wanted.
    """

    name: str
    size: int
    digest: str


class Batch(Protocol):
    """Some rows of a source."""

    @property
    def rows(self) -> pl.DataFrame:
        """The rows, whatever they are to the source: records, rejects and others."""

    @property
    def records(self) -> pl.DataFrame:
        """Records in canonical columns, by time."""

    @property
    def rejects(self) -> list[Reject]:
        """Rows that are no records."""

    @property
    def event_ns(self) -> pl.Series:
        """When each row happened, in nanoseconds since the epoch; null where it is no record."""

    @property
    def position(self) -> tuple[int, ...]:
        """For each part of the source: rows from its beginning to the end of this batch."""

    def split(self, max_rows: int) -> Iterator[Self]:
        """Yield its rows in batches of about so many, each of which ends where a cursor may stand."""

    def slice(self, start: int, length: int) -> Self:
        """Return some of its rows as a batch of their own."""


class Source(Protocol):
    """A sequence of rows, the same on every run, of one or more parts (files).

    A cursor is a position in each part.
    """

    @property
    def fingerprints(self) -> Sequence[Fingerprint]:
        """What tells each part from another, or from itself after a change."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[Batch]:
        """Yield the rows from a position on: the ``done`` of an earlier batch; nothing is the beginning."""
