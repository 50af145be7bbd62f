"""How a column of dates or times is written."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Literal, NamedTuple

import polars as pl

from tickerlake.errors import DataError, UsageError
from tickerlake.sources.csv.zones import OFFSETS

DAY_NS: Final = 86_400_000_000_000
_NANOS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_UNIT_BY_DIGITS: Final = {9: "s", 10: "s", 12: "ms", 13: "ms", 15: "us", 16: "us", 18: "ns", 19: "ns"}
_DAYS: Final = (date(1700, 1, 1), date(2200, 1, 1))
_FEW: Final = 1000
_EXCEL_EPOCH_DAYS: Final = 25_569
_EXCEL_DAYS: Final = (0, 54_000)
_NAMES: Final = {
    "%Y": "YYYY",
    "%y": "YY",
    "%m": "MM",
    "%d": "DD",
    "%B": "Mon",
    "%H": "hh",
    "%I": "hh",
    "%M": "mm",
    "%S": "ss",
    "%.f": ".fff",
    "%p": "AM",
    "%z": "+hh:mm",
}
_FROM_NAMES: Final = {
    "YYYY": "%Y",
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "Mon": "%B",
    "hh": "%H",
    "mm": "%M",
    "ss": "%S",
}
_MONTHS: Final[dict[str, str]] = {
    word: month
    for month, words in {
        "Jan": """
            januari january januar jänner janvier janv enero ene gennaio gen janeiro styczeń stycznia
            sty januari ocak oca января январь янв tammikuu
        """,
        "Feb": """
            february februar février févr fév fevrier febrero febbraio fevereiro fev luty lutego lut
            februari şubat şub февраля февраль фев
        """,
        "Mar": "march märz mär maerz mars marzo março marzec marca maart mrt mart марта март мар",
        "Apr": "april avril avr abril abr aprile kwiecień kwietnia kwi nisan nis апреля апрель апр",
        "May": "mei mayo maggio mag maio mai maj maja mei mayıs mayis мая май",
        "Jun": "june juni juin junio giugno giu junho czerwiec czerwca cze haziran haz июня июнь июн",
        "Jul": "july juli juillet juil julio luglio lug julho lipiec lipca lip temmuz tem июля июль июл",
        "Aug": """
            agustus august août aout agosto ago sierpień sierpnia sie augusti augustus ağustos ağu
            августа август авг
        """,
        "Sep": """
            september sept septembre septiembre settembre set setembro wrzesień września wrz eylül eyl
            сентября сентябрь сен
        """,
        "Oct": """
            october oktober okt octobre octubre ottobre ott outubro out październik października paź
            ekim eki октября октябрь окт
        """,
        "Nov": "november novembre noviembre novembro listopad listopada lis kasım kas ноября ноябрь ноя нояб",
        "Dec": """
            desember december dezember dez décembre déc decembre diciembre dic dicembre dezembro
            grudzień grudnia gru desember aralık ara декабря декабрь дек
        """,
    }.items()
    for word in (month, *words.split())
}
_MONTH_WORDS: Final = sorted(_MONTHS, key=len, reverse=True)
_WEEKDAY: Final = (
    r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so|lun|mar|mer|mié|mie|jeu|jue|ven|vie|sam|sáb|sab|dim|dom|"
    r"seg|ter|qua|qui|sex)[^\W\d]*\.?,?\s+"
)
_WORD: Final = r"[^\W\d_]+\.?"
_TIME: Final = re.compile(
    r"(?P<date>.+?)"
    r"(?:(?P<sep>[TD _;-]|, ?| +|:)"
    r"(?P<time>\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?|\d{9}|\d{6}(?:\.\d{1,9})?|\d{4})"
    r"(?P<noon> ?[AaPp]\.?[Mm]\.?)?"
    r"(?P<zone> ?(?:Z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|[A-Z]{3,4})(?:\[[^\]]*\])?"
    r"| [A-Z][A-Za-z]+/[A-Za-z_/]+)?)"
)
_GLUED: Final = {4: "%H%M", 6: "%H%M%S", 9: "%H%M%S%3f"}
_WHOLE: Final = {12: "%H%M", 14: "%H%M%S", 17: "%H%M%S%3f"}
_ROC: Final = "roc:"
_DATE_SHAPES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (r"\d{4}-\d\d?-\d\d?", ("%Y-%m-%d",)),
    (r"\d{4}/\d\d?/\d\d?", ("%Y/%m/%d",)),
    (r"\d{4}\.\d\d?\.\d\d?\.?", ("%Y.%m.%d",)),
    (r"1[01]\d/\d\d/\d\d", (f"{_ROC}%Y/%m/%d",)),
    (r"\d{4} \d\d? \d\d?", ("%Y %m %d",)),
    (r"\d{4}年\d\d?月\d\d?日", ("%Y年%m月%d日",)),
    (r"\d{8}", ("%Y%m%d", "%d%m%Y", "%m%d%Y")),
    (r"\d{6}", ("%y%m%d", "%d%m%y", "%m%d%y")),
    (r"\d\d?-\d\d?-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d\d?/\d\d?/\d{4}", ("%d/%m/%Y", "%m/%d/%Y")),
    (r"\d\d?\.\d\d?\.\d{4}", ("%d.%m.%Y", "%m.%d.%Y")),
    (r"\d\d?\. \d\d?\. \d{4}", ("%d. %m. %Y",)),
    (r"\d\d? \d\d? \d{4}", ("%d %m %Y", "%m %d %Y")),
    (r"\d\d?-\d\d?-\d\d", ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    (r"\d\d?/\d\d?/\d\d", ("%d/%m/%y", "%m/%d/%y", "%y/%m/%d")),
    (r"\d\d?\.\d\d?\.\d\d", ("%d.%m.%y", "%m.%d.%y", "%y.%m.%d")),
    (rf"\d\d?-{_WORD}-\d{{4}}", ("%d-%B-%Y",)),
    (rf"\d\d?-{_WORD}-\d\d", ("%d-%B-%y",)),
    (rf"\d\d?/{_WORD}/\d{{4}}", ("%d/%B/%Y",)),
    (rf"\d\d?/{_WORD}/\d\d", ("%d/%B/%y",)),
    (rf"\d\d?\.? ?{_WORD} ?\d{{4}}", ("%d %B %Y",)),
    (rf"\d\d? {_WORD} \d\d", ("%d %B %y",)),
    (rf"\d\d? de {_WORD} de \d{{4}}", ("%d %B %Y",)),
    (rf"{_WORD} \d\d?,? \d{{4}}", ("%B %d %Y",)),
    (rf"{_WORD}-\d\d?-\d{{4}}", ("%B-%d-%Y",)),
    (rf"\d{{4}}-{_WORD}-\d\d?", ("%Y-%B-%d",)),
    (rf"\d{{4}} {_WORD} \d\d?", ("%Y %B %d",)),
    (rf"\d{{4}}{_WORD}\d\d", ("%Y%B%d",)),
)
_COMPILED: Final = tuple((re.compile(shape), formats) for shape, formats in _DATE_SHAPES)
_DIGITS: Final = re.compile(r"\d+(?:\.\d*)?")
CLOCK: Final = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d{1,9})?)?( ?[AaPp]\.?[Mm]\.?)?")
"""A time of day by itself."""


@dataclass(frozen=True, slots=True)
class TimeForm:
    """One way to read a column of dates or times.

    Parameters
    ----------
    format
        A ``strptime`` format, or ``epoch:s``, ``epoch:ms``, ``epoch:us``, ``epoch:ns``, or ``excel`` (days).
    daily
        True if the text holds a date only (or midnight on every row).
    zone
        ``none``, ``offset`` (each text says its offset from UTC), or the name of a time zone: that of the
        clocks, or for seconds since 1970 that of the dates which are wanted.
    words
        True if months are written as words.
    weekdays
        True if the day of the week stands before the date.
    years
        What is added to the year that is written first: 1911 in Taiwan.
    written
        True to take the date and time that are written, whatever offset follows.
    """

    format: str
    daily: bool = False
    zone: str = "none"
    words: bool = False
    weekdays: bool = False
    written: bool = False
    years: int = 0

    @property
    def epoch(self) -> bool:
        """True if the text counts from 1970."""
        return self.format.startswith("epoch:")

    @property
    def naive(self) -> bool:
        """True if the text says a time of day, but not where."""
        return not self.daily and self.zone == "none" and not self.epoch

    @property
    def local(self) -> bool:
        """True if the text is a time on the clocks of a zone, which skip an hour and repeat one."""
        return not self.daily and not self.epoch and self.zone not in {"none", "offset", "UTC"}

    @property
    def name(self) -> str:
        """The format for people: ``DD-MM-YYYY``."""
        text = self.format
        for directive, word in _NAMES.items():
            text = text.replace(directive, word)
        return text

    def ns(self, text: pl.Expr) -> pl.Expr:
        """Return nanoseconds since the epoch of texts; null where one can't be read."""
        return text.map_batches(self.read, return_dtype=pl.Int64())

    def read(self, texts: pl.Series) -> pl.Series:
        """Return nanoseconds since the epoch of texts; null where one can't be read."""
        read = self._read_all(texts)
        if read.null_count():
            tidy = texts.str.strip_chars()
            if (tidy != texts).any():
                return self._read_all(tidy)
        return read

    def _read_all(self, texts: pl.Series) -> pl.Series:
        if self.epoch:
            whole = texts.cast(pl.Int64, strict=False)
            limit = 2**62 // _NANOS[self.format.removeprefix("epoch:")]
            if self.zone in {"none", "UTC"} and not whole.null_count() and whole.is_between(0, limit).all():
                return whole * _NANOS[self.format.removeprefix("epoch:")]
        elif len(texts) > _FEW and texts.head(_FEW).n_unique() < _FEW // 2:
            # many symbols have one time: it is read once
            distinct = texts.unique()
            return texts.replace_strict(distinct, self._read(distinct), return_dtype=pl.Int64())
        return self._read(texts)

    def _read(self, texts: pl.Series) -> pl.Series:
        frame = texts.alias("t").to_frame()
        if self.zone == "offset" and not self.daily and not self.written and len(texts):
            ending = re.search(r" ?(Z|[+-]\d\d:?\d\d)$", str(texts[0]))
            if ending:
                # one offset for all: reading it as if it were a word is ten times as quick
                plain = replace(self, format=self.format.removesuffix("%z") + ending[0], zone="none")
                naive = plain._read(texts)
                if not naive.null_count():
                    return naive - _minutes(ending[1]) * 60_000_000_000
        if "%S%.f" in self.format and not self.daily and self.zone != "offset":
            nanos = self._read_fractions(texts)
            if not nanos.null_count():
                return nanos
        return frame.select(self._ns(pl.col("t"))).to_series()

    def _read_fractions(self, texts: pl.Series) -> pl.Series:
        """Read whole seconds and fractions of them apart, which is much quicker; null where it can't be."""
        ending = self.format.partition("%.f")[2]
        first = str(texts[0]) if len(texts) else ""
        width = len(re.sub(r"[.,]\d*$", "", first.removesuffix(ending)))
        whole = replace(self, format=self.format.replace("%.f", ""))
        text = pl.col("t")
        digits = text.str.slice(width).str.strip_suffix(ending).str.slice(1)
        fraction = digits.str.pad_end(9, "0").cast(pl.Int64, strict=False)
        sound = text.str.contains(rf"\d(?:[.,]\d{{1,9}})?{re.escape(ending)}$")
        seconds = whole._ns(pl.concat_str(text.str.slice(0, width), pl.lit(ending)))
        return texts.alias("t").to_frame().select(pl.when(sound).then(seconds + fraction)).to_series()

    def _ns(self, text: pl.Expr) -> pl.Expr:
        if self.epoch:
            return self._since_epoch(text)
        text = self._tidied(text)
        if self.format == "excel":
            day = text.cast(pl.Decimal(38, 9), strict=False) - _EXCEL_EPOCH_DAYS
            # nine decimals of a day are a tenth of a millisecond; the sheet meant whole seconds
            seconds = (day * 86_400).round(0).cast(pl.Int64, strict=False)
            moment = self._utc((seconds * 1_000_000_000).cast(pl.Datetime("ns")))
            return pl.when(day.is_between(*_EXCEL_DAYS)).then(moment.to_physical())
        if self.daily:
            day = text.str.to_date(self.format, strict=False)
            return pl.when(day.is_between(*_DAYS)).then(day.cast(pl.Int64) * DAY_NS)
        micros = self._moment(text, "us")
        # Nanoseconds of a year such as 9999 wrap round to a date that looks right; microseconds don't.
        nanos = (
            self._moment(text, "ns").to_physical() if "%.f" in self.format else micros.to_physical() * 1000
        )
        return pl.when(micros.dt.date().is_between(*_DAYS)).then(nanos)

    def _since_epoch(self, text: pl.Expr) -> pl.Expr:
        factor = _NANOS[self.format.removeprefix("epoch:")]
        limit = 2**62 // factor
        whole = text.cast(pl.Int64, strict=False)
        # 1706797800.5 and 1706797800.0: decimals are exact where doubles are not
        number = (text.cast(pl.Decimal(38, 9), strict=False) * pl.lit(factor).cast(pl.Decimal(38, 0))).cast(
            pl.Int64, strict=False
        )
        nanos = pl.when(whole.is_not_null()).then(whole * factor).otherwise(number)
        sane = pl.coalesce(whole, text.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False))
        nanos = pl.when(sane.is_between(-limit, limit)).then(nanos)
        if self.zone in {"none", "offset", "UTC"}:
            return nanos
        instant = nanos.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(self.zone)
        return instant.dt.replace_time_zone(None).to_physical()

    def _moment(self, text: pl.Expr, unit: Literal["us", "ns"]) -> pl.Expr:
        if self.zone == "offset" and not self.written:
            return text.str.to_datetime(self.format, time_unit=unit, strict=False, time_zone="UTC")
        return self._utc(text.str.to_datetime(self.format, time_unit=unit, strict=False))

    def _utc(self, naive: pl.Expr) -> pl.Expr:
        """Return the moments of times on the clocks of the zone."""
        if not self.local:
            return naive
        local = naive.dt.replace_time_zone(self.zone, ambiguous="null", non_existent="null")
        return local.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    def _tidied(self, text: pl.Expr) -> pl.Expr:
        if self.weekdays:
            text = text.str.replace(_WEEKDAY, "")
        if self.words:
            text = text.str.replace_many(
                _MONTH_WORDS,
                [_MONTHS[word] for word in _MONTH_WORDS],
                ascii_case_insensitive=True,
                leftmost=True,
            ).str.replace_all(r"\b[dD]e\b ", "")
            text = text.str.replace(r"(\d)(?:er|st|nd|rd|th)\b", "${1}")
            text = text.str.replace_all(r"([^\W\d_])\.", "${1}").str.replace_all(",", "", literal=True)
            if self.format.startswith("%d %B"):
                text = text.str.replace(r"^(\d+)\.? ?(\D+?) ?(\d)", "${1} ${2} ${3}")
        if self.years:
            year = text.str.extract(r"^(\d{3})").cast(pl.Int32, strict=False) + self.years
            text = pl.concat_str(year.cast(pl.String), text.str.replace(r"^\d{3}", ""))
        if "%p" in self.format:
            text = text.str.replace(r"(?i) ?([ap])\.?m\.?", " ${1}m")
        if "%.f" in self.format:
            text = text.str.replace(r"(\d),(\d+)", "${1}.${2}") if not self.words else text
        if "/" in self.zone and not self.epoch:
            return text.str.strip_suffix(f" {self.zone}")
        if self.zone != "offset":
            return text
        text = text.str.replace(r"\[.*\]$", "")
        if self.daily or self.written:
            return text.str.replace(r" ?(?:Z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|[A-Z]{3,4})$", "")
        text = text.str.replace(r" ?(?:UTC|GMT)?([+-]\d\d)(?::?(\d\d))?$", "${1}:${2}").str.replace(
            r":$", ":00"
        )
        text = text.str.replace(r" ?Z$", "+00:00")
        for name, offset in OFFSETS.items():
            text = text.str.replace(f" ?{name}$", offset)
        return text


