"""Tables of series as central banks write them: lines of metadata above the rows, rates of 100 units."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tickerlake.errors import DataError, UsageError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

RANDOM = Random(5)
DAYS = [day for n in range(28) if (day := date(2024, 1, 2) + timedelta(n)).weekday() < 5]


def walk(level: float) -> list[str]:
    """Return rates that change a little from row to row."""
    return [f"{level * (1 + RANDOM.gauss(0, 0.005)):.4f}" for _ in DAYS]


USD, INDEX, EUR = walk(0.68), walk(60.9), walk(1.6)


def read(folder: Path, text: str, **options: Any) -> CsvSource:
    path = folder / "table_of_mine.csv"
    path.write_text(text, "utf-8")
    return open_csv(path, parse_options(**options))


def rows_of(*columns: list[str], delimiter: str = ",", days: str = "%Y-%m-%d") -> str:
    dates = [day.strftime(days) for day in DAYS]
    return "".join(delimiter.join(row) + "\n" for row in zip(dates, *columns, strict=True))


def closes(source: CsvSource) -> dict[str, list[Decimal]]:
    found: dict[str, list[Decimal]] = {}
    for batch in source.batches():
        for row in batch.records.sort("ts_open_ns").iter_rows(named=True):
            assert set(row) & {"open", "high", "low"} == set()
            found.setdefault(row["symbol"], []).append(row["close"])
    return found


def decimals(column: list[str]) -> list[Decimal]:
    return [Decimal(text) for text in column]


@pytest.mark.parametrize(
    ("above", "names"),
    [
        (
            (
                "F11.1  EXCHANGE RATES\nTitle,A$1=USD,Trade-weighted Index\nDescription,AUD/USD,Index\n"
                "Frequency,Daily,Daily\nType,Indicative,Indicative\nUnits,USD,Index\n\n\nSource,WM/Reuters,RBA\n"
                "Publication date,24-Jul-2026,24-Jul-2026\nSeries ID,FXRUSD,FXRTWI\n"
            ),
            ("FXRUSD", "FXRTWI"),
        ),
        ("Title,Dollar,Index\nUnits,USD,Index\nSeries ID,FXRUSD,FXRTWI\n", ("FXRUSD", "FXRTWI")),
        ("Mnemonic,QUSD,QIDX\nUnits,USD,Index\nFrequency,Daily,Daily\n", ("QUSD", "QIDX")),
        (
            (
                '"",BBQ.D.USD.EUR.000,BBQ.D.IDX.EUR.000\n"",Dollar,Index\nunit,USD,Index\n'
                "unit multiplier,one,one\nlast update,2024-07-02 16:00:00,2024-07-02 16:00:00\n"
            ),
            ("BBQ.D.USD.EUR.000", "BBQ.D.IDX.EUR.000"),
        ),
        (
            "Title,Dollar,Index\nUnits,USD,Index\nFrequency,Daily,Daily\nDate,QUSD,QIDX\n",
            ("QUSD", "QIDX"),
        ),
    ],
    ids=["all", "index", "below the names", "names without a label", "a usual header"],
)
def test_the_names_of_series_are_the_header(tmp_path: Path, above: str, names: tuple[str, str]) -> None:
    source = read(tmp_path, above + rows_of(USD, INDEX))
    assert closes(source) == {names[0]: decimals(USD), names[1]: decimals(INDEX)}
    assert source.warnings == []


def test_metadata_without_names_is_asked_about(tmp_path: Path) -> None:
    text = "Units,USD,USD\nFrequency,Daily,Daily\n" + rows_of(USD, INDEX)
    with pytest.raises(DataError, match=r"describe the columns \(Units, Frequency\), but none has their"):
        read(tmp_path, text)
    assert closes(read(tmp_path, text, columns="date,FXRUSD:close,FXRTWI:close"))["FXRTWI"] == decimals(INDEX)


def test_lines_of_units_below_a_header_do_not_replace_it(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume\nYYYY-MM-DD,USD,USD,USD,USD,units\n" + "".join(
        f"{day},10.0,10.5,9.5,10.{n},{n}00\n" for n, day in enumerate(DAYS, 10)
    )
    (batch,) = read(tmp_path, text).batches()
    assert batch.records["close"].to_list()[:2] == [Decimal("10.10"), Decimal("10.11")]


@pytest.mark.parametrize(
    ("header", "delimiter", "names"),
    [
        ("data;1USD;100HUF;10000IDR;nr tabeli;pełny numer tabeli;\n", ";", ("1USD", "100HUF", "10000IDR")),
        (
            "data;1USD;100HUF;10000IDR;nr tabeli;pełny numer tabeli;\n;dolar;forint (Węgry);rupia;;;\n",
            ";",
            ("1USD", "100HUF", "10000IDR"),
        ),
        ("Datum|1 USD|100 HUF|1000 IDR\n", "|", ("1 USD", "100 HUF", "1000 IDR")),
    ],
)
def test_rates_of_several_units_keep_their_names(
    tmp_path: Path, header: str, delimiter: str, names: tuple[str, ...]
) -> None:
    rates = [walk(level) for level in (3.93, 1.13, 2.56)]
    numbers = [
        [str(n) for n in range(1, len(DAYS) + 1)],
        [f"{n:03}/A/2024" for n in range(len(DAYS))],
        [""] * len(DAYS),
    ]
    columns = [*rates, *(numbers if delimiter == ";" else [])]
    source = read(tmp_path, header + rows_of(*columns, delimiter=delimiter, days="%Y%m%d"))
    assert closes(source) == dict(zip(names, map(decimals, rates), strict=True))
    (warning,) = source.warnings
    assert f"{names[1]}, {names[2]}: the rates are of as many units" in warning


def test_a_header_in_unknown_words_is_not_called_missing(tmp_path: Path) -> None:
    columns = [walk(level) for level in (2.66, 2.77, 1.13, 2.1)]
    with pytest.raises(DataError, match="line 1: no name of a column is known among Tag, Satz A, Satz B"):
        read(tmp_path, "Tag,Satz A,Satz B,Satz C,10\n" + rows_of(*columns))


class TestNamedColumns:
    def test_symbols_of_a_file_without_a_header(self, tmp_path: Path) -> None:
        columns = (USD, INDEX, EUR, [str(n) for n in range(len(DAYS))])
        source = read(tmp_path, rows_of(*columns), columns="date,THB:close,1 Mo:close,EUR:close")
        assert closes(source) == {"THB": decimals(USD), "1 Mo": decimals(INDEX), "EUR": decimals(EUR)}

    def test_what_is_no_symbol_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="'a<b' is not a symbol"):
            read(tmp_path, rows_of(USD, INDEX), columns="date,a<b:close,QAA:close")

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ("date,symbol,close", "calls column 2 of .* symbol; it holds no symbols"),
            ("date,time,close", "calls column 2 of .* time; it holds no times"),
            ("date,time,symbol,bid", "calls column 2 of .* time; it holds no times"),
        ],
    )
    def test_numbers_are_neither_symbols_nor_times(self, tmp_path: Path, columns: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            read(tmp_path, rows_of(USD, INDEX, EUR), columns=columns)

    def test_codes_of_digits_are_symbols(self, tmp_path: Path) -> None:
        text = rows_of(["600000"] * len(DAYS), INDEX)
        assert closes(read(tmp_path, text, columns="date,symbol,close")) == {"600000": decimals(INDEX)}
