"""Trades whose price is the money paid for the row are refused; trades at a price are not."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv

SIZES = (0.005, 0.002, 0.01, 0.004, 0.02, 0.005)
RATES = (4_159_400, 4_198_000, 4_230_400, 4_132_500, 4_300_100, 4_111_000)
OTHER = (1, 5, 2, 7, 3, 4), (300, 310, 305, 312, 300, 307)


def open_rows(folder: Path, header: str, rows: Sequence[str], options: Options | None = None) -> CsvSource:
    path = folder / "QBT.csv"
    path.write_text("\n".join((header, *rows)) + "\n", "utf-8")
    return open_csv(path, options, ts_recv_ns=1, digest=False)


def bought(template: str, sizes: Sequence[float] = SIZES, rates: Sequence[float] = RATES) -> list[str]:
    """Return rows with {k}, {size}, {rate} and {total} filled in."""
    return [
        template.format(k=k, size=size, rate=rate, total=f"{size * rate:.2f}")
        for k, (size, rate) in enumerate(zip(sizes, rates, strict=True))
    ]


@pytest.mark.parametrize(
    ("header", "template"),
    [
        (
            "ID,Amount,Price,Currency,Progress,Time",
            "15{k},{size},{total},JPY,completed,2022-04-2{k} 16:20:00",
        ),
        ("Time,Symbol,Qty,Price", "2022-04-2{k} 16:20:00,QBT,{size},{total}"),
        ("Symbol;Date;Time;Price;Volume", "QBT;2022-04-2{k};16:20:00;{total};{size}"),
        ("timestamp,side,price,quantity,fee", "2022-04-2{k}T16:20:00Z,buy,{total},{size},1"),
        ("Datum,Uhrzeit,Preis,Menge", "2022-04-2{k},16:20:00,{total},{size}"),
    ],
)
def test_totals_are_no_prices(tmp_path: Path, header: str, template: str) -> None:
    with pytest.raises(DataError, match=r"as the money paid for each row does: .* 4,111,000 to 4,300,100"):
        open_rows(tmp_path, header, bought(template))


def test_one_symbol_among_several(tmp_path: Path) -> None:
    rows = bought("2022-04-2{k} 16:20:00,QBT,{size},{total}")
    rows += bought(
        "2022-05-2{k} 16:20:00,QET,{size},{total}", (1, 5, 2, 7, 3, 4), (300, 310, 305, 312, 300, 307)
    )
    with pytest.raises(DataError, match="money paid"):
        open_rows(tmp_path, "Time,Symbol,Qty,Price", rows)


def test_symbols_in_a_column_that_is_not_known(tmp_path: Path) -> None:
    rows = bought("2022-04-2{k} 16:20:00,QBT,{size},{total}")
    rows += bought(
        "2022-05-2{k} 16:20:00,QET,{size},{total}", (1, 5, 2, 7, 3, 4), (300, 310, 305, 312, 300, 307)
    )
    with pytest.raises(DataError, match="money paid"):
        open_rows(tmp_path, "Time,Bought,Qty,Price", rows, Options(symbol="QBT"))


def test_a_price_that_doubles_meanwhile(tmp_path: Path) -> None:
    rates = (20_000, 25_000, 30_000, 34_000, 38_000, 40_000)
    rows = bought("2022-0{k}-01 16:20:00,{size},{total}", (0.001, 0.02, 0.1, 0.005, 0.05, 0.002), rates)
    rows = [row.replace("-00-", "-09-") for row in rows]
    with pytest.raises(DataError, match="money paid"):
        open_rows(tmp_path, "Time,Amount,Price", rows)


def test_columns_overrule(tmp_path: Path) -> None:
    rows = bought("2022-04-2{k} 16:20:00,QBT,{size},{total}")
    options = parse_options(columns="time,symbol,size,price")
    source = open_rows(tmp_path, "Time,Symbol,Qty,Price", rows, options)
    assert source.record_type == "trade.v1"


@pytest.mark.parametrize(
    ("sizes", "prices"),
    [
        ((1, 1, 1, 1, 1, 1), (10, 20, 30, 40, 50, 60)),  # a constant size
        ((1, 2, 3, 4, 5, 6), (10.0, 10.1, 10.2, 10.3, 10.4, 10.5)),  # a usual price
        ((1, 5, 2, 9, 3, 4), (10, 14, 22, 21, 30, 35)),
        ((10, 5, 4, 2.5, 2, 1), (10, 20, 25, 40, 50, 100)),  # the same money each time
        ((1, 2, 3, 4), (10, 20, 30, 40)),  # few rows
    ],
)
def test_prices_stay(tmp_path: Path, sizes: Sequence[float], prices: Sequence[float]) -> None:
    rows = bought("2022-04-2{k} 16:20:00,QBT,{size},{rate}", sizes, prices)
    assert open_rows(tmp_path, "Time,Symbol,Qty,Price", rows).record_type == "trade.v1"


def test_prices_of_several_symbols_stay(tmp_path: Path) -> None:
    pairs = (("QA", 1, 10), ("QB", 2, 20), ("QC", 4, 41), ("QD", 8, 79), ("QE", 16, 160), ("QF", 32, 322))
    rows = [f"2022-04-2{k} 16:20:00,{s},{size},{p}" for k, (s, size, p) in enumerate(pairs)]
    assert open_rows(tmp_path, "Time,Symbol,Qty,Price", rows).record_type == "trade.v1"


@pytest.mark.parametrize("seed", range(20))
def test_random_sizes_stay(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    sizes = [round(dice.lognormvariate(0, 2), 4) + 0.0001 for _ in range(12)]
    prices = [round(dice.lognormvariate(5, 1), 2) + 0.01 for _ in range(12)]
    rows = [f"2022-04-01 16:20:{k:02},{p},{s}" for k, (p, s) in enumerate(zip(prices, sizes, strict=True))]
    assert open_rows(tmp_path, "Time,Price,Size", rows).record_type == "trade.v1"
