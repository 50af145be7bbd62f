"""One format of dates and times, and how texts in it are read."""

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, Literal

import polars as pl

from tickerlake.model.duration import DAY_NS, MINUTE_NS, MS_NS, SECOND_NS
from tickerlake.sources.csv.zones import OFFSETS

NS_BY_UNIT: Final = {"s": SECOND_NS, "ms": MS_NS, "us": 1_000, "ns": 1}
_DATE_RANGE: Final = (date(1700, 1, 1), date(2200, 1, 1))
"""Nanoseconds in 64 bits reach from 1677 to 2262."""

_MAX_EPOCH_NS: Final = 2**62
"""The year 2116, half of what 64 bits hold: larger numbers are not times, and cannot overflow when scaled."""

_MIN_EPOCH: Final = 10**8
"""Seconds since 1970 have nine digits or more from 1973 on; each smaller unit has three more."""

EARLIEST_CERTAIN_NS: Final = _MIN_EPOCH * SECOND_NS
"""From this time on, the length of a number since 1970 shows its unit."""

_UNIT_FACTOR: Final = 1_000

_SAMPLE_ROWS: Final = 1000
"""The rows by which a column is judged to repeat its times: a sample costs little."""

EXCEL_EPOCH_DAYS: Final = 25_569
"""The serial number of 1970-01-01 in a spreadsheet, which counts days since 1899-12-30."""

EXCEL_MAX_DAYS: Final = 54_000
"""Days after 1970, until 2117, up to which a number of five digits counts as such a serial number."""

FIRST_UNCLEAR_YEAR: Final = 40
"""Two digits of a year from here to 69 may be of either century; below they are of this one."""

