"""The ways in which a column of dates or times can be read, inferred from its texts."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from tickerlake.errors import DataError, UsageError
from tickerlake.model.duration import DAY_NS
from tickerlake.sources.csv.numbers import CACHED_CELLS
from tickerlake.sources.csv.timeform import (
    EXCEL_EPOCH_DAYS,
    EXCEL_MAX_DAYS,
    FIRST_UNCLEAR_YEAR,
    MONTHS,
    NS_BY_UNIT,
    WEEKDAY_PATTERN,
    TimeFormat,
)
from tickerlake.sources.csv.zones import OFFSETS

EPOCH_UNIT_BY_DIGITS: Final = {9: "s", 10: "s", 12: "ms", 13: "ms", 15: "us", 16: "us", 18: "ns", 19: "ns"}
"""The unit of times since 1970 by their number of digits, from 1973 on."""

_DIRECTIVES: Final = {
    ".fff": "%.f",
    "YYYY": "%Y",
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "Mon": "%B",
    "hh": "%H",
    "mm": "%M",
    "ss": "%S",
}
_WORD_PATTERN: Final = r"[^\W\d_]+\.?"
_YEAR_PATTERN: Final = r"(?:1[6-9]|20)\d\d"
_MONTH_PATTERN: Final = r"(?:0?[1-9]|1[0-2])"
_DATE_TIME_PATTERN: Final = re.compile(
    r"(?P<date>.+?)"
    r"(?:(?P<sep> (?:[^\w\s:]{1,2}|at|um|kl\.?|às|as|alle|à) |[TD _;@|-]|, ?| +|:)"
    r"(?P<time>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?|\d{9}|\d{6}(?:\.\d{1,9}| \d{7})?|\d{4})"
    r"(?P<noon> ?[AaPp]\.?[Mm]\.?)?"
    r"(?P<zone> ?(?:Z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|[A-Z]{3,4})(?:\[[^\]]*\])?"
    r"| [A-Z][A-Za-z]+/[A-Za-z_/]+)?)"
)
_COMPACT_TIMES: Final = {4: "%H%M", 6: "%H%M%S", 9: "%H%M%S%3f"}
_COMPACT_DATE_TIMES: Final = {12: "%H%M", 14: "%H%M%S", 17: "%H%M%S%3f"}
_ROC_PREFIX: Final = "roc:"
_DATE_SHAPES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"\d{4}-\d\d?-\d\d?", ("%Y-%m-%d",)),
    (r"\d{4}/\d\d?/\d\d?", ("%Y/%m/%d",)),
    (r"\d{4}\.\d\d?\.\d\d?", ("%Y.%m.%d",)),
    (r"\d{4}\.\d\d?\.\d\d?\.", ("%Y.%m.%d.",)),
    (r"1[01]\d/\d\d/\d\d", (f"{_ROC_PREFIX}%Y/%m/%d",)),
    (r"\d{4} \d\d? \d\d?", ("%Y %m %d",)),
    (r"\d{4}年\d\d?月\d\d?日", ("%Y年%m月%d日",)),
    (r"\d{8}", ("%Y%m%d", "%d%m%Y", "%m%d%Y")),
    (r"\d{6}", ("%y%m%d", "%d%m%y", "%m%d%y")),
    (r"\d\d?-\d\d?-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d\d?/\d\d?/\d{4}", ("%d/%m/%Y", "%m/%d/%Y")),
    (r"\d\d?\.\d\d?\.\d{4}", ("%d.%m.%Y", "%m.%d.%Y")),
    (r"\d\d?\.\d\d?\.\d{4}\.", ("%d.%m.%Y.", "%m.%d.%Y.")),
    (r"\d\d?\.\d\d?\.\d{4} г\.", ("%d.%m.%Y г.", "%m.%d.%Y г.")),
    (r"\d\d?\. \d\d?\. \d{4}", ("%d. %m. %Y",)),
    (r"\d\d? \d\d? \d{4}", ("%d %m %Y", "%m %d %Y")),
    (r"\d\d?-\d\d?-\d\d", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (r"\d\d?/\d\d?/\d\d", ("%d/%m/%y", "%m/%d/%y", "%y/%m/%d")),
    (r"\d\d?\.\d\d?\.\d\d", ("%d.%m.%y", "%m.%d.%y", "%y.%m.%d")),
    (rf"\d\d?-{_WORD_PATTERN}-\d{{4}}", ("%d-%B-%Y",)),
    (rf"\d\d?-{_WORD_PATTERN}-\d\d", ("%d-%B-%y",)),
    (rf"\d\d?/{_WORD_PATTERN}/\d{{4}}", ("%d/%B/%Y",)),
    (rf"\d\d?/{_WORD_PATTERN}/\d\d", ("%d/%B/%y",)),
    (rf"\d\d?\.? ?{_WORD_PATTERN},? ?\d{{4}}", ("%d %B %Y",)),
    (rf"\d\d? {_WORD_PATTERN} \d\d", ("%d %B %y",)),
    (rf"\d\d? de {_WORD_PATTERN} de \d{{4}}", ("%d %B %Y",)),
    (rf"{_WORD_PATTERN} \d\d?,? \d{{4}}", ("%B %d %Y",)),
    (rf"{_WORD_PATTERN}-\d\d?-\d{{4}}", ("%B-%d-%Y",)),
    (rf"\d{{4}}-{_WORD_PATTERN}-\d\d?", ("%Y-%B-%d",)),
    (rf"\d{{4}} {_WORD_PATTERN} \d\d?", ("%Y %B %d",)),
    (rf"\d{{4}}{_WORD_PATTERN}\d\d", ("%Y%B%d",)),
    # months and quarters
    (rf"{_YEAR_PATTERN}-{_MONTH_PATTERN}", ("%Y-%m",)),
    (rf"{_YEAR_PATTERN}/{_MONTH_PATTERN}", ("%Y/%m",)),
    (rf"{_YEAR_PATTERN}M{_MONTH_PATTERN}", ("%YM%m",)),
    (rf"{_YEAR_PATTERN}m{_MONTH_PATTERN}", ("%Ym%m",)),
    (rf"{_YEAR_PATTERN}-M{_MONTH_PATTERN}", ("%Y-M%m",)),
    (rf"{_YEAR_PATTERN}年{_MONTH_PATTERN}月", ("%Y年%m月",)),
    (rf"{_MONTH_PATTERN}-{_YEAR_PATTERN}", ("%m-%Y",)),
    (rf"{_MONTH_PATTERN}/{_YEAR_PATTERN}", ("%m/%Y",)),
    (rf"{_WORD_PATTERN}-{_YEAR_PATTERN}", ("%B-%Y",)),
    (rf"{_WORD_PATTERN}/{_YEAR_PATTERN}", ("%B/%Y",)),
    (rf"{_WORD_PATTERN},? {_YEAR_PATTERN}", ("%B %Y",)),
    (rf"{_WORD_PATTERN}-\d\d", ("%B-%y",)),
    (rf"{_WORD_PATTERN}/\d\d", ("%B/%y",)),
    (rf"{_WORD_PATTERN} \d\d", ("%B %y",)),
    (rf"\d\d-{_WORD_PATTERN}", ("%y-%B",)),
    (rf"\d\d {_WORD_PATTERN}", ("%y %B",)),
    (rf"{_YEAR_PATTERN}-{_WORD_PATTERN}", ("%Y-%B",)),
    (rf"{_YEAR_PATTERN} {_WORD_PATTERN}", ("%Y %B",)),
    (rf"{_YEAR_PATTERN}[Qq][1-4]", ("%YQ%q",)),
    (rf"{_YEAR_PATTERN}-[Qq][1-4]", ("%Y-Q%q",)),
    (rf"{_YEAR_PATTERN} [Qq][1-4]", ("%Y Q%q",)),
    (rf"[Qq][1-4] {_YEAR_PATTERN}", ("Q%q %Y",)),
    (rf"[Qq][1-4][-/]?{_YEAR_PATTERN}", ("Q%q-%Y",)),
)
_SHORT_MONTHS: Final = frozenset({"%B-%y", "%B/%y", "%B %y", "%y-%B", "%y %B"})
"""Months with two digits of the year, ``Jan-88``; without knowing more, days of a month without a year."""

_DATE_PATTERNS: Final = tuple((re.compile(shape), formats) for shape, formats in _DATE_SHAPES)
_MAX_MONTHS_LIKE_DAYS: Final = 24
_MAX_REPEATED_MONTHS: Final = 0.2
"""Of months in order, the next one has another name; of days, mostly the same."""

_FIRST_YEAR_OF_1900S: Final = 70
_MIN_EXCEL_DAY: Final = EXCEL_EPOCH_DAYS
_MAX_EXCEL_DAY: Final = EXCEL_EPOCH_DAYS + EXCEL_MAX_DAYS
_MAX_DATE_LENGTH: Final = 60
"""No longer text is a date: it bounds the time for texts that are not."""

_NUMBER_PATTERN: Final = re.compile(r"\d+(?:\.\d*)?(?:[eE]\+?\d+)?")
_EXPONENT_PATTERN: Final = re.compile(r"\d(?:\.(\d*))?[eE]\+?(\d\d?)")
_SPREADSHEET_DECIMALS: Final = 5
"""Spreadsheets show large numbers with so many decimals: 1.70407E+12 is hours off."""

CLOCK_PATTERN: Final = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d{1,9})?)?( ?[AaPp]\.?[Mm]\.?)?")
"""A time of day without a date."""


def parse_date_format(option: str) -> str:
    """Return the ``strptime`` format of an option: ``DD-MM-YYYY`` or ``%d-%m-%Y``."""
    if "%" in option:
        return option.replace("%b", "%B")
    text = option
    for word, directive in _DIRECTIVES.items():
        text = text.replace(word, directive)
    directives = set(re.findall("%.", text))
    if not directives & {"%d", "%Y", "%y"} or not directives & {"%m", "%B"}:
        raise UsageError(
            f"--date-format {option!r} is not a date format.", "Use the form DD-MM-YYYY or %d-%m-%Y."
        )
    return text


def candidate_time_formats(
    sample: Sequence[str],
    date_format: str | None,
    *,
    file: str,
    with_fractions: bool = False,
    mixed_units: bool = False,
) -> list[TimeFormat]:
    """Return every way in which a sample can be read, by the most common shape of its values.

    Parameters
    ----------
    sample
        Values of the column from the head of the file.
    date_format
        What the user specifies about the order of day and month, if anything.
    file
        The file's name, for the error.
    with_fractions
        True to read fractions of seconds even if the sample has none, which is much slower.
    mixed_units
        True to read each time since 1970 in the unit that its length shows.

    Raises
    ------
    DataError
        If no value is a date, or a spreadsheet has rounded the times.
    """
    values = [text.strip() for text in sample]
    matched_shapes = [shape for text in values if (shape := _match_shape(text))]
    shapes = Counter(shape[:3] for shape in matched_shapes)
    if not shapes and date_format is None and values and all(map(is_excel_serial, filter(None, values))):
        return [TimeFormat("excel", date_only=not any(float(text) % 1 for text in filter(None, values)))]
    if not shapes:
        if date_format is None:
            raise DataError(
                f"{file}: no date can be read, such as {sample[0]!r}." if sample else f"{file} has no dates.",
                "Specify the format: --date-format DD-MM-YYYY",
            )
        return [
            TimeFormat(
                parse_date_format(date_format),
                date_only=_is_date_only(parse_date_format(date_format)),
                has_month_names="%B" in parse_date_format(date_format),
            )
        ]
    dates, time, zone = shapes.most_common(1)[0][0]
    if dates[0].startswith("epoch:"):
        _check_not_rounded(values, file)
        return [TimeFormat("epoch:mixed" if mixed_units else dates[0])]
    texts = {shape.time_text for shape in matched_shapes if shape.time_text}
    requested = "" if date_format is None else parse_date_format(_without_time(date_format, time, texts))
    if requested and not _is_date_only(requested):
        return [TimeFormat(requested, zone=zone, has_month_names="%B" in requested)]
    if dates[0] in _SHORT_MONTHS:
        _check_short_months(values, file, is_requested=bool(requested))
    times = texts
    daily = not time or (all(set(each) <= set("0:.") for each in times) and "%p" not in time)
    if daily and time:
        longest_time = max(times, key=len)
        time = time[: time.index("%")] + longest_time
    elif with_fractions or any("." in each or "," in each for each in times):
        time = time.replace("%S", "%S%.f")
    suffix = "%z" if zone == "offset" and not daily else ""
    day_formats = [requested] if requested else _swap_day_and_month(list(dates), values)
    day_formats = _with_six_digit_months(day_formats, values) if not requested else day_formats
    has_weekdays = any(map(_has_weekday, values))
    return [
        TimeFormat(
            f"{day.removeprefix(_ROC_PREFIX)}{time}{suffix}",
            daily,
            zone,
            has_month_names="%B" in day,
            has_weekdays=has_weekdays,
            year_offset=1911 * day.startswith(_ROC_PREFIX),
        )
        for day in day_formats
    ]


def _without_time(option: str, time: str, texts: Iterable[str]) -> str:
    """Return a format as messages write it without its time of day, which is read as the file has it."""
    if not time:
        return option
    precise = time.replace("%S", "%S%.f")
    written = [
        f"{precise}%z",
        precise,
        f"{time}%z",
        time,
        *(time[: time.index("%")] + each for each in texts),
    ]
    names = [TimeFormat(each).name for each in written]
    return next((option.removesuffix(name) for name in names if option.endswith(name)), option)


def _check_short_months(values: list[str], file: str, *, is_requested: bool) -> None:
    """Raise an error for ``Jan-05`` if it may be a day, or if the century of its year is not clear."""
    texts = list(dict.fromkeys(filter(None, values)))
    words = [re.sub(r"[\W\d_]", "", text).lower() for text in texts]
    repeated = sum(one == other for one, other in pairwise(words))
    if not is_requested and repeated > _MAX_REPEATED_MONTHS * len(words):
        raise DataError(
            f"{file}: it is not clear whether dates such as {texts[0]!r} are months of a year, or days "
            "without a year.",
            "If the number is the year: --date-format Mon-YY (or YY-Mon, as the file writes it). "
            "Else add the year to the dates.",
        )
    years = [int(digits[0]) for text in texts if (digits := re.findall(r"\d\d", text))]
    if any(FIRST_UNCLEAR_YEAR <= year < _FIRST_YEAR_OF_1900S for year in years):
        raise DataError(
            f"{file}: the century of its dates is not clear: their years have two digits, "
            f"{min(years):02} to {max(years):02}.",
            "Write the years with four digits, such as Jan-1958.",
        )


def is_short_month(text: str) -> bool:
    """Return whether a text is a month with two digits of the year, or part of a contract's name."""
    return bool(_SHORT_MONTHS & set(_date_formats(text)))


