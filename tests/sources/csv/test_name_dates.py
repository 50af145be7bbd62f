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


def test_dates_in_a_column_count_more_than_the_name(tmp_path: Path) -> None:
    text = LIST.replace("Symbol", "Date,Symbol").replace("\n", "\n2026-07-01,").removesuffix("2026-07-01,")
    assert "2026-07-01" in days(open_list(tmp_path / "prices_20260702.csv", text))
