"""Closed bars and their values → ``bar.v1`` and ``indicator.v1`` records."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from tickerlake.analytics.decode import UNBOUNDED
from tickerlake.model.schema import BAR, DECIMAL, INDICATOR, RANGE_PRICES, polars_schema

_RECORD_COLUMNS: Final = ["partition", "offset"]
_NANO: Final = "0.000000001"
"""Converts an integer of units of 10^-9 into a decimal."""


def bar_records(bars: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return built bars as ``bar.v1`` records, after the columns partition and offset.

    Parameters
    ----------
    bars
        Columns `bar_builder.CLOSED_SCHEMA` and partition, instrument_id, symbol, interval, ts_open_ns,
        ts_close_ns and session.
    source
        Their ``source``.
    """
    traded = pl.col("volume") > 0
    has_range = pl.col("high") < UNBOUNDED
    # rounded to the nearest 10^-9: integers in units of 10^-18 (notional) and 10^-9 (volume)
    units = pl.col("volume").to_physical()
    vwap = pl.when(traded).then((pl.col("notional") + units // 2) // pl.when(traded).then(units).otherwise(1))
    records = bars.with_columns(
        *(pl.when(has_range).then(name).alias(name) for name in RANGE_PRICES),
        pl.when(pl.col("sized") > 0).then("volume").alias("volume"),
        session_date=pl.col("session").cast(pl.Int32).cast(pl.Date),
        vwap=vwap.cast(pl.Decimal(38, 0)) * pl.lit(_NANO).cast(DECIMAL),
        trade_count=pl.when(pl.col("count") > 0).then("count"),
        schema=pl.lit(BAR),
        price_type=pl.lit("last"),
        is_final=pl.lit(value=True),
        is_partial="partial",
        ts_recv_ns="recv_ns",
        source=pl.lit(source),
        quality=pl.lit([], dtype=pl.List(pl.String)),
    )
    return _conform(BAR, records)


def indicator_records(bars: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Return the values of closed bars as ``indicator.v1`` records, after the columns partition and offset.

    Parameters
    ----------
    bars
        Columns as for `bar_records`.
    values
        A float64 column per indicator, NaN for no value; a bar without any value has no record.
    """
    if not values.width or bars.is_empty():
        return (
            polars_schema(INDICATOR)
            .to_frame()
            .select(*_null_columns(_RECORD_COLUMNS), *polars_schema(INDICATOR))
        )
    values = values.fill_nan(None)
    records = bars.with_columns(
        schema=pl.lit(INDICATOR),
        session_date=pl.col("session").cast(pl.Int32).cast(pl.Date),
        values=_without_nulls(values.to_struct("values").struct.json_encode()),
    ).filter(values.select(pl.any_horizontal(pl.all().is_not_null())).to_series())
    return _conform(INDICATOR, records)


def _without_nulls(documents: pl.Series) -> pl.Series:
    """Remove null members from flat JSON objects."""
    if not documents.str.contains(":null", literal=True).any():
        return documents
    return documents.str.replace_all(r'"[^"]*":null,?', "").str.replace(",}", "}", literal=True)


def _conform(record_type: str, records: pl.DataFrame) -> pl.DataFrame:
    schema = polars_schema(record_type)
    missing = [pl.lit(None, dtype=schema[name]).alias(name) for name in schema if name not in records.columns]
    return records.with_columns(*missing).select(*_RECORD_COLUMNS, *schema).cast(dict(schema))  # type: ignore[arg-type]


def _null_columns(names: Sequence[str]) -> list[pl.Expr]:
    return [pl.lit(None, dtype=pl.Int64).alias(name) for name in names]
