"""Bars and indicators in memory, by interval, up to a maximum number of rows.

Rows are stored in the order of arrival, as chunks of columns. A chart filters them: a million rows take a few
milliseconds, and nothing has to be kept sorted while records arrive.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import polars as pl

_CHUNK_ROWS: Final = 50_000
"""Rows are dropped by the chunk: a fraction of the history that is small against it."""
_MAX_FRESH_FRAMES: Final = 50
"""Frames to merge at once: merging each would copy the chunk every time, many frames slow the filter down."""


@dataclass(slots=True)
class _IntervalRows:
    """The rows of one interval: chunks, oldest first, and frames not yet merged into one."""

    chunks: deque[pl.DataFrame] = field(default_factory=deque)
    fresh: list[pl.DataFrame] = field(default_factory=list)
    fresh_row_count: int = 0
    row_count: int = 0
    has_dropped: bool = False

    def add(self, frame: pl.DataFrame) -> None:
        self.fresh.append(frame)
        self.fresh_row_count += frame.height
        self.row_count += frame.height
        if self.fresh_row_count >= _CHUNK_ROWS or len(self.fresh) >= _MAX_FRESH_FRAMES:
            merged = pl.concat(self.fresh, how="diagonal", rechunk=True)
            self.fresh, self.fresh_row_count = [], 0
            if self.chunks and self.chunks[-1].height + merged.height <= _CHUNK_ROWS:
                merged = pl.concat([self.chunks.pop(), merged], how="diagonal", rechunk=True)
            self.chunks.append(merged)

    def drop_oldest(self) -> None:
        if self.chunks:
            self.row_count -= self.chunks.popleft().height
            self.has_dropped = True


class RowHistory:
    """Rows with the columns id, open_ns and others, by interval.

    Parameters
    ----------
    max_rows
        Total number of rows; beyond it the oldest chunk of the interval with the most rows is dropped.
    """

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self._rows: dict[str, _IntervalRows] = {}

    def add(self, interval: str, frame: pl.DataFrame) -> None:
        """Append rows of one interval."""
        if frame.is_empty():
            return
        self._rows.setdefault(interval, _IntervalRows()).add(frame)
        while sum(rows.row_count for rows in self._rows.values()) > self.max_rows:
            largest = max(self._rows.values(), key=lambda rows: rows.row_count)
            if not largest.chunks:
                break
            largest.drop_oldest()

    def has_dropped_rows(self, interval: str) -> bool:
        """Whether rows of an interval were dropped."""
        return interval in self._rows and self._rows[interval].has_dropped

    def intervals(self) -> list[str]:
        """Return the intervals that have rows."""
        return list(self._rows)

    def frames(self, interval: str) -> list[pl.DataFrame]:
        """Return the frames of an interval; they are immutable, so they can be read without a lock."""
        rows = self._rows.get(interval)
        return [*rows.chunks, *rows.fresh] if rows else []


def newest_rows(frames: list[pl.DataFrame], number: int, end_ns: int | None, limit: int) -> pl.DataFrame:
    """Return the last rows of an instrument that open before a time, oldest first, one per opening time.

    Of the rows of one opening time, the one with the highest ``revision`` wins, or else the last one.
    """
    condition = pl.col("id") == number
    if end_ns is not None:
        condition &= pl.col("open_ns") < end_ns
    parts = [part for frame in frames if (part := frame.filter(condition)).height]
    if not parts:
        return pl.DataFrame()
    rows = pl.concat(parts, how="diagonal")
    by = ["open_ns", "revision"] if "revision" in rows.columns else ["open_ns"]
    return rows.sort(by, maintain_order=True).unique("open_ns", keep="last", maintain_order=True).tail(limit)
