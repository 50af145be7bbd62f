"""Trades, minute by minute: each symbol's price is a random walk with the planned events.

A price is ``base × exp(level)``. The exponential is computed by additions and multiplications, which have the
same results on every machine.
"""

from collections.abc import Iterator
from math import sqrt
from typing import Final

import polars as pl

from tickerlake.model.duration import MINUTE_NS
from tickerlake.sources.simulator import plan, prints
from tickerlake.sources.simulator.draws import (
    SYMBOL_BITS,
    TABLE_BITS,
    bit_field,
    draw_bits,
    normal_quantiles,
    trade_sizes,
)
from tickerlake.sources.simulator.events import (
    LEVEL_SCALE,
    Label,
    auction_labels,
    first_trades_after,
    gap_labels,
    halt_labels,
    hours_label,
    jump_labels,
    off_market_labels,
    sort_labels,
    split_labels,
)
from tickerlake.sources.simulator.plan import UNIT_PRICE, UNITS_PER_DOLLAR, MarketOptions, Session

_BLOCK_TRADES: Final = 65_536
"""Trades that are generated at once: trades throughput against memory."""

_OVERNIGHT_SIGMAS: Final = 0.5
"""Standard deviation of the overnight gap, in those of a day's return."""

_EXTENDED_OVERNIGHT_SIGMAS: Final = 0.35
"""The same between after-hours and pre-market trading, which have the rest."""

_MEAN_REVERSION_DIVISOR: Final = 200
"""Each night a price returns by 1/200 to its base, so that it stays in range over years."""

_UNITS_PER_CENT: Final = UNITS_PER_DOLLAR // 100
_SQUARINGS: Final = 6
_SERIES_TERMS: Final = 10
"""Of the exponential: exp(x) is the series of exp(x / 64), squared six times."""

_MAX_REDRAWS: Final = 2
"""Attempts to find another symbol for a trade of a halted one; then it goes to one that is never halted."""

# positions of the bits of a trade's draw; the lowest bits choose the symbol
_STEP_BIT, _SIZE_BIT, _SIDE_BIT, _DELAY_BIT = SYMBOL_BITS, 36, 52, 53
_DELAY_BITS: Final = 11
_MIN_DELAY_NS: Final = 150_000
_DELAY_UNIT_NS: Final = 500


