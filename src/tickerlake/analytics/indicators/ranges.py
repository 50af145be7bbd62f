"""Range, trend strength and volatility. Names, parameters and values of ATR and ADX are TA-Lib's."""

from typing import ClassVar

import numpy as np

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.rolling import nan_before, push, ratio, total, update_average
from tickerlake.analytics.state_table import Fields, State


class ATR(Indicator):
    """Average true range, a price difference: the Wilder average of the true range.

    True range = max(high, previous close) − min(low, previous close) (Wilder, "New Concepts in Technical
    Trading Systems", 1978). The first bar has none; first value at bar n.
    """

    parameters: ClassVar = {"timeperiod": 14}
    minimums: ClassVar = {"timeperiod": 1}
    needs_range: ClassVar = True
    price_fields: ClassVar = ("close", "mean")

    def fields(self) -> Fields:
        """Return the last close, the number of true ranges, and their average."""
        return Fields({"close": np.nan, "count": -1.0, "mean": 0.0})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the average."""
        timeperiod = self.int_argument("timeperiod")
        close, count, mean = state["close"], state["count"], state["mean"]
        count += 1
        true_range = np.maximum(bars.high, close) - np.minimum(bars.low, close)
        close[:] = bars.close
        update_average(mean, true_range, count, timeperiod, 1 / timeperiod)
        return (nan_before(timeperiod, count, mean),)


class ADX(Indicator):
    """Average directional index, 0 to 100: trend strength, whatever the direction.

    DX = 100 × |up − down| / (up + down), of the Wilder sums of the directional moves (Wilder, "New Concepts
    in Technical Trading Systems", 1978; usually both are divided by the true range first, which cancels out).
    ADX is the Wilder average of DX, seeded with the mean of n. First value at bar 2n − 1.
    """

    parameters: ClassVar = {"timeperiod": 14}
    minimums: ClassVar = {"timeperiod": 2}
    needs_range: ClassVar = True
    price_fields: ClassVar = ("high", "low", "moves")

    def fields(self) -> Fields:
        """Return the last bar, the number of moves, the sums of moves up and down, and the average."""
        first = {"high": np.nan, "low": np.nan, "count": -1.0, "moves": 0.0, "adx": 0.0}
        return Fields(first, {"moves": 2})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the average."""
        timeperiod = self.int_argument("timeperiod")
        count, moves, adx = state["count"], state["moves"], state["adx"]
        count += 1
        # TA-Lib sums the first n − 1 moves as they are; from the n-th on the sums decay.
        moves -= moves * (count >= timeperiod) / timeperiod
        moves += self._directional_moves(state, bars)
        up, down = moves
        # 0/0 where the price has not moved yet: as in TA-Lib, such a DX counts as 0.
        dx = ratio(100 * np.abs(up - down), up + down, 0.0)
        update_average(adx, dx, count - (timeperiod - 1), timeperiod, 1 / timeperiod)
        return (nan_before(2 * timeperiod - 1, count, adx),)

    @staticmethod
    def _directional_moves(state: State, bars: Bars) -> Floats:
        up, down = bars.high - state["high"], state["low"] - bars.low
        state["high"][:], state["low"][:] = bars.high, bars.low
        # Only the larger of the two counts. NaN, at the first bar, is not a move.
        return np.array(
            (np.where((up > down) & (up > 0), up, 0.0), np.where((down > up) & (down > 0), down, 0.0))
        )


class REALVOL(Indicator):
    """Realized volatility of the last n bars, a fraction of the price per bar, not annualized.

    The root of the mean squared log return, around zero (Andersen, Bollerslev, Diebold and Labys,
    "Modeling and Forecasting Realized Volatility", Econometrica 71, 2003, divided by n). First value at bar
    n.
    """

    parameters: ClassVar = {"timeperiod": 20}
    minimums: ClassVar = {"timeperiod": 1}
    price_fields: ClassVar = ("close",)

    def fields(self) -> Fields:
        """Return the last close and the last n squared returns."""
        return Fields({"close": np.nan, "squares": np.nan}, {"squares": self.int_argument("timeperiod")})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the volatility."""
        close, squares = state["close"], state["squares"]
        # log1p of the relative change keeps the digits that the log of a quotient close to 1 loses.
        push(squares, np.square(np.log1p((bars.close - close) / close)))
        close[:] = bars.close
        return (np.sqrt(total(squares) / len(squares)),)
