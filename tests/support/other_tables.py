"""Tables that look like trades: statements, logs of orders, order books and tickers, in random spellings.

All choices go through one function, so that a property test can shrink them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from support.csv_dialects import HEADER_STYLES

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several options."""

Execution = tuple[str, Decimal, Decimal]
"""Symbol, price and size."""

_STYLES: Final = ("lower", "Title", "UPPER", "snake", "camel", "padded")
_CENT: Final = Decimal("0.01")


@dataclass
class WrittenTable:
    """A table that is not market data, and the executions in it.

    Parameters
    ----------
    kind
        What it is.
    text
        Its lines.
    executions
        The only trades that may be read from it.
    must_read
        True if they must be read; False if the table may be refused.
    """

    kind: str
    text: str
    executions: list[Execution] = field(default_factory=list)
    must_read: bool = False


@dataclass(frozen=True)
class _Trade:
    time: datetime
    symbol: str
    side: str
    price: Decimal
    size: Decimal

    @property
    def money(self) -> Decimal:
        return (self.price * self.size).quantize(_CENT)


def _random_trades(pick: Pick, count: int) -> list[_Trade]:
    random = Random(pick(range(1000)))
    levels = {
        symbol: Decimal(pick([100, 28, 7, 42_000]))
        for symbol in pick([["QAA"], ["QAA", "QBB"], ["QTC-USD", "QTH-USD"]])
    }
    moment = datetime(2024, 3, 5, 14, 30, 0, 123_000, tzinfo=UTC)
    trades = []
    for _ in range(count):
        symbol = random.choice(list(levels))
        levels[symbol] += random.randint(-20, 20) * _CENT
        moment += timedelta(seconds=random.randint(1, 4000))
        size = Decimal(random.randint(2, 900))
        trades.append(_Trade(moment, symbol, random.choice(["buy", "sell"]), levels[symbol], size))
    return trades


def _write(pick: Pick, rows: list[dict[str, str]], names: dict[str, str]) -> str:
    """Return rows in a random order of columns, with a random delimiter and style of names."""
    style = HEADER_STYLES[pick(_STYLES)]
    columns = [column for column in names if any(column in row for row in rows)]
    if pick([False, True]):
        Random(pick(range(1000))).shuffle(columns)
    delimiter = pick([",", ";", "\t"])
    lines = [delimiter.join(style(names[column]) for column in columns)]
    lines += [delimiter.join(row.get(column, "") for column in columns) for row in rows]
    return "\n".join(lines) + "\n"


def _base(trade: _Trade) -> dict[str, str]:
    return {
        "time": trade.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "symbol": trade.symbol,
        "side": trade.side,
        "price": f"{trade.price}",
        "size": f"{trade.size}",
    }


def _names(pick: Pick) -> dict[str, str]:
    return {
        "time": pick(["time", "timestamp", "datetime", "date time", "utc time"]),
        "symbol": pick(["symbol", "ticker", "instrument", "pair"]),
        "side": pick(["side", "direction", "buy/sell"]),
        "price": pick(["price", "rate", "px"]),
        "size": pick(["quantity", "qty", "size", "shares"]),
    }


COUNTS: Final = (5, 2, 3, 8, 20)


def write_statement(pick: Pick) -> WrittenTable:
    """Write an account's statement: changes of assets, without prices."""
    trades = _random_trades(pick, pick(COUNTS))
    kinds = ["Deposit", *pick([["Buy", "Fee", "Sell"], ["Trade", "Withdrawal"], ["Transfer", "Interest"]])]
    random, balance, rows = Random(pick(range(100))), Decimal(1000), []
    constant = pick(["31337", "7001", "1"])
    has_balance = pick([False, True])
    for number, trade in enumerate(trades):
        balance += trade.size
        row = {
            "time": _base(trade)["time"],
            "account": constant,
            "id": str(50_000 + number),
            "kind": kinds[number % len(kinds)],
            "asset": trade.symbol,
            "change": f"{trade.size * random.choice([1, -1])}",
            "fee": f"{random.randint(0, 90) * _CENT}",
        }
        rows.append(row | ({"balance": f"{balance}"} if has_balance else {}))
    names = {
        "account": pick(["user id", "account", "uid", "account number"]),
        "id": pick(["id", "reference", "txid"]),
        "time": pick(["time", "date", "utc time", "timestamp"]),
        "kind": pick(["operation", "type", "transaction type", "activity"]),
        "asset": pick(["asset", "coin", "currency", "symbol"]),
        "change": pick(["change", "amount", "quantity", "net amount"]),
        "balance": pick(["balance", "running balance", "saldo"]),
        "fee": pick(["fee", "commission"]),
    }
    return WrittenTable("statement", _write(pick, rows, names))


