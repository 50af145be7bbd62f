"""What distinguishes the prints of a market: auctions, late reports, thin trading, sizes, sale conditions.

The prints of an auction are one per symbol, in the minutes that the plan reserves for them.
"""

from enum import IntEnum
from typing import Final

import polars as pl

from tickerlake.model.duration import MINUTE_NS, MS_NS
from tickerlake.sources.simulator import plan
from tickerlake.sources.simulator.draws import SYMBOL_BITS, bit_field, draw_bits, trade_sizes
from tickerlake.sources.simulator.events import LEVEL_SCALE
from tickerlake.sources.simulator.hours import MARKETS, Conditions
from tickerlake.sources.simulator.plan import MarketOptions, Session


class Kind(IntEnum):
    """What a print is."""

    TRADE = 0
    OPENING = 1
    CLOSING = 2
    LATE = 3
    AVERAGE_PRICE = 4
    DERIVATIVE = 5


OFF_MARKET: Final = (Kind.LATE, Kind.AVERAGE_PRICE, Kind.DERIVATIVE)
"""Prints at a price that is not the market's at their time; half of them are late."""

_OFF_MARKET_KINDS: Final = (Kind.LATE, Kind.LATE, Kind.AVERAGE_PRICE, Kind.DERIVATIVE)
_OFF_MARKET_SHARES: Final = (0.02, 0.0005, 0.06)
"""Their share in the trades before the open, in the session and after the close."""

_SPREAD_SIGMAS: Final = 0.05
"""Outside the session, quotes are up to this many of a day's sigmas away from the price."""

_OPENING_SHARE, _CLOSING_SHARE = 0.015, 0.07
"""The usual share of an auction in the day's volume; each print has half to one and a half times that."""

_LOT: Final = 100
_OPENING_MS: Final = 250
_FIRST_TRADE_MS: Final = 300
_MIN_CLOSING_MS, _CLOSING_MS = 200, 50_000

# positions of the bits of a print's own draw
_BITS: Final = 16
_KIND_BIT, _MIX_BIT, _SPREAD_BIT, _AUCTION_BIT = 0, 16, 32, 48


def draw_prints(options: MarketOptions, n: pl.Series) -> pl.Series:
    """Return a draw for each trade, of which the functions of this module use the bits."""
    return draw_bits(options.stream(plan.PRINTS), n)


def trade_times(options: MarketOptions, session: Session, minute: pl.Series, n: pl.Series) -> pl.DataFrame:
    """Return the sorted times of the trades of some minutes.

    Parameters
    ----------
    minute, n
        The minute of each trade, sorted, and its number from the market's first trade.

    Returns
    -------
    DataFrame
        ``ts_event_ns``; for a day with auctions, ``auction``: the symbol of an auction's print, else null.
    """
    offset = (draw_bits(options.stream(plan.TIMES), n) % MINUTE_NS).cast(pl.Int64)
    # trades have no other attribute yet, so that the times can be sorted alone
    ts_ns = minute * MINUTE_NS + offset + session.start_ns
    if not session.auction_prints:
        return pl.DataFrame({"ts_event_ns": ts_ns.sort()})
    unit = bit_field(pl.lit(draw_prints(options, n)), _AUCTION_BIT, _BITS).cast(pl.Int64)
    opens, closes = pl.col("minute") == session.shape.open, pl.col("minute") == session.shape.auction_close
    is_print = (opens | closes) & (pl.col("place") < session.auction_prints)
    begin_ns = session.start_ns + pl.col("minute") * MINUTE_NS
    opening_ns = begin_ns + (1 + unit % _OPENING_MS) * MS_NS
    closing_ns = begin_ns + (_MIN_CLOSING_MS + unit % _CLOSING_MS) * MS_NS
    continuous_ns = (
        # the market's first price is that of its auction
        pl.when(opens)
        .then(pl.max_horizontal(pl.col("ts_event_ns"), begin_ns + _FIRST_TRADE_MS * MS_NS))
        .otherwise("ts_event_ns")
    )
    return (
        pl.DataFrame({"minute": minute, "ts_event_ns": ts_ns})
        .with_columns(place=pl.int_range(pl.len()).over("minute"))
        .select(
            ts_event_ns=pl.when(is_print & opens)
            .then(opening_ns)
            .when(is_print)
            .then(closing_ns)
            .otherwise(continuous_ns),
            auction=pl.when(is_print).then("place").cast(pl.UInt16),
        )
        .sort("ts_event_ns", maintain_order=True)
    )


def with_kinds(trades: pl.DataFrame, options: MarketOptions, session: Session) -> pl.DataFrame:
    """Add the kind of each print (`Kind`) and the part of the day (`Shape.part`).

    Parameters
    ----------
    trades
        ``minute``, ``extra`` (from `draw_prints`), and ``auction`` on a day with auctions.
    """
    shape, minute = session.shape, pl.col("minute")
    trades = trades.with_columns(part=shape.part(minute))
    kind = pl.lit(int(Kind.TRADE), dtype=pl.Int8)
    if MARKETS[options.market].conditions:
        early, regular, late = (int(share * (1 << _BITS)) for share in _OFF_MARKET_SHARES)
        share = (
            pl.when(minute < shape.open).then(early).when(minute >= shape.close).then(late).otherwise(regular)
        )
        drawn = bit_field(pl.col("extra"), _KIND_BIT, _BITS)
        kinds = pl.lit(pl.Series([int(each) for each in _OFF_MARKET_KINDS], dtype=pl.Int8))
        kind = pl.when(drawn < share).then(kinds.gather(drawn % len(_OFF_MARKET_KINDS))).otherwise(kind)
    if session.auction_prints:
        auction = pl.when(minute == shape.open).then(int(Kind.OPENING)).otherwise(int(Kind.CLOSING))
        kind = pl.when(pl.col("auction").is_not_null()).then(auction).otherwise(kind)
    return trades.with_columns(kind=kind.cast(pl.Int8))


