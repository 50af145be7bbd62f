"""Durations as people write them: ``500ms``, ``90s``, ``5m``, ``4h``, ``20d``, ``52w``."""

import re
from typing import Final

from tickerlake.errors import UsageError

MS_NS: Final = 1_000_000
SECOND_NS: Final = 1_000 * MS_NS
MINUTE_NS: Final = 60 * SECOND_NS
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS
UNIT_NS: Final = {
    "ms": MS_NS,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": HOUR_NS,
    "d": DAY_NS,
    "w": 7 * DAY_NS,
}
"""Units whose length never varies, in nanoseconds."""

_PATTERN: Final = re.compile(r"(\d{1,9})\s*(ms|[smhdw])")


def parse_duration_ns(text: str) -> int:
    """Return a duration in nanoseconds.

    Raises
    ------
    ValueError
        If the text is not a duration.
    """
    match = _PATTERN.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration")
    return int(match[1]) * UNIT_NS[match[2]]


def parse_duration_option(text: str, option: str) -> int:
    """Return the duration given for a command-line option, in nanoseconds.

    Raises
    ------
    UsageError
        If the text is not a duration; it names the option.
    """
    try:
        return parse_duration_ns(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text} is not a duration.", "Write it as 500ms, 30s, 5m, 1h or 1d."
        ) from error


def format_duration(length_ns: float) -> str:
    """Return a duration rounded for reading: ``45 s``, ``12 min``, ``2 h 5 min``."""
    seconds = round(length_ns / SECOND_NS)
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours = round(seconds / 60), seconds // 3600
    if minutes < 120:
        return f"{minutes} min"
    rest = minutes - 60 * hours
    return f"{hours} h {rest} min" if rest else f"{hours} h"