def _check_not_rounded(values: list[str], file: str) -> None:
    """Raise an error for times such as 1.70407E+12, from which a spreadsheet has cut the digits."""
    exponents = [match for text in values if (match := _EXPONENT_PATTERN.fullmatch(text))]
    if exponents and max(len(match[1] or "") for match in exponents) <= _SPREADSHEET_DECIMALS:
        raise DataError(
            f"{file}: its times are rounded: {exponents[0][0]} may be any of many moments.",
            "A spreadsheet shows them like that: download the file again, or format the column as numbers.",
        )


def _with_six_digit_months(formats: list[str], values: list[str]) -> list[str]:
    """Return the formats of dates of six digits, with that of months if every value can be one."""
    texts = set(filter(None, values))
    if not all(re.fullmatch(r"\d{6}", text) and _is_plausible_date(text, "%Y%m") for text in texts):
        return formats
    # among so many days of YYMMDD, some would be above 12
    return ["%Y%m"] if len(texts) > _MAX_MONTHS_LIKE_DAYS else list(dict.fromkeys([*formats, "%Y%m"]))


def _swap_day_and_month(dates: list[str], values: list[str]) -> list[str]:
    """Return year-day-month instead of year-month-day, if only that can be read."""
    if len(dates) > 1 or not dates[0].startswith(("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d")):
        return dates
    parts = [
        (int(m[1]), int(m[2])) for text in values if (m := re.match(r"\d{4}[-/.](\d\d?)[-/.](\d\d?)", text))
    ]
    is_swapped = any(month > 12 for month, _ in parts) and not any(day > 12 for _, day in parts)
    return [dates[0].replace("%m", "%D").replace("%d", "%m").replace("%D", "%d")] if is_swapped else dates


