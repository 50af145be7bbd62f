"""Files of trades among quotes, cancellations and changes of an order book."""

from pathlib import Path
from typing import Any

import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.read import CsvSource, open_csv

ALGOSEEK = "Date,Timestamp,EventType,Ticker,Price,Quantity,Exchange,Conditions"


def source(folder: Path, header: str, *rows: str, **options: Any) -> CsvSource:
    path = folder / "QBM.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return open_csv(path, Options(**options))


def read(csv: CsvSource) -> tuple[list[str], dict[int, str]]:
    batches = list(csv.batches())
    prices = [str(row["price"]).rstrip("0") for batch in batches for row in batch.records.to_dicts()]
    return prices, {each.line: each.reason for batch in batches for each in batch.rejects}


def algoseek(*events: str) -> list[str]:
    return [
        f"20230609,09:30:0{n}.010833553,{each},QBM,242.5{n + 1},6,EDGX,0" for n, each in enumerate(events)
    ]


def test_trades_among_quotes(tmp_path: Path) -> None:
    rows = algoseek("TRADE NB", "QUOTE BID", "QUOTE ASK", "TRADE", "QUOTE BID NB", "TRADE CANCELLED", "TRADE")
    csv = source(tmp_path, ALGOSEEK, *rows)
    prices, rejects = read(csv)
    assert prices == ["242.51", "242.54", "242.57"]
    assert rejects == dict.fromkeys((3, 4, 6, 7), "not_a_trade")
    assert (
        "only its trades are read, not QUOTE ASK, QUOTE BID, QUOTE BID NB, TRADE CANCELLED" in csv.warnings[0]
    )
    assert "A trade that was cancelled or corrected later is read." in csv.warnings[0]


def test_a_quote_below_the_rows_that_decide(tmp_path: Path) -> None:
    rows = [f"20230609,09:30:00.{n:09},TRADE,QBM,242.5,6,EDGX,0" for n in range(1500)]
    csv = source(tmp_path, ALGOSEEK, *rows, *algoseek("QUOTE ASK"))
    assert read(csv)[1] == {1502: "not_a_trade"}
    assert not [each for each in csv.warnings if "only its trades" in each]


@pytest.mark.parametrize(
    ("kind", "trade", "other"),
    [
        ("Type", "Trade", "Quote"),
        ("type", "T", "Q"),
        ("Type", "Trade", "Mkt. Depth"),
        ("event", "trade", "book_update"),
        ("tickType", "AllLast", "BidAsk"),
        ("record_type", "TRADE", "SETTLEMENT"),
        ("e", "aggTrade", "depthUpdate"),
    ],
)
def test_kinds_of_events(tmp_path: Path, kind: str, trade: str, other: str) -> None:
    rows = [f"2024-01-02T09:30:0{n}Z,{(trade, other)[n % 2]},10.{n + 1},{n + 1}00" for n in range(6)]
    prices, rejects = read(source(tmp_path, f"Date-Time,{kind},Price,Volume", *rows))
    assert prices == ["10.1", "10.3", "10.5"]
    assert rejects == dict.fromkeys((3, 5, 7), "not_a_trade")


def test_the_value_of_a_trade_is_its_price(tmp_path: Path) -> None:
    rows = [f"2024-01-02 09:30:0{n},{('TRADE', 'BID', 'ASK')[n % 3]},10.{n + 1},{n + 1}00" for n in range(7)]
    prices, rejects = read(source(tmp_path, "time,type,value,size", *rows))
    assert prices == ["10.1", "10.4", "10.7"]
    assert set(rejects.values()) == {"not_a_trade"}


def test_trades_and_quotes_in_columns_of_their_own(tmp_path: Path) -> None:
    header = "#RIC,Domain,Date-Time,Type,Price,Volume,Bid Price,Bid Size,Ask Price,Ask Size"
    rows = [
        "QBM.N,Market Price,2024-01-02T14:30:00.1Z,Quote,,,10.5,100,10.75,200",
        "QBM.N,Market Price,2024-01-02T14:30:00.2Z,Trade,10.75,300,,,,",
        "QBM.N,Market Price,2024-01-02T14:30:00.3Z,Quote,,,10.5,100,10.75,100",
        "QBM.N,Market Price,2024-01-02T14:30:00.4Z,Trade,10.5,400,,,,",
    ]
    assert read(source(tmp_path, header, *rows)) == (
        ["10.75", "10.5"],
        {2: "not_a_trade", 4: "not_a_trade"},
    )
    quotes = source(tmp_path, header, *rows[::2])
    assert quotes.record_type == "quote.v1"


