"""Executions that stand in a file twice, as order and fills or in both currencies, are never read twice."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.read import open_csv

FILLS = [("QAA", 100, "50.18"), ("QAA", 200, "50.195"), ("QBB", 50, "20.10")]
"""Of two orders, of 300 and 50."""


def write(folder: Path, text: str) -> Path:
    path = folder / "history.csv"
    path.write_text(text)
    return path


def read(path: Path) -> list[Any]:
    return [row for batch in open_csv(path).batches() for row in batch.records.iter_rows(named=True)]


def order_and_fills(order: str, fill: str, header: str, form: str) -> str:
    rows = [
        form.format(kind=order, s="QAA", n=0, q=300, p="50.19", o=7001),
        *(form.format(kind=fill, s="QAA", n=k, q=FILLS[k][1], p=FILLS[k][2], o=7001) for k in (0, 1)),
        form.format(kind=order, s="QBB", n=3, q=50, p="20.10", o=7002),
        form.format(kind=fill, s="QBB", n=4, q=50, p="20.10", o=7002),
    ]
    return header + "\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize(("order", "fill"), [("Order", "Trade"), ("ORDER", "FILL"), ("order", "execution")])
@pytest.mark.parametrize(
    ("header", "form"),
    [
        (
            "DataDiscriminator,Symbol,Date/Time,Quantity,T. Price,Comm/Fee",
            "{kind},{s},2024-03-01 09:31:0{n},{q},{p},-1",
        ),
        ("Time,Symbol,Side,Qty,Price,Fee,Row", "2024-03-01 09:31:0{n},{s},buy,{q},{p},0.5,{kind}"),
    ],
)
def test_fills_below_their_order_count_once(
    tmp_path: Path, header: str, form: str, order: str, fill: str
) -> None:
    rows = read(write(tmp_path, order_and_fills(order, fill, header, form)))
    assert [(row["symbol"], row["size"], row["price"]) for row in rows] == [
        (symbol, size, Decimal(price)) for symbol, size, price in FILLS
    ]
    assert {row["aggressor_side"] for row in rows} == {"none"}


def test_orders_without_fills_are_executions_beside_closed_lots(tmp_path: Path) -> None:
    text = (
        "DataDiscriminator,Symbol,Date/Time,Quantity,T. Price,Comm/Fee\n"
        "Order,QAA,2024-03-01 09:31:00,-300,50.19,-1\n"
        "ClosedLot,QAA,2023-01-02 09:31:00,300,40.00,0\n"
        "Order,QBB,2024-03-01 10:31:00,50,20.10,-1\n"
    )
    rows = read(write(tmp_path, text))
    assert [(row["symbol"], row["size"], row["price"]) for row in rows] == [
        ("QAA", 300, Decimal("50.19")),
        ("QBB", 50, Decimal("20.10")),
    ]


def test_an_order_with_the_sum_of_its_executions_is_refused(tmp_path: Path) -> None:
    text = "Order ID,Time,Symbol,Side,Quantity,Price,Fee\n" + "".join(
        f"{order},2024-03-01 09:31:0{n},{symbol},buy,{size},{price},1\n"
        for n, (order, symbol, size, price) in enumerate(
            [
                (7001, "QAA", 300, "50.19"),
                (7001, "QAA", 100, "50.18"),
                (7001, "QAA", 200, "50.195"),
                (7002, "QBB", 50, "20.10"),
                (7002, "QBB", 20, "20.10"),
                (7002, "QBB", 30, "20.10"),
            ]
        )
    )
    with pytest.raises(DataError, match="7001, the first size is the sum of the others"):
        open_csv(write(tmp_path, text))


def test_fills_whose_sizes_add_up_by_chance_stay(tmp_path: Path) -> None:
    text = "Order ID,Time,Symbol,Side,Quantity,Price,Fee\n" + "".join(
        f"{order},2024-03-01 09:31:0{n},QAA,buy,{size},{price},1\n"
        for n, (order, size, price) in enumerate(
            [(7001, 100, 50.1), (7001, 50, 50.2), (7001, 50, 50.3), (7002, 30, 50.1), (7003, 20, 50.4)]
        )
    )
    assert [row["size"] for row in read(write(tmp_path, text))] == [100, 50, 50, 30, 20]


LEGS = [
    ("QBT", "USDT", "0.1", "49980", "4998"),
    ("QET", "USDT", "1.5", "3001", "4501.5"),
    ("QET", "QBT", "2", "0.06", "0.12"),
]


@pytest.mark.parametrize(
    ("header", "base", "quote"),
    [
        (
            "id,Order id,Time,Symbol,Action,Amount,Trading Unit,Filled Price,Fee",
            "{i}1,9{i},2024-03-01 09:3{i}:02,{b}-{q},Buy,{size},{b},{price},0",
            "{i}2,9{i},2024-03-01 09:3{i}:02,{b}-{q},Sell,{money},{q},{price},0",
        ),
        (
            "Order ID,Instrument,Side,Time,Currency,Amount,Price,Balance",
            "9{i},{b}/{q},buy,2024-03-01 09:3{i}:02,{b},{size},{price},7",
            "9{i},{b}/{q},buy,2024-03-01 09:3{i}:02,{q},-{money},{price},8",
        ),
        (
            "Time,Pair,Type,Quantity,Price",
            "2024-03-01 09:3{i}:02,{b}{q},Sell,-{size},{price}",
            "2024-03-01 09:3{i}:02,{b}{q},Sell,{money},{price}",
        ),
    ],
)
def test_the_two_currencies_of_an_execution_are_not_two_executions(
    tmp_path: Path, header: str, base: str, quote: str
) -> None:
    lines = [header]
    for i, (b, q, size, price, money) in enumerate(LEGS):
        lines += [form.format(i=i, b=b, q=q, size=size, price=price, money=money) for form in (base, quote)]
    with pytest.raises(DataError, match="two rows, one for each currency") as caught:
        open_csv(write(tmp_path, "\n".join(lines) + "\n"))
    assert caught.value.hint
    kept = [header, *lines[1::2]]
    rows = read(write(tmp_path, "\n".join(kept) + "\n"))
    assert [row["size"] for row in rows] == [Decimal(each[2]) for each in LEGS]


def test_executions_at_one_time_and_price_stay(tmp_path: Path) -> None:
    text = "Time,Symbol,Side,Quantity,Price,Fee\n" + "".join(
        f"2024-03-01 09:31:0{n // 4},QAA,buy,{(100, 300, 40, 7)[n % 4]},50.10,1\n" for n in range(24)
    )
    assert len(read(write(tmp_path, text))) == 24


def test_a_column_of_kinds_without_orders_tells_nothing(tmp_path: Path) -> None:
    text = "Time,Symbol,Quantity,Price,Note\n" + "".join(
        f"2024-03-01 09:31:0{n},QAA,{100 + n},50.10,{'deal' if n % 2 else 'trade'}\n" for n in range(8)
    )
    assert len(read(write(tmp_path, text))) == 8
