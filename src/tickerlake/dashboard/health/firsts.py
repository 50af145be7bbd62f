"""What follows an offset: a record, or nothing yet. Remembered, so that Kafka is seldom asked.

Between the offset where somebody stands and the end of a partition there may be no record at all: the end
of a transaction is an offset, too, as are records that were aborted. So the end minus a position is not
what is left to do.
"""

from collections.abc import Mapping
from typing import Final

from tickerlake import clock
from tickerlake.kafka.client import Partition
from tickerlake.kafka.probe import NextRecord, OffsetProbe

_MAX_CACHED: Final = 32
_MAX_ROUNDS: Final = 3
_BATCH_SIZE: Final = 256


class NextRecordCache:
    """Answers from memory; `ask` fetches what was wanted and not known."""

    def __init__(self) -> None:
        self._cached: dict[Partition, dict[int, NextRecord]] = {}  # oldest first
        self._pending: dict[Partition, set[int]] = {}

    def find_after(
        self, partition: Partition, offset: int, end: int, *, fetch: bool = True
    ) -> NextRecord | None:
        """Return the first record at ``offset`` or after it, None if it is not known.

        Parameters
        ----------
        end
            Where the partition ends now: that there was none before an earlier end says nothing.
        ask
            Fetch it at the next `ask`.
        """
        cached = self._cached.get(partition) or {}
        for start, first in cached.items():
            # what follows a start follows all offsets up to it, too
            if start <= offset <= first.offset and (not first.is_end or first.offset >= end):
                return first
        if fetch:
            self._pending.setdefault(partition, set()).add(offset)
        return None

    def empty_until(self, partition: Partition, offset: int) -> int:
        """Return up to where there was no record from ``offset`` on, as far as is known."""
        cached = self._cached.get(partition) or {}
        return max((f.offset for s, f in cached.items() if s <= offset <= f.offset), default=offset)

    def fetch_pending(self, probe: OffsetProbe, timeout_s: float) -> None:
        """Fetch what was wanted, as far as the time allows; the rest is wanted again at the next look."""
        deadline_s = clock.monotonic_s() + timeout_s
        for _ in range(_MAX_ROUNDS):
            remaining_s = deadline_s - clock.monotonic_s()
            if not self._pending or remaining_s <= 0:
                break
            # the furthest first: a record there is one for who stands before it, too
            starts = {place: max(offsets) for place, offsets in list(self._pending.items())[:_BATCH_SIZE]}
            self._update(starts, probe.next_records(starts, remaining_s))
        self._pending.clear()

    def _update(self, starts: Mapping[Partition, int], records: Mapping[Partition, NextRecord]) -> None:
        for place, start in starts.items():
            self._pending[place].discard(start)
            if not self._pending[place]:
                del self._pending[place]
            if place in records:
                cached = self._cached.setdefault(place, {})
                cached.pop(start, None)
                cached[start] = records[place]
                while len(cached) > _MAX_CACHED:
                    del cached[next(iter(cached))]

    def discard(self, topic: str) -> None:
        """Forget a topic: it was deleted, or its offsets mean other records now."""
        for place in [place for place in self._cached if place[0] == topic]:
            del self._cached[place]
