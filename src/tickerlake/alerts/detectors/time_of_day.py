"""Time-of-day profiles: the usual volatility or volume in each part of a session.

A session is divided into parts, and each instrument has a factor for each part. The factors start as a U
shape and are updated from session to session. They are history state (`Detector.roll_over`), read only when a
part begins.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from tickerlake.alerts.detectors.detector import Detector
from tickerlake.analytics.bars import Bars, Flags, Floats, Ints
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.duration import MINUTE_NS

EVEN_PARTS: Final = 26
"""Parts of equal length: 15 minutes of a US session of 390 minutes."""

PART_COUNT: Final = EVEN_PARTS + 4
"""With a part each for the first minute, the next four, the last minute, and the four before it."""

WINSOR_LIMIT: Final = 4.0
"""Samples count for at most four times the usual size, so that one jump does not hide the next."""

_EDGE_NS: Final = MINUTE_NS
_NEAR_EDGE_NS: Final = 5 * MINUTE_NS

_EXTENDED_PART_NS: Final = 30 * MINUTE_NS

_LEARNING_RATE: Final = 0.1
"""Weight of a session in a factor: a memory of about ten sessions."""

_SHRINKAGE_BARS: Final = 5.0
"""A part with this many bars gets half the weight: few bars say little about the part."""

_MIN_FACTOR: Final = 0.1
"""Keeps a part without trades from making the next trade in it look endless."""


def volatility_prior(session_fraction: float) -> float:
    """Return the initial factor of volatility; ``session_fraction`` is 0 at the open and 1 at the close.

    High at the open, falling within the first hour, and slightly higher at the close, like US stocks and
    indices (Andersen and Bollerslev, "Intraday periodicity and volatility persistence in financial markets",
    Journal of Empirical Finance 4, 1997). Only the shape is theirs: the coefficients are a plain U, which the
    data of each instrument replaces.
    """
    return 0.8 + 1.2 * (1 - session_fraction) ** 8 + 0.35 * session_fraction**8


def volume_prior(session_fraction: float) -> float:
    """Return the initial factor of volume: the same U with a higher close."""
    return 0.7 + 1.6 * (1 - session_fraction) ** 8 + 1.5 * session_fraction**10


def _flat_prior(session_fraction: float) -> float:
    """Return the initial factor outside regular hours, which have no shape that all instruments share."""
    return 1.0


class TimeOfDayProfile:
    """Factors by time of day.

    Parameters
    ----------
    prior
        Returns the initial factor at a fraction of the session.
    edge_multipliers
        The factors of the first and the last minute, relative to those of the first and the last part.
    """

    fields: Final = {"factor": 1.0, "part": np.nan, "until": np.nan, "sum": 0.0, "samples": 0.0}
    """The state of the current part; ``until`` is its end in nanoseconds."""

    def __init__(self, prior: Callable[[float], float], edge_multipliers: tuple[float, float]) -> None:
        factors = [prior((part + 0.5) / EVEN_PARTS) for part in range(EVEN_PARTS)]
        mean = sum(factors) / EVEN_PARTS
        factors = [factor / mean for factor in factors]
        first, last = factors[0], factors[-1]
        factors += [
            first * edge_multipliers[0],
            first * edge_multipliers[0] ** 0.5,
            last * edge_multipliers[1] ** 0.5,
            last * edge_multipliers[1],
        ]
        self.history_fields = {f"part{number}": factor for number, factor in enumerate(factors)}

    @staticmethod
    def rollover_due(state: State, bars: Bars) -> Flags:
        """Return which bars begin another part of the session."""
        # not `>=`: ``until`` is NaN before the first part
        return ~(bars.ts_open_ns < state["until"]) | bars.first_of_phase

    @staticmethod
    def record(state: State, sample: Floats) -> None:
        """Add a sample of the current part, where 1 is the mean of a session; NaN is skipped."""
        missing = np.isnan(sample)
        if np.count_nonzero(missing):
            sample = np.where(missing, 0.0, sample)
            state["samples"][:] -= missing
        state["sum"][:] += sample
        state["samples"][:] += 1.0

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Update the factor of the part that ended, and load the one of the next part."""
        columns = np.arange(len(bars))
        factors = np.stack([history[name] for name in self.history_fields])
        ended = np.where(np.isnan(state["part"]), 0, state["part"]).astype(np.int64)
        weight = _LEARNING_RATE * state["samples"] / (state["samples"] + _SHRINKAGE_BARS)
        mean = state["sum"] / np.maximum(state["samples"], 1.0)
        factor = factors[ended, columns]
        factors[ended, columns] = np.maximum(_MIN_FACTOR, factor + weight * (mean - factor))
        self._normalize(factors)
        part, until_ns = session_parts(bars)
        state["factor"][:], state["part"][:], state["until"][:] = factors[part, columns], part, until_ns
        state["sum"][:] = state["samples"][:] = 0.0
        for number, name in enumerate(self.history_fields):
            history[name][:] = factors[number]

    @staticmethod
    def _normalize(factors: Floats) -> None:
        """Scale the factors so that the mean of the even parts is 1."""
        # not `sum`: the order of additions must not depend on the number of instruments
        total = factors[0].copy()
        for number in range(1, EVEN_PARTS):
            total += factors[number]
        factors *= EVEN_PARTS / total


