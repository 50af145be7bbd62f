"""Tables without dates, options and open interest: named for what they are, with advice that works."""

from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv


def open_text(folder: Path, text: str, name: str = "table.csv", columns: str | None = None) -> CsvSource:
    path = folder / name
    path.write_text(text, "utf-8")
    return open_csv(path, parse_options(columns=columns), ts_recv_ns=1)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol,Description,Quantity,Price\nA,Alpha,100,1.1\nB,Beta,50,2.1\nC,Gamma,10,3.1\n",
        "Symbol,Quantity,Last Price,Market Value\nA,100,1.1,110\nB,50,2.1,105\nC,10,3.1,31\n",
        "Ticker;Name;Anzahl;Kurs;Wert\nA;Alpha;100;1,1;110\nB;Beta;50;2,1;105\nC;Gamma;10;3,1;31\n",
    ],
)
def test_holdings_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        DataError,
        match=r"holds an account's holdings.*, by its columns (?:Symbol|Ticker), (?:Quantity|Anzahl)",
    ) as caught:
        open_text(tmp_path, text, "portfolio_20260702.csv")
    assert "Export the executions" in caught.value.hint


def test_advice_for_undated_lists_works(tmp_path: Path) -> None:
    text = "SYMBOL,OPEN,HIGH,LOW,PREV. CLOSE,LTP,CHNG,VALUE\n" + "".join(
        f"Q{k},1,2,1,1.4,1.5,.1,1000\n" for k in "ABC"
    )
    with pytest.raises(DataError, match="no date, neither in a column nor in its name") as caught:
        open_text(tmp_path, text, "MW-NIFTY-50.csv")
    advised = caught.value.hint.partition("the name, ")[2].partition(",")[0]
    records = pl.concat(batch.records for batch in open_text(tmp_path, text, advised).batches())
    assert set(map(float, records["close"])) == {1.5}
    assert set(map(str, records["session_date"])) == {"2024-01-02"}


@pytest.mark.parametrize(
    "text",
    [
        "Open,High,Low,Close,Volume\n" + "".join(f"1,2,1,1.{k},5\n" for k in range(6)),
        "Symbol,Open,High,Low,Close\n" + "".join(f"Q{k % 3},1,2,1,1.4\n" for k in range(6)),
    ],
)
def test_rows_that_need_a_date_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="no column of dates or times") as caught:
        open_text(tmp_path, text)
    assert "--columns" not in caught.value.hint


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (
            "Symbol,Expiry,Strike,Type,Bid,Ask,Last,Volume,Open Interest",
            "QAA,2026-07-1{k},10{k},C,1.{k},1.9,1.{k},5,10",
        ),
        ("underlying,expiration,strike,right,bid,ask", "QAA,2026-07-17,10{k},P,1.{k},1.9"),
        ("strike;expiration date;last;volume", "10{k};17.07.2026;1.{k};5"),
    ],
)
def test_option_chains_do_not_take_the_expiry_as_the_time(tmp_path: Path, header: str, row: str) -> None:
    with pytest.raises(DataError, match=r"holds options, by its columns .*: no row has a time"):
        open_text(tmp_path, "\n".join((header, *(row.format(k=k) for k in range(6)), "")))


def test_contracts_need_symbols_of_their_own(tmp_path: Path) -> None:
    header, row = (
        "time,{}underlying,expiration,strike,bid,ask",
        "2026-07-02T10:00:00Z,{}QAA,2026-07-17,10{k},1.{k},2.1",
    )
    rows = [row.replace("{}", "").format(k=k) for k in range(6)]
    with pytest.raises(DataError, match="no column has a symbol for each contract"):
        open_text(tmp_path, "\n".join((header.format(""), *rows, "")))
    rows = [row.format(f"QAA260717C10{k},", k=k) for k in range(6)]
    source = open_text(tmp_path, "\n".join((header.format("symbol,"), *rows, "")))
    assert source.symbols == [f"QAA260717C10{k}" for k in range(6)]


@pytest.mark.parametrize("name", ["Open Interest", "openInterest", "OI"])
def test_open_interest_is_no_price(tmp_path: Path, name: str) -> None:
    rows = [f"2024-01-{day},8{day}0,5" for day in range(10, 16)]
    with pytest.raises(DataError, match="open interest, not prices"):
        open_text(tmp_path, "\n".join((f"Date,{name},Change", *rows, "")))


def test_events_of_orders_without_prices(tmp_path: Path) -> None:
    rows = [
        f"2024-01-02T10:0{k}:00Z,{k // 2},{'placed' if k % 2 else 'accepted'},QAA,buy,5" for k in range(8)
    ]
    with pytest.raises(DataError, match="events of orders, without prices"):
        open_text(tmp_path, "\n".join(("time,orderId,event,symbol,side,quantity", *rows, "")))


def test_advice_to_take_rows_as_executions_names_their_columns(tmp_path: Path) -> None:
    rows = [f"2024-01-02T10:0{k}:00Z,{k},placed,QAA,buy,10.{k},{k + 1}" for k in range(8)]
    text = "\n".join(("time,orderId,event,symbol,side,price,quantity", *rows, ""))
    with pytest.raises(DataError, match="none of them executed") as caught:
        open_text(tmp_path, text)
    advised = caught.value.hint.partition("--columns ")[2]
    assert advised == "time,,,symbol,,price,size"
    records = pl.concat(batch.records for batch in open_text(tmp_path, text, columns=advised).batches())
    assert list(map(float, records["size"])) == list(range(1, 9))


@pytest.mark.parametrize("header", ["Symbol,Close", "Symbol,Name,Closing Price"])
def test_lists_with_one_number_in_a_row(tmp_path: Path, header: str) -> None:
    middle = "Some Plc," * (header.count(",") - 1)
    text = f"{header}\n" + "".join(f"Q{k},{middle}1.{i}\n" for i, k in enumerate("ABCD"))
    source = open_text(tmp_path, text, "closes_20260702.csv")
    records = pl.concat(batch.records for batch in source.batches())
    assert dict(zip(records["symbol"], map(float, records["close"]), strict=True)) == {
        "QA": 1.0, "QB": 1.1, "QC": 1.2, "QD": 1.3
    }  # fmt: skip
