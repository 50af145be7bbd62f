"""SQL over the lake: curated files and what is not yet curated, each record once.

DuckDB reads the curated files where they are. What the segments hold beyond them is read once and laid
out as Parquet in a folder of this query's own; only kinds that are asked for. Nothing is written to the lake.
"""

import re
import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl

from tickerlake.errors import UsageError
from tickerlake.lake import curated
from tickerlake.lake.curated import Kinds, State
from tickerlake.lake.duck import latest, literal, names, open_database, parquet
from tickerlake.lake.reader import topics
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.typed import RANKED, SCHEMA_OF, Records, SessionDates, frame_schema, read_ahead
from tickerlake.lake.views import views
from tickerlake.lake.writer import read_topic

KINDS: Final = tuple(SCHEMA_OF)
_WORD: Final = re.compile(r"[a-z_]+")
_SQL_TYPES: Final = {
    pl.String(): "varchar",
    pl.Int64(): "bigint",
    pl.Date(): "date",
    pl.Boolean(): "boolean",
    pl.Datetime("us", "UTC"): "timestamptz",
    pl.List(pl.String()): "varchar[]",
}


class LakeDatabase:
    """A lake as a database, with the views ``bars``, ``trades``, ``quotes``, ``alerts``, ``indicators``.

    Parameters
    ----------
    store
        The lake.
    dates
        Finds the exchange day of records that do not say it.
    memory
        How much DuckDB may use, such as ``2GB``; more spills to disk.
    report
        Told what is being read.

    Notes
    -----
    It shows the lake as it was when a kind was first asked for; `refresh` forgets that.
    """

    def __init__(
        self,
        store: Store,
        dates: SessionDates,
        *,
        memory: str = "2GB",
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._dates = dates
        self._report = report
        self._folder = tempfile.TemporaryDirectory(prefix="tickerlake-query-")
        self._database = open_database(Path(self._folder.name), memory)
        self._database.execute("create schema lake")
        self._database.execute("create type float64 as double")  # as the views call it
        self._database.execute("set search_path = 'lake,main'")
        for kind in KINDS:
            self._database.execute(f"create view lake.{kind} as from {self._empty(kind)}")
        for view in views().values():
            self._database.execute(f"create view lake.{view.name} as {view.sql}")
        self._state: State | None = None
        self._kinds = Kinds(store)
        self._ready: set[str] = set()
        self._parts = 0
        self.misfits = 0
        """How many records that are not curated yet were left out, since they are none of their kind."""
        self.not_curated = 0
        """How many records were read from raw segments."""
        if isinstance(store, LocalStore):
            self._root = store.uri
        else:
            from tickerlake.lake.store.files import StoreFiles

            self._database.register_filesystem(StoreFiles(store, self._size))
            self._root = "lake:/"

    def close(self) -> None:
        """Release files and memory."""
        self._database.close()
        self._folder.cleanup()

    def refresh(self) -> None:
        """Show the lake as it is now."""
        self._state, self._ready = None, set()
        self._kinds.look_again()
        self.misfits = self.not_curated = 0

    def query(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        """Run one statement that reads.

        Returns
        -------
        duckdb.DuckDBPyRelation
            It is computed when its rows are fetched.

        Raises
        ------
        UsageError
            The statement is wrong, or does something else than read.
        """
        import duckdb

        try:
            reading = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
            statements = self._database.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in reading:
                raise UsageError("Only one statement that reads can be run here.", "Write one select.")
            self.prepare(_WORD.findall(sql.lower()))
            return self._database.sql(sql, params=list(parameters))
        except duckdb.Error as error:
            raise UsageError(f"The query is wrong: {error}", _help()) from error

    def prepare(self, wanted: Iterable[str]) -> None:
        """Read what some views show, by their names; other words are passed over."""
        for name in wanted:
            if view := views().get(name):
                self.prepare(view.reads)
            elif name in KINDS and name not in self._ready:
                self._ready.add(name)
                self._prepare_kind(name)

    def _size(self, key: str) -> int | None:
        file = self._state.files.get(key) if self._state else None
        return file.bytes if file else None

    def _prepare_kind(self, kind: str) -> None:
        if self._state is None:
            self._state = curated.read_state(self._store)
        columns = names(frame_schema(kind).names())
        files = self._state.of(kind)
        if files:
            paths = [f"{self._root}/{file.key}" for file in files]
            hive = (
                "{'date': 'DATE', 'interval': 'VARCHAR'}" if files[0].place.interval else "{'date': 'DATE'}"
            )
            source = parquet(paths, f", hive_partitioning=true, hive_types={hive}")
        else:
            source = f"(select *, session_date as date from {self._empty(kind)})"
        self._database.execute(f"create or replace view lake._{kind}_old as from {source}")
        sql = f"select {columns}, date from lake._{kind}_old"
        if tail := self._read_tail(kind, self._state):
            self._database.execute(f"create or replace view lake._{kind}_new as select {columns} from {tail}")
            if key := RANKED.get(kind):
                sql = self._without_superseded(kind, *key)
            else:
                sql += f" union all select {columns}, session_date as date from lake._{kind}_new"
        # by its date, the name of a folder, whole files can be passed over
        self._database.execute(f"create or replace view lake._{kind}_all as {sql}")
        self._database.execute(
            f"create or replace view lake.{kind} as select {columns} from lake._{kind}_all"
        )

    def _without_superseded(self, kind: str, key: tuple[str, ...], revision: str) -> str:
        """Return the SQL of rows of which no later revision is on the other side; a tie goes to the new."""
        same = " and ".join(f"a.{name} = b.{name}" for name in key)
        columns = names(frame_schema(kind).names(), "a.")
        newer = f"and b.{revision} >= a.{revision}" if revision else ""
        sql = (
            f"select {columns}, a.date from lake._{kind}_old a where not exists "
            f"(select 1 from lake._{kind}_new b where {same} {newer}) "
            f"union all select {columns}, a.session_date as date from lake._{kind}_new a"
        )
        if revision:
            low, high = self._database.execute(
                f"select min(session_date), max(session_date) from lake._{kind}_new"
            ).fetchone()
            sql += (
                f" where not exists (select 1 from lake._{kind}_old b "
                f"where b.session_date between {_day(low)} and {_day(high)} "
                f"and {same} and b.{revision} > a.{revision})"
            )
        return sql

    def _empty(self, kind: str) -> str:
        columns = ", ".join(
            f'null::{_SQL_TYPES.get(dtype, "decimal(38,9)")} as "{name}"'
            for name, dtype in frame_schema(kind).items()
        )
        return f"(select {columns} where false)"

    def _read_tail(self, kind: str, state: State) -> str:
        """Lay out what is not curated yet, and return the SQL that reads it, empty if there is nothing."""
        paths: list[str] = []
        for name in topics(self._store):
            topic = read_topic(self._store, name)
            if self._kinds.of(topic, state) != kind:
                continue
            found = curated.untaken(self._store, topic, state.through(name))
            for _, records in read_ahead(self._store, found, kind, self._dates):
                self._keep(records, paths, name)
        if not paths:
            return ""
        if kind not in RANKED:
            return parquet(paths)
        path = str(Path(self._folder.name) / f"{kind}-{self._parts}.parquet")
        self._database.execute(f"copy ({latest(kind, parquet(paths))}) to {literal(path)} (format parquet)")
        return parquet([path])

    def _keep(self, records: Records, paths: list[str], topic: str) -> None:
        self.misfits += len(records.misfits)
        if records.frame.height:
            self.not_curated += records.frame.height
            path = str(Path(self._folder.name) / f"{self._parts}.parquet")
            self._parts += 1
            records.frame.write_parquet(path, compression="lz4")
            paths.append(path)
        self._report(f"{self._store.uri}: {self.not_curated:,} records of {topic}, not compacted yet")


def _help() -> str:
    return (
        f"There are {', '.join(KINDS)} and the views {', '.join(sorted(views()))}; "
        "`describe bars`, for example, lists columns."
    )


def _day(day: date) -> str:
    return f"date '{day.isoformat()}'"
