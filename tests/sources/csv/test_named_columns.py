"""Columns that the user names: in any order, with gaps, and what is said of names that do not fit."""

from decimal import Decimal
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import UsageError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

CELLS = {"symbol": "QAA", "date": "2026-06-0{n}", "close": "12.{n}", "": "D{n}"}


def open_named(folder: Path, columns: str, *lines: str) -> CsvSource:
    path = folder / "rates.csv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return open_csv(path, parse_options(columns=columns), ts_recv_ns=1, digest=False)


def rows(names: tuple[str, ...]) -> list[str]:
    return [",".join(CELLS[name].format(n=n) for name in names) for n in range(1, 6)]


ORDERS = sorted(
    {*permutations(("symbol", "date", "close")), *permutations(("symbol", "date", "", "", "close"))}
)


@pytest.mark.parametrize("names", ORDERS, ids="-".join)
def test_any_order_and_gaps(tmp_path: Path, names: tuple[str, ...]) -> None:
    header = ",".join(f"C{k}" for k in range(len(names)))
    source = open_named(tmp_path, ",".join(names), header, *rows(names))
    records = pl.concat(batch.records for batch in source.batches())
    assert list(records["close"]) == [Decimal(f"12.{n}") for n in range(1, 6)]
    assert set(records["symbol"]) == {"QAA"}


SERIES = ("KEY,FREQ,CCY,DAY,VALUE", *(f"QEX.D,D,CHF,2026-06-0{n},0.92{n}" for n in range(1, 6)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("symbol,date,close", r"calls column 2 of rates.csv date; it holds no dates, .* 'D'.*Of 5.* 4 may"),
        ("date,,close", r"calls column 1 of rates.csv date; it holds no dates, but values such as 'QEX.D'"),
        ("time,symbol,price", r"calls column 1 of rates.csv time; it holds no dates"),
        ("symbol,date,,,close", r"calls column 2 of rates.csv date; it holds no dates"),
        ("symbol,,close,date", r"calls column 3 of rates.csv close; it holds no numbers, .* 'CHF'.* 5 may"),
        ("symbol,,,date", r"does not name close, which"),
        ("symbol,,,,close", None),
        ("symbol,,,date,open", r"does not name high, low, close, which"),
        ("symbol,,,date,bid", r"does not name ask, which"),
    ],
)
def test_names_that_do_not_fit(tmp_path: Path, columns: str, message: str | None) -> None:
    if message is None:
        assert open_named(tmp_path, columns, *SERIES).record_type == "bar.v1"
        return
    with pytest.raises(UsageError) as caught:
        open_named(tmp_path, columns, *SERIES)
    caught.match("(?s)" + message)


def test_closes_at_uneven_times_are_rather_trades(tmp_path: Path) -> None:
    times = ("02:57:10.11", "03:17:04.28", "03:31:25.96", "03:31:26.01", "04:10:00.5", "05:00:02")
    lines = [f"2026-06-01 {time},QAAFUT,399.{k}" for k, time in enumerate(times)]
    with pytest.raises(UsageError, match=r"not a fixed time apart") as caught:
        open_named(tmp_path, "date,,close", *lines)
    advised = caught.value.hint.partition("--columns ")[2]
    assert advised == "date,symbol,price"
    assert open_named(tmp_path, advised, *lines).record_type == "trade.v1"


def test_date_parts(tmp_path: Path) -> None:
    lines = [f"2026,6,{n},12.{n}" for n in range(1, 6)]
    assert open_named(tmp_path, "year,month,day,close", *lines).record_type == "bar.v1"
