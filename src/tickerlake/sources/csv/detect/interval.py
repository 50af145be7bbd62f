"""The length of a bar: inferred from the time between rows, or parsed from a text."""

import re
from typing import Final

import polars as pl

from tickerlake.model.duration import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from tickerlake.model.interval import DAILY_OR_LONGER

_MIN_DAILY_GAP_NS: Final = int(0.9 * DAY_NS)
"""Less than a day: a bar may come earlier than that of the day before, as when clocks change."""

_CALENDAR_INTERVALS: Final = (("1w", 6, 8), ("1mo", 26, 35), ("3mo", 86, 96), ("1y", 362, 369))
"""Interval, and the range of days between bars: calendar lengths, give or take a holiday or a weekend."""

_MIN_CALENDAR_SHARE: Final = 0.8
_MIN_MULTIPLE_SHARE: Final = 0.95
_INTERVAL_NAMES: Final = {
    "d": "1d", "day": "1d", "daily": "1d", "eod": "1d", "w": "1w", "week": "1w", "weekly": "1w", "wk": "1w",
    "m": "1m", "mn": "1mo", "mo": "1mo", "month": "1mo", "monthly": "1mo", "h": "1h", "hour": "1h",
    "hourly": "1h", "min": "1m", "minute": "1m", "minutes": "1m", "second": "1s", "quarterly": "3mo",
    "yearly": "1y", "annual": "1y",
}  # fmt: skip
_UNIT_ALIASES: Final = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "m": "m", "min": "m", "mins": "m",
    "minute": "m", "minutes": "m", "t": "m", "h": "h", "hr": "h", "hour": "h", "hours": "h", "d": "d",
    "day": "d", "days": "d", "w": "w", "wk": "w", "week": "w", "mo": "mo", "mon": "mo", "mth": "mo",
    "month": "mo", "y": "y",
}  # fmt: skip
_MIN_COMMON_SHARE: Final = 0.1
"""A gap must be this frequent to be the interval: rarer ones may be errors."""


def parse_interval(text: str) -> str:
    """Return the interval of a text (``5min``, ``M5``, ``1D``, ``daily``, ``60`` minutes), empty if none."""
    plain = text.strip().lower().replace(" ", "").replace("-", "").replace("_", "")
    if plain in _INTERVAL_NAMES:
        return _INTERVAL_NAMES[plain]
    if match := re.fullmatch(r"([mhdw]|mn)(\d{1,3})", plain):
        plain = f"{match[2]}{'mo' if match[1] == 'mn' else match[1]}"
    if plain.isdigit() and 0 < int(plain) <= 1440:
        plain = f"{int(plain)}m"
    match = re.fullmatch(r"(\d{1,4})([a-z]+)", plain)
    if not match or match[2] not in _UNIT_ALIASES or not int(match[1]):
        return ""
    count, unit = int(match[1]), _UNIT_ALIASES[match[2]]
    if text.strip().endswith("M") and match[2] == "m" and count in {1, 3}:
        unit = "mo"
    for small, large, size in (("s", "m", 60), ("m", "h", 60), ("h", "d", 24)):
        if unit == small and count % size == 0:
            count, unit = count // size, large
    return f"{count}{unit}" if (unit in "smh" or f"{count}{unit}" in DAILY_OR_LONGER) else ""


def infer_interval(gaps_ns: pl.Series, *, daily: bool) -> str:
    """Return ``1m``, ``1h``, ``1d``, ``1w``, ``1mo`` … for the gaps between rows; empty if there are none.

    It is the median gap or, if bars are often missing, the shortest common gap of which the others are
    multiples.

    Parameters
    ----------
    gaps_ns
        Times between neighboring rows of a symbol, in nanoseconds, none of them 0.
    daily
        True if the rows have dates without a time.
    """
    if gaps_ns.is_empty():
        return "1d" if daily else ""
    median_ns = int(gaps_ns.quantile(0.5, "lower") or 0)
    if daily or median_ns >= _MIN_DAILY_GAP_NS:
        days = (gaps_ns / DAY_NS).round(0)
        for name, min_days, max_days in _CALENDAR_INTERVALS:
            if share_true(days.is_between(min_days, max_days)) >= _MIN_CALENDAR_SHARE:
                return name
        return "1d"
    counts = gaps_ns.value_counts(sort=True)
    common_gaps = (
        counts.filter(pl.col("count") >= _MIN_COMMON_SHARE * len(gaps_ns)).get_column(gaps_ns.name).sort()
    )
    bar_ns = next(
        (
            gap
            for gap in common_gaps
            if gap <= median_ns and share_true(gaps_ns % gap == 0) >= _MIN_MULTIPLE_SHARE
        ),
        median_ns,
    )
    # fractions of a second are jitter of the timestamps
    whole_ns = int(bar_ns) // SECOND_NS * SECOND_NS
    for unit, length_ns in (("h", HOUR_NS), ("m", MINUTE_NS), ("s", SECOND_NS)):
        if whole_ns and whole_ns % length_ns == 0:
            return f"{whole_ns // length_ns}{unit}"
    return ""


def share_true(flags: pl.Series) -> float:
    """Return the share of flags that are true."""
    return int(flags.sum()) / len(flags)


def period_start(days: pl.Expr, interval: str) -> pl.Expr:
    """Return the start, in nanoseconds, of the weeks, months, quarters or years that contain days."""
    return days.cast(pl.Datetime("ns")).dt.truncate(interval.replace("3mo", "1q")).to_physical()
