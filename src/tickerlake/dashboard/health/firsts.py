"""What follows an offset: a record, or nothing yet. Remembered, so that Kafka is seldom asked.

Between the offset where somebody stands and the end of a partition there may be no record at all: the end
of a transaction is an offset, too, as are records that were aborted. So the end minus a position is not
what is left to do.
"""

from collections.abc import Mapping
from typing import Final

from tickerlake import clock
from tickerlake.kafka.consumer import Partition
from tickerlake.kafka.peek import First, Peek

_KEPT: Final = 32
_ROUNDS: Final = 3
_AT_ONCE: Final = 256


class Firsts:
    """Answers from memory; `ask` fetches what was wanted and not known."""

    def __init__(self) -> None:
        self._known: dict[Partition, dict[int, First]] = {}  # oldest first
        self._wanted: dict[Partition, set[int]] = {}

    def after(self, place: Partition, offset: int, end: int, *, ask: bool = True) -> First | None:
        """Return the first record at ``offset`` or after it, None if it is not known.

        Parameters
        ----------
        end
            Where the partition ends now: that there was none before an earlier end says nothing.
        ask
            Fetch it at the next `ask`.
        """
        known = self._known.get(place) or {}
        for start, first in known.items():
            # what follows a start follows all offsets up to it, too
            if start <= offset <= first.offset and (not first.is_end or first.offset >= end):
                return first
        if ask:
            self._wanted.setdefault(place, set()).add(offset)
        return None

    def empty_until(self, place: Partition, offset: int) -> int:
        """Return up to where there was no record from ``offset`` on, as far as is known."""
        known = self._known.get(place) or {}
        return max((f.offset for s, f in known.items() if s <= offset <= f.offset), default=offset)

    def ask(self, peek: Peek, within_s: float) -> None:
        """Fetch what was wanted, as far as the time allows; the rest is wanted again at the next look."""
        until_s = clock.monotonic_s() + within_s
        for _ in range(_ROUNDS):
            left_s = until_s - clock.monotonic_s()
            if not self._wanted or left_s <= 0:
                break
            # the furthest first: a record there is one for who stands before it, too
            starts = {place: max(offsets) for place, offsets in list(self._wanted.items())[:_AT_ONCE]}
            self._learn(starts, peek.first(starts, left_s))
        self._wanted.clear()

    def _learn(self, starts: Mapping[Partition, int], found: Mapping[Partition, First]) -> None:
        for place, start in starts.items():
            self._wanted[place].discard(start)
            if not self._wanted[place]:
                del self._wanted[place]
            if place in found:
                known = self._known.setdefault(place, {})
                known.pop(start, None)
                known[start] = found[place]
                while len(known) > _KEPT:
                    del known[next(iter(known))]

    def forget(self, topic: str) -> None:
        """Forget a topic: it was deleted, or its offsets mean other records now."""
        for place in [place for place in self._known if place[0] == topic]:
            del self._known[place]
