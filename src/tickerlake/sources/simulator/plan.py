"""What is decided before the first trade: symbols, sessions, numbers of trades, and events.

Everything follows from the options. The days are weekdays, 09:30 to 16:00 in New York; there are no holidays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Final

import polars as pl

from tickerlake.errors import UsageError
from tickerlake.model.duration import MINUTE_NS
from tickerlake.model.instrument import instrument_id_expr
from tickerlake.sources.simulator.draws import (
    SYMBOL_BITS,
    apportion,
    bit_field,
    draw_bits,
    is_below,
    stream_key,
)

SESSION_MINUTES: Final = 390
UNITS_PER_DOLLAR: Final = 10_000
"""Units in a dollar: the smallest tick, of prices below one dollar."""

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
_PENNY_STOCK_EVERY: Final = 25
_MIN_WEIGHT: Final = 750
_WEIGHT_RANGE: Final = 501
"""Random weights of days and minutes: 750 to 1,250, so that activity varies by 25%."""

# the purposes of streams of random numbers
SYMBOLS, DAYS, MINUTE_COUNTS, JUMPS, JUMP_SIZES, HALTS, SPLITS, NIGHTS, TIMES, TRADES, REDRAWS = range(11)


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
    """

    symbols: int = 100
    trades: int = 1_000_000
    seed: int = 7
    start: date = date(2024, 1, 2)
    days: int | None = None
    jumps: float = 0.1
    halts: float = 0.01
    splits: float = 0.002

    def __post_init__(self) -> None:
        if not 1 <= self.symbols <= MAX_SYMBOLS:
            raise UsageError(
                f"A market cannot have {self.symbols:,} symbols.", f"Specify 1 to {MAX_SYMBOLS:,}."
            )
        if self.trades < 1:
            raise UsageError(f"A market cannot have {self.trades:,} trades.", "Specify at least 1.")
        if not 1 <= self.day_count <= _MAX_DAYS:
            raise UsageError(f"A market cannot have {self.days:,} days.", f"Specify 1 to {_MAX_DAYS:,}.")
        for name, maximum in (("jumps", MAX_JUMPS_PER_DAY), ("halts", 1.0), ("splits", 1.0)):
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
    """The session of one day.

    Parameters
    ----------
    day
        The number of the day, from 0.
    open_ns
        When it opens, in nanoseconds since 1970.
    first_trade
        The number of trades before it.
    counts
        The number of trades in each minute.
    """

    day: int
    open_ns: int
    first_trade: int
    counts: list[int]


def sessions(options: MarketOptions) -> Iterator[Session]:
    """Yield the days of a market."""
    stream = options.stream(DAYS)
    weights = [_MIN_WEIGHT + stream_key(stream, day) % _WEIGHT_RANGE for day in range(options.day_count)]
    first = 0
    for day, count in enumerate(apportion(options.trades, weights, stream)):
        open_ns = _open_ns(nth_weekday(options.start, day))
        yield Session(day, open_ns, first, _minute_counts(options, day, count))
        first += count


def nth_weekday(start: date, number: int) -> date:
    """Return the weekday that is ``number`` weekdays after the first one from ``start`` on."""
    monday = start - timedelta(days=start.weekday())
    weeks, day = divmod(min(start.weekday(), 5) + number, 5)
    return monday + timedelta(weeks=weeks, days=day)


def _open_ns(day: date) -> int:
    # Polars has its own time zones: those of the machine have no influence
    opening = pl.datetime(day.year, day.month, day.day, 9, 30, time_zone="America/New_York")
    return int(pl.select(opening.dt.epoch("ns")).item())


def _minute_counts(options: MarketOptions, day: int, count: int) -> list[int]:
    stream = options.stream(MINUTE_COUNTS, day)
    weights = [
        weight * (_MIN_WEIGHT + stream_key(stream, minute) % _WEIGHT_RANGE)
        for minute, weight in enumerate(VOLUME_WEIGHTS)
    ]
    return apportion(count, weights, stream)


