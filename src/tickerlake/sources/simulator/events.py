"""What happens to the symbols as it appears in the trades, and its labels."""

from decimal import Decimal
from math import expm1
from typing import Final

import msgspec
import polars as pl

LEVEL_SCALE: Final = 10**12
"""Units in a level of 1: levels are whole numbers, so that their sums are exact in any order."""


class Label(msgspec.Struct, frozen=True, omit_defaults=True, rename={"return_": "return"}):
    """What happened to a symbol: the ground truth for detection in the trades.

    Parameters
    ----------
    kind
        ``jump``, ``split`` or ``halt``; ``reversal``, the jump back after a jump; ``gap``, by news overnight.
        Of a market also ``opening_auction`` and ``closing_auction``; ``off_market_print``, at an earlier
        price; ``session`` and ``break``, of all symbols.
    symbol, instrument_id
        The symbol; ``*`` for all.
    ts_event_ns
        The time of the first trade after a jump or a split, of the session's first trade after a gap, of the
        print, or when a halt, a session or a lunch break began.
    ts_end_ns
        When a halt ended: the symbol has no trade until then; when a session or a lunch break ended.
    direction
        Of a jump, a reversal or a gap: ``up`` or ``down``.
    return_
        The relative change of the price by the jump, reversal or gap alone; of a print off the market, its
        distance from the market's price.
    sigmas
        The same in multiples of the local sigma: the standard deviation of the change of the price within a
        minute at this time of day, or between two trades if they are further apart.
    ratio
        New to old shares of a split: ``2:1`` halves the price.
    price
        Of an auction.
    """

    kind: str
    symbol: str
    instrument_id: str
    ts_event_ns: int
    ts_end_ns: int | None = None
    direction: str | None = None
    return_: float | None = None
    sigmas: float | None = None
    ratio: str | None = None
    price: str | None = None


def sort_labels(labels: list[Label]) -> list[Label]:
    """Order labels by time, kind and symbol."""
    return sorted(labels, key=lambda label: (label.ts_event_ns, label.kind, label.symbol))


def first_trades_after(jumps: pl.DataFrame, trades: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first trade after each jump, and the jumps after which there is no trade yet.

    Parameters
    ----------
    jumps
        ``number``, ``ts_ns``, ``sigmas`` and ``pair``, by time.
    trades
        ``at``, ``number`` and ``ts_event_ns`` by time, and any other columns.
    """
    candidates = trades.filter(pl.col("number").is_in(jumps.get_column("number").implode()))
    matched = jumps.join_asof(
        candidates,
        left_on="ts_ns",
        right_on="ts_event_ns",
        by="number",
        strategy="forward",
        coalesce=False,
        check_sortedness=False,
    )
    pending = matched.filter(pl.col("at").is_null()).select(jumps.columns)
    # of two jumps between two trades, the second would be indistinguishable from the first
    return matched.drop_nulls("at").unique("at", keep="first", maintain_order=True), pending


def jump_labels(jumps: pl.DataFrame, symbols: pl.DataFrame) -> list[Label]:
    """Return the labels of jumps; ``jump`` is the change of the level."""
    columns = jumps.select("number", "ts_event_ns", "jump", "sigmas", "pair")
    return [
        Label(
            "reversal" if pair < 0 else "jump",
            *_symbol_and_id(symbols, number),
            ts_event_ns,
            direction="up" if jump > 0 else "down",
            return_=round(expm1(jump / LEVEL_SCALE), 9),
            sigmas=abs(sigmas),
        )
        for number, ts_event_ns, jump, sigmas, pair in columns.iter_rows()
    ]


def split_labels(trades: pl.DataFrame, ratios: dict[int, str], symbols: pl.DataFrame) -> list[Label]:
    """Return the labels of splits whose first trade is here, and remove them from ``ratios``."""
    if not ratios:
        return []
    first = trades.filter(pl.col("number").is_in(list(ratios))).unique("number", keep="first")
    return [
        Label("split", *_symbol_and_id(symbols, number), ts_event_ns, ratio=ratios.pop(number))
        for number, ts_event_ns in first.select("number", "ts_event_ns").iter_rows()
    ]


def gap_labels(trades: pl.DataFrame, gaps: dict[int, float], symbols: pl.DataFrame) -> list[Label]:
    """Return the labels of gaps whose first trade is here, and remove them from ``gaps``: log returns."""
    if not gaps:
        return []
    first = trades.filter(pl.col("number").is_in(list(gaps))).unique("number", keep="first")
    labels = []
    for number, ts_event_ns in first.select("number", "ts_event_ns").iter_rows():
        gap = gaps.pop(number)
        labels.append(
            Label(
                "gap",
                *_symbol_and_id(symbols, number),
                ts_event_ns,
                direction="up" if gap > 0 else "down",
                return_=round(expm1(gap), 9),
            )
        )
    return labels


def auction_labels(kind: str, prints: pl.DataFrame, symbols: pl.DataFrame, unit: Decimal) -> list[Label]:
    """Return the labels of the prints of an auction; ``units`` are their prices in a unit."""
    return [
        Label(kind, *_symbol_and_id(symbols, number), ts_event_ns, price=f"{(units * unit).normalize():f}")
        for number, ts_event_ns, units in prints.select("number", "ts_event_ns", "units").iter_rows()
    ]


def off_market_labels(prints: pl.DataFrame, symbols: pl.DataFrame) -> list[Label]:
    """Return the labels of prints off the market; ``offset`` is the distance of their levels from it."""
    return [
        Label(
            "off_market_print",
            *_symbol_and_id(symbols, number),
            ts_event_ns,
            return_=round(expm1(offset / LEVEL_SCALE), 9),
        )
        for number, ts_event_ns, offset in prints.select("number", "ts_event_ns", "offset").iter_rows()
    ]


def hours_label(kind: str, market: str, begin_ns: int, end_ns: int) -> Label:
    """Return the label of a session or of its lunch break."""
    return Label(kind, "*", f"*.{market}", begin_ns, ts_end_ns=end_ns)


def halt_labels(halts: pl.DataFrame, start_ns: int, minute_ns: int, symbols: pl.DataFrame) -> list[Label]:
    """Return the labels of halts, given by ``number``, ``first`` and ``last`` minute."""
    return [
        Label(
            "halt",
            *_symbol_and_id(symbols, number),
            start_ns + first * minute_ns,
            ts_end_ns=start_ns + (last + 1) * minute_ns,
        )
        for number, first, last in halts.iter_rows()
    ]


def _symbol_and_id(symbols: pl.DataFrame, number: int) -> tuple[str, str]:
    return symbols["symbol"][number], symbols["instrument_id"][number]
