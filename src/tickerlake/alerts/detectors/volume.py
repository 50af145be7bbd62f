"""More volume, or a wider bar, than usual: ``volume_spike``, ``range_expansion``."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.detectors.time_of_day import WINSOR_LIMIT, ProfiledDetector, volume_prior
from tickerlake.analytics.bars import Bars
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Unit

_EDGE_MULTIPLIERS: Final = (3.0, 3.0)
"""The first and the last minute include the auctions."""


class VolumeSpike(ProfiledDetector):
    """Volume in multiples of the usual volume at this time of day.

    The usual volume is an exponentially weighted mean of volumes, each divided by the factor of its time of
    day and counted for at most four times the usual. A source without volumes raises no alerts.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "times": Parameter.number(required=True),
        "least": Parameter.number(0.0, above=-1.0),
    }
    unit: ClassVar[Unit] = "x"
    threshold_parameter = "times"
    has_direction = False
    warmup = 30
    share_fields = ("usual",)

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        super().__init__(arguments, interval)
        # a memory of about 20 days, or of 100 bars within the day
        self.decay = 0.95 if self.is_daily else 0.99

    def fields(self) -> Fields:
        """Return the usual volume and the number of bars behind it."""
        initial = {"usual": 0.0, "count": 0.0}
        if not self.is_daily:
            initial |= self._add_profile(volume_prior, _EDGE_MULTIPLIERS)
        return Fields(initial)

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the volume with the usual volume, then update that."""
        factor = state["factor"] if self.profile else 1.0
        usual, count = state["usual"], state["count"]
        expected = usual * factor
        np.copyto(expected, NAN, where=expected <= 0)
        value = bars.volume / expected
        small = bars.volume < self.arguments["least"]
        missing = np.isnan(bars.volume)
        level = np.minimum(bars.volume / factor, np.where(count > 0, WINSOR_LIMIT * usual, np.inf))
        if self.profile:
            self.profile.record(state, np.minimum(value, WINSOR_LIMIT) * factor)
        weight = np.maximum(1 - self.decay, 1 / (count + 1.0))
        usual[:] = np.where(missing, usual, usual + weight * (level - usual))
        count += ~missing
        reading = self.compare_to_threshold(
            value, baseline=expected, reference=bars.open, direction=bars.close - bars.open
        )
        return reading._replace(fire=reading.fire & ~small)


class RangeExpansion(Detector):
    """High minus low in multiples of the average true range; up if the bar closes above its open."""

    parameters: ClassVar[Mapping[str, object]] = {
        "k": Parameter.number(3.0),
        "timeperiod": Parameter.integer(14, min_value=2, max_value=1_000),
    }
    unit: ClassVar[Unit] = "x"
    needs_range = True
    threshold_parameter = "k"
    price_fields = ("atr",)

    def required_indicators(self) -> frozenset[str]:
        """Return the average true range."""
        return frozenset({f"ATR({self.arguments['timeperiod']})"})

    def fields(self) -> Fields:
        """Return the average after the last bar."""
        return Fields({"atr": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the range with the average of the earlier bars."""
        before = state["atr"].copy()
        state["atr"][:] = next(values[name] for name in self.required_indicators())
        np.copyto(before, NAN, where=before <= 0)
        value = np.copysign((bars.high - bars.low) / before, bars.close - bars.open)
        return self.compare_to_threshold(value, baseline=before, reference=bars.open)
