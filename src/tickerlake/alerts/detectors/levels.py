"""The close relative to a level: ``cross``, ``channel``, ``vwap_deviation``."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Unit


class Cross(Detector):
    """The close crosses a price or an indicator.

    A close on the level is on neither side: only a close on the other side has crossed. A rule for one
    direction clears when the close is back; in a rule for both that is a crossing too, so it clears at the
    next bar on the same side.
    """

    parameters: ClassVar[Mapping[str, object]] = {"level": Parameter.level(required=True)}
    unit: ClassVar[Unit] = "price"
    threshold_parameter = ""
    clear_bars = 1
    doubles_in = "nothing"

    def required_indicators(self) -> frozenset[str]:
        """Return the level if it is an indicator."""
        return _level_indicators(self.arguments["level"])

    def fields(self) -> Fields:
        """Return the side of the last close: -1 below, 1 above."""
        return Fields({"side": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the side with that of the last bar."""
        level = _level_values(self.arguments["level"], bars, values)
        value = bars.close - level
        side, before = np.sign(value), state["side"].copy()
        crossed = side * before < 0
        on_a_side = ~np.isnan(side) & (side != 0)
        np.copyto(state["side"], side, where=on_a_side)
        if self.direction == "both":
            return Reading(value, crossed, ~crossed & (side == before), baseline=level, reference=level)
        target = 1.0 if self.direction == "up" else -1.0
        return Reading(value, crossed & (side == target), side == -target, baseline=level, reference=level)


class Channel(Detector):
    """The close enters or leaves a channel between two prices or indicators, edges included."""

    parameters: ClassVar[Mapping[str, object]] = {
        "upper": Parameter.level(),
        "lower": Parameter.level(),
        "event": Parameter.choice("exit", ("enter", "exit")),
    }
    unit: ClassVar[Unit] = "price"
    threshold_parameter = ""
    clear_bars = 1
    doubles_in = "nothing"

    @classmethod
    def validate(cls, arguments: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Reject a channel without edges, or whose lower edge is not below the upper one."""
        upper, lower = arguments.get("upper"), arguments.get("lower")
        if upper is None and lower is None:
            hint = 'Set upper, lower or both: upper = "BBANDS(20,2,2).upper".'
            return [("event", "the channel has no edge.", hint)]
        if isinstance(upper, float | int) and isinstance(lower, float | int) and lower >= upper:
            return [("lower", f"lower is {lower:g}, not below upper, which is {upper:g}.", "Swap them.")]
        return []

    def required_indicators(self) -> frozenset[str]:
        """Return the edges that are indicators."""
        return _level_indicators(self.arguments["upper"]) | _level_indicators(self.arguments["lower"])

    def fields(self) -> Fields:
        """Return where the last close was: -1 below, 0 inside, 1 above."""
        return Fields({"zone": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the close's zone with that of the last bar."""
        upper = _level_values(self.arguments["upper"], bars, values, np.inf)
        lower = _level_values(self.arguments["lower"], bars, values, -np.inf)
        zone = np.where(bars.close > upper, 1.0, np.where(bars.close < lower, -1.0, 0.0))
        known = ~np.isnan(upper) & ~np.isnan(lower)
        before = state["zone"].copy()
        inside, was_inside = zone == 0, before == 0
        was_outside = np.abs(before) == 1
        edge = np.where(np.where(inside, before, zone) > 0, upper, lower)
        if self.arguments["event"] == "exit":
            fire, clear = known & was_inside & ~inside, known & inside
        else:
            fire, clear = known & was_outside & inside, known & ~inside
        target = {"up": 1.0, "down": -1.0}.get(self.direction)
        # entering the channel from above is a move down
        direction = np.where(inside, -before, zone)
        if target is not None:
            fire = fire & (direction == target)
        value = np.where(known & np.isfinite(edge), bars.close - edge, NAN)
        np.copyto(state["zone"], zone, where=known)
        return Reading(value, fire, clear, baseline=edge, reference=edge, direction=direction)


class VwapDeviation(Detector):
    """Distance of the close from the session's volume-weighted average price, in percent or basis points."""

    parameters: ClassVar[Mapping[str, object]] = {"pct": Parameter.number(), "bps": Parameter.number()}
    threshold_parameter = "pct"
    intraday_only = True

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        in_bps = (arguments or {}).get("bps") is not None
        self.threshold_parameter = "bps" if in_bps else "pct"  # type: ignore[misc]
        self.unit = "bps" if in_bps else "pct"  # type: ignore[misc]
        super().__init__(arguments, interval)

    @classmethod
    def validate(cls, arguments: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Require exactly one of the two thresholds."""
        if (arguments.get("pct") is None) == (arguments.get("bps") is None):
            return [("pct", "either pct or bps is required.", "Write pct = 1.5, or bps = 150.")]
        return []

    def required_indicators(self) -> frozenset[str]:
        """Return the session's VWAP."""
        return frozenset({"VWAP"})

    def fields(self) -> Fields:
        """Return no state."""
        return Fields({})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the close with the VWAP."""
        vwap = values["VWAP"]
        scale = 1e4 if self.unit == "bps" else 100.0
        value, begin_ns = scale * (bars.close - vwap) / vwap, bars.session_open_ns.astype(np.float64)
        return self.compare_to_threshold(value, baseline=vwap, reference=vwap, begin_ns=begin_ns)


def _level_indicators(level: float | str | None) -> frozenset[str]:
    return frozenset({level}) if isinstance(level, str) else frozenset()


def _level_values(
    level: float | str | None, bars: Bars, values: IndicatorValues, missing: float = NAN
) -> Floats:
    if isinstance(level, str):
        return values[level]
    return np.full(len(bars), missing if level is None else level)
