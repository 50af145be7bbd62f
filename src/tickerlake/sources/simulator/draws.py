"""Random numbers by counter: the n-th number of a stream follows from the stream's key and n alone.

A market therefore does not depend on batches, threads or the machine. The mixer is SplitMix64 (Steele, Lea
and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17). Distributions are
tables of rounded values, as two C libraries may differ in the last bit of a logarithm.
"""

from functools import cache
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import Final

import polars as pl

TABLE_BITS: Final = 16
SYMBOL_BITS: Final = 20
"""The number of bits of a draw that choose the symbol of a trade."""

_GOLDEN_GAMMA: Final = 0x9E3779B97F4A7C15
_MIX_ROUNDS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_FINAL_SHIFT: Final = 31
_MASK: Final = (1 << 64) - 1
_LOT_SHARES: Final = 100
_MAX_LOTS: Final = 500
_ODD_LOT_SHARE: Final = 0.3
_PARETO_EXPONENT: Final = 1.5


def stream_key(*numbers: int) -> int:
    """Return the key of a stream: a hash of the seed and of the purpose of the stream."""
    mixed = 0
    for number in numbers:
        mixed = _mix((mixed ^ (number & _MASK)) + _GOLDEN_GAMMA)
    return mixed


def draw_bits(stream: int, counter: pl.Series) -> pl.Series:
    """Return 64 random bits for each value of a counter.

    Parameters
    ----------
    stream
        From :func:`stream_key`.
    counter
        Whole numbers, not negative.
    """
    # not an expression, which would be computed again at every use
    z = counter.cast(pl.UInt64) * _u64(_GOLDEN_GAMMA) + _u64(stream)
    for shift, factor in _MIX_ROUNDS:
        z = (z ^ z // (1 << shift)) * _u64(factor)
    return z ^ z // (1 << _FINAL_SHIFT)


def bit_field(drawn: pl.Expr, low: int, count: int) -> pl.Expr:
    """Return some of the bits of a draw, as a whole number."""
    return drawn // (1 << low) % (1 << count)


def is_below(drawn: pl.Series, probability: float) -> pl.Series:
    """Return which draws fall below a probability."""
    return drawn < _u64(min(_MASK, int(probability * _MASK)))


def apportion(total: int, weights: list[int], drawn: int) -> list[int]:
    """Split a total by weights, exactly; the draw decides where the rounding falls."""
    weight_sum = sum(weights)
    edges = [(total * part + drawn % weight_sum) // weight_sum for part in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(edges)]


@cache
def normal_quantiles() -> pl.Series:
    """Return quantiles of the standard normal distribution, by `TABLE_BITS` of a draw."""
    count = 1 << TABLE_BITS
    quantile = NormalDist().inv_cdf
    return pl.Series([round(quantile((n + 0.5) / count), 6) for n in range(count)])


@cache
def trade_sizes() -> pl.Series:
    """Return sizes of trades in shares, by `TABLE_BITS` of a draw.

    Three of ten are odd lots of less than 100 shares; the others are lots of 100 with a Pareto tail of
    exponent 1.5 (Gopikrishnan et al., "Statistical properties of share volume traded in financial markets",
    Phys. Rev. E 62, 2000).
    """
    count = 1 << TABLE_BITS
    odd = int(count * _ODD_LOT_SHARE)
    shares = [1 + n * (_LOT_SHARES - 1) // odd for n in range(odd)]
    for n in range(count - odd):
        rest = 1 - (n + 0.5) / (count - odd)
        # rounding removes differences between C libraries
        shares.append(_LOT_SHARES * min(_MAX_LOTS, int(round(rest ** (-1 / _PARETO_EXPONENT), 6))))
    return pl.Series(shares, dtype=pl.Int64)


def _mix(number: int) -> int:
    z = number & _MASK
    for shift, factor in _MIX_ROUNDS:
        z = (z ^ z >> shift) * factor & _MASK
    return z ^ z >> _FINAL_SHIFT


def _u64(number: int) -> pl.Series:
    return pl.Series([number], dtype=pl.UInt64)
