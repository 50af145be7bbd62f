"""Rows below a second header are never read with the roles of the first one."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv

BARS = "Date,Open,High,Low,Close,Volume"


def write(folder: Path, text: str, name: str = "AAA.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def bars(first: int, count: int, delimiter: str = ",") -> str:
    rows = [
        [f"2024-01-{(first + n) % 28 + 1:02}", f"{10 + n % 3}.5", "13.5", "9.5", "11.25", f"{1000 + n}"]
        for n in range(count)
    ]
    return "".join(delimiter.join(row) + "\n" for row in rows)


def days(first: int, count: int) -> str:
    """Return more bars than are looked at when columns are detected."""
    prices = [f"{10 + n % 7 / 10:.2f}" for n in range(first, first + count + 1)]
    return "".join(
        f"{1990 + n // 300}-{n // 25 % 12 + 1:02}-{n % 25 + 1:02},"
        f"{prices[n - first]},13.5,9.5,{prices[n - first + 1]},{n}\n"
        for n in range(first, first + count)
    )


@pytest.mark.parametrize(
    "second",
    [
        "Date,Close,High,Low,Open,Volume",
        "Date,Open,High,Low,Adj Close,Volume",
        "Date,Open,High,Low,Close,Volume (000s)",
        "date,volume,open,high,low,close",
        "Time,Deal,Symbol,Type,Volume,Price",
        "Fecha,Apertura,Máximo,Mínimo,Cierre,Volumen,Ticker",
        "Symbol,Quantity,Price",
        '"Date","Time","Bid","Ask"',
        "Date,Description,Amount,,,",
    ],
)
@pytest.mark.parametrize("rows", [12, 3000], ids=["in the first lines", "far below"])
def test_a_second_header(tmp_path: Path, second: str, rows: int) -> None:
    path = write(tmp_path, f"{BARS}\n{days(0, rows)}{second}\n{days(rows, 5)}")
    with pytest.raises(DataError, match="has several tables") as error:
        open_csv(path)
    first = "the header in line 1 is Date, Open, High, Low, Close …"
    assert f"{first}, that in line {rows + 2} is " in error.value.message


def test_a_second_header_with_named_columns(tmp_path: Path) -> None:
    path = write(tmp_path, f"a,b,c,d,e,f\n{days(0, 2000)}Date,Close,High,Low,Open,Volume\n{days(2000, 5)}")
    with pytest.raises(DataError, match="that in line 2002 is Date, Close"):
        open_csv(path, Options(columns=("date", "open", "high", "low", "close", "volume")))


def test_a_header_below_rows_without_one(tmp_path: Path) -> None:
    path = write(tmp_path, f"{days(0, 2000)}Date,Close,High,Low,Open,Volume\n{days(2000, 5)}")
    with pytest.raises(DataError, match="the first one has no header, that in line 2001 is Date, Close"):
        open_csv(path)


def test_a_table_above_the_header(tmp_path: Path) -> None:
    positions = "Time,Symbol,Volume,Price\n2024-01-02 10:00:00,BBB,5,10.5\n2024-01-02 11:00:00,BBB,6,10.75\n"
    path = write(tmp_path, f"{positions}\n{BARS}\n{bars(0, 20)}")
    with pytest.raises(DataError, match="the header in line 1 is Time, Symbol, Volume, Price, that in line"):
        open_csv(path)


@pytest.mark.parametrize(
    ("before", "repeated"),
    [
        ("", BARS),
        ("", "date, open, high, low, close, volume"),
        ("", '"Date","Open","High","Low","Close","Volume"'),
        ("", f"{BARS},"),
        ("Symbol,Name,Last,Change\nAAA,Triple A,11.25,0.5\n\n", BARS),
        ("Datum,Eröffnung,Hoch,Tief,Schluss,Umsatz\n", BARS),
    ],
    ids=["same", "spaces", "quotes", "trailing", "a summary above", "names in two languages"],
)
@pytest.mark.parametrize("rows", [12, 3000], ids=["in the first lines", "far below"])
def test_a_repeated_header(tmp_path: Path, before: str, repeated: str, rows: int) -> None:
    path = write(tmp_path, f"{before}{BARS}\n{days(0, rows)}{repeated}\n{days(rows, 5)}")
    records = [row for batch in open_csv(path).batches() for row in batch.records.to_dicts()]
    assert len(records) == rows + 5
    assert {str(row["high"]) for row in records} == {"13.500000000"}


def test_names_below_the_header_in_another_language(tmp_path: Path) -> None:
    below = "交易日期,开盘价,最高价,最低价,收盘价,成交量\n没有单位,元,元,元,元,股\n"
    path = write(tmp_path, f"{BARS}\n{below}{days(0, 20)}")
    assert sum(batch.records.height for batch in open_csv(path).batches()) == 20


def test_lines_of_words_are_no_headers(tmp_path: Path) -> None:
    notes = (
        "Total,,,,,\nHoliday,Market closed,,,,\nOpen and close are in USD\nSource: exchange, all rights,,,,\n"
    )
    path = write(tmp_path, f"{BARS}\n{days(0, 20)}{notes}{days(20, 20)}{notes}")
    assert sum(batch.records.height for batch in open_csv(path).batches()) == 40
