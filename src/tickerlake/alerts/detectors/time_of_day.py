"""What is usual at each time of the day: how volatile, how much trade.

The session is cut into parts. Each instrument has a factor for each of them, which begins with a U and learns
from session to session. The factors are a long memory: they are only looked at when the next part begins.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.state_table import State
from tickerlake.model.duration import MINUTE_NS

EVEN_PARTS: Final = 26
"""Parts of the same length: a quarter of an hour of a US session."""

PART_COUNT: Final = EVEN_PARTS + 4
"""The first minute, the four minutes after it, the five before the last …, and the last are apart."""

_EDGE_NS: Final = MINUTE_NS
_NEAR_EDGE_NS: Final = 5 * MINUTE_NS
_LEARNING_RATE: Final = 0.1
_SHRINKAGE_BARS: Final = 5.0
_MIN_FACTOR: Final = 0.1


def volatility_prior(session_fraction: float) -> float:
    """Return a usual course of volatility; ``at`` is 0 at the open and 1 at the close.

    High at the open, falling within the first hour, a little higher at the close: as US stocks and indices
    are (Andersen and Bollerslev, "Intraday periodicity and volatility persistence in financial markets",
    Journal of Empirical Finance 4, 1997).
    """
    return 0.8 + 1.2 * (1 - session_fraction) ** 8 + 0.35 * session_fraction**8


def volume_prior(session_fraction: float) -> float:
    """Return a usual course of volume: the same U, with a higher close."""
    return 0.7 + 1.6 * (1 - session_fraction) ** 8 + 1.5 * session_fraction**10


class TimeOfDayProfile:
    """Factors by the time of day.

    Parameters
    ----------
    prior
        The course at first.
    edges
        By how much the first and the last minute are above their quarters of an hour.
    """

    fields: Final = {"factor": 1.0, "part": np.nan, "until": np.nan, "sum": 0.0, "seen": 0.0}
    """What is kept at hand; times in nanoseconds."""

    def __init__(self, prior: Callable[[float], float], edge_multipliers: tuple[float, float]) -> None:
        course = [prior((part + 0.5) / EVEN_PARTS) for part in range(EVEN_PARTS)]
        mean = sum(course) / EVEN_PARTS
        course = [factor / mean for factor in course]
        first, last = course[0], course[-1]
        course += [
            first * edge_multipliers[0],
            first * edge_multipliers[0] ** 0.5,
            last * edge_multipliers[1] ** 0.5,
            last * edge_multipliers[1],
        ]
        self.history_fields = {f"part{number}": factor for number, factor in enumerate(course)}

    @staticmethod
    def rollover_due(state: State, bars: Bars) -> Flags:
        """Tell for which bars another part of the session begins."""
        # `not <` is true for those that have no part yet
        return ~(bars.ts_open_ns < state["until"]) | bars.first_of_session

    @staticmethod
    def record(state: State, sample: Floats) -> None:
        """Take what was seen in this part; 1 is usual for a whole day, and NaN nothing."""
        missing = np.isnan(sample)
        if np.count_nonzero(missing):
            sample = np.where(missing, 0.0, sample)
            state["seen"][:] -= missing
        state["sum"][:] += sample
        state["seen"][:] += 1.0

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Put away what was learned in the last part, and bring the factor of the next."""
        columns = np.arange(len(bars))
        factors = np.stack([history[name] for name in self.history_fields])
        old = np.where(np.isnan(state["part"]), 0, state["part"]).astype(np.int64)
        weight = _LEARNING_RATE * state["seen"] / (state["seen"] + _SHRINKAGE_BARS)
        mean = state["sum"] / np.maximum(state["seen"], 1.0)
        now = factors[old, columns]
        factors[old, columns] = np.maximum(_MIN_FACTOR, now + weight * (mean - now))
        self._normalize(factors)
        part, until_ns = session_parts(bars)
        state["factor"][:], state["part"][:], state["until"][:] = factors[part, columns], part, until_ns
        state["sum"][:] = state["seen"][:] = 0.0
        for number, name in enumerate(self.history_fields):
            history[name][:] = factors[number]

    @staticmethod
    def _normalize(factors: Floats) -> None:
        """Keep the mean of the even parts at 1."""
        # one after another: the order of a sum must not depend on how many instruments there are
        total = factors[0].copy()
        for number in range(1, EVEN_PARTS):
            total += factors[number]
        factors *= EVEN_PARTS / total


def session_parts(bars: Bars) -> tuple[Ints, Floats]:
    """Return the part of the session that each bar begins in, and when that ends, in nanoseconds."""
    length = np.maximum(bars.session_close_ns - bars.session_open_ns, 1)
    gone = np.clip(bars.ts_open_ns - bars.session_open_ns, 0, length - 1)
    left = length - gone
    number = gone * EVEN_PARTS // length
    end = (number + 1) * length // EVEN_PARTS
    near_end = left <= _NEAR_EDGE_NS
    end = np.where(
        near_end,
        np.where(left <= _EDGE_NS, length, length - _EDGE_NS),
        np.minimum(end, length - _NEAR_EDGE_NS),
    )
    end = np.where(gone < _NEAR_EDGE_NS, np.where(gone < _EDGE_NS, _EDGE_NS, _NEAR_EDGE_NS), end)
    number = np.where(near_end, np.where(left <= _EDGE_NS, EVEN_PARTS + 3, EVEN_PARTS + 2), number)
    number = np.where(gone < _NEAR_EDGE_NS, np.where(gone < _EDGE_NS, EVEN_PARTS, EVEN_PARTS + 1), number)
    return number, (bars.session_open_ns + end).astype(np.float64)
