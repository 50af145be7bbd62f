"""What a time zone in a column's name leaves open: several zones of one abbreviation, and summer time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from tickerlake.errors import DataError
from tickerlake.model.duration import DAY_NS, HOUR_NS, SECOND_NS
from tickerlake.sources.csv.detect.times.order import TimeOrder
from tickerlake.sources.csv.zones import MEANINGS, OFFSETS, zone_from_header, zone_word

_MAX_ONE_SEASON_NS: Final = 120 * DAY_NS
"""A longer file may have the other season between its first and its last row."""


FROM_HEADER: Final = "the column's name"


def header_zone(column: str, venue: str) -> tuple[str, str]:
    """Return the time zone in a column's name, and what settled it; of several meanings, that of the venue.

    Parameters
    ----------
    column
        The column's name.
    venue
        The time zone of the venue in the symbols' suffix, empty if there is none.
    """
    if venue in MEANINGS.get(zone_word(column), ()):
        return venue, f"{FROM_HEADER} and the venue in the symbol's suffix"
    return zone_from_header(column), FROM_HEADER


def check_header_zone(name: str, columns: Sequence[str], zone: str, order: TimeOrder) -> str:
    """Return a warning about what is assumed about the zone in a column's name, empty if nothing is.

    Parameters
    ----------
    name
        The file's name.
    columns
        The names of the columns of dates and times of day.
    zone
        The time zone, as by `header_zone`.
    order
        The order of the rows, as if their times were UTC.

    Raises
    ------
    DataError
        If the abbreviation has several meanings, none of which is the usual one.
    """
    column = next((each for each in columns if zone_word(each)), "")
    word = zone_word(column)
    if zone_from_header(word) != zone:
        return ""  # an offset, or a name of the tz database
    meanings = MEANINGS.get(word, ())
    if word == "CST":
        raise DataError(
            f"{name}: CST in the column {column} may be the time of Chicago or that of China.",
            f"Specify it: {' or '.join(f'--tz {each}' for each in meanings)}",
        )
    if meanings:
        others = " or ".join(f"--tz {each}" for each in meanings[1:])
        return f"{name}: {word} in the column {column} is read as {zone}. If it is another zone: {others}"
    if word not in OFFSETS or not _has_other_season(zone, OFFSETS[word], order):
        return ""
    return (
        f"{name}: {word} in the column {column} is read as the local time of {zone}, with daylight saving. "
        f"If it is {word} all year: --tz UTC{OFFSETS[word][:3]}"
    )


def check_not_local(name: str, columns: Sequence[str]) -> None:
    """Raise an error for times that are local by their column's name, of a zone that nothing names."""
    column = next((each for each in columns if "local" in each.lower()), "")
    if column:
        raise DataError(
            f"{name}: its times are local, by the column {column}, and nothing says in which time zone.",
            "Specify it: --tz America/New_York",
        )


def _has_other_season(zone: str, offset: str, order: TimeOrder) -> bool:
    """Return whether local times of some rows may have another offset from UTC than their abbreviation."""
    if order.first_ns is None or order.last_ns is None:
        return False
    expected_ns = int(offset[:3]) * HOUR_NS
    offsets = {_offset_ns(zone, each) for each in (order.first_ns, order.last_ns)}
    if len(offsets) == 1 and order.last_ns - order.first_ns < _MAX_ONE_SEASON_NS:
        return offsets != {expected_ns}
    return bool({_offset_ns(zone, order.first_ns + half * 182 * DAY_NS) for half in (0, 1)} - {expected_ns})


def _offset_ns(zone: str, local_ns: int) -> int:
    moment = datetime.fromtimestamp(local_ns // SECOND_NS, UTC).replace(tzinfo=ZoneInfo(zone))
    offset = moment.utcoffset()
    return int(offset.total_seconds()) * SECOND_NS if offset is not None else 0
