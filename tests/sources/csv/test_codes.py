"""Symbols that are codes of digits: in columns, behind an apostrophe, in the name of a column."""

from decimal import Decimal
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv

DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11, 12, 15)]


def read(folder: Path, header: str, symbols: list[str]) -> tuple[list[tuple[str, Decimal]], int]:
    """Return symbol and close of each record of a file of bars, and the number of rejects."""
    path = folder / "table_of_mine.csv"
    rows = [
        f"{day},{symbol},{10 * k}.0,{10 * k}.5,{10 * k - 1}.5,{10 * k}.{n},{n}000"
        for n, day in enumerate(DAYS, 10)
        for k, symbol in enumerate(symbols, 1)
    ]
    path.write_text("\n".join([header, *rows, ""]), "utf-8")
    tables = list(open_csv(path).batches())
    records = [row for table in tables for row in table.records.select("symbol", "close").iter_rows()]
    return sorted(records), sum(len(list(table.rejects)) for table in tables)


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("code", ["600000", "000001"]),
        ("code", ["'600000", "'000001"]),
        ("code", ["600000", "'000001"]),
        ("股票代码", ["'600000", "'000001"]),
        ("symbol", ["'AAPL", "'MSFT"]),
        ("Ticker", ["'0700", "'00005"]),
        ("symbol", ["'AAPL'", "'MSFT'"]),
        ("stock", ["600000", "000002"]),
    ],
)
def test_an_apostrophe_is_no_part_of_a_code(tmp_path: Path, column: str, written: list[str]) -> None:
    records, rejects = read(tmp_path, f"date,{column},open,high,low,close,volume", written)
    expected = [
        (text.strip("'"), Decimal(f"{10 * k}.{n}"))
        for k, text in enumerate(written, 1)
        for n in range(10, 20)
    ]
    assert (records, rejects) == (sorted(expected), 0)


def test_another_apostrophe_makes_no_symbol(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it contains '"):
        read(tmp_path, "date,symbol,open,high,low,close,volume", ["O'Neil", "D'Or"])


@pytest.mark.parametrize(
    "column", ["7203_Close", "Close_7203", "7203.Close", "600000 Adj Close", "QAA_Close"]
)
def test_one_code_in_the_name_of_a_close(tmp_path: Path, column: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text("".join([f"Date,{column}\n", *(f"{day},10.{n}\n" for n, day in enumerate(DAYS, 10))]))
    source = open_csv(path)
    assert source.symbols == [column.replace("Adj ", "").replace("Close", "").strip("._ ")]
    (batch,) = source.batches()
    assert batch.records["close"].to_list() == [Decimal(f"10.{n}") for n in range(10, 20)]


@pytest.mark.parametrize("column", ["Close_2024", "2024_Close"])
def test_years_are_no_codes(tmp_path: Path, column: str) -> None:
    path = tmp_path / "QAA.csv"
    path.write_text("".join([f"Date,{column}\n", *(f"{day},10.{n}\n" for n, day in enumerate(DAYS, 10))]))
    with pytest.raises(DataError, match="no column is known to be a price"):
        open_csv(path)
