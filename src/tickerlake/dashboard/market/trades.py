"""Aggregates the trades of a batch to one row per instrument and minute.

A loop over typed records: for the few thousand trades of a tenth of a second it is faster than columns
(measured: 0.46 against 1.2 µs per trade), and everything after it works on one row per instrument.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from tickerlake.analytics.bars import Floats, Ints
from tickerlake.analytics.condition_codes import COUNTS, SETS_PRICE
from tickerlake.analytics.sale_conditions import trade_sets
from tickerlake.analytics.types import EARLIEST_NS
from tickerlake.model.schema import TRADE

MINUTE_NS: Final = 60_000_000_000
_VOID_CORRECTIONS: Final = frozenset({"cancel", "correct"})
_MAX_VALUE: Final = 1e18
"""Beyond any price or size; sums over a session stay finite and readable."""


_NO_CONDITIONS: Final = msgspec.Raw(b"[]")
_MIC_LENGTH: Final = 4


class _Trade(msgspec.Struct, gc=False):
    schema: str
    instrument_id: str
    ts_event_ns: int
    price: float
    size: float
    correction: str | None = None
    conditions: msgspec.Raw = _NO_CONDITIONS


_STRICT_DECODER: Final = msgspec.json.Decoder(_Trade)
_LENIENT_DECODER: Final = msgspec.json.Decoder(_Trade, strict=False)


@dataclass(frozen=True, slots=True)
class AggregatedTrades:
    """The aggregated trades of a batch.

    Parameters
    ----------
    instruments
        Identifier of each row, in the order in which the minutes ended: (n,).
    last_ns
        The latest time of a row's trades, in UTC nanoseconds: (n,).
    prices
        Open, high, low, close and volume: (5, n).
    trades, skipped
        Number of trades, and of records that were skipped.
    """

    instruments: list[str]
    last_ns: Ints
    prices: Floats
    trades: int
    skipped: int


def aggregate_trades(values: Iterable[bytes | None], max_time_ns: int) -> AggregatedTrades:
    """Aggregate trades by instrument and minute.

    A trade that sets no price by its sale conditions adds its volume to those of its minute, if any.

    Parameters
    ----------
    values
        Values of Kafka records.
    max_time_ns
        Later trades are skipped: their clock is wrong.
    """
    running: dict[str, list[float]] = {}
    minutes: dict[str, int] = {}
    times: dict[str, int] = {}
    names: list[str] = []
    rows: list[list[float]] = []
    ends: list[int] = []
    trades = skipped = 0
    decode = _STRICT_DECODER.decode
    for value in values:
        try:
            trade = decode(value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            lenient = _decode_lenient(value)
            if lenient is None:
                skipped += 1
                continue
            trade = lenient
        price, size, at_ns = trade.price, trade.size, trade.ts_event_ns
        usable = 0 < price < _MAX_VALUE and 0 <= size <= _MAX_VALUE and EARLIEST_NS <= at_ns <= max_time_ns
        if not usable or trade.correction in _VOID_CORRECTIONS or trade.schema != TRADE:
            skipped += 1
            continue
        trades += 1
        name, minute = trade.instrument_id, at_ns // MINUTE_NS
        if (codes := bytes(trade.conditions)) != b"[]":
            sets = trade_sets(codes.decode(), name[-_MIC_LENGTH:])
            if not sets & SETS_PRICE:
                if sets & COUNTS and minutes.get(name) == minute:
                    running[name][4] += size
                continue
        if minutes.get(name) != minute:
            if name in running:
                names.append(name)
                rows.append(running[name])
                ends.append(times[name])
            running[name] = [price, price, price, price, size]
            minutes[name], times[name] = minute, at_ns
            continue
        row = running[name]
        if price > row[1]:
            row[1] = price
        elif price < row[2]:
            row[2] = price
        row[3] = price
        row[4] += size
        times[name] = max(times[name], at_ns)
    names += running
    rows += running.values()
    ends += (times[name] for name in running)
    prices = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    return AggregatedTrades(names, np.array(ends, dtype=np.int64), prices, trades, skipped)


def _decode_lenient(value: bytes | None) -> _Trade | None:
    """Decode a trade whose numbers are strings."""
    try:
        return _LENIENT_DECODER.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
