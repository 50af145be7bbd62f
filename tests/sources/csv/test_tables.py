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
    notes += "Open, High, Low and Close are in USD; Volume in shares\n"
    path = write(tmp_path, f"{BARS}\n{days(0, 20)}{notes}{days(20, 20)}{notes}")
    assert sum(batch.records.height for batch in open_csv(path).batches()) == 40


@pytest.mark.parametrize(
    "titles", [("QAAA", "QBBB"), ("Symbol: QAAA", "Symbol: QBBB"), ("", "QBBB"), ("QAAA,,", "QB.B,,")]
)
@pytest.mark.parametrize("rows", [12, 3000], ids=["in the first lines", "far below"])
def test_tables_of_several_symbols(tmp_path: Path, titles: tuple[str, str], rows: int) -> None:
    one, two = titles
    path = write(tmp_path, f"{one}\n{BARS}\n{days(0, rows)}\n{two}\n{BARS}\n{days(rows, 5)}")
    with pytest.raises(DataError, match=f"the header is repeated in line {rows + 5}, below 'QB.?B"):
        open_csv(path)


@pytest.mark.parametrize(
    ("one", "two"),
    [("QAAA", "QAAA"), ("Page 1", "Page 2"), ("Prices", "Source: exchange"), ("", "TOTAL"), ("", "")],
)
def test_pages_of_one_table(tmp_path: Path, one: str, two: str) -> None:
    path = write(tmp_path, f"{one}\n{BARS}\n{days(0, 12)}\n{two}\n{BARS}\n{days(12, 5)}")
    assert sum(batch.records.height for batch in open_csv(path).batches()) == 17


STATEMENT = """Statement,Header,Field Name,Field Value
Statement,Data,Title,Activity Statement
Net Asset Value,Header,Asset Class,Prior Total,Current Long,Current Short,Current Total,Change
Net Asset Value,Data,Stock,2000,2100,0,2100,100
Open Positions,Header,Currency,Symbol,Quantity,Mult,Cost Price,Cost Basis,Close Price,Value,Unrealized P/L
Open Positions,Data,USD,QAPL,10,1,180,1800,190,1900,100
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Comm/Fee
Trades,Data,Order,Stocks,USD,QAPL,"2024-01-02, 09:30:05",10,185.5,185.64,-1
Trades,Data,Order,Stocks,USD,QAPL,"2024-01-03, 11:31:05","1,200",184.25,184.25,-1
Trades,Data,Order,Stocks,USD,QMSF,"2024-02-02, 15:59:59",-5,370.1,371,-1
Trades,SubTotal,,Stocks,USD,QAPL,,1210,,,-2
Trades,Total,,Stocks,USD,,,,,,-3
Dividends,Header,Currency,Date,Description,Amount
Dividends,Data,USD,2024-02-15,QAPL Cash Dividend,2.4
Dividends,Data,Total,,,2.4
"""


def test_the_trades_of_an_activity_statement(tmp_path: Path) -> None:
    batches = list(open_csv(write(tmp_path, STATEMENT), Options(tz="America/New_York")).batches())
    records = [row for batch in batches for row in batch.records.to_dicts()]
    assert [(row["symbol"], float(row["price"]), float(row["size"])) for row in records] == [
        ("QAPL", 185.5, 10),
        ("QAPL", 184.25, 1200),
        ("QMSF", 370.1, 5),
    ]
    assert [each.line for batch in batches for each in batch.rejects] == [11, 12]


def test_a_section_with_two_headers(tmp_path: Path) -> None:
    other = STATEMENT.splitlines()[6].replace("T. Price,C. Price", "C. Price,T. Price") + "\n"
    row = 'Trades,Data,Order,Forex,USD,EUR.USD,"2024-01-02, 09:30:05",10,1.5,,-1\n'
    with pytest.raises(DataError, match="has several tables"):
        open_csv(write(tmp_path, STATEMENT + other + row))
    far = STATEMENT + row * 2000 + other + row
    with pytest.raises(DataError, match="that in line 2016 is Trades, Header"):
        open_csv(write(tmp_path, far))


def test_a_statement_without_trades(tmp_path: Path) -> None:
    kept = [line for line in STATEMENT.splitlines() if not line.startswith("Trades")]
    with pytest.raises(DataError, match="is a report of several sections"):
        open_csv(write(tmp_path, "\n".join(kept)))