def _minutes(offset: str) -> int:
    """Return the minutes of ``Z``, ``+0530`` or ``-05:00``."""
    if offset == "Z":
        return 0
    digits = offset[1:].replace(":", "")
    return (int(digits[:2]) * 60 + int(digits[2:])) * (-1 if offset[0] == "-" else 1)


def from_option(option: str) -> str:
    """Return the ``strptime`` format that an option names: ``DD-MM-YYYY`` or ``%d-%m-%Y``."""
    if "%" in option:
        return option.replace("%b", "%B")
    text = option
    for word, directive in _FROM_NAMES.items():
        text = text.replace(word, directive)
    directives = set(re.findall("%.", text))
    if not {"%d"} <= directives or not directives & {"%m", "%B"}:
        raise UsageError(
            f"--date-format {option!r} is no date format.", "Write it as DD-MM-YYYY or %d-%m-%Y."
        )
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
        True to read fractions of seconds although the sample has none, which is much slower.
    """
    texts = [text.strip() for text in sample]
    found = [shape for text in texts if (shape := _shape(text))]
    shapes = Counter(shape[:3] for shape in found)
    if not shapes and date_format is None and texts and all(map(is_serial, filter(None, texts))):
        return [TimeForm("excel", daily=not any("." in text for text in texts))]
    if not shapes:
        if date_format is None:
            raise DataError(
                f"{file}: no date is readable, such as {sample[0]!r}." if sample else f"{file} has no dates.",
                "Name the format: --date-format DD-MM-YYYY",
            )
        return [TimeForm(from_option(date_format), daily=_is_daily(from_option(date_format)))]
    dates, time, zone = shapes.most_common(1)[0][0]
    if dates[0].startswith("epoch:"):
        return [TimeForm(dates[0])]
    chosen = from_option(date_format) if date_format is not None else ""
    if chosen and not _is_daily(chosen):
        return [TimeForm(chosen, zone=zone, words="%B" in chosen)]
    times = {shape.clock for shape in found if shape.clock}
    daily = not time or (all(set(each) <= set("0:.") for each in times) and "%p" not in time)
    if daily and time:
        longest = max(times, key=len)
        time = time[: time.index("%")] + longest
    elif fractions or any("." in each or "," in each for each in times):
        time = time.replace("%S", "%S%.f")
    suffix = "%z" if zone == "offset" and not daily else ""
    forms = [chosen] if chosen else _turned(list(dates), texts)
    weekdays = any(map(_has_weekday, texts))
    return [
        TimeForm(
            f"{day.removeprefix(_ROC)}{time}{suffix}",
            daily,
            zone,
            words="%B" in day,
            weekdays=weekdays,
            years=1911 * day.startswith(_ROC),
        )
        for day in forms
    ]


def _turned(dates: list[str], texts: list[str]) -> list[str]:
    """Return year-day-month for year-month-day, if only that can be read."""
    if len(dates) > 1 or not dates[0].startswith(("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d")):
        return dates
    parts = [
        (int(m[1]), int(m[2])) for text in texts if (m := re.match(r"\d{4}[-/.](\d\d?)[-/.](\d\d?)", text))
    ]
    turned = any(month > 12 for month, _ in parts) and not any(day > 12 for _, day in parts)
    return [dates[0].replace("%m", "%D").replace("%d", "%m").replace("%D", "%d")] if turned else dates


def _is_daily(form: str) -> bool:
    return not any(each in form for each in ("%H", "%I", "%T"))


def is_temporal(text: str) -> bool:
    """Tell whether a text looks like a date or a time, a number of digits only excepted."""
    text = text.strip()
    return not _DIGITS.fullmatch(text) and (CLOCK.fullmatch(text) is not None or _shape(text) is not None)


def is_serial(text: str) -> bool:
    """Tell whether a number may be a date in a spreadsheet: days since 1899, from 1970 to 2117."""
    return re.fullmatch(r"\d{5}(?:\.\d+)?", text) is not None and 25_569 <= float(text) < 79_569


def is_moment(text: str) -> bool:
    """Tell whether a text may be a date, with or without a time."""
    return _shape(text.strip()) is not None


def has_time(text: str) -> bool:
    """Tell whether a text holds a time of day beside a date, or counts seconds."""
    shape = _shape(text.strip())
    return shape is not None and (shape.time != "" or shape.dates[0].startswith("epoch:"))


def has_zone(text: str) -> bool:
    """Tell whether a text says an instant without a question."""
    shape = _shape(text.strip())
    return shape is not None and (shape.zone != "none" or shape.dates[0].startswith("epoch:"))


class _Shape(NamedTuple):
    """What one text may be: formats of its date, format of its time, kind of zone, its time as it is."""

    dates: tuple[str, ...]
    time: str = ""
    zone: str = "none"
    clock: str = ""


def _shape(text: str) -> _Shape | None:
    if len(text) > 60 or not any(c.isdigit() for c in text):
        return None
    text = re.sub(r"(\d)(?:er|st|nd|rd|th)\b", r"\1", text)
    if digits := re.fullmatch(r"(\d{9,19})(?:\.\d*)?", text):
        if digits[1] == text and len(text) in _WHOLE and _calendar(text):
            return _Shape(("%Y%m%d",), _WHOLE[len(text)], clock=text[8:])
        unit = _UNIT_BY_DIGITS.get(len(digits[1]))
        return _Shape((f"epoch:{unit}",)) if unit and text[0] != "0" else None
    if dates := _dates(text):
        return _Shape(dates)
    if _has_weekday(text):
        text = re.sub(_WEEKDAY, "", text)
        if dates := _dates(text):
            return _Shape(dates)
    match = _TIME.fullmatch(text)
    if match is None or not (dates := _dates(match["date"])):
        return None
    zone = (match["zone"] or "").strip()
    if zone.isalpha() and zone not in OFFSETS and zone != "Z":
        return None
    clock = match["time"].replace(",", ".").partition(".")[0]
    spell = ("", "%H:%M", "%H:%M:%S")[clock.count(":")] or _GLUED[len(clock)]
    if match["noon"]:
        spell = spell.replace("%H", "%I") + " %p"
    sep = match["sep"].replace(",", "") or " " if "%B" in dates[0] else match["sep"]
    kind = zone if "/" in zone and "[" not in zone else "offset" if zone else "none"
    return _Shape(dates, f"{sep}{spell}", kind, match["time"])


def _dates(text: str) -> tuple[str, ...]:
    """Return the formats in which a date without a time may be read."""
    found = next((formats for shape, formats in _COMPILED if shape.fullmatch(text)), ())
    if found and "%B" in found[0] and not _has_month(text):
        return ()
    if len(found) > 1 and text.isdigit():
        return tuple(form for form in found if _plausible(text, form))
    return found


def _has_weekday(text: str) -> bool:
    """Tell whether a text begins with a day of the week; ``Mar`` is Tuesday in Spanish, and a month."""
    rest = re.sub(_WEEKDAY, "", text)
    return rest != text and not _dates(text) and not _reads(text)


def _reads(text: str) -> bool:
    match = _TIME.fullmatch(text)
    return match is not None and bool(_dates(match["date"]))


def _has_month(text: str) -> bool:
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", text)]
    known = {word.lower() for word in _MONTHS}
    return any(word in known for word in words)


def _calendar(text: str) -> bool:
    """Tell whether digits read as a date followed by a time of day."""
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


def _plausible(digits: str, form: str) -> bool:
    """Tell whether digits read as a date of 1900 to 2099 in a format without separators."""
    place, parts = 0, {}
    for directive in re.findall("%.", form):
        width = 4 if directive == "%Y" else 2
        parts[directive[1]] = int(digits[place : place + width])
        place += width
    return 1 <= parts["m"] <= 12 and 1 <= parts["d"] <= 31 and 1900 <= parts.get("Y", 2000) < 2100
