"""How a column of dates or times is written."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

import polars as pl

from tickerlake.errors import DataError, UsageError

DAY_NS: Final = 86_400_000_000_000
_NANOS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_UNIT_BY_DIGITS: Final = {9: "s", 10: "s", 12: "ms", 13: "ms", 15: "us", 16: "us", 18: "ns", 19: "ns"}
_MIDNIGHT: Final = {"00:00:00", "00:00", "000000"}
_DAYS: Final = (date(1700, 1, 1), date(2200, 1, 1))
_TIMESTAMP: Final = re.compile(
    r"(?P<date>.+?)"
    r"(?:(?P<sep>[T ]+)(?P<time>\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?|\d{6}(?!\d))(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
_NAMES: Final = {
    "%Y": "YYYY",
    "%y": "YY",
    "%m": "MM",
    "%d": "DD",
    "%b": "Mon",
    "%H": "hh",
    "%M": "mm",
    "%S": "ss",
}
_DATE_SHAPES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"\d{4}-\d\d?-\d\d?", ("%Y-%m-%d",)),
    (r"\d{4}/\d\d?/\d\d?", ("%Y/%m/%d",)),
    (r"\d{4}\.\d\d?\.\d\d?", ("%Y.%m.%d",)),
    (r"(19|20)\d{6}", ("%Y%m%d",)),
    (r"\d\d?-\d\d?-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d\d?/\d\d?/\d{4}", ("%d/%m/%Y", "%m/%d/%Y")),
    (r"\d\d?\.\d\d?\.\d{4}", ("%d.%m.%Y", "%m.%d.%Y")),
    (r"\d\d?-\d\d?-\d\d", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (r"\d\d?/\d\d?/\d\d", ("%d/%m/%y", "%m/%d/%y", "%y/%m/%d")),
    (r"\d\d?-[A-Za-z]{3}-\d{4}", ("%d-%b-%Y",)),
    (r"\d\d?-[A-Za-z]{3}-\d\d", ("%d-%b-%y",)),
    (r"\d\d? [A-Za-z]{3} \d{4}", ("%d %b %Y",)),
    (r"[A-Za-z]{3} \d\d?, \d{4}", ("%b %d, %Y",)),
)


@dataclass(frozen=True, slots=True)
class TimeForm:
    """One way to read a column of dates or times.

    Parameters
    ----------
    format
        A ``strptime`` format, or ``epoch:s``, ``epoch:ms``, ``epoch:us``, ``epoch:ns``.
    daily
        True if the text holds a date only (or midnight on every row).
    zone
        ``none``, ``utc`` (a ``Z`` follows) or ``offset``.
    """

    format: str
    daily: bool = False
    zone: str = "none"

    @property
    def naive(self) -> bool:
        """True if the text says a time of day, but not where."""
        return not self.daily and self.zone == "none" and not self.format.startswith("epoch:")

    @property
    def name(self) -> str:
        """The format for people: ``DD-MM-YYYY``."""
        text = self.format
        for directive, word in _NAMES.items():
            text = text.replace(directive, word)
        return text

    def ns(self, text: pl.Expr) -> pl.Expr:
        """Return nanoseconds since the epoch of texts; null where one can't be read."""
        if self.format.startswith("epoch:"):
            factor = _NANOS[self.format.removeprefix("epoch:")]
            number = text.cast(pl.Int64, strict=False)
            limit = 2**62 // factor
            return pl.when(number.is_between(-limit, limit)).then(number * factor)
        if self.daily:
            day = self._without_zone(text).str.to_date(self.format, strict=False)
            return pl.when(day.is_between(*_DAYS)).then(day.cast(pl.Int64) * DAY_NS)
        micros = self._moment(text, "us")
        # Nanoseconds of a year such as 9999 wrap round to a date that looks right; microseconds don't.
        nanos = (
            self._moment(text, "ns").to_physical() if "%.f" in self.format else micros.to_physical() * 1000
        )
        return pl.when(micros.dt.date().is_between(*_DAYS)).then(nanos)

    def _moment(self, text: pl.Expr, unit: Literal["us", "ns"]) -> pl.Expr:
        if self.zone == "offset":
            return text.str.to_datetime(self.format, time_unit=unit, strict=False, time_zone="UTC")
        return self._without_zone(text).str.to_datetime(self.format, time_unit=unit, strict=False)

    def _without_zone(self, text: pl.Expr) -> pl.Expr:
        if self.zone == "utc":
            return text.str.strip_suffix("Z")
        return text.str.replace(r"[+-]\d\d:?\d\d$", "") if self.zone == "offset" else text


def from_option(option: str) -> str:
    """Return the ``strptime`` format that an option names: ``DD-MM-YYYY`` or ``%d-%m-%Y``."""
    if "%" in option:
        return option
    text = option
    for directive, word in sorted(_NAMES.items(), key=lambda pair: -len(pair[1])):
        text = text.replace(word, directive)
    if not {"%d", "%m"} <= set(re.findall("%.", text)):
        raise UsageError(f"{option!r} is no date format.", "Write it as DD-MM-YYYY or %d-%m-%Y.")
    return text


def candidates(
    sample: Sequence[str], date_format: str | None, *, file: str, fractions: bool = False
) -> list[TimeForm]:
    """Return every way in which the sample may be read, the commonest shape of its values deciding.

    Parameters
    ----------
    sample
        Values of the column from the head of the file.
    date_format
        What the user says about the order of day and month, if anything.
    file
        The file's name, for the error.
    fractions
        True to read fractions of seconds as well, which is much slower.
    """
    counts = Counter(form for text in sample if (form := _shape(text.strip())))
    if not counts:
        if date_format is None:
            raise DataError(
                f"{file}: no date is readable ({sample[:1]}).", "Name the format: --date-format DD-MM-YYYY"
            )
        return [TimeForm(from_option(date_format), daily="%H" not in date_format)]
    dates, time, zone = counts.most_common(1)[0][0]
    if dates[0].startswith("epoch:"):
        return [TimeForm(dates[0])]
    midnight = {m["time"] for text in sample if (m := _TIMESTAMP.fullmatch(text.strip())) and m["time"]}
    daily = not time or midnight <= _MIDNIGHT
    if daily:
        time = time.replace("%H", "00").replace("%M", "00").replace("%S", "00")
    elif fractions:
        time = time.replace(":%S", ":%S%.f")
    suffix = "%z" if zone == "offset" and not daily else ""
    if date_format is not None:
        chosen = from_option(date_format)
        dates = (chosen,) if "%H" not in chosen else dates
        if "%H" in chosen:
            return [TimeForm(chosen, zone=zone)]
    return [TimeForm(f"{day}{time}{suffix}", daily, zone) for day in dates]


def _shape(text: str) -> tuple[tuple[str, ...], str, str] | None:
    """Return the possible formats of the date, the format of the time, and the kind of zone."""
    if re.fullmatch(r"\d{9,19}", text) and (unit := _UNIT_BY_DIGITS.get(len(text))):
        return (f"epoch:{unit}",), "", "none"
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    dates = next((formats for shape, formats in _DATE_SHAPES if re.fullmatch(shape, match["date"])), None)
    if dates is None:
        return None
    time = ""
    if match["time"]:
        clock = {0: "%H%M%S", 1: "%H:%M", 2: "%H:%M:%S"}[match["time"].count(":")]
        time = f"{match['sep']}{clock}"
    zone = {None: "none", "Z": "utc"}.get(match["zone"], "offset")
    return dates, time, zone
