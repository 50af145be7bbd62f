"""The simulated market: a source of trades, the same on every run."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cached_property
from typing import Final

import msgspec
import polars as pl

from tickerlake.model.reject import Reject
from tickerlake.model.schema import DECIMAL, TRADE, polars_schema
from tickerlake.sources.simulator import plan
from tickerlake.sources.simulator.events import Label
from tickerlake.sources.simulator.hours import MARKETS
from tickerlake.sources.simulator.plan import MarketOptions, Session
from tickerlake.sources.simulator.prints import trade_times
from tickerlake.sources.simulator.walk import PriceWalk, is_buy, receive_delay_ns, trade_size
from tickerlake.sources.source import Counts, Fingerprint

_VERSION: Final = 2
"""To be incremented when the same options produce another market."""

_LATER_OPTIONS: Final = ("market", "extended", "gaps", "reversals")
"""Options that an earlier release does not have: without them, a market is the same as there."""


@dataclass(frozen=True)
class TradeBatch:
    """Some trades of a market, by time.

    Parameters
    ----------
    records
        Trades in canonical columns.
    rows_done
        The number of trades from the market's beginning to the end of these.
    labels
        What happened up to the last trade and was not in an earlier batch.
    """

    records: pl.DataFrame
    rows_done: int
    labels: list[Label] = field(default_factory=list)

    @property
    def height(self) -> int:
        """The number of trades: every row is a record."""
        return self.records.height

    @property
    def rejects(self) -> list[Reject]:
        """Always empty."""
        return []

    @property
    def event_ns(self) -> pl.Series:
        """The time of each trade, in nanoseconds since 1970."""
        return self.records.get_column("ts_event_ns").alias("event_ns")

    @property
    def position(self) -> tuple[int]:
        """The number of trades up to the end of this batch."""
        return (self.rows_done,)

    def counts(self) -> dict[int, Counts]:
        """Count the trades; there are no rejects."""
        return {0: Counts(self.records.height, 0)}

    def split(self, max_rows: int) -> Iterator["TradeBatch"]:
        """Yield the trades in batches of ``max_rows``."""
        for start in range(0, self.records.height, max_rows):
            yield self.slice(start, max_rows)

    def slice(self, start: int, length: int) -> "TradeBatch":
        """Return some of the trades, without labels."""
        records = self.records.slice(start, length)
        return TradeBatch(records, self.rows_done - self.records.height + start + records.height)


class Market:
    """Trades of many symbols on the days of a period, from a seed.

    Each symbol's price is a random walk in ticks of a cent (below a dollar, of a hundredth of a cent), more
    volatile when the session opens and closes. Activity follows Zipf's law over the symbols and a U shape
    over the day. Jumps, splits, halts and everything else that happens come with labels.

    Parameters
    ----------
    options
        The parameters of the market.
    """

    def __init__(self, options: MarketOptions | None = None) -> None:
        self.options = options or MarketOptions()
        self._instruments = plan.instruments(self.options)

    @property
    def source(self) -> str:
        """The ``source`` of the records."""
        return f"simulator:seed={self.options.seed}"

    @property
    def rows(self) -> int:
        """The number of trades."""
        return self.options.trades

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Identifies this market by its options."""
        unused = {
            each.name
            for each in fields(self.options)
            if each.name in _LATER_OPTIONS and getattr(self.options, each.name) == each.default
        }
        options = {
            each.name: getattr(self.options, each.name)
            for each in fields(self.options)
            if each.name not in unused
        }
        encoded = msgspec.json.encode([_VERSION, options])
        return Fingerprint(self.source, self.rows, hashlib.blake2b(encoded, digest_size=16).hexdigest())

    @property
    def fingerprints(self) -> tuple[Fingerprint]:
        """The fingerprint of the market."""
        return (self.fingerprint,)

    @property
    def has_conditions(self) -> bool:
        """True if trades have sale conditions."""
        return bool(self.options.market) and MARKETS[self.options.market].conditions is not None

    @property
    def symbols(self) -> list[str]:
        """The symbols, the most active first."""
        return self._instruments.get_column("symbol").to_list()

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[TradeBatch]:
        """Yield the trades from a position on.

        Parameters
        ----------
        start_position
            The ``position`` of an earlier batch; () is the beginning.
        batch_rows
            The trades in one batch, fewer in the last; it does not influence the trades.
        """
        skip, position, labels = sum(start_position), 0, list[Label]()
        buffered = pl.DataFrame()
        for trades, block_labels in self._blocks():
            buffered = pl.concat([buffered, trades]) if buffered.height else trades
            labels += block_labels
            skipped = min(max(0, skip - position), buffered.height)
            buffered, position = buffered.slice(skipped), position + skipped
            while buffered.height >= batch_rows or 0 < buffered.height == self.rows - position:
                part, buffered = buffered.head(batch_rows), buffered.slice(batch_rows)
                position += part.height
                until_ns = part["ts_event_ns"][-1] if position < self.rows else None
                due = [label for label in labels if until_ns is None or label.ts_event_ns <= until_ns]
                labels = labels[len(due) :]
                yield TradeBatch(self._records(part, position - part.height), position, due)

    @property
    def first_day(self) -> date:
        """The first day on which the market is open."""
        return next(plan.days(self.options)).date

    @property
    def last_day(self) -> date:
        """The last day on which the market is open."""
        return list(plan.days(self.options))[-1].date

    def time_span_ns(self) -> tuple[int, int]:
        """Return the times of the first and the last trade, in nanoseconds since 1970."""
        active = [session for session in plan.sessions(self.options) if any(session.counts)]
        first = next(minute for minute, count in enumerate(active[0].counts) if count)
        last = max(minute for minute, count in enumerate(active[-1].counts) if count)
        return self._trade_times(active[0], first)[0], self._trade_times(active[-1], last)[-1]

    def labels(self) -> Iterator[list[Label]]:
        """Yield all labels by time, which takes as long as generating the trades."""
        for _, labels in self._blocks():
            yield labels

    def _blocks(self) -> Iterator[tuple[pl.DataFrame, list[Label]]]:
        walk = PriceWalk(self.options, self._instruments)
        for session in plan.sessions(self.options):
            yield from walk.simulate_day(session)

    def _trade_times(self, session: Session, minute: int) -> pl.Series:
        first, count = session.first_trade + sum(session.counts[:minute]), session.counts[minute]
        n = pl.int_range(first, first + count, eager=True)
        minutes = pl.repeat(minute, count, dtype=pl.Int64, eager=True)
        return trade_times(self.options, session, minutes, n).get_column("ts_event_ns")

    def _records(self, trades: pl.DataFrame, before: int) -> pl.DataFrame:
        """Return trades in canonical columns; a trade's id is its number in the market."""
        drawn, number = pl.col("drawn"), pl.col("number")
        ticks = pl.col("units").cast(pl.Decimal(38, 0)) * pl.lit(plan.UNIT_PRICE)
        columns = {
            "schema": pl.lit(TRADE),
            "instrument_id": pl.lit(self._instruments.get_column("instrument_id")).gather(number),
            "symbol": pl.lit(self._instruments.get_column("symbol")).gather(number),
            "ts_event_ns": pl.col("ts_event_ns"),
            "ts_recv_ns": pl.col("ts_event_ns") + receive_delay_ns(drawn),
            "price": ticks.cast(DECIMAL),
            "size": (pl.col("shares") if self.options.market else trade_size(drawn)).cast(DECIMAL),
            "aggressor_side": pl.when(is_buy(drawn)).then(pl.lit("buy")).otherwise(pl.lit("sell")),
            "trade_id": pl.int_range(before + 1, before + 1 + trades.height).cast(pl.String),
            "sequence": pl.col("sequence"),
            **({"conditions": pl.col("conditions")} if self.options.market else {}),
            "correction": pl.lit("new"),
            "source": pl.lit(self.source),
        }
        schema = polars_schema(TRADE)
        null_columns = {
            name: pl.lit([] if isinstance(dtype, pl.List) else None, dtype=dtype)
            for name, dtype in schema.items()
            if name not in columns
        }
        return trades.select(**columns, **null_columns).select(schema.names())
