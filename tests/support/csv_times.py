"""Dates and times in the spellings of many vendors."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from support.csv_tables import EPOCH, Bar, BarTable, Pick

MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
LONG_MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)
DATE_FORMATS: Final[dict[str, Callable[[date], str]]] = {
    "YYYY-MM-DD": date.isoformat,
    "YYYYMMDD": lambda d: f"{d:%Y%m%d}",
    "YYYY/MM/DD": lambda d: f"{d:%Y/%m/%d}",
    "YYYY.MM.DD": lambda d: f"{d:%Y.%m.%d}",
    "DD/MM/YYYY": lambda d: f"{d:%d/%m/%Y}",
    "MM/DD/YYYY": lambda d: f"{d:%m/%d/%Y}",
    "M/D/YYYY": lambda d: f"{d.month}/{d.day}/{d.year}",
    "DD.MM.YYYY": lambda d: f"{d:%d.%m.%Y}",
    "DD-MM-YYYY": lambda d: f"{d:%d-%m-%Y}",
    "DD.MM.YYYY.": lambda d: f"{d:%d.%m.%Y}.",
    "YYYY.MM.DD.": lambda d: f"{d:%Y.%m.%d}.",
    "DD-MM-YY": lambda d: f"{d:%d-%m-%y}",
    "MM/DD/YY": lambda d: f"{d:%m/%d/%y}",
    "DD.MM.YY": lambda d: f"{d:%d.%m.%y}",
    "YY-MM-DD": lambda d: f"{d:%y-%m-%d}",
    "YYMMDD": lambda d: f"{d:%y%m%d}",
    "DD-Mon-YYYY": lambda d: f"{d.day:02}-{MONTHS[d.month - 1]}-{d.year}",
    "DD-MON-YY": lambda d: f"{d.day:02}-{MONTHS[d.month - 1].upper()}-{d:%y}",
    "Mon D, YYYY": lambda d: f"{MONTHS[d.month - 1]} {d.day}, {d.year}",
    "Month DD, YYYY": lambda d: f"{LONG_MONTHS[d.month - 1]} {d.day:02}, {d.year}",
    "D Mon YYYY": lambda d: f"{d.day} {MONTHS[d.month - 1]} {d.year}",
    "Wdy, D Mon YYYY": lambda d: (
        f"{'Mon Tue Wed Thu Fri Sat Sun'.split()[d.weekday()]}, {d.day} {MONTHS[d.month - 1]} {d.year}"
    ),
}
PLAIN_DATE_FORMATS: Final = ("YYYY-MM-DD", "YYYYMMDD", "YYYY/MM/DD", "DD-Mon-YYYY", "Mon D, YYYY")
TIME_FORMATS: Final[dict[str, Callable[[datetime], str]]] = {
    "HH:MM:SS": lambda t: f"{t:%H:%M:%S}",
    "HH:MM": lambda t: f"{t:%H:%M}",
    "H:MM AM": lambda t: f"{(t.hour + 11) % 12 + 1}:{t:%M} {'AM' if t.hour < 12 else 'PM'}",
    "HH:MM:SS PM": lambda t: f"{(t.hour + 11) % 12 + 1:02}:{t:%M:%S} {'AM' if t.hour < 12 else 'PM'}",
    "HH:MM:SS.fff": lambda t: f"{t:%H:%M:%S}.000",
}
DIGIT_TIME_FORMATS: Final[dict[str, Callable[[datetime], str]]] = {
    "HHMMSS": lambda t: f"{t:%H%M%S}",
    "HHMM": lambda t: f"{t:%H%M}",
    "HMMSS": lambda t: str(int(f"{t:%H%M%S}")),
    "HHMMSSmmm": lambda t: f"{t:%H%M%S}000",
    "HHMMSSnnnnnnnnn": lambda t: f"{t:%H%M%S}000000000",
}
MONTH_FORMATS: Final[dict[str, Callable[[date], str]]] = {
    "YYYY-MM": lambda d: f"{d:%Y-%m}",
    "YYYY/MM": lambda d: f"{d:%Y/%m}",
    "YYYYMmm": lambda d: f"{d:%YM%m}",
    "MM/YYYY": lambda d: f"{d:%m/%Y}",
    "Mon-YYYY": lambda d: f"{MONTHS[d.month - 1]}-{d.year}",
    "Month YYYY": lambda d: f"{LONG_MONTHS[d.month - 1]} {d.year}",
}
DAY_BEGINNINGS: Final = (
    # the clock, its zone, and the days from there to the session date
    (time(0), "Asia/Singapore", 0),
    (time(17), "America/New_York", 1),
    (time(22), "UTC", 1),
    (time(9, 30), "America/New_York", 0),
    (time(0), "America/New_York", 0),
)
MIXED_UNITS: Final = (("s", "ms"), ("ms", "us"), ("us", "ms"), ("ms", "s"), ("us", "ns"))
EPOCH_UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


@dataclass(frozen=True)
class TimeStyle:
    """How times are written: in one column or in two."""

    name: str
    is_naive: bool
    write: Callable[[Bar], list[str]]
    open_ns: Callable[[Bar], int] | None = None
    """When a bar opens, if not at the table's time."""


