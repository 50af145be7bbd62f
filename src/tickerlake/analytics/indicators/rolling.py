"""Building blocks of indicators: windows, sums and averages of many instruments at once.

All are element-wise, so an instrument's result has the same bits whichever instruments share the step.
"""

import numpy as np

from tickerlake.analytics.bars import Floats


def push(window: Floats, values: Floats) -> None:
    """Drop the oldest values of a window of the shape (n, k), and append new ones."""
    window[:-1] = window[1:]
    window[-1] = values


def total(window: Floats) -> Floats:
    """Return the sums over a window of the shape (n, k), n ≥ 1; NaN where it is not full yet.

    Adds half to half: log₂ n steps, and less rounding than a running sum, which also never recovers from an
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
    """Add new values to an exponential average that starts as a simple one, as all averages of TA-Lib do.

    Parameters
    ----------
    mean
        The average, of the shape (k,) or (m, k): changed in place; 0 before the first value.
    values
        The new values, skipped where the count is below 1.
    counts
        Number of values of the average including this one, of the shape (k,).
    timeperiod
        Number of values whose simple mean is the seed.
    weight
        Weight of each later value: 2 / (n + 1) for an exponential average, 1 / n for Wilder's.
    """
    weights: float | Floats = weight
    if counts.min(initial=np.inf) <= timeperiod:
        values = np.where(counts > 0, values, 0.0)
        weights = np.where(counts > timeperiod, weight, 1.0 / np.maximum(counts, 1.0))
    mean += (values - mean) * weights


def ratio(numerator: Floats, denominator: Floats, default: float | Floats) -> Floats:
    """Return a quotient, or the default where the denominator is zero."""
    result = np.empty_like(numerator)
    result[...] = default
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def nan_before(min_count: float, counts: Floats, values: Floats) -> Floats:
    """Return values where a count is reached, NaN before."""
    return np.where(counts >= min_count, values, np.nan)
