"""The rule kinds: built-in detectors, and those of other packages.

A custom detector::

    class RoundNumber(Detector):
        '''The close passes a multiple of a step.'''

        parameters = {"step": 100.0}
        unit = "price"
        threshold_parameter = ""

        def fields(self) -> Fields:
            return Fields({"close": NAN})

        def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
            before = np.floor(state["close"] / self.arguments["step"])
            value = (np.floor(bars.close / self.arguments["step"]) - before) * self.arguments["step"]
            reference = state["close"].copy()
            state["close"][:] = bars.close
            return Reading(value, np.abs(value) > 0, value == 0, reference=reference)

Declare it in the entry-point group ``tickerlake.detectors`` of your package, or call
``register("round_number", RoundNumber)``; then rules can use ``kind = "round_number"``.
"""

import re
from importlib import metadata
from typing import Final

from tickerlake.alerts.detectors.bands import LimitBand, MarketBreaker
from tickerlake.alerts.detectors.condition import Condition
from tickerlake.alerts.detectors.data_health import DataQuality, Halt, Stale
from tickerlake.alerts.detectors.detector import Detector
from tickerlake.alerts.detectors.levels import Channel, Cross, VwapDeviation
from tickerlake.alerts.detectors.moves import GapOpen, NewHigh, NewLow, PctChange
from tickerlake.alerts.detectors.returns import Jump, ZScore
from tickerlake.alerts.detectors.volume import RangeExpansion, VolumeSpike
from tickerlake.errors import UsageError, did_you_mean

ENTRY_POINT_GROUP: Final = "tickerlake.detectors"
"""The entry-point group in which other packages declare their detectors."""

_NAME_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]*")
_detectors: dict[str, type[Detector]] = {
    "pct_change": PctChange,
    "cross": Cross,
    "channel": Channel,
    "volume_spike": VolumeSpike,
    "zscore": ZScore,
    "jump": Jump,
    "gap_open": GapOpen,
    "new_high": NewHigh,
    "new_low": NewLow,
    "vwap_deviation": VwapDeviation,
    "range_expansion": RangeExpansion,
    "halt": Halt,
    "limit_band": LimitBand,
    "market_breaker": MarketBreaker,
    "stale": Stale,
    "data_quality": DataQuality,
    "condition": Condition,
}


def register(name: str, cls: type[Detector]) -> None:
    """Register a detector for this process.

    Raises
    ------
    UsageError
        If the name is not valid or already registered, or the class is not a detector.
    """
    if not _NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name of a detector.", "Use lower-case letters, digits and underscores."
        )
    if not (isinstance(cls, type) and issubclass(cls, Detector)):
        raise UsageError(
            f"The detector {name} is not a subclass of Detector.", "Correct the package that provides it."
        )
    if _detectors.setdefault(name, cls) is not cls:
        raise UsageError(f"The detector {name} already exists.", "Choose another name.")


def detector_class(name: str) -> type[Detector]:
    """Return the detector class of a rule kind; one of another package is loaded at its first use.

    Raises
    ------
    UsageError
        If there is none, or it cannot be loaded.
    """
    if name not in _detectors:
        for entry in metadata.entry_points(group=ENTRY_POINT_GROUP, name=name):
            try:
                cls = entry.load()
            except Exception as error:
                raise UsageError(
                    f"The detector {name} cannot be loaded from {entry.value}: {error!r}.",
                    "Correct the package that provides it.",
                ) from error
            register(name, cls)
    if name not in _detectors:
        raise UsageError(f"There is no rule kind {name!r}.", did_you_mean(name, kind_names()))
    return _detectors[name]


def parameter_names() -> list[str]:
    """Return the names of all parameters of the detectors that are loaded."""
    return sorted({name for cls in _detectors.values() for name in cls.parameters})


def kind_names() -> list[str]:
    """Return the names of all rule kinds, those of other packages last."""
    others = {entry.name for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return [*_detectors, *sorted(others - set(_detectors))]
