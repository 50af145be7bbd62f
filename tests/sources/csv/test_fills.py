"""Exports of fills: coins in a column called currency, and sizes written as filled/ordered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import CsvSource, open_csv


def open_rows(folder: Path, header: str, rows: Sequence[str]) -> CsvSource:
    path = folder / "history.csv"
    path.write_text("\n".join((header, *rows, "")), "utf-8")
    return open_csv(path, ts_recv_ns=1)


def column(source: CsvSource, name: str) -> list[Any]:
    records = pl.concat(batch.records for batch in source.batches())
    return [float(each) if name == "size" else each for each in records[name]]


BITVAVO = (
    "Timezone,Date,Time,Type,Currency,Amount,Quote Currency,Quote Price,Received / Paid Currency,"
    "Received / Paid Amount,Fee currency,Fee amount,Status,Transaction ID,Address"
)


def test_currency_beside_the_quote_currency_is_the_symbol(tmp_path: Path) -> None:
    source = open_rows(
        tmp_path,
        BITVAVO,
        [
            "Europe/Amsterdam,2024-01-02,10:10:12.123,buy,QTC,0.01,EUR,40000,EUR,-400.25,EUR,0.25,Completed,u0,",
            "Europe/Amsterdam,2024-01-03,10:11:12.123,sell,QTC,-0.02,EUR,41000,EUR,820,EUR,0.25,Completed,u1,",
            "Europe/Amsterdam,2024-01-04,10:12:12.123,buy,QTH,0.5,EUR,2000,EUR,-1000,EUR,0.25,Completed,u2,",
            "Europe/Amsterdam,2024-01-05,10:13:12.123,deposit,EUR,100,,,,,,,Completed,u3,",
            "Europe/Amsterdam,2024-01-06,10:14:12.123,staking,QDA,1.5,,,,,,,Distributed,u4,",
        ],
    )
    assert column(source, "symbol") == ["QTC", "QTC", "QTH"]
    assert column(source, "size") == [0.01, 0.02, 0.5]
    assert not any("symbol" in warning or "currencies" in warning for warning in source.warnings)


@pytest.mark.parametrize("name", ["Currency", "Coin", "Base Currency"])
def test_coins_of_fills_are_symbols(tmp_path: Path, name: str) -> None:
    rows = [
        f"2024-01-0{k + 2}T10:11:12Z,buy,{coin},0.{k + 1},{price},0.1"
        for k, (coin, price) in enumerate([("QTC", 40000), ("QTH", 2000), ("QTC", 40100), ("QTH", 2010)])
    ]
    source = open_rows(tmp_path, f"Timestamp,Side,{name},Amount,Price,Fee", rows)
    assert column(source, "symbol") == ["QTC", "QTH", "QTC", "QTH"]


@pytest.mark.parametrize(
    "currencies", [("EUR", "USD", "EUR"), ("USDT", "USDC", "USD"), ("EUR", "EUR", "EUR")]
)
def test_money_is_no_symbol(tmp_path: Path, currencies: Sequence[str]) -> None:
    rows = [f"2024-01-0{k + 2}T10:11:12Z,buy,{each},{k + 1},4{k},0.1" for k, each in enumerate(currencies)]
    source = open_rows(tmp_path, "Timestamp,Side,Currency,Amount,Price,Fee", rows)
    assert not set(currencies) & set(column(source, "symbol"))


@pytest.mark.parametrize(
    ("header", "state"),
    [
        ("time,symbol,side,qty,price,status", "COMPLETE"),
        ("Time,Symbol,Side,Quantity,Avg Price,Order Status", "Filled"),
    ],
)
def test_sizes_of_what_was_filled_of_an_order(tmp_path: Path, header: str, state: str) -> None:
    sizes = ["10/10", "0/10", "1,500 / 1,500", "7/7"]
    rows = [
        f'2024-01-02T10:1{k}:00Z,QAA,buy,"{size}",10.{k},{state if size[0] != "0" else "Cancelled"}'
        for k, size in enumerate(sizes)
    ]
    source = open_rows(tmp_path, header, rows)
    assert column(source, "size") == [10, 1500, 7]


def test_partial_fills_with_an_executed_size(tmp_path: Path) -> None:
    rows = [
        f"2024-01-02T10:1{k}:00Z,QAA,sell,{size},10.{k},{state}"
        for k, (size, state) in enumerate(
            [("5/10", "Partially filled"), ("20/20", "Filled"), ("0/3", "Open")]
        )
    ]
    source = open_rows(tmp_path, "Time,Symbol,Side,Filled Qty,Avg Price,Status", rows)
    assert column(source, "size") == [5, 20]


def test_other_fractions_are_no_sizes(tmp_path: Path) -> None:
    rows = [f"2024-01-02T10:1{k}:00Z,QAA,buy,{size},10.{k}" for k, size in enumerate(["3/2", "1/2", "5/4"])]
    try:
        source = open_rows(tmp_path, "time,symbol,side,qty,price", rows)
    except DataError:
        return
    assert "size" not in source.parser.layout.roles


@pytest.mark.parametrize(
    ("header", "kinds", "sides"),
    [
        ("Date,Market,Category,Type,Price,Amount,Total,Fee", ("Exchange", "Settlement"), ("Buy", "Sell")),
        ("Time,Pair,Subtype,Side,Price,Qty,Value,Fee", ("Swap desk", "Interest offset"), ("sell", "buy")),
        ("Fecha,Símbolo,Category,Tipo,Precio,Cantidad,Importe,Fee", ("Bolsa", "Fee"), ("Compra", "Venta")),
        ("Date,Pair,Kind,Action,Price,Size,Funds,Fee", ("Convert", "Convert"), ("Bought", "Sold")),
    ],
)
def test_a_vague_column_does_not_decide_beside_sides_and_products(
    tmp_path: Path, header: str, kinds: Sequence[str], sides: Sequence[str]
) -> None:
    rows = [
        f"2024-01-0{k + 2} 10:11:12,QTC/EUR,{kinds[k % 2]},{sides[k % 3 == 0]},{2 + k}.5,4,{10 + 4 * k},0.15%"
        for k in range(6)
    ]
    assert len(column(open_rows(tmp_path, header, rows), "price")) == len(rows)


def test_a_kind_decides_where_a_row_has_no_side_or_no_product(tmp_path: Path) -> None:
    header = "Date,Market,Category,Type,Price,Amount,Total,Fee"
    rows = [
        f"2024-01-0{k + 2} 10:11:12,QTC/EUR,{kind},{side},{2 + k}.5,4,{total or 10 + 4 * k},0.15%"
        for k, (kind, side, total) in enumerate(
            [("Exchange", "Buy", 0), ("Settlement", "Sell", 0), ("Exchange", "Sell", 0), ("Fee", "Buy", 3)]
        )
    ]
    with pytest.raises(DataError, match="not clear whether exchange is an execution"):
        open_rows(tmp_path, header, rows)
    rows = [row.replace(",Buy,", ",,") for row in rows]
    with pytest.raises(DataError, match="not clear whether exchange is an execution"):
        open_rows(tmp_path, header, rows)