def _is_date_only(date_format: str) -> bool:
    return not any(each in date_format for each in ("%H", "%I", "%T"))


_MIDNIGHT: Final = re.compile(
    r"(?<![\d:+])(?:0?0:00(?::00(?:\.0+)?)?|000000|12:00(?::00)? ?A\.?M\.?)(?![\d:.])", re.IGNORECASE
)


def is_temporal(text: str) -> bool:
    """Return whether a text looks like a date or a time; digits alone do not."""
    text = text.strip()
    return not _NUMBER_PATTERN.fullmatch(text) and (
        CLOCK_PATTERN.fullmatch(text) is not None or _match_shape(text) is not None
    )


def is_excel_serial(text: str) -> bool:
    """Return whether a number can be a date in a spreadsheet: days since 1899-12-30, from 1970 to 2117."""
    is_serial = re.fullmatch(r"\d{5}(?:\.\d+)?", text) is not None
    return is_serial and _MIN_EXCEL_DAY <= float(text) < _MAX_EXCEL_DAY


def is_timestamp(text: str) -> bool:
    """Return whether a text can be a date, with or without a time."""
    return _match_shape(text.strip()) is not None


def has_time(text: str) -> bool:
    """Return whether a text has a time of day as well as a date, or counts seconds."""
    shape = _match_shape(text.strip())
    return shape is not None and (shape.time_format != "" or shape.date_formats[0].startswith("epoch:"))


