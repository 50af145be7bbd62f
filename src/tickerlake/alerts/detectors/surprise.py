"""Moves that are out of the ordinary for this instrument, now: ``zscore`` and ``jump``."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors import returns
from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.detectors.time_of_day import TimeOfDayProfile, volatility_prior
from tickerlake.analytics.bars import Bars, Flags, Floats
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Unit
from tickerlake.model.duration import MINUTE_NS

_MEAN_ABS_NORMAL: Final = math.sqrt(2 / math.pi)
"""The mean of |x| of a standard normal x."""

_WINSOR_LIMIT: Final = 4.0
_EDGE_MULTIPLIERS: Final = (1.4, 1.0)
_SESSION_MINUTES: Final = 390
_DAYS_PER_YEAR: Final = 252


class ReturnDetector(Detector):
    """What both have in common: returns in units of what is usual at this time of the day."""

    unit: ClassVar[Unit] = "sigma"
    warmup = 30
    price_fields = ("close",)
    share_fields = ()

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        self.profile: TimeOfDayProfile | None = None
        super().__init__(arguments, interval)

    def _return_fields(self) -> dict[str, float]:
        if self.is_daily or not self.arguments["time_of_day"]:
            return dict(returns.RETURN_FIELDS)
        edges = _EDGE_MULTIPLIERS if self.interval_ns <= MINUTE_NS else (1.0, 1.0)
        self.profile = TimeOfDayProfile(volatility_prior, edges)
        return {**returns.RETURN_FIELDS, **self.profile.fields}

    def history_fields(self) -> Fields | None:
        """Return the factors of the time of the day."""
        return Fields(self.profile.history_fields) if self.profile else None

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Tell for which bars another part of the session begins."""
        return TimeOfDayProfile.rollover_due(state, bars)

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Bring the factor of the part of the session that begins."""
        assert self.profile is not None
        self.profile.roll_over(history, state, bars)

    def _normalized_return(self, state: State, bars: Bars) -> tuple[Floats, Floats, Floats]:
        """Return the return of one interval at a usual time, its reference, and by how much it was scaled."""
        change, reference, width = returns.log_returns(state, bars, self.interval_ns, daily=self.is_daily)
        scale = width if self.is_daily else np.sqrt(width)
        if self.profile:
            scale = scale * state["factor"]
        return change / scale, reference, scale


class ZScore(ReturnDetector):
    r"""Return in units of the sigma of the returns before it: the default detector.

    The variance is an exponentially weighted mean of squared returns, weight ``decay`` (RiskMetrics Technical
    Document, 4th ed. 1996, section 5.2), in which a return counts for four sigmas at most: one jump does
    not blind it to the next. Returns are divided by what is usual at their time of the day, and,
    after g bars without a trade, by :math:`\sqrt{g + 1}`.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "threshold": Parameter.number(5.0),
        "decay": Parameter.number(0.97, above=0.0, below=1.0),
        "time_of_day": Parameter.boolean(default=True),
    }

    def fields(self) -> Fields:
        """Keep the variance and how many returns it is made of."""
        return Fields({"variance": 0.0, "count": 0.0, **self._return_fields()})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Judge the return by the variance before it, then take it in."""
        change, reference, scale = self._normalized_return(state, bars)
        variance, count = state["variance"], state["count"]
        sigma = np.maximum(np.sqrt(variance), returns.sigma_floor(state, reference) / scale)
        z = change / sigma
        size = np.minimum(np.abs(z), _WINSOR_LIMIT)
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
        return self.compare_to_threshold(z, baseline=sigma * scale * 100.0, reference=reference)


class Jump(ReturnDetector):
    r"""Lee and Mykland's test for a jump, the "sensitive" detector.

    :math:`L_i = r_i / \hat\sigma_i`, :math:`\hat\sigma_i^2 = \frac{1}{K-2} \sum |r_j| |r_{j-1}|` over the K
    returns before; a jump is where :math:`(|L_i| - C_n) / S_n` exceeds :math:`-\ln(-\ln(1 - \alpha))`, with
    :math:`C_n = \frac{\sqrt{2 \ln n}}{c} - \frac{\ln \pi + \ln \ln n}{2 c \sqrt{2 \ln n}}`,
    :math:`S_n = \frac{1}{c \sqrt{2 \ln n}}`, :math:`c = \sqrt{2 / \pi}` (Lee and Mykland, "Jumps in financial
    markets", Review of Financial Studies 21, 2008, pp. 2535–2563). K is at least the square root of the
    observations of a year.

    The window moves in steps of a sixteenth of it, so that little has to be kept.
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
        self.threshold = lee_mykland_threshold(self._observations_per_day(), self.arguments["alpha"])
        if self.arguments.get("clear") is None:
            self.clear_threshold = self.threshold * self.clear_ratio

    @property
    def window_size(self) -> int:
        """The number of returns in the window."""
        a_year = _DAYS_PER_YEAR * max(1.0, _SESSION_MINUTES * MINUTE_NS / self.interval_ns)
        return self.arguments["window"] or math.ceil(math.sqrt(a_year))

    def _observations_per_day(self) -> float:
        # of days, the test is over a month
        return max(21.0, _SESSION_MINUTES * MINUTE_NS / self.interval_ns)

    def fields(self) -> Fields:
        """Keep the last return, the sums of the whole window, and of the block at its end."""
        initial = {"last": NAN, "all": 0.0, "all_count": 0.0, "block": 0.0, "count": 0.0}
        return Fields({**initial, **self._return_fields()})

    def history_fields(self) -> Fields | None:
        """Keep the sums of the blocks, and the factors of the time of the day."""
        blocks = {"sums": 0.0, "counts": 0.0, "at": 0.0}
        windows = {"sums": self._BLOCK_COUNT, "counts": self._BLOCK_COUNT}
        return Fields({**blocks, **(self.profile.history_fields if self.profile else {})}, windows)

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Tell where a block is full, or another part of the session begins."""
        full = state["count"] >= self._block_size
        return full | TimeOfDayProfile.rollover_due(state, bars) if self.profile else full

    @property
    def _block_size(self) -> int:
        return max(1, self.window_size // self._BLOCK_COUNT)

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Put a full block away, over the oldest; bring the factor of the part of the session that begins."""
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
            part = TimeOfDayProfile.rollover_due(state, bars)
            which = np.flatnonzero(part)
            inner = {name: values[which] for name, values in state.items()}
            outer = {name: history[name][which] for name in self.profile.history_fields}
            self.profile.roll_over(outer, inner, bars.select(which))
            for name, values in outer.items():
                history[name][which] = values
            for name in self.profile.fields:
                state[name][which] = inner[name]

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Judge the return by the bipower variation before it, then take it in."""
        change, reference, scale = self._normalized_return(state, bars)
        count = state["all_count"] + state["count"]
        enough = count >= min(self.window_size - 2, self.warmup) - 1
        variation = (state["all"] + state["block"]) / np.where(enough, count, NAN)
        least = _MEAN_ABS_NORMAL * returns.sigma_floor(state, reference) / scale
        sigma = np.maximum(np.sqrt(variation), least)
        statistic = change / sigma
        size = np.abs(change)
        product = size * state["last"]
        known = product == product  # noqa: PLR0124 - NaN is not itself
        state["block"][:] += np.where(known, product, 0.0)
        state["count"][:] += known
        state["last"][:] = size
        if self.profile:
            self.profile.record(state, np.minimum(np.abs(statistic), _WINSOR_LIMIT) * state["factor"])
        return self.compare_to_threshold(statistic, baseline=sigma * scale * 100.0, reference=reference)


def lee_mykland_threshold(count: float, alpha: float) -> float:
    """Return the size of L from which a return is a jump.

    Parameters
    ----------
    count
        n, the number of returns among which there shall be none by chance …
    alpha
        … with a chance of this at most.
    """
    root = math.sqrt(2 * math.log(count))
    c_n = root / _MEAN_ABS_NORMAL - (math.log(math.pi) + math.log(math.log(count))) / (
        2 * _MEAN_ABS_NORMAL * root
    )
    s_n = 1 / (_MEAN_ABS_NORMAL * root)
    return c_n - s_n * math.log(-math.log(1 - alpha))
