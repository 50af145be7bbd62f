"""The tables and views in BigQuery, as data. Pure.

A table holds what its kind's topics hold, every revision of it; the view of the kind's name shows what
counts. Daily bars and indicators have tables of their own: a load of twenty years of them touches 5,000 days,
but a job may change 4,000 partitions only, and a day of them is too little for a partition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from tickerlake.lake.duckdb_sql import latest_rows_clause
from tickerlake.lake.typed_records import frame_schema
from tickerlake.model.schema import SCHEMA_OF

Granularity = Literal["DAY", "MONTH"]
DAILY_INTERVAL: Final = "1d"
_TYPES: Final = {
    pl.String(): "STRING",
    pl.Int64(): "INT64",
    pl.Date(): "DATE",
    pl.Boolean(): "BOOL",
    pl.Datetime("us", "UTC"): "TIMESTAMP",
    pl.List(pl.String()): "STRING",
}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column: its name, BigQuery's type, and whether it is a list."""

    name: str
    type: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table that is loaded.

    Parameters
    ----------
    name
        ``raw_bars``, ``raw_bars_daily`` …
    kind
        ``bars`` …
    partition
        Whether a partition holds a day or a month of sessions.
    """

    name: str
    record_type: str
    granularity: Granularity

    @property
    def fields(self) -> tuple[ColumnSpec, ...]:
        """Its columns."""
        return tuple(
            ColumnSpec(name, _TYPES.get(dtype, "NUMERIC"), isinstance(dtype, pl.List))
            for name, dtype in frame_schema(self.record_type).items()
        )


def tables(record_type: str) -> tuple[TableSpec, ...]:
    """Return the tables of a kind; of bars and indicators the second is for daily ones."""
    if record_type in {"bars", "indicators"}:
        return TableSpec(f"raw_{record_type}", record_type, "DAY"), TableSpec(
            f"raw_{record_type}_daily", record_type, "MONTH"
        )
    return (TableSpec(f"raw_{record_type}", record_type, "MONTH" if record_type == "alerts" else "DAY"),)


TABLES: Final = {table.name: table for kind in SCHEMA_OF for table in tables(kind)}
PARTITION_FIELD: Final = "session_date"
CLUSTER_FIELD: Final = "instrument_id"


def split_by_table(record_type: str, frame: pl.DataFrame) -> list[tuple[TableSpec, pl.DataFrame]]:
    """Return what of a frame goes into which table; tables that get nothing are left out."""
    specs = tables(record_type)
    if len(specs) == 1:
        parts = [(specs[0], frame)]
    else:
        daily = pl.col("interval") == DAILY_INTERVAL
        parts = [(specs[0], frame.filter(~daily)), (specs[1], frame.filter(daily))]
    return [(table, part) for table, part in parts if part.height]


def latest_view_sql(record_type: str, dataset: str, sources: Iterable[str]) -> str:
    """Return the text of a kind's view: what counts of some tables.

    The day is part of what rows are compared by, so that a condition on it passes over partitions.
    """
    union = " union all ".join(f"select * from `{dataset}`.{name}" for name in sources)
    return f"select * from ({union}) as r where true {latest_rows_clause(record_type, PARTITION_FIELD, prefix='r.')}".rstrip()


def plain_view_sql(record_type: str, dataset: str, source: str) -> str:
    """Return the text of a kind's view over a table of which every row counts."""
    columns = ", ".join(f"r.{name}" for name in frame_schema(record_type).names())
    return f"select {columns} from `{dataset}`.{source} as r"
