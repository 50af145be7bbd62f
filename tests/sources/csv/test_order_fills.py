"""Orders that were filled in part, and the time at which they were filled."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv


def open_text(folder: Path, header: str, rows: Sequence[str], options: Options | None = None) -> CsvSource:
    path = folder / "history.csv"
    path.write_text("\n".join((header, *rows, "")), "utf-8")
    return open_csv(path, options)


def column(source: CsvSource, name: str) -> list[Any]:
    records = pl.concat(batch.records for batch in source.batches())
    return [float(each) if name in {"size", "price"} else each for each in records[name]]


def reasons(source: CsvSource) -> list[str]:
    return [reject.reason for batch in source.batches() for reject in batch.rejects]


def minutes(source: CsvSource) -> list[str]:
    return [f"{datetime.fromtimestamp(ns // 10**9, UTC):%H:%M}" for ns in column(source, "ts_event_ns")]


# ordered, not filled, price
ORDERS = [(100, 0, "2.5"), (80, 30, "2.4"), (50, 0, "2.6"), (40, 40, "2.3"), (60, 10, "2.5")]
FILLED = [100.0, 50.0, 50.0, 50.0]


def order_rows(*, with_total: bool = False, tail: str = "") -> list[str]:
    rows = []
    for n, (ordered, rest, price) in enumerate(ORDERS):
        total = f",{(ordered - rest) * float(price):.2f}" if with_total else ""
        rows.append(f"2024-01-02 10:0{n}:00,QAA,buy,{price},{ordered},{rest}{total}{tail}")
    return rows


@pytest.mark.parametrize(
    ("header", "tail"),
    [
        ("Time,Symbol,Side,Price,Quantity,QuantityRemaining,Total", ""),
        ("Time,Market,Type,Price,Amount,Remaining,Total,Fee", ",0.1"),
        ("time,symbol,side,price,qty,leaves_qty,funds,fee", ",0.1"),
        ("成交时间,证券代码,买卖方向,成交价格,数量,未成交数量,成交金额,手续费", ",0.1"),
    ],
)
def test_what_was_filled_is_what_was_ordered_less_the_rest(tmp_path: Path, header: str, tail: str) -> None:
    source = open_text(tmp_path, header.replace("成交时间", "时间"), order_rows(with_total=True, tail=tail))
    assert column(source, "size") == FILLED
    assert reasons(source) == ["size_zero"]


@pytest.mark.parametrize(
    ("header", "tail"),
    [
        ("Time,Symbol,Side,Price,Order Qty,Remaining,Fee", ",0.1"),
        ("Time,Symbol,Side,Price,Quantity,Unfilled,Fee", ",0.1"),
        ("Time,Symbol,Side,Price,Quantity,Remaining Qty,Time In Force,Commission", ",GTC,0.1"),
    ],
)
def test_names_say_what_was_ordered(tmp_path: Path, header: str, tail: str) -> None:
    assert column(open_text(tmp_path, header, order_rows(tail=tail)), "size") == FILLED


def test_states_of_orders_filled_in_part_need_the_rest(tmp_path: Path) -> None:
    header = "Time,Symbol,Side,Price,Quantity,Remaining,Status"
    states = ["Filled", "Partially Filled", "Filled", "Open", "Partially Filled"]
    rows = [f"{row},{state}" for row, state in zip(order_rows(), states, strict=True)]
    source = open_text(tmp_path, header, rows)
    assert column(source, "size") == FILLED
    assert reasons(source) == ["not_executed"]
    with pytest.raises(DataError, match="no column is known to be the executed quantity"):
        open_text(tmp_path, header.replace("Remaining", "Note"), rows)


def test_orders_that_are_filled_later_in_the_file(tmp_path: Path) -> None:
    rows = [
        f"2024-01-02 {n // 3600:02}:{n // 60 % 60:02}:{n % 60:02},QAA,buy,2.5,100,0,0.1" for n in range(1200)
    ]
    rows.append("2024-01-02 12:00:00,QAA,buy,2.5,100,25,0.1")
    source = open_text(tmp_path, "Time,Symbol,Side,Price,Quantity,Remaining,Fee", rows)
    assert column(source, "size")[-2:] == [100.0, 75.0]


def test_ordered_and_rest_remain_as_written(tmp_path: Path) -> None:
    header = "Time,Symbol,Side,Price,Quantity,Remaining,Total"
    source = open_text(tmp_path, header, order_rows(with_total=True))
    assert '"Quantity":"80"' in column(source, "extra")[1]
    assert '"Remaining":"30"' in column(source, "extra")[1]


def test_a_size_that_may_be_either_is_asked_about(tmp_path: Path) -> None:
    header = "Time,Symbol,Side,Price,Quantity,Remaining,Fee"
    with pytest.raises(DataError, match="what was ordered or what was filled") as caught:
        open_text(tmp_path, header, order_rows(tail=",0.1"))
    hint = caught.value.hint or ""
    assert "--columns date,symbol,side,price,size,unfilled" in hint
    for columns, sizes in (
        ("date,symbol,side,price,size,unfilled", FILLED),
        ("date,symbol,side,price,size", [100.0, 80.0, 50.0, 40.0, 60.0]),
    ):
        options = parse_options(columns=columns)
        assert column(open_text(tmp_path, header, order_rows(tail=",0.1"), options), "size") == sizes


@pytest.mark.parametrize(
    ("header", "rows", "sizes"),
    [
        # what remains of the order after each fill
        (
            "Time,Symbol,Side,Price,Quantity,Remaining,Fee",
            [
                "2024-01-02 10:00:00,QAA,buy,2.5,20,80,1",
                "2024-01-02 10:01:00,QAA,buy,2.5,30,50,1",
                "2024-01-02 10:02:00,QAA,buy,2.5,50,0,1",
            ],
            [20.0, 30.0, 50.0],
        ),
        # the money is that of the quantity
        (
            "Time,Symbol,Side,Price,Quantity,Remaining,Total",
            ["2024-01-02 10:00:00,QAA,buy,2.5,60,40,150", "2024-01-02 10:01:00,QAA,buy,2.5,40,0,100"],
            [60.0, 40.0],
        ),
        (
            "Time,Symbol,Side,Price,Quantity,Filled,Remaining",
            ["2024-01-02 10:00:00,QAA,buy,2.5,60,20,40", "2024-01-02 10:01:00,QAA,buy,2.5,40,40,0"],
            [20.0, 40.0],
        ),
    ],
)
def test_sizes_that_were_filled_stay(
    tmp_path: Path, header: str, rows: Sequence[str], sizes: Sequence[float]
) -> None:
    assert column(open_text(tmp_path, header, rows), "size") == sizes


@pytest.mark.parametrize("name", ["Closed", "Completed At", "Date Executed", "close_time"])
def test_an_order_counts_at_the_time_of_its_execution(tmp_path: Path, name: str) -> None:
    rows = [
        f"2/{14 - n}/2024 10:0{n}:00 AM,QAA,buy,2.5,10,0.1,2/{14 - n}/2024 1:0{n}:30 PM" for n in range(4)
    ]
    source = open_text(tmp_path, f"TimeStamp,Symbol,OrderType,Price,Quantity,Commission,{name}", rows)
    assert sorted(minutes(source)) == ["13:00", "13:01", "13:02", "13:03"]


def test_the_close_of_something_else_is_no_time_of_execution(tmp_path: Path) -> None:
    rows = [f"2024-01-02 10:0{n}:00,QAA,buy,2.5,10,0.1,2024-01-01 09:00:00" for n in range(4)]
    source = open_text(tmp_path, "Time,Symbol,Side,Price,Quantity,Fee,Closed", rows)
    assert minutes(source)[0] == "10:00"
    rows = [f"2024-01-02 10:0{n}:00,QAA,buy,2.5,10,0.1," for n in range(4)]
    source = open_text(tmp_path, "Time,Symbol,Side,Price,Quantity,Fee,Closed", rows)
    assert minutes(source)[0] == "10:00"
