"""Jumps, splits and halts as they appear in the trades, and their labels."""

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
        ``jump``, ``split`` or ``halt``.
    symbol, instrument_id
        The symbol.
    ts_event_ns
        The time of the first trade after a jump or a split, or when a halt began.
    ts_end_ns
        When a halt ended: the symbol has no trade until then.
    direction
        Of a jump: ``up`` or ``down``.
    return_
        The relative change of the price by the jump alone.
    sigmas
        The same in multiples of the local sigma: the standard deviation of the change of the price within a
        minute at this time of day, or between two trades if they are further apart.
    ratio
        New to old shares of a split: ``2:1`` halves the price.
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


def sort_labels(labels: list[Label]) -> list[Label]:
    """Order labels by time, kind and symbol."""
    return sorted(labels, key=lambda label: (label.ts_event_ns, label.kind, label.symbol))


def first_trades_after(jumps: pl.DataFrame, trades: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the first trade after each jump, and the jumps after which there is no trade yet.

    Parameters
    ----------
    jumps
        ``number``, ``ts_ns`` and ``sigmas``, by time.
    trades
        ``number`` and ``ts_event_ns`` by time, and any other columns.
    """
    candidates = trades.with_row_index("at").filter(
        pl.col("number").is_in(jumps.get_column("number").implode())
    )
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
    columns = jumps.select("number", "ts_event_ns", "jump", "sigmas")
    return [
        Label(
            "jump",
            *_symbol_and_id(symbols, number),
            ts_event_ns,
            direction="up" if jump > 0 else "down",
            return_=round(expm1(jump / LEVEL_SCALE), 9),
            sigmas=abs(sigmas),
        )
        for number, ts_event_ns, jump, sigmas in columns.iter_rows()
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


def halt_labels(halts: pl.DataFrame, open_ns: int, minute_ns: int, symbols: pl.DataFrame) -> list[Label]:
    """Return the labels of halts, given by ``number``, ``first`` and ``last`` minute."""
    return [
        Label(
            "halt",
            *_symbol_and_id(symbols, number),
            open_ns + first * minute_ns,
            ts_end_ns=open_ns + (last + 1) * minute_ns,
        )
        for number, first, last in halts.iter_rows()
    ]


def _symbol_and_id(symbols: pl.DataFrame, number: int) -> tuple[str, str]:
    return symbols["symbol"][number], symbols["instrument_id"][number]