def is_midnight(text: str) -> bool:
    """Return whether a text has a date and the time 00:00, and thus may have no time of day."""
    if not has_time(text):
        return False
    digits = text.partition(".")[0]
    if not digits.isdigit():
        return _MIDNIGHT.search(text) is not None
    if unit := EPOCH_UNIT_BY_DIGITS.get(len(digits)):
        return int(digits) * NS_BY_UNIT[unit] % DAY_NS == 0
    return set(digits[8:]) == {"0"}


def are_midnights(texts: Sequence[str]) -> bool:
    """Return whether several dates all have the time 00:00, and thus no time of day."""
    return len(texts) > 1 and all(map(is_midnight, texts))


def has_zone(text: str) -> bool:
    """Return whether a text has an offset or a time zone, or counts seconds since 1970."""
    shape = _match_shape(text.strip())
    return shape is not None and (shape.zone != "none" or shape.date_formats[0].startswith("epoch:"))


class _Shape(NamedTuple):
    """What a text can be: formats of its date, format of its time, kind of zone, and its time as written."""

    date_formats: tuple[str, ...]
    time_format: str = ""
    zone: str = "none"
    time_text: str = ""


def _match_shape(text: str) -> _Shape | None:
    if len(text) > _MAX_DATE_LENGTH or not any(c.isdigit() for c in text):
        return None
    return _match_short(text)


