"""When the rows of a file are due: at once, by count, or by event time. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from tickerlake.errors import UsageError
from tickerlake.sources.source import Batch

_TICK_S = 0.1


@dataclass(slots=True)
class Pace:
    """Cuts batches into parts and says when each is due.

    Rows that are due within a tenth of a second go together.

    Parameters
    ----------
    rate_s
        Rows a second.
    speed
        Seconds of event time that pass in a second: 60 sends an hour of bars in a minute. The first row
        with a time is due at once; a row that is older than one before it is due with that one.
    """

    rate_s: float | None = None
    speed: float | None = None
    _rows: int = 0
    _first_ns: int | None = None
    _due_s: float = 0.0

    def __post_init__(self) -> None:
        if self.rate_s is not None and self.speed is not None:
            raise UsageError("--rate and --speed both say how fast.", "Give one of them.")

    def parts(self, table: Batch) -> Iterator[tuple[float, Batch]]:
        """Yield the parts of a batch, each with the second, counted from the first row, when it is due."""
        if self.rate_s is not None:
            yield from self._by_count(table, self.rate_s)
        elif self.speed is not None:
            yield from self._by_time(table, self.speed)
        else:
            yield 0.0, table

    def _by_count(self, table: Batch, rate_s: float) -> Iterator[tuple[float, Batch]]:
        most = max(1, int(rate_s * _TICK_S))
        for part in table.split(most):
            yield self._rows / rate_s, part
            self._rows += len(part.rows)

    def _by_time(self, table: Batch, speed: float) -> Iterator[tuple[float, Batch]]:
        events = table.event_ns
        if self._first_ns is None and events.count():
            self._first_ns = events.drop_nulls()[0]
        due_s = ((events - (self._first_ns or 0)) / (1e9 * speed)).cum_max().forward_fill()
        # rows before the first bar of a batch are due with the last of the batch before
        due_s = due_s.fill_null(self._due_s).clip(self._due_s, None)
        ticks = (due_s / _TICK_S).floor().rle().struct.field("len")
        start = 0
        for length in ticks:
            self._due_s = due_s[start]
            yield self._due_s, table.cut(start, length)
            start += length
