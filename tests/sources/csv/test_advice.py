"""What is said of tables that are not read: what they are, and which columns could be read."""

from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv

DAYS = [f"2024-01-{day:02}" for day in (2, 3, 4, 5, 8, 9, 10, 11)]


def error_of(folder: Path, text: str) -> DataError:
    path = folder / "table_of_mine.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError) as caught:
        open_csv(path)
    return caught.value


@pytest.mark.parametrize("above", ["", '"Data Source","Indicators"\n\n"Last Updated Date","2024-06-28"\n\n'])
def test_a_column_for_each_year_is_named(tmp_path: Path, above: str) -> None:
    error = error_of(
        tmp_path,
        above + '"Country Name","Country Code","Indicator Code","2019","2020","2021"\n'
        '"Germany","DEU","PA.NUS","0.89","0.87","0.84"\n"Japan","JPN","PA.NUS","109.0","106.7","109.7"\n',
    )
    assert "has a column for each year, and a row for each Country Name" in error.message


def test_a_constant_is_not_suggested_as_the_close(tmp_path: Path) -> None:
    rows = "".join(f"EUR,000,{day},1.{n},0\n" for n, day in enumerate(DAYS, 10))
    error = error_of(tmp_path, "FLOW,SUFFIX,TIME_PERIOD,OBS_VALUE,FLAG\n" + rows)
    assert error.hint is not None
    assert "--columns ,,date,close" in error.hint


def test_the_column_that_tells_rows_of_a_date_apart_is_suggested_as_the_symbol(tmp_path: Path) -> None:
    rows = "".join(f"D,{each},{day},1.{n}\n" for n, day in enumerate(DAYS, 10) for each in ("USD", "JPY"))
    error = error_of(tmp_path, "FREQ,CUR,TIME_PERIOD,OBS_VALUE\n" + rows)
    assert "--columns ,symbol,date,close" in (error.hint or "")


def test_prices_beside_dividends_may_be_named(tmp_path: Path) -> None:
    rows = "".join(f"{day},10{n}.5,0.{n}\n" for n, day in enumerate(DAYS))
    error = error_of(tmp_path, "Date,SP500,Dividend\n" + rows)
    assert "If one of its columns is a price: --columns date,close" in (error.hint or "")


def test_a_letter_before_a_name_is_no_interval(tmp_path: Path) -> None:
    path = tmp_path / "h_index.csv"
    path.write_text("Date,Close\n" + "".join(f"{day},10.{n}\n" for n, day in enumerate(DAYS, 10)))
    assert all("is called 1h" not in warning for warning in open_csv(path).warnings)
