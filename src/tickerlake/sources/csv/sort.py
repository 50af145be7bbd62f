"""Rows that stand in no order of time, put into one; a key's second row is refused. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from tickerlake.model import quality
from tickerlake.sources.csv.parse import EVENT, FILE, IS_RECORD, REASON
from tickerlake.sources.csv.rows import LINE

_AT: Final = "_at"
_KEY: Final = ("ts_open_ns", "symbol", "interval", "price_type")
_VALUES: Final = ("open", "high", "low", "close", "volume")


def timed(tables: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Give every reject the time of the record before it, so that all rows have a place in time."""
    last = 0
    for rows in tables:
        filled = rows.with_columns(pl.col(EVENT).forward_fill().fill_null(last))
        last = filled.get_column(EVENT)[-1] if filled.height else last
        yield filled


def sort_rows(rows: pl.DataFrame, *, newest_first: bool = False) -> pl.DataFrame:
    """Return parsed rows by time, symbol, sequence and line; a reject stays with the record before it.

    Parameters
    ----------
    newest_first
        True for a file that runs backwards: rows of one time are turned round as well.
    """
    ties = [name for name in ("symbol", FILE, "sequence") if name in rows.columns]
    return rows.sort(
        EVENT, *ties, LINE, descending=[False] * (1 + len(ties)) + [newest_first], nulls_last=False
    )


def refuse_repeats(rows: pl.DataFrame) -> pl.DataFrame:
    """Give a reason to every bar whose key a bar before it has.

    Parameters
    ----------
    rows
        Parsed rows in order; all of an instant, so that a key's rows stand together.
    """
    if "ts_open_ns" not in rows.columns:
        return rows
    bars = rows.with_row_index(_AT).filter(IS_RECORD)
    again = ~pl.struct(_KEY).is_first_distinct()
    if not bars.select(again.any()).item():
        return rows
    reasons = bars.select(_AT, _again=pl.when(again).then(_how_alike(bars)))
    marked = rows.with_row_index(_AT).join(reasons, on=_AT, how="left", maintain_order="left")
    return marked.with_columns(pl.coalesce(REASON, "_again").alias(REASON)).drop("_again", _AT)


def _how_alike(bars: pl.DataFrame) -> pl.Expr:
    """Return the reason for which a key's second row is refused."""
    values = [name for name in _VALUES if name in bars.columns]
    equal = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).first().over(_KEY)) for name in values)
    return pl.when(equal).then(pl.lit(quality.DUPLICATE_KEY)).otherwise(pl.lit(quality.CONFLICTING_DUPLICATE))
