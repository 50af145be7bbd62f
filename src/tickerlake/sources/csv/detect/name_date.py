"""The date of every row, if only a name (of file or folder) or a title above the header has it. Pure."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from tickerlake.errors import DataError
from tickerlake.sources.csv.timeform import MONTHS

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
_TITLE_DIGITS: Final = re.compile(
    rf"(?<![\d/.-])(?:(?P<y>{_YEAR})(?P<s>[-/.])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)"
    rf"|(?P<a>\d\d?)(?P<t>[-/.])(?P<b>\d\d?)(?P=t)(?P<z>{_YEAR}))(?![\d/])"
)
_TITLE_COMPACT: Final = re.compile(rf"(?<!\d)(?P<y>{_YEAR})(?P<m>\d\d)(?P<d>\d\d)(?!\d)")
_TITLE_WORDS: Final = re.compile(
    rf"(?<!\d)(?P<d>\d\d?)(?:er|st|nd|rd|th)?[-. ]{{0,2}}(?:de )?(?P<m>[^\W\d_]{{3,12}})\.?[-, ]{{0,2}}"
    rf"(?:de )?(?P<y>{_YEAR})(?!\d)"
    rf"|(?<!\w)(?P<n>[^\W\d_]{{3,12}})\.? (?P<e>\d\d?)(?:st|nd|rd|th)?,? (?P<z>{_YEAR})(?!\d)"
)
_EAST_ASIAN: Final = re.compile(
    r"(?<!\d)(?P<y>\d{2,4})\s*[年년]\s*(?P<m>\d\d?)\s*[月월]\s*(?P<d>\d\d?)\s*[日일]"
    r"|(?<![\d/])(?P<r>1[0-4]\d)/(?P<n>\d\d)/(?P<e>\d\d)(?![\d/])"
)
_ROC_NAME: Final = re.compile(r"(?<!\d)(?P<r>1[0-4]\d)(?P<n>\d\d)(?P<e>\d\d)(?!\d)")
_ROC_OFFSET: Final = 1911
"""The years of Taiwan (Republic of China) begin with 1912."""

_HAN: Final = re.compile("[\u4e00-\u9fff]")
_OTHER_DATES: Final = re.compile(
    r"(?i)generat|print|creat|download|export|updat|publish|retriev|erstellt|gedruckt|製表|列印|產生|下載|作成|出力"
)
"""Words of a line whose date is not that of the rows."""

_MAX_TITLE_CELLS: Final = 3
_MAX_TITLE_LENGTH: Final = 200
_FOLDER_KEYS: Final = frozenset(
    {"date", "dt", "day", "tradedate", "trade_date", "session_date", "trading_date"}
)


class NameDate(NamedTuple):
    """A date as ``2024-07-02``, and whether the file or its folder is called so; both empty if none is."""

    text: str = ""
    origin: str = ""


NO_DATE: Final = NameDate()


def find_name_date(
    names: Sequence[str], folders: Sequence[str], titles: Sequence[str] = (), columns: Sequence[str] = ()
) -> NameDate:
    """Return the one date in the name of a file, its archive or a folder ``date=2024-07-02``, or in a title.

    Parameters
    ----------
    names
        Of the file, and of the archive that contains it.
    folders
        The parts of its folder's path.
    titles
        The lines above the header.
    columns
        The names of the columns: beside Chinese ones, ``1130102`` is a date in the years of Taiwan.

    Raises
    ------
    DataError
        If a name has several dates, one whose order of day and month is ambiguous, or another one than the
        title.
    """
    of_titles = _dates_in_titles(titles)
    keyed = [part for part in folders if part.partition("=")[0].lower() in _FOLDER_KEYS][-1:]
    is_taiwan = any(map(_HAN.search, columns))
    of_folder = {day for part in keyed for day in _dates_in(part, of_titles)}
    # an archive may span more days than the file in it
    of_file = next(
        (days for name in names if (days := _dates_in(name, of_titles, is_taiwan=is_taiwan))), set()
    )
    found = of_file | of_folder
    if len(found) > 1:
        listed = " and ".join(sorted(found)[:2])
        raise DataError(
            f"{names[0]}: no column has dates, and the names of file and folder have several: {listed}.",
            "Leave that of the rows only: prices_2024-01-02.csv",
        )
    if not found and of_titles:
        return _date_of_titles(names[0], of_titles)
    if found and of_titles and not any(found & readings for readings in of_titles):
        listed = " and ".join(sorted(set().union(*of_titles))[:2])
        raise DataError(
            f"{names[0]}: no column has dates; the name of its file or folder says {''.join(found)}, "
            f"a line above the header {listed}.",
            "Correct the name, prices_2024-01-02.csv, or remove that line.",
        )
    return NameDate("".join(found), "the file's name" if of_file else "the folder's name" if found else "")


def _date_of_titles(name: str, of_titles: Sequence[set[str]]) -> NameDate:
    days = set.intersection(*of_titles)
    if len(days) == 1:
        return NameDate(days.pop(), "a line above the header")
    listed = sorted(set().union(*of_titles))
    raise DataError(
        f"{name}: no column has dates, and the lines above the header may say {' or '.join(listed[:3])}.",
        "Add the date of the rows to the file's name: prices_2024-01-02.csv",
    )


def _dates_in_titles(titles: Sequence[str]) -> list[set[str]]:
    """Return the different dates in the lines above a header: of each, the ways in which it can be read."""
    found: list[set[str]] = []
    for line in titles:
        filled = [cell for cell in re.split(r'[,;\t|]+"?', line) if cell.strip(' "')]
        if len(filled) > _MAX_TITLE_CELLS or len(line) > _MAX_TITLE_LENGTH or _OTHER_DATES.search(line):
            continue
        for days in _readings(line):
            if days and days not in found:
                found.append(days)
    return found


def _readings(line: str) -> list[set[str]]:
    """Return the dates in a line of text: of each, the ways in which it can be read."""
    found = []
    for match in _EAST_ASIAN.finditer(line):
        year = int(match["y"] or match["r"])
        year += _ROC_OFFSET if year < 1000 else 0
        found.append({_format_date(str(year), match["m"] or match["n"], match["d"] or match["e"])})
    for match in _TITLE_WORDS.finditer(line):
        word = (match["m"] or match["n"]).lower()
        month = MONTHS.get(word, word).lower()
        if month in _MONTHS:
            number = _MONTHS.index(month) + 1
            found.append({_format_date(match["y"] or match["z"], number, match["d"] or match["e"])})
    for pattern in (_TITLE_DIGITS, _TITLE_COMPACT):
        found += map(_orders, pattern.finditer(line))
    return [days - {""} for days in found]


def _orders(match: re.Match[str]) -> set[str]:
    if match["y"]:
        return {_format_date(match["y"], match["m"], match["d"])}
    return {
        _format_date(match["z"], match["b"], match["a"]),
        _format_date(match["z"], match["a"], match["b"]),
    }


def _dates_in(name: str, of_titles: Sequence[set[str]] = (), *, is_taiwan: bool = False) -> set[str]:
    """Return the dates in a name.

    Raises
    ------
    DataError
        If the order of day and month of one is ambiguous, and no title settles it.
    """
    days = set()
    for match in _WORDS.finditer(name):
        month = _MONTHS.index((match["m"] or match["n"]).lower()) + 1
        days.add(_format_date(match["y"] or match["z"], month, match["d"] or match["e"]))
    for match in _DIGITS.finditer(name):
        orders = _orders(match) - {""}
        settled = {day for day in orders if any(readings == {day} for readings in of_titles)}
        if len(orders) > 1 and len(settled) != 1:
            listed = " or ".join(sorted(orders))
            raise DataError(
                f"{name}: no column has dates, and {match[0]} in this name may be {listed}.",
                "Rename it, with the date in this form.",
            )
        days |= settled if len(orders) > 1 else orders
    if is_taiwan and not days - {""}:
        for match in _ROC_NAME.finditer(name):
            days.add(_format_date(str(int(match["r"]) + _ROC_OFFSET), match["n"], match["e"]))
    return days - {""}


def _format_date(year: str, month: str | int, day: str) -> str:
    """Return a date as ``2024-07-02``; empty if there is none such."""
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""
