"""The length of a bar: inferred from the time between rows, or parsed from a text."""

import re
from typing import Final

import polars as pl

from tickerlake.model.duration import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from tickerlake.model.interval import DAILY_OR_LONGER, interval_ns

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
    "minute": "m", "minutes": "m", "t": "m", "h": "h", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "d": "d", "day": "d", "days": "d", "w": "w", "wk": "w", "week": "w", "mo": "mo", "mon": "mo",
    "mth": "mo", "month": "mo", "y": "y",
}  # fmt: skip
_ISO_DURATION: Final = re.compile(r"P(?:(T)(?=\d+[DHMS]$)|(?=\d+[DWMY]$))(\d{1,4})([A-Z])", re.IGNORECASE)
_MINUTE_S: Final = MINUTE_NS // SECOND_NS
_USUAL_LENGTHS_S: Final = (
    *(1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30),
    *(60 * minutes for minutes in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 60, 90)),
    *(3600 * hours for hours in (2, 3, 4, 6, 8, 12)),
)
"""The lengths of bars that people use, in seconds."""

_MAJORITY: Final = 0.5
_MIN_EXACT_SHARE: Final = 0.01
_MIN_ODD_GAPS: Final = 3
"""Fewer gaps are equal by chance."""

_MAX_DAILY_DRIFT: Final = 1 / 3
"""Daily bars may have the time of the last trade, which varies within a session: in days."""

_MIN_IRREGULAR: Final = 10
_MIN_COMMON_SHARE: Final = 0.1
"""A gap must be this frequent to be the interval: rarer ones may be errors."""


def parse_interval(text: str) -> str:
    """Return the interval of a text (``5min``, ``M5``, ``1D``, ``PT1H``, ``daily``), empty if none."""
    if match := _ISO_DURATION.fullmatch(text.strip()):
        is_month = match[3] in "Mm" and not match[1]
        text = f"{match[2]}{'mo' if is_month else match[3].lower()}"
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


def infer_interval(gaps_ns: pl.Series, *, daily: bool, period: str = "") -> str:
    """Return ``1m``, ``1h``, ``1d``, ``1w``, ``1mo`` … for the gaps between rows; empty if nothing shows it.

    It is the shortest common gap of which the others are multiples, or else the median gap. An odd length
    counts only if most gaps have it: bars of ticks, volume or a price range have gaps of any length.

    Parameters
    ----------
    gaps_ns
        Times between neighboring rows of a symbol, in nanoseconds, none of them 0.
    daily
        True if the rows have dates without a time.
    period
        ``1mo`` or ``3mo`` if the dates are months or quarters.
    """
    if gaps_ns.is_empty():
        return period or ("1d" if daily else "")
    median_ns = int(gaps_ns.quantile(0.5, "lower") or 0)
    if daily or median_ns >= _MIN_DAILY_GAP_NS:
        days = (gaps_ns / DAY_NS).round(0)
        for name, min_days, max_days in _CALENDAR_INTERVALS:
            if share_true(days.is_between(min_days, max_days)) >= _MIN_CALENDAR_SHARE:
                return name
        return period or ("1d" if daily or _is_one_per_day(gaps_ns) else "")
    # fractions of a second are jitter of the timestamps
    seconds = (gaps_ns + SECOND_NS // 2 - 1) // SECOND_NS
    median_s = (median_ns + SECOND_NS // 2 - 1) // SECOND_NS
    counts = seconds.value_counts(sort=True)
    common = (
        counts.filter(pl.col("count") >= _MIN_COMMON_SHARE * len(gaps_ns)).get_column(gaps_ns.name).sort()
    )
    candidates = [
        gap
        for gap in common
        if 0 < gap <= median_s
        and share_true(seconds % gap == 0) >= _MIN_MULTIPLE_SHARE
        and (gap >= _MINUTE_S or gap == counts[gaps_ns.name][0] or share_true(seconds == gap) > _MAJORITY)
    ]
    # bars that are often missing: the longest usual length of which the gaps are multiples
    sparse = [
        length
        for length in reversed(_USUAL_LENGTHS_S)
        if _MINUTE_S <= length <= median_s
        and share_true(seconds % length == 0) >= _MIN_MULTIPLE_SHARE
        and share_true(seconds == length) >= _MIN_EXACT_SHARE
    ]
    length_s = next(
        (gap for gap in [*candidates, *sparse, median_s] if _is_length_of_bars(gap, seconds, gaps_ns)), 0
    )
    for unit, unit_s in (("h", HOUR_NS // SECOND_NS), ("m", _MINUTE_S), ("s", 1)):
        if length_s and length_s % unit_s == 0:
            return f"{length_s // unit_s}{unit}"
    return ""


def _is_one_per_day(gaps_ns: pl.Series) -> bool:
    """Return whether rows about a day apart are daily: at about one time, and hardly ever two a day."""
    from_whole_days = (gaps_ns / DAY_NS - (gaps_ns / DAY_NS).round(0)).abs()
    return (
        share_true(from_whole_days <= _MAX_DAILY_DRIFT) >= _MIN_CALENDAR_SHARE
        and share_true(gaps_ns < DAY_NS // 2) <= 1 - _MIN_MULTIPLE_SHARE
    )


def _is_length_of_bars(length_s: int, gaps_s: pl.Series, gaps_ns: pl.Series) -> bool:
    """Return whether a gap is a length that people use, or nearly all others are multiples of it."""
    if length_s <= 0:
        return False
    tolerance_ns = min(length_s * SECOND_NS // 50, 2 * SECOND_NS)
    remainders = (gaps_ns + tolerance_ns) % (length_s * SECOND_NS)
    if share_true(remainders <= 2 * tolerance_ns) < _MIN_MULTIPLE_SHARE:
        return False
    share = share_true((gaps_ns - length_s * SECOND_NS).abs() <= tolerance_ns)
    is_usual = length_s in _USUAL_LENGTHS_S
    return is_usual or (share > _MAJORITY and len(gaps_s) >= _MIN_ODD_GAPS)


def are_irregular(gaps_ns: pl.Series, inferred: str) -> bool:
    """Return whether rows are seldom one interval apart, and more often some other time.

    Of bars of time that are often missing, a gap is the rarer the longer it is; bars of ticks, volume or
    money come when they are full, and may be written in whole minutes.
    """
    if not inferred or inferred in DAILY_OR_LONGER or gaps_ns.len() < _MIN_IRREGULAR:
        return False
    lengths = (gaps_ns / interval_ns(inferred)).round().value_counts()
    single = int(lengths.filter(pl.col(gaps_ns.name) == 1).get_column("count").sum())
    most = lengths.filter(pl.col(gaps_ns.name) > 1).get_column("count").max()
    if 2 * single > gaps_ns.len() or not isinstance(most, int):
        return False
    # of a few rows, one length may be the most frequent by chance
    return most > 2 * single + _MIN_ODD_GAPS


def share_true(flags: pl.Series) -> float:
    """Return the share of flags that are true."""
    return int(flags.sum()) / len(flags)


def period_start(days: pl.Expr, interval: str) -> pl.Expr:
    """Return the start, in nanoseconds, of the weeks, months, quarters or years that contain days."""
    return days.cast(pl.Datetime("ns")).dt.truncate(interval.replace("3mo", "1q")).to_physical()