def _volume_weight(minute: int) -> int:
    """Return the relative share of a minute in the day's trades: a U shape."""
    distance = abs(2 * minute + 1 - SESSION_MINUTES) / SESSION_MINUTES  # from noon, 0 to 1
    return round(1000 * (1 + 3 * distance * distance + 2 * distance**8))


def _variance_weight(minute: int) -> int:
    """Return the relative share of a minute in the day's variance: a U shape, higher at the open."""
    elapsed = (2 * minute + 1) / (2 * SESSION_MINUTES)  # of the session, 0 to 1
    return round(1000 * (1 + 5 * (1 - elapsed) ** 8 + 1.5 * elapsed**8))


VOLUME_WEIGHTS: Final = tuple(_volume_weight(minute) for minute in range(SESSION_MINUTES))
VARIANCE_WEIGHTS: Final = tuple(_variance_weight(minute) for minute in range(SESSION_MINUTES))


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
    return frame.with_columns(instrument_id_expr("symbol").alias("instrument_id"))


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
    in a minute.
    """
    cells = pl.int_range(options.symbols * SESSION_MINUTES, dtype=pl.UInt64, eager=True)
    cells = cells.filter(
        is_below(draw_bits(options.stream(JUMPS, session.day), cells), options.jumps / SESSION_MINUTES)
    )
    events = pl.DataFrame({"cell": cells, "drawn": draw_bits(options.stream(JUMP_SIZES, session.day), cells)})
    drawn = pl.col("drawn")
    unit = bit_field(drawn, 0, 16).cast(pl.Float64) / (1 << 16)
    size = (_MIN_JUMP_SIGMAS + (_MAX_JUMP_SIGMAS - _MIN_JUMP_SIGMAS) * unit * unit).round(2)
    second_ns = pl.col("cell") % SESSION_MINUTES * MINUTE_NS + bit_field(drawn, 17, 47) % MINUTE_NS
    return events.select(
        number=(pl.col("cell") // SESSION_MINUTES).cast(pl.UInt16),
        ts_ns=session.open_ns + second_ns.cast(pl.Int64),
        sigmas=pl.when(bit_field(drawn, 16, 1) == 1).then(size).otherwise(-size),
    ).sort("ts_ns", "number")


def halts(options: MarketOptions, session: Session) -> pl.DataFrame:
    """Return the halts of a day: ``number``, ``first`` and ``last`` minute without a trade."""
    events = _draw_events(options, HALTS, session, options.halts).filter(pl.col("number") != NEVER_HALTED)
    drawn = pl.col("drawn")
    first = (bit_field(drawn, 2, 20) % (SESSION_MINUTES - max(_HALT_MINUTES))).cast(pl.Int64)
    length = pl.lit(pl.Series(_HALT_MINUTES, dtype=pl.Int64)).gather(bit_field(drawn, 0, 2))
    return events.select("number", first=first, last=first + length - 1)


def splits(options: MarketOptions, session: Session, prices: list[float]) -> list[tuple[int, int, int]]:
    """Return the splits before a day: number of the symbol, new shares and old shares.

    Parameters
    ----------
    prices
        In dollars: ten shares below five dollars become one.
    """
    if session.day == 0:
        return []
    return [
        (number, *(_REVERSE_SPLIT if prices[number] < 5 else _SPLITS[drawn % len(_SPLITS)]))
        for number, drawn in _draw_events(options, SPLITS, session, options.splits).iter_rows()
    ]


def _draw_events(options: MarketOptions, purpose: int, session: Session, probability: float) -> pl.DataFrame:
    """Return the symbols that have an event on a day: ``number`` and ``drawn``."""
    number = pl.int_range(options.symbols, dtype=pl.UInt16, eager=True)
    drawn = draw_bits(options.stream(purpose, session.day), number)
    return pl.DataFrame({"number": number, "drawn": drawn}).filter(is_below(drawn, probability))