@lru_cache(maxsize=CACHED_CELLS)
def _match_short(text: str) -> _Shape | None:
    text = re.sub(r"(\d)(?:er|st|nd|rd|th)\b", r"\1", text)
    text = re.sub(r"^(\d{8,17})\.0*$", r"\1", text)
    if exponent := _EXPONENT_PATTERN.fullmatch(text):
        unit = EPOCH_UNIT_BY_DIGITS.get(int(exponent[2]) + 1)
        return _Shape((f"epoch:{unit}",)) if unit and text[0] != "0" else None
    if digits := re.fullmatch(r"(\d{9,19})(?:\.\d*)?", text):
        if digits[1] == text and len(text) in _COMPACT_DATE_TIMES and _is_compact_date_time(text):
            return _Shape(("%Y%m%d",), _COMPACT_DATE_TIMES[len(text)], time_text=text[8:])
        unit = EPOCH_UNIT_BY_DIGITS.get(len(digits[1]))
        return _Shape((f"epoch:{unit}",)) if unit and text[0] != "0" else None
    if dates := _date_formats(text):
        return _Shape(dates)
    if _has_weekday(text):
        text = re.sub(WEEKDAY_PATTERN, "", text)
        if dates := _date_formats(text):
            return _Shape(dates)
    match = _DATE_TIME_PATTERN.fullmatch(text)
    if match is None or not (dates := _date_formats(match["date"])) or dates[0] in _SHORT_MONTHS:
        return None
    zone = (match["zone"] or "").strip()
    if zone.isalpha() and zone not in OFFSETS and zone != "Z":
        return None
    clock = match["time"].replace(",", ".").partition(".")[0]
    clock, ticks, _ = clock.partition(" ")
    time_format = ("", "%H:%M", "%H:%M:%S")[clock.count(":")] or _COMPACT_TIMES[len(clock)]
    time_format += " %.f" if ticks else ""  # ticks of 100 ns
    if match["noon"]:
        time_format = time_format.replace("%H", "%I") + " %p"
    sep = match["sep"].replace(",", "") or " " if "%B" in dates[0] else match["sep"]
    kind = zone if "/" in zone and "[" not in zone else "offset" if zone else "none"
    return _Shape(dates, f"{sep}{time_format}", kind, match["time"])