def test_no_row_is_a_trade(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="by the column EventType: none is a trade"):
        source(tmp_path, ALGOSEEK, *algoseek("QUOTE BID", "QUOTE ASK", "QUOTE BID NB"))


def test_an_unknown_event_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not clear whether ZZ SPECIAL is a trade"):
        source(tmp_path, ALGOSEEK, *algoseek("TRADE", "QUOTE BID", "ZZ SPECIAL"))


@pytest.mark.parametrize("texts", [("buy", "sell"), ("bid", "ask"), ("limit", "market"), ("B", "S")])
def test_sides_and_types_of_orders_are_no_events(tmp_path: Path, texts: tuple[str, str]) -> None:
    rows = [f"2024-01-02T09:30:0{n}Z,{texts[n % 2]},10.{5 - n % 2},{n + 1}00,{n}" for n in range(6)]
    prices, rejects = read(source(tmp_path, "time,type,price,size,trade_id", *rows))
    assert (len(prices), rejects) == (6, {})


MBO = "ts_recv,ts_event,rtype,publisher_id,instrument_id,action,side,price,size,channel_id,order_id,flags"


@pytest.mark.parametrize("price", ["3675750000000", "3675.75"])
def test_orders_of_databento_are_no_trades(tmp_path: Path, price: str) -> None:
    rows = [
        f"160911360{n}000000000,160909922506104568{n},160,1,5482,"
        f"{'ACMTF'[n % 5]},{'AB'[n % 2]},{price},1,0,{n},0"
        for n in range(8)
    ]
    with pytest.raises(DataError, match="order book"):
        source(tmp_path, MBO, *rows)


B3 = "DataReferencia;CodigoInstrumento;AcaoAtualizacao;PrecoNegocio;QuantidadeNegociada;HoraFechamento"


@pytest.mark.parametrize(
    ("header", "row", "new", "cancelled"),
    [
        (B3, "2026-09-30;WIQV26;{flag};1847{n},000;10;0900{n}000", "0", "2"),
        (
            "time,symbol,price,size,update_action",
            "2026-09-30 09:00:{n},WIQV26,1847{n},10,{flag}",
            "New",
            "Delete",
        ),
        (
            "time,symbol,price,size,Cancelled",
            "2026-09-30 09:00:{n},WIQV26,1847{n},10,{flag}",
            "False",
            "True",
        ),
        ("time,symbol,price,size,is_busted", "2026-09-30 09:00:{n},WIQV26,1847{n},10,{flag}", "0", "1"),
        (
            "time,symbol,price,size,Trade Cancel Flag",
            "2026-09-30 09:00:{n},WIQV26,1847{n},10,{flag}",
            "",
            "X",
        ),
    ],
)
def test_cancellations_are_no_trades(tmp_path: Path, header: str, row: str, new: str, cancelled: str) -> None:
    rows = [row.format(n=n, flag=cancelled if n == 14 else new) for n in range(10, 20)]
    csv = source(tmp_path, header, *rows)
    prices, rejects = read(csv)
    assert len(prices) == 9
    assert rejects == {6: "not_a_trade"}
    assert "rows that cancel or change a trade are not read" in "".join(csv.warnings)


def test_cancellations_after_the_first_rows(tmp_path: Path) -> None:
    row = "2026-09-30;WIQV26;{flag};184700,000;10;09{n:04}000"
    minutes = [100 * (n // 60) + n % 60 for n in range(1200)]
    rows = [row.format(n=n, flag="2" if k == 1100 else "0") for k, n in enumerate(minutes)]
    csv = source(tmp_path, B3, *rows)
    assert read(csv)[1] == {1102: "not_a_trade"}
    assert not any("cancel" in each for each in csv.warnings)


@pytest.mark.parametrize(
    ("name", "texts"), [("Cancelled", ("12", "7")), ("cancel_time", ("0", "1")), ("action", ("0", "2"))]
)
def test_other_columns_tell_nothing_of_cancellations(
    tmp_path: Path, name: str, texts: tuple[str, str]
) -> None:
    rows = [f"2026-09-30 09:00:{n},QBM,18.{n},10,{texts[n % 2]}" for n in range(10, 20)]
    assert len(read(source(tmp_path, f"time,symbol,price,size,{name}", *rows))[0]) == 10
