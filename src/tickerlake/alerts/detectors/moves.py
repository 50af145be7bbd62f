"""Moves from an earlier price: ``pct_change``, ``gap_open``, ``new_high``, ``new_low``."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Flags, Floats
from tickerlake.analytics.state_table import Fields, State
from tickerlake.errors import UsageError
from tickerlake.model.duration import DAY_NS, parse_duration_ns

MAX_WINDOW_BARS: Final = 2_000
"""At most 16 or 32 kB of state per instrument (one or two floats for each bar of the window)."""


class WindowedDetector(Detector):
    """A detector that looks back over a window: a number of bars, of sessions, or a duration.

    Days and weeks count sessions; a week has five.
    """

    price_fields = ("close", "extreme", "prices", "open", "reference")

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        window = (arguments or {}).get("window", self._default_window())
        self.counts_sessions = isinstance(window, str) and _session_count(window) is not None
        self.window_ns = 0
        if isinstance(window, int):
            self.window_size = window
        elif self.counts_sessions:
            self.window_size = _session_count(window) or 1
        else:
            self.window_ns = parse_duration_ns(window)
            self.window_size = -(-self.window_ns // parse_duration_ns(interval))
        self._window_label = window if isinstance(window, str) else f"{window} bars"
        super().__init__(arguments, interval)
        if self.window_size > MAX_WINDOW_BARS:
            raise UsageError(
                f"A window of {self.window_size:,} bars of {interval} is too long.",
                f"Use {MAX_WINDOW_BARS:,} bars at most.",
            )

    @classmethod
    def _default_window(cls) -> int | str:
        spec = cls.parameters["window"]
        return Parameter.coerce(spec).default or 1

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return self.interval if self._window_label == "1 bars" else self._window_label

    def rollover_due(self, state: State, bars: Bars) -> Flags:
        """Return which bars begin another session, before its open or not."""
        due: Flags = state["session"] != bars.session
        return due


class PctChange(WindowedDetector):
    """Change of the price within a window, in percent.

    A window of minutes or hours does not reach beyond the first price of pre-market or regular trading: what
    lies before is a gap. With intraday bars, a window of ``1d`` begins at the regular close of the previous
    session.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "window": Parameter.window(1, max_bars=MAX_WINDOW_BARS),
        "pct": Parameter.number(required=True),
    }
    threshold_parameter = "pct"
    doubles_in = "price"

    def fields(self) -> Fields:
        """Return the closes of the window, or the one close that it begins with; and their times."""
        if self.counts_sessions:
            unknown = dict.fromkeys(("close", "closed", "reference", "began", "session"), NAN)
            return Fields(unknown)
        start = {"open": NAN, "start": NAN} if self.window_ns else {}
        initial = {"prices": NAN, "at": 0.0, "times": NAN, **start}
        return Fields(initial, {"prices": self.window_size, "times": self.window_size})

    def history_fields(self) -> Fields | None:
        """Return the closes of the window's sessions, and their times."""
        if not self.counts_sessions:
            return None
        windows = dict.fromkeys(("prices", "times"), self.window_size)
        return Fields({"prices": NAN, "times": NAN, "at": 0.0}, windows)

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Add the close of the last session; the oldest one becomes the reference."""
        columns, at = np.arange(len(bars)), history["at"].astype(np.int64)
        history["prices"][at, columns] = state["close"]
        history["times"][at, columns] = state["closed"]
        at = (at + 1) % self.window_size
        state["reference"][:] = history["prices"][at, columns]
        state["began"][:] = history["times"][at, columns]
        history["at"][:] = at

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the close with the price at the beginning of the window."""
        if self.counts_sessions:
            np.copyto(state["close"], bars.close, where=bars.is_regular)
            np.copyto(state["closed"], bars.ts_close_ns, where=bars.is_regular, casting="unsafe")
            state["session"][:] = bars.session
            reference, begin_ns = state["reference"].copy(), state["began"].copy()
        else:
            reference, begin_ns = self._reference_price(state, bars)
        value = 100.0 * (bars.close - reference) / reference
        return self.compare_to_threshold(value, reference=reference, begin_ns=begin_ns)

    def _reference_price(self, state: State, bars: Bars) -> tuple[Floats, Floats]:
        """Return the price at the beginning of the window, and its time."""
        columns, at = np.arange(len(bars)), state["at"].astype(np.int64)
        prices = state["prices"]
        if not self.window_ns:
            reference, begin_ns = prices[at, columns], state["times"][at, columns]
        else:
            np.copyto(state["open"], bars.first_price, where=bars.follows_gap)
            np.copyto(state["start"], bars.ts_open_ns, where=bars.follows_gap)
            start_ns = bars.ts_close_ns - self.window_ns
            # a session of 24 hours has no gap before it
            has_gap = bars.session_close_ns - bars.session_open_ns < DAY_NS
            earliest_ns = np.where(has_gap, state["start"], 0)
            usable = (state["times"] <= start_ns) & (state["times"] > earliest_ns)
            times = np.where(usable, state["times"], -1.0)
            newest = times.argmax(axis=0)
            first_price = np.where(has_gap, state["open"], NAN)
            begin_ns = times[newest, columns]
            reference = np.where(begin_ns < 0, first_price, prices[newest, columns])
            begin_ns = np.where(begin_ns < 0, state["start"], begin_ns)
        state["times"][at, columns] = bars.ts_close_ns
        prices[at, columns] = bars.close
        state["at"][:] = (at + 1) % self.window_size
        return reference, begin_ns


