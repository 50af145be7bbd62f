"""More trade, or a wider bar, than usual: ``volume_spike``, ``range_expansion``."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.detectors.time_of_day import TimeOfDayProfile, volume_prior
from tickerlake.analytics.bars import Bars, Flags
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Unit
from tickerlake.model.duration import MINUTE_NS

_WINSOR_LIMIT: Final = 4.0
_EDGE_MULTIPLIERS: Final = (3.0, 3.0)
"""The auctions are in the first and the last minute."""


class VolumeSpike(Detector):
    """Volume in multiples of what is usual at this time of the day.

    Usual is an exponentially weighted mean of volumes divided by their time of the day's factor; a volume
    counts for at most four times the usual. Where a source has no volume, it says nothing.
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
        self.profile: TimeOfDayProfile | None = None
        super().__init__(arguments, interval)
        self.decay = 0.95 if self.is_daily else 0.99

    def fields(self) -> Fields:
        """Keep the usual volume, and of how many it is made."""
        initial = {"usual": 0.0, "count": 0.0}
        if not self.is_daily:
            self.profile = TimeOfDayProfile(
                volume_prior, _EDGE_MULTIPLIERS if self.interval_ns <= MINUTE_NS else (1.0, 1.0)
            )
            initial |= self.profile.fields
        return Fields(initial)

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

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the volume with the usual one before it, then take it in."""
        factor = state["factor"] if self.profile else 1.0
        usual, count = state["usual"], state["count"]
        expected = usual * factor
        np.copyto(expected, NAN, where=expected <= 0)
        value = bars.volume / expected
        small = bars.volume < self.arguments["least"]
        missing = np.isnan(bars.volume)
        level = np.minimum(bars.volume / factor, np.where(count > 0, _WINSOR_LIMIT * usual, np.inf))
        if self.profile:
            self.profile.record(state, np.minimum(value, _WINSOR_LIMIT) * factor)
        weight = np.maximum(1 - self.decay, 1 / (count + 1.0))
        usual[:] = np.where(missing, usual, usual + weight * (level - usual))
        count += ~missing
        reading = self.compare_to_threshold(
            value, baseline=expected, reference=bars.open, direction=bars.close - bars.open
        )
        return reading._replace(fire=reading.fire & ~small)


class RangeExpansion(Detector):
    """High minus low in multiples of the average true range before; up if it closes above its open."""

    parameters: ClassVar[Mapping[str, object]] = {
        "k": Parameter.number(3.0),
        "timeperiod": Parameter.integer(14, min_value=2, max_value=1_000),
    }
    unit: ClassVar[Unit] = "x"
    threshold_parameter = "k"
    price_fields = ("atr",)

    def required_indicators(self) -> frozenset[str]:
        """Return the average true range."""
        return frozenset({f"ATR({self.arguments['timeperiod']})"})

    def fields(self) -> Fields:
        """Keep the average as it was after the bar before."""
        return Fields({"atr": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the range with the average of the bars before."""
        before = state["atr"].copy()
        state["atr"][:] = next(values[name] for name in self.required_indicators())
        np.copyto(before, NAN, where=before <= 0)
        value = np.copysign((bars.high - bars.low) / before, bars.close - bars.open)
        return self.compare_to_threshold(value, baseline=before, reference=bars.open)
