"""The tables and views in BigQuery, as data. Pure.

A table holds what its kind's topics hold, every revision of it; the view of the kind's name shows what
counts. Daily bars and indicators have tables of their own: a load of twenty years of them touches 5,000 days,
but a job may change 4,000 partitions only, and a day of them is too little for a partition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from tickerlake.lake.duck import counts
from tickerlake.lake.typed import SCHEMA_OF, frame_schema

Partition = Literal["DAY", "MONTH"]
DAILY: Final = "1d"
_TYPES: Final = {
    pl.String(): "STRING",
    pl.Int64(): "INT64",
    pl.Date(): "DATE",
    pl.Boolean(): "BOOL",
    pl.Datetime("us", "UTC"): "TIMESTAMP",
    pl.List(pl.String()): "STRING",
}


@dataclass(frozen=True, slots=True)
class Field:
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
    kind: str
    partition: Partition

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its columns."""
        return tuple(
            Field(name, _TYPES.get(dtype, "NUMERIC"), isinstance(dtype, pl.List))
            for name, dtype in frame_schema(self.kind).items()
        )


def tables(kind: str) -> tuple[TableSpec, ...]:
    """Return the tables of a kind; of bars and indicators the second is for daily ones."""
    if kind in {"bars", "indicators"}:
        return TableSpec(f"raw_{kind}", kind, "DAY"), TableSpec(f"raw_{kind}_daily", kind, "MONTH")
    return (TableSpec(f"raw_{kind}", kind, "MONTH" if kind == "alerts" else "DAY"),)


TABLES: Final = {table.name: table for kind in SCHEMA_OF for table in tables(kind)}
PARTITION_FIELD: Final = "session_date"
CLUSTER_FIELD: Final = "instrument_id"


def divide(kind: str, frame: pl.DataFrame) -> list[tuple[TableSpec, pl.DataFrame]]:
    """Return what of a frame goes into which table; tables that get nothing are left out."""
    own = tables(kind)
    if len(own) == 1:
        parts = [(own[0], frame)]
    else:
        daily = pl.col("interval") == DAILY
        parts = [(own[0], frame.filter(~daily)), (own[1], frame.filter(daily))]
    return [(table, part) for table, part in parts if part.height]


def view_sql(kind: str, dataset: str, sources: Iterable[str]) -> str:
    """Return the text of a kind's view: what counts of some tables.

    The day is part of what rows are compared by, so that a condition on it passes over partitions.
    """
    union = " union all ".join(f"select * from `{dataset}`.{name}" for name in sources)
    return f"select * from ({union}) as r where true {counts(kind, PARTITION_FIELD, of='r.')}".rstrip()


def all_sql(kind: str, dataset: str, source: str) -> str:
    """Return the text of a kind's view over a table of which every row counts."""
    columns = ", ".join(f"r.{name}" for name in frame_schema(kind).names())
    return f"select {columns} from `{dataset}`.{source} as r"
