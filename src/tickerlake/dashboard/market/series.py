"""Bars and indicators in memory, by interval, up to a number of rows.

Rows are kept in the order in which they came, as chunks of columns. To show an instrument they are filtered:
a million rows take a few milliseconds, and nothing has to be kept sorted while data flow.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import polars as pl

_CHUNK: Final = 50_000


@dataclass(slots=True)
class _Rows:
    """The rows of one interval: whole chunks, oldest first, and what is not a whole one yet."""

    chunks: deque[pl.DataFrame] = field(default_factory=deque)
    fresh: list[pl.DataFrame] = field(default_factory=list)
    fresh_rows: int = 0
    rows: int = 0
    dropped: bool = False

    def add(self, frame: pl.DataFrame) -> None:
        self.fresh.append(frame)
        self.fresh_rows += frame.height
        self.rows += frame.height
        if self.fresh_rows >= _CHUNK or len(self.fresh) >= _SMALL:
            merged = pl.concat(self.fresh, how="diagonal", rechunk=True)
            self.fresh, self.fresh_rows = [], 0
            if self.chunks and self.chunks[-1].height + merged.height <= _CHUNK:
                merged = pl.concat([self.chunks.pop(), merged], how="diagonal", rechunk=True)
            self.chunks.append(merged)

    def drop(self) -> None:
        if self.chunks:
            self.rows -= self.chunks.popleft().height
            self.dropped = True


_SMALL: Final = 50


class Series:
    """Rows with the columns id, open_ns and others, by interval.

    Parameters
    ----------
    most
        Rows kept in all; beyond that the oldest chunk of the interval that has most is dropped.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._rows: dict[str, _Rows] = {}

    def add(self, interval: str, frame: pl.DataFrame) -> None:
        """Add rows of one interval, newer than those that are there."""
        if frame.is_empty():
            return
        self._rows.setdefault(interval, _Rows()).add(frame)
        while sum(rows.rows for rows in self._rows.values()) > self.most:
            fullest = max(self._rows.values(), key=lambda rows: rows.rows)
            if not fullest.chunks:
                break
            fullest.drop()

    def __len__(self) -> int:
        return sum(rows.rows for rows in self._rows.values())

    def is_full(self, interval: str) -> bool:
        """Tell whether rows of an interval had to be dropped."""
        return interval in self._rows and self._rows[interval].dropped

    def intervals(self) -> list[str]:
        """Return the intervals of which there are rows."""
        return list(self._rows)

    def frames(self, interval: str) -> list[pl.DataFrame]:
        """Return the chunks of an interval; they never change, so they can be read without a lock."""
        rows = self._rows.get(interval)
        return [*rows.chunks, *rows.fresh] if rows else []


def newest(frames: list[pl.DataFrame], number: int, end_ns: int | None, limit: int) -> pl.DataFrame:
    """Return the last rows of an instrument that open before a time, ascending, each key once.

    Of rows that open at the same time the one with the highest ``revision`` counts, or else the last.
    """
    mine = pl.col("id") == number
    if end_ns is not None:
        mine &= pl.col("open_ns") < end_ns
    found = [part for frame in frames if (part := frame.filter(mine)).height]
    if not found:
        return pl.DataFrame()
    rows = pl.concat(found, how="diagonal")
    by = ["open_ns", "revision"] if "revision" in rows.columns else ["open_ns"]
    return rows.sort(by, maintain_order=True).unique("open_ns", keep="last", maintain_order=True).tail(limit)
