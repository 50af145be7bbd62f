"""Prices against a level: ``cross``, ``channel``, ``vwap_deviation``."""

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

    A close on the level is on no side: only one that comes out on the other side has crossed. It clears when
    the close is back; where both directions are told, that is a crossing itself, and it clears at once.
    """

    parameters: ClassVar[Mapping[str, object]] = {"level": Parameter.level(required=True)}
    unit: ClassVar[Unit] = "price"
    threshold_parameter = ""
    clear_bars = 1
    refires_on_double = False

    def required_indicators(self) -> frozenset[str]:
        """Return the level if it is an indicator."""
        return _level_indicators(self.arguments["level"])

    def fields(self) -> Fields:
        """Keep the side that the last close was on: -1 below, 1 above."""
        return Fields({"side": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the side with that of the bar before."""
        level = _level_values(self.arguments["level"], bars, values)
        value = bars.close - level
        side, before = np.sign(value), state["side"].copy()
        crossed = side * before < 0
        moved = ~np.isnan(side) & (side != 0)
        np.copyto(state["side"], side, where=moved)
        if self.direction == "both":
            return Reading(value, crossed, ~crossed & (side == before), baseline=level, reference=level)
        wanted = 1.0 if self.direction == "up" else -1.0
        return Reading(value, crossed & (side == wanted), side == -wanted, baseline=level, reference=level)


class Channel(Detector):
    """The close enters or leaves a channel between two prices or indicators; its edges belong to it."""

    parameters: ClassVar[Mapping[str, object]] = {
        "upper": Parameter.level(),
        "lower": Parameter.level(),
        "event": Parameter.choice("exit", ("enter", "exit")),
    }
    unit: ClassVar[Unit] = "price"
    threshold_parameter = ""
    clear_bars = 1
    refires_on_double = False

    @classmethod
    def validate(cls, arguments: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Refuse a channel without edges, or upside down."""
        upper, lower = arguments.get("upper"), arguments.get("lower")
        if upper is None and lower is None:
            return [
                (
                    "event",
                    "the channel has no edge",
                    'Give upper, lower or both: upper = "BBANDS(20,2,2).upper".',
                )
            ]
        if isinstance(upper, float | int) and isinstance(lower, float | int) and lower >= upper:
            return [("lower", f"lower is {lower:g}, which is not below upper, {upper:g}.", "Exchange them.")]
        return []

    def required_indicators(self) -> frozenset[str]:
        """Return those edges that are indicators."""
        return _level_indicators(self.arguments["upper"]) | _level_indicators(self.arguments["lower"])

    def fields(self) -> Fields:
        """Keep where the last close was: -1 below, 0 inside, 1 above."""
        return Fields({"place": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the place with that of the bar before."""
        upper = _level_values(self.arguments["upper"], bars, values, np.inf)
        lower = _level_values(self.arguments["lower"], bars, values, -np.inf)
        place = np.where(bars.close > upper, 1.0, np.where(bars.close < lower, -1.0, 0.0))
        known = ~np.isnan(upper) & ~np.isnan(lower)
        before = state["place"].copy()
        inside, was_inside = place == 0, before == 0
        was_outside = np.abs(before) == 1
        edge = np.where(np.where(inside, before, place) > 0, upper, lower)
        if self.arguments["event"] == "exit":
            fire, clear = known & was_inside & ~inside, known & inside
        else:
            fire, clear = known & was_outside & inside, known & ~inside
        wanted = {"up": 1.0, "down": -1.0}.get(self.direction)
        # into the channel from above is down
        way = np.where(inside, -before, place)
        if wanted is not None:
            fire = fire & (way == wanted)
        value = np.where(known & np.isfinite(edge), bars.close - edge, NAN)
        np.copyto(state["place"], place, where=known)
        return Reading(value, fire, clear, baseline=edge, reference=edge, direction=way)


class VwapDeviation(Detector):
    """The close against the volume-weighted price of the session, in percent or basis points."""

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
        """Want one of the two thresholds."""
        if (arguments.get("pct") is None) == (arguments.get("bps") is None):
            return [("pct", "one of pct and bps is needed", "Write pct = 1.5, or bps = 150.")]
        return []

    def required_indicators(self) -> frozenset[str]:
        """Return the session's VWAP."""
        return frozenset({"VWAP"})

    def fields(self) -> Fields:
        """Keep nothing."""
        return Fields({})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the close with the indicator."""
        vwap = values["VWAP"]
        parts = 1e4 if self.unit == "bps" else 100.0
        return self.compare_to_threshold(parts * (bars.close - vwap) / vwap, baseline=vwap, reference=vwap)


def _level_indicators(level: float | str | None) -> frozenset[str]:
    return frozenset({level}) if isinstance(level, str) else frozenset()


def _level_values(
    level: float | str | None, bars: Bars, values: IndicatorValues, missing: float = NAN
) -> Floats:
    if isinstance(level, str):
        return values[level]
    return np.full(len(bars), missing if level is None else level)
