"""How fast offsets advance. Pure."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Final, Generic, TypeVar

WINDOW_S: Final = 10.5
"""Looks of every two seconds make ten seconds of this."""

_Key = TypeVar("_Key", bound=Hashable)


class Rates(Generic[_Key]):
    """Compares offsets with those of about ten seconds ago."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[_Key, int]]] = deque()

    def add(self, now_s: float, offsets: Mapping[_Key, int]) -> None:
        """Note the offsets of a moment."""
        while self._samples and now_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()
        self._samples.append((now_s, offsets))

    def clear(self) -> None:
        """Forget all: what follows is not to be compared with what was."""
        self._samples.clear()

    def rate(self, key: _Key) -> float:
        """Return offsets a second; a place that is new, or began anew, has not advanced."""
        if len(self._samples) < 2:
            return 0.0
        now_s, offsets = self._samples[-1]
        marks = [(then_s, then[key]) for then_s, then in self._samples if key in then]
        if len(marks) < 2 or key not in offsets or marks[0][0] >= now_s:
            return 0.0
        return max(0, offsets[key] - marks[0][1]) / (now_s - marks[0][0])