class ProfiledDetector(Detector):
    """A detector that divides by what is usual at the time of day."""

    has_baseline = True

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        self.profile: TimeOfDayProfile | None = None
        super().__init__(arguments, interval)

    def _add_profile(
        self, prior: Callable[[float], float], edge_multipliers: tuple[float, float]
    ) -> dict[str, float]:
        """Set the profile, and return its fields; bars longer than a minute blur the edges of a session."""
        edges = edge_multipliers if self.interval_ns <= MINUTE_NS else (1.0, 1.0)
        self.profile = (
            TimeOfDayProfile(_flat_prior, (1.0, 1.0)) if self.is_extended else TimeOfDayProfile(prior, edges)
        )
        return self.profile.fields

    def history_fields(self) -> Fields | None:
        """Return the factors of all parts."""
        return Fields(self.profile.history_fields) if self.profile else None

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Return which bars begin another part of the session."""
        return TimeOfDayProfile.rollover_due(state, bars)

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Switch to the part of the session that begins."""
        assert self.profile is not None
        self.profile.roll_over(history, state, bars)


def session_parts(bars: Bars) -> tuple[Ints, Floats]:
    """Return the part of the session that each bar begins in, and the end of that part in nanoseconds.

    The time before the open is the first half of the parts, in half-hours up to the open; the time after the
    close is the second half, in half-hours from the close. A detector has either these or regular hours.
    """
    number, end_ns = _regular_parts(bars)
    regular = bars.is_regular
    if np.count_nonzero(regular) == len(bars):
        return number, end_ns
    before = bars.ts_open_ns < bars.session_open_ns
    anchor_ns = np.where(before, bars.session_open_ns, bars.session_close_ns)
    half_hour = (bars.ts_open_ns - anchor_ns) // _EXTENDED_PART_NS
    extended = np.clip(half_hour + EVEN_PARTS // 2, np.where(before, 0, EVEN_PARTS // 2), EVEN_PARTS - 1)
    extended_end_ns = anchor_ns + (half_hour + 1) * _EXTENDED_PART_NS
    return np.where(regular, number, extended), np.where(regular, end_ns, extended_end_ns.astype(np.float64))


def _regular_parts(bars: Bars) -> tuple[Ints, Floats]:
    length = np.maximum(bars.session_close_ns - bars.session_open_ns, 1)
    elapsed = np.clip(bars.ts_open_ns - bars.session_open_ns, 0, length - 1)
    left = length - elapsed
    number = elapsed * EVEN_PARTS // length
    end = (number + 1) * length // EVEN_PARTS
    near_end = left <= _NEAR_EDGE_NS
    end = np.where(
        near_end,
        np.where(left <= _EDGE_NS, length, length - _EDGE_NS),
        np.minimum(end, length - _NEAR_EDGE_NS),
    )
    end = np.where(elapsed < _NEAR_EDGE_NS, np.where(elapsed < _EDGE_NS, _EDGE_NS, _NEAR_EDGE_NS), end)
    number = np.where(near_end, np.where(left <= _EDGE_NS, EVEN_PARTS + 3, EVEN_PARTS + 2), number)
    number = np.where(
        elapsed < _NEAR_EDGE_NS, np.where(elapsed < _EDGE_NS, EVEN_PARTS, EVEN_PARTS + 1), number
    )
    return number, (bars.session_open_ns + end).astype(np.float64)
