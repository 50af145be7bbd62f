"""Tables that are not market data are refused for what they are; of logs, only executions are read."""

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tickerlake.errors import DataError
from tickerlake.sources.csv.detect.columns.cells import ColumnSample
from tickerlake.sources.csv.detect.columns.shapes import SHAPES
from tickerlake.sources.csv.detect.columns.table import Table
from tickerlake.sources.csv.detect.columns.vocabulary import other_tables
from tickerlake.sources.csv.detect.options import Options, parse_options
from tickerlake.sources.csv.read import CsvSource, open_csv


def open_text(folder: Path, text: str, options: Options | None = None, name: str = "QAA.csv") -> CsvSource:
    path = folder / name
    path.write_text(text.strip() + "\n", "utf-8")
    return open_csv(path, options, ts_recv_ns=1, digest=False)


def trades(source: CsvSource) -> list[tuple[str, str, str]]:
    """Return symbol, price and size of each trade."""
    assert source.record_type == "trade.v1"
    rows = pl.concat(batch.records for batch in source.batches()).iter_rows(named=True)
    return [(row["symbol"], f"{row['price'].normalize():f}", f"{row['size'].normalize():f}") for row in rows]


def sides(source: CsvSource) -> list[str]:
    records = pl.concat(batch.records for batch in source.batches())
    return list(records["aggressor_side"])


def reasons(source: CsvSource) -> dict[int, str]:
    return {reject.line: str(reject.reason) for batch in source.batches() for reject in batch.rejects}


STATEMENTS = {
    "ids and changes": """
User_ID,UTC_Time,Account,Operation,Coin,Change,Remark
31337,2021-02-01 10:00:00,Spot,Deposit,QBT,0.5,
31337,2021-02-01 10:05:00,Spot,Buy,QET,1.25,
31337,2021-02-01 10:05:00,Spot,Fee,QNB,-0.001,
31337,2021-02-01 11:05:00,Spot,Sell,QET,-0.25,
""",
    "ledger with a balance": """
"txid","refid","time","type","aclass","asset","amount","fee","balance"
"LA","RA","2021-02-01 10:00:00","deposit","currency","ZEUR",100.0,0.0,100.0
"LB","RB","2021-02-01 10:05:00","trade","currency","ZEUR",-50.0,0.1,49.9
""",
    "comments and amounts": """
ID;Type;Time;Comment;Symbol;Amount
513492358;purchase;11.03.2024 10:05:05;OPEN BUY 8 @ 52.20;QAA.UK;-417.60
513492359;deposit;11.03.2024 10:02:05;Deposit;;500
513492360;purchase;14.03.2024 10:05:05;OPEN BUY 8 @ 52.20;QAA.UK;-417.60
""",
    "in another language": """
Datum,Tijd,Valutadatum,Product,ISIN,Omschrijving,FX,Mutatie,Saldo
14-03-2024,10:05,14-03-2024,QAA INC,US0378331005,DEGIRO Transactiekosten,,"-1,00","500,25"
15-03-2024,10:05,15-03-2024,QAA INC,US0378331005,Koop,,"-3,00","497,25"
""",
    "sent and received": """
Date,Sent Amount,Sent Currency,Received Amount,Received Currency,Fee Amount,Label,TxHash
2024-03-14 10:00:00 UTC,100,EUR,0.002,QTC,0.1,,
2024-03-15 10:00:00 UTC,0.002,QTC,110,EUR,0.1,,
""",
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"an account's statement.*no column is a price") as refused:
        open_text(tmp_path, STATEMENTS[kind])
    assert "executions" in refused.value.hint


