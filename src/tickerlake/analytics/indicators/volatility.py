"""How much prices vary."""

from typing import ClassVar

import numpy as np

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.rolling import push, total
from tickerlake.analytics.state_table import Fields, State


class REALVOL(Indicator):
    """Realised volatility of the last n bars, a fraction of the price a bar, not annualised.

    The root of the mean of the squared log returns, around zero (Andersen, Bollerslev, Diebold and Labys,
    "Modeling and Forecasting Realized Volatility", Econometrica 71, 2003, divided by n). First value at bar
    n.
    """

    parameters: ClassVar = {"timeperiod": 20}
    minimums: ClassVar = {"timeperiod": 1}

    def fields(self) -> Fields:
        """Return the last close and the last n squared returns."""
        return Fields({"close": np.nan, "squares": np.nan}, {"squares": self.int_argument("timeperiod")})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the volatility."""
        close, squares = state["close"], state["squares"]
        # log1p of the relative change keeps the digits that log of a quotient close to 1 has lost.
        push(squares, np.square(np.log1p((bars.close - close) / close)))
        close[:] = bars.close
        return (np.sqrt(total(squares) / len(squares)),)
