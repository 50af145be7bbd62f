"""Errors say what a file is, and their remedies work when they are followed."""

import re
from pathlib import Path

import pytest

from tickerlake.errors import DataError, UsageError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv


def open_text(folder: Path, text: str, name: str = "fills.csv", columns: str | None = None) -> CsvSource:
    path = folder / name
    path.write_text(text, "utf-8")
    return open_csv(path, parse_options(columns=columns), ts_recv_ns=1, digest=False)


def error_of(folder: Path, text: str, name: str = "fills.csv", columns: str | None = None) -> DataError:
    with pytest.raises((DataError, UsageError)) as caught:
        open_text(folder, text, name, columns)
    error = caught.value
    assert isinstance(error, DataError | UsageError)
    return error  # type: ignore[return-value]


def columns_of(error: DataError) -> str:
    match = re.search(r"--columns ([\w,]+)", error.hint)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("sides", [("BUY", "SELL"), ("b", "s"), ("COMPRA", "VENTA")])
def test_fills_without_a_header(tmp_path: Path, sides: tuple[str, str]) -> None:
    row = "2025-09-24T0{n}:15:59.666584,{side},1.18{n}3,{order},1.18{n}3\n"
    text = "".join(row.format(n=n, side=sides[n % 2], order=18152 + 11 * n % 23) for n in range(8))
    error = error_of(tmp_path, text)
    source = open_text(tmp_path, text, columns=columns_of(error))
    assert source.record_type == "trade.v1"
    assert source.parser.layout.roles["price"] == 2


def test_messages_of_an_order_book(tmp_path: Path) -> None:
    text = "".join(
        f"3420{n}.017{n}59,{1 + n % 4},1188514{n},10{n},22{n}3700,{(1, -1)[n % 2]}\n" for n in range(9)
    )
    error = error_of(tmp_path, text, "QMZN_2012-06-21_34200000_57600000_message_1.csv")
    assert "messages of an order book" in error.message
    assert "--columns" not in error.hint


def test_levels_of_an_order_book(tmp_path: Path) -> None:
    text = "".join(f"22{n}3700,10{n},22{n}2700,2{n}\n" for n in range(9))
    assert "levels of an order book" in error_of(tmp_path, text, "QMZN_orderbook_1.csv").message


def test_transactions_of_a_blockchain(tmp_path: Path) -> None:
    text = "".join(f"139161{n}8,0x{n}{'cf' * 31}5,0x{n}{'ab' * 19}1,18184{n}5,58{n}6\n" for n in range(9))
    error = error_of(tmp_path, text, "trades.csv")
    assert "transactions of a blockchain" in error.message
    assert "--columns" not in error.hint


def test_rows_that_are_quoted_as_a_whole(tmp_path: Path) -> None:
    row = '"2020-05-29 11:13:2{n},QDABTC,BUY,0.00{n}6720,""3,81{n}.00QDA"",0.025QBT"\n'
    text = "Date(UTC),Pair,Side,Price,Executed,Amount\n" + "".join(row.format(n=n) for n in range(6))
    assert "quoted as a whole" in error_of(tmp_path, text).message


def test_one_price_a_day_among_fundamentals(tmp_path: Path) -> None:
    rows = "".join(f"{n},2024-01-{n + 1:02},Qniswap,7.1{n},7{n}e8,8.1,7e9,2e6\n" for n in range(12))
    text = f",datetime,project,price,market_cap,ps,tvl,revenue\n{rows}"
    error = error_of(tmp_path, text)
    assert "no time of day" in error.message
    source = open_text(tmp_path, text, columns=columns_of(error))
    assert (source.record_type, source.symbols) == ("bar.v1", ["Qniswap"])


@pytest.mark.parametrize(
    "header", ["calc_time,funding_interval_hours,last_funding_rate", "fundingTime,x,fundingRate"]
)
def test_funding_rates(tmp_path: Path, header: str) -> None:
    text = f"{header}\n" + "".join(f"170406{n}200000,8,0.0001{n}730\n" for n in range(9))
    assert "funding" in error_of(tmp_path, text).message


def test_transactions_by_date(tmp_path: Path) -> None:
    header = "Fecha de Emisión,Fecha Liquidación,Comprobante,Ticker,Cantidad,Precio,Moneda,Importe Pesos"
    row = '2{n}/03/24,2{n}/03/24,CPRA,QEPU,"2{n},00","1.01{n},200",PESOS,"-25.280,26"'
    text = "\n".join([header, *(row.format(n=n) for n in range(8))])
    assert (
        "holds an account's statement, by its column Comprobante: its dates have no"
        in error_of(tmp_path, text).message
    )


def test_named_columns_do_not_lead_in_a_circle(tmp_path: Path) -> None:
    header = "date,a,b,c,d"
    rows = "".join(f"2024-01-{n + 1:02},{100 + n},{50 + n},{90 + n},{70 + n}\n" for n in range(12))
    error = error_of(tmp_path, f"{header}\n{rows}", columns="date,open,high,low,close")
    assert "--columns date,open,high,low,close" not in error.hint


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("NQM26-CME.DAILY_BarData.txt", "NQM26"),
        ("NQM26-CME.scid_BarData.txt", "NQM26"),
        ("BRK.B.csv", "BRK.B"),
    ],
)
def test_words_of_a_vendor_in_a_name(tmp_path: Path, name: str, symbol: str) -> None:
    rows = "".join(f"2024-01-{n + 2:02},10{n},12{n},9{n},11{n}\n" for n in range(5))
    assert open_text(tmp_path, f"Date,Open,High,Low,Close\n{rows}", name).symbols == [symbol]