def write_order_log(pick: Pick) -> WrittenTable:
    """Write a log of orders: one row for each, or one for each event of it."""
    trades = _random_trades(pick, pick(COUNTS))
    filled, others = pick(
        [
            ("FILLED", ["CANCELLED", "NEW", "REJECTED"]),
            ("Executed", ["Cancelled", "Open"]),
            ("complete", ["pending", "expired"]),
        ]
    )
    has_id, has_executed, has_average = pick([False, True]), pick([False, True]), pick([False, True])
    by_event = has_id and pick([False, True])
    slip, random = pick([Decimal(0), Decimal("0.03")]), Random(pick(range(100)))
    rows, executions = [], []
    for number, trade in enumerate(trades):
        is_filled = number == 0 or random.random() < 0.5
        row = _base(trade) | ({"order": f"A{number}"} if has_id else {})
        if by_event:
            rows.append(row | {"state": others[-1]} | ({"executed": "0"} if has_executed else {}))
        paid = trade.price - slip if has_average else trade.price
        size = trade.size - 1 if has_executed else trade.size
        row["state"] = filled if is_filled else others[number % len(others)]
        if has_executed:
            row["executed"] = f"{size}" if is_filled else "0"
        if has_average:
            row["average"] = f"{paid}" if is_filled else ""
        rows.append(row)
        if is_filled:
            executions.append((trade.symbol, paid, size))
    names = _names(pick) | {
        "order": pick(["order id", "order no", "client order id"]),
        "state": pick(["status", "order status", "state"]),
        "executed": pick(["filled", "executed qty", "filled quantity"]),
        "average": pick(["average price", "avg price", "avg fill price", "filled price"]),
    }
    names["price"] = pick(["price", "limit price", "order price"]) if has_average else "price"
    return WrittenTable("order log", _write(pick, rows, names), executions, must_read=not by_event)


def write_order_book(pick: Pick) -> WrittenTable:
    """Write an order book: some levels of each side at each time."""
    form = pick(["levels", "sides", "ids"])
    bid, ask = pick([("bid", "ask"), ("b", "a")] if form == "levels" else [("bid", "ask"), ("buy", "sell")])
    depth, random, rows = pick([2, 3, 5]), Random(pick(range(100))), []
    for number, trade in enumerate(_random_trades(pick, pick([2, 3, 6]))):
        for level in range(depth):
            for sign, side in ((-1, bid), (1, ask)):
                row = _base(trade) | {
                    "side": side,
                    "price": f"{trade.price + sign * (level + 1) * _CENT}",
                    "size": f"{random.randint(0, 900)}",
                }
                row |= {"level": str(level)} if form == "levels" else {}
                row |= {"update": str(900 + number)} if form == "ids" else {}
                rows.append(row)
    names = _names(pick) | {
        "side": "side",
        "level": pick(["level", "depth", "price level"]),
        "update": pick(["last update id", "first update id"]),
    }
    return WrittenTable("order book", _write(pick, rows, names))


def write_ticker(pick: Pick) -> WrittenTable:
    """Write the states of a derivative."""
    states = pick([["mark", "index"], ["mark", "funding"], ["index", "interest", "funding"]])
    has_volume, rows = pick([False, True]), []
    for trade in _random_trades(pick, pick(COUNTS)):
        base = _base(trade)
        values = {
            "mark": f"{trade.price + _CENT}",
            "index": f"{trade.price - _CENT}",
            "funding": "0.0001",
            "interest": f"{trade.size * 100}",
        }
        row = {"time": base["time"], "symbol": base["symbol"], "last": base["price"]}
        rows.append(
            row
            | {state: values[state] for state in states}
            | ({"volume": base["size"]} if has_volume else {})
        )
    names = _names(pick) | {
        "last": pick(["last price", "last", "price"]),
        "mark": "mark price",
        "index": "index price",
        "funding": pick(["funding rate", "predicted funding rate"]),
        "interest": "open interest",
        "volume": pick(["volume", "volume 24h"]),
    }
    return WrittenTable("ticker", _write(pick, rows, names))


def write_account_log(pick: Pick) -> WrittenTable:
    """Write the executions of an account, perhaps among other rows, with money and fees."""
    has_kinds, has_money, signed = pick([False, True]), pick([False, True]), pick([False, True])
    unit = pick(["", "", " shares"])
    rows, executions = [], []
    for number, trade in enumerate(_random_trades(pick, pick(COUNTS))):
        row = _base(trade) | {"fee": "0.35"}
        if signed and trade.side == "sell":
            row["size"] = f"-{row['size']}"
        row["size"] += unit
        if has_money:
            row["money"] = f"{trade.money}"
        rows.append(row)
        executions.append((trade.symbol, trade.price, trade.size))
        if has_kinds and number % 2 == 0:
            rows.append({"time": row["time"], "side": "deposit", "money": "500.00", "fee": ""})
    names = _names(pick) | {
        "money": pick(["amount", "total", "value", "cost", "proceeds"]),
        "fee": pick(["fee", "commission"]),
    }
    if has_kinds:
        names["side"] = pick(["type", "action", "transaction type"])
    return WrittenTable("account log", _write(pick, rows, names), executions, must_read=True)


WRITERS: Final = (write_statement, write_order_log, write_order_book, write_ticker, write_account_log)
