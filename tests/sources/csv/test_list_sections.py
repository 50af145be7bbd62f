"""Bulletins of one day with several tables: the list of prices is read, and the others are named."""

from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import CsvSource, open_csv

LIST = """Symbol,Open,High,Low,Close,Volume
ORFO,1.0,1.2,0.9,1.1,1000
DLTG,2.0,2.2,1.9,2.1,2000
VEGA,3.0,3.2,2.9,3.1,900
"""
TITLE = "Daily report of 2 July 2026\n\n"
INDICES = "Index,Close,Change,Change %\nALL,1000.5,1.5,0.1\nTOP,2000.5,1.5,0.1\n\n"
ROWS = "2024-01-02,A,1,1,1,1\n2024-01-03,A,1,1,1,1\n"
GAINERS = "\nTop gainers\nSymbol,Close,Change %\nORFO,1.1,10\nDLTG,2.1,5\n"


def open_text(folder: Path, text: str, encoding: str = "utf-8") -> CsvSource:
    path = folder / "bulletin.csv"
    path.write_bytes(text.encode(encoding))
    return open_csv(path, ts_recv_ns=1)


def closes(source: CsvSource) -> dict[str, float]:
    records = pl.concat([batch.records for batch in source.batches()])
    assert set(map(str, records["session_date"])) <= {"2026-07-02", "2024-01-02"}
    return dict(zip(records["symbol"], map(float, records["close"]), strict=True))


@pytest.mark.parametrize(
    ("text", "others"),
    [
        (f"{TITLE}{INDICES}Prices\n{LIST}", ["2 rows above it, from line 4 (Index,Close,Change"]),
        (f"{TITLE}{LIST}{GAINERS}", ["2 rows below it, from line 10 (Top gainers"]),
        (
            f"{TITLE}{INDICES}{LIST}{GAINERS}",
            ["2 rows above it, from line 4", "2 rows below it, from line 14"],
        ),
    ],
)
def test_the_list_of_prices_is_read(tmp_path: Path, text: str, others: list[str]) -> None:
    source = open_text(tmp_path, text)
    assert closes(source) == {"ORFO": 1.1, "DLTG": 2.1, "VEGA": 3.1}
    (warning,) = source.warnings
    assert "has several tables" in warning
    assert all(other in warning for other in others)
    assert source.rows == 3


def test_bulletin_of_taiwan(tmp_path: Path) -> None:
    lines = ['"113年01月02日 價格指數(臺灣證券交易所)"', '"指數","收盤指數","漲跌(+/-)","漲跌點數",']
    lines += [f'"指數{k}號","{20000 + k:,.2f}","-","71.28",' for k in range(250)]
    lines += ["", '"113年01月02日每日收盤行情(全部)"', '"(元,股)"']
    lines += ['"證券代號","證券名稱","成交股數","成交筆數","開盤價","最高價","最低價","收盤價","漲跌價差",']
    lines += [
        f'="{code:04}","股{code}","1,0{code:02}","8","5.00","6.00","4.00","5.{code:02}","0.5",'
        for code in range(50, 90)
    ]
    lines += ['="0099","股99","0","0","--","--","--","--","0.00",', '"備註:"', '"說明,一"']
    source = open_text(tmp_path, "\r\n".join(lines), "cp950")
    found = closes(source)
    assert len(found) == 40
    assert found["0050"] == 5.5
    assert "250 rows above it, from line 3 (113年01月02日 價格指數" in source.warnings[0]
    assert source.describe()["date_from"] == "2024-01-02 in a line above the header"


@pytest.mark.parametrize(
    "text",
    [
        # two lists of prices
        f"{TITLE}{LIST}\nBonds\n{LIST.replace('Volume', 'Yield')}",
        # rows with dates are not a list of one day
        f"{INDICES}Date,Symbol,Open,High,Low,Close\n{ROWS}\nDate,Symbol,Dividend\n2024-01-02,A,1\n2024-01-03,A,1\n",
    ],
)
def test_other_files_of_several_tables_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="several tables"):
        open_text(tmp_path, text)


def test_formulas_of_text(tmp_path: Path) -> None:
    text = f'{TITLE}{LIST}="0050",1.0,1.2,0.9,1.1,1000\n"=""0056""",1.0,1.2,0.9,1.2,1000\n'
    assert closes(open_text(tmp_path, text)) == {
        "ORFO": 1.1, "DLTG": 2.1, "VEGA": 3.1, "0050": 1.1, "0056": 1.2
    }  # fmt: skip