OTHER_TABLES = {
    "a derivative's ticker": """
time,symbol,markPrice,indexPrice,lastPrice,fundingRate,openInterest
2024-03-05T14:30:00Z,QTC-PERP,63000.1,63001.0,63000.0,0.0001,5400.1
2024-03-05T14:31:00Z,QTC-PERP,63010.1,63011.0,63010.0,0.0001,5401.2
""",
    "a derivative's ticker ": """
exchange,symbol,timestamp,funding_rate,open_interest,last_price,index_price,mark_price
deribit,QTC-PERP,1583020803145000,,84129491,8624.5,8623.4,8624.41
deribit,QTC-PERP,1583020804145000,,84129491,8624.5,8623.4,8624.41
""",
    "closed positions": """
Position;Symbol;Type;Volume;Open time;Open price;Close time;Close price;Commission;Gross P/L
1;QAA.US;BUY;2;11.03.2024 10:05:05;52.2;14.03.2024 10:05:05;54.2;0;4
2;QAA.US;BUY;2;12.03.2024 10:05:05;52.2;14.03.2024 10:05:05;54.2;0;4
""",
    "closed positions ": """
Size,EntryBar,ExitBar,EntryPrice,ExitPrice,PnL,EntryTime,ExitTime
10,1,5,10.5,11.5,10,2024-03-14 10:05:00,2024-03-14 12:05:00
10,6,9,10.5,11.5,10,2024-03-15 10:05:00,2024-03-15 12:05:00
""",
    "an account's holdings": """
time,symbol,quantity,avg cost,last price,market value,unrealized P/L
2024-03-14 10:00:00,QAA,10,10.5,10.6,106,1
2024-03-14 10:00:00,QBB,10,20.5,20.6,206,1
""",
    "fundamentals": """
fiscalDateEnding,reportedCurrency,totalRevenue,netIncome,eps
2023-12-31,USD,1000,100,1.5
2022-12-31,USD,900,90,1.4
""",
    "corporate actions": """
Ex-Date,Record Date,Pay Date,Dividend,Symbol
2024-02-09,2024-02-12,2024-02-15,0.24,QAA
2024-05-09,2024-05-12,2024-05-15,0.24,QAA
""",
    "an economic calendar": """
Date,Time,Currency,Impact,Event,Actual,Forecast,Previous
2024-01-05,13:30,USD,High,Non-Farm,216,170,173
2024-01-05,13:30,USD,High,Rate,3.7,3.8,3.7
""",
    "news": """
published_at,headline,url,sentiment_score
2024-01-05 13:30:00,Q,https://x,0.25
2024-01-06 13:30:00,Q,https://x,0.15
""",
    "orders, not executions": """
time,order_id,symbol,side,type,limit price,quantity,time in force
2024-03-14 10:00:00,1,QAA,buy,LIMIT,10.5,100,DAY
2024-03-14 10:01:00,2,QAA,buy,LIMIT,10.4,100,DAY
""",
    "an order book": """
symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu
QTC,1704067200000,1,1,b,snap,42000.1,0.5,-1
QTC,1704067200000,1,1,a,snap,42000.3,0.5,-1
""",
    "an order book ": """
time,symbol,side,level,price,size
2024-01-02T14:30:00.000Z,QAA,bid,1,100.00,500
2024-01-02T14:30:00.000Z,QAA,bid,2,99.99,700
2024-01-02T14:30:00.000Z,QAA,ask,1,100.01,300
2024-01-02T14:30:00.000Z,QAA,ask,2,100.02,900
""",
    "an order book  ": """
timestamp,symbol,id,side,size,price
2024-01-02T14:30:00.000Z,XQTUSD,88,Sell,100,42001.5
2024-01-02T14:30:00.000Z,XQTUSD,89,Sell,200,42001.0
2024-01-02T14:30:00.000Z,XQTUSD,90,Buy,300,42000.5
2024-01-02T14:30:00.000Z,XQTUSD,91,Buy,400,42000.0
2024-01-02T14:31:00.000Z,XQTUSD,89,Sell,200,42001.0
2024-01-02T14:31:00.000Z,XQTUSD,90,Buy,300,42000.5
""",
    "an order book   ": """
time,side,price,size
2024-01-02T14:30:00.100Z,bid,100.00,500
2024-01-02T14:30:00.200Z,ask,100.02,0
2024-01-02T14:30:00.300Z,bid,99.99,700
2024-01-02T14:30:00.400Z,ask,100.03,100
2024-01-02T14:30:00.500Z,bid,100.00,0
""",
    "an order book    ": """
ts_event,instrument_id,action,side,price,size,order_id,symbol
1704067200000000000,1,A,B,100000000000,100,647,QAA
1704067200000000001,1,C,A,100010000000,100,648,QAA
1704067200000000002,1,T,A,100010000000,100,0,QAA
""",
}


@pytest.mark.parametrize("kind", OTHER_TABLES)
def test_another_table_is_refused_for_what_it_is(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=f"QAA.csv holds {kind.strip()}") as refused:
        open_text(tmp_path, OTHER_TABLES[kind])
    assert refused.value.hint


