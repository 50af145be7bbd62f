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
from decimal import Decimal
from random import Random
from typing import Any, Final

import zstandard

from support.csv_tables import ROLES, Bar, BarTable, Pick
from support.csv_times import time_style
from tickerlake.model.instrument import is_plain_symbol
from tickerlake.sources.csv.detect.options import Options


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
    "prefixed": lambda text: f"Kline_{text.title().replace(' ', '_')}",
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
    is_western = all(ord(character) < 256 for bar in bar_table.bars for character in bar.symbol)
    encodings = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", *(["cp1252"] if is_western else [])]
    encoding = pick(["utf-8", "utf-8-sig"] if plain else encodings)
    has_header = pick([True, True, True, False]) if header is None else header
    # prices that all have three decimals may be thousands, unless commas are taken
    is_ambiguous = plain and bar_table.tick == Decimal("0.001")
    delimiter = pick([","] if is_ambiguous else [",", ";", "\t", "|"])
    decimal = pick(["."] if plain else [".", ","])
    groups = ["", ",", ".", "'", " ", "\u00a0"]
    thousands = pick([""] if plain else [sign for sign in groups if sign != decimal])
    currency = pick([""] if plain else ["", "", "", "$", "€"])
    style = NumberStyle(
        decimal, thousands, currency, pick([False, True]), pick([False] if plain else [False, False, True])
    )
    times = time_style(pick, bar_table, plain=plain, iso=bool(faults))
    can_name_file = all(is_plain_symbol(bar.symbol) for bar in bar_table.bars)
    symbol_source = (
        "column" if has_several_symbols else pick(["column", "option", *(["file"] if can_name_file else [])])
    )
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
            (times.open_ns or bar_table.open_ns)(bar),
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
