"""The length of a bar, from the time between neighbouring rows."""

from typing import Final

import polars as pl

DAILY: Final = ("1d", "1w", "1mo")
"""Intervals that begin with a day, not at a time of day."""

_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400


def interval_of(gap_ns: int | None, *, daily: bool) -> str:
    """Return ``1m``, ``5m``, ``1h``, ``1d``, ``1w`` or ``1mo`` for a gap; empty if nothing tells."""
    if gap_ns is None:
        return "1d" if daily else ""
    seconds = gap_ns // _SECOND
    days = round(seconds / _DAY)
    if daily or seconds >= _DAY * 0.9:
        return "1d" if days <= 4 else "1w" if days <= 10 else "1mo"
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return ""


def close_of(opens: pl.Expr, interval: str) -> pl.Expr:
    """Return the exclusive end, in nanoseconds, of intervals by their beginning."""
    if interval == "1mo":
        return opens.cast(pl.Datetime("ns")).dt.offset_by("1mo").to_physical()
    return opens + length_ns(interval)


def length_ns(interval: str) -> int:
    """Return the length of an interval that always has the same."""
    unit = {"s": 1, "m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY}[interval[-1]]
    return int(interval[:-1]) * unit * _SECOND
