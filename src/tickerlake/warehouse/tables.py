"""The tables and views in BigQuery, as data. Pure.

A table holds all records of its type, in every revision; the view named like the record type shows those
that count. Daily bars and indicators have separate tables, partitioned by month: twenty years of them have
5,000 session dates, but a job can change 4,000 partitions only, and one day would fill only a tiny partition.
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
    """One column: its name, its BigQuery type, and whether it is an array."""

    name: str
    type: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table that load jobs append to.

    Parameters
    ----------
    name
        ``raw_bars``, ``raw_bars_daily`` …
    record_type
        ``bars`` …
    granularity
        Whether a partition holds a day or a month of session dates.
    """

    name: str
    record_type: str
    granularity: Granularity

    @property
    def fields(self) -> tuple[ColumnSpec, ...]:
        """The columns in order."""
        return tuple(
            ColumnSpec(name, _TYPES.get(dtype, "NUMERIC"), isinstance(dtype, pl.List))
            for name, dtype in frame_schema(self.record_type).items()
        )


def tables(record_type: str) -> tuple[TableSpec, ...]:
    """Return the tables of a record type; bars and indicators have a second one for daily records."""
    if record_type in {"bars", "indicators"}:
        return TableSpec(f"raw_{record_type}", record_type, "DAY"), TableSpec(
            f"raw_{record_type}_daily", record_type, "MONTH"
        )
    return (TableSpec(f"raw_{record_type}", record_type, "MONTH" if record_type == "alerts" else "DAY"),)


TABLES: Final = {table.name: table for record_type in SCHEMA_OF for table in tables(record_type)}
PARTITION_FIELD: Final = "session_date"
CLUSTER_FIELD: Final = "instrument_id"


def split_by_table(record_type: str, frame: pl.DataFrame) -> list[tuple[TableSpec, pl.DataFrame]]:
    """Split a frame by table; tables without rows are left out."""
    specs = tables(record_type)
    if len(specs) == 1:
        parts = [(specs[0], frame)]
    else:
        daily = pl.col("interval") == DAILY_INTERVAL
        parts = [(specs[0], frame.filter(~daily)), (specs[1], frame.filter(daily))]
    return [(table, part) for table, part in parts if part.height]


def latest_view_sql(record_type: str, dataset: str, sources: Iterable[str]) -> str:
    """Return the query of a record type's view: the rows of some tables that count.

    The session date is part of the key by which duplicates are found, so that conditions on it prune
    partitions.
    """
    union = " union all ".join(f"select * from `{dataset}`.{name}" for name in sources)
    latest_rows = latest_rows_clause(record_type, prefix="r.")
    return f"select * from ({union}) as r where true {latest_rows}".rstrip()


def plain_view_sql(record_type: str, dataset: str, source: str) -> str:
    """Return the query of a record type's view over a table whose rows all count."""
    columns = ", ".join(f"r.{name}" for name in frame_schema(record_type).names())
    return f"select {columns} from `{dataset}`.{source} as r"
