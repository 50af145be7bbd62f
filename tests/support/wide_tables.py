"""Bars written to CSV files with a set of columns for each symbol."""

from typing import Final

from support.csv_dialects import NumberStyle, WrittenFile
from support.csv_tables import ROLES, Bar, BarTable, Pick
from support.csv_times import time_style
from tickerlake.sources.csv.detect.options import Options

WORDS: Final = (
    "AAPL", "BTC", "ETH", "EUR", "GBP", "USD", "DE", "ET", "CT", "RS", "DB", "IN", "STK", "C", "LOW", "NET",
    "BRK.B", "BRK B", "BTC/USD", "NSE:INFY", "NIFTY 50", "$SPX", "日経 225", "ГАЗПРОМ",
)  # fmt: skip
"""Symbols, many of which are words that names of columns have anyway."""

FORMS: Final = (
    "{symbol}:{role}",
    "{symbol}_{role}",
    "{symbol}.{role}",
    "('{role}', '{symbol}')",
    "two lines",
)


def write_wide(pick: Pick, table: BarTable) -> WrittenFile:
    """Write a table of bars, in which all symbols have the same times, with other symbols."""
    count = len({bar.symbol for bar in table.bars})
    first = pick(range(len(WORDS)))
    step = pick([1, 5, 7])
    symbols = [WORDS[(first + step * k) % len(WORDS)] for k in range(count)]
    names = dict(zip(dict.fromkeys(bar.symbol for bar in table.bars), symbols, strict=True))
    roles = [*ROLES, "volume"] if table.has_volume else list(ROLES)
    form, delimiter = pick(FORMS), pick([",", ";", "\t"])
    case = pick([str.title, str.lower, str.upper])
    times = time_style(pick, table, plain=True)
    style = NumberStyle()
    by_time: dict[object, list[Bar]] = {}
    for bar in table.bars:
        by_time.setdefault(bar.local_time, []).append(bar)
    moments = sorted(by_time, reverse=pick([False, True]), key=str)
    columns = [(symbol, role) for symbol in symbols for role in roles]
    header = ["Date", *(["Time"] if len(times.write(table.bars[0])) > 1 else [])]
    blank = [""] * (len(header) - 1)
    if form == "two lines":
        titles = [
            [*header, *(case(role) for _, role in columns)],
            ["Ticker", *blank, *(symbol for symbol, _ in columns)],
        ]
    else:
        titles = [[*header, *(form.format(symbol=symbol, role=case(role)) for symbol, role in columns)]]

    def cells(bar: Bar) -> list[str]:
        prices = [style.format_price(getattr(bar, role), table.tick) for role in ROLES]
        volume = "" if bar.volume is None else style.format_volume(bar.volume)
        return [*prices, volume] if table.has_volume else prices

    rows = [
        [*times.write(by_time[at][0]), *(cell for bar in by_time[at] for cell in cells(bar))]
        for at in moments
    ]
    text = "".join(
        delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in line) + "\n"
        for line in [*titles, *rows]
    )
    expected = sorted(
        (
            (times.open_ns or table.open_ns)(bar),
            names[bar.symbol],
            bar.local_time.date() if table.is_daily else None,
            *(getattr(bar, role) for role in (*ROLES, "volume")),
        )
        for bar in table.bars
    )
    choices = {"form": form, "symbols": symbols, "times": times.name, "interval": table.interval}
    options = Options(tz=table.zone if times.is_naive else None, decimal=".")
    return WrittenFile("prices.csv", text.encode(), options, expected, text, choices=choices)
