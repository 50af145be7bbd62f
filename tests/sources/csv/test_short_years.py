"""Days whose years have two digits: the rows settle their order, and their century must be clear."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv
from tickerlake.sources.csv.timeform import TimeFormat

FORMATS = ("%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%y%m%d", "%d-%b-%y")


def weekdays(first: date, count: int) -> list[date]:
    days = (first + timedelta(n) for n in range(2 * count))
    return [day for day in days if day.weekday() < 5][:count]


def write(folder: Path, form: str, days: Sequence[date], time: str = "") -> Path:
    path = folder / "QAA.csv"
    rows = [
        f"{day.strftime(form)}{time},1{n % 7}.25,1{n % 7}.75,1{n % 7}.05,1{n % 7}.5"
        for n, day in enumerate(days)
    ]
    path.write_text("\n".join(["Date,Open,High,Low,Close", *rows]) + "\n")
    return path


def read(path: Path) -> tuple[list[Any], list[int]]:
    batches = list(open_csv(path).batches())
    rows = [row for each in batches for row in each.records.iter_rows(named=True)]
    return [row["session_date"] for row in rows], [reject.line for each in batches for reject in each.rejects]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("first", [date(2024, 1, 2), date(1998, 12, 1), date(1970, 1, 5)])
def test_the_rows_settle_the_order(tmp_path: Path, form: str, first: date) -> None:
    days = weekdays(first, 45)
    assert read(write(tmp_path, form, days)) == (days, [])


@pytest.mark.parametrize("form", FORMATS[:6])
def test_few_rows_in_the_first_days_of_a_month_are_asked_about(tmp_path: Path, form: str) -> None:
    days = [date(2005, 6, 7), date(2006, 7, 8), date(2007, 8, 9)]
    with pytest.raises(DataError, match="order of day and month is ambiguous") as caught:
        open_csv(write(tmp_path, form, days))
    assert "--date-format" in caught.value.hint


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "days",
    [
        weekdays(date(1950, 1, 3), 45),
        weekdays(date(1968, 12, 2), 45),
        weekdays(date(1929, 9, 3), 45),
        [date(1960 + n, 1, 20) for n in range(60)],
    ],
    ids=["1950", "1968 to 1969", "1929", "1960 to 2019"],
)
def test_an_unclear_century_is_never_guessed(tmp_path: Path, form: str, days: list[date]) -> None:
    with pytest.raises(DataError, match="century") as caught:
        open_csv(write(tmp_path, form, days))
    assert "four digits" in caught.value.hint


@pytest.mark.parametrize("form", FORMATS)
def test_times_of_an_unclear_century_are_not_guessed_either(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match="century"):
        open_csv(write(tmp_path, form, weekdays(date(1950, 1, 3), 45), " 16:30:05"))


def test_a_wrong_year_is_rejected(tmp_path: Path) -> None:
    days = weekdays(date(2024, 1, 2), 45)
    days[30] = date(1961, 5, 20)
    dates, rejects = read(write(tmp_path, "%d-%m-%y", days))
    assert (dates, rejects) == (days[:30] + days[31:], [32])


def test_four_digits_of_a_year_are_as_written(tmp_path: Path) -> None:
    days = weekdays(date(1950, 1, 3), 45)
    assert read(write(tmp_path, "%d-%m-%Y", days)) == (days, [])


def test_the_years_of_this_century_and_the_last() -> None:
    texts = pl.Series(["31-12-39", "01-01-70", "31-12-99", "01-01-40", "31-12-69"])
    parsed = TimeFormat("%d-%m-%y", date_only=True).parse(texts).cast(pl.Datetime("ns")).dt.year()
    assert parsed.to_list() == [2039, 1970, 1999, None, None]
