"""Closes written to CSV files in several forms, and tables of something else that look like them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any, Final

from support.csv_tables import BarTable, Pick
from support.csv_times import DATE_FORMATS, PLAIN_DATE_FORMATS

Closes = dict[tuple[str, date], Decimal]
FORMS: Final = ("wide", "named", "series", "long", "levels", "role and symbol")
CLOSE_NAMES: Final = (
    "Close", "close", "NAV", "Closing Price", "Schlusskurs", "Cierre", "終値", "收盘", "Price", "Value",
    "Last", "Settle", "Rate", "Kurs", "Adj Close",
)  # fmt: skip
CLEAR_SYMBOLS: Final = ("AAPL", "BRK-B", "^GSPC", "BTC-USD", "RELIANCE.NS", "MSFT")
"""Symbols that are no names of something else."""

MISSING: Final = ("", "NaN", ".", "N/A", "-")


@dataclass(frozen=True)
class CloseFile:
    """A file of closes, and what must come out of it."""

    name: str
    text: str
    expected: Closes
    form: str


def write_closes(pick: Pick, table: BarTable, *, plain: bool = False) -> CloseFile:
    """Write the closes of daily bars in a random form; some are missing."""
    if plain:
        written = dict(zip(dict.fromkeys(bar.symbol for bar in table.bars), CLEAR_SYMBOLS, strict=False))
        table = replace(table, bars=[replace(bar, symbol=written[bar.symbol]) for bar in table.bars])
    symbols = list(dict.fromkeys(bar.symbol for bar in table.bars))
    forms = [form for form in FORMS if len(symbols) == 1 or form not in {"named", "series"}]
    # the symbol is the file's name: others are for tests of such names
    form = pick([form for form in forms if form != "named" or symbols[0] in CLEAR_SYMBOLS])
    if form == "wide" and len(symbols) == 1:
        form = "series"
    days = sorted({bar.local_time.date() for bar in table.bars})
    # symbols are at different levels, unlike the prices of one of them
    closes = {
        (bar.symbol, bar.local_time.date()): bar.close * (1 + symbols.index(bar.symbol)) for bar in table.bars
    }
    random = Random(pick(range(50)))
    listed_late = pick([False, True]) and len(symbols) > 1
    if listed_late:
        closes = {
            key: close
            for key, close in closes.items()
            if key[0] != symbols[-1] or key[1] > days[len(days) // 3]
        }
    format_date = DATE_FORMATS[pick(PLAIN_DATE_FORMATS if plain else list(DATE_FORMATS))]
    # `1.234` between semicolons may be a thousand
    delimiter = pick([","] if plain else [",", ";", "\t"])
    decimal, missing = pick(["."] if plain else [".", ","]), pick(MISSING)
    if delimiter == decimal:
        delimiter = ";"
    if pick([False, True]):
        days.reverse()

    def cell(symbol: str, day: date) -> str:
        close = closes.get((symbol, day))
        return missing if close is None else f"{close}".replace(".", decimal)

    def quoted(values: Sequence[str]) -> str:
        return str(delimiter.join(f'"{value}"' if delimiter in value else value for value in values))

    lines = _HEADERS[form](pick, symbols)
    if form == "long":
        keys = [(symbol, day) for symbol in symbols for day in days if (symbol, day) in closes]
        random.shuffle(keys)
        lines += [[format_date(day), symbol, cell(symbol, day)] for symbol, day in keys]
    else:
        lines += [[format_date(day), *(cell(symbol, day) for symbol in symbols)] for day in days]
    name = f"{symbols[0]}.csv" if form == "named" else "table.csv"
    return CloseFile(name, "\n".join(map(quoted, lines)) + "\n", closes, form)


_HEADERS: Final[dict[str, Callable[[Pick, list[str]], list[list[str]]]]] = {
    "wide": lambda pick, symbols: [[pick(["Date", "", "date", "timestamp"]), *symbols]],
    "named": lambda pick, _: [[pick(["Date", "Datum", "trade date"]), pick(CLOSE_NAMES)]],
    "series": lambda pick, symbols: [[pick(["DATE", "observation_date"]), *symbols]],
    "long": lambda pick, _: [[pick(["Date", "day"]), pick(["Symbol", "Ticker"]), pick(CLOSE_NAMES)]],
    "levels": lambda pick, symbols: [
        [pick(["Price", ""]), *[pick(["Close", "Adj Close"])] * len(symbols)],
        [pick(["Ticker", ""]), *symbols],
        ["Date", *[""] * len(symbols)],
    ],
    "role and symbol": lambda pick, symbols: [
        ["Date", *map(pick(["{}_Close", "{}.Close", "Close {}", "('Close', '{}')"]).format, symbols)]
    ],
}

WORDS: Final = {
    "statement": ("Date,Description,Amount,Balance", "Date,Type,Amount,Fee", "Date,Debit,Credit,Balance"),
    "figures": ("Date,Revenue,Net Income", "date,eps,ebitda,total_assets", "DATE,PE,PB,ROE"),
    "positions": ("Date,Quantity,Price,Cost", "date,position,price,unrealized"),
    "factors": ("Date,Mkt-RF,SMB,HML", "DATE,MKT,SMB,HML,UMD"),
    "indicators": ("Date,RSI,MACD,SMA", "DATE,ATR,ADX,OBV"),
}
"""Headers of tables that are not market data."""

LOOKALIKES: Final[dict[str, Callable[[Random, int], list[list[float]]]]] = {
    "returns": lambda random, n: [[random.gauss(0, 0.02) for _ in range(n)] for _ in range(3)],
    "percents": lambda random, n: [[random.gauss(0.1, 3) for _ in range(n)] for _ in range(3)],
    "weights": lambda random, count: [list(column) for column in zip(*_weights(random, count), strict=True)],
    "volumes": lambda random, n: [[float(random.randint(10**4, 10**7)) for _ in range(n)] for _ in range(3)],
    "holdings": lambda random, n: [[float(100 * (1 + (k > n // 2)))] * n for k in range(3)],
}
"""Tables with a column for each symbol whose values are no prices."""


def write_something_else(pick: Pick, random: Random, days: Sequence[date]) -> str:
    """Write a table that must be refused."""
    kind = pick([*LOOKALIKES, *WORDS])
    if kind in WORDS:
        header = pick(WORDS[kind])
        columns: list[list[float]] = [
            [random.uniform(1, 900) for _ in days] for _ in range(header.count(","))
        ]
    else:
        header, columns = "Date,AAPL,MSFT,GOOG", LOOKALIKES[kind](random, len(days))
    places = 0 if kind in {"volumes", "holdings"} else 5
    rows = [
        f"{day},{','.join(f'{value:.{places}f}' for value in row)}"
        for day, *row in zip(days, *columns, strict=True)
    ]
    return "\n".join([header, *rows]) + "\n"


def _weights(random: Random, count: int) -> list[list[float]]:
    rows = [[random.uniform(0.5, 1.5) for _ in range(3)] for _ in range(count)]
    return [[part / sum(row) for part in row] for row in rows]


def as_closes(rows: Sequence[dict[str, Any]]) -> Closes:
    """Return the closes of records; they must have nothing else of a price."""
    assert not any(row.get(name) is not None for row in rows for name in ("open", "high", "low"))
    return {(row["symbol"], row["session_date"]): row["close"] for row in rows}
