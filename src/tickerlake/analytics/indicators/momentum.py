"""Momentum: distance and speed of price moves. Names, parameters and values are TA-Lib's."""

from typing import ClassVar

import numpy as np

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.rolling import nan_before, push, ratio, total, update_average
from tickerlake.analytics.state_table import Fields, State


class RSI(Indicator):
    """Relative strength index, 0 to 100: the share of gains in all moves of the close.

    100 × mean gain / (mean gain + mean loss), both Wilder averages (weight 1 / n, seeded with a simple mean;
    Wilder, "New Concepts in Technical Trading Systems", 1978). First value at bar n; 0 while the price has
    never moved.
    """

    parameters: ClassVar = {"timeperiod": 14}
    minimums: ClassVar = {"timeperiod": 2}
    price_fields: ClassVar = ("close", "moves")

    def fields(self) -> Fields:
        """Return the last close, the number of moves, and the mean gain and loss."""
        return Fields({"close": np.nan, "count": -1.0, "moves": 0.0}, {"moves": 2})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the index."""
        timeperiod = self.int_argument("timeperiod")
        close, count, moves = state["close"], state["count"], state["moves"]
        count += 1
        change = bars.close - close
        close[:] = bars.close
        update_average(moves, np.maximum((change, -change), 0.0), count, timeperiod, 1 / timeperiod)
        gains, losses = moves
        return (nan_before(timeperiod, count, 100 * ratio(gains, gains + losses, 0.0)),)


class ROC(Indicator):
    """Rate of change of the close over n bars, in percent. First value at bar n."""

    parameters: ClassVar = {"timeperiod": 10}
    minimums: ClassVar = {"timeperiod": 1}
    price_fields: ClassVar = ("closes",)

    def fields(self) -> Fields:
        """Return the last n closes."""
        return Fields({"closes": np.nan}, {"closes": self.int_argument("timeperiod")})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the change."""
        closes = state["closes"]
        change = (ratio(bars.close, closes[0], 1.0) - 1) * 100
        push(closes, bars.close)
        return (change,)


class STOCH(Indicator):
    """Slow stochastic (Lane), 0 to 100: where the close lies between the lowest low and the highest high.

    ``slowk`` is the simple mean of its last values, ``slowd`` the simple mean of ``slowk``; 0 where high and
    low are the same. First values at bar fastk + slowk + slowd − 3. TA-Lib's other types of averages are not
    supported.
    """

    parameters: ClassVar = {"fastk_period": 5, "slowk_period": 3, "slowd_period": 3}
    minimums: ClassVar = {"fastk_period": 1, "slowk_period": 1, "slowd_period": 1}
    outputs: ClassVar = ("slowk", "slowd")
    needs_range: ClassVar = True
    price_fields: ClassVar = ("highs", "lows")

    def fields(self) -> Fields:
        """Return the last highs and lows, and the last values of the two averages."""
        fastk, slowk, slowd = (self.int_argument(name) for name in self.parameters)
        windows = {"highs": fastk, "lows": fastk, "fastk": slowk, "slowk": slowd}
        return Fields(dict.fromkeys(windows, np.nan), windows)

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return both averages."""
        highs, lows, fastk, slowk = state["highs"], state["lows"], state["fastk"], state["slowk"]
        push(highs, bars.high)
        push(lows, bars.low)
        lowest = lows.min(axis=0)
        push(fastk, 100 * ratio(bars.close - lowest, highs.max(axis=0) - lowest, 0.0))
        push(slowk, total(fastk) / len(fastk))
        slowd = total(slowk) / len(slowk)
        return np.where(np.isnan(slowd), np.nan, slowk[-1]), slowd