class PriceWalk:
    """The state of every symbol; generates trades day by day.

    Parameters
    ----------
    options
        The parameters of the market.
    symbols
        From :func:`tickerlake.sources.simulator.plan.instruments`.
    """

    def __init__(self, options: MarketOptions, symbols: pl.DataFrame) -> None:
        self.options = options
        self.symbols = symbols
        self._sigma, self._step = symbols.get_column("sigma"), symbols.get_column("step")
        self._base = symbols.get_column("base")
        self._level = pl.zeros(options.symbols, dtype=pl.Int64, eager=True)
        # a separate series: `scatter` writes in place
        self._sequence = pl.zeros(options.symbols, dtype=pl.Int64, eager=True)
        self._opening_level = self._level.clone()
        self._size_factor = pl.ones(options.symbols, dtype=pl.Float64, eager=True)
        self._surge = self._size_factor.clone()
        self._slots = symbols.select(pl.col("number").repeat_by("slots").explode()).to_series()
        self._pending_splits: dict[int, str] = {}
        self._pending_gaps: dict[int, float] = {}

    def simulate_day(self, session: Session) -> Iterator[tuple[pl.DataFrame, list[Label]]]:
        """Yield the trades of the next day in blocks, by time, and the labels of each.

        Columns: ``number`` of the symbol, ``sequence``, ``ts_event_ns``, ``units`` (the price), ``drawn``; of
        a market also ``shares`` and ``conditions``.
        """
        if session.day:
            self._apply_overnight(session)
        opening, first = self._sequence.clone(), session.first_trade
        self._opening_level = self._level.clone()
        jumps, halts = plan.jumps(self.options, session), plan.halts(self.options, session)
        reversals: dict[int, int] = {}
        for begin, end in _minute_blocks(session.counts):
            minutes = _minute_table(session, begin, end)
            trades = self._trades(minutes, session, first, _halted_minutes(halts, session))
            first += trades.height
            end_ns = session.start_ns + end * MINUTE_NS
            jump_trades, pending = first_trades_after(
                jumps.filter(pl.col("ts_ns") < end_ns), self._on_market(trades.with_row_index("at"))
            )
            jump_trades = self._with_jump_sizes(jump_trades, session, opening, reversals)
            jumps = pl.concat([pending, jumps.filter(pl.col("ts_ns") >= end_ns)])
            started_halts = halts.filter(pl.col("first").is_between(begin, end, closed="left"))
            regular = self._on_market(trades).filter(pl.col("minute") >= session.shape.open)
            labels = [
                *jump_labels(jump_trades, self.symbols),
                *split_labels(trades, self._pending_splits, self.symbols),
                *gap_labels(regular, self._pending_gaps, self.symbols),
                *halt_labels(started_halts, session.start_ns, MINUTE_NS, self.symbols),
            ]
            trades = self._with_prices(trades, session, jump_trades)
            if self.options.market:
                labels += [*self._print_labels(trades), *self._hours_labels(session, begin, end)]
            yield trades, sort_labels(labels)

    def _on_market(self, trades: pl.DataFrame) -> pl.DataFrame:
        """Return the trades at the market's price of their time."""
        return trades.filter(~prints.is_off_market()) if self.options.market else trades

    def _print_labels(self, trades: pl.DataFrame) -> list[Label]:
        """Return the labels of auctions and of prints off the market."""
        auctions = {"opening_auction": prints.Kind.OPENING, "closing_auction": prints.Kind.CLOSING}
        labels = off_market_labels(trades.filter(prints.is_off_market()), self.symbols)
        for name, kind in auctions.items():
            found = trades.filter(pl.col("kind") == int(kind))
            labels += auction_labels(name, found, self.symbols, UNIT_PRICE)
        return labels

    def _hours_labels(self, session: Session, begin: int, end: int) -> list[Label]:
        """Return the labels of the session and the lunch break that begin in these minutes."""
        shape = session.shape
        spans = {"session": (shape.open, shape.close), "break": (shape.break_start, shape.break_end)}
        return [
            hours_label(kind, self.options.market, *(session.start_ns + at * MINUTE_NS for at in span))
            for kind, span in spans.items()
            if begin <= span[0] < end and span[1]
        ]

    def _apply_overnight(self, session: Session) -> None:
        """Apply the overnight gap of every price, and splits."""
        stream = self.options.stream(plan.NIGHTS, session.day)
        drawn = draw_bits(stream, self.symbols.get_column("number"))
        sigmas = _EXTENDED_OVERNIGHT_SIGMAS if self.options.extended else _OVERNIGHT_SIGMAS
        gap = pl.select(_normal_quantile(pl.lit(drawn), 0) * pl.lit(self._sigma) * sigmas)
        # the reversion to the first price keeps a walk of years in range
        self._level = (
            self._level
            - self._level // _MEAN_REVERSION_DIVISOR
            + gap.select(_to_level(pl.first())).to_series()
        )
        prices = _to_units(self._base, self._level) / UNITS_PER_DOLLAR
        for number, new, old in plan.splits(self.options, session, prices.to_list()):
            # before its first trade since the last split, two splits could not be told apart
            if number not in self._pending_splits:
                self._base = self._base.scatter(number, self._base[number] * old / new)
                # the same money buys more of the new shares
                self._size_factor = self._size_factor.scatter(number, self._size_factor[number] * new / old)
                self._pending_splits[number] = f"{new}:{old}"
        self._apply_gaps(session)

    def _apply_gaps(self, session: Session) -> None:
        """Apply the gaps by news, which also bring volume for a day."""
        self._surge = pl.ones(self.options.symbols, dtype=pl.Float64, eager=True)
        for number, gap, surge in plan.gaps(self.options, session).iter_rows():
            # news on the day of a split, or before the first trade since other news, could not be told apart
            if number not in self._pending_splits and number not in self._pending_gaps:
                self._level = self._level.scatter(number, self._level[number] + round(gap * LEVEL_SCALE))
                self._surge = self._surge.scatter(number, surge)
                self._pending_gaps[number] = gap

    def _trades(
        self, minutes: pl.DataFrame, session: Session, first: int, halted_minutes: pl.Series
    ) -> pl.DataFrame:
        """Return the trades of some minutes, without prices."""
        trades = minutes.select(pl.all().repeat_by("count").explode(empty_as_null=False))
        n = pl.int_range(first, first + trades.height, dtype=pl.UInt64, eager=True)
        drawn = draw_bits(self.options.stream(plan.TRADES), n)
        trades = trades.with_columns(
            drawn.alias("drawn"),
            self._draw_symbols(drawn).alias("number"),
            *prints.trade_times(self.options, session, trades["minute"], n).get_columns(),
        )
        trades = self._reassign_halted_trades(trades, session, n, halted_minutes)
        if session.auction_prints:
            trades = trades.with_columns(number=pl.coalesce("auction", "number"))
        if self.options.market:
            trades = trades.with_columns(extra=prints.draw_prints(self.options, n))
            trades = prints.with_kinds(trades, self.options, session)
        before = pl.lit(self._sequence).gather("number")
        return trades.with_columns(sequence=before + 1 + pl.int_range(pl.len()).over("number"))

    def _draw_symbols(self, drawn: pl.Series) -> pl.Series:
        return self._slots.gather(drawn % (1 << SYMBOL_BITS))

    def _reassign_halted_trades(
        self, trades: pl.DataFrame, session: Session, n: pl.Series, halted_minutes: pl.Series
    ) -> pl.DataFrame:
        """Reassign the trades of halted symbols to other symbols."""
        if halted_minutes.is_empty():
            return trades
        cell = pl.col("number").cast(pl.Int64) * session.shape.minutes + pl.col("minute")
        halted = cell.is_in(halted_minutes.implode())
        redrawn = [
            pl.lit(self._draw_symbols(draw_bits(self.options.stream(plan.REDRAWS, attempt), n)))
            for attempt in range(_MAX_REDRAWS)
        ]
        for other in [*redrawn, pl.lit(plan.NEVER_HALTED, dtype=pl.UInt16)]:
            trades = trades.with_columns(number=pl.when(halted).then(other).otherwise("number"))
        return trades

    def _with_jump_sizes(
        self, jump_trades: pl.DataFrame, session: Session, opening: pl.Series, reversals: dict[int, int]
    ) -> pl.DataFrame:
        """Add the change of the level; a jump that a gap or an auction would hide does not happen.

        ``reversals`` are the changes by the first jumps of pairs that have happened, by pair.
        """
        sigma = pl.lit(self._sigma).gather("number") * pl.col("spread_minute")
        step = pl.lit(self._step).gather("number") * pl.col("spread")
        visible = jump_trades.filter(pl.col("sequence") > pl.lit(opening).gather("number") + 1)
        if self.options.market:
            part = session.shape.part((pl.col("ts_ns") - session.start_ns) // MINUTE_NS)
            visible = visible.filter((pl.col("part") == part) & (pl.col("kind") == int(prints.Kind.TRADE)))
        sized = visible.with_columns(jump=_to_level(pl.col("sigmas") * pl.max_horizontal(sigma, step)))
        if not self.options.reversals or sized.is_empty():
            return sized
        pairs = sized.filter(pl.col("pair") > 0).select("pair", "jump")
        reversals |= dict(pairs.iter_rows())
        back = (
            pl.col("pair").neg().replace_strict({0: None, **reversals}, default=None, return_dtype=pl.Int64)
        )
        jump = pl.when(pl.col("pair") < 0).then(-back).otherwise("jump")
        return sized.with_columns(jump=jump).drop_nulls("jump")

    def _with_prices(self, trades: pl.DataFrame, session: Session, jump_trades: pl.DataFrame) -> pl.DataFrame:
        """Return the trades with prices, and set every symbol to its last trade."""
        step = _normal_quantile(pl.col("drawn"), _STEP_BIT) * pl.lit(self._step).gather("number")
        trades = trades.with_columns(step=_to_level(step * pl.col("spread")))
        if not jump_trades.is_empty():
            jumps = trades.get_column("step").gather(jump_trades["at"]) + jump_trades["jump"]
            trades = trades.with_columns(trades.get_column("step").scatter(jump_trades["at"], jumps))
        start = pl.lit(self._level).gather("number")
        trades = trades.with_columns(level=start + pl.col("step").cum_sum().over("number"))
        last = trades.select("number", "level", "sequence").unique("number", keep="last")
        self._level = self._level.scatter(last["number"], last["level"])
        self._sequence = self._sequence.scatter(last["number"], last["sequence"])
        columns = ["number", "sequence", "ts_event_ns", "units", "drawn"]
        if self.options.market:
            trades = self._with_prints(trades, session)
            columns += ["shares", "conditions", "kind", "offset"]
        raw = _to_units(self._base.gather(trades["number"]), trades["level"])
        trades = trades.with_columns(raw.alias("raw")).with_columns(units=_round_to_tick())
        return trades.select(columns)

    def _with_prints(self, trades: pl.DataFrame, session: Session) -> pl.DataFrame:
        """Move the levels of prints that are off the market or outside the session; add sizes, conditions."""
        sigma, opening = (pl.lit(each).gather("number") for each in (self._sigma, self._opening_level))
        factor = pl.lit(self._size_factor * self._surge).gather("number")
        slots = pl.lit(self.symbols.get_column("slots")).gather("number")
        offset = prints.price_offset(session, sigma, opening, is_buy(pl.col("drawn")))
        return (
            trades.with_columns(
                offset=offset, shares=prints.shares(session, trade_size(pl.col("drawn")), slots, factor)
            )
            .with_columns(pl.col("level") + pl.col("offset"))
            .with_columns(
                conditions=prints.sale_conditions(
                    self.options, session, pl.lit(self._size_factor).gather("number")
                )
            )
        )


def trade_size(drawn: pl.Expr) -> pl.Expr:
    """Return the size of a trade in shares."""
    return pl.lit(trade_sizes()).gather(bit_field(drawn, _SIZE_BIT, TABLE_BITS))


def is_buy(drawn: pl.Expr) -> pl.Expr:
    """Return whether the buyer is the aggressor, at the offer; else the seller is, at the bid."""
    return bit_field(drawn, _SIDE_BIT, 1) == 1


def receive_delay_ns(drawn: pl.Expr) -> pl.Expr:
    """Return the delay from a trade to its receipt: 0.15 to 1.2 ms."""
    return _MIN_DELAY_NS + bit_field(drawn, _DELAY_BIT, _DELAY_BITS).cast(pl.Int64) * _DELAY_UNIT_NS


def _minute_blocks(counts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges of minutes, as first and end, of about `_BLOCK_TRADES` trades, which bounds memory."""
    begin, block_trades = 0, 0
    for end, count in enumerate(counts, 1):
        block_trades += count
        if block_trades >= _BLOCK_TRADES or end == len(counts):
            yield begin, end
            begin, block_trades = end, 0


def _minute_table(session: Session, begin: int, end: int) -> pl.DataFrame:
    """Return minutes, their trades, and the fractions of a day's sigma of a minute and of its trades."""
    counts = session.counts[begin:end]
    total = session.shape.session_variance
    shares = [variance / total for variance in session.shape.variance[begin:end]]
    return pl.DataFrame(
        {
            "minute": pl.int_range(begin, end, eager=True),
            "count": counts,
            "spread_minute": map(sqrt, shares),
            "spread": [sqrt(share / max(1, count)) for share, count in zip(shares, counts, strict=True)],
        }
    )


def _halted_minutes(halts: pl.DataFrame, session: Session) -> pl.Series:
    """Return the minutes in which symbols are halted, each as one number."""
    start = pl.col("number").cast(pl.Int64) * session.shape.minutes
    return halts.select(
        pl.int_ranges(start + pl.col("first"), start + pl.col("last") + 1).explode()
    ).to_series()


def _normal_quantile(drawn: pl.Expr, low: int) -> pl.Expr:
    return pl.lit(normal_quantiles()).gather(bit_field(drawn, low, TABLE_BITS))


def _to_level(change: pl.Expr) -> pl.Expr:
    return (change * LEVEL_SCALE).round().cast(pl.Int64)


def _to_units(base: pl.Series, level: pl.Series) -> pl.Series:
    """Return prices before rounding to ticks: the series of exp(x / 64), raised to the power of 64."""
    x = level.cast(pl.Float64) * (1 / LEVEL_SCALE / (1 << _SQUARINGS))
    power = x * (1 / _SERIES_TERMS) + 1.0
    for term in range(_SERIES_TERMS - 1, 0, -1):
        power = power * x * (1 / term) + 1.0
    for _ in range(_SQUARINGS):
        power = power * power
    return base * power


def _round_to_tick() -> pl.Expr:
    """Round up to a tick for a buyer, down for a seller: a cent, or 1/100 of a cent below a dollar."""
    raw = pl.col("raw")
    tick = pl.when(raw < UNITS_PER_DOLLAR).then(1.0).otherwise(float(_UNITS_PER_CENT))
    ticks = pl.when(is_buy(pl.col("drawn"))).then((raw / tick).ceil()).otherwise((raw / tick).floor())
    return (ticks * tick).clip(1.0, None).cast(pl.Int64)
