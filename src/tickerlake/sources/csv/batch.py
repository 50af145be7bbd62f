"""Parsed rows in the order of the output: sorted, without duplicate bars, and cut into batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from tickerlake.model.reject import Reject, RejectReason
from tickerlake.sources.csv.detect.lines.rows import LINE, RAW
from tickerlake.sources.csv.parse import (
    EVENT_NS,
    FILE_NUMBER,
    INTERNAL_COLUMNS,
    IS_RECORD,
    IS_REJECT,
    REASON,
)
from tickerlake.sources.source import Counts

_ROW_INDEX: Final = "_index"
_DUPLICATE_REASON: Final = "_duplicate_reason"
_KEY_COLUMNS: Final = ("ts_open_ns", "symbol", "interval", "price_type")
_VALUE_COLUMNS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class CsvBatch:
    """A batch of rows of one file, or of several merged files.

    Parameters
    ----------
    rows
        Parsed rows (records, rejects and skipped lines) in the order of the output. With several files, the
        column ``_file`` has the number of each row's file.
    position
        For each file: the number of rows of its output up to the end of this batch.
    """

    rows: pl.DataFrame
    position: tuple[int, ...]

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.rows.height

    @property
    def records(self) -> pl.DataFrame:
        """The records in canonical columns."""
        return self.rows.filter(IS_RECORD).drop(*INTERNAL_COLUMNS, FILE_NUMBER, strict=False)

    @property
    def rejects(self) -> list[Reject]:
        """The rows that cannot become records."""
        return extract_rejects(self.rows)

    @property
    def event_ns(self) -> pl.Series:
        """The event time of each record, in nanoseconds since 1970; null for other rows."""
        return self.rows.select(pl.when(IS_RECORD).then(EVENT_NS).alias("event_ns")).to_series()

    def counts(self) -> dict[int, Counts]:
        """Count records and rejects by number of the file."""
        sums = (IS_RECORD.sum().alias("records"), IS_REJECT.sum().alias("rejects"))
        if FILE_NUMBER not in self.rows.columns:
            return {0: Counts(*self.rows.select(sums).row(0))}
        by_file = self.rows.group_by(FILE_NUMBER).agg(sums)
        return {number: Counts(records, rejects) for number, records, rejects in by_file.iter_rows()}

    def slice(self, start: int, length: int) -> "CsvBatch":
        """Return some of the rows as a batch."""
        rows, after = self.rows.slice(start, length), self.rows.slice(start + length)
        if FILE_NUMBER not in self.rows.columns:
            return CsvBatch(rows, (self.position[0] - after.height,))
        remaining = dict(after.get_column(FILE_NUMBER).value_counts().iter_rows())
        return CsvBatch(
            rows, tuple(count - remaining.get(number, 0) for number, count in enumerate(self.position))
        )

    def split(self, max_rows: int) -> Iterator["CsvBatch"]:
        """Yield the rows in batches of ``max_rows``; with several files, rows of one instant stay together.

        Duplicates are found among all rows of an instant, so reading cannot resume in the middle of one.
        """
        start, events = 0, self.rows.get_column(EVENT_NS)
        while start < self.rows.height:
            end = min(start + max_rows, self.rows.height)
            if FILE_NUMBER in self.rows.columns:
                end = max(int(events.search_sorted(events[end - 1], side="right")), end)
            yield self.slice(start, end - start)
            start = end


def extract_rejects(rows: pl.DataFrame) -> list[Reject]:
    """Return the rejects among parsed rows."""
    rejected = rows.filter(IS_REJECT).select("source", LINE, REASON, RAW)
    return [Reject(source, line, reason, raw) for source, line, reason, raw in rejected.iter_rows()]


def fill_reject_times(tables: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Give every reject the time of the record before it, so that every row can be ordered by time."""
    last = 0
    for rows in tables:
        filled = rows.with_columns(pl.col(EVENT_NS).forward_fill().fill_null(last))
        last = filled.get_column(EVENT_NS)[-1] if filled.height else last
        yield filled


def sort_rows(rows: pl.DataFrame, *, newest_first: bool = False) -> pl.DataFrame:
    """Return parsed rows by time, symbol, sequence and line; a reject stays with the record before it.

    Parameters
    ----------
    newest_first
        True for a file that runs backward: rows of one time are reversed as well.
    """
    ties = [name for name in ("symbol", FILE_NUMBER, "sequence") if name in rows.columns]
    return rows.sort(
        EVENT_NS, *ties, LINE, descending=[False] * (1 + len(ties)) + [newest_first], nulls_last=False
    )


def reject_duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """Reject every bar whose key an earlier bar has.

    Parameters
    ----------
    rows
        Parsed rows in order, with all rows of an instant, so that the rows of a key are together.
    """
    if "ts_open_ns" not in rows.columns:
        return rows
    bars = rows.with_row_index(_ROW_INDEX).filter(IS_RECORD)
    is_duplicate = ~pl.struct(_KEY_COLUMNS).is_first_distinct()
    if not bars.select(is_duplicate.any()).item():
        return rows
    reasons = bars.select(
        _ROW_INDEX, pl.when(is_duplicate).then(_duplicate_reason(bars)).alias(_DUPLICATE_REASON)
    )
    marked = rows.with_row_index(_ROW_INDEX).join(reasons, on=_ROW_INDEX, how="left", maintain_order="left")
    return marked.with_columns(pl.coalesce(REASON, _DUPLICATE_REASON).alias(REASON)).drop(
        _DUPLICATE_REASON, _ROW_INDEX
    )


def _duplicate_reason(bars: pl.DataFrame) -> pl.Expr:
    """Return the reason by whether a bar has the values of the first one with its key."""
    values = [name for name in _VALUE_COLUMNS if name in bars.columns]
    is_equal = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(name).first().over(_KEY_COLUMNS)) for name in values
    )
    return (
        pl.when(is_equal)
        .then(pl.lit(RejectReason.DUPLICATE_KEY))
        .otherwise(pl.lit(RejectReason.CONFLICTING_DUPLICATE))
    )
