"""Tables of bars, written to files in every way that vendors write them.

The choices go through one function, so that a property test shrinks them: the first of each list of options
is the plainest.
"""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

import zstandard

from tickerlake.sources.csv.options import Options

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several options."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ROLES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Bar:
    """One bar; ``at`` is the time on the clocks of the table's zone, midnight for a day's bar."""

    symbol: str
    at: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None


@dataclass(frozen=True)
class Table:
    """Bars, oldest first within each symbol."""

    bars: list[Bar]
    interval: str
    zone: str
    tick: Decimal
    has_volume: bool

    @property
    def daily(self) -> bool:
        """True if its bars are days."""
        return self.interval == "1d"

    def ts(self, bar: Bar) -> int:
        """Return when a bar opens, in nanoseconds."""
        instant = bar.at.replace(tzinfo=UTC if self.daily else ZoneInfo(self.zone))
        seconds = (instant - EPOCH) // timedelta(seconds=1)
        return seconds * 10**9


@dataclass
class Written:
    """A file, and what must come out of it."""

    name: str
    data: bytes
    options: Options
    expected: list[tuple[Any, ...]]
    text: str
    rejected: list[int] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------- tables

SYMBOLS: Final = ("AAPL", "MSFT", "BRK-B", "F", "RELIANCE.NS", "BTC-USD", "NA", "MAR", "7203", "^GSPC")
STARTS: Final = (
    date(2024, 1, 2), date(2023, 12, 20), date(2012, 1, 31), date(2024, 5, 1), date(1999, 11, 29),
    date(2025, 6, 13),
)  # fmt: skip
STEPS: Final = {"1d": 86_400, "1m": 60, "5m": 300, "1h": 3600}


def table(pick: Pick, *, rows: Sequence[int], symbols: Sequence[int], intervals: Sequence[str]) -> Table:
    """Return a random walk."""
    interval = pick(intervals)
    count = pick(symbols)
    around_the_clock = pick([False, True])
    zone = pick(["UTC", "Asia/Kolkata"] if around_the_clock else ["America/New_York", "UTC", "Europe/Berlin"])
    tick = pick([Decimal("0.01"), Decimal("0.0001"), Decimal(1), Decimal("0.05"), Decimal("0.001")])
    level = pick([Decimal(100), Decimal("0.5"), Decimal(7), Decimal(990), Decimal(4200), Decimal(250_000)])
    volumes = pick(["whole", "none", "some missing", "fractions", "small", "large", "zeros"])
    length, start = pick(rows), pick(STARTS)
    random = Random(pick(range(1000)))
    offset = pick(range(len(SYMBOLS)))
    names = [SYMBOLS[(offset + k) % len(SYMBOLS)] for k in range(count)]
    bars = []
    times = _times(interval, start, length, around_the_clock=around_the_clock)
    for name in names:
        bars += _walk(name, times, random, max(level, 20 * tick), tick, volumes)
    return Table(bars, interval, zone, tick, volumes != "none")


def _times(interval: str, start: date, length: int, *, around_the_clock: bool) -> list[datetime]:
    # not from midnight: bars of a minute that all stand at 00:00 are a day's for every reader
    begin = time(0) if interval == "1d" else time(22, 15) if around_the_clock else time(9, 30)
    at = datetime.combine(start, begin)
    step = timedelta(seconds=STEPS[interval])
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
        whole = Decimal(random.randint(800, 90_000_000))
        volume: Decimal | None = whole
        if volumes == "none" or (volumes == "some missing" and random.random() < 0.3):
            volume = None
        elif volumes == "fractions":
            volume = Decimal(random.randint(1, 10**9)) / 10 ** random.choice([2, 3, 8])
        elif volumes == "small":
            volume = Decimal(random.randint(0, 999))
        elif volumes == "large":
            volume = whole * 1000
        elif volumes == "zeros" and random.random() < 0.5:
            volume = Decimal(0)
        bars.append(Bar(symbol, at, opens * tick, high * tick, low * tick, close * tick, volume))
    return bars


# ------------------------------------------------------------------------------------------- spellings

