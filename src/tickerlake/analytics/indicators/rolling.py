"""What indicators are made of: windows, sums and averages of many instruments at once.

All of it is element-wise, so an instrument's result has the same bits whichever others share the step.
"""

import numpy as np

from tickerlake.analytics.bars import Floats


def push(window: Floats, values: Floats) -> None:
    """Let a window, of the shape (n, k), forget its oldest values and take new ones at its end."""
    window[:-1] = window[1:]
    window[-1] = values


def total(window: Floats) -> Floats:
    """Return the sums over a window of the shape (n, k), n ≥ 1; NaN where it is not full yet.

    Adds halves to halves: log₂ n steps, and less rounding than a running sum, which also never forgets an
    infinity. `np.sum` would round in an order that depends on k.
    """
    while len(window) > 1:
        half = len(window) // 2
        halves = window[:half] + window[half : 2 * half]
        if len(window) % 2:
            halves[0] += window[-1]
        window = halves
    return np.asarray(window[0])


def update_average(mean: Floats, values: Floats, counts: Floats, timeperiod: int, weight: float) -> None:
    """Take new values into an exponential average that begins as a simple one, as all of TA-Lib's do.

    Parameters
    ----------
    mean
        The average, of the shape (k,) or (m, k): changed in place; 0 before the first value.
    values
        The new values. They are ignored where the count is below 1.
    counts
        How many values the average has had with this one, of the shape (k,).
    timeperiod
        The number of values whose simple mean is the beginning.
    gain
        Weight of each later value: 2 / (n + 1) for an exponential average, 1 / n for Wilder's.
    """
    weights: float | Floats = weight
    if counts.min(initial=np.inf) <= timeperiod:
        values = np.where(counts > 0, values, 0.0)
        weights = np.where(counts > timeperiod, weight, 1.0 / np.maximum(counts, 1.0))
    mean += (values - mean) * weights


def ratio(numerator: Floats, denominator: Floats, default: float | Floats) -> Floats:
    """Return a quotient, and something else where it would be one by zero."""
    result = np.empty_like(numerator)
    result[...] = default
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def nan_before(min_count: float, counts: Floats, values: Floats) -> Floats:
    """Return values from a count on, NaN before."""
    return np.where(counts >= min_count, values, np.nan)
