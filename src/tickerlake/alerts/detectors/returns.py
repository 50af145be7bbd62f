"""Log returns of bars, as detectors that know a time of day want them."""

from typing import Final

import numpy as np

from tickerlake.analytics.bars import Bars, Floats
from tickerlake.analytics.state_table import State

MAX_MISSING_INTERVALS: Final = 30.0
"""A return over a longer silence is not taken for a wider one."""

MIN_SIGMA_TICKS: Final = 0.5
"""The least sigma, in ticks: below it, a price that flips between two ticks looks like news."""

MIN_SIGMA: Final = 1e-6
_MAX_SIGMA_FLOOR: Final = 0.01
RETURN_FIELDS: Final = {"close": np.nan, "closed": np.nan, "tick": np.inf}
"""The last close, when that was (ns), and the smallest change of the price that was seen."""


def log_returns(state: State, bars: Bars, interval_ns: int, *, daily: bool) -> tuple[Floats, Floats, Floats]:
    """Return the log return of each bar, its reference price, and how many intervals it took.

    The first bar of a session is measured from its open: the night is another matter (see ``gap_open``). Bars
    of days are measured from close to close.
    """
    close, before = bars.close, state["close"].copy()
    if daily:
        reference, width = before, np.ones(len(bars))
    else:
        width = (bars.ts_close_ns - state["closed"]) / interval_ns
        width = np.fmin(np.fmax(width, 1.0), MAX_MISSING_INTERVALS + 1.0)
        reference = before
        if np.count_nonzero(bars.first_of_session):
            reference = np.where(bars.first_of_session, bars.open, before)
            width[bars.first_of_session] = 1.0
    change = np.abs(close - before)
    # sums of decimals leave dust
    np.copyto(change, np.inf, where=change <= 1e-9 * close)
    np.fmin(state["tick"], change, out=state["tick"])
    state["close"][:] = close
    state["closed"][:] = bars.ts_close_ns
    return np.log(close / reference), reference, width


def sigma_floor(state: State, reference: Floats) -> Floats:
    """Return the least sigma of a return that is more than the noise of ticks."""
    return np.minimum(np.maximum(state["tick"] * MIN_SIGMA_TICKS / reference, MIN_SIGMA), _MAX_SIGMA_FLOOR)
