"""Time zones by a column's name, by an abbreviation, or by the market in a symbol's ending. Mostly data."""

import re
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from tickerlake.errors import UsageError
from tickerlake.model.markets import market_of_symbol

OFFSETS: Final[dict[str, str]] = {
    "UTC": "+00:00", "GMT": "+00:00", "WET": "+00:00", "BST": "+01:00", "WEST": "+01:00", "CET": "+01:00",
    "CEST": "+02:00", "EET": "+02:00", "EEST": "+03:00", "MSK": "+03:00", "EST": "-05:00", "EDT": "-04:00",
    "CST": "-06:00", "CDT": "-05:00", "MST": "-07:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00",
    "IST": "+05:30", "HKT": "+08:00", "SGT": "+08:00", "JST": "+09:00", "KST": "+09:00", "AEST": "+10:00",
    "AEDT": "+11:00", "NZST": "+12:00", "NZDT": "+13:00",
}  # fmt: skip
"""The offset that an abbreviation after a time means; unlike a zone, it does not change with the season."""

_ZONE_WORDS: Final[dict[str, str]] = {
    "utc": "UTC", "gmt": "UTC", "zulu": "UTC", "et": "America/New_York", "est": "America/New_York",
    "edt": "America/New_York", "eastern": "America/New_York", "est5edt": "America/New_York",
    "newyork": "America/New_York", "ct": "America/Chicago", "cst": "America/Chicago",
    "cdt": "America/Chicago", "chicago": "America/Chicago", "cet": "Europe/Berlin", "cest": "Europe/Berlin",
    "mez": "Europe/Berlin", "london": "Europe/London", "ist": "Asia/Kolkata", "jst": "Asia/Tokyo",
    "hkt": "Asia/Hong_Kong", "msk": "Europe/Moscow", "kst": "Asia/Seoul", "eet": "Europe/Athens",
    "eest": "Europe/Athens", "wet": "Europe/Lisbon", "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles", "pacific": "America/Los_Angeles", "aest": "Australia/Sydney",
    "aedt": "Australia/Sydney", "sydney": "Australia/Sydney", "sgt": "Asia/Singapore",
    "sast": "Africa/Johannesburg", "tokyo": "Asia/Tokyo", "hongkong": "Asia/Hong_Kong",
    "shanghai": "Asia/Shanghai", "beijing": "Asia/Shanghai", "kolkata": "Asia/Kolkata",
    "moscow": "Europe/Moscow", "seoul": "Asia/Seoul", "frankfurt": "Europe/Berlin", "berlin": "Europe/Berlin",
    "paris": "Europe/Paris", "zurich": "Europe/Zurich",
}  # fmt: skip
"""The zone that a word in a column's name means; ``Time (EST)`` usually includes summer time."""

MEANINGS: Final[dict[str, tuple[str, ...]]] = {
    "CST": ("America/Chicago", "Asia/Shanghai"),
    "IST": ("Asia/Kolkata", "Asia/Jerusalem"),
}
"""Abbreviations that several zones share, the usual one first."""

_SHORT_WORDS: Final = frozenset({"et", "ct"})
"""Words of other languages as well: ``Date et heure``. In a name, they are zones at its end."""

_ZONE_BY_MINUTES: Final = {
    -570: "Pacific/Marquesas", 330: "Asia/Kolkata", 345: "Asia/Kathmandu", 270: "Asia/Kabul",
    390: "Asia/Yangon", 525: "Australia/Eucla", 570: "Australia/Darwin",
}  # fmt: skip
_VENDOR_FILES: Final = (
    (
        re.compile(r"(?i)\bDAT_(?:ASCII|MT|NT|MS|XLSX)_[A-Z0-9]{6}_(?:M1|T)_|\bHISTDATA_COM_"),
        "Etc/GMT+5",
        "HistData's files are in EST without daylight saving",
    ),
)
"""Names of vendors' files, their time zone, and why."""


def normalize_zone(name: str) -> str:
    """Return the name of a time zone as spelled in the tz database.

    Raises
    ------
    UsageError
        If there is no such time zone.
    """
    fixed = re.fullmatch(r"(?:UTC|GMT)?([+-]\d{1,2})(?::?00)?", name)
    if fixed:
        hours = int(fixed[1])
        return f"Etc/GMT{-hours:+d}" if hours else "UTC"
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        close = [zone for zone in available_timezones() if name.lower().replace(" ", "_") in zone.lower()]
        hint = (
            f"Did you mean {min(close, key=len)}?"
            if name and close
            else "Use a name such as America/New_York or UTC."
        )
        raise UsageError(f"--tz {name}: there is no such time zone.", hint) from error
    return name


def zone_from_header(name: str) -> str:
    """Return the time zone in a column's name, empty if there is none: ``Gmt time``, ``Time (ET)``.

    ``Time (UTC+8)`` is a zone without daylight saving, as is ``EST (no DST)``.
    """
    zones = re.findall(r"[A-Z][A-Za-z]+(?:/[A-Z][A-Za-z_]+[+-]?\d{0,2}){1,2}", name)
    if zone := next(filter(_is_zone, zones), ""):
        return zone
    if offset := re.search(r"(?i)(?:\b|_)(?:UTC|GMT)\s*([+-−])\s*(\d{1,2})(?::?(\d\d))?(?!\d)", name):
        sign = -1 if offset[1] == "-" else 1
        return _zone_of_offset(sign * (60 * int(offset[2]) + int(offset[3] or 0)))
    if fixed := re.search(
        r"(?i)\b(EST|CST|MST|PST|CET|EET)\b.*\b(?:no|without) (?:DST|daylight|summer)", name
    ):
        hours = OFFSETS.get(fixed[1].upper(), "").partition(":")[0]
        return _zone_of_offset(60 * int(hours)) if hours else ""
    return _ZONE_WORDS.get(zone_word(name).lower(), "")


def zone_word(name: str) -> str:
    """Return the word that names a time zone in a column's name, in upper case; empty if there is none."""
    joined = re.sub(r"(?i)\b(new|hong)[ _](york|kong)\b", lambda m: "".join(m.groups()).lower(), name)
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", joined)
    found = (
        word
        for i, word in enumerate(words)
        if word.lower() in _ZONE_WORDS and (word.lower() not in _SHORT_WORDS or i == len(words) - 1)
    )
    return next(found, "").upper()


def _zone_of_offset(minutes: int) -> str:
    """Return a zone whose clocks are always so many minutes ahead of UTC, empty if there is none."""
    if minutes % 60:
        return _ZONE_BY_MINUTES.get(minutes, "")
    zone = f"Etc/GMT{-minutes // 60:+d}" if minutes else "UTC"
    return zone if _is_zone(zone) else ""


def zone_from_file_name(name: str) -> tuple[str, str]:
    """Return the time zone that a vendor's files are known to have, and why; empty if nothing is known."""
    return next(((zone, why) for pattern, zone, why in _VENDOR_FILES if pattern.search(name)), ("", ""))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def zone_from_symbols(symbols: list[str]) -> str:
    """Return the time zone of the market in the ending of every symbol (``RELIANCE.NS``), empty if none."""
    markets = map(market_of_symbol, symbols)
    zones = {market.zone if market else "" for market in markets}
    return zones.pop() if len(zones) == 1 else ""