def price_offset(session: Session, sigma: pl.Expr, opening_level: pl.Expr, is_buy: pl.Expr) -> pl.Expr:
    """Return how far the level of a print is from that of the market.

    Parameters
    ----------
    sigma, opening_level
        Of each trade's symbol: a day's sigma, and the level at the beginning of the day.
    is_buy
        Whether the buyer is the aggressor.
    """
    mix = bit_field(pl.col("extra"), _MIX_BIT, _BITS).cast(pl.Int64)
    back = -((pl.col("level") - opening_level) * mix // (1 << _BITS))
    unit = bit_field(pl.col("extra"), _SPREAD_BIT, _BITS).cast(pl.Float64) / (1 << _BITS)
    half_spread = (sigma * unit * unit * (_SPREAD_SIGMAS * LEVEL_SCALE)).round().cast(pl.Int64)
    extended = is_extended(session) & (pl.col("kind") == int(Kind.TRADE))
    return (
        pl.when(is_off_market())
        .then(back)
        .when(extended)
        .then(pl.when(is_buy).then(half_spread).otherwise(-half_spread))
        .otherwise(0)
    )


def is_off_market() -> pl.Expr:
    """Return which prints are at a price that is not the market's at their time."""
    return pl.col("kind") >= int(min(OFF_MARKET))


def is_extended(session: Session) -> pl.Expr:
    """Return which prints are outside the session."""
    minute = pl.col("minute")
    return (minute < session.shape.open) | (minute >= session.shape.close)


def shares(session: Session, size: pl.Expr, slots: pl.Expr, factor: pl.Expr) -> pl.Expr:
    """Return the size of each print in shares.

    Parameters
    ----------
    size
        What the trade would have without splits and news.
    slots
        The share of its symbol in all trades, of 2^20.
    factor
        By which splits and news multiply the sizes of its symbol.
    """
    usual = slots.cast(pl.Float64) * (sum(session.counts) * mean_size() / (1 << SYMBOL_BITS))
    unit = bit_field(pl.col("extra"), _MIX_BIT, _BITS).cast(pl.Float64) / (1 << _BITS)
    share = pl.when(pl.col("kind") == int(Kind.OPENING)).then(_OPENING_SHARE).otherwise(_CLOSING_SHARE)
    matched = (usual * factor * share * (0.5 + unit)).floor().clip(1.0)
    traded = (size.cast(pl.Float64) * factor).floor().clip(1.0)
    return pl.when(_is_auction()).then(matched).otherwise(traded).cast(pl.Int64)


def mean_size() -> float:
    """Return the mean size of a trade in shares."""
    sizes = trade_sizes()
    return int(sizes.sum()) / len(sizes)


def sale_conditions(options: MarketOptions, session: Session, split_factor: pl.Expr) -> pl.Expr:
    """Return the sale conditions of each print, given its ``kind`` and ``shares``.

    ``split_factor`` is by how much splits have multiplied the shares of its symbol. A reverse split also
    divides the size of a lot: else, nothing but odd lots would trade after it.
    """
    codes = MARKETS[options.market].conditions
    if codes is None:
        return pl.lit([], dtype=pl.List(pl.String))
    extended, kind = is_extended(session), pl.col("kind")
    is_late = kind == int(Kind.LATE)
    late = pl.when(extended).then(pl.lit(codes.extended_late)).otherwise(pl.lit(codes.late))
    # the prints of an auction, and late ones, have their own codes outside the session
    form_t = extended & kind.is_in([int(each) for each in (Kind.TRADE, Kind.AVERAGE_PRICE, Kind.DERIVATIVE)])
    is_odd = ~_is_auction() & (pl.col("shares") < _LOT * pl.min_horizontal(split_factor, 1.0))
    return pl.concat_list(
        pl.when(form_t).then(pl.lit(codes.extended)),
        pl.when(is_late).then(late),
        *(pl.when(kind == int(each)).then(pl.lit(code)) for each, code in _codes(codes).items()),
        pl.when(is_odd).then(pl.lit(codes.odd_lot)),
    ).list.drop_nulls()


def _is_auction() -> pl.Expr:
    return pl.col("kind").is_in([int(Kind.OPENING), int(Kind.CLOSING)])


def _codes(codes: Conditions) -> dict[Kind, str]:
    return {
        Kind.OPENING: codes.opening,
        Kind.CLOSING: codes.closing,
        Kind.AVERAGE_PRICE: codes.average_price,
        Kind.DERIVATIVE: codes.derivative,
    }