def test_kinds_name_words_shapes_and_remedies_that_exist() -> None:
    kinds = other_tables()["tables"]
    assert all("names" in kind or "shape" in kind for kind in kinds)
    assert {kind["shape"] for kind in kinds if "shape" in kind} == set(SHAPES)
    assert {kind["remedy"] for kind in kinds} == set(other_tables()["remedies"])
    groups = {kind[key] for kind in kinds for key in ("names", "also") if key in kind}
    assert groups <= set(other_tables()["names"])
    facts = {fact for kind in kinds for fact in kind.get("without", "").split()}
    cells = [ColumnSample(["1", "2"])] * 7
    names = ["open", "high", "low", "close", "bid", "ask", "trade id"]
    all_facts = Table("", names, cells).facts | Table("", ["price", "size", "filled qty"], cells[:3]).facts
    assert facts == all_facts
    stages = {stage for kind in kinds for stage in kind.get("stage", "header").split()}
    assert stages == {"header", "read", "unread"}


TRANSACTIONS_BY_DATE = {
    "dates": """
"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"
"03/14/2024","Buy","QAA","QAA INC","10","$10.50","","-$105.00"
"03/15/2024","Sell","QAA","QAA INC","10","$10.60","$0.01","$105.99"
"03/15/2024","Cash Dividend","QAA","QAA INC","","","","$5.99"
""",
    "midnight": """
Transaction Date,Action,Symbol,Quantity,Price,Commission,Net Amount,Currency
2024-03-14 12:00:00 AM,Buy,QAA,10,10.5,-4.95,-109.95,CAD
2024-03-15 12:00:00 AM,Sell,QAA,-10,10.6,-4.95,101.05,CAD
""",
}


@pytest.mark.parametrize("kind", TRANSACTIONS_BY_DATE)
def test_transactions_without_a_time_of_day_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="no time of day"):
        open_text(tmp_path, TRANSACTIONS_BY_DATE[kind])


ORDERS_NOT_UNDERSTOOD = {
    "several rows for one order": """
time,order_id,event,symbol,side,price,quantity
2024-03-14 10:00:00,1,NEW,QAA,buy,10.5,100
2024-03-14 10:00:01,1,FILL,QAA,buy,10.5,60
2024-03-14 10:00:02,1,FILL,QAA,buy,10.5,40
""",
    "it is not clear whether 0, 2": """
TransactTime,ClOrdID,Symbol,Side,Price,OrderQty,OrdStatus
2024-03-14 10:00:00,1,QAA,1,10.5,100,0
2024-03-14 10:01:00,2,QAA,1,10.5,100,2
""",
    "it is not clear whether foo, quux": """
Time,Symbol,Side,Price,Quantity,Durum
2024-03-05T14:30:00Z,QAA,BUY,100.00,50,foo
2024-03-05T14:31:00Z,QAA,SELL,100.05,50,quux
""",
    "no column is known to be the executed quantity": """
Time,Symbol,Side,Price,Quantity,Order Status
2024-03-05T14:30:00Z,QAA,BUY,100.00,50,PARTIALLY_FILLED
2024-03-05T14:31:00Z,QAA,BUY,100.05,50,FILLED
""",
    "none of them executed": """
Time,Symbol,Side,Price,Quantity,State
2024-03-05T14:30:00Z,QAA,BUY,100.00,50,Cancelled
2024-03-05T14:31:00Z,QAA,BUY,100.05,50,Working
""",
    "whether corporate thing is an execution": """
time,type,symbol,price,quantity
2024-03-05T14:30:00Z,buy,QAA,100.00,50
2024-03-05T14:31:00Z,dividend,QAA,0.25,50
2024-03-05T14:32:00Z,Corporate Thing,QAA,0.25,50
""",
}


