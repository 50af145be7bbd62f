"""Months with two digits of the year, and formats of dates that messages name."""

import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import open_csv
from tickerlake.sources.csv.timeform import TimeFormat

NAMES = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def write(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "QUSD.csv"
    path.write_text(header + "\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def records(path: Path, **options: Any) -> list[dict[str, Any]]:
    return [row for batch in open_csv(path, Options(**options)).batches() for row in batch.records.to_dicts()]


@pytest.mark.parametrize("form", ["{m}-{y:02}", "{m}/{y:02}", "{m} {y:02}", "{y:02}-{m}", "{y:02} {m}"])
@pytest.mark.parametrize("first", [88, 98, 5])
def test_months_with_two_digits_of_the_year(tmp_path: Path, form: str, first: int) -> None:
    rows = [f"{form.format(m=NAMES[k % 12], y=(first + k // 12) % 100)},12{k}.5" for k in range(40)]
    read = records(write(tmp_path, "month,rate", rows))
    years = [(1900 if first >= 70 else 2000) + first + k // 12 for k in range(40)]
    expected = [f"{year}-{k % 12 + 1:02}-01" for k, year in enumerate(years)]
    assert [str(row["session_date"]) for row in read] == expected
    assert {row["interval"] for row in read} == {"1mo"}


def test_days_without_a_year_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path, "date,rate", [f"Jan-{day:02},10.{day}" for day in range(2, 30)])
    with pytest.raises(DataError) as caught:
        open_csv(path)
    assert "--date-format Mon-YY" in (caught.value.hint or "")


def test_an_option_settles_that_years_follow(tmp_path: Path) -> None:
    path = write(tmp_path, "date,rate", [f"Jan-{year:02},10.{year}" for year in range(2, 30)])
    read = records(path, date_format="Mon-YY", interval="1y")
    assert [str(row["session_date"])[:4] for row in read] == [str(2000 + year) for year in range(2, 30)]


def test_an_unclear_century_is_asked_about(tmp_path: Path) -> None:
    rows = [f"{NAMES[k % 12]}-{58 + k // 12},10.{k}" for k in range(40)]
    with pytest.raises(DataError, match="century"):
        open_csv(write(tmp_path, "month,rate", rows))


def test_a_later_row_of_an_unclear_century_cannot_be_read() -> None:
    read = TimeFormat("%B-%y", date_only=True, has_month_names=True).parse(pl.Series(["Jan-70", "Dec-60"]))
    assert read.to_list() == [0, None]


def test_contract_months_remain_symbols(tmp_path: Path) -> None:
    rows = [f"2024-01-0{d},{c},10.5,11,10,10.75" for d in (2, 3, 4, 5) for c in ("MAR-24", "JUN-24")]
    read = records(write(tmp_path, "date,contract,open,high,low,close", rows))
    assert {row["symbol"] for row in read} == {"MAR-24", "JUN-24"}


@pytest.mark.parametrize(
    "form",
    [
        "0{d}.02.2016 00:00:{s:02}.562",
        "0{d}/02/2016 00:00:{s:02}",
        "0{d}-02-2016 10:{s:02}",
        "0{d}/02/2016 10:{s:02}:00 AM",
        "0{d}/02/16 10:{s:02}",
    ],
)
def test_each_format_that_a_message_names_is_accepted(tmp_path: Path, form: str) -> None:
    rows = [f"QA,{form.format(d=d, s=s)},{s}.01,{s}.02" for d in (1, 3) for s in range(10, 16)]
    path = write(tmp_path, "Ticker,Time,Bid,Ask", rows)
    with pytest.raises(DataError) as caught:
        open_csv(path)
    words = shlex.split(re.sub("^.*?--", "--", caught.value.hint or ""))
    formats = [words[k + 1] for k, word in enumerate(words) if word == "--date-format"]
    assert len(formats) >= 2
    for each in formats[:2]:
        assert len(records(path, date_format=each)) == 12
