"""SQL over the lake: curated files and pending records, each record once.

DuckDB reads the curated files in place. Pending records, which are not compacted yet, are read from their
segments once and staged as Parquet in a temporary folder, for the record types that a query uses. A query
reads these two and nothing else, and writes nothing (`sandbox`).
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from tickerlake.errors import UsageError
from tickerlake.lake import curated
from tickerlake.lake.curated import CuratedState
from tickerlake.lake.duckdb_sql import (
    column_list,
    latest_rows_sql,
    open_database,
    read_parquet_sql,
    sql_literal,
)
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.reader import topics
from tickerlake.lake.sandbox import check_reads, lock, query_errors
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import read_topic
from tickerlake.lake.typed_records import (
    DEDUP_KEYS,
    Records,
    SessionDateLookup,
    frame_schema,
    prefetch_chunks,
)
from tickerlake.lake.views import views
from tickerlake.model.schema import SCHEMA_OF

RECORD_TYPES: Final = tuple(SCHEMA_OF)
_IDENTIFIER: Final = re.compile(r"[a-z_]+")
_SQL_TYPES: Final = {
    pl.String(): "varchar",
    pl.Int64(): "bigint",
    pl.Date(): "date",
    pl.Boolean(): "boolean",
    pl.Datetime("us", "UTC"): "timestamptz",
    pl.List(pl.String()): "varchar[]",
}


@dataclass(slots=True)
class PendingRows:
    """Rows of a topic that are not compacted.

    Parameters
    ----------
    rows
        All of them.
    records, rejects
        By record type: those that were read, and those that name its schema but lack what it requires.
    first_reason
        Why the first of them was rejected.
    """

    rows: int = 0
    records: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    first_reason: str = ""


class LakeDatabase:
    """A lake as a database, with the views ``bars``, ``trades``, ``quotes``, ``alerts``, ``indicators``.

    Parameters
    ----------
    store
        The lake.
    session_dates
        Finds the session date of records without one.
    memory
        DuckDB's memory limit, such as ``2GB``; larger queries spill to disk.
    report
        Called with a line of progress while pending records are read.
    output_files
        Files outside the lake to which results are written.

    Notes
    -----
    A record type is read when a query first uses it, and stays as it was then until `refresh`.
    """

    def __init__(
        self,
        store: ReadableStore,
        session_dates: SessionDateLookup,
        *,
        memory: str = "2GB",
        report: Callable[[str], None] = lambda _: None,
        output_files: Iterable[Path] = (),
    ) -> None:
        check_format_version(store)
        self._store = store
        self._session_dates = session_dates
        self._report = report
        self._folder = tempfile.TemporaryDirectory(prefix="tickerlake-query-")
        try:
            self._database = open_database(Path(self._folder.name), memory)
        except UsageError:
            self._folder.cleanup()
            raise
        self._database.execute("create schema lake")
        self._database.execute("create type float64 as double")  # the type name that the views use
        self._database.execute("set search_path = 'lake,main'")
        for record_type in RECORD_TYPES:
            self._database.execute(f"create view lake.{record_type} as from {self._empty_sql(record_type)}")
        for view in views().values():
            self._database.execute(f"create view lake.{view.name} as {view.sql}")
        self._state: CuratedState | None = None
        self._prepared: set[str] = set()
        self._part_count = 0
        self.pending: dict[str, PendingRows] = {}
        """By topic: what was found in raw segments."""
        if store.local_path:
            self._root = store.uri
        else:
            from tickerlake.lake.store.filesystem import StoreFileSystem

            self._database.register_filesystem(StoreFileSystem(store, self._find_size))
            self._root = "lake:/"
        folders = (f"{self._root}/", os.path.realpath(self._folder.name))
        lock(self._database, folders, [str(path.absolute()) for path in output_files])

    def close(self) -> None:
        """Release files and memory."""
        self._database.close()
        self._folder.cleanup()

    def refresh(self) -> None:
        """Show the lake as it is now."""
        self._state, self._prepared, self.pending = None, set(), {}

    @property
    def not_curated(self) -> int:
        """Number of records that were read from raw segments."""
        return sum(each.records.total() for each in self.pending.values())

    def notes(self) -> list[str]:
        """Say how many rows of which topics are not in the tables that were used, and why."""
        used = [name for name in RECORD_TYPES if name in self._prepared]
        if not used or self._state is None:
            return []
        tables = " or ".join(used)
        notes = []
        for topic, pending in self.pending.items():
            others = pending.rows - pending.records.total() - pending.rejects.total()
            if others and pending.records:
                notes.append(f"{topic}: {others:,} of {pending.rows:,} rows are not {tables}")
            if pending.rejects:
                rejects = pending.rejects.total()
                notes.append(f"{topic}: {rejects:,} rejected, the first: {pending.first_reason}")
        for topic, consumed in self._state.consumed.items():
            rows, rejects = consumed.rows, consumed.rejects
            if rejects and (not rows or not rows.keys().isdisjoint(used)):
                notes.append(f"{topic}: {rejects:,} rejected when compacted; reasons: {curated.REJECTS}")
        rows_read = sum(each.rows for each in self.pending.values())
        if rows_read and not notes and not self.not_curated and not any(map(self._state.files_of, used)):
            notes.append(f"none of {rows_read:,} rows is of {tables}")
        return notes

    def query(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        """Run one SELECT, or an EXPLAIN of one.

        Returns
        -------
        duckdb.DuckDBPyRelation
            A lazy relation: it is computed when its rows are fetched (in `sandbox.query_errors`).

        Raises
        ------
        UsageError
            The statement is invalid, writes, or reads anything but the lake.
        """
        values = list(parameters)
        with query_errors(_query_hint()):
            self.prepare(_IDENTIFIER.findall(sql.lower()))
            return self._database.sql(check_reads(self._database, sql, values), params=values)

    @contextmanager
    def frames(self, frames: Mapping[str, pl.DataFrame]) -> Iterator[None]:
        """Make frames available to queries, by name, until the block ends.

        Raises
        ------
        UsageError
            A name is not one, or is that of a table or view.
        """
        with ExitStack() as stack:
            for name, frame in frames.items():
                if not _IDENTIFIER.fullmatch(name) or name in RECORD_TYPES or name in views():
                    raise UsageError(
                        f"A frame cannot have the name {name!r}.",
                        "Use lower-case letters and underscores, and no name of a table or view.",
                    )
                self._database.register(name, frame.to_arrow())
                stack.callback(self._database.unregister, name)
            yield

    def prepare(self, view_names: Iterable[str]) -> None:
        """Read the records that some views show; other names are skipped."""
        for name in view_names:
            if view := views().get(name):
                self.prepare(view.dependencies)
            elif name in RECORD_TYPES and name not in self._prepared:
                with query_errors("Run `tickerlake audit`."):
                    self._prepare_record_type(name)
                self._prepared.add(name)

    def _find_size(self, key: str) -> int | None:
        file = self._state.files.get(key) if self._state else None
        return file.bytes if file else None

    def _prepare_record_type(self, record_type: str) -> None:
        """Create the views ``_<type>_curated``, ``_<type>_pending`` and, of both, ``_<type>_all``."""
        if self._state is None:
            self._state = curated.read_state(self._store)
        columns = column_list(frame_schema(record_type).names())
        source = self._curated_sql(record_type, self._state)
        self._database.execute(f"create or replace view lake._{record_type}_curated as from {source}")
        sql = f"select {columns}, date from lake._{record_type}_curated"
        if pending_sql := self._stage_pending(record_type, self._state):
            self._database.execute(
                f"create or replace view lake._{record_type}_pending as select {columns} from {pending_sql}"
            )
            if dedup_key := DEDUP_KEYS.get(record_type):
                sql = self._without_superseded(record_type, *dedup_key)
            else:
                sql += f" union all select {columns}, session_date as date from lake._{record_type}_pending"
        # conditions on date, which is part of the folder's name, skip whole files
        self._database.execute(f"create or replace view lake._{record_type}_all as {sql}")
        self._database.execute(
            f"create or replace view lake.{record_type} as select {columns} from lake._{record_type}_all"
        )

    def _curated_sql(self, record_type: str, state: CuratedState) -> str:
        files = state.files_of(record_type)
        if not files:
            return f"(select *, session_date as date from {self._empty_sql(record_type)})"
        interval = ", 'interval': 'VARCHAR'" if files[0].folder.interval else ""
        return read_parquet_sql(
            (f"{self._root}/{file.key}" for file in files),
            f", hive_partitioning=true, hive_types={{'date': 'DATE'{interval}}}",
        )

    def _without_superseded(self, record_type: str, key: tuple[str, ...], revision: str) -> str:
        """Return a query for the rows without a later revision in the other view.

        Pending rows win over curated ones of the same revision: their offsets are higher.
        """
        key_match = " and ".join(f"a.{name} = b.{name}" for name in key)
        columns = column_list(frame_schema(record_type).names(), "a.")
        newer = f"and b.{revision} >= a.{revision}" if revision else ""
        sql = (
            f"select {columns}, a.date from lake._{record_type}_curated a where not exists "
            f"(select 1 from lake._{record_type}_pending b where {key_match} {newer}) "
            f"union all select {columns}, a.session_date as date from lake._{record_type}_pending a"
        )
        if revision:
            low, high = self._database.execute(
                f"select min(session_date), max(session_date) from lake._{record_type}_pending"
            ).fetchone()
            sql += (
                f" where not exists (select 1 from lake._{record_type}_curated b "
                f"where b.session_date between {_date_literal(low)} and {_date_literal(high)} "
                f"and {key_match} and b.{revision} > a.{revision})"
            )
        return sql

    def _empty_sql(self, record_type: str) -> str:
        columns = ", ".join(
            f'null::{_SQL_TYPES.get(dtype, "decimal(38,9)")} as "{name}"'
            for name, dtype in frame_schema(record_type).items()
        )
        return f"(select {columns} where false)"

    def _stage_pending(self, record_type: str, state: CuratedState) -> str:
        """Stage the pending records of a type; return the SQL that reads them, empty if there are none."""
        paths: list[str] = []
        for name in topics(self._store):
            topic = read_topic(self._store, name)
            pending = curated.pending_chunks(self._store, topic, state.next_offsets(name))
            rows = 0
            for chunk, records in prefetch_chunks(
                self._store, pending, [record_type], self._session_dates, complete=False
            ):
                rows += chunk.records
                self._stage(records, record_type, paths, name)
            if rows:
                self.pending.setdefault(name, PendingRows()).rows = rows
        if not paths:
            return ""
        if record_type not in DEDUP_KEYS:
            return read_parquet_sql(paths)
        path = str(Path(self._folder.name) / f"{record_type}-{self._part_count}.parquet")
        latest_rows = latest_rows_sql(record_type, read_parquet_sql(paths))
        self._database.execute(f"copy ({latest_rows}) to {sql_literal(path)} (format parquet)")
        return read_parquet_sql([path])

    def _stage(self, records: Records, record_type: str, paths: list[str], topic: str) -> None:
        pending = self.pending.setdefault(topic, PendingRows())
        if records.rejects:
            pending.first_reason = pending.first_reason or records.rejects[0].reason
            pending.rejects[record_type] += records.rejected
        frame = records.frame(record_type)
        if frame.height:
            pending.records[record_type] += frame.height
            path = str(Path(self._folder.name) / f"{self._part_count}.parquet")
            self._part_count += 1
            frame.write_parquet(path, compression="lz4")
            paths.append(path)
        self._report(f"{self._store.uri}: reading {topic}, {self.not_curated:,} records not compacted yet")


def _query_hint() -> str:
    return (
        f"Tables: {', '.join(RECORD_TYPES)}. Views: {', '.join(sorted(views()))}. "
        "`describe bars` lists the columns of a table."
    )


def _date_literal(day: date) -> str:
    return f"date '{day.isoformat()}'"
