"""What is missing or wrong in the data: ``halt``, ``stale``, ``data_quality``."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Cause, Unit
from tickerlake.model.duration import MINUTE_NS, SECOND_NS, parse_duration_ns

_BUSY_DECAY: Final = 0.95
_MIN_BUSY_SHARE: Final = 0.9
_WINDOW_PARTS: Final = 6


class Halt(Detector):
    """A pause of an instrument that trades in nearly every bar, told when it is over.

    Whether it was a halt of the exchange is not known: only that nothing was traded.
    """

    parameters: ClassVar[Mapping[str, object]] = {"minutes": Parameter.number(5.0, below=1440.0)}
    unit: ClassVar[Unit] = "s"
    threshold_parameter = ""
    clear_bars = 1
    intraday_only = True
    supports_ticks = False
    has_direction = False
    cause: ClassVar[Cause] = "halt"
    price_fields = ("close",)

    @property
    def window(self) -> str:
        """Over how long it looks, for a person."""
        return f"{self.arguments['minutes']:g}m"

    def fields(self) -> Fields:
        """Keep the last close, when that was, and which share of the bars before had trades."""
        return Fields({"close": NAN, "closed": NAN, "busy": 0.0})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure the time since the bar before, in seconds."""
        reference, busy = state["close"].copy(), state["busy"].copy()
        silent_ns = np.where(bars.first_of_session, 0.0, bars.ts_open_ns - state["closed"])
        # a long halt must not look like an instrument that seldom trades
        missing = np.fmin(np.fmax(silent_ns / self.interval_ns, 0.0), 1.0)
        state["busy"][:] = busy * _BUSY_DECAY ** (missing + 1.0) + (1.0 - _BUSY_DECAY)
        state["close"][:] = bars.close
        state["closed"][:] = bars.ts_close_ns
        least_ns = self.arguments["minutes"] * MINUTE_NS
        fire = (silent_ns >= least_ns) & (busy >= _MIN_BUSY_SHARE)
        return Reading(
            silent_ns / SECOND_NS,
            fire,
            silent_ns < least_ns,
            threshold=least_ns / SECOND_NS,
            reference=reference,
            price=bars.open,
            direction=np.zeros(len(bars)),
        )


class Stale(Detector):
    """No data of an instrument for some time of its session."""

    parameters: ClassVar[Mapping[str, object]] = {"after": Parameter.duration("10m")}
    unit: ClassVar[Unit] = "s"
    threshold_parameter = ""
    clear_bars = 1
    monitors_data = True
    supports_ticks = False
    has_direction = False
    cause: ClassVar[Cause] = "unknown"

    @property
    def after_ns(self) -> int:
        """How long, in nanoseconds."""
        return parse_duration_ns(self.arguments["after"])

    @property
    def window(self) -> str:
        """Over how long it looks, for a person."""
        return str(self.arguments["after"])

    def fields(self) -> Fields:
        """Keep nothing."""
        return Fields({})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Say nothing of bars."""
        nothing = np.zeros(len(bars), dtype=bool)
        return Reading(np.full(len(bars), NAN), nothing, nothing)

    def measure_idle(self, last_ns: Ints, now_ns: int, open_ns: Ints, close_ns: Ints) -> Reading:
        """Judge how long there was nothing, within the session."""
        silent_ns = now_ns - np.maximum(last_ns, open_ns)
        inside = (now_ns >= open_ns) & (now_ns < close_ns)
        fire = inside & (silent_ns >= self.after_ns)
        return Reading(
            silent_ns / SECOND_NS,
            fire,
            (silent_ns < self.after_ns) & (last_ns >= open_ns),
            threshold=self.after_ns / SECOND_NS,
            direction=np.zeros(len(last_ns)),
        )


class DataQuality(Detector):
    """Records of an instrument that were refused, within a window."""

    parameters: ClassVar[Mapping[str, object]] = {
        "count": Parameter.integer(10, max_value=1_000_000_000),
        "window": Parameter.duration("10m"),
    }
    unit: ClassVar[Unit] = "count"
    threshold_parameter = "count"
    clear_bars = 1
    monitors_data = True
    supports_ticks = False
    has_direction = False
    cause: ClassVar[Cause] = "data_quality"

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        super().__init__(arguments, interval)
        self.part_ns = max(1, parse_duration_ns(self.arguments["window"]) // _WINDOW_PARTS)

    @property
    def window(self) -> str:
        """Over how long it looks, for a person."""
        return str(self.arguments["window"])

    def fields(self) -> Fields:
        """Keep the counts of the window's sixths, and which sixths these are."""
        return Fields({"counts": 0.0, "parts": NAN}, {"counts": _WINDOW_PARTS, "parts": _WINDOW_PARTS})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Say nothing of bars."""
        nothing = np.zeros(len(bars), dtype=bool)
        return Reading(np.full(len(bars), NAN), nothing, nothing)

    def process_counts(self, rows: Ints, counts: Ints, event_ns: Ints) -> Reading:
        """Take counts of records, at most one for each instrument, and judge those of the window."""
        block = self.table.gather(rows)
        total = self._window_total(self.table.fields.view(block), counts, event_ns)
        self.table.scatter(rows, block)
        return self.compare_to_threshold(total, direction=np.zeros(len(rows)))

    def _window_total(self, state: State, counts: Ints, event_ns: Ints) -> Floats:
        part, columns = event_ns // self.part_ns, np.arange(len(counts))
        at = part % _WINDOW_PARTS
        fresh = state["parts"][at, columns] != part
        state["counts"][at, columns] = np.where(fresh, 0.0, state["counts"][at, columns]) + counts
        state["parts"][at, columns] = part
        total = np.zeros(len(counts))
        for number in range(_WINDOW_PARTS):
            near = np.abs(part - state["parts"][number]) < _WINDOW_PARTS
            total += np.where(near, state["counts"][number], 0.0)
        return total
