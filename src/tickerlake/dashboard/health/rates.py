"""How fast offsets advance. Pure."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Final, Generic, TypeVar

WINDOW_S: Final = 10.5
"""Looks of every two seconds make ten seconds of this."""

_Place = TypeVar("_Place", bound=Hashable)


class Rates(Generic[_Place]):
    """Compares offsets with those of about ten seconds ago."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, Mapping[_Place, int]]] = deque()

    def mark(self, now_s: float, offsets: Mapping[_Place, int]) -> None:
        """Note the offsets of a moment."""
        while self._marks and now_s - self._marks[0][0] > WINDOW_S:
            self._marks.popleft()
        self._marks.append((now_s, offsets))

    def clear(self) -> None:
        """Forget all: what follows is not to be compared with what was."""
        self._marks.clear()

    def of(self, place: _Place) -> float:
        """Return offsets a second; a place that is new, or began anew, has not advanced."""
        if len(self._marks) < 2:
            return 0.0
        now_s, offsets = self._marks[-1]
        marks = [(then_s, then[place]) for then_s, then in self._marks if place in then]
        if len(marks) < 2 or place not in offsets or marks[0][0] >= now_s:
            return 0.0
        return max(0, offsets[place] - marks[0][1]) / (now_s - marks[0][0])