ENGLISH: Final[dict[str, tuple[str, ...]]] = {
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
FOREIGN: Final[dict[str, tuple[str, ...]]] = {
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
CASES: Final[dict[str, Callable[[str], str]]] = {
    "Title": str.title,
    "lower": lambda text: text,
    "UPPER": str.upper,
    "snake": lambda text: text.replace(" ", "_"),
    "camel": lambda text: text[0] + text.title().replace(" ", "")[1:],
    "<angle>": lambda text: f"<{text.upper().replace(' ', '_')}>",
    "[square]": lambda text: f"[{text.title()}]",
    "blanks": lambda text: f"  {text.title()} ",
    "unit": lambda text: (
        f"{text.title()} (USD)" if text.split(maxsplit=1)[0] in {*ROLES, "opening"} else text.title()
    ),
    "money": lambda text: f"{text.title()} ($)" if text in ROLES else text.title(),
    "starred": lambda text: f"{text.title()}*" if text == "close" else text.title(),
    "nested": lambda text: f"candles.{text.replace(' ', '_')}",
    "numbered": lambda text: {r: f"{i}. {r}" for i, r in enumerate((*ROLES, "volume"), 1)}.get(text, text),
}


def names_of(pick: Pick, *, plain: bool, western: bool) -> dict[str, str]:
    """Return a name for each role."""
    languages = ["English"] if plain else ["English", "English", *FOREIGN]
    if western:
        languages = [x for x in languages if x not in {"Polish", "Turkish", "Russian", "Japanese", "Chinese"}]
    language = pick(languages)
    if language != "English":
        return dict(zip(_ORDER, FOREIGN[language], strict=True))
    case = CASES[pick(list(CASES))]
    return {role: case(pick(names)) for role, names in ENGLISH.items()}


# ----------------------------------------------------------------------------------------------- dates

MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
LONG_MONTHS: Final = (
    "January February March April May June July August September October November December".split()
)
DATES: Final[dict[str, Callable[[date], str]]] = {
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
PLAIN_DATES: Final = ("YYYY-MM-DD", "YYYYMMDD", "YYYY/MM/DD", "DD-Mon-YYYY", "Mon D, YYYY")
CLOCKS: Final[dict[str, Callable[[datetime], str]]] = {
    "HH:MM:SS": lambda t: f"{t:%H:%M:%S}",
    "HH:MM": lambda t: f"{t:%H:%M}",
    "H:MM AM": lambda t: f"{(t.hour + 11) % 12 + 1}:{t:%M} {'AM' if t.hour < 12 else 'PM'}",
    "HH:MM:SS PM": lambda t: f"{(t.hour + 11) % 12 + 1:02}:{t:%M:%S} {'AM' if t.hour < 12 else 'PM'}",
    "HH:MM:SS.fff": lambda t: f"{t:%H:%M:%S}.000",
}
CLOCK_DIGITS: Final[dict[str, Callable[[datetime], str]]] = {
    "HHMMSS": lambda t: f"{t:%H%M%S}",
    "HHMM": lambda t: f"{t:%H%M}",
    "HMMSS": lambda t: str(int(f"{t:%H%M%S}")),
    "HHMMSSmmm": lambda t: f"{t:%H%M%S}000",
    "HHMMSSnnnnnnnnn": lambda t: f"{t:%H%M%S}000000000",
}
UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


@dataclass(frozen=True)
class TimeStyle:
    """How times are written: in one column or in two."""

    name: str
    naive: bool
    write: Callable[[Bar], list[str]]


def serial(at: datetime) -> str:
    """Return the days since 1899 that a spreadsheet counts."""
    days = Decimal((at - datetime.combine(date(1899, 12, 30), time())) // timedelta(seconds=1)) / 86_400
    return f"{days:.9f}".rstrip("0").rstrip(".")


def _offset(at: datetime, colon: str) -> str:
    minutes = int((at.utcoffset() or timedelta()).total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"


def time_style(pick: Pick, made: Table, *, plain: bool, iso: bool = False) -> TimeStyle:
    """Choose how times are written."""
    day = pick(PLAIN_DATES if plain else list(DATES)) if not iso else "YYYY-MM-DD"
    kinds = (
        ["date", "epoch", "midnight", "midnight offset", "serial"]
        if made.daily
        else ["one", "epoch", "zone", "two", "digits", "serial"]
    )
    kind = pick(kinds[:1] if iso or (plain and made.daily) else kinds)
    of_day = DATES[day]
    if kind == "epoch":
        unit = pick(list(UNITS))
        return TimeStyle(f"epoch {unit}", naive=False, write=lambda bar: [str(made.ts(bar) // UNITS[unit])])
    if kind == "serial":
        # as a spreadsheet shows dates that lost their format
        return TimeStyle("serial", naive=not made.daily, write=lambda bar: [serial(bar.at)])
    if kind == "digits":
        return TimeStyle("YYYYMMDDhhmmssmmm", naive=True, write=lambda bar: [f"{bar.at:%Y%m%d%H%M%S}000"])
    if kind == "date":
        return TimeStyle(day, naive=False, write=lambda bar: [of_day(bar.at.date())])
    if kind == "midnight":
        return TimeStyle(
            f"{day} 00:00:00", naive=False, write=lambda bar: [f"{of_day(bar.at.date())} 00:00:00"]
        )
    if kind == "midnight offset":
        tail = pick(["-05:00", "Z", "+05:30", "+0100"])
        return TimeStyle(
            f"ISO midnight {tail}",
            naive=False,
            write=lambda bar: [f"{bar.at.date().isoformat()}T00:00:00{tail}"],
        )
    if kind == "zone":
        form = pick(["Z", "+hh:mm", "+hhmm", "Z blank", "UTC"])
        zone, gap = ZoneInfo(made.zone), pick(["T", " "])

        def zoned(bar: Bar) -> list[str]:
            at = bar.at.replace(tzinfo=zone)
            if form.startswith(("Z", "U")):
                at = at.astimezone(UTC)
            tail = {"Z": "Z", "Z blank": " Z", "UTC": " UTC"}.get(form) or _offset(
                at, ":" if ":" in form else ""
            )
            return [f"{at.date().isoformat()}{gap}{at:%H:%M:%S}{tail}"]

        return TimeStyle(f"ISO {form}", naive=False, write=zoned)
    if kind == "two":
        clocks = {**CLOCKS, **CLOCK_DIGITS}
        clock = pick(list(clocks))
        return TimeStyle(
            f"{day}|{clock}", naive=True, write=lambda bar: [of_day(bar.at.date()), clocks[clock](bar.at)]
        )
    clock, gap = pick(list(CLOCKS)), pick([" ", "T"] if day == "YYYY-MM-DD" else [" "])
    return TimeStyle(
        f"{day}{gap}{clock}",
        naive=True,
        write=lambda bar: [f"{of_day(bar.at.date())}{gap}{CLOCKS[clock](bar.at)}"],
    )


# --------------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written."""

    decimal: str = "."
    thousands: str = ""
    money: str = ""
    cut: bool = False
    suffix: bool = False

    def write(self, value: Decimal, places: int) -> str:
        """Return a number with a fixed count of decimals, or without zeros at its end."""
        text = f"{value:.{places}f}" if -value.as_tuple().exponent <= places else f"{value:f}"  # type: ignore[operator]
        if self.cut and "." in text:
            text = text.rstrip("0").rstrip(".")
        sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
        whole, point, rest = text.partition(".")
        if self.thousands:
            whole = f"{int(whole):,}".replace(",", self.thousands)
        return sign + whole + (self.decimal if point else "") + rest

    def price(self, value: Decimal, tick: Decimal) -> str:
        """Return a price."""
        return self.money + self.write(value, max(0, -int(tick.as_tuple().exponent)))

    def volume(self, value: Decimal) -> str:
        """Return a volume, shortened if that loses nothing."""
        for sign, size in (("M", 10**6), ("K", 1000)):
            if self.suffix and value >= size and value % (size // 100) == 0:
                return self.write(value / size, 2) + sign
        return self.write(value, 0)


# ---------------------------------------------------------------------------------------------- writing

EXTRAS: Final[dict[str, Callable[[Bar, Random, NumberStyle], str]]] = {
    "Change %": lambda bar, random, style: style.write(Decimal(random.randint(-400, 400)) / 100, 2) + "%",
    "Turnover": lambda bar, random, style: style.write(bar.close * (bar.volume or 7), 0),
    "Notes": lambda bar, random, style: random.choice(
        ["", "ex dividend", 'said "hold"', "split, 2:1; see |"]
    ),
    "Prev Close": lambda bar, random, style: style.price(bar.open * Decimal("0.99"), Decimal("0.01")),
    "Adj Close": lambda bar, random, style: style.price(bar.close * Decimal("0.9"), Decimal("0.01")),
    "MA20": lambda bar, random, style: style.write(bar.close * Decimal("1.01"), 2),
    "Trades": lambda bar, random, style: str(random.randint(1, 9000)),
    "Exchange": lambda bar, random, style: "XNAS",
    "Row": lambda bar, random, style: str(random.randint(1, 10**6)),
}
PREAMBLES: Final[tuple[list[str], ...]] = (
    [], ["Historical prices"], ["# exported 2024-07-01 10:00"], ["Price history", "Currency: USD", ""],
    ["Downloaded from example.com", "", "All prices in USD"],
)  # fmt: skip
FOOTERS: Final = ("", "# end of data", "Source: an exchange", "Total rows: 12", "Data as of 2024-07-01")


FAULTS: Final = (
    "text in a price",
    "no price",
    "one cell less",
    "one cell more",
    "negative price",
    "30 February",
)


def written(
    pick: Pick, made: Table, *, plain: bool = False, header: bool | None = None, faults: Sequence[str] = ()
) -> Written:
    """Write a table in a dialect; one row is broken for each of the faults and must not come back."""
    several = len({bar.symbol for bar in made.bars}) > 1
    encoding = pick(
        ["utf-8", "utf-8-sig"] if plain else ["utf-8", "utf-8-sig", "utf-16", "cp1252", "utf-16-le"]
    )
    has_header = pick([True, True, True, False]) if header is None else header
    delimiter = pick([",", ";", "\t", "|"])
    decimal = pick(["."] if plain else [".", ","])
    groups = ["", ",", ".", "'", " ", "\u00a0"]
    thousands = pick([""] if plain else [sign for sign in groups if sign != decimal])
    money = pick([""] if plain else ["", "", "", "$", "€"])
    style = NumberStyle(
        decimal, thousands, money, pick([False, True]), pick([False] if plain else [False, False, True])
    )
    times = time_style(pick, made, plain=plain, iso=bool(faults))
    place = "column" if several else pick(["column", "file", "option"])
    if not has_header and place == "column" and any(bar.symbol.isdigit() for bar in made.bars):
        place = "column" if several else "file"
    missing = pick(["", "-", "N/A", "null", "NaN"])
    quoting = pick(["minimal", "all"])
    blanks = pick([False, False, True])
    trailing = pick([False, False, False, True])
    names = names_of(pick, plain=plain, western=encoding == "cp1252")
    extras = [] if not has_header else [name for name in EXTRAS if pick([False, False, False, True])]
    order = pick(["oldest first", "newest first", "shuffled", "by symbol"])
    newline = pick(["\n", "\r\n", "\r"])
    compression = pick(["none", "gz", "bz2", "xz", "zip", "zst"])
    preamble = pick(PREAMBLES)
    footer = "" if faults else pick(FOOTERS)
    random = Random(pick(range(50)))

    bars = list(made.bars)
    if order == "oldest first":
        bars.sort(key=lambda bar: bar.at)
    elif order == "newest first":
        bars.sort(key=lambda bar: bar.at, reverse=True)
    elif order == "shuffled":
        random.shuffle(bars)

    def cells(bar: Bar) -> dict[str, str]:
        row = dict(zip(("time", "clock"), times.write(bar), strict=False))
        if place == "column":
            row["symbol"] = bar.symbol
        row |= {role: style.price(getattr(bar, role), made.tick) for role in ROLES}
        if made.has_volume:
            row["volume"] = style.volume(bar.volume) if bar.volume is not None else missing
        return row | {name: EXTRAS[name](bar, random, style) for name in extras}

    rows = [cells(bar) for bar in bars]
    columns = list(rows[0])
    permuted = pick([False, False, True])
    if permuted and has_header:
        random.shuffle(columns)
    elif permuted:
        prices = list(ROLES)
        random.shuffle(prices)
        columns = [prices.pop(0) if column in ROLES else column for column in columns]
    titles = {
        "time": names["date" if made.daily or "clock" in rows[0] else "moment"],
        **{role: names[role] for role in ("clock", "symbol", *ROLES, "volume")},
    }

    def line(values: Sequence[str]) -> str:
        out: list[str] = []
        for value in values:
            if quoting == "all" or delimiter in value or '"' in value:
                out.append('"' + value.replace('"', '""') + '"')
            else:
                out.append(f" {value} " if blanks and delimiter != "\t" else value)
        return str(delimiter.join(out) + (delimiter if trailing else ""))

    broken = dict(zip(random.sample(range(len(bars)), len(faults)), faults, strict=True))

    def cells_of(index: int) -> list[str]:
        row, fault = dict(rows[index]), broken.get(index)
        if fault == "text in a price":
            row["close"] = "closed"
        elif fault == "no price":
            row["high"] = missing
        elif fault == "negative price":
            row["low"] = "-" + row["low"]
        elif fault == "30 February":
            row["time"] = f"{bars[index].at.year}-02-30"
        values = [row[column] for column in columns]
        if fault == "one cell less":
            return values[: -2 if trailing else -1]  # a delimiter at the end stands for an empty cell
        return [*values, "7"] if fault == "one cell more" else values

    lines = list(preamble)
    hash_ = pick(["", "", "", "# ", "#"]) if quoting == "minimal" else ""
    lines += [hash_ + line([titles.get(column, column) for column in columns])] if has_header else []
    first = len(lines) + 1
    lines += [line(cells_of(index)) for index in range(len(rows))]
    lines += [footer] if footer else []
    text = newline.join(lines) + newline
    symbol = bars[0].symbol
    stem = symbol if place == "file" else "prices"
    if place == "file":
        forms = ["{}", "{}_history", "{} Historical Data"]
        stem = pick(forms[:1] if symbol.isdigit() else forms).format(symbol)  # 2024_history is no symbol
    option = symbol if place == "option" else None
    zone = made.zone if times.naive and (made.zone != "UTC" or "." in symbol or pick([False, True])) else None
    expected = sorted(
        (
            made.ts(bar),
            bar.symbol,
            bar.at.date() if made.daily else None,
            *(getattr(bar, r) for r in (*ROLES, "volume")),
        )
        for index, bar in enumerate(bars)
        if index not in broken
    )
    name = f"{stem}.csv"
    data = _packed(text.encode(encoding), compression, name)
    choices = {
        "encoding": encoding, "header": has_header, "delimiter": delimiter, "style": style,
        "times": times.name, "place": place, "order": order, "newline": newline, "compression": compression,
        "preamble": preamble,
        "footer": footer, "extras": extras, "columns": columns, "trailing": trailing, "quoting": quoting,
        "blanks": blanks, "rows": len(bars), "interval": made.interval, "zone": made.zone,
    }  # fmt: skip
    ending = "" if compression in {"none", "zip"} else f".{compression}"
    name = f"{stem}.zip" if compression == "zip" else name + ending
    return Written(
        name,
        data,
        Options(symbol=option, tz=zone),
        expected,
        text,
        sorted(first + index for index in broken),
        choices,
    )


def _packed(data: bytes, compression: str, name: str) -> bytes:
    if compression == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo(name), data)
        return stream.getvalue()
    pack: dict[str, Callable[[bytes], bytes]] = {
        "none": bytes, "gz": lambda b: gzip.compress(b, mtime=0), "bz2": bz2.compress, "xz": lzma.compress,
        "zst": zstandard.ZstdCompressor().compress,
    }  # fmt: skip
    return pack[compression](data)
