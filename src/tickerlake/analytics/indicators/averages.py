"""Averages of the close and bands around them. Names, parameters and values are TA-Lib's."""

from typing import ClassVar

import numpy as np

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.rolling import nan_before, push, total, update_average
from tickerlake.analytics.state_table import Fields, State


class SMA(Indicator):
    """Simple moving average: the mean of the last n closes, a price. First value at bar n − 1 (from 0)."""

    parameters: ClassVar = {"timeperiod": 30}
    minimums: ClassVar = {"timeperiod": 1}
    price_fields: ClassVar = ("closes",)

    def fields(self) -> Fields:
        """Return the last n closes."""
        return Fields({"closes": np.nan}, {"closes": self.int_argument("timeperiod")})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the mean."""
        closes = state["closes"]
        push(closes, bars.close)
        return (total(closes) / len(closes),)


class EMA(Indicator):
    """Exponential moving average of the close, a price: weight 2 / (n + 1). First value at bar n − 1.

    It is seeded with the mean of the first n closes, as in TA-Lib.
    """

    parameters: ClassVar = {"timeperiod": 30}
    minimums: ClassVar = {"timeperiod": 1}
    price_fields: ClassVar = ("mean",)

    def fields(self) -> Fields:
        """Return the average and the number of closes."""
        return Fields({"count": 0.0, "mean": 0.0})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the average."""
        timeperiod = self.int_argument("timeperiod")
        count, mean = state["count"], state["mean"]
        count += 1
        update_average(mean, bars.close, count, timeperiod, 2 / (timeperiod + 1))
        return (nan_before(timeperiod, count, mean),)


class MACD(Indicator):
    """Moving average convergence/divergence (Appel): EMA(fast) − EMA(slow), prices.

    ``signal`` is the exponential average of ``macd``, ``hist`` their difference. The fast average starts
    later, so that both have their first value at the same bar, and all three outputs start at bar slow +
    signal − 2, as in TA-Lib. The shorter period is the fast one, whatever the order of the arguments.
    """

    parameters: ClassVar = {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9}
    minimums: ClassVar = {"fastperiod": 2, "slowperiod": 2, "signalperiod": 1}
    outputs: ClassVar = ("macd", "signal", "hist")
    price_fields: ClassVar = ("fast", "slow", "signal")

    def fields(self) -> Fields:
        """Return the three averages and the number of closes."""
        return Fields({"count": 0.0, "fast": 0.0, "slow": 0.0, "signal": 0.0})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the difference of the averages, its average, and the difference of both."""
        fastperiod, slowperiod = sorted((self.int_argument("fastperiod"), self.int_argument("slowperiod")))
        signalperiod = self.int_argument("signalperiod")
        count, fast, slow, signal = state["count"], state["fast"], state["slow"], state["signal"]
        count += 1
        update_average(fast, bars.close, count - (slowperiod - fastperiod), fastperiod, 2 / (fastperiod + 1))
        update_average(slow, bars.close, count, slowperiod, 2 / (slowperiod + 1))
        update_average(signal, fast - slow, count - (slowperiod - 1), signalperiod, 2 / (signalperiod + 1))
        first = slowperiod + signalperiod - 1
        macd = nan_before(first, count, fast - slow)
        return macd, nan_before(first, count, signal), macd - signal


class BBANDS(Indicator):
    """Bollinger bands, prices: the mean of the last n closes, and a number of standard deviations around it.

    Population standard deviation (divided by n; Bollinger, "Bollinger on Bollinger Bands", 2001). First value
    at bar n − 1. The variance is computed from the deviations from the mean, so it is exact to the last
    digits of the prices at any price level.
    """

    parameters: ClassVar = {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}
    minimums: ClassVar = {"timeperiod": 2}
    outputs: ClassVar = ("upper", "middle", "lower")
    price_fields: ClassVar = ("closes",)

    def fields(self) -> Fields:
        """Return the last n closes."""
        return Fields({"closes": np.nan}, {"closes": self.int_argument("timeperiod")})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the upper band, the mean and the lower band."""
        closes = state["closes"]
        push(closes, bars.close)
        middle = total(closes) / len(closes)
        deviation = np.sqrt(total(np.square(closes - middle)) / len(closes))
        return (
            middle + self.arguments["nbdevup"] * deviation,
            middle,
            middle - self.arguments["nbdevdn"] * deviation,
        )
