"""Changes to calendars in ``tickerlake.toml``: sessions that a calendar lacks, and days that have none.

::

    [calendar.XBOM]
    extra = [{ date = 2025-02-01, open = "09:15", close = "15:30" }]
    closed = [2025-02-26]
"""

import datetime as dt
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from tickerlake.errors import UsageError, did_you_mean

_FORM: Final = (
    'Write extra = [{ date = 2025-02-01, open = "09:15", close = "15:30" }] and closed = [2025-02-26].'
)
_CODE: Final = re.compile(r"[A-Z0-9]{4}")
_MAX_SHOWN: Final = 60
_YEARS: Final = range(1970, 2101)


class ExtraSession(msgspec.Struct, frozen=True):
    """A session that a calendar lacks, or has with other hours; times are in the exchange's time zone.

    A session that does not open before it closes opens on the day before its date, as those of futures do.
    """

    date: dt.date
    open: dt.time
    close: dt.time


class SessionChanges(msgspec.Struct, frozen=True):
    """What differs from a calendar.

    Parameters
    ----------
    extra
        Sessions to add; one on a date with a session replaces it.
    closed
        Dates without a session.
    """

    extra: tuple[ExtraSession, ...] = ()
    closed: tuple[dt.date, ...] = ()


def read_changes(table: object, location: Callable[[str, str], str]) -> dict[str, SessionChanges]:
    """Read the tables ``[calendar.CODE]``.

    Parameters
    ----------
    table
        The content of ``calendar``.
    location
        Returns file and line of a calendar's key, given both; the key can be empty.

    Raises
    ------
    UsageError
        Names file, line and what is wrong.
    """
    if not isinstance(table, dict):
        raise UsageError(
            f"{location('', '')}: calendar is {_shown(table)}.", f"Write [calendar.XBOM]. {_FORM}"
        )
    return {code: _read_calendar(code, content, location) for code, content in table.items()}


def _read_calendar(code: str, table: object, location: Callable[[str, str], str]) -> SessionChanges:
    if not _CODE.fullmatch(code):
        raise UsageError(
            f"{location(code, '')}: calendar.{_shown(code)}: that is not the code of a market.",
            "Use one such as XBOM.",
        )
    if not isinstance(table, dict):
        raise UsageError(f"{location(code, '')}: calendar.{code} is {_shown(table)}.", _FORM)
    for key, value in table.items():
        where = f"{location(code, key)}: calendar.{code}"
        if key not in SessionChanges.__struct_fields__:
            hint = did_you_mean(key, SessionChanges.__struct_fields__)
            raise UsageError(f"{where}: there is no key {_shown(key)}.", hint)
        if not isinstance(value, list):
            raise UsageError(f"{where}.{key} is {_shown(value)}.", _FORM)
    closed = f"{location(code, 'closed')}: calendar.{code}.closed"
    extra = f"{location(code, 'extra')}: calendar.{code}.extra"
    changes = SessionChanges(
        tuple(_read_session(each, extra) for each in table.get("extra", [])),
        tuple(_read_date(each, closed) for each in table.get("closed", [])),
    )
    dates = [*(session.date for session in changes.extra), *changes.closed]
    if twice := next((date for date in sorted(dates) if dates.count(date) > 1), None):
        raise UsageError(
            f"{extra if changes.extra else closed}: {twice} is there twice.", "Keep one of them."
        )
    return changes


def _read_session(value: object, where: str) -> ExtraSession:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {_shown(value)} is not a session.", _FORM)
    if unknown := next((key for key in value if key not in ExtraSession.__struct_fields__), ""):
        raise UsageError(
            f"{where}: a session has no key {_shown(unknown)}.",
            did_you_mean(unknown, ("date", "open", "close")),
        )
    if missing := next((key for key in ExtraSession.__struct_fields__ if key not in value), ""):
        raise UsageError(f"{where}: a session{_named(value)} has no {missing}.", _FORM)
    date = _read_date(value["date"], where)
    return ExtraSession(
        date, *(_read_time(value[key], f"{where}: {key} of {date}") for key in ("open", "close"))
    )


def _named(value: dict[str, Any]) -> str:
    return f" of {str(value['date'])[:10]!r}" if "date" in value else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} …"


def _read_date(value: object, where: str) -> dt.date:
    if isinstance(value, str):
        with suppress(ValueError):
            value = dt.date.fromisoformat(value)
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise UsageError(f"{where}: {_shown(value)} is not a date.", "Write it as 2025-02-01.")
    if value.year not in _YEARS:
        raise UsageError(
            f"{where}: {value} is not a date of a session.", f"Use the years {_YEARS[0]} to {_YEARS[-1]}."
        )
    return value


def _read_time(value: object, where: str) -> dt.time:
    if isinstance(value, str) and re.fullmatch(r"\d\d:\d\d(:\d\d)?", value):
        with suppress(ValueError):
            value = dt.time.fromisoformat(value)
    if not isinstance(value, dt.time):
        raise UsageError(
            f"{where} is {_shown(value)}, not a time of day.",
            'Write it as "09:15", in the time zone of the exchange.',
        )
    return value.replace(microsecond=0)
