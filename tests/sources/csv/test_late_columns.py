"""Columns that are empty in the first rows and filled later: they have the role of their name on all rows."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.chunks import CHUNK_BYTES
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

EMPTY = 1200
ROWS = 1400
FIRST = date(2018, 1, 1)


def write(folder: Path, header: str, first: str, later: str, *, empty: int = EMPTY, rows: int = ROWS) -> Path:
    """Write rows with {day}, {o}, {h}, {l}, {c} and {v} filled in: after some of them in another form."""
    path = folder / "QAA.csv"
    lines = []
    for n in range(rows):
        close = 5000 + 37 * n % 90
        cells = {
            "day": FIRST + timedelta(n),
            "o": f"{(close - 20) / 100:.2f}",
            "h": f"{(close + 110) / 100:.2f}",
            "l": f"{(close - 130) / 100:.2f}",
            "c": f"{close / 100:.2f}",
            "v": 1000 + 13 * n % 700,
        }
        lines.append((first if n < empty else later).format(**cells))
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n")
    return path


def read(
    path: Path, columns: Sequence[str] | None = None, chunk_bytes: int = CHUNK_BYTES
) -> tuple[CsvSource, list[Any], int]:
    """Return the opened file, its records and the number of its rejects."""
    options = Options(columns=tuple(columns) if columns else None)
    source = open_csv(path, options, ts_recv_ns=1, digest=False, chunk_bytes=chunk_bytes)
    batches = list(source.batches())
    rows = [row for each in batches for row in each.records.iter_rows(named=True)]
    return source, rows, sum(len(each.rejects) for each in batches)


@pytest.mark.parametrize("missing", ["", "null"])
@pytest.mark.parametrize(
    ("header", "layout"),
    [
        ("Date,Open,High,Low,Close,Volume", "{day},{o},{h},{l},{c},{v}"),
        ("Datum;Eröffnung;Hoch;Tief;Schluss;Volumen", "{day};{o};{h};{l};{c};{v}"),
        ("date,close,volume,high,low,open", "{day},{c},{v},{h},{l},{o}"),
        ("Date,Symbol,Close,Open,High,Low,Volume", "{day},QAA,{c},{o},{h},{l},{v}"),
    ],
)
def test_prices_that_begin_later_have_the_roles_of_their_names(
    tmp_path: Path, header: str, layout: str, missing: str
) -> None:
    first = layout.replace("{o}", missing).replace("{h}", missing).replace("{l}", missing)
    source, rows, rejects = read(write(tmp_path, header, first, layout))
    assert (len(rows), rejects) == (ROWS - EMPTY, EMPTY)
    last = rows[-1]
    assert (last["open"], last["high"]) == (last["close"] - Decimal("0.2"), last["close"] + Decimal("1.1"))
    assert last["low"] == last["close"] - Decimal("1.3")
    assert last["volume"] >= 1000
    (warning,) = [each for each in source.warnings if "are empty before line 1,202" in each]
    # what the warning names reads the closes of all rows
    _, closes, rejects = read(tmp_path / "QAA.csv", warning.rpartition("--columns ")[2].split(","))
    assert (len(closes), rejects) == (ROWS, 0)
    assert all(row.get("open") is None and row["volume"] for row in closes)


@pytest.mark.parametrize(
    ("header", "layout", "optional", "role"),
    [
        ("Date,Close,Volume", "{day},{c},{v}", "{v}", "volume"),
        ("Date,Open,High,Low,Close,Volume", "{day},{o},{h},{l},{c},{v}", "{v}", "volume"),
        ("Date,NAV,Currency", "{day},{c},EUR", "EUR", "currency"),
        ("Date,Close,Adj Close", "{day},{c},{c}", ",{c}", "adj_close"),
    ],
)
def test_optional_columns_that_begin_later_keep_all_rows(
    tmp_path: Path, header: str, layout: str, optional: str, role: str
) -> None:
    first = layout.removesuffix(optional) + "," * optional.startswith(",")
    _, rows, rejects = read(write(tmp_path, header, first, layout))
    assert (len(rows), rejects) == (ROWS, 0)
    assert [row[role] is None for row in rows] == [n < EMPTY for n in range(ROWS)]
    assert rows[0]["close"] == Decimal(50)


def test_values_far_below_the_first_rows_are_found(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "Date,Open,High,Low,Close",
        "{day},,,,{c}",
        "{day},{o},{h},{l},{c}",
        empty=3000,
        rows=3010,
    )
    _, rows, rejects = read(path, chunk_bytes=4000)
    assert (len(rows), rejects) == (10, 3000)


def test_columns_that_begin_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path, "Date,Close,Volume,Currency", "{day},{c},,", "{day},{c},{v},")
    with path.open("a") as file:
        file.write("".join(f"{date(2030, 1, 1) + timedelta(n)},50.5,9,EUR\n" for n in range(600)))
    _, rows, rejects = read(path)
    assert (len(rows), rejects) == (ROWS + 600, 0)
    assert rows[EMPTY]["volume"] is not None
    assert rows[-1]["currency"] == "EUR"


def test_a_symbol_that_is_listed_later_in_a_wide_table(tmp_path: Path) -> None:
    header = "Date,QAA_Open,QAA_High,QAA_Low,QAA_Close,QBB_Open,QBB_High,QBB_Low,QBB_Close"
    row = "{day},{o},{h},{l},{c}"
    path = write(tmp_path, header, f"{row},,,,{{c}}", f"{row},{{o}},{{h}},{{l}},{{c}}")
    _, rows, rejects = read(path)
    assert rejects == EMPTY
    assert sum(row["symbol"] == "QBB" for row in rows) == ROWS - EMPTY


def test_a_symbol_without_all_prices_in_a_wide_table_is_named(tmp_path: Path) -> None:
    header = "Date,QAA_Open,QAA_High,QAA_Low,QAA_Close,QBB_Open,QBB_High,QBB_Low,QBB_Close"
    row = "{day},{o},{h},{l},{c},,,,{c}"
    source, rows, _ = read(write(tmp_path, header, row, row, rows=40))
    assert {row["symbol"] for row in rows} == {"QAA"}
    assert any("QBB" in each and "--columns date,AAPL:close" in each for each in source.warnings)
    columns = ["date", "", "", "", "QAA:close", "", "", "", "QBB:close"]
    assert len(read(tmp_path / "QAA.csv", columns)[1]) == 80


@pytest.mark.parametrize("late", ["{day},,{h},{l},{c}", "{day},{o},,,{c}"])
def test_prices_that_begin_without_some_of_them_are_refused(tmp_path: Path, late: str) -> None:
    path = write(tmp_path, "Date,Open,High,Low,Close", "{day},,,,{c}", late)
    with pytest.raises(DataError, match=r"--columns|the close alone"):
        open_csv(path)


@pytest.mark.parametrize("role", ["open", "high", "low"])
def test_one_empty_price_is_named(tmp_path: Path, role: str) -> None:
    row = "{day},{o},{h},{l},{c}".replace(f"{{{role[0]}}}", "")
    with pytest.raises(DataError, match=f"no column for {role} among") as caught:
        open_csv(write(tmp_path, "Date,Open,High,Low,Close", row, row, rows=40))
    assert "--columns date,,,,close" in caught.value.hint


def test_columns_that_stay_empty_change_nothing(tmp_path: Path) -> None:
    row = "{day},,,,{c},"
    _, rows, rejects = read(write(tmp_path, "Date,Open,High,Low,Close,Remark", row, row))
    assert (len(rows), rejects) == (ROWS, 0)


def test_a_footer_is_no_value(tmp_path: Path) -> None:
    row = "{day},,,,{c}"
    path = write(tmp_path, "Date,Open,High,Low,Close", row, row)
    with path.open("a") as file:
        file.write("Source,see,our,terms,of use\n")
    _, rows, rejects = read(path)
    assert (len(rows), rejects) == (ROWS, 1)


def test_a_remark_that_begins_later_changes_no_role(tmp_path: Path) -> None:
    row = "{day},{o},{h},{l},{c},{v}"
    path = write(tmp_path, "Date,Open,High,Low,Close,Volume,Remark", row + ",", row + ",halted")
    source, rows, rejects = read(path)
    assert (len(rows), rejects) == (ROWS, 0)
    assert "symbol" not in source.parser.layout.roles
    assert rows[-1]["symbol"] == "QAA"
