"""Bars written to CSV files in the dialects of many vendors.

All choices go through one function, so that a property test can shrink them: the first option of each list is
the simplest.
"""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

import zstandard

from tickerlake.sources.csv.detect.options import Options

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several options."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ROLES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Bar:
    """One bar; ``local_time`` is in the table's time zone, and midnight for a daily bar."""

    symbol: str
    local_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None


@dataclass(frozen=True)
class BarTable:
    """Bars, oldest first within each symbol."""

    bars: list[Bar]
    interval: str
    zone: str
    tick: Decimal
    has_volume: bool

    @property
    def is_daily(self) -> bool:
        """Whether the bars are daily."""
        return self.interval == "1d"

    def open_ns(self, bar: Bar) -> int:
        """Return the time at which a bar opens, in nanoseconds since the epoch."""
        instant = bar.local_time.replace(tzinfo=UTC if self.is_daily else ZoneInfo(self.zone))
        seconds = (instant - EPOCH) // timedelta(seconds=1)
        return seconds * 10**9


@dataclass
class WrittenFile:
    """A file, and the bars and rejects expected from it."""

    name: str
    data: bytes
    options: Options
    expected: list[tuple[Any, ...]]
    text: str
    rejected_lines: list[int] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------- tables

SYMBOLS: Final = ("AAPL", "MSFT", "BRK-B", "F", "RELIANCE.NS", "BTC-USD", "NA", "MAR", "7203", "^GSPC")
STARTS: Final = (
    date(2024, 1, 2), date(2023, 12, 20), date(2012, 1, 31), date(2024, 5, 1), date(1999, 11, 29),
    date(2025, 6, 13),
)  # fmt: skip
INTERVAL_SECONDS: Final = {"1d": 86_400, "1m": 60, "5m": 300, "1h": 3600}


def random_table(
    pick: Pick, *, rows: Sequence[int], symbols: Sequence[int], intervals: Sequence[str]
) -> BarTable:
    """Return the bars of random walks."""
    interval = pick(intervals)
    count = pick(symbols)
    around_the_clock = pick([False, True])
    zone = pick(["UTC", "Asia/Kolkata"] if around_the_clock else ["America/New_York", "UTC", "Europe/Berlin"])
    tick = pick([Decimal("0.01"), Decimal("0.0001"), Decimal(1), Decimal("0.05"), Decimal("0.001")])
    level = pick([Decimal(100), Decimal("0.5"), Decimal(7), Decimal(990), Decimal(4200), Decimal(250_000)])
    volumes = pick(["integers", "none", "some missing", "fractions", "small", "large", "zeros"])
    length, start = pick(rows), pick(STARTS)
    random = Random(pick(range(1000)))
    offset = pick(range(len(SYMBOLS)))
    names = [SYMBOLS[(offset + k) % len(SYMBOLS)] for k in range(count)]
    bars = []
    times = _times(interval, start, length, around_the_clock=around_the_clock)
    for name in names:
        bars += _walk(name, times, random, max(level, 20 * tick), tick, volumes)
    return BarTable(bars, interval, zone, tick, volumes != "none")


def _times(interval: str, start: date, length: int, *, around_the_clock: bool) -> list[datetime]:
    # not from midnight: minute bars that are all at 00:00 look like daily ones to any reader
    begin = time(0) if interval == "1d" else time(22, 15) if around_the_clock else time(9, 30)
    at = datetime.combine(start, begin)
    step = timedelta(seconds=INTERVAL_SECONDS[interval])
    times: list[datetime] = []
    while len(times) < length:
        if around_the_clock or at.weekday() < 5:
            times.append(at)
        at += step
        if interval != "1d" and not around_the_clock and at.time() >= time(16):
            at = datetime.combine(at.date() + timedelta(1), time(9, 30))
    return times


