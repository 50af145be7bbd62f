"""Decodes bar and indicator records into columns of numbers for display: float64, not exact decimals."""

from typing import Final

import polars as pl

from tickerlake.analytics.types import EARLIEST_NS, LATEST_NS
from tickerlake.model.duration import DAY_NS
from tickerlake.model.json import parse_documents
from tickerlake.model.schema import BAR, INDICATOR, RANGE_PRICES

BAR_SCHEMA: Final = pl.Schema(
    {
        "instrument": pl.String,
        "interval": pl.String,
        "open_ns": pl.Int64,
        "close_ns": pl.Int64,
        "session": pl.Int32,
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
        "revision": pl.Int32,
    }
)
"""Columns of bars: ``session`` is in days since 1970-01-01; ``volume`` may be null, and open, high and low
together."""

_TEXT, _INT, _BOOL = pl.String(), pl.Int64(), pl.Boolean()
_PRICES: Final = ("open", "high", "low", "close")
_BAR_FIELDS: Final = pl.Schema(
    {
        "schema": _TEXT,
        "instrument_id": _TEXT,
        "interval": _TEXT,
        "ts_open_ns": _INT,
        "ts_close_ns": _INT,
        "session_date": _TEXT,
        **dict.fromkeys((*_PRICES, "volume"), _TEXT),
        "is_final": _BOOL,
        "revision": _INT,
    }
)
_INDICATOR_FIELDS: Final = pl.Schema(
    {"schema": _TEXT, "instrument_id": _TEXT, "interval": _TEXT, "ts_open_ns": _INT, "values": _TEXT}
)
_INTERVAL_PATTERN: Final = r"^[1-9]([0-9]{0,4}[smh]|[0-9]{0,3}d|[0-9]{0,2}(w|mo)|[0-9]?y)$"
"""At most 99 years: the length of an interval is an int64 of nanoseconds."""
_MAX_INDICATORS: Final = 1_000
"""Further indicators of a batch are skipped: every one is a column of the history."""


def decode_bars(lines: pl.Series) -> pl.DataFrame:
    """Decode the closed bars among records; other and invalid records are skipped."""
    if lines.is_empty():
        return BAR_SCHEMA.to_frame()
    return bars_from_fields(parse_documents(lines, _BAR_FIELDS)[0])


def bars_from_fields(fields: pl.DataFrame) -> pl.DataFrame:
    """Convert the fields of ``bar.v1`` records, from JSON or Parquet, to bars (`BAR_SCHEMA`)."""
    number = pl.col(*_PRICES, "volume").cast(pl.Float64, strict=False)
    is_given = pl.any_horizontal(pl.col(*RANGE_PRICES).is_not_null())
    date = fields.schema["session_date"]
    session = pl.col("session_date")
    fields = fields.with_columns(
        number,
        session=(session if date == pl.Date else session.str.to_date("%Y-%m-%d", strict=False))
        .to_physical()
        .cast(pl.Int32),
        has_range=is_given,
    )
    lacks_range = pl.all_horizontal(pl.col(*RANGE_PRICES).is_null()) & ~pl.col("has_range")
    is_valid = (
        (pl.col("schema") == BAR)
        & pl.col("is_final").fill_null(value=True)
        & pl.col("interval").str.contains(_INTERVAL_PATTERN)
        & (pl.col("ts_close_ns") > pl.col("ts_open_ns"))
        & pl.col("instrument_id").is_not_null()
        & pl.col("ts_open_ns").is_between(EARLIEST_NS, LATEST_NS)
        & pl.col("ts_close_ns").is_between(EARLIEST_NS, LATEST_NS)
        & pl.col("session").is_between(EARLIEST_NS // DAY_NS, LATEST_NS // DAY_NS)
        & (pl.min_horizontal(_PRICES) > 0)
        & pl.col("close").is_finite()
        & (
            lacks_range
            | (pl.all_horizontal(pl.col(*RANGE_PRICES).is_finite()) & (pl.col("high") >= pl.col("low")))
        )
        & (pl.col("volume").is_null() | (pl.col("volume").is_finite() & (pl.col("volume") >= 0)))
    )
    return fields.filter(is_valid).select(
        instrument="instrument_id",
        interval="interval",
        open_ns="ts_open_ns",
        close_ns="ts_close_ns",
        session="session",
        open="open",
        high="high",
        low="low",
        close="close",
        volume="volume",
        revision=pl.col("revision").fill_null(0).cast(pl.Int32, strict=False).fill_null(0),
    )


def decode_indicators(lines: pl.Series) -> pl.DataFrame:
    """Decode the indicators among records.

    Returns
    -------
    frame
        Columns instrument, interval, open_ns, and a float64 column per indicator (null: no value).
    """
    if lines.is_empty():
        return indicators_from_fields(_INDICATOR_FIELDS.to_frame())
    return indicators_from_fields(parse_documents(lines, _INDICATOR_FIELDS)[0])


def indicators_from_fields(fields: pl.DataFrame) -> pl.DataFrame:
    """Convert the fields of ``indicator.v1`` records to rows; ``values`` is JSON text."""
    valid = fields.filter(
        (pl.col("schema") == INDICATOR)
        & pl.col("interval").str.contains(_INTERVAL_PATTERN)
        & pl.col("ts_open_ns").is_between(EARLIEST_NS, LATEST_NS)
        & pl.col("instrument_id").is_not_null()
    )
    keys = valid.select(instrument="instrument_id", interval="interval", open_ns="ts_open_ns")
    return pl.concat([keys, _decode_values(valid.get_column("values"))], how="horizontal")


def _decode_values(texts: pl.Series) -> pl.DataFrame:
    """Return the members of flat JSON objects as float64 columns."""
    texts = texts.fill_null("{}")
    distinct = texts.str.replace_all(r":[^,}]*", ":").unique()
    names = (
        distinct.str.extract_all(r'"([^"]*)":')
        .explode(empty_as_null=False)
        .unique()
        .str.slice(1)
        .str.head(-2)
    )
    indicator_names = [
        name for name in sorted(names.drop_nulls()) if name not in {"instrument", "interval", "open_ns"}
    ]
    if not indicator_names:
        return pl.DataFrame(height=len(texts))
    schema = pl.Schema(dict.fromkeys(indicator_names[:_MAX_INDICATORS], pl.Float64()))
    decoded, is_valid = parse_documents(texts, schema)
    if is_valid.all():
        return decoded
    all_rows = pl.Series(range(len(texts)))
    valid_rows = all_rows.filter(is_valid)
    return (
        pl.DataFrame({"n": all_rows})
        .join(decoded.with_columns(n=valid_rows), on="n", how="left", maintain_order="left")
        .drop("n")
    )
