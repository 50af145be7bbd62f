"""A query reads the lake, and neither reads nor writes anything else."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from lake.test_compact import compact
from support.lake_builder import LakeTopic, bar, utc_dates
from tickerlake.errors import UsageError
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.sandbox import query_errors
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore

_SEGMENT = "raw/t/partition=0/00000000000000000000.ndjson.gz"

OUTSIDE = [
    "from glob('/etc/*')",
    "from glob('{outside}/*')",
    "select content from read_text('/proc/self/environ')",
    "from read_text('/proc/self/cmdline')",
    "from read_blob('{outside}/secret.csv')",
    "from read_csv('{outside}/secret.csv')",
    "from '{outside}/secret.csv'",
    'from "{outside}/secret.csv"',
    "from read_json('{outside}/secret.json')",
    "from read_ndjson_objects('{outside}/secret.json')",
    "from read_parquet('{outside}/secret.parquet')",
    "from '{outside}/*.parquet'",
    "from parquet_metadata('{outside}/secret.parquet')",
    "from parquet_kv_metadata('{outside}/secret.parquet')",
    "from sniff_csv('{outside}/secret.csv')",
    "from read_duckdb('{outside}/secret.db')",
    "from read_csv(['{inside}/_lake.json', '{outside}/secret.csv'])",
    "from read_csv('{inside}/../outside/secret.csv')",
    "from read_csv('{inside}/curated/../../outside/secret.csv')",
    "from read_csv('file://{outside}/secret.csv')",
    "from read_csv('{inside}-2/secret.csv')",
    "from read_csv('secret.csv')",
    "from read_csv('/dev/stdin')",
    "from read_csv('https://example.com/x.csv')",
    "from 's3://bucket/x.parquet'",
    "from read_csv('memory://x.csv')",
    "from query('from read_text(''/proc/self/environ'')')",
    "from bars where symbol in (select content from read_text('{outside}/secret.csv'))",
    "explain analyze from read_csv('{outside}/secret.csv')",
    "select getenv('HOME')",
    "from duckdb_secrets()",
    "from secret_frame",
    "from self",
    "from store",
    "from enable_logging(storage := 'file', storage_path := '{outside}/log')",
    "from enable_profiling(save_location := '{outside}/profile')",
]

WRITING = [
    "copy (select 1) to '{outside}/x.csv'",
    "copy (select 1) to '{segment}'",
    "explain copy (select 1) to '{segment}'",
    "explain analyze copy (select 1) to '{segment}' (format csv)",
    "EXPLAIN\tANALYZE(copy (select 1) to '{segment}')",
    "explain (analyze) copy (select 1) to '{segment}'",
    "explain (analyze, format json) copy (select 1) to '{segment}'",
    "explain /* x */ analyze -- y\n copy (select 1) to '{segment}'",
    "explain analyze /* /* */ select 1 -- */ copy (select 1) to '{segment}'",
    "with x as (copy (select 1) to '{segment}') from x",
    "with x as materialized (copy (from bars) to '{segment}' (format csv)) select 1",
    "with x as (copy (select 1) to '{outside}/x.csv') from x",
    "explain analyze with x as (copy (select 1) to '{segment}') from x",
    "from query('copy (select 1) to ''{segment}''')",
    "from query('with x as (copy (select 1) to ''{segment}'') from x')",
    "describe with x as (copy (select 1) to '{segment}') from x",
    "select 1; copy (select 1) to '{segment}'",
    "explain analyze create table t as select 1",
    "explain analyze delete from lake.bars",
    "explain analyze insert into lake.bars from bars",
    "create table t as select 1",
    "create or replace view lake.bars as select 1",
    "create macro m() as 1",
    "drop view lake.bars",
    "insert into lake.bars from bars",
    "with x as (delete from lake.bars returning *) from x",
    "update lake.bars set symbol = 'x'",
    "attach '{outside}/x.db'",
    "attach ':memory:' as other",
    "detach memory",
    "export database '{outside}/x'",
    "import database '{outside}'",
    "install httpfs",
    "load httpfs",
    "update extensions",
    "set enable_external_access = true",
    "set allowed_directories = ['/']",
    "reset lock_configuration",
    "set variable x = 1",
    "pragma enable_profiling",
    "pragma database_list",
    "call pragma_version()",
    "call enable_logging()",
    "checkpoint",
    "vacuum",
    "begin",
    "prepare p as select 1",
    "explain pragma version",
    "explain set memory_limit = '1TB'",
    "use main",
    "create secret (type s3)",
    "",
    "-- nothing",
    ";",
    "explain",
    "explain analyze",
    "select '\udcff'",
]  # fmt: skip


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def database(tmp: Path) -> Iterator[LakeDatabase]:
    """A lake beside a folder with files that must not be reached, one of them by links."""
    store = LocalStore(tmp / "lake")
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", minute) for minute in range(3)])
    compact(store, tmp)
    topic.add_segment([bar("B", 0)])
    for folder in ("outside", "lake-2"):
        (tmp / folder).mkdir()
        (tmp / folder / "secret.csv").write_text("a\n1\n")
    outside = tmp / "outside"
    (outside / "secret.json").write_text('{"a": 1}\n')
    pl.DataFrame({"a": [1]}).write_parquet(outside / "secret.parquet")
    duckdb.connect(str(outside / "secret.db")).close()
    (tmp / "lake/link.csv").symlink_to(outside / "secret.csv")
    (tmp / "lake/folder").symlink_to(outside)
    opened = LakeDatabase(store, utc_dates)
    yield opened
    opened.close()


def _fails(database: LakeDatabase, sql: str, folder: Path) -> str:
    secret_frame = pl.DataFrame({"a": [1]})
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    places = {
        "outside": folder / "outside", "inside": folder / "lake", "segment": folder / "lake" / _SEGMENT,
    }  # fmt: skip
    with pytest.raises(UsageError) as caught, query_errors():
        database.query(sql.format_map(places)).fetchall()
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert secret_frame.height == 1
    # the database is as it was
    assert database.query("select count(*) from bars").fetchall() == [(4,)]
    return str(caught.value)


@pytest.mark.parametrize("sql", OUTSIDE)
def test_a_query_reaches_nothing_but_the_lake(
    tmp: Path, database: LakeDatabase, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp / "outside")
    _fails(database, sql, tmp)


@pytest.mark.parametrize("sql", WRITING)
def test_a_query_does_not_write(tmp: Path, database: LakeDatabase, sql: str) -> None:
    _fails(database, sql, tmp)
    assert not Path("x.csv").exists()


@pytest.mark.parametrize("path", ["link.csv", "folder/secret.csv", "folder/*"])
def test_links_out_of_the_lake_are_not_followed(tmp: Path, database: LakeDatabase, path: str) -> None:
    message = _fails(database, f"from read_csv('{{inside}}/{path}')", tmp)
    assert "reads the lake and nothing else" in message


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select count(*) from bars", [(4,)]),
        ("with b as (from bars) select count(*) from b", [(4,)]),
        ("(select 1)", [(1,)]),
        ("values (1), (2)", [(1,), (2,)]),
        ("select count(*) from (describe bars) where column_name = 'close'", [(1,)]),
        ("select symbol from bars where symbol = ? and revision = ?", [("B",)]),
        ("select copy from (select 1 as copy)", [(1,)]),
        ("select count(*) from glob('{inside}/curated/**/*.parquet')", [(1,)]),
        ("select count(*) from read_csv('{inside}/" + _SEGMENT + "', header = false, delim = '\\0')", [(3,)]),
        ("select count(*) from data_quality", [(1,)]),
        ("pivot (select symbol, 1 as one from bars) on symbol in ('A', 'B') using sum(one)", [(3, 1)]),
    ],
)
def test_queries_that_only_read_the_lake_work(
    tmp: Path, database: LakeDatabase, sql: str, rows: list[object]
) -> None:
    parameters = ["B", 0] if "?" in sql else []
    assert database.query(sql.format(inside=tmp / "lake"), parameters).fetchall() == rows


@pytest.mark.parametrize(
    "sql",
    [
        "explain select count(*) from bars",
        "explain analyze select count(*) from bars",
        "explain (format json) from bars",
        "explain (analyze, format json) from bars",
        "EXPLAIN ANALYZE (select 1)",
        "explain describe bars",
        "show tables",
        "summarize bars",
        "explain /* twice */ select 1 -- end",
        "describe bars",
    ],
)
def test_plans_and_descriptions_are_shown(database: LakeDatabase, sql: str) -> None:
    assert database.query(sql).fetchall()


def test_a_large_query_spills_under_the_lock(tmp_path: Path) -> None:
    database = LakeDatabase(LocalStore(tmp_path), utc_dates, memory="60MB")
    sql = "select i from range(6_000_000) t(i) order by hash(i) limit 1 offset 4_000_000"
    assert len(database.query(sql).fetchall()) == 1
    database.close()


@pytest.mark.parametrize("name", ["lake with 'quote", "läke", "linked"])
def test_lakes_of_any_name_are_read(tmp_path: Path, name: str) -> None:
    if name == "linked":
        (tmp_path / "real").mkdir()
        (tmp_path / name).symlink_to(tmp_path / "real")
    store = LocalStore(tmp_path / name)
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", 0)])
    compact(store, tmp_path)
    topic.add_segment([bar("A", 1)])
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*) from bars").fetchall() == [(2,)]
    database.close()


def test_a_remote_lake_is_read_and_nothing_else(tmp_path: Path) -> None:
    store: Store = MemoryStore()
    LakeTopic(store, "t").add_segment([bar("A", 0)])
    compact(store, tmp_path)
    database = LakeDatabase(store, utc_dates)
    assert database.query("select count(*) from bars").fetchall() == [(1,)]
    key = next(info.key for info in store.list("curated/") if info.key.endswith(".parquet"))
    assert database.query(f"select count(*) from 'lake://{key}'").fetchall() == [(1,)]
    for sql in (
        "copy (select 1) to 'lake://raw/x'",
        "with x as (copy (select 1) to 'lake://raw/x') from x",
        "from read_text('/proc/self/environ')",
        "from 'gs://bucket/x.parquet'",
    ):
        with pytest.raises(UsageError):
            database.query(sql)
    database.close()


def test_a_memory_limit_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a memory limit"):
        LakeDatabase(LocalStore(tmp_path), utc_dates, memory="lots")


def test_errors_quote_the_query(tmp_path: Path) -> None:
    database = LakeDatabase(LocalStore(tmp_path), utc_dates)
    with pytest.raises(UsageError) as caught:
        database.query("select 1 from bars where nope = 1")
    assert caught.value.message.endswith(
        "LINE 1: select 1 from bars where nope = 1\n                                 ^^^^"
    )
    database.close()
