"""Gaps and rejected records: ``halt``, ``stale``, ``data_quality``."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.sessions import Hours
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.alert import Cause, Unit
from tickerlake.model.duration import MINUTE_NS, SECOND_NS, parse_duration_ns

_BUSY_DECAY: Final = 0.95
"""Weight of the past in the share of bars with trades: a memory of about 20 bars."""

_MIN_BUSY_SHARE: Final = 0.9
"""An instrument that misses more than one bar in ten pauses too often for a pause to be news.

From no trades at all, it takes 45 bars to get there (1 - 0.95 ** 45 = 0.9).
"""

_MAX_CALL_NS: Final = 10 * MINUTE_NS
"""The longest time before a close in which orders are only collected for the closing auction."""

_WINDOW_PARTS: Final = 6
"""Counts per window of ``data_quality``: the window moves in sixths, so the state stays small."""


class Halt(Detector):
    """Trading resumes after a pause, in an instrument that trades in nearly every bar.

    Nights and lunch breaks are no pauses, nor is the call phase of a closing auction.
    The data only shows that there were no trades, not whether the exchange halted trading.
    """

    parameters: ClassVar[Mapping[str, object]] = {"minutes": Parameter.number(5.0, below=1440.0)}
    unit: ClassVar[Unit] = "s"
    threshold_parameter = ""
    clear_bars = 1
    intraday_only = True
    supports_ticks = False
    has_direction = False
    has_baseline = True
    cause: ClassVar[Cause] = "halt"
    price_fields = ("close",)

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return f"{self.arguments['minutes']:g}m"

    def fields(self) -> Fields:
        """Return the last close, its time, and the recent share of bars with trades."""
        return Fields({"close": NAN, "closed": NAN, "busy": 0.0})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Measure the time since the last bar, in seconds."""
        reference, busy = state["close"].copy(), state["busy"].copy()
        gap_ns = np.where(bars.first_of_phase, 0.0, bars.ts_open_ns - state["closed"])
        break_start_ns = np.maximum(state["closed"], bars.break_start_ns)
        gap_ns -= np.fmax(np.minimum(bars.ts_open_ns, bars.break_end_ns) - break_start_ns, 0.0)
        is_closing = bars.is_regular & (bars.ts_open_ns >= bars.session_close_ns)
        before_call_ns = gap_ns - (bars.ts_open_ns - bars.session_close_ns) - _MAX_CALL_NS
        gap_ns = np.where(is_closing, np.fmax(before_call_ns, 0.0), gap_ns)
        # at most one missing bar: after a long halt, an instrument still counts as busy
        missing = np.fmin(np.fmax(gap_ns / self.interval_ns, 0.0), 1.0)
        state["busy"][:] = busy * _BUSY_DECAY ** (missing + 1.0) + (1.0 - _BUSY_DECAY)
        state["close"][:] = bars.close
        state["closed"][:] = bars.ts_close_ns
        min_gap_ns = self.arguments["minutes"] * MINUTE_NS
        fire = (gap_ns >= min_gap_ns) & (busy >= _MIN_BUSY_SHARE)
        return Reading(
            gap_ns / SECOND_NS,
            fire,
            gap_ns < min_gap_ns,
            threshold=min_gap_ns / SECOND_NS,
            reference=reference,
            price=bars.first_price,
            direction=np.zeros(len(bars)),
        )


class DataDetector(Detector):
    """Evaluates the data stream itself; it does not use bars."""

    clear_bars = 1
    doubles_in = "nothing"
    monitors_data = True
    supports_ticks = False
    has_direction = False

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Return nothing for bars."""
        nowhere = np.zeros(len(bars), dtype=bool)
        return Reading(np.full(len(bars), NAN), nowhere, nowhere)


class Stale(DataDetector):
    """An instrument sends no data for some time within its session."""

    parameters: ClassVar[Mapping[str, object]] = {"after": Parameter.duration("10m")}
    unit: ClassVar[Unit] = "s"
    threshold_parameter = ""
    cause: ClassVar[Cause] = "unknown"

    @property
    def after_ns(self) -> int:
        """The shortest gap that fires, in nanoseconds."""
        return parse_duration_ns(self.arguments["after"])

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return str(self.arguments["after"])

    def fields(self) -> Fields:
        """Return no state."""
        return Fields({})

    def measure_idle(self, last_ns: Ints, now_ns: int, hours: Hours) -> tuple[Reading, Ints]:
        """Measure the time since each instrument's last record, or since trading began.

        Trading begins at the open, and again after the lunch break.

        Returns
        -------
        Reading, int64 array
            The reading, and the times at which the rule fires.
        """
        after_break = now_ns >= hours.break_end_ns
        start_ns = np.where(after_break, np.maximum(hours.open_ns, hours.break_end_ns), hours.open_ns)
        since_ns = np.maximum(last_ns, start_ns)
        gap_ns = now_ns - since_ns
        trading = (now_ns >= hours.open_ns) & (now_ns < hours.close_ns)
        trading &= after_break | (now_ns < hours.break_start_ns)
        reading = Reading(
            gap_ns / SECOND_NS,
            trading & (gap_ns >= self.after_ns),
            (gap_ns < self.after_ns) & (last_ns >= start_ns),
            threshold=self.after_ns / SECOND_NS,
            direction=np.zeros(len(last_ns)),
        )
        return reading, since_ns + self.after_ns


class DataQuality(DataDetector):
    """Records of an instrument are rejected, too many within a window."""

    parameters: ClassVar[Mapping[str, object]] = {
        "count": Parameter.integer(10, max_value=1_000_000_000),
        "window": Parameter.duration("10m"),
    }
    unit: ClassVar[Unit] = "count"
    threshold_parameter = "count"
    cause: ClassVar[Cause] = "data_quality"

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        super().__init__(arguments, interval)
        self.part_ns = max(1, parse_duration_ns(self.arguments["window"]) // _WINDOW_PARTS)

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return str(self.arguments["window"])

    def fields(self) -> Fields:
        """Return the counts of the window's sixths, and the number of each sixth."""
        return Fields({"counts": 0.0, "parts": NAN}, {"counts": _WINDOW_PARTS, "parts": _WINDOW_PARTS})

    def process_counts(self, rows: Ints, counts: Ints, event_ns: Ints) -> Reading:
        """Add counts of records, at most one per instrument, and measure the sums of the window."""
        block = self.table.gather(rows)
        total = self._window_total(self.table.fields.view(block), counts, event_ns)
        self.table.scatter(rows, block)
        nothing = np.zeros(len(rows))
        return self.compare_to_threshold(total, direction=nothing, begin_ns=nothing)

    def _window_total(self, state: State, counts: Ints, event_ns: Ints) -> Floats:
        part, columns = event_ns // self.part_ns, np.arange(len(counts))
        at = part % _WINDOW_PARTS
        is_new = state["parts"][at, columns] != part
        state["counts"][at, columns] = np.where(is_new, 0.0, state["counts"][at, columns]) + counts
        state["parts"][at, columns] = part
        total = np.zeros(len(counts))
        for number in range(_WINDOW_PARTS):
            in_window = np.abs(part - state["parts"][number]) < _WINDOW_PARTS
            total += np.where(in_window, state["counts"][number], 0.0)
        return total