def _walk(
    symbol: str, times: list[datetime], random: Random, level: Decimal, tick: Decimal, volumes: str
) -> list[Bar]:
    price, bars = int(level / tick), []
    size = max(2, price // 80)
    for at in times:
        opens = max(2, price + random.randint(-size // 8, size // 8))
        close = max(2, opens + random.randint(-size, size))
        high = max(opens, close) + random.randint(0, size // 2)
        low = max(1, min(opens, close) - random.randint(0, size // 2))
        price = close
        shares = Decimal(random.randint(800, 90_000_000))
        volume: Decimal | None = shares
        if volumes == "none" or (volumes == "some missing" and random.random() < 0.3):
            volume = None
        elif volumes == "fractions":
            volume = Decimal(random.randint(1, 10**9)) / 10 ** random.choice([2, 3, 8])
        elif volumes == "small":
            volume = Decimal(random.randint(0, 999))
        elif volumes == "large":
            volume = shares * 1000
        elif volumes == "zeros" and random.random() < 0.5:
            volume = Decimal(0)
        bars.append(Bar(symbol, at, opens * tick, high * tick, low * tick, close * tick, volume))
    return bars


# ------------------------------------------------------------------------------------------- spellings

ENGLISH_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "date": ("date", "trade date", "trading date", "day", "price date", "as of date"),
    "moment": ("datetime", "timestamp", "time", "date", "date time", "open time", "bar time"),
    "clock": ("time", "time of day"),
    "symbol": ("symbol", "ticker", "instrument", "stock", "ticker symbol", "code"),
    "open": ("open", "open price", "opening price", "opening"),
    "high": ("high", "high price", "highest price", "day high"),
    "low": ("low", "low price", "lowest price", "day low"),
    "close": ("close", "close price", "closing price", "last", "last price"),
    "volume": ("volume", "vol", "total volume", "shares traded", "traded volume", "qty"),
}
FOREIGN_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    # date, moment, clock, symbol, open, high, low, close, volume
    "German": ("Datum", "Zeitpunkt", "Uhrzeit", "Kürzel", "Eröffnung", "Hoch", "Tief", "Schluss", "Volumen"),
    "German 2": (
        "Datum", "Datum/Zeit", "Zeit", "Symbol", "Eröffnungskurs", "Höchstkurs", "Tiefstkurs", "Schlusskurs",
        "Stück",
    ),
    "French": ("Date", "Date", "Heure", "Symbole", "Ouverture", "Plus haut", "Plus bas", "Clôture", "Volume"),
    "French 2": ("Date", "Date", "Heure", "Symbole", "Ouv.", "+ Haut", "+ Bas", "Dernier", "Vol."),
    "Spanish": ("Fecha", "Fecha", "Hora", "Símbolo", "Apertura", "Máximo", "Mínimo", "Cierre", "Volumen"),
    "Spanish 2": ("Fecha", "Fecha", "Hora", "Símbolo", "Apertura", "Máx.", "Mín.", "Último", "Vol."),
    "Italian": ("Data", "Data", "Ora", "Simbolo", "Apertura", "Massimo", "Minimo", "Chiusura", "Volume"),
    "Italian 2": ("Data", "Data", "Ora", "Simbolo", "Apertura", "Max", "Min", "Ultimo", "Volumi"),
    "Portuguese": ("Data", "Data", "Hora", "Ativo", "Abertura", "Máxima", "Mínima", "Fechamento", "Volume"),
    "Portuguese 2": ("Data", "Data", "Hora", "Código", "Abertura", "Máximo", "Mínimo", "Fecho", "Quantidade"),
    "Dutch": ("Datum", "Datum", "Tijd", "Symbool", "Opening", "Hoog", "Laag", "Slot", "Volume"),
    "Swedish": ("Datum", "Datum", "Tid", "Symbol", "Öppning", "Högsta", "Lägsta", "Stängning", "Volym"),
    "Polish": (
        "Data", "Data", "Czas", "Symbol", "Otwarcie", "Najwyższy", "Najniższy", "Zamknięcie", "Wolumen",
    ),
    "Turkish": ("Tarih", "Tarih", "Saat", "Sembol", "Açılış", "Yüksek", "Düşük", "Kapanış", "Hacim"),
    "Russian": ("Дата", "Дата", "Время", "Тикер", "Открытие", "Максимум", "Минимум", "Закрытие", "Объём"),
    "Japanese": ("日付", "日時", "時刻", "銘柄コード", "始値", "高値", "安値", "終値", "出来高"),
    "Chinese": ("日期", "时间", "时间", "股票代码", "开盘", "最高", "最低", "收盘", "成交量"),
}  # fmt: skip
_ORDER: Final = ("date", "moment", "clock", "symbol", *ROLES, "volume")
HEADER_STYLES: Final[dict[str, Callable[[str], str]]] = {
    "Title": str.title,
    "lower": lambda text: text,
    "UPPER": str.upper,
    "snake": lambda text: text.replace(" ", "_"),
    "camel": lambda text: text[0] + text.title().replace(" ", "")[1:],
    "<angle>": lambda text: f"<{text.upper().replace(' ', '_')}>",
    "[square]": lambda text: f"[{text.title()}]",
    "padded": lambda text: f"  {text.title()} ",
    "unit": lambda text: (
        f"{text.title()} (USD)" if text.split(maxsplit=1)[0] in {*ROLES, "opening"} else text.title()
    ),
    "money": lambda text: f"{text.title()} ($)" if text in ROLES else text.title(),
    "starred": lambda text: f"{text.title()}*" if text == "close" else text.title(),
    "nested": lambda text: f"candles.{text.replace(' ', '_')}",
    "numbered": lambda text: {r: f"{i}. {r}" for i, r in enumerate((*ROLES, "volume"), 1)}.get(text, text),
}


def header_names(pick: Pick, *, plain: bool, western: bool) -> dict[str, str]:
    """Return a header name for each role."""
    languages = ["English"] if plain else ["English", "English", *FOREIGN_HEADERS]
    if western:
        languages = [x for x in languages if x not in {"Polish", "Turkish", "Russian", "Japanese", "Chinese"}]
    language = pick(languages)
    if language != "English":
        return dict(zip(_ORDER, FOREIGN_HEADERS[language], strict=True))
    case = HEADER_STYLES[pick(list(HEADER_STYLES))]
    return {role: case(pick(names)) for role, names in ENGLISH_HEADERS.items()}


# ----------------------------------------------------------------------------------------------- dates

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
EPOCH_UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


@dataclass(frozen=True)
class TimeStyle:
    """How times are written: in one column or in two."""

    name: str
    is_naive: bool
    write: Callable[[Bar], list[str]]


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


def time_style(pick: Pick, bar_table: BarTable, *, plain: bool, iso: bool = False) -> TimeStyle:
    """Choose how times are written."""
    date_format = pick(PLAIN_DATE_FORMATS if plain else list(DATE_FORMATS)) if not iso else "YYYY-MM-DD"
    styles = (
        ["date", "epoch", "midnight", "midnight offset", "serial"]
        if bar_table.is_daily
        else ["one", "epoch", "zone", "two", "digits", "serial"]
    )
    style = pick(styles[:1] if iso or (plain and bar_table.is_daily) else styles)
    format_date = DATE_FORMATS[date_format]
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


# --------------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written."""

    decimal: str = "."
    thousands: str = ""
    currency: str = ""
    strips_zeros: bool = False
    uses_suffix: bool = False

    def format_number(self, value: Decimal, decimals: int) -> str:
        """Format with a fixed number of decimals, or without trailing zeros."""
        formatted = f"{value:.{decimals}f}" if -value.as_tuple().exponent <= decimals else f"{value:f}"  # type: ignore[operator]
        if self.strips_zeros and "." in formatted:
            formatted = formatted.rstrip("0").rstrip(".")
        sign, formatted = ("-", formatted[1:]) if formatted.startswith("-") else ("", formatted)
        integer, point, fraction = formatted.partition(".")
        if self.thousands:
            integer = f"{int(integer):,}".replace(",", self.thousands)
        return sign + integer + (self.decimal if point else "") + fraction

    def format_price(self, value: Decimal, tick: Decimal) -> str:
        """Format a price."""
        return self.currency + self.format_number(value, max(0, -int(tick.as_tuple().exponent)))

    def format_volume(self, value: Decimal) -> str:
        """Format a volume, with a suffix if that loses no digits."""
        for sign, size in (("M", 10**6), ("K", 1000)):
            if self.uses_suffix and value >= size and value % (size // 100) == 0:
                return self.format_number(value / size, 2) + sign
        return self.format_number(value, 0)


# ---------------------------------------------------------------------------------------------- writing

EXTRA_COLUMNS: Final[dict[str, Callable[[Bar, Random, NumberStyle], str]]] = {
    "Change %": lambda bar, random, style: (
        style.format_number(Decimal(random.randint(-400, 400)) / 100, 2) + "%"
    ),
    "Turnover": lambda bar, random, style: style.format_number(bar.close * (bar.volume or 7), 0),
    "Notes": lambda bar, random, style: random.choice(
        ["", "ex dividend", 'said "hold"', "split, 2:1; see |"]
    ),
    "Prev Close": lambda bar, random, style: style.format_price(bar.open * Decimal("0.99"), Decimal("0.01")),
    "Adj Close": lambda bar, random, style: style.format_price(bar.close * Decimal("0.9"), Decimal("0.01")),
    "MA20": lambda bar, random, style: style.format_number(bar.close * Decimal("1.01"), 2),
    "Trades": lambda bar, random, style: str(random.randint(1, 9000)),
    "Exchange": lambda bar, random, style: "XNAS",
    "Row": lambda bar, random, style: str(random.randint(1, 10**6)),
}
PREAMBLES: Final[tuple[list[str], ...]] = (
    [], ["Historical prices"], ["# exported 2024-07-01 10:00"], ["Price history", "Currency: USD", ""],
    ["Downloaded from example.com", "", "All prices in USD"],
)  # fmt: skip
FOOTERS: Final = ("", "# end of data", "Source: an exchange", "Total rows: 12", "Data as of 2024-07-01")


MISSING_TEXTS: Final = (
    "", "-", "N/A", "null", "NaN", "n.a.", "None", "#N/A N/A", "#VALUE!", "inf", "1.#INF",
    "1.7976931348623157e308",
)  # fmt: skip
LARGEST_NUMBERS: Final = ("2147483647", "4294967295", "9223372036854775807", "18446744073709551615")
"""Numbers by which vendors mean that there is none."""

FAULTS: Final = (
    "largest number in a price",
    "text in a price",
    "no price",
    "one cell less",
    "one cell more",
    "negative price",
    "30 February",
)


def write_in_dialect(
    pick: Pick,
    bar_table: BarTable,
    *,
    plain: bool = False,
    header: bool | None = None,
    faults: Sequence[str] = (),
) -> WrittenFile:
    """Write a table in a random dialect; each fault breaks one row, which must be rejected."""
    has_several_symbols = len({bar.symbol for bar in bar_table.bars}) > 1
    encoding = pick(
        ["utf-8", "utf-8-sig"] if plain else ["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le"]
    )
    has_header = pick([True, True, True, False]) if header is None else header
    delimiter = pick([",", ";", "\t", "|"])
    decimal = pick(["."] if plain else [".", ","])
    groups = ["", ",", ".", "'", " ", "\u00a0"]
    thousands = pick([""] if plain else [sign for sign in groups if sign != decimal])
    currency = pick([""] if plain else ["", "", "", "$", "€"])
    style = NumberStyle(
        decimal, thousands, currency, pick([False, True]), pick([False] if plain else [False, False, True])
    )
    times = time_style(pick, bar_table, plain=plain, iso=bool(faults))
    symbol_source = "column" if has_several_symbols else pick(["column", "file", "option"])
    if not has_header and symbol_source == "column" and any(bar.symbol.isdigit() for bar in bar_table.bars):
        symbol_source = "column" if has_several_symbols else "file"
    missing = pick([*MISSING_TEXTS, *LARGEST_NUMBERS])
    quoting = pick(["minimal", "all"])
    pads_cells = pick([False, False, True])
    has_trailing_delimiter = pick([False, False, False, True])
    names = header_names(pick, plain=plain, western=encoding == "cp1252")
    extras = [] if not has_header else [name for name in EXTRA_COLUMNS if pick([False, False, False, True])]
    order = pick(["oldest first", "newest first", "shuffled", "by symbol"])
    newline = pick(["\n", "\r\n", "\r"])
    compression = pick(["none", "gz", "bz2", "xz", "zip", "zst"])
    preamble = pick(PREAMBLES)
    footer = "" if faults else pick(FOOTERS)
    random = Random(pick(range(50)))

    is_negative = not faults and pick([False, False, False, True])
    if is_negative:
        bar_table = _around_zero(bar_table)
    scale = None if faults else pick([None, None, None, 4, 9])
    bars = list(bar_table.bars)
    if order == "oldest first":
        bars.sort(key=lambda bar: bar.local_time)
    elif order == "newest first":
        bars.sort(key=lambda bar: bar.local_time, reverse=True)
    elif order == "shuffled":
        random.shuffle(bars)

    def row_cells(bar: Bar) -> dict[str, str]:
        row = dict(zip(("time", "clock"), times.write(bar), strict=False))
        if symbol_source == "column":
            row["symbol"] = bar.symbol
        row |= {
            role: style.format_price(getattr(bar, role), bar_table.tick)
            if scale is None
            else style.format_number((getattr(bar, role) * 10**scale).to_integral_value(), 0)
            for role in ROLES
        }
        if bar_table.has_volume:
            row["volume"] = style.format_volume(bar.volume) if bar.volume is not None else missing
        return row | {name: EXTRA_COLUMNS[name](bar, random, style) for name in extras}

    rows = [row_cells(bar) for bar in bars]
    columns = list(rows[0])
    permuted = pick([False, False, True])
    if permuted and has_header:
        random.shuffle(columns)
    elif permuted:
        prices = list(ROLES)
        random.shuffle(prices)
        columns = [prices.pop(0) if column in ROLES else column for column in columns]
    titles = {
        "time": names["date" if bar_table.is_daily or "clock" in rows[0] else "moment"],
        **{role: names[role] for role in ("clock", "symbol", *ROLES, "volume")},
    }

    def line(values: Sequence[str]) -> str:
        out: list[str] = []
        for value in values:
            if quoting == "all" or delimiter in value or '"' in value:
                out.append('"' + value.replace('"', '""') + '"')
            else:
                out.append(f" {value} " if pads_cells and delimiter != "\t" else value)
        return str(delimiter.join(out) + (delimiter if has_trailing_delimiter else ""))

    broken = dict(zip(random.sample(range(len(bars)), len(faults)), faults, strict=True))

    def faulty_cells(index: int) -> list[str]:
        row, fault = dict(rows[index]), broken.get(index)
        if fault == "text in a price":
            row["close"] = "closed"
        elif fault == "no price":
            row["high"] = missing
        elif fault == "largest number in a price":
            row["open"] = LARGEST_NUMBERS[index % len(LARGEST_NUMBERS)]
        elif fault == "negative price":
            row["low"] = "-" + row["low"]
        elif fault == "30 February":
            row["time"] = f"{bars[index].local_time.year}-02-30"
        values = [row[column] for column in columns]
        if fault == "one cell less":
            # a trailing delimiter is an empty cell
            return values[: -2 if has_trailing_delimiter else -1]
        return [*values, "7"] if fault == "one cell more" else values

    lines = list(preamble)
    comment_mark = pick(["", "", "", "# ", "#"]) if quoting == "minimal" else ""
    lines += [comment_mark + line([titles.get(column, column) for column in columns])] if has_header else []
    first = len(lines) + 1
    lines += [line(faulty_cells(index)) for index in range(len(rows))]
    lines += [footer] if footer else []
    content = newline.join(lines) + newline
    symbol = bars[0].symbol
    stem = symbol if symbol_source == "file" else "prices"
    if symbol_source == "file":
        forms = ["{}", "{}_history", "{} Historical Data"]
        stem = pick(forms[:1] if symbol.isdigit() else forms).format(symbol)  # 2024_history is not a symbol
    option = symbol if symbol_source == "option" else None
    zone = (
        bar_table.zone
        if times.is_naive and (bar_table.zone != "UTC" or "." in symbol or pick([False, True]))
        else None
    )
    expected = sorted(
        (
            bar_table.open_ns(bar),
            bar.symbol,
            bar.local_time.date() if bar_table.is_daily else None,
            *(getattr(bar, r) for r in (*ROLES, "volume")),
        )
        for index, bar in enumerate(bars)
        if index not in broken
    )
    name = f"{stem}.csv"
    data = _compress(content.encode(encoding), compression, name)
    choices = {
        "encoding": encoding,
        "header": has_header,
        "delimiter": delimiter,
        "style": style,
        "times": times.name,
        "symbol source": symbol_source,
        "order": order,
        "newline": newline,
        "compression": compression,
        "preamble": preamble,
        "footer": footer,
        "extras": extras,
        "columns": columns,
        "trailing delimiter": has_trailing_delimiter,
        "quoting": quoting,
        "padded cells": pads_cells,
        "rows": len(bars),
        "interval": bar_table.interval,
        "zone": bar_table.zone,
        "missing": missing,
        "scale": scale,
        "negative": is_negative,
    }
    ending = "" if compression in {"none", "zip"} else f".{compression}"
    name = f"{stem}.zip" if compression == "zip" else name + ending
    return WrittenFile(
        name,
        data,
        Options(symbol=option, tz=zone, price_scale=scale, negative_prices=is_negative),
        expected,
        content,
        sorted(first + index for index in broken),
        choices,
    )


def _around_zero(bar_table: BarTable) -> BarTable:
    """Return bars such as those of a spread: some of their prices are below 0."""
    middle = sorted(bar.close for bar in bar_table.bars)[len(bar_table.bars) // 2]
    bars = [replace(bar, **{role: getattr(bar, role) - middle for role in ROLES}) for bar in bar_table.bars]
    return replace(bar_table, bars=bars)


def _compress(data: bytes, compression: str, name: str) -> bytes:
    if compression == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name), data)
        return stream.getvalue()
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "none": bytes, "gz": lambda b: gzip.compress(b, mtime=0), "bz2": bz2.compress, "xz": lzma.compress,
        "zst": zstandard.ZstdCompressor().compress,
    }  # fmt: skip
    return compressors[compression](data)
