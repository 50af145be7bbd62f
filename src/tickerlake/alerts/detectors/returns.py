"""Returns that are unusual for the instrument and the time of day: ``zscore`` and ``jump``."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.detectors.time_of_day import (
    WINSOR_LIMIT,
    ProfiledDetector,
    TimeOfDayProfile,
    volatility_prior,
)
from tickerlake.analytics.bars import Bars, Flags, Floats
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Unit
from tickerlake.model.duration import MINUTE_NS

_MEAN_ABS_NORMAL: Final = math.sqrt(2 / math.pi)
"""The mean of |x| of a standard normal x."""

_EDGE_MULTIPLIERS: Final = (1.4, 1.0)
"""The first minute moves more than the rest of its part."""

_SESSION_MINUTES: Final = 390
_DAYS_PER_YEAR: Final = 252
_DAYS_PER_MONTH: Final = 21
_MAX_MISSING_INTERVALS: Final = 30.0
"""A longer gap does not widen the expected return further: what happened in it is not known."""

_MIN_SIGMA_TICKS: Final = 0.5
"""A smaller sigma would make news of a price that alternates between two ticks."""

_MIN_SIGMA: Final = 1e-6
"""Prevents a division by zero after bars without a move."""

_MAX_SIGMA_FLOOR: Final = 0.01
"""Bounds the floor for penny stocks, whose tick is a large share of the price."""

_RETURN_FIELDS: Final = {"close": np.nan, "closed": np.nan, "tick": np.inf}
"""The last close, its time (ns), and the smallest price change so far."""


class ReturnDetector(ProfiledDetector):
    """Returns in units of their usual size at the time of day."""

    unit: ClassVar[Unit] = "sigma"
    # about as many returns as the default decay of `ZScore` averages over
    warmup = 30
    doubles_in = "price"
    price_fields = ("close",)

    def _return_fields(self) -> dict[str, float]:
        if self.is_daily or not self.arguments["time_of_day"]:
            return dict(_RETURN_FIELDS)
        return {**_RETURN_FIELDS, **self._add_profile(volatility_prior, _EDGE_MULTIPLIERS)}

    def _normalized_return(self, state: State, bars: Bars) -> tuple[Floats, Floats, Floats]:
        """Return the returns of one interval at an average time of day, their references, and the scale."""
        change, reference, width = _log_returns(state, bars, self.interval_ns, daily=self.is_daily)
        scale = width if self.is_daily else np.sqrt(width)
        if self.profile:
            scale = scale * state["factor"]
        return change / scale, reference, scale


class ZScore(ReturnDetector):
    r"""Return in units of the standard deviation of earlier returns: the default detector.

    The variance is an exponentially weighted mean of squared returns with weight ``decay`` (RiskMetrics
    Technical Document, 4th ed. 1996, section 5.2). A return counts for at most four sigmas, so that one jump
    does not hide the next. Returns are divided by their usual size at the time of day and, after g bars
    without trades, by :math:`\sqrt{g + 1}`.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "threshold": Parameter.number(5.0),
        "decay": Parameter.number(0.97, above=0.0, below=1.0),
        "least": Parameter.number(0.0, above=-1.0),
        "time_of_day": Parameter.boolean(default=True),
    }

    def fields(self) -> Fields:
        """Return the variance and the number of returns behind it."""
        return Fields({"variance": 0.0, "count": 0.0, **self._return_fields()})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure the return by the variance before it, then update the variance."""
        change, reference, scale = self._normalized_return(state, bars)
        variance, count = state["variance"], state["count"]
        sigma = np.maximum(np.sqrt(variance), _sigma_floor(state, reference) / scale)
        z = change / sigma
        size = np.minimum(np.abs(z), WINSOR_LIMIT)
        winsorized = size * sigma
        weight = np.maximum(1 - self.arguments["decay"], 1 / (count + 1.0))
        after = variance + weight * (winsorized * winsorized - variance)
        np.copyto(z, NAN, where=count < 1)
        count += 1.0
        unknown = np.isnan(change)
        if np.count_nonzero(unknown):
            np.copyto(after, variance, where=unknown)
            count -= unknown
        variance[:] = after
        if self.profile:
            self.profile.record(state, size * (state["factor"] / _MEAN_ABS_NORMAL))
        reading = self.compare_to_threshold(z, baseline=sigma * scale * 100.0, reference=reference)
        # one small print in thin trading can be far off
        return reading._replace(fire=reading.fire & ~(bars.volume < self.arguments["least"]))


class Jump(ReturnDetector):
    r"""Lee and Mykland's test for jumps, the "sensitive" detector.

    :math:`L_i = r_i / \hat\sigma_i`, :math:`\hat\sigma_i^2 = \frac{1}{K-2} \sum |r_j| |r_{j-1}|` over the
    previous K returns; a return is a jump where :math:`(|L_i| - C_n) / S_n` exceeds
    :math:`-\ln(-\ln(1 - \alpha))`, with
    :math:`C_n = \frac{\sqrt{2 \ln n}}{c} - \frac{\ln \pi + \ln \ln n}{2 c \sqrt{2 \ln n}}`,
    :math:`S_n = \frac{1}{c \sqrt{2 \ln n}}`, :math:`c = \sqrt{2 / \pi}` (Lee and Mykland, "Jumps in
    financial markets", Review of Financial Studies 21, 2008, pp. 2535–2563). K is at least the square root
    of the number of observations in a year.

    The window moves in steps of a sixteenth, so that the state is 16 sums instead of K returns.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "alpha": Parameter.number(0.01, above=0.0, below=0.5),
        "time_of_day": Parameter.boolean(default=True),
        "window": Parameter(None, Parameter.integer(270, min_value=16).validate),
    }
    threshold_parameter = ""
    _BLOCK_COUNT: Final = 16

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        super().__init__(arguments, interval)
        self.threshold = lee_mykland_threshold(self._test_size(), self.arguments["alpha"])
        if self.arguments.get("clear") is None:
            self.clear_threshold = self.threshold * self.clear_ratio

    @property
    def window_size(self) -> int:
        """The number of returns in the window."""
        per_year = _DAYS_PER_YEAR * max(1.0, _SESSION_MINUTES * MINUTE_NS / self.interval_ns)
        return self.arguments["window"] or math.ceil(math.sqrt(per_year))

    def _test_size(self) -> float:
        """Return the number of returns to which ``alpha`` applies: a session's, or a month's daily ones."""
        return max(float(_DAYS_PER_MONTH), _SESSION_MINUTES * MINUTE_NS / self.interval_ns)

    def fields(self) -> Fields:
        """Return the last return, and the sums of the full blocks and of the current one."""
        initial = {"last": NAN, "all": 0.0, "all_count": 0.0, "block": 0.0, "count": 0.0}
        return Fields({**initial, **self._return_fields()})

    def history_fields(self) -> Fields | None:
        """Return the sums of the blocks, and the factors of the profile."""
        blocks = {"sums": 0.0, "counts": 0.0, "at": 0.0}
        windows = {"sums": self._BLOCK_COUNT, "counts": self._BLOCK_COUNT}
        return Fields({**blocks, **(self.profile.history_fields if self.profile else {})}, windows)

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Return where a block is full, or another part of the session begins."""
        full = state["count"] >= self._block_size
        return full | TimeOfDayProfile.rollover_due(state, bars) if self.profile else full

    @property
    def _block_size(self) -> int:
        return max(1, self.window_size // self._BLOCK_COUNT)

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Store full blocks over the oldest ones, and switch to the part of the session that begins."""
        full = np.flatnonzero(state["count"] >= self._block_size)
        at = history["at"][full].astype(np.int64)
        history["sums"][at, full], history["counts"][at, full] = state["block"][full], state["count"][full]
        history["at"][full] = (at + 1) % self._BLOCK_COUNT
        state["block"][full] = state["count"][full] = 0.0
        total, count = np.zeros(len(bars)), np.zeros(len(bars))
        for block in range(self._BLOCK_COUNT):
            total, count = total + history["sums"][block], count + history["counts"][block]
        state["all"][:], state["all_count"][:] = total, count
        if self.profile:
            positions = np.flatnonzero(TimeOfDayProfile.rollover_due(state, bars))
            part_state = {name: values[positions] for name, values in state.items()}
            factors = {name: history[name][positions] for name in self.profile.history_fields}
            self.profile.roll_over(factors, part_state, bars.select(positions))
            for name, values in factors.items():
                history[name][positions] = values
            for name in self.profile.fields:
                state[name][positions] = part_state[name]

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure the return by the bipower variation before it, then update that."""
        change, reference, scale = self._normalized_return(state, bars)
        count = state["all_count"] + state["count"]
        enough = count >= min(self.window_size - 2, self.warmup) - 1
        variation = (state["all"] + state["block"]) / np.where(enough, count, NAN)
        floor = _MEAN_ABS_NORMAL * _sigma_floor(state, reference) / scale
        sigma = np.maximum(np.sqrt(variation), floor)
        statistic = change / sigma
        size = np.abs(change)
        product = size * state["last"]
        known = product == product  # noqa: PLR0124 - NaN is not itself
        state["block"][:] += np.where(known, product, 0.0)
        state["count"][:] += known
        state["last"][:] = size
        if self.profile:
            self.profile.record(state, np.minimum(np.abs(statistic), WINSOR_LIMIT) * state["factor"])
        return self.compare_to_threshold(statistic, baseline=sigma * scale * 100.0, reference=reference)


def lee_mykland_threshold(count: float, alpha: float) -> float:
    """Return the smallest |L| of a jump.

    Parameters
    ----------
    count
        n, the number of returns that are tested together.
    alpha
        The probability of a false jump among them.
    """
    root = math.sqrt(2 * math.log(count))
    c_n = root / _MEAN_ABS_NORMAL - (math.log(math.pi) + math.log(math.log(count))) / (
        2 * _MEAN_ABS_NORMAL * root
    )
    s_n = 1 / (_MEAN_ABS_NORMAL * root)
    return c_n - s_n * math.log(-math.log(1 - alpha))


def _log_returns(state: State, bars: Bars, interval_ns: int, *, daily: bool) -> tuple[Floats, Floats, Floats]:
    """Return each bar's log return, its reference price, and the number of intervals it spans.

    The first bar of a phase is measured from its open: the gap before it is for ``gap_open``. Daily bars
    are measured from close to close.
    """
    close, before = bars.close, state["close"].copy()
    if daily:
        reference, width = before, np.ones(len(bars))
    else:
        width = (bars.ts_close_ns - state["closed"]) / interval_ns
        width = np.fmin(np.fmax(width, 1.0), _MAX_MISSING_INTERVALS + 1.0)
        reference = before
        if np.count_nonzero(bars.first_of_phase):
            reference = np.where(bars.first_of_phase, bars.open, before)
            width[bars.first_of_phase] = 1.0
    change = np.abs(close - before)
    # differences of decimals leave rounding errors, which are not ticks
    np.copyto(change, np.inf, where=change <= 1e-9 * close)
    np.fmin(state["tick"], change, out=state["tick"])
    state["close"][:] = close
    state["closed"][:] = bars.ts_close_ns
    return np.log(close / reference), reference, width


def _sigma_floor(state: State, reference: Floats) -> Floats:
    """Return the smallest plausible sigma: below it, returns are the noise of ticks."""
    return np.minimum(np.maximum(state["tick"] * _MIN_SIGMA_TICKS / reference, _MIN_SIGMA), _MAX_SIGMA_FLOOR)
