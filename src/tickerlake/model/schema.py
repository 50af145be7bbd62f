"""The fields of every record type, as data, and the Polars schemas derived from them.

A time is an ``int64`` of nanoseconds named ``ts_…_ns``. Parquet files also have it as a timestamp of
microseconds named ``ts_…``, for SQL.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import polars as pl

DECIMAL: Final = pl.Decimal(38, 9)
"""The type of every price and size: nine decimals, exact."""

BAR: Final = "bar.v1"
TRADE: Final = "trade.v1"
QUOTE: Final = "quote.v1"
ALERT: Final = "alert.v1"
INDICATOR: Final = "indicator.v1"


RANGE_PRICES: Final = ("open", "high", "low")
"""The prices that a bar lacks, all three, if only its close is known, as of funds, fixings and indices."""


class FieldType(Enum):
    """What a field holds."""

    STRING = "text"
    DECIMAL = "decimal"
    INT = "int"
    FLOAT = "float"
    """A double; used only by columns inferred from records of other producers."""
    TIMESTAMP_NS = "ts"
    DATE = "date"
    BOOL = "bool"
    STRING_LIST = "texts"
    JSON = "json"
    """JSON text; in a message it is nested JSON."""


_POLARS_TYPES: Final[dict[FieldType, pl.DataType]] = {
    FieldType.STRING: pl.String(),
    FieldType.DECIMAL: DECIMAL,
    FieldType.INT: pl.Int64(),
    FieldType.FLOAT: pl.Float64(),
    FieldType.TIMESTAMP_NS: pl.Int64(),
    FieldType.DATE: pl.Date(),
    FieldType.BOOL: pl.Boolean(),
    FieldType.STRING_LIST: pl.List(pl.String()),
    FieldType.JSON: pl.String(),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Parameters
    ----------
    name
        Its name in JSON and in memory.
    type
        What it holds.
    nullable
        True if a record may lack it.
    """

    name: str
    type: FieldType
    nullable: bool = False


def _parse_fields(spec: str) -> tuple[Field, ...]:
    """Read ``name:type`` pairs; a question mark after the type makes the field nullable."""
    fields = []
    for pair in spec.split():
        name, type_ = pair.rstrip("?").split(":")
        fields.append(Field(name, FieldType(type_), pair.endswith("?")))
    return tuple(fields)


SCHEMAS: Final[dict[str, tuple[Field, ...]]] = {
    BAR: _parse_fields("""
        schema:text instrument_id:text symbol:text venue:text? interval:text
        ts_open_ns:ts ts_close_ns:ts session_date:date
        open:decimal? high:decimal? low:decimal? close:decimal
        volume:decimal? vwap:decimal? trade_count:int? adj_close:decimal? adj_factor:decimal? currency:text?
        price_type:text is_final:bool is_partial:bool revision:int
        ts_recv_ns:ts source:text source_line:int? quality:texts extra:json?
    """),
    TRADE: _parse_fields("""
        schema:text instrument_id:text symbol:text venue:text?
        ts_event_ns:ts ts_recv_ns:ts price:decimal size:decimal aggressor_side:text
        trade_id:text? sequence:int? conditions:texts correction:text
        source:text source_line:int? quality:texts extra:json?
    """),
    QUOTE: _parse_fields("""
        schema:text instrument_id:text symbol:text venue:text?
        ts_event_ns:ts ts_recv_ns:ts bid_price:decimal? bid_size:decimal? ask_price:decimal? ask_size:decimal?
        sequence:int? source:text source_line:int? quality:texts extra:json?
    """),
    ALERT: _parse_fields("""
        schema:text alert_id:text rule_id:text rule_version:int kind:text severity:text state:text
        instrument_id:text symbol:text ts_event_ns:ts ts_detected_ns:ts latency_ms:decimal? direction:text
        value:decimal? threshold:decimal? baseline:decimal? unit:text window:text?
        price:decimal? reference_price:decimal? volume:decimal? score:decimal?
        suppressed_count:int dedup_key:text cause:text message:text
    """),
    INDICATOR: _parse_fields("""
        schema:text instrument_id:text symbol:text venue:text? interval:text
        ts_open_ns:ts ts_close_ns:ts session_date:date close:decimal values:json
    """),
}
"""The fields of each schema, in the order in which they are written."""

RECORD_TYPE_OF: Final = {schema: schema.removesuffix(".v1") + "s" for schema in SCHEMAS}
"""The record type of each schema, which names its tables and folders: ``bars`` of ``bar.v1``."""

SCHEMA_OF: Final = {record_type: schema for schema, record_type in RECORD_TYPE_OF.items()}
"""The schema of each record type."""


def fields(schema: str) -> tuple[Field, ...]:
    """Return the fields of a schema.

    Parameters
    ----------
    schema
        One of ``bar.v1``, ``trade.v1``, ``quote.v1``, ``alert.v1``, ``indicator.v1``.
    """
    return SCHEMAS[schema]


def time_columns(schema: str) -> list[str]:
    """Return the names of a schema's timestamp fields."""
    return [field.name for field in fields(schema) if field.type is FieldType.TIMESTAMP_NS]


def polars_type(field_type: FieldType) -> pl.DataType:
    """Return the Polars type of a field type."""
    return _POLARS_TYPES[field_type]


def polars_schema(schema: str) -> pl.Schema:
    """Return the Polars schema of records in memory."""
    return pl.Schema({field.name: polars_type(field.type) for field in fields(schema)})


def has_part_of_range() -> pl.Expr:
    """Return which bars have one or two of `RANGE_PRICES`: a bar has all three or none."""
    return pl.any_horizontal(pl.col(*RANGE_PRICES).is_null()) & pl.any_horizontal(
        pl.col(*RANGE_PRICES).is_not_null()
    )


def with_timestamps(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """Add a timestamp ``ts_…`` after each column ``ts_…_ns`` in ``columns``.

    It has microseconds (UTC), truncated, not rounded.
    """
    selected = set(columns)
    expressions: list[pl.Expr] = []
    for name in frame.columns:
        expressions.append(pl.col(name))
        if name in selected:
            timestamp = (pl.col(name) // 1000).cast(pl.Datetime("us", "UTC"))
            expressions.append(timestamp.alias(name.removesuffix("_ns")))
    return frame.select(expressions)


KAFKA_RECORD_SCHEMA: Final = pl.Schema(
    {
        "offset": pl.Int64,
        "timestamp_ms": pl.Int64,
        "key": pl.Binary,
        "value": pl.Binary,
        "headers": pl.String,
    }
)
"""Columns of a batch of Kafka records of one partition, by offset.

``key``, ``value`` and ``headers`` may be null; headers are JSON (`model.headers.encode_headers`).
"""