class GapOpen(Detector):
    """Change from the regular close of the previous session to the regular open, in percent."""

    parameters: ClassVar[Mapping[str, object]] = {"pct": Parameter.number(required=True)}
    threshold_parameter = "pct"
    clear_bars = 1
    doubles_in = "price"
    needs_range = True
    price_fields = ("close",)

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return "overnight"

    def fields(self) -> Fields:
        """Return the last close and its session."""
        return Fields({"close": NAN, "session": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the open with the last close, at the first bar of a session."""
        reference, reference_session = state["close"].copy(), state["session"].copy()
        value = 100.0 * (bars.open - reference) / reference
        np.copyto(value, NAN, where=~bars.first_of_session)
        np.copyto(state["close"], bars.close, where=bars.is_regular)
        np.copyto(state["session"], bars.session, where=bars.is_regular)
        return self.compare_to_threshold(
            value, reference=reference, price=bars.open, reference_session=reference_session
        )


class NewExtreme(WindowedDetector):
    """A price beyond all prices of a window, which has to be full.

    The close stands for the high and the low of a bar of which only the close is known. With a window of
    sessions it is told once per session.
    """

    parameters: ClassVar[Mapping[str, object]] = {"window": Parameter.window("20d", max_bars=MAX_WINDOW_BARS)}
    threshold_parameter = ""
    has_direction = False
    doubles_in = "nothing"
    sign: ClassVar[float] = 1.0

    def __init__(self, arguments: Mapping[str, Any] | None = None, interval: str = "1d") -> None:
        super().__init__(arguments, interval)
        if self.counts_sessions:
            self.clear_bars = 1  # type: ignore[misc]

    def fields(self) -> Fields:
        """Return the extremes of the window's bars, or that of its sessions and of this session so far."""
        if self.counts_sessions:
            return Fields({"extreme": NAN, "reference": NAN, "session": NAN})
        return _price_ring(self.window_size)

    def history_fields(self) -> Fields | None:
        """Return the extremes of the window's sessions."""
        return _price_ring(self.window_size) if self.counts_sessions else None

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Add the extreme of the last session, and find that of the window."""
        columns, at = np.arange(len(bars)), history["at"].astype(np.int64)
        history["prices"][at, columns] = state["extreme"]
        history["at"][:] = (at + 1) % self.window_size
        state["reference"][:] = self._extreme(history["prices"])
        state["extreme"][:] = NAN

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the high, or the low, with those of the window."""
        price = np.where(bars.has_range, bars.high if self.sign > 0 else bars.low, bars.close)
        if self.counts_sessions:
            extreme, ignore_nan = (np.maximum, np.fmax) if self.sign > 0 else (np.minimum, np.fmin)
            # no extreme yet at the first bar of a session; no reference until the window is full
            reference = extreme(state["reference"], ignore_nan(state["extreme"], state["reference"]))
            state["extreme"][:] = ignore_nan(state["extreme"], price)
            state["session"][:] = bars.session
        else:
            columns, at = np.arange(len(bars)), state["at"].astype(np.int64)
            reference = self._extreme(state["prices"])
            state["prices"][at, columns] = price
            state["at"][:] = (at + 1) % self.window_size
        value = 100.0 * (price - reference) / reference
        fire, clear = value * self.sign > 0, value * self.sign <= 0
        begin_ns = np.zeros(len(bars))
        if self.counts_sessions:
            clear, begin_ns = clear & bars.first_of_session, bars.session_open_ns.astype(np.float64)
        return Reading(value, fire, clear, reference=reference, price=price, begin_ns=begin_ns)

    def _extreme(self, prices: Floats) -> Floats:
        extreme: Floats = (np.maximum if self.sign > 0 else np.minimum).reduce(prices, axis=0)
        return extreme


class NewHigh(NewExtreme):
    """A high above all highs of a window, in percent above the highest."""


class NewLow(NewExtreme):
    """A low below all lows of a window, in percent below the lowest."""

    sign = -1.0


def _price_ring(count: int) -> Fields:
    """Return a ring of prices; ``at`` is where the next one goes."""
    return Fields({"prices": NAN, "at": 0.0}, {"prices": count})


def _session_count(window: str) -> int | None:
    """Return the number of sessions in a window of days or weeks; None for other windows."""
    match = re.fullmatch(r"(\d+)\s*([dw])", window.strip())
    return int(match[1]) * (5 if match[2] == "w" else 1) if match else None
