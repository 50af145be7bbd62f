"""Rows that stand in no order of time, put into one; a key's second row is refused. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

import polars as pl

from tickerlake.model.reject import RejectReason
from tickerlake.sources.csv.detect.rows import LINE
from tickerlake.sources.csv.parse import EVENT_NS, FILE_NUMBER, IS_RECORD, REASON

_ROW_INDEX: Final = "_at"
_KEY_COLUMNS: Final = ("ts_open_ns", "symbol", "interval", "price_type")
_VALUE_COLUMNS: Final = ("open", "high", "low", "close", "volume")


def fill_reject_times(tables: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Give every reject the time of the record before it, so that all rows have a place in time."""
    last = 0
    for rows in tables:
        filled = rows.with_columns(pl.col(EVENT_NS).forward_fill().fill_null(last))
        last = filled.get_column(EVENT_NS)[-1] if filled.height else last
        yield filled


def sort_rows(rows: pl.DataFrame, *, newest_first: bool = False) -> pl.DataFrame:
    """Return parsed rows by time, symbol, sequence and line; a reject stays with the record before it.

    Parameters
    ----------
    newest_first
        True for a file that runs backwards: rows of one time are turned round as well.
    """
    ties = [name for name in ("symbol", FILE_NUMBER, "sequence") if name in rows.columns]
    return rows.sort(
        EVENT_NS, *ties, LINE, descending=[False] * (1 + len(ties)) + [newest_first], nulls_last=False
    )


def reject_duplicates(rows: pl.DataFrame) -> pl.DataFrame:
    """Give a reason to every bar whose key a bar before it has.

    Parameters
    ----------
    rows
        Parsed rows in order; all of an instant, so that a key's rows stand together.
    """
    if "ts_open_ns" not in rows.columns:
        return rows
    bars = rows.with_row_index(_ROW_INDEX).filter(IS_RECORD)
    is_duplicate = ~pl.struct(_KEY_COLUMNS).is_first_distinct()
    if not bars.select(is_duplicate.any()).item():
        return rows
    reasons = bars.select(_ROW_INDEX, _again=pl.when(is_duplicate).then(_duplicate_reason(bars)))
    marked = rows.with_row_index(_ROW_INDEX).join(reasons, on=_ROW_INDEX, how="left", maintain_order="left")
    return marked.with_columns(pl.coalesce(REASON, "_again").alias(REASON)).drop("_again", _ROW_INDEX)


def _duplicate_reason(bars: pl.DataFrame) -> pl.Expr:
    """Return the reason for which a key's second row is refused."""
    values = [name for name in _VALUE_COLUMNS if name in bars.columns]
    equal = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(name).first().over(_KEY_COLUMNS)) for name in values
    )
    return (
        pl.when(equal)
        .then(pl.lit(RejectReason.DUPLICATE_KEY))
        .otherwise(pl.lit(RejectReason.CONFLICTING_DUPLICATE))
    )
