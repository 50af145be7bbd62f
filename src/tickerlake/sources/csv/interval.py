"""The length of a bar: from the time between neighbouring rows, or as a text says."""

import re
from typing import Final

import polars as pl

from tickerlake.model.interval import DAILY

_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400
_CALENDAR: Final = (("1w", 6, 8), ("1mo", 26, 35), ("3mo", 86, 96), ("1y", 362, 369))
_WORDS: Final = {
    "d": "1d", "day": "1d", "daily": "1d", "eod": "1d", "w": "1w", "week": "1w", "weekly": "1w", "wk": "1w",
    "m": "1m", "mn": "1mo", "mo": "1mo", "month": "1mo", "monthly": "1mo", "h": "1h", "hour": "1h",
    "hourly": "1h", "min": "1m", "minute": "1m", "minutes": "1m", "second": "1s", "quarterly": "3mo",
    "yearly": "1y", "annual": "1y",
}  # fmt: skip
_UNITS: Final = {
    "s": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "m": "m", "min": "m", "mins": "m",
    "minute": "m", "minutes": "m", "t": "m", "h": "h", "hr": "h", "hour": "h", "hours": "h", "d": "d",
    "day": "d", "days": "d", "w": "w", "wk": "w", "week": "w", "mo": "mo", "mon": "mo", "mth": "mo",
    "month": "mo", "y": "y",
}  # fmt: skip
_SPARSE_SHARE: Final = 0.1


def parse_interval(text: str) -> str:
    """Return the interval of a text (``5min``, ``M5``, ``1D``, ``daily``, ``60`` minutes); empty if none."""
    plain = text.strip().lower().replace(" ", "").replace("-", "").replace("_", "")
    if plain in _WORDS:
        return _WORDS[plain]
    if match := re.fullmatch(r"([mhdw]|mn)(\d{1,3})", plain):
        plain = f"{match[2]}{'mo' if match[1] == 'mn' else match[1]}"
    if plain.isdigit() and 0 < int(plain) <= 1440:
        plain = f"{int(plain)}m"
    match = re.fullmatch(r"(\d{1,4})([a-z]+)", plain)
    if not match or match[2] not in _UNITS or not int(match[1]):
        return ""
    count, unit = int(match[1]), _UNITS[match[2]]
    if text.strip().endswith("M") and match[2] == "m" and count in {1, 3}:
        unit = "mo"
    for small, large, size in (("s", "m", 60), ("m", "h", 60), ("h", "d", 24)):
        if unit == small and count % size == 0:
            count, unit = count // size, large
    return f"{count}{unit}" if (unit in "smh" or f"{count}{unit}" in DAILY) else ""


def interval_of(gaps_ns: pl.Series, *, daily: bool) -> str:
    """Return ``1m``, ``1h``, ``1d``, ``1w``, ``1mo`` … for the gaps between rows; empty if nothing tells.

    It is the median gap, but for bars that are often missing: there the shortest gap that is common and of
    which the others are multiples.

    Parameters
    ----------
    gaps_ns
        Time between neighbouring rows of a symbol, in nanoseconds, none of them 0.
    daily
        True if the rows have dates without a time.
    """
    if gaps_ns.is_empty():
        return "1d" if daily else ""
    middle = int(gaps_ns.quantile(0.5, "lower") or 0)
    if daily or middle >= _DAY * 0.9 * _SECOND:
        days = (gaps_ns / (_DAY * _SECOND)).round(0)
        for name, least, most in _CALENDAR:
            if share(days.is_between(least, most)) >= 0.8:
                return name
        return "1d"
    counts = gaps_ns.value_counts(sort=True)
    common = counts.filter(pl.col("count") >= _SPARSE_SHARE * len(gaps_ns)).get_column(gaps_ns.name).sort()
    chosen = next((gap for gap in common if gap <= middle and share(gaps_ns % gap == 0) >= 0.95), middle)
    seconds = int(chosen) // _SECOND
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return ""


def share(flags: pl.Series) -> float:
    """Return for how many of some flags are true."""
    return int(flags.sum()) / len(flags)


def open_of(ends: pl.Expr, interval: str) -> pl.Expr:
    """Return the beginning, in nanoseconds, of the weeks, months, quarters or years of some days."""
    return ends.cast(pl.Datetime("ns")).dt.truncate(interval.replace("3mo", "1q")).to_physical()
