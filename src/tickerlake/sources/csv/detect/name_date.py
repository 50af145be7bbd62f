"""The date of every row, if only the name of the file or of its folder has it. Pure."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from tickerlake.errors import DataError

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR: Final = r"(?:19|20)\d\d"
_DIGITS: Final = re.compile(
    rf"(?<!\d)(?:(?P<y>{_YEAR})(?P<s>[-_.]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d)"
    rf"|(?P<a>\d\d)(?P<t>[-_. ]?)(?P<b>\d\d)(?P=t)(?P<z>{_YEAR}))(?!\d)"
)
_WORDS: Final = re.compile(
    rf"(?<!\d)(?P<d>\d\d?)[-_. ]?(?P<m>{'|'.join(_MONTHS)})[a-z]*[-_. ]?(?P<y>{_YEAR})(?!\d)"
    rf"|(?<![a-z])(?P<n>{'|'.join(_MONTHS)})[a-z]*[-_. ]?(?P<e>\d\d?)[-_., ]+(?P<z>{_YEAR})(?!\d)",
    re.IGNORECASE,
)
_FOLDER_KEYS: Final = frozenset(
    {"date", "dt", "day", "tradedate", "trade_date", "session_date", "trading_date"}
)


class NameDate(NamedTuple):
    """A date as ``2024-07-02``, and whether the file or its folder is called so; both empty if none is."""

    text: str = ""
    origin: str = ""


NO_DATE: Final = NameDate()


def find_name_date(names: Sequence[str], folders: Sequence[str]) -> NameDate:
    """Return the one date in the name of a file, its archive or a folder ``date=2024-07-02``.

    Parameters
    ----------
    names
        Of the file, and of the archive that contains it.
    folders
        The parts of its folder's path.

    Raises
    ------
    DataError
        If a name has several dates, or one whose order of day and month is ambiguous.
    """
    keyed = [part for part in folders if part.partition("=")[0].lower() in _FOLDER_KEYS][-1:]
    of_folder = {day for part in keyed for day in _dates_in(part)}
    # an archive may span more days than the file in it
    of_file = next((days for name in names if (days := _dates_in(name))), set())
    found = of_file | of_folder
    if len(found) > 1:
        listed = " and ".join(sorted(found)[:2])
        raise DataError(
            f"{names[0]}: no column has dates, and the names of file and folder have several: {listed}.",
            "Leave that of the rows only: prices_2024-01-02.csv",
        )
    return NameDate("".join(found), "the file's name" if of_file else "the folder's name" if found else "")


def _dates_in(name: str) -> set[str]:
    """Return the dates in a name.

    Raises
    ------
    DataError
        If the order of day and month of one is ambiguous.
    """
    days = set()
    for match in _WORDS.finditer(name):
        month = _MONTHS.index((match["m"] or match["n"]).lower()) + 1
        days.add(_format_date(match["y"] or match["z"], month, match["d"] or match["e"]))
    for match in _DIGITS.finditer(name):
        if match["y"]:
            days.add(_format_date(match["y"], match["m"], match["d"]))
            continue
        orders = {
            _format_date(match["z"], match["b"], match["a"]),
            _format_date(match["z"], match["a"], match["b"]),
        } - {""}
        if len(orders) > 1:
            listed = " or ".join(sorted(orders))
            raise DataError(
                f"{name}: no column has dates, and {match[0]} in this name may be {listed}.",
                "Rename it, with the date in this form.",
            )
        days |= orders
    return days - {""}


def _format_date(year: str, month: str | int, day: str) -> str:
    """Return a date as ``2024-07-02``; empty if there is none such."""
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""