_DIRECTIVE_NAMES: Final = {
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
    "%q": "n",
}
_QUARTER_PATTERN: Final = r"^(?:\d{4}[- ]?[Qq][1-4]|[Qq][1-4][- /]?\d{4})$"
MONTHS: Final[dict[str, str]] = {
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
_MONTH_WORDS: Final = sorted(MONTHS, key=len, reverse=True)
WEEKDAY_PATTERN: Final = (
    r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so|lun|mar|mer|mié|mie|jeu|jue|ven|vie|sam|sáb|sab|dim|dom|"
    r"seg|ter|qua|qui|sex)[^\W\d]*\.?,?\s+"
)


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """One way to read a column of dates or times.

    Parameters
    ----------
    format
        A ``strptime`` format (``%q`` is a quarter), or ``epoch:s``, ``epoch:ms``, ``epoch:us``, ``epoch:ns``,
        or ``epoch:mixed`` (each number in the unit that its length shows), or ``excel`` (days).
    date_only
        True if the text has only a date (or midnight on every row).
    zone
        ``none``, ``offset`` (each text has its offset from UTC), or the name of a time zone: that of local
        times, or for seconds since 1970 that of the dates to return.
    has_month_names
        True if months are words.
    has_weekdays
        True if the day of the week comes before the date.
    ignore_offset
        True to read date and time as written, whatever offset follows.
    year_offset
        Added to the year: 1911 for the calendar of Taiwan.
    any_century
        True to read years of two digits whose century is not clear as well.
    """

    format: str
    date_only: bool = False
    zone: str = "none"
    has_month_names: bool = False
    has_weekdays: bool = False
    ignore_offset: bool = False
    year_offset: int = 0
    any_century: bool = False

    @property
    def is_epoch(self) -> bool:
        """True if the text counts from 1970."""
        return self.format.startswith("epoch:")

    @property
    def has_dates(self) -> bool:
        """True if the text has a date and a time of day, both as written."""
        return "%" in self.format and self.zone == "none" and not self.date_only

    @property
    def _unit_ns(self) -> int:
        return NS_BY_UNIT[self.format.removeprefix("epoch:")]

    @property
    def period(self) -> str:
        """``1mo`` or ``3mo`` if the text is a month or a quarter without a day, else an empty text."""
        if "%q" in self.format:
            return "3mo"
        has_year = "%Y" in self.format or "%y" in self.format
        return "1mo" if has_year and "%d" not in self.format else ""

    @property
    def is_midnight(self) -> bool:
        """True if the text has a time of day, which is midnight on every row."""
        return (
            self.date_only
            and "%" in self.format
            and re.search(r"\d", re.sub("%.", "", self.format)) is not None
        )

    @property
    def _is_compact(self) -> bool:
        """True if the text is digits alone: ``20240102``."""
        return "%" in self.format and not re.sub("%(?:3f|.)", "", self.format)

    @property
    def is_naive(self) -> bool:
        """True if the text has a time of day, but neither an offset nor a known time zone."""
        return not self.date_only and self.zone == "none" and not self.is_epoch

    @property
    def is_local(self) -> bool:
        """True if the text is a local time in a zone whose clocks may skip or repeat an hour."""
        has_zone = self.zone not in {"none", "offset", "UTC"} and not self.ignore_offset
        return has_zone and not self.date_only and not self.is_epoch

    @property
    def as_written(self) -> "TimeFormat":
        """The format of the same texts that reads date and time as written, whatever the offset or zone."""
        if self.is_epoch:
            return self
        if self.zone == "offset":
            return replace(self, format=self.format.removesuffix("%z"), ignore_offset=True)
        return replace(self, ignore_offset=True) if "/" in self.zone else replace(self, zone="none")

    @property
    def swapped(self) -> "TimeFormat | None":
        """The same format with day and month exchanged; None if months are words or there is no day."""
        if not {"%d", "%m"} <= set(re.findall("%.", self.format)):
            return None
        day, month = self.format.index("%d"), self.format.index("%m")
        first, last = sorted((day, month))
        parts = (self.format[:first], self.format[last : last + 2], self.format[first + 2 : last])
        return replace(self, format="".join(parts) + self.format[first : first + 2] + self.format[last + 2 :])

    @property
    def name(self) -> str:
        """The format in readable form: ``DD-MM-YYYY``."""
        text = self.format
        for directive, word in _DIRECTIVE_NAMES.items():
            text = text.replace(directive, word)
        return text

    def to_ns(self, text: pl.Expr) -> pl.Expr:
        """Return the times of texts in nanoseconds since 1970; null where a text cannot be read."""
        return text.map_batches(self.parse, return_dtype=pl.Int64())

    def parse(self, values: pl.Series) -> pl.Series:
        """Return the times of texts in nanoseconds since 1970; null where a text cannot be read."""
        if "%S %.f" in self.format:
            joined = replace(self, format=self.format.replace("%S %.f", "%S%.f"))
            return joined.parse(values.str.replace(r" (\d{7}\s*)$", ".$1"))
        parsed = self._parse_distinct(values)
        if parsed.null_count():
            stripped = values.str.strip_chars()
            if self._is_compact:
                # a whole number in a column of floats
                stripped = stripped.str.replace(r"\.0*$", "")
            if (stripped != values).any():
                return self._parse_distinct(stripped)
        return parsed

    def _parse_distinct(self, values: pl.Series) -> pl.Series:
        if self.is_epoch:
            if self.format == "epoch:mixed" or self.zone not in {"none", "UTC"}:
                return self._parse(values)
            integers = values.cast(pl.Int64, strict=False)
            earliest, latest = DAY_NS // self._unit_ns, _MAX_EPOCH_NS // self._unit_ns
            if not integers.null_count() and integers.is_between(earliest, latest).all():
                return integers * self._unit_ns
        elif len(values) > _SAMPLE_ROWS and values.head(_SAMPLE_ROWS).n_unique() < _SAMPLE_ROWS // 2:
            # many symbols share a time: it is read once
            distinct = values.unique()
            return values.replace_strict(distinct, self._parse(distinct), return_dtype=pl.Int64())
        return self._parse(values)

    def _parse(self, values: pl.Series) -> pl.Series:
        frame = values.alias("t").to_frame()
        if self.zone == "offset" and not self.date_only and not self.ignore_offset and len(values):
            offset = re.search(r" ?(Z|[+-]\d\d:?\d\d)$", str(values[0]))
            if offset:
                # one offset for all: reading it as a fixed word is ten times as fast
                fixed_offset = replace(self, format=self.format.removesuffix("%z") + offset[0], zone="none")
                naive = fixed_offset._parse(values)
                if not naive.null_count():
                    return naive - _offset_minutes(offset[1]) * MINUTE_NS
        if "%S%.f" in self.format and not self.date_only and self.zone != "offset":
            nanos = self._parse_fractions(values)
            if not nanos.null_count():
                return nanos
        return frame.select(self._to_ns(pl.col("t"))).to_series()

    def _parse_fractions(self, values: pl.Series) -> pl.Series:
        """Read whole seconds and their fractions separately, which is much faster; null where that fails."""
        ending = self.format.partition("%.f")[2]
        first = str(values[0]) if len(values) else ""
        width = len(re.sub(r"[.,]\d*$", "", first.removesuffix(ending)))
        whole_seconds = replace(self, format=self.format.replace("%.f", ""))
        text = pl.col("t")
        digits = text.str.slice(width).str.strip_suffix(ending).str.slice(1)
        fraction = digits.str.pad_end(9, "0").cast(pl.Int64, strict=False)
        is_valid = text.str.contains(rf"\d(?:[.,]\d{{1,9}})?{re.escape(ending)}$")
        seconds = whole_seconds._to_ns(pl.concat_str(text.str.slice(0, width), pl.lit(ending)))
        return values.alias("t").to_frame().select(pl.when(is_valid).then(seconds + fraction)).to_series()

    def _to_ns(self, text: pl.Expr) -> pl.Expr:
        if self.is_epoch:
            return self._epoch_to_ns(text)
        text = self._normalize(text)
        if self.format == "excel":
            day = text.cast(pl.Decimal(38, 9), strict=False) - EXCEL_EPOCH_DAYS
            # nine decimals of a day are a tenth of a millisecond; the spreadsheet meant whole seconds
            seconds = (day * 86_400).round(0).cast(pl.Int64, strict=False)
            timestamp = self._to_utc((seconds * SECOND_NS).cast(pl.Datetime("ns")))
            return pl.when(day.is_between(0, EXCEL_MAX_DAYS)).then(timestamp.to_physical())
        if self.date_only:
            day = self._to_date(text)
            return pl.when(day.is_between(*_DATE_RANGE)).then(day.cast(pl.Int64) * DAY_NS)
        micros = self._to_datetime(text, "us")
        # nanoseconds of a year such as 9999 overflow to a plausible date; microseconds do not
        nanos = (
            self._to_datetime(text, "ns").to_physical()
            if "%.f" in self.format
            else micros.to_physical() * 1000
        )
        return pl.when(micros.dt.date().is_between(*_DATE_RANGE)).then(nanos)

    def _to_date(self, text: pl.Expr) -> pl.Expr:
        if self.period == "3mo":
            month = 3 * text.str.extract(r"[Qq]([1-4])").cast(pl.Int8) - 2
            first = pl.date(text.str.extract(r"(\d{4})").cast(pl.Int32), month, 1)
            return pl.when(text.str.contains(_QUARTER_PATTERN)).then(first)
        if self.period:
            month = (text + " 1").str.to_date(f"{self.format} %d", strict=False)
            return self._with_clear_century(month)
        return self._with_clear_century(text.str.to_date(self.format, strict=False))

    def _with_clear_century(self, moment: pl.Expr) -> pl.Expr:
        """Return dates or times; null where a year of two digits may be in another century."""
        if "%y" not in self.format or self.any_century:
            return moment
        return pl.when(moment.dt.year() < 2000 + FIRST_UNCLEAR_YEAR).then(moment)

    def _epoch_to_ns(self, text: pl.Expr) -> pl.Expr:
        if self.format == "epoch:mixed":
            magnitude = text.cast(pl.Float64, strict=False)
            # no length occurs in two units
            limits = {unit: _MIN_EPOCH * _UNIT_FACTOR**k for k, unit in enumerate(NS_BY_UNIT)}
            nanos = pl.coalesce(
                pl.when(magnitude.is_between(limit, limit * _UNIT_FACTOR, closed="left")).then(
                    _count_to_ns(text, NS_BY_UNIT[unit])
                )
                for unit, limit in limits.items()
            )
        else:
            nanos = _count_to_ns(text, self._unit_ns)
        if self.zone in {"none", "offset", "UTC"}:
            return nanos
        instant = nanos.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(self.zone)
        return instant.dt.replace_time_zone(None).to_physical()

    def _to_datetime(self, text: pl.Expr, unit: Literal["us", "ns"]) -> pl.Expr:
        if self.zone == "offset" and not self.ignore_offset:
            instant = text.str.to_datetime(self.format, time_unit=unit, strict=False, time_zone="UTC")
            return self._with_clear_century(instant)
        local = text.str.to_datetime(self.format, time_unit=unit, strict=False)
        return self._to_utc(self._with_clear_century(local))

    def _to_utc(self, naive: pl.Expr) -> pl.Expr:
        """Return local times of the zone as UTC; null where its clocks skip or repeat them."""
        if not self.is_local:
            return naive
        local = naive.dt.replace_time_zone(self.zone, ambiguous="null", non_existent="null")
        return local.dt.convert_time_zone("UTC").dt.replace_time_zone(None)

    def _normalize(self, text: pl.Expr) -> pl.Expr:
        if self.has_weekdays:
            text = text.str.replace(WEEKDAY_PATTERN, "")
        if self.has_month_names:
            text = text.str.replace_many(
                _MONTH_WORDS,
                [MONTHS[word] for word in _MONTH_WORDS],
                ascii_case_insensitive=True,
                leftmost=True,
            ).str.replace_all(r"\b[dD]e\b ", "")
            text = text.str.replace(r"(\d)(?:er|st|nd|rd|th)\b", "${1}")
            text = text.str.replace_all(r"([^\W\d_])\.", "${1}").str.replace_all(",", "", literal=True)
            if self.format.startswith("%d %B"):
                text = text.str.replace(r"^(\d+)\.? ?(\D+?) ?(\d)", "${1} ${2} ${3}")
        if self.year_offset:
            year = text.str.extract(r"^(\d{3})").cast(pl.Int32, strict=False) + self.year_offset
            text = pl.concat_str(year.cast(pl.String), text.str.replace(r"^\d{3}", ""))
        if "%p" in self.format:
            text = text.str.replace(r"(?i) ?([ap])\.?m\.?", " ${1}m")
        if "%.f" in self.format:
            text = text.str.replace(r"(\d),(\d+)", "${1}.${2}") if not self.has_month_names else text
        if "/" in self.zone and not self.is_epoch:
            return text.str.strip_suffix(f" {self.zone}")
        if self.zone != "offset":
            return text
        text = text.str.replace(r"\[.*\]$", "")
        if self.date_only or self.ignore_offset:
            return text.str.replace(r" ?(?:Z|(?:UTC|GMT)?[+-]\d\d(?::?\d\d)?|[A-Z]{3,4})$", "")
        text = text.str.replace(r" ?(?:UTC|GMT)?([+-]\d\d)(?::?(\d\d))?$", "${1}:${2}").str.replace(
            r":$", ":00"
        )
        text = text.str.replace(r" ?Z$", "+00:00")
        for name, offset in OFFSETS.items():
            text = text.str.replace(f" ?{name}$", offset)
        return text


def _count_to_ns(text: pl.Expr, unit_ns: int) -> pl.Expr:
    """Return counts of a unit since 1970 in nanoseconds; null for what is not such a time, as 0 or -1."""
    whole = text.cast(pl.Int64, strict=False)
    # 1706797800.5 and 1.7067978e9: decimals are exact where doubles are not
    number = (text.cast(pl.Decimal(38, 9), strict=False) * pl.lit(unit_ns).cast(pl.Decimal(38, 0))).cast(
        pl.Int64, strict=False
    )
    nanos = pl.when(whole.is_not_null()).then(whole * unit_ns).otherwise(number)
    magnitude = pl.coalesce(whole, text.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)).abs()
    return pl.when(magnitude.is_between(DAY_NS // unit_ns, _MAX_EPOCH_NS // unit_ns)).then(nanos)


def count_foreign_epochs(texts: pl.Series, time_format: TimeFormat) -> tuple[int, int]:
    """Count the numbers whose length is not that of times from 1973 on in a format's unit.

    Returns
    -------
    other_unit, earlier
        How many have the length of another unit; how many are times before 1973 if they have one.
    """
    text = pl.col("t")
    own = _count_to_ns(text, time_format._unit_ns)
    other = TimeFormat("epoch:mixed").to_ns(text)
    counts = texts.alias("t").to_frame().select(own=own, other=other)
    foreign = pl.col("own").is_null() | (pl.col("own") < EARLIEST_CERTAIN_NS)
    return counts.select(
        other=(foreign & pl.col("other").is_not_null()).sum(),
        earlier=(foreign & pl.col("other").is_null() & pl.col("own").is_not_null()).sum(),
    ).row(0)


def _offset_minutes(offset: str) -> int:
    """Return the minutes of ``Z``, ``+0530`` or ``-05:00``."""
    if offset == "Z":
        return 0
    digits = offset[1:].replace(":", "")
    return (int(digits[:2]) * 60 + int(digits[2:])) * (-1 if offset[0] == "-" else 1)
