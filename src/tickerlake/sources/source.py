"""The interface between a source of records and the code that reads it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, Self

import polars as pl

from tickerlake.model.reject import Reject

_EVENT_TIME_COLUMNS: Final = ("ts_open_ns", "ts_close_ns", "ts_event_ns")


@dataclass(frozen=True)
class Fingerprint:
    """Identifies one part of a source (a file), and shows whether it has changed.

    Parameters
    ----------
    name
        The name that its records carry as ``source``.
    size
        Its size in bytes, as stored.
    digest
        BLAKE2b-128 of its bytes, as stored; empty if it was not requested.
    """

    name: str
    size: int
    digest: str


class Counts(NamedTuple):
    """How many rows of a batch are records, and how many are rejects."""

    records: int
    rejects: int


class Batch(Protocol):
    """Consecutive rows of a source: records, rejects, and rows that are neither (blank lines)."""

    @property
    def height(self) -> int:
        """The number of rows."""

    @property
    def records(self) -> pl.DataFrame:
        """The records in canonical columns, by time."""

    @property
    def rejects(self) -> list[Reject]:
        """The rows that cannot become records."""

    @property
    def event_ns(self) -> pl.Series:
        """The event time of each row, shape (height,), in nanoseconds since 1970; null except for records."""

    @property
    def position(self) -> tuple[int, ...]:
        """For each part of the source: the number of its rows up to the end of this batch."""

    def counts(self) -> Mapping[int, Counts]:
        """Count records and rejects by number of the part; parts without either may be missing."""

    def split(self, max_rows: int) -> Iterator[Self]:
        """Yield the rows in batches of about ``max_rows``, each of which ends at a valid position."""

    def slice(self, start: int, length: int) -> Self:
        """Return some of the rows as a batch."""


class Source(Protocol):
    """A sequence of rows, the same on every run, from one or more parts (files).

    A position has one number for each part. It is stored as the checkpoint of the part in the transaction
    that writes the rows, and reading resumes from it.

    A live feed is a source whose ``batches`` does not end: it polls, yields the rows that have arrived, and
    yields a batch without rows when a poll times out, so that its reader can commit and stop. It has to be
    able to resume from a position, for example a sequence number for each channel. Its ``rows`` is 0, and
    its fingerprints have neither size nor digest, so that they stay the same while it grows.
    """

    @property
    def fingerprints(self) -> Sequence[Fingerprint]:
        """One fingerprint for each part."""

    @property
    def rows(self) -> int:
        """The number of rows of all parts, 0 if it is not known."""

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[Batch]:
        """Yield the rows after a position: the ``position`` of an earlier batch, or () for the beginning."""


@dataclass(frozen=True)
class TimeShiftedSource:
    """A repetition of a source with later event times, for a replay in a loop.

    Parameters
    ----------
    source
        The source to repeat.
    cycle
        The number of the repetition, from 1.
    period_ns
        The difference in event time between one repetition and the next, in nanoseconds.
    """

    source: Source
    cycle: int
    period_ns: int

    @property
    def fingerprints(self) -> Sequence[Fingerprint]:
        """The fingerprints of the source."""
        return self.source.fingerprints

    @property
    def rows(self) -> int:
        """The number of rows of one repetition."""
        return self.source.rows

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[Batch]:
        """Yield the rows of this repetition after a position."""
        for batch in self.source.batches(start_position, batch_rows):
            yield _ShiftedBatch(batch, self.cycle * self.period_ns, self.cycle)


@dataclass(frozen=True)
class _ShiftedBatch:
    """A batch whose records have later times, and trade ids with the number of the repetition."""

    batch: Batch
    shift_ns: int
    cycle: int

    @property
    def height(self) -> int:
        return self.batch.height

    @property
    def records(self) -> pl.DataFrame:
        records = self.batch.records
        columns = [pl.col(name) + self.shift_ns for name in _EVENT_TIME_COLUMNS if name in records.columns]
        if "session_date" in records.columns:
            columns.append(pl.col("session_date") + pl.duration(nanoseconds=self.shift_ns))
        if "trade_id" in records.columns:
            columns.append(pl.concat_str("trade_id", pl.lit(f"#{self.cycle}")))
        return records.with_columns(columns)

    @property
    def rejects(self) -> list[Reject]:
        return self.batch.rejects

    @property
    def event_ns(self) -> pl.Series:
        return self.batch.event_ns + self.shift_ns

    @property
    def position(self) -> tuple[int, ...]:
        return self.batch.position

    def counts(self) -> Mapping[int, Counts]:
        return self.batch.counts()

    def split(self, max_rows: int) -> Iterator["_ShiftedBatch"]:
        for part in self.batch.split(max_rows):
            yield _ShiftedBatch(part, self.shift_ns, self.cycle)

    def slice(self, start: int, length: int) -> "_ShiftedBatch":
        return _ShiftedBatch(self.batch.slice(start, length), self.shift_ns, self.cycle)
