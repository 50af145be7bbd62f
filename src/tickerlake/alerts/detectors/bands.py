"""Trading limits of US exchanges: ``limit_band`` and ``market_breaker``."""

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from tickerlake.alerts.detectors import us_limits
from tickerlake.alerts.detectors.detector import NAN, Detector, IndicatorValues, Reading
from tickerlake.alerts.detectors.parameter import Parameter
from tickerlake.alerts.detectors.us_limits import REFERENCE_MINUTES, LimitBandRules
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.state_table import Fields, State
from tickerlake.model.duration import MINUTE_NS

_EPSILON: Final = 1e-9
"""Far below a cent of any price: rounding must not keep a price off its band."""


class LimitBand(Detector):
    """The price reaches the limit band of the US "Limit Up-Limit Down" plan.

    An approximation: the plan's reference price is the mean of the trades of five minutes, here it is the
    mean of the bars' volume-weighted prices; the opening price is the open of the first bar; bands are not
    rounded to cents; and the stock's tier is a parameter (Tier 1: S&P 500, Russell 1000 and some
    exchange-traded products).
    """

    parameters: ClassVar[Mapping[str, object]] = {
        "tier": Parameter.integer(1, max_value=2),
        "near": Parameter.number(1.0, below=1.0 + _EPSILON),
    }
    threshold_parameter = ""
    intraday_only = True
    needs_range = True
    max_interval = "5m"
    doubles_in = "price"
    price_fields = ("close", "last", "reference", "sums")

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return f"{REFERENCE_MINUTES}m"

    def fields(self) -> Fields:
        """Return the reference price, the last closes, and sums of the prices of each of the last minutes."""
        initial = {"reference": NAN, "close": NAN, "last": NAN, "sums": 0.0, "counts": 0.0, "minutes": NAN}
        return Fields(initial, dict.fromkeys(("sums", "counts", "minutes"), REFERENCE_MINUTES))

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare high and low with the band around the reference price."""
        first = bars.first_of_session
        np.copyto(state["last"], state["close"], where=first)
        np.copyto(state["reference"], bars.first_price, where=first)
        minute = bars.ts_open_ns // MINUTE_NS
        mean = self._reference_mean(state, bars, minute)
        reference = state["reference"].copy()
        has_moved = np.abs(mean - reference) >= us_limits.MIN_REFERENCE_MOVE * reference
        np.copyto(reference, mean, where=has_moved)
        state["reference"][:] = reference
        self._add_prices(state, bars, minute)
        state["close"][:] = bars.close
        band = self._band_pct(np.where(np.isnan(state["last"]), reference, state["last"]), reference, bars)
        above, below = bars.high / reference - 1.0, bars.low / reference - 1.0
        value = 100.0 * np.where(above >= -below, above, below)
        threshold = band * self.arguments["near"]
        size = np.abs(value) if self.direction == "both" else value if self.direction == "up" else -value
        price = np.where(value > 0, bars.high, bars.low)
        clear = size < self.clear_ratio * threshold
        return Reading(
            value, size >= threshold - _EPSILON, clear, threshold, threshold, reference, price=price
        )

    @staticmethod
    def _reference_mean(state: State, bars: Bars, minute: Ints) -> Floats:
        """Return the mean price of this session's last five minutes; NaN without trades."""
        begin = np.maximum(minute - REFERENCE_MINUTES, bars.session_open_ns // MINUTE_NS)
        recent = (state["minutes"] >= begin) & (state["minutes"] <= minute)
        sums, counts = np.where(recent, state["sums"], 0.0), np.where(recent, state["counts"], 0.0)
        total, count = sums[0], counts[0]
        for n in range(1, REFERENCE_MINUTES):
            total, count = total + sums[n], count + counts[n]
        # NaN where the count is 0
        mean: Floats = total / count
        return mean

    @staticmethod
    def _add_prices(state: State, bars: Bars, minute: Ints) -> None:
        at, columns = minute % REFERENCE_MINUTES, np.arange(len(bars))
        is_new = state["minutes"][at, columns] != minute
        state["sums"][at, columns] = np.where(is_new, 0.0, state["sums"][at, columns]) + bars.vwap
        state["counts"][at, columns] = np.where(is_new, 0.0, state["counts"][at, columns]) + 1.0
        state["minutes"][at, columns] = minute

    def _band_pct(self, last_close: Floats, reference: Floats, bars: Bars) -> Floats:
        """Return half the width of the band in percent; NaN for days before the plan."""
        band = np.full(len(bars), NAN)
        newest = us_limits.LIMIT_BANDS[-1]
        if np.count_nonzero(bars.session >= newest.since) == len(bars):
            return self._band_pct_by(newest, last_close, reference, bars)
        for rules in us_limits.LIMIT_BANDS:
            in_force = bars.session >= rules.since
            if np.count_nonzero(in_force):
                band = np.where(in_force, self._band_pct_by(rules, last_close, reference, bars), band)
        return band

    def _band_pct_by(
        self, rules: LimitBandRules, last_close: Floats, reference: Floats, bars: Bars
    ) -> Floats:
        tier = self.arguments["tier"] - 1
        cheap = np.minimum(rules.below_075, 100.0 * rules.below_075_dollars / reference)
        high, low = last_close > 3.0, last_close < 0.75
        band = np.where(high, rules.above_3[tier], np.where(low, cheap, rules.from_075))
        early = bars.ts_open_ns < bars.session_open_ns + us_limits.DOUBLED_OPEN_MINUTES * MINUTE_NS
        late = bars.ts_open_ns >= bars.session_close_ns - us_limits.DOUBLED_CLOSE_MINUTES * MINUTE_NS
        doubled = (early & rules.doubled_at_open) | (late & (~high | rules.doubled_at_close[tier]))
        return np.where(doubled, 2.0 * band, band)


class MarketBreaker(Detector):
    """The S&P 500 falls so far below its last close that all US trading halts.

    The threshold is the highest level that was reached.
    """

    parameters: ClassVar[Mapping[str, object]] = {}
    threshold_parameter = ""
    has_direction = False
    doubles_in = "price"
    price_fields = ("close", "last")

    @property
    def window(self) -> str:
        """The period that it measures over, as shown in messages."""
        return "1d"

    def fields(self) -> Fields:
        """Return the last closes with their sessions; the highest level of the session, and when it began."""
        closes = dict.fromkeys(("close", "last", "session", "last_session"), NAN)
        return Fields({**closes, "level": 0.0, "began": NAN})

    def step(self, state: State, bars: Bars, values: IndicatorValues) -> Reading:
        """Compare the low, or the close if only that is known, with the close of the previous session."""
        first = bars.first_of_session
        np.copyto(state["last"], state["close"], where=first)
        np.copyto(state["last_session"], state["session"], where=first)
        reference, reference_session = state["last"].copy(), state["last_session"].copy()
        np.copyto(state["close"], bars.close, where=bars.is_regular)
        np.copyto(state["session"], bars.session, where=bars.is_regular)
        low = np.where(bars.has_range, bars.low, bars.close)
        value = 100.0 * (low / reference - 1.0)
        threshold = self._threshold(-value, bars)
        clear = -value < self.clear_ratio * threshold
        fire = -value >= threshold - _EPSILON
        state["level"][first] = 0.0
        is_next = fire & (threshold > state["level"])
        np.copyto(state["level"], threshold, where=is_next)
        np.copyto(state["began"], bars.ts_open_ns, where=is_next, casting="unsafe")
        return Reading(
            value,
            fire,
            clear,
            threshold,
            begin_ns=state["began"].copy(),
            reference=reference,
            price=low,
            reference_session=reference_session,
        )

    def _threshold(self, fall: Floats, bars: Bars) -> Floats:
        threshold = np.full(len(bars), NAN)
        for rules in us_limits.BREAKERS:
            late = bars.ts_open_ns >= bars.session_close_ns - rules.final_minutes * MINUTE_NS
            if self.is_daily:
                late = np.zeros(len(bars), dtype=bool)
            reached = np.where(late, rules.levels[2], rules.levels[0])
            for level in rules.levels[1:]:
                reached = np.where(fall >= level - _EPSILON, level, reached)
            threshold = np.where(bars.session >= rules.since, reached, threshold)
        return threshold
