"""What is decided before the first trade: symbols, sessions, numbers of trades, and events.

Everything follows from the options.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import log1p, sqrt
from typing import Final

import polars as pl

from tickerlake.errors import UsageError, did_you_mean
from tickerlake.model.duration import MINUTE_NS
from tickerlake.model.instrument import UNKNOWN_MIC, instrument_id_expr
from tickerlake.sources.simulator.draws import (
    SYMBOL_BITS,
    apportion,
    bit_field,
    draw_bits,
    is_below,
    stream_key,
)
from tickerlake.sources.simulator.hours import MARKETS, Day, Shape, market_days, weekday

UNITS_PER_DOLLAR: Final = 10_000
"""Units in a dollar: the smallest tick, of prices below one dollar."""

UNIT_PRICE: Final = Decimal(1) / UNITS_PER_DOLLAR

MAX_SYMBOLS: Final = 10_000
MAX_JUMPS_PER_DAY: Final = 50.0
"""The maximum number of jumps of a symbol per day: jumps must stay rare among 390 minutes."""

NEVER_HALTED: Final = 0
"""The number of a symbol that is never halted, so that one can always trade: the most active one."""

_TRADES_PER_SYMBOL_DAY: Final = 500
_MAX_DEFAULT_DAYS: Final = 252
_FIRST_DAY: Final = date(1970, 1, 5)
_LAST_DAY: Final = date(2250, 1, 1)
_MAX_DAYS: Final = 10_000
_MIN_JUMP_SIGMAS: Final = 8.0
_MAX_JUMP_SIGMAS: Final = 25.0
"""Large enough to stand out from the random walk, and small enough to be believable."""

_HALT_MINUTES: Final = (5, 10, 15, 30)
_SPLITS: Final = ((2, 1), (2, 1), (3, 1), (3, 2), (4, 1))
_REVERSE_SPLIT: Final = (1, 10)
MARKET_SPLITS: Final = (
    *((2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (10, 1), (15, 1), (20, 1)),
    *((3, 2), (4, 3), (5, 2), (5, 4)),
)
MARKET_REVERSE_SPLITS: Final = ((1, 2), (1, 4), (1, 5), (1, 8), (1, 10), (1, 20), (1, 50))
"""The ratios of a real market: new shares for old shares."""

_MIN_SPLIT_PRICE: Final = 3.0
"""No company splits its shares to a lower price."""

_MIN_GAP, _GAP_RANGE = 0.03, 0.57
_MIN_SURGE, _SURGE_PER_GAP = 1.5, 20.0
"""The day after news, a stock trades 1.5 times as much as usual, and 20 times its gap on top."""

_REVERSAL_MINUTES: Final = (3, 4, 5, 6, 7, 8, 10, 12)
_MIN_TRADES_PER_AUCTION: Final = 10
"""A day with fewer trades per symbol has no auctions: they would be most of it."""

_PENNY_STOCK_EVERY: Final = 25
_MIN_WEIGHT: Final = 750
_WEIGHT_RANGE: Final = 501
"""Random weights of days and minutes: 750 to 1,250, so that activity varies by 25%."""

# the purposes of streams of random numbers
SYMBOLS, DAYS, MINUTE_COUNTS, JUMPS, JUMP_SIZES, HALTS, SPLITS, NIGHTS, TIMES, TRADES, REDRAWS = range(11)
GAPS, REVERSALS, REVERSAL_SIZES, PRINTS = range(11, 15)


@dataclass(frozen=True, slots=True)
class MarketOptions:
    """The parameters of a market.

    Parameters
    ----------
    symbols
        The number of symbols; the first is the most active.
    trades
        The exact number of trades in total.
    seed
        The same seed produces the same market.
    start
        The first day, or the weekday after it.
    days
        The number of weekdays; by default, as many as give 500 trades per symbol and day, but at most 252.
    jumps, halts, splits
        The average number of each per symbol and day.
    market
        The ISO 10383 code of a market (`hours.MARKETS`) with whose calendar and auctions the symbols trade;
        empty for weekdays in New York without holidays and auctions.
    extended
        True for pre-market and after-hours trades, which need a market that has them.
    gaps
        The average number of overnight gaps by news per symbol and day.
    reversals
        The average number of jumps per symbol and day that are followed by one back, within 12 minutes.
    """

    symbols: int = 100
    trades: int = 1_000_000
    seed: int = 7
    start: date = date(2024, 1, 2)
    days: int | None = None
    jumps: float = 0.1
    halts: float = 0.01
    splits: float = 0.002
    market: str = ""
    extended: bool = False
    gaps: float = 0.0
    reversals: float = 0.0

    def __post_init__(self) -> None:
        self._check_market()
        if not 1 <= self.symbols <= MAX_SYMBOLS:
            raise UsageError(
                f"A market cannot have {self.symbols:,} symbols.", f"Specify 1 to {MAX_SYMBOLS:,}."
            )
        if self.trades < 1:
            raise UsageError(f"A market cannot have {self.trades:,} trades.", "Specify at least 1.")
        if not 1 <= self.day_count <= _MAX_DAYS:
            raise UsageError(f"A market cannot have {self.days:,} days.", f"Specify 1 to {_MAX_DAYS:,}.")
        maxima = dict.fromkeys(("halts", "splits", "gaps", "reversals"), 1.0)
        for name, maximum in {"jumps": MAX_JUMPS_PER_DAY, **maxima}.items():
            if not 0 <= getattr(self, name) <= maximum:
                raise UsageError(
                    f"A market cannot have {getattr(self, name)} {name} per symbol and day.",
                    f"Specify 0 to {maximum:g}.",
                )
        if not _FIRST_DAY <= self.start <= _LAST_DAY - timedelta(days=2 * self.day_count):
            raise UsageError(
                f"A market cannot have {self.day_count:,} days from {self.start}.",
                "Specify days between 1970 and 2249.",
            )

    def _check_market(self) -> None:
        if self.market and self.market not in MARKETS:
            raise UsageError(
                f"There is no market {self.market!r} to simulate.",
                did_you_mean(self.market.upper(), sorted(MARKETS)) or f"Use one of {', '.join(MARKETS)}.",
            )
        if self.extended and not (self.market and MARKETS[self.market].before):
            raise UsageError(
                "Only some markets have pre-market and after-hours trades.",
                f"Add --market {', or '.join(name for name, rules in MARKETS.items() if rules.before)}.",
            )

    @property
    def day_count(self) -> int:
        """The number of days on which the market is open."""
        if self.days is not None:
            return self.days
        default_days = -(-self.trades // (self.symbols * _TRADES_PER_SYMBOL_DAY))
        return min(default_days, _MAX_DEFAULT_DAYS)

    def stream(self, purpose: int, day: int = 0) -> int:
        """Return the key of a stream of random numbers."""
        return stream_key(self.seed, purpose, day)


@dataclass(frozen=True, slots=True)
class Session:
    """The trades of one day.

    Parameters
    ----------
    day
        The number of the day, from 0.
    start_ns
        When its first minute begins, in nanoseconds since 1970.
    first_trade
        The number of trades before it.
    counts
        The number of trades in each minute.
    shape
        Its minutes.
    auction_prints
        How many of the trades in the minutes of the auctions are their prints, one per symbol: 0 or all.
    """

    day: int
    start_ns: int
    first_trade: int
    counts: list[int]
    shape: Shape
    auction_prints: int = 0

    @property
    def open_ns(self) -> int:
        """When the session opens, in nanoseconds since 1970."""
        return self.start_ns + self.shape.open * MINUTE_NS

    @property
    def close_ns(self) -> int:
        """When the session closes, in nanoseconds since 1970."""
        return self.start_ns + self.shape.close * MINUTE_NS


def days(options: MarketOptions) -> Iterator[Day]:
    """Yield the days on which a market is open."""
    if options.market:
        yield from market_days(options.market, options.start, options.day_count, extended=options.extended)
    else:
        for number in range(options.day_count):
            yield weekday(options.start, number)


def sessions(options: MarketOptions) -> Iterator[Session]:
    """Yield the days of a market with their numbers of trades."""
    stream = options.stream(DAYS)
    weights = [_MIN_WEIGHT + stream_key(stream, day) % _WEIGHT_RANGE for day in range(options.day_count)]
    if options.market:
        lengths = [day.shape.traded_minutes for day in days(options)]
        weights = [weight * length for weight, length in zip(weights, lengths, strict=True)]
    first = 0
    for number, (day, count) in enumerate(
        zip(days(options), apportion(options.trades, weights, stream), strict=True)
    ):
        prints = options.symbols if day.shape.has_auctions else 0
        if count < 2 * prints * _MIN_TRADES_PER_AUCTION:
            prints = 0
        counts = _minute_counts(options, number, day.shape, count - 2 * prints)
        counts[day.shape.open] += prints
        counts[day.shape.auction_close] += prints
        yield Session(number, day.start_ns, first, counts, day.shape, prints)
        first += count


def _minute_counts(options: MarketOptions, day: int, shape: Shape, count: int) -> list[int]:
    stream = options.stream(MINUTE_COUNTS, day)
    weights = [
        weight * (_MIN_WEIGHT + stream_key(stream, minute) % _WEIGHT_RANGE)
        for minute, weight in enumerate(shape.volume)
    ]
    return apportion(count, weights, stream)


def instruments(options: MarketOptions) -> pl.DataFrame:
    """Return the symbols of a market, the most active first.

    Columns: ``number``; ``symbol``; ``instrument_id``; ``slots``, the share in all trades of 2^20; ``base``,
    the price on the first morning in units of 1 / `UNITS_PER_DOLLAR`; ``sigma``, the standard deviation of a
    day's return; ``step``, that of a trade's return, if a day had one trade of average share.
    """
    count = options.symbols
    stream = options.stream(SYMBOLS)
    # the Zipf–Mandelbrot law, which is flatter than Zipf's for the first ranks
    slots = apportion(1 << SYMBOL_BITS, [10**9 // (rank + 3) for rank in range(count)], 0)
    draws = [stream_key(stream, number) for number in range(count)]
    sigmas = [round(0.008 + 0.032 * _to_unit_interval(drawn) ** 2, 6) for drawn in draws]
    bases = [_base_price(number, _to_unit_interval(stream_key(drawn))) for number, drawn in enumerate(draws)]
    # a symbol that trades less than once a day must not move more than in a day
    rarest = options.day_count / options.trades
    steps = [
        sigma / sqrt(max(slot / (1 << SYMBOL_BITS), rarest))
        for sigma, slot in zip(sigmas, slots, strict=True)
    ]
    width = max(3, len(str(count - 1)))
    frame = pl.DataFrame(
        {
            "number": range(count),
            "symbol": [f"S{number:0{width}}" for number in range(count)],
            "slots": slots,
            "base": bases,
            "sigma": sigmas,
            "step": steps,
        },
        schema_overrides={"number": pl.UInt16, "slots": pl.Int64, "base": pl.Float64},
    )
    mic = options.market or UNKNOWN_MIC
    return frame.with_columns(instrument_id_expr("symbol", mic).alias("instrument_id"))


def _base_price(number: int, unit: float) -> int:
    """Return a price in units of 1 / `UNITS_PER_DOLLAR`, on a tick; one in 25 is below a dollar."""
    if number % _PENNY_STOCK_EVERY == _PENNY_STOCK_EVERY - 1:
        return round((0.2 + 0.75 * unit) * UNITS_PER_DOLLAR)
    cents: float = 500 * 100**unit
    return round(cents) * (UNITS_PER_DOLLAR // 100)


def _to_unit_interval(drawn: int) -> float:
    return (drawn >> 11) / (1 << 53)


def jumps(options: MarketOptions, session: Session) -> pl.DataFrame:
    """Return the jumps of a day by time: ``number``, ``ts_ns``, ``sigmas`` (signed, of the local sigma).

    Each minute of each symbol has one with the same small probability: a Poisson process without second jumps
    in a minute. Of a reversal, ``pair`` is the number, and in the jump back its negative; else it is 0.
    """
    events = _draw_jumps(options, session, JUMPS, JUMP_SIZES, options.jumps)
    events = events.with_columns(pair=pl.lit(0, dtype=pl.Int64))
    if options.reversals:
        events = pl.concat([events, _reversals(options, session)])
    if options.market:
        minute = (pl.col("ts_ns") - session.start_ns) // MINUTE_NS
        events = events.filter(~session.shape.is_break(minute))
    return events.sort("ts_ns", "number")


def _draw_jumps(
    options: MarketOptions, session: Session, cells_of: int, sizes_of: int, per_day: float
) -> pl.DataFrame:
    minutes = session.shape.minutes
    cells = pl.int_range(options.symbols * minutes, dtype=pl.UInt64, eager=True)
    cells = cells.filter(is_below(draw_bits(options.stream(cells_of, session.day), cells), per_day / minutes))
    events = pl.DataFrame({"cell": cells, "drawn": draw_bits(options.stream(sizes_of, session.day), cells)})
    drawn = pl.col("drawn")
    unit = bit_field(drawn, 0, 16).cast(pl.Float64) / (1 << 16)
    size = (_MIN_JUMP_SIGMAS + (_MAX_JUMP_SIGMAS - _MIN_JUMP_SIGMAS) * unit * unit).round(2)
    second_ns = pl.col("cell") % minutes * MINUTE_NS + bit_field(drawn, 17, 47) % MINUTE_NS
    return events.select(
        number=(pl.col("cell") // minutes).cast(pl.UInt16),
        ts_ns=session.start_ns + second_ns.cast(pl.Int64),
        sigmas=pl.when(bit_field(drawn, 16, 1) == 1).then(size).otherwise(-size),
    )


def _reversals(options: MarketOptions, session: Session) -> pl.DataFrame:
    """Return jumps in the session and, minutes later, the jumps back."""
    there = _draw_jumps(options, session, REVERSALS, REVERSAL_SIZES, options.reversals)
    there = there.with_columns(pair=pl.int_range(1, pl.len() + 1))
    delay = pl.lit(pl.Series(_REVERSAL_MINUTES)).gather(pl.col("pair") % len(_REVERSAL_MINUTES))
    back = there.with_columns(pl.col("ts_ns") + delay * MINUTE_NS, -pl.col("sigmas"), -pl.col("pair"))
    inside = pl.col("ts_ns").is_between(
        session.open_ns, session.close_ns - max(_REVERSAL_MINUTES) * MINUTE_NS
    )
    pairs = there.filter(inside).get_column("pair")
    return pl.concat([there, back]).filter(pl.col("pair").abs().is_in(pairs.implode()))


def halts(options: MarketOptions, session: Session) -> pl.DataFrame:
    """Return the halts of a day: ``number``, ``first`` and ``last`` minute without a trade."""
    shape = session.shape
    events = _draw_events(options, HALTS, session, options.halts).filter(pl.col("number") != NEVER_HALTED)
    drawn = pl.col("drawn")
    # not in the minute of the opening auction
    earliest = shape.open + int(shape.has_auctions)
    first = earliest + (bit_field(drawn, 2, 20) % (shape.close - earliest - max(_HALT_MINUTES))).cast(
        pl.Int64
    )
    length = pl.lit(pl.Series(_HALT_MINUTES, dtype=pl.Int64)).gather(bit_field(drawn, 0, 2))
    halted = events.select("number", first=first, last=first + length - 1)
    return halted.filter((pl.col("last") < shape.break_start) | (pl.col("first") >= shape.break_end))


def splits(options: MarketOptions, session: Session, prices: list[float]) -> list[tuple[int, int, int]]:
    """Return the splits before a day: number of the symbol, new shares and old shares.

    Parameters
    ----------
    prices
        In dollars: ten shares below five dollars become one.
    """
    if session.day == 0:
        return []
    ratio = _market_ratio if options.market else _ratio
    return [
        (number, *ratio(prices[number], drawn))
        for number, drawn in _draw_events(options, SPLITS, session, options.splits).iter_rows()
    ]


def _ratio(price: float, drawn: int) -> tuple[int, int]:
    return _REVERSE_SPLIT if price < 5 else _SPLITS[drawn % len(_SPLITS)]


def _market_ratio(price: float, drawn: int) -> tuple[int, int]:
    new, old = MARKET_SPLITS[drawn % len(MARKET_SPLITS)]
    if price * old / new < _MIN_SPLIT_PRICE:
        return MARKET_REVERSE_SPLITS[drawn % len(MARKET_REVERSE_SPLITS)]
    return new, old


def gaps(options: MarketOptions, session: Session) -> pl.DataFrame:
    """Return the gaps by news before a day: ``number``, ``gap`` (log return), ``surge`` (of the volume)."""
    if session.day == 0 or not options.gaps:
        return pl.DataFrame(schema={"number": pl.UInt16, "gap": pl.Float64, "surge": pl.Float64})
    rows = []
    for number, drawn in _draw_events(options, GAPS, session, options.gaps).iter_rows():
        # the highest bits decided that there is an event
        unit, half = drawn % (1 << 20) / (1 << 20), (drawn >> 20) % (1 << 20) / (1 << 20)
        size = _MIN_GAP + _GAP_RANGE * unit * unit
        # rounding removes differences between C libraries
        gap = round(log1p(size) if drawn >> 40 & 1 else log1p(-size), 9)
        rows.append((number, gap, (_MIN_SURGE + _SURGE_PER_GAP * size) * (0.5 + half)))
    return pl.DataFrame(
        rows, schema={"number": pl.UInt16, "gap": pl.Float64, "surge": pl.Float64}, orient="row"
    )


def _draw_events(options: MarketOptions, purpose: int, session: Session, probability: float) -> pl.DataFrame:
    """Return the symbols that have an event on a day: ``number`` and ``drawn``."""
    number = pl.int_range(options.symbols, dtype=pl.UInt16, eager=True)
    drawn = draw_bits(options.stream(purpose, session.day), number)
    return pl.DataFrame({"number": number, "drawn": drawn}).filter(is_below(drawn, probability))