def _date_formats(text: str) -> tuple[str, ...]:
    """Return the formats in which a date without a time can be read."""
    formats = next(
        (
            formats
            for shape, formats in _DATE_PATTERNS
            if shape.fullmatch(text) and ("%B" not in formats[0] or _has_month_name(text))
        ),
        (),
    )
    if len(formats) > 1 and text.isdigit():
        plausible = tuple(each for each in formats if _is_plausible_date(text, each))
        if not plausible and len(text) == len("YYYYMM") and _is_plausible_date(text, "%Y%m"):
            return ("%Y%m",)
        return plausible
    return formats


def _has_weekday(text: str) -> bool:
    """Return whether a text begins with a day of the week; ``Mar`` is Tuesday in Spanish, and a month."""
    rest = re.sub(WEEKDAY_PATTERN, "", text)
    return rest != text and not _date_formats(text) and not _is_date_time(text)


def _is_date_time(text: str) -> bool:
    match = _DATE_TIME_PATTERN.fullmatch(text)
    return match is not None and bool(set(_date_formats(match["date"])) - _SHORT_MONTHS)


def _has_month_name(text: str) -> bool:
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", text)]
    month_names = {word.lower() for word in MONTHS}
    return any(word in month_names for word in words)


def _is_compact_date_time(text: str) -> bool:
    """Return whether digits can be a date followed by a time of day."""
    month, day, hour, minute = (int(text[i : i + 2]) for i in (4, 6, 8, 10))
    second = int(text[12:14] or 0)
    return (
        text[:2] in {"19", "20"}
        and 1 <= month <= 12
        and 1 <= day <= 31
        and hour < 24
        and minute < 60
        and second < 60
    )


def _is_plausible_date(digits: str, date_format: str) -> bool:
    """Return whether digits can be a date from 1900 to 2099 in a format without separators."""
    position, parts = 0, {}
    for directive in re.findall("%.", date_format):
        width = 4 if directive == "%Y" else 2
        parts[directive[1]] = int(digits[position : position + width])
        position += width
    return 1 <= parts["m"] <= 12 and 1 <= parts.get("d", 1) <= 31 and 1900 <= parts.get("Y", 2000) < 2100
