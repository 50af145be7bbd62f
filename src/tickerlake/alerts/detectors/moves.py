"""Moves against an earlier price: ``pct_change``, ``gap_open``, ``new_high``, ``new_low``."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.state_table import Fields, State
from tickerlake.errors import UsageError
from tickerlake.model.duration import DAY_NS, parse_duration_ns

MAX_WINDOW_BARS: Final = 2_000


class WindowedDetector(Detector):
    """What looks back over a window: a number of bars, of sessions, or a length of time.

    Days and weeks are counted in sessions, a week having five.
    """

    price_fields = ("close", "extreme", "known", "open", "past", "reference")

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
                f"{MAX_WINDOW_BARS:,} can be kept.",
            )

    @classmethod
    def _default_window(cls) -> int | str:
        spec = cls.parameters["window"]
        return Parameter.coerce(spec).default or 1

    @property
    def window(self) -> str:
        """Over how long it looks, for a person."""
        return self.interval if self._window_label == "1 bars" else self._window_label


class PctChange(WindowedDetector):
    """Change of the price within a window, in percent.

    A window of minutes or hours begins with the session at the earliest, at its first price: what lies before
    is a gap. Within ``1d`` of minutes is since the close of the session before.
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "window": Parameter.window(1, max_bars=MAX_WINDOW_BARS),
        "pct": Parameter.number(required=True),
    }
    threshold_parameter = "pct"

    def fields(self) -> Fields:
        """Keep the closes of the window, or the one close that it begins with."""
        if self.counts_sessions:
            return Fields({"close": NAN, "reference": NAN})
        initial = {"known": NAN, "at": 0.0, **({"times": NAN, "open": NAN} if self.window_ns else {})}
        return Fields(initial, {"known": self.window_size, "times": self.window_size})

    def history_fields(self) -> Fields | None:
        """Keep the closes of sessions."""
        return Fields({"past": NAN, "at": 0.0}, {"past": self.window_size}) if self.counts_sessions else None

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Put the close of the last session away; the oldest one is the reference."""
        columns, at = np.arange(len(bars)), history["at"].astype(np.int64)
        history["past"][at, columns] = state["close"]
        at = (at + 1) % self.window_size
        state["reference"][:] = history["past"][at, columns]
        history["at"][:] = at

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the close with the one at the window's beginning."""
        if self.counts_sessions:
            state["close"][:] = bars.close
            reference = state["reference"].copy()
        else:
            reference = self._reference_price(state, bars)
        return self.compare_to_threshold(100.0 * (bars.close - reference) / reference, reference=reference)

    def _reference_price(self, state: State, bars: Bars) -> Floats:
        columns, at = np.arange(len(bars)), state["at"].astype(np.int64)
        known = state["known"]
        if not self.window_ns:
            reference = known[at, columns]
        else:
            np.copyto(state["open"], bars.open, where=bars.first_of_session)
            until = bars.ts_close_ns - self.window_ns
            hours = bars.session_close_ns - bars.session_open_ns < DAY_NS
            begin = np.where(hours, bars.session_open_ns, 0)
            times = np.where((state["times"] <= until) & (state["times"] > begin), state["times"], -1.0)
            newest = times.argmax(axis=0)
            first = np.where(hours, state["open"], NAN)
            reference = np.where(times[newest, columns] < 0, first, known[newest, columns])
            state["times"][at, columns] = bars.ts_close_ns
        known[at, columns] = bars.close
        state["at"][:] = (at + 1) % self.window_size
        return reference


class GapOpen(Detector):
    """The open of a session against the close of the one before, in percent."""

    parameters: ClassVar[Mapping[str, object]] = {"pct": Parameter.number(required=True)}
    threshold_parameter = "pct"
    clear_bars = 1
    price_fields = ("close",)

    @property
    def window(self) -> str:
        """Over how long it looks, for a person."""
        return "overnight"

    def fields(self) -> Fields:
        """Keep the last close, and of which session it is."""
        return Fields({"close": NAN, "session": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the open with the last close, if there is a night between them."""
        reference, since = state["close"].copy(), state["session"].copy()
        value = 100.0 * (bars.open - reference) / reference
        np.copyto(value, NAN, where=~bars.first_of_session)
        state["close"][:] = bars.close
        state["session"][:] = bars.session
        return self.compare_to_threshold(value, reference=reference, price=bars.open, since=since)


class NewExtreme(WindowedDetector):
    """A price that there was not in a window before; the window has to be full."""

    parameters: ClassVar[Mapping[str, object]] = {"window": Parameter.window("20d", max_bars=MAX_WINDOW_BARS)}
    threshold_parameter = ""
    has_direction = False
    refires_on_double = False
    sign: ClassVar[float] = 1.0

    def fields(self) -> Fields:
        """Keep the extremes of the window's bars, or that of its sessions and of this one so far."""
        if self.counts_sessions:
            return Fields({"extreme": NAN, "reference": NAN})
        return Fields({"known": NAN, "at": 0.0}, {"known": self.window_size})

    def history_fields(self) -> Fields | None:
        """Keep the extremes of sessions."""
        return Fields({"past": NAN, "at": 0.0}, {"past": self.window_size}) if self.counts_sessions else None

    def roll_over(self, history: State, state: State, bars: Bars) -> None:
        """Put the extreme of the last session away, and look for that of the window."""
        columns, at = np.arange(len(bars)), history["at"].astype(np.int64)
        history["past"][at, columns] = state["extreme"]
        history["at"][:] = (at + 1) % self.window_size
        state["reference"][:] = self._extreme_of(history["past"])
        state["extreme"][:] = NAN

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the high, or the low, with those before."""
        price = bars.high if self.sign > 0 else bars.low
        if self.counts_sessions:
            pick, known = (np.maximum, np.fmax) if self.sign > 0 else (np.minimum, np.fmin)
            # a session without a bar yet has no extreme; a window that is not full stays unknown
            reference = pick(state["reference"], known(state["extreme"], state["reference"]))
            state["extreme"][:] = known(state["extreme"], price)
        else:
            columns, at = np.arange(len(bars)), state["at"].astype(np.int64)
            reference = self._extreme_of(state["known"])
            state["known"][at, columns] = price
            state["at"][:] = (at + 1) % self.window_size
        value = 100.0 * (price - reference) / reference
        fire = value * self.sign > 0
        return Reading(value, fire, value * self.sign <= 0, reference=reference, price=price)

    def _extreme_of(self, prices: Floats) -> Floats:
        pick = np.maximum if self.sign > 0 else np.minimum
        most: Floats = pick.reduce(prices, axis=0)
        return most


class NewHigh(NewExtreme):
    """A high above all highs of a window, in percent above the last."""


class NewLow(NewExtreme):
    """A low below all lows of a window, in percent below the last."""

    sign = -1.0


def _session_count(window: str) -> int | None:
    """Return the length of a window of days or weeks (of five sessions) in sessions; else None."""
    match = re.fullmatch(r"(\d+)\s*([dw])", window.strip())
    return int(match[1]) * (5 if match[2] == "w" else 1) if match else None
