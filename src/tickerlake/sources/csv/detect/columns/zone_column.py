"""Columns with the time zone of each row, or its offset from UTC. Pure, on the first rows of a file."""

import re
from collections.abc import Sequence
from typing import Final
from zoneinfo import available_timezones

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.layout import normalize_name
from tickerlake.sources.csv.zones import zone_from_header

_NAMES: Final = frozenset(
    map(
        normalize_name,
        """
        timezone timezonename tz tzname tzid tzdatabase olson olsontimezone iana ianatimezone zone
        exchangetimezone exchangetimezonename exchangetz markettimezone utcoffset gmtoffset tzoffset
        timezoneoffset offset zeitzone zonahoraria husohorario fusohorario fuseauhoraire fuseau fusoorario
        strefaczasowa saatdilimi tijdzone часовойпояс 时区 時區 タイムゾーン 시간대
        """.split(),
    )
)
"""Names of such columns."""

_OFFSET: Final = re.compile(r"[+-]\d\d(?::?\d\d)?|Z")
_ABBREVIATION: Final = re.compile(r"[A-Z]{2,5}")


def find_zone_columns(names: Sequence[str], columns: Sequence[ColumnSample]) -> tuple[int | None, int | None]:
    """Return the column of time zones and that of offsets from UTC, None for what there is not."""
    zones = offsets = None
    for i, name in enumerate(names):
        texts = set(columns[i].non_missing)
        if normalize_name(name) not in _NAMES or not texts:
            continue
        if all(map(_OFFSET.fullmatch, texts)):
            offsets = i if offsets is None else offsets
        elif all(map(read_zone, texts)):
            zones = i if zones is None else zones
    return zones, offsets


def read_zone(text: str) -> str:
    """Return the time zone that a cell names, empty if it names none: ``Europe/Amsterdam``, ``UTC+2``."""
    if "/" in text and text in available_timezones():
        return text
    if _ABBREVIATION.fullmatch(text) or re.match(r"(?:UTC|GMT)", text):
        return zone_from_header(text)
    return ""


def settle_zones(name: str, column: str, texts: set[str]) -> tuple[str, str]:
    """Return the time zone of all rows and where it comes from; empty if no row names one.

    Raises
    ------
    DataError
        If rows have several zones, or one that is not known.
    """
    zones = {text: read_zone(text) for text in sorted(texts)}
    unknown = [text for text, zone in zones.items() if not zone]
    if unknown or len(set(zones.values())) > 1:
        what = (
            f"{unknown[0]!r}, which is not a time zone"
            if unknown
            else f"several ({', '.join(list(zones)[:3])})"
        )
        raise DataError(
            f"{name}: the column {column} has a time zone for each row: {what}.",
            "Write a file for each zone. If all times are of one: --tz America/New_York",
        )
    return next(((zone, f"column {column}") for zone in zones.values()), ("", ""))
