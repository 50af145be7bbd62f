"""Lengths of time as traders write them: ``90s``, ``5m``, ``4h``, ``20d``, ``52w``."""

import re
from typing import Final

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = 86_400 * SECOND_NS
_UNITS: Final = {"s": SECOND_NS, "m": MINUTE_NS, "h": 60 * MINUTE_NS, "d": DAY_NS, "w": 7 * DAY_NS}
_PATTERN: Final = re.compile(r"(\d+)\s*([smhdw])")
_MAX_NS: Final = 10 * 366 * DAY_NS


def parse_duration_ns(text: str) -> int:
    """Return a length of time in nanoseconds.

    Raises
    ------
    ValueError
        If the text is none, or one of no length or of more than ten years.
    """
    found = _PATTERN.fullmatch(text.strip())
    length = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < length <= _MAX_NS:
        raise ValueError(f"{text!r} is not a length of time")
    return length


def parse_sessions(text: str) -> int | None:
    """Return a number of sessions if a length is given in days or weeks (of five sessions), else None."""
    found = _PATTERN.fullmatch(text.strip())
    if not found or found[2] not in "dw":
        return None
    return int(found[1]) * (5 if found[2] == "w" else 1)


def format_duration(length_ns: float) -> str:
    """Write a length of time for a person: ``45 s``, ``12 min``, ``2 h 5 min``."""
    seconds = round(length_ns / SECOND_NS)
    if seconds < 120:
        return f"{seconds} s"
    minutes, hours = round(seconds / 60), seconds // 3600
    if minutes < 120:
        return f"{minutes} min"
    rest = minutes - 60 * hours
    return f"{hours} h {rest} min" if rest else f"{hours} h"
