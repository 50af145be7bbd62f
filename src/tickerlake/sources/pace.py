"""When the rows of a file are due: at once, by count, or by event time. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from tickerlake.errors import UsageError
from tickerlake.sources.source import Batch

_TICK_S = 0.1
"""Rows due within this time are sent together: shorter ticks would mean too many small transactions."""


@dataclass(slots=True)
class Pace:
    """Cuts batches into parts, each with the time when it is due.

    Rows that are due within a tenth of a second stay together.

    Parameters
    ----------
    rows_per_s
        Rows per second.
    speed
        Seconds of event time per second: 60 sends an hour of bars in a minute. The first row with a time is
        due at once; a row that is older than one before it is due with that one.
    max_wait_s
        The longest wait, in seconds, for a gap in event time such as a night.
    paced_from_ns
        Rows before this event time, in nanoseconds, are due at once.
    """

    rows_per_s: float | None = None
    speed: float | None = None
    max_wait_s: float | None = None
    paced_from_ns: int | None = None
    _rows: int = 0
    _last_ns: int | None = None
    _elapsed_s: float = 0.0

    def __post_init__(self) -> None:
        if self.rows_per_s is not None and self.speed is not None:
            raise UsageError("--rate and --speed are mutually exclusive.", "Specify one of them.")

    def parts(self, batch: Batch) -> Iterator[tuple[float, Batch]]:
        """Yield the parts of a batch, each with the seconds from the first row until it is due."""
        if self.rows_per_s is not None:
            yield from self._parts_by_count(batch, self.rows_per_s)
        elif self.speed is not None:
            yield from self._parts_by_time(batch, self.speed)
        else:
            yield 0.0, batch

    def _parts_by_count(self, batch: Batch, rows_per_s: float) -> Iterator[tuple[float, Batch]]:
        max_rows = max(1, int(rows_per_s * _TICK_S))
        for part in batch.split(max_rows):
            yield self._rows / rows_per_s, part
            self._rows += part.height

    def _parts_by_time(self, batch: Batch, speed: float) -> Iterator[tuple[float, Batch]]:
        # a row without a time, or one that is late, is due with the one before it
        events = batch.event_ns.fill_null(strategy="forward").cum_max()
        if self._last_ns is None and events.count():
            self._last_ns = events.drop_nulls()[0]
        events = events.fill_null(self._last_ns or 0).clip(self._last_ns, None)
        paced = events if self.paced_from_ns is None else events.clip(self.paced_from_ns, None)
        before_ns = max(self._last_ns or 0, self.paced_from_ns or 0)
        waits_s = (paced - paced.shift(1, fill_value=before_ns)) / (1e9 * speed)
        due_s = waits_s.clip(0.0, self.max_wait_s).cum_sum() + self._elapsed_s
        if self._last_ns is not None:
            self._last_ns, self._elapsed_s = int(events[-1]), float(due_s[-1])
        ticks = (due_s / _TICK_S).floor().rle().struct.field("len")
        start = 0
        for length in ticks:
            yield float(due_s[start]), batch.slice(start, length)
            start += length
