"""Rows that stand in no order of time, put into one."""

from typing import Final

import polars as pl

from tickerlake.model import quality
from tickerlake.sources.csv.parse import IS_BAR, REASON
from tickerlake.sources.csv.rows import LINE

_KEY: Final = ("ts_open_ns", "symbol")
_VALUES: Final = ("open", "high", "low", "close", "volume")


def sort_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """Return parsed rows in order: what is no bar by line, then bars by time, symbol and line.

    Of a key's rows the first is kept; each other one gets a reason and stands where its bar would.
    """
    bars = rows.filter(IS_BAR).sort(*_KEY, LINE)
    again = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in _KEY).fill_null(False)
    if bars.select(again.any()).item():
        bars = bars.with_columns(pl.when(again).then(_how_alike(bars)).otherwise(REASON).alias(REASON))
    return pl.concat([rows.filter(~IS_BAR), bars])


def _how_alike(bars: pl.DataFrame) -> pl.Expr:
    """Return the reason for which a key's second row is refused."""
    values = [name for name in _VALUES if name in bars.columns]
    equal = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).first().over(_KEY)) for name in values)
    return pl.when(equal).then(pl.lit(quality.DUPLICATE_KEY)).otherwise(pl.lit(quality.CONFLICTING_DUPLICATE))
