"""Lists of one day, whose date only the name of the file, its archive or its folder has."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

LIST = """Symbol,Open,High,Low,Close,Volume
ORFO,1.0,1.2,0.9,1.1,1000
DLTG,2.0,2.2,1.9,2.1,2000
VEGA,3.0,3.2,2.9,3.1,900
"""


def open_list(path: Path, text: str = LIST, **options: Any) -> CsvSource:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return open_csv(path, parse_options(**options), ts_recv_ns=1)


def days(source: CsvSource) -> set[str]:
    records = pl.concat([batch.records for batch in source.batches()])
    assert source.describe()["interval"] == "1d"
    assert records.height == len(set(records["symbol"])) == 3
    opened = {datetime.fromtimestamp(ns / 1e9, UTC) for ns in records["ts_open_ns"]}
    return {each.isoformat() for each in opened} | set(map(str, records["session_date"]))


@pytest.mark.parametrize(
    "name",
    [
        "prices_20260702.csv",
        "2026-07-02.csv",
        "MI_INDEX_ALL_20260702.csv",
        "bulletin.2026_07_02.txt",
        "BhavCopy_02JUL2026.csv",
        "market 2 July 2026.csv",
        "quotes-Jul-02-2026.csv",
        "date=2026-07-02/part-0001.csv",
        "market=main/dt=20260702/region=a/part-0001.csv",
    ],
)
def test_date_of_a_list_in_a_name(name: str, tmp_path: Path) -> None:
    source = open_list(tmp_path / name)
    assert days(source) == {"2026-07-02T00:00:00+00:00", "2026-07-02"}
    origin = "the folder's name" if "=" in name else "the file's name"
    assert source.describe()["date_from"] == f"2026-07-02 in {origin}"
    assert source.warnings == []


@pytest.mark.parametrize("name", ["prices_22072026.csv", "prices_07222026.csv", "prices 22.07.2026.csv"])
def test_order_in_a_name_that_only_one_reading_allows(name: str, tmp_path: Path) -> None:
    assert "2026-07-22" in days(open_list(tmp_path / name))


def test_date_in_the_name_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "bulletin_20260702.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prices.csv", LIST)
    assert "2026-07-02" in days(open_csv(path, ts_recv_ns=1))


def test_member_counts_more_than_its_archive(tmp_path: Path) -> None:
    path = tmp_path / "2026-07-01_2026-07-31.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prices_20260702.csv", LIST)
    assert "2026-07-02" in days(open_csv(path, ts_recv_ns=1))


def test_list_with_named_columns(tmp_path: Path) -> None:
    text = LIST.replace("Symbol,Open,High,Low,Close", "A,B,C,D,E")
    source = open_list(tmp_path / "list_20260702.csv", text, columns="symbol,open,high,low,close,volume")
    assert "2026-07-02" in days(source)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prices.csv", "has a row for each symbol, but no date, neither in a column nor in its name"),
        ("prices_99999999.csv", "no date, neither"),
        ("prices_20260230.csv", "no date, neither"),
        ("prices_202607.csv", "no date, neither"),
        ("prices_02072026.csv", "02072026 in this name may be 2026-02-07 or 2026-07-02"),
        ("prices_20260701_20260702.csv", "several: 2026-07-01 and 2026-07-02"),
        ("date=2026-07-03/prices_20260702.csv", "several: 2026-07-02 and 2026-07-03"),
        ("weekly_20260702.csv", "is called 1w"),
        ("prices_5min_20260702.csv", "is called 5m"),
    ],
)
def test_unclear_date_of_a_list_is_asked_for(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_list(tmp_path / name)
    assert words in caught.value.message
    assert caught.value.hint


def test_interval_of_a_list_is_an_answer(tmp_path: Path) -> None:
    source = open_list(tmp_path / "weekly_20260703.csv", interval="1w")
    assert source.describe()["interval"] == "1w"


@pytest.mark.parametrize(
    "text",
    [
        # rows of one symbol at different times
        LIST + "ORFO,1.1,1.2,1.0,1.1,500\n",
        # no symbols
        "\n".join(line.partition(",")[2] for line in LIST.splitlines()) + "\n",
        # a column that should have the date
        LIST.replace("Symbol", "Date,Symbol").replace("\n", "\nx,").removesuffix("x,"),
    ],
)
def test_other_tables_without_dates_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column for date|holds no dates|no dates|no column of dates"):
        open_list(tmp_path / "prices_20260702.csv", text)


CLOSES = "Symbol,Close,Volume\nORFO,1.1,1000\nDLTG,2.1,2000\nVEGA,3.1,900\n"
CHINESE = "證券代號,證券名稱,成交股數,開盤價,最高價,最低價,收盤價\n" + "".join(
    f'="{code}",名{code},"1,000",1.0,1.2,0.9,1.1\n' for code in ("0050", "0056", "1101")
)


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        (CLOSES, [1.1, 2.1, 3.1]),
        ("Symbol,LTP,Change,%Change,Value\nA,5,0.1,1%,900\nB,6,0.1,1%,900\nC,7,0.1,1%,900\n", [5, 6, 7]),
        ("Code;Closing Price;Prev. Close\nA;5;9\nB;6;9\nC;7;9\n", [5, 6, 7]),
        ("Symbol,High,Low,Close,52W High\nA,6,4,5,9\nB,7,4,6,9\nC,8,4,7,9\n", [5, 6, 7]),
        # turnover is not the close
        (
            "Symbol,Open,High,Low,LTP,Value\nA,5,6,4,5,900\nB,6,7,4,6,900\nC,7,8,4,7,900\n",
            [5, 6, 7],
        ),
    ],
)
def test_lists_of_closes_take_the_date_of_the_name(tmp_path: Path, text: str, closes: list[float]) -> None:
    source = open_list(tmp_path / "list_20260702.csv", text)
    assert "2026-07-02" in days(source)
    records = pl.concat([batch.records for batch in source.batches()])
    assert sorted(map(float, records["close"])) == closes


def test_prices_beside_bid_and_ask_are_kept(tmp_path: Path) -> None:
    rows = "".join(f"S{k},10.1,10.2,10,11,9,10.{k},50\n" for k in range(9))
    header = "Symbol,Bid,Ask,Open,High,Low,Close,Volume"
    source = open_list(tmp_path / "list_20260702.csv", f"{header}\n{rows}")
    records = pl.concat([batch.records for batch in source.batches()])
    assert set(map(float, records["high"])) == {11}
    assert set(map(float, records["volume"])) == {50}
    assert sorted(map(float, records["close"]))[:2] == [10.0, 10.1]


@pytest.mark.parametrize(
    "text",
    [
        "Symbol,Description,Quantity,Price\nA,Alpha,5,9.5\nB,Beta,6,9.1\nC,Gamma,7,9.2\n",
        "Symbol,Quantity,Last Price,Market Value\nA,5,9.5,47\nB,6,9.1,54\nC,7,9.2,64\n",
        "Symbol,Price,Target\nA,5,9.5\nB,6,9.1\nC,7,9.2\n",
        "Symbol,Open,High,Low,Value\nA,5,6,4,900\nB,6,7,4,900\nC,7,8,4,900\n",
    ],
)
def test_other_lists_do_not_become_closes(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        open_list(tmp_path / "list_20260702.csv", text)


@pytest.mark.parametrize(
    "title",
    [
        "113年01月02日 每日收盤行情(全部)",
        "資料日期:113/01/02",
        "2024年1月2日",
        "2024년 1월 2일",
        "Market bulletin of 2 January 2024",
        "Trading day: Tuesday, January 2nd, 2024",
        "Kurse vom 2. Januar 2024",
        "Boletín del 2 de enero de 2024",
        "Prices as of 02-Jan-2024,,,,",
        "Trade date 2024/01/02",
        "Report 20240102",
        "Trade date: 2024-01-02\nGenerated 2024-01-03 08:00",
    ],
)
@pytest.mark.parametrize("text", [LIST, CHINESE])
def test_date_of_a_list_in_a_title(tmp_path: Path, title: str, text: str) -> None:
    source = open_list(tmp_path / "prices.csv", f"{title}\n\n{text}")
    assert days(source) == {"2024-01-02T00:00:00+00:00", "2024-01-02"}
    assert source.describe()["date_from"] == "2024-01-02 in a line above the header"


@pytest.mark.parametrize(
    ("title", "name", "words"),
    [
        ("Trade date 01/02/2024", "prices.csv", "may say 2024-01-02 or 2024-02-01"),
        ("From 2024-01-02 to 2024-01-03", "prices.csv", "may say 2024-01-02 or 2024-01-03"),
        (
            "Trade date 2024-01-02",
            "prices_20240103.csv",
            "says 2024-01-03, a line above the header 2024-01-02",
        ),
        ("Generated on 2024-01-02", "prices.csv", "no date, neither in a column nor in its name"),
    ],
)
def test_unclear_date_in_a_title_is_asked_for(tmp_path: Path, title: str, name: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        open_list(tmp_path / name, f"{title}\n{LIST}")
    assert "2024-01-02" in caught.value.hint


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Trade date 01/02/2024", "prices_2024-02-01.csv"),
        ("Trade date 2024-02-01", "prices_01022024.csv"),
        ("Shares of 2024-02-01 and changes since 2024-01-31", "prices_2024-02-01.csv"),
    ],
)
def test_title_and_name_settle_each_other(tmp_path: Path, title: str, name: str) -> None:
    assert "2024-02-01" in days(open_list(tmp_path / name, f"{title}\n{LIST}"))


def test_year_of_taiwan_in_a_name_beside_chinese_columns(tmp_path: Path) -> None:
    assert "2024-01-02" in days(open_list(tmp_path / "RSTA3104_1130102.csv", CHINESE))
    with pytest.raises(DataError, match="no date, neither"):
        open_list(tmp_path / "RSTA3104_1130102.csv")


def test_dates_in_a_column_count_more_than_the_name(tmp_path: Path) -> None:
    text = LIST.replace("Symbol", "Date,Symbol").replace("\n", "\n2026-07-01,").removesuffix("2026-07-01,")
    assert "2026-07-01" in days(open_list(tmp_path / "prices_20260702.csv", text))
