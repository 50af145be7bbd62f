"""Tables of closes in which a ticker is also the name of a role; and tables in which it is the role."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

RANDOM = Random(24)
DAYS = [str(day) for n in range(42) if (day := date(2024, 1, 2) + timedelta(n)).weekday() < 5]


def walk(level: float, step: float = 0.01, places: int = 2) -> list[str]:
    """Return prices that change a little from row to row."""
    prices = []
    for _ in DAYS:
        level *= 1 + RANDOM.gauss(0, step)
        prices.append(f"{level:.{places}f}")
    return prices


def read(folder: Path, header: str, *columns: list[str]) -> CsvSource:
    path = folder / "closes_of_mine.csv"
    rows = zip(DAYS, *columns, strict=True)
    path.write_text("\n".join([header, *map(",".join, rows), ""]), "utf-8")
    return open_csv(path, parse_options())


def records(source: CsvSource) -> list[dict[str, Any]]:
    return [row for batch in source.batches() for row in batch.records.iter_rows(named=True)]


LEVELS = (100, 41, 77, 210, 150)
VOLUMES = [str(RANDOM.randint(10**6, 2 * 10**6)) for _ in DAYS]


def read_wide(folder: Path, header: str) -> CsvSource:
    names = header.split(",")[1:]
    columns = [walk(LEVELS[n % 5]) for n in range(len(names))]
    source = read(folder, header, *columns)
    rows = records(source)
    assert not {"open", "high", "low"} & set(rows[0])
    found = {(row["symbol"], str(row["session_date"])): row["close"] for row in rows}
    assert source.symbols == names
    for name, prices in zip(names, columns, strict=True):
        assert found[name, DAYS[0]] == Decimal(prices[0])
        assert found[name, DAYS[-1]] == Decimal(prices[-1])
    return source


@pytest.mark.parametrize(
    "name", "BP AP AS BS OP OUT VAL ID TIME OPEN LOW HIGH BID COIN HI DAY MA COST SNOW".split()
)
def test_among_tickers_a_name_of_a_role_is_one(tmp_path: Path, name: str) -> None:
    assert not read_wide(tmp_path, f"Date,AAPL,WMT,{name},META,INTC").warnings


@pytest.mark.parametrize("name", "PX LAST LTP CLOSE CL VOL QTY SIZE".split())
def test_what_may_be_a_close_or_a_volume_is_said(tmp_path: Path, name: str) -> None:
    source = read_wide(tmp_path, f"Date,AAPL,WMT,{name},META,INTC")
    assert f"the column {name} is read as a symbol, like those beside it" in " ".join(source.warnings)


@pytest.mark.parametrize(
    "header",
    [
        "Date,BP,SHEL",
        "Date,XOM,CVX,BP,TTE,SHEL",
        "Date,XOM,CVX,TTE,SHEL",
        "DATE,BP,AAPL,MSFT,LOW,IBM,GE",
        "Date,XOM,LOW,CVX",
    ],
)
def test_levels_that_have_nothing_in_common_are_of_several_symbols(tmp_path: Path, header: str) -> None:
    read_wide(tmp_path, header)


@pytest.mark.parametrize(
    ("header", "levels", "name"),
    [
        ("Date,BP,AP", (57, 102), "BP"),
        ("Date,BID,ASK", (50, 20), "BID"),
        ("Date,BP,SHEL", (50, 51), "BP"),
        ("Date,PX,AAPL", (50, 90), "PX"),
        ("Date,MMM,ABT,LAST,AAPL", (86, 118, 143, 111), "LAST"),
        ("Date,CLOSE,VIX,DXY,GOLD,OIL", (4000, 16, 102, 2050, 75), "CLOSE"),
    ],
)
def test_what_may_be_either_is_asked_about(
    tmp_path: Path, header: str, levels: tuple[int, ...], name: str
) -> None:
    with pytest.raises(DataError, match=f"{name} may be a symbol, like") as caught:
        read(tmp_path, header, *map(walk, levels))
    assert caught.value.hint is not None
    first, second = header.split(",")[1:3]
    assert f"--columns date,{first}:close,{second}:close" in caught.value.hint
    position = header.split(",").index(name)
    assert f"--columns date{',' * position}close" in caught.value.hint


PRICES = walk(100)


@pytest.mark.parametrize(
    ("header", "columns", "role"),
    [
        ("DATE,PX,VOL", (PRICES, VOLUMES), "close"),
        ("DATE,SETTLE,OI", (PRICES, VOLUMES), "close"),
        ("DATE,CLOSE,MA50,MA200,RSI14,UB", (PRICES, *[walk(90)] * 4), "close"),
        ("Date,Close,VIX,DXY,GLD", (PRICES, walk(16), walk(102), walk(190)), "close"),
        ("DATE,BID,ASK", (PRICES, [str(Decimal(price) + 1) for price in PRICES]), "bid_price"),
    ],
)
def test_a_role_beside_other_roles_stays_one(
    tmp_path: Path, header: str, columns: tuple[list[str], ...], role: str
) -> None:
    rows = records(read(tmp_path, header, *columns))
    assert [row[role] for row in rows] == [Decimal(price) for price in PRICES]
    assert len(rows) == len(DAYS)


def test_a_volume_beside_tickers_is_not_a_symbol(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column"):
        read(tmp_path, "Date,AAPL,MSFT,GOOG,AMZN,VOL", *map(walk, (100, 80, 60, 40)), VOLUMES)


def test_unknown_names_in_capitals_are_not_guessed_to_be_prices_of_one_symbol(tmp_path: Path) -> None:
    opens = walk(100, 0.001)
    other = [[f"{float(price) * factor:.2f}" for price in opens] for factor in (1.01, 0.99, 1.002)]
    with pytest.raises(DataError, match="so close that they may be prices of one instrument"):
        read(tmp_path, "DZIEN,QOP,QMX,QMN,QCL,QOBR", opens, *other, VOLUMES)


def test_series_that_keep_their_order_are_not_open_to_close(tmp_path: Path) -> None:
    rates = [walk(level, 0.004, 4) for level in (2.66, 2.77, 1.13, 2.1)]
    with pytest.raises(DataError, match="the values do not show which column is which"):
        read(tmp_path, f"{DAYS[0]},2.66,2.77,1.13,2.1", *rates)