@pytest.mark.parametrize("message", ORDERS_NOT_UNDERSTOOD)
def test_a_log_that_is_not_understood_is_refused(tmp_path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        open_text(tmp_path, ORDERS_NOT_UNDERSTOOD[message])
    assert "--columns" in refused.value.hint


def test_of_an_order_log_only_executions_are_read(tmp_path: Path) -> None:
    source = open_text(
        tmp_path,
        """
Time,Symbol,Side,Price,Quantity,Order Status
2024-03-05T14:30:00Z,QAA,BUY,100.00,50,CANCELLED
2024-03-05T14:31:00Z,QAA,BUY,100.05,50,FILLED
2024-03-05T14:40:00Z,QAA,SELL,101.00,50,OPEN
2024-03-05T14:45:00Z,QAA,SELL,100.90,50,REJECTED
2024-03-05T14:46:00Z,QAA,SELL,100.80,50,FILLED
""",
    )
    assert trades(source) == [("QAA", "100.05", "50"), ("QAA", "100.8", "50")]
    assert reasons(source) == {2: "not_executed", 4: "not_executed", 5: "not_executed"}
    assert sides(source) == ["none", "none"]
    assert any("the price of the order is used" in warning for warning in source.warnings)


def test_what_was_executed_outweighs_what_was_ordered(tmp_path: Path) -> None:
    source = open_text(
        tmp_path,
        """
OrderNo,Pair,Type,Side,Order Price,Order Amount,Time (UTC),Executed,Average Price,Status
1,QENUSDT,Limit,BUY,200.5,0.17QEN,2021-02-01 10:00:00,0.17QEN,200.4,FILLED
2,QENUSDT,Limit,BUY,190.5,0.17QEN,2021-02-01 11:00:00,0QEN,0,CANCELED
3,QENUSDT,Limit,SELL,210.5,0.34QEN,2021-02-01 12:00:00,0.15QEN,210.6,PARTIALLY_FILLED
""",
    )
    assert trades(source) == [("QENUSDT", "200.4", "0.17"), ("QENUSDT", "210.6", "0.15")]
    assert source.warnings == []


def test_sections_of_a_report_are_told_apart(tmp_path: Path) -> None:
    source = open_text(
        tmp_path,
        """
Statement,Header,Field Name,Field Value
Statement,Data,Title,Activity Statement
Account Information,Header,Field Name,Field Value
Account Information,Data,Name,Jane Doe
Open Positions,Header,DataDiscriminator,Category,Currency,Symbol,Quantity,Mult,Cost Price,Basis,Value
Open Positions,Data,Summary,Stocks,USD,QAA,50,1,10.5,525,550
Trades,Header,DataDiscriminator,Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Basis,Comm/Fee
Trades,Data,Order,Stocks,USD,QAA,"2021-01-04, 10:00:00",100,10.5,10.6,-1050,-1
Trades,Data,ClosedLot,Stocks,USD,QAA,"2021-01-04, 10:00:00",100,10.5,,-1050,-1
Trades,Header,DataDiscriminator,Category,Currency,Symbol,Date/Time,Quantity,T. Price,,Basis,Comm in EUR
Trades,Data,Order,Forex,USD,EUR.USD,"2021-01-05, 12:00:00","-1,500",1.0925,,1638.75,-2
Dividends,Header,Currency,Date,Description,Amount
Dividends,Data,USD,2021-02-01,QAA Cash Dividend,12.5
""",
    )
    assert trades(source) == [("QAA", "10.5", "100"), ("EUR.USD", "1.0925", "1500")]
    assert {9: "not_executed", 10: "not_executed"}.items() <= reasons(source).items()


def test_several_fills_of_an_order_keep_their_own_sizes(tmp_path: Path) -> None:
    text = """
id,activity_type,transaction_time,type,price,qty,side,symbol,leaves_qty,order_id,cum_qty
a1,FILL,2021-01-04T15:00:00.123Z,fill,10.5,10,buy,QAA,0,o1,10
a2,FILL,2021-01-05T15:00:00.123Z,partial_fill,10.6,4,sell,QAA,6,o2,4
a3,FILL,2021-01-05T15:00:01.123Z,fill,10.61,6,sell,QAA,0,o2,10
"""
    assert trades(open_text(tmp_path, text)) == [
        ("QAA", "10.5", "10"),
        ("QAA", "10.6", "4"),
        ("QAA", "10.61", "6"),
    ]


ACCOUNTS = {
    "kinds of rows": (
        """
Action,Time,ISIN,Ticker,No. of shares,Price / share,Currency (Price / share),Total,ID
Market buy,2024-01-10 14:30:02,US0378331005,QAA,10,185.50,USD,1855.00,EOF1
Deposit,2024-01-11 14:30:02,,,,,,500.00,EOF2
Limit sell,2024-01-12 14:30:02.123,US0378331005,QBB,4.5,190.25,USD,856.125,EOF3
Dividend (Dividend),2024-01-13 14:30:02,US0378331005,QAA,10,0.25,USD,2.5,
""",
        [("QAA", "185.5", "10"), ("QBB", "190.25", "4.5")],
        {3: "not_executed", 5: "not_executed"},
    ),
    "a price on every row": (
        """
Timestamp,Transaction Type,Asset,Quantity Transacted,Price Currency,Price at Transaction,Subtotal,Fee
2021-02-01T10:00:00Z,Buy,QBT,0.01,EUR,30000.00,300.00,4.49
2021-02-02T10:00:00Z,Receive,QBT,0.02,EUR,31000.00,,
2021-02-03T10:00:00Z,Sell,QET,1,EUR,1500.00,1500.00,9.99
2021-02-04T10:00:00Z,Rewards Income,QGO,3,EUR,1.20,3.6,0
""",
        [("QBT", "30000", "0.01"), ("QET", "1500", "1")],
        {3: "not_executed", 5: "not_executed"},
    ),
    "sections": (
        """
Statement,Header,Field Name,Field Value
Statement,Data,Title,Activity Statement
Trades,Header,DataDiscriminator,Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Basis,Comm/Fee
Trades,Data,Order,Stocks,USD,QAA,"2021-01-04, 10:00:00",100,10.5,10.6,-1050,-1
Trades,Data,Order,Stocks,USD,QAA,"2021-01-14, 11:00:00",-50,11.5,11.6,575,-1
Trades,SubTotal,,Stocks,USD,QAA,,50,,,-475,-2
Trades,Data,Order,Stocks,USD,QBB,"2021-01-15, 10:00:00","1,000",10.25,10.6,-10250,-1
Trades,Total,,Stocks,USD,,,,,,-10725,-3
""",
        [("QAA", "10.5", "100"), ("QAA", "11.5", "50"), ("QBB", "10.25", "1000")],
        {6: "not_executed", 8: "not_executed"},
    ),
    "states of a position beside executions": (
        """
ID,Date,Instrument,Type,Side,Size,Position,Price,Mark Price,Index Price,Change,Cash Flow,Balance,Trade ID
1,2024-01-02 10:00:01,QTC-PERPETUAL,trade,open buy,100,100,42000.5,42001,42002,-0.1,0,1.0,T1
2,2024-01-02 12:00:00,QTC,deposit,-,,,,,,1.0,0,2.0,
3,2024-01-02 13:00:00,QTC-PERPETUAL,settlement,long,100,100,42100.5,42101,42102,0.1,0.1,2.0,
""",
        [("QTC-PERPETUAL", "42000.5", "100")],
        {3: "not_executed", 4: "not_executed"},
    ),
    "a total called price": (
        """
Uuid,Symbol,TimeStamp,OrderType,Limit,Quantity,QuantityRemaining,Commission,Price,PricePerUnit
a-1,QBB,3/14/2021 10:05:05 AM,LIMIT_BUY,0.02,10,0,0.0005,0.2,0.02
a-2,QBB,3/15/2021 10:05:05 AM,LIMIT_SELL,0.03,10,0,0.0005,0.3,0.03
""",
        [("QBB", "0.02", "10"), ("QBB", "0.03", "10")],
        {},
    ),
    "a time beside a date": (
        """
symbol,isin,trade_date,exchange,trade_type,quantity,price,trade_id,order_id,order_execution_time
QAA,INE000A01018,2025-09-22,NSE,buy,75,100.5,1001,9001,2025-09-22T09:31:10
QAA,INE000A01018,2025-09-23,NSE,sell,75,130,1002,9002,2025-09-23T10:05:00
""",
        [("QAA", "100.5", "75"), ("QAA", "130", "75")],
        {},
    ),
}


@pytest.mark.parametrize("kind", ACCOUNTS)
def test_the_executions_of_an_account_are_read(tmp_path: Path, kind: str) -> None:
    text, expected, rejected = ACCOUNTS[kind]
    source = open_text(tmp_path, text)
    assert trades(source) == expected
    assert reasons(source) == rejected
    assert set(sides(source)) == {"none"}


def test_a_sale_with_a_negative_quantity_keeps_its_sign_under_extra(tmp_path: Path) -> None:
    source = open_text(
        tmp_path,
        """
Date/Time,Symbol,Quantity,Price,Commission
2024-01-28 12:31:00,QAA,100,100.5,-1
2024-01-28 12:32:00,QAA,-70,100.6,-1
2024-01-28 12:33:00,QAA,0,100.6,-1
""",
    )
    assert trades(source) == [("QAA", "100.5", "100"), ("QAA", "100.6", "70")]
    assert reasons(source) == {4: "size_zero"}
    records = pl.concat(batch.records for batch in source.batches())
    assert [json.loads(extra)["Quantity"] for extra in records["extra"]] == ["100", "-70"]


def test_one_negative_size_among_public_trades_is_an_error(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-28T12:31:{k:02}Z,QAA,100.5,{-5 if k == 7 else 5}\n" for k in range(20))
    source = open_text(tmp_path, "time,symbol,price,size\n" + rows)
    assert reasons(source) == {9: "volume_negative"}


MARKET_DATA = {
    "time and sales with the orders of both sides": (
        "trade",
        """
id,side,price,size,exec_date,buy_order_id,sell_order_id
1,BUY,100.5,0.5,2024-01-02T10:00:00Z,A1,B1
2,SELL,100.4,0.1,2024-01-02T10:00:01Z,A2,B2
""",
    ),
    "trades with a state of the market": (
        "trade",
        """
time,symbol,side,price,size,status
2024-01-02T10:00:00Z,QAA,buy,100.5,10,regular
2024-01-02T10:00:01Z,QAA,sell,100.4,10,regular
""",
    ),
    "trades with mark and index": (
        "trade",
        """
trade_seq,trade_id,timestamp,tick_direction,price,mark_price,index_price,instrument_name,direction,amount
1,a1,1704067200123,1,42000.5,42001,42002.1,QTC-PERPETUAL,buy,100
2,a2,1704067201123,1,42001.5,42001,42002.1,QTC-PERPETUAL,sell,200
""",
    ),
    "trades whose sides are bid and ask": (
        "trade",
        """
time,symbol,side,price,size
2024-01-02T14:30:00.100Z,QAA,bid,100.02,500
2024-01-02T14:30:00.200Z,QAA,ask,100.00,100
2024-01-02T14:30:00.300Z,QAA,bid,100.02,700
2024-01-02T14:30:00.400Z,QAA,ask,100.00,100
""",
    ),
    "trades with the action of an order book": (
        "trade",
        """
ts_event,rtype,publisher_id,instrument_id,action,side,depth,price,size,symbol
1704067200000000000,0,2,1,T,B,0,100000000000,100,QAA
1704067200000000001,0,2,1,T,A,0,100010000000,100,QAA
""",
    ),
    "quotes with an open interest": (
        "quote",
        """
timestamp,symbol,bid_price,bid_amount,ask_price,ask_amount,mark_price,index_price,open_interest
1704067200123,QTC-PERP,42000,1,42001,2,42000.5,42000.6,1000
1704067201123,QTC-PERP,42000,1,42001,2,42000.5,42000.6,1000
""",
    ),
    "bars with funding, an id and counts": (
        "bar",
        """
id,open_time,open,high,low,close,volume,close_time,count,trades,open_interest,funding_rate,status,level
1,1704067200000,100,101,99,100.5,10,1704067259999,15,15,5,0.1,new,1
2,1704067260000,100.5,101,99,100.6,10,1704067319999,15,15,5,0.1,new,2
3,1704067320000,100.6,101,99,100.7,10,1704067379999,15,15,5,0.1,new,3
""",
    ),
    "bars with dividends and splits": (
        "bar",
        """
Date,Open,High,Low,Close,Volume,Dividends,Stock Splits
2024-01-02,100,101,99,100.5,10,0,0
2024-01-03,100,101,99,100.5,10,0.2,0
""",
    ),
}


@pytest.mark.parametrize("kind", MARKET_DATA)
def test_market_data_with_such_columns_is_read(tmp_path: Path, kind: str) -> None:
    record_type, text = MARKET_DATA[kind]
    source = open_text(tmp_path, text)
    assert source.record_type == f"{record_type}.v1"
    assert sum(batch.records.height for batch in source.batches()) == len(text.strip().splitlines()) - 1
    if record_type == "trade":
        assert sorted(set(sides(source))) == ["buy", "sell"]


def test_naming_the_columns_overrules_what_a_table_looks_like(tmp_path: Path) -> None:
    text = "time,side,price,size\n2024-01-02T14:30:00Z,bid,100.00,500\n2024-01-02T14:30:01Z,ask,100.02,7\n"
    with pytest.raises(DataError, match="order book"):
        open_text(tmp_path, text)
    named = open_text(tmp_path, text, parse_options(columns="time,side,price,size"))
    assert trades(named) == [("QAA", "100", "500"), ("QAA", "100.02", "7")]


# ----------------------------------------------------------------------------------------- values and names


NOT_PRICES = {
    "sensors": "time,temp,humidity\n{}",
    "equity": "time,equity,cash\n{}",
    "ids": "time,user_id,quantity\n{}",
    "fees": "time,fee,shares\n{}",
}


@pytest.mark.parametrize("kind", NOT_PRICES)
def test_a_column_never_becomes_a_price_against_its_name(tmp_path: Path, kind: str) -> None:
    rows = [f"2024-01-02T10:00:0{k}Z,{1000 + k % 3 / 10},{(7 * k) % 10 * 40 + 20}" for k in range(9)]
    with pytest.raises(DataError):
        open_text(tmp_path, NOT_PRICES[kind].format("\n".join(rows)))
    unknown = open_text(tmp_path, "time,foo,bar\n" + "\n".join(rows))
    assert trades(unknown)[0] == ("QAA", "1000", "20")
    assert any("no name says which column is the price" in warning for warning in unknown.warnings)


def test_a_constant_never_becomes_a_price_by_value(tmp_path: Path) -> None:
    rows = "\n".join(f"2024-01-02T10:00:0{k}Z,31337,{(7 * k) % 10 * 40 + 20}" for k in range(9))
    with pytest.raises(DataError):
        open_text(tmp_path, f"time,foo,bar\n{rows}")
    with pytest.raises(DataError):
        open_text(tmp_path, rows)


def test_ticks_whose_price_is_called_value(tmp_path: Path) -> None:
    prices = ("184.1", "184.12", "184.11", "184.15", "184.14", "184.13", "184.12")
    sizes = (100, 2500, 30, 400, 100, 1500, 200)
    rows = [f"2018-07-02 13:30:0{k}.071,{p},{s}" for k, (p, s) in enumerate(zip(prices, sizes, strict=True))]
    source = open_text(tmp_path, "Date,VALUE,VOLUME\n" + "\n".join(rows))
    assert trades(source) == [("QAA", p, str(s)) for p, s in zip(prices, sizes, strict=True)]
    turnover = [
        f"2018-07-02 13:30:0{k},{float(p) * s:.2f},{s}"
        for k, (p, s) in enumerate(zip(prices, sizes, strict=True))
    ]
    with pytest.raises(DataError):
        open_text(tmp_path, "Date,VALUE,VOLUME\n" + "\n".join(turnover))


# -------------------------------------------------------------------------------------------- money and sizes


MONEY = {
    "amount and shares": ("price,amount,shares", "28.03,560.60,20", "28.04,1402.00,50"),
    "total and qty": ("price,total,qty", "28.03,560.60,20", "28.04,1402.00,50"),
    "volume and quantity": ("price,volume,quantity", "28.03,560.60,20", "28.04,1402.00,50"),
    "amount and value": ("rate,amount,value", "28.03,20,560.60", "28.04,50,1402.00"),
    "volume and amount": ("price,volume,amount", "28.03,20,560.60", "28.04,50,1402.00"),
    "size and amount": ("price,size,amount", "28.03,560.60,20", "28.04,1402.00,50"),
    "with fees": ("price,amount,quantity,commission", "28.03,561.60,20,1", "28.04,1403.00,50,1"),
    "near one": ("price,amount,quote qty", "1.0803,20,21.606", "1.0804,50,54.02"),
    "negative money": ("price,amount,cost,fee", "28.03,20,-560.60,1", "28.04,50,-1402.00,1"),
    "unknown words": ("price,foo,bar", "28.03,560.60,20", "28.04,1402.00,50"),
}


@pytest.mark.parametrize("kind", MONEY)
def test_sizes_are_told_from_money_by_the_product(tmp_path: Path, kind: str) -> None:
    names, *rows = MONEY[kind]
    if kind == "unknown words":
        rows.append("28.02,280.20,10")
    lines = [f"2024-08-02T14:30:0{k}Z,{row}" for k, row in enumerate(rows)]
    source = open_text(tmp_path, "\n".join([f"time,{names}", *lines]))
    assert [size for _, _, size in trades(source)][:2] == ["20", "50"]


def test_money_and_sizes_that_cannot_be_told_apart_are_asked_for(tmp_path: Path) -> None:
    rows = "2024-08-02T14:30:00Z,28.03,561,1200\n2024-08-02T14:30:01Z,28.04,1403,1250\n"
    text = f"time,price,amount,volume\n{rows}"
    with pytest.raises(DataError, match="amount and volume may be the size") as asked:
        open_text(tmp_path, text)
    assert "--columns" in asked.value.hint
    named = open_text(tmp_path, text, parse_options(columns="time,price,,size"))
    assert [size for _, _, size in trades(named)] == ["1200", "1250"]


def test_contracts_of_a_value_in_money_keep_their_size(tmp_path: Path) -> None:
    text = (
        "timestamp,side,size,price,homeNotional,foreignNotional\n"
        "2024-08-02T14:30:00Z,Buy,100,40000,0.0025,100\n2024-08-02T14:30:01Z,Sell,300,40000,0.0075,300\n"
    )
    assert [size for _, _, size in trades(open_text(tmp_path, text))] == ["100", "300"]


# --------------------------------------------------------------------------------------------------- units


UNITS = {
    "behind a space": ("{} QTH", "QTHEUR"),
    "without a space": ("{}QTH", "QTHEUR"),
    "in words": ("{} shares", "QTHEUR"),
    "in lower case": ("{} qth", "QTH-EUR"),
}


@pytest.mark.parametrize("kind", UNITS)
def test_sizes_with_a_unit(tmp_path: Path, kind: str) -> None:
    form, pair = UNITS[kind]
    sizes = ("1.00000000", "0.50000000", "2.00000000")
    lines = [f"2024-01-28 12:31:0{k},{pair},{form.format(s)},2214.01 EUR" for k, s in enumerate(sizes)]
    source = open_text(tmp_path, "\n".join(["Datetime,Pair,Amount,Rate", *lines]))
    assert trades(source) == [(pair, "2214.01", size) for size in ("1", "0.5", "2")]


def test_the_unit_is_that_of_the_row(tmp_path: Path) -> None:
    rows = [("QTHEUR", "QTH")] * 5 + [("QTBEUR", "QTB"), ("QTBEUR", "QTH")]
    lines = [f"2024-01-28 12:31:0{k},{pair},{k + 1} {unit},2214.01" for k, (pair, unit) in enumerate(rows)]
    source = open_text(tmp_path, "\n".join(["Datetime,Pair,Amount,Rate", *lines]))
    assert [size for _, _, size in trades(source)] == ["1", "2", "3", "4", "5", "6"]
    assert reasons(source) == {8: "unparsable_number"}


def test_several_units_without_a_symbol_are_refused(tmp_path: Path) -> None:
    text = "time,price,size\n2024-01-28 12:31:00,100.5,0.5 BTC\n2024-01-28 12:32:00,2100.5,1.5 ETH\n"
    with pytest.raises(DataError, match=r"several units \(BTC, ETH\)"):
        open_text(tmp_path, text)


def test_volumes_of_bars_may_have_a_unit(tmp_path: Path) -> None:
    rows = "".join(f'2024-01-0{day},10,12,9,11,"1,{day}00 shares"\n' for day in range(2, 6))
    source = open_text(tmp_path, "Date,Open,High,Low,Close,Volume\n" + rows)
    records = pl.concat(batch.records for batch in source.batches())
    assert records["volume"].to_list() == [Decimal(1000 + day * 100) for day in range(2, 6)]


def test_trades_without_a_size_are_warned_about(tmp_path: Path) -> None:
    source = open_text(
        tmp_path, "time,symbol,price\n2024-01-28T12:31:00Z,QAA,100.5\n2024-01-28T12:32:00Z,QAA,1\n"
    )
    assert any("no column is known to be the size" in warning for warning in source.warnings)


def test_prices_of_one_symbol_in_several_currencies_are_warned_about(tmp_path: Path) -> None:
    text = (
        "Date,Action,Symbol,Volume,Price,Currency,Fee\n2021-02-01 10:00:00 +0000,BUY,QTC,0.5,30000,EUR,0.1\n"
        "2021-02-02 10:00:00 +0000,SELL,QTC,0.5,34000,{},0.1\n"
    )
    assert open_text(tmp_path, text.format("EUR")).warnings == []
    warnings = open_text(tmp_path, text.format("USD")).warnings
    assert any(
        "prices of QTC are in several currencies (EUR, USD; column Currency)" in each for each in warnings
    )


# ------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("names", "row", "missing"),
    [
        ("orderRef,symbol,side,price,size", "x,QAA,buy,10.5,3", "date, time"),
        ("time,symbol,quantity,side", "2024-01-28 12:31:00,QAA,10,buy", "price"),
    ],
)
def test_trades_are_asked_for_what_trades_need(tmp_path: Path, names: str, row: str, missing: str) -> None:
    with pytest.raises(DataError, match=f"no column for {missing}") as asked:
        open_text(tmp_path, f"{names}\n{row}\n{row}\n")
    assert "Trades need a date with a time of day" in asked.value.hint
    assert "open" not in f"{asked.value}"


def test_quotes_are_asked_for_what_quotes_need(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column for ask") as asked:
        open_text(tmp_path, "time,symbol,bid\n2024-01-28 12:31:00,QAA,10\n2024-01-28 12:32:00,QAA,10\n")
    assert "Quotes need" in asked.value.hint
