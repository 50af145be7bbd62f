"""The length of a bar, from ``1s`` to ``1y``."""

import re
from typing import Final

import polars as pl

from tickerlake.errors import UsageError
from tickerlake.model.duration import DAY_NS, UNIT_NS

DAILY_OR_LONGER: Final = ("1d", "1w", "1mo", "3mo", "1y")
"""Intervals whose bars have a date, but no time of day."""


def interval_ns(interval: str) -> int:
    """Return the length of an interval whose length does not vary."""
    return int(interval[:-1]) * UNIT_NS[interval[-1]]


def interval_end(opens: pl.Expr, interval: str) -> pl.Expr:
    """Return the exclusive end, in nanoseconds, of intervals by their start."""
    if interval.endswith(("mo", "y")):
        return opens.cast(pl.Datetime("ns")).dt.offset_by(interval).to_physical()
    return opens + interval_ns(interval)


def validate_bar_interval(text: str) -> str:
    """Return the interval of bars to build: seconds, minutes or hours that divide a day, or ``1d``.

    Raises
    ------
    UsageError
        If it is another interval.
    """
    interval = text.strip()
    if re.fullmatch(r"[1-9]\d{0,4}[smh]", interval) and DAY_NS % interval_ns(interval) == 0:
        return "1d" if interval_ns(interval) == DAY_NS else interval
    if interval == "1d":
        return interval
    raise UsageError(
        f"Bars of {text!r} cannot be built.",
        "Use 1d, or seconds, minutes or hours that divide a day: 1m, 5m, 1h.",
    )
