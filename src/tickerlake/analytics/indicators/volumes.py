"""Volume indicators."""

from typing import ClassVar, Final

import numpy as np

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.indicators.indicator import Indicator
from tickerlake.analytics.indicators.rolling import push, ratio, total
from tickerlake.analytics.state_table import Fields, State

_SESSION_PARTS: Final = 30
"""Parts of a session with separate average volumes. In New York (390 minutes) each has 13 minutes: short
enough for the opening and closing peaks, long enough for a bar of most intraday intervals."""


def _volume_or_zero(volume: Floats) -> Floats:
    return np.where(np.isnan(volume), 0.0, volume)


class OBV(Indicator):
    """On-balance volume (Granville), shares: adds the volume of bars that close higher, subtracts if lower.

    It starts with the first bar's volume, as in TA-Lib. An unknown volume counts as 0.
    """

    price_fields: ClassVar = ("close",)
    share_fields: ClassVar = ("balance",)

    def fields(self) -> Fields:
        """Return the last close and the balance."""
        return Fields({"close": np.nan, "balance": 0.0})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the balance."""
        close, balance = state["close"], state["balance"]
        direction = np.where(np.isnan(close), 1.0, np.sign(bars.close - close))
        close[:] = bars.close
        balance += direction * _volume_or_zero(bars.volume)
        return (balance.copy(),)


class VWAP(Indicator):
    """Volume-weighted average price since the session's first bar; NaN before the first volume.

    It begins anew at the open, so that regular hours are averaged alone, and goes on after the close.

    The sum of the bars' vwap × volume, divided by the sum of their volumes.
    """

    share_fields: ClassVar = ("volume",)

    def fields(self) -> Fields:
        """Return the session's turnover and volume."""
        return Fields({"turnover": 0.0, "volume": 0.0})

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the average."""
        turnover, volume = state["turnover"], state["volume"]
        volume_or_zero = _volume_or_zero(bars.volume)
        continues = ~bars.follows_gap
        turnover[:] = turnover * continues + bars.vwap * volume_or_zero
        volume[:] = volume * continues + volume_or_zero
        return (ratio(turnover, volume, np.nan),)


class RVWAP(Indicator):
    """Volume-weighted average price of the last n bars, across sessions; NaN if they have no volume.

    First value at bar n − 1. An unknown volume counts as 0.
    """

    parameters: ClassVar = {"timeperiod": 20}
    minimums: ClassVar = {"timeperiod": 1}
    share_fields: ClassVar = ("volumes",)

    def fields(self) -> Fields:
        """Return turnover and volume of the last n bars."""
        timeperiod = self.int_argument("timeperiod")
        return Fields(
            {"turnovers": np.nan, "volumes": np.nan}, {"turnovers": timeperiod, "volumes": timeperiod}
        )

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the average."""
        volume_or_zero = _volume_or_zero(bars.volume)
        push(state["turnovers"], bars.vwap * volume_or_zero)
        push(state["volumes"], volume_or_zero)
        return (ratio(total(state["turnovers"]), total(state["volumes"]), np.nan),)


class RELVOL(Indicator):
    """Relative volume, a multiple: a bar's volume divided by the average at this time of the session.

    A session has 30 parts of equal length, plus one before and one after it; a bar belongs to the part in
    which it opens. The baseline is the mean volume of the bars of this part over the last n sessions that had
    any, excluding the current one: the simple mean of the first n such sessions, then Wilder's average
    (weight 1 / n), which needs no memory of each session. NaN before n sessions, and for an unknown volume.

    Daily bars, and all bars as long as their session, have one part: the first value, at bar n, is the volume
    divided by the mean of the n volumes before it.
    """

    parameters: ClassVar = {"timeperiod": 20}
    minimums: ClassVar = {"timeperiod": 1}
    share_fields: ClassVar = ("means", "volume")

    def fields(self) -> Fields:
        """Return means and session counts of the parts; the current part, its volume and its bars."""
        names = ("means", "sessions", "part", "volume", "bars")
        return Fields(
            dict.fromkeys(names, 0.0), {"means": _SESSION_PARTS + 2, "sessions": _SESSION_PARTS + 2}
        )

    def step(self, state: State, bars: Bars) -> tuple[Floats, ...]:
        """Return the multiple."""
        part = _session_part(bars)
        ended = (state["bars"] > 0) & (bars.first_of_phase | (state["part"] != part))
        if ended.any():
            self._close_part(state, np.flatnonzero(ended))
        state["part"][:] = part
        index = part, np.arange(len(bars))
        baseline = np.where(
            state["sessions"][index] >= self.arguments["timeperiod"], state["means"][index], 0.0
        )
        volume, count = state["volume"], state["bars"]
        volume += _volume_or_zero(bars.volume)
        count += ~np.isnan(bars.volume)
        return (ratio(bars.volume, baseline, np.nan),)

    def _close_part(self, state: State, selection: Ints) -> None:
        """Add a finished part to its mean."""
        index = state["part"][selection].astype(np.int64), selection
        sessions = state["sessions"][index] + 1
        mean = state["means"][index]
        volume = state["volume"][selection] / state["bars"][selection]
        state["means"][index] = mean + (volume - mean) / np.minimum(sessions, self.arguments["timeperiod"])
        state["sessions"][index] = sessions
        state["volume"][selection] = 0.0
        state["bars"][selection] = 0.0


def _session_part(bars: Bars) -> Ints:
    """Return the part of the session of each bar: 0 before it, 1 to 30 within it, 31 after it."""
    length = np.maximum(bars.session_close_ns - bars.session_open_ns, 1)
    part = np.clip(
        (bars.ts_open_ns - bars.session_open_ns) * _SESSION_PARTS // length + 1, 0, _SESSION_PARTS + 1
    )
    return np.where(bars.ts_close_ns - bars.ts_open_ns >= length, 1, part)