def spreadsheet_serial(local_time: datetime) -> str:
    """Return a spreadsheet's serial date: days since 1899-12-30."""
    days = (
        Decimal((local_time - datetime.combine(date(1899, 12, 30), time())) // timedelta(seconds=1)) / 86_400
    )
    return f"{days:.9f}".rstrip("0").rstrip(".")


def _utc_offset(local_time: datetime, separator: str) -> str:
    minutes = int((local_time.utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}{separator}{abs(minutes) % 60:02}"


def _instant_style(pick: Pick, bar_table: BarTable) -> TimeStyle:
    """Write the instants at which the days of a market begin."""
    clock, zone, days_before = pick(DAY_BEGINNINGS)
    if any("." in bar.symbol for bar in bar_table.bars):
        # the symbol names the exchange's zone
        clock, zone, days_before = time(0), "Asia/Kolkata", 0
    form = pick(["Z", "s", "ms"])

    def open_ns(bar: Bar) -> int:
        day = bar.local_time.date() - timedelta(days_before)
        return (datetime.combine(day, clock, ZoneInfo(zone)) - EPOCH) // timedelta(seconds=1) * 10**9

    def write(bar: Bar) -> list[str]:
        seconds = open_ns(bar) // 10**9
        if form == "Z":
            return [f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"]
        return [str(open_ns(bar) // EPOCH_UNITS[form])]

    return TimeStyle(f"{form} of {clock} in {zone}", is_naive=False, write=write, open_ns=open_ns)


def time_style(pick: Pick, bar_table: BarTable, *, plain: bool, iso: bool = False) -> TimeStyle:
    """Choose how times are written."""
    date_format = pick(PLAIN_DATE_FORMATS if plain else list(DATE_FORMATS)) if not iso else "YYYY-MM-DD"
    styles = (
        ["date", "epoch", "midnight", "midnight offset", "serial", "float", "instant"]
        if bar_table.is_daily
        else ["one", "epoch", "zone", "two", "digits", "serial", "mixed epoch", "float epoch"]
    )
    if bar_table.interval == "1mo":
        styles = ["date", "month", "instant"]
    style = pick(styles[:1] if iso else styles)
    format_date = DATE_FORMATS[date_format]
    if style == "month":
        month_format = pick(list(MONTH_FORMATS))
        return TimeStyle(
            month_format,
            is_naive=False,
            write=lambda bar: [MONTH_FORMATS[month_format](bar.local_time.date())],
        )
    if style == "instant":
        return _instant_style(pick, bar_table)
    if style == "float":
        return TimeStyle("YYYYMMDD.0", is_naive=False, write=lambda bar: [f"{bar.local_time:%Y%m%d}.0"])
    if style == "mixed epoch":
        units, changes = pick(MIXED_UNITS), pick(bar_table.bars).local_time
        return TimeStyle(
            f"epoch {units}",
            is_naive=False,
            write=lambda bar: [str(bar_table.open_ns(bar) // EPOCH_UNITS[units[bar.local_time >= changes]])],
        )
    if style == "float epoch":
        form, unit = pick(["{}.0", "{:.10e}", "{}.000"]), pick(["s", "ms"])
        return TimeStyle(
            f"epoch {form} {unit}",
            is_naive=False,
            write=lambda bar: [form.format(bar_table.open_ns(bar) // EPOCH_UNITS[unit])],
        )
    if style == "epoch":
        unit = pick(list(EPOCH_UNITS))
        return TimeStyle(
            f"epoch {unit}",
            is_naive=False,
            write=lambda bar: [str(bar_table.open_ns(bar) // EPOCH_UNITS[unit])],
        )
    if style == "serial":
        # a date without its cell format, as spreadsheets export it
        return TimeStyle(
            "serial", is_naive=not bar_table.is_daily, write=lambda bar: [spreadsheet_serial(bar.local_time)]
        )
    if style == "digits":
        return TimeStyle(
            "YYYYMMDDhhmmssmmm", is_naive=True, write=lambda bar: [f"{bar.local_time:%Y%m%d%H%M%S}000"]
        )
    if style == "date":
        return TimeStyle(date_format, is_naive=False, write=lambda bar: [format_date(bar.local_time.date())])
    if style == "midnight":
        return TimeStyle(
            f"{date_format} 00:00:00",
            is_naive=False,
            write=lambda bar: [f"{format_date(bar.local_time.date())} 00:00:00"],
        )
    if style == "midnight offset":
        tail = pick(["-05:00", "Z", "+05:30", "+0100"])
        return TimeStyle(
            f"ISO midnight {tail}",
            is_naive=False,
            write=lambda bar: [f"{bar.local_time.date().isoformat()}T00:00:00{tail}"],
        )
    if style == "zone":
        form = pick(["Z", "+hh:mm", "+hhmm", "Z blank", "UTC"])
        zone, separator = ZoneInfo(bar_table.zone), pick(["T", " "])

        def format_zoned(bar: Bar) -> list[str]:
            at = bar.local_time.replace(tzinfo=zone)
            if form.startswith(("Z", "U")):
                at = at.astimezone(UTC)
            tail = {"Z": "Z", "Z blank": " Z", "UTC": " UTC"}.get(form) or _utc_offset(
                at, ":" if ":" in form else ""
            )
            return [f"{at.date().isoformat()}{separator}{at:%H:%M:%S}{tail}"]

        return TimeStyle(f"ISO {form}", is_naive=False, write=format_zoned)
    if style == "two":
        clocks = {**TIME_FORMATS, **DIGIT_TIME_FORMATS}
        clock = pick(list(clocks))
        return TimeStyle(
            f"{date_format}|{clock}",
            is_naive=True,
            write=lambda bar: [format_date(bar.local_time.date()), clocks[clock](bar.local_time)],
        )
    clock, separator = pick(list(TIME_FORMATS)), pick([" ", "T"] if date_format == "YYYY-MM-DD" else [" "])
    return TimeStyle(
        f"{date_format}{separator}{clock}",
        is_naive=True,
        write=lambda bar: [
            f"{format_date(bar.local_time.date())}{separator}{TIME_FORMATS[clock](bar.local_time)}"
        ],
    )
