"""Loads into BigQuery (an emulator): each record once, despite crashes, lost replies and retries."""

import io
import itertools
import json
import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from support.bigquery import PROJECT, FakeBigQuery
from support.gcs import FakeGcs
from support.http_fault_proxy import FaultProxy
from support.lake_builder import DAY_NS, LakeTopic, bar, trade, utc_dates
from tickerlake import clock
from tickerlake.errors import UsageError, WarehouseError, WarehouseUnavailable
from tickerlake.lake.query import LakeDatabase
from tickerlake.lake.store import open_store
from tickerlake.lake.store.base import Store
from tickerlake.lake.typed_records import Chunk, count_record_types, frame_schema
from tickerlake.lake.views import views
from tickerlake.warehouse import load as load_module
from tickerlake.warehouse.audit import audit_loads
from tickerlake.warehouse.bigquery import JobFailed, Warehouse
from tickerlake.warehouse.load import Loader, LoadProgress
from tickerlake.warehouse.manifests import ManifestLog
from tickerlake.warehouse.tables import TABLES, TableSpec

# names are random: other modules import this one under another name, so a counter would start twice
NAMES = (f"d{uuid4().hex}" for _ in itertools.count())


@pytest.fixture
def emulators(fake_bigquery: FakeBigQuery, fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", fake_bigquery.url)


@pytest.fixture
def store(emulators: None, fake_gcs: FakeGcs) -> Iterator[Store]:
    bucket = f"bucket-{next(NAMES)}"
    fake_gcs.create_bucket(bucket)
    store = open_store(f"gs://{bucket}/lake")
    yield store
    store.close()


@pytest.fixture
def warehouse(emulators: None) -> Iterator[Warehouse]:
    warehouse = Warehouse(PROJECT, next(NAMES))
    warehouse.open(location="US")
    yield warehouse
    warehouse.close()


def load(store: Store, warehouse: Warehouse, *, with_views: bool = False, **options: Any) -> LoadProgress:
    loader = Loader(store, warehouse, utc_dates, wait=lambda _: False, **options)
    return loader.run(with_views=with_views)


def offsets(warehouse: Warehouse, table: str, topic: str = "t") -> list[int]:
    rows = warehouse.query(
        f"select kafka_offset from `{warehouse.name}`.{table} where kafka_topic = '{topic}' order by 1"
    )
    return [row[0] for row in rows]


def assert_no_findings(store: Store, warehouse: Warehouse) -> None:
    for result in audit_loads(store, warehouse):
        assert not result.findings, result.findings


def test_each_record_is_loaded_once_exact_and_typed(store: Store, warehouse: Warehouse) -> None:
    topic = LakeTopic(store, "t")
    topic.add_segment([trade("A", 1, price=1.000000001, size=0.5), trade("B", 2, day=1)])
    topic.add_segment([trade("A", 3, conditions=["x", "y"])])
    done = load(store, warehouse)
    assert (done.tables, done.loads, done.records) == ({"raw_trades": 3}, 1, 3)
    assert load(store, warehouse).loads == 0
    topic.add_segment([trade("A", 4)])
    assert load(store, warehouse).records == 1
    assert offsets(warehouse, "raw_trades") == [0, 1, 2, 3]
    (row,) = warehouse.query(
        "select price, size, ts_event, session_date, kafka_topic, kafka_partition, instrument_id "
        f"from `{warehouse.name}`.raw_trades where kafka_offset = 0"
    )
    assert row[:2] == (Decimal("1.000000001"), Decimal("0.5"))
    assert [str(value) for value in row[2:]] == [
        "2024-01-01 00:00:01+00:00", "2024-01-01", "t", "0", "A.XXXX",
    ]  # fmt: skip
    table = warehouse._client.get_table(f"{warehouse.name}.raw_trades")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "session_date")
    assert table.clustering_fields == ["instrument_id"]
    assert {f.name: f.field_type for f in table.schema}["price"] == "NUMERIC"
    assert not [info.key for info in store.list("loads/") if info.key.endswith(".parquet")]
    assert_no_findings(store, warehouse)


def test_daily_bars_have_a_separate_table_and_views_show_latest_revisions(
    store: Store, warehouse: Warehouse
) -> None:
    topic = LakeTopic(store, "t", "parquet")
    topic.add_segment([bar("A", 0), bar("A", 0, interval="1d"), bar("A", 0, revision=1)])
    done = load(store, warehouse, with_views=True)
    assert done.tables == {"raw_bars": 2, "raw_bars_daily": 1}
    assert done.views == 5 + len(views())
    load(store, warehouse, with_views=True)
    rows = warehouse.query(f"select kafka_offset from `{warehouse.name}`.bars order by 1")
    assert [row[0] for row in rows] == [1, 2]
    assert warehouse.query(f"select count(*) from `{warehouse.name}`.daily_bars") == [(1,)]
    assert_no_findings(store, warehouse)


def test_a_lake_in_a_folder_is_uploaded(emulators: None, warehouse: Warehouse, tmp_path: Any) -> None:
    store = open_store(str(tmp_path))
    topic = LakeTopic(store, "t", "json")
    topic.add_segment([trade("A", n) for n in range(5)])
    assert load(store, warehouse).tables == {"raw_trades": 5}
    topic.add_segment([trade("A", n) for n in range(2)])
    assert load(store, warehouse, batch_rows=1).records == 2
    assert offsets(warehouse, "raw_trades") == list(range(7))
    assert_no_findings(store, warehouse)


def test_rejects_are_reported_and_the_rest_is_loaded(store: Store, warehouse: Warehouse) -> None:
    topic = LakeTopic(store, "t")
    topic.add_segment([trade("A", 1), trade("A", 2, price="dear"), None, trade("A", 3)])
    done = load(store, warehouse)
    assert done.tables == {"raw_trades": 2}
    assert [(each.line, each.kafka_offset) for each in done.rejects] == [(2, 1), (3, 2)]
    assert done.rejects[0].object == f"raw/t/partition=0/{0:020d}.ndjson.gz"
    (key,) = [info.key for info in store.list("loads/") if info.key.endswith(".rejects.ndjson")]
    assert [json.loads(line)["kafka_offset"] for line in store.read(key).splitlines()] == [1, 2]
    assert_no_findings(store, warehouse)


class Crash(Exception):
    """Stands for the end of the process."""


STEPS: dict[str, Callable[[pytest.MonkeyPatch, Warehouse], None]] = {}


def step(function: Callable[[pytest.MonkeyPatch, Warehouse], None]) -> None:
    STEPS[function.__name__] = function


def _crash(*_: Any, **__: Any) -> None:
    raise Crash


@step
def before_the_manifest(monkeypatch: pytest.MonkeyPatch, _: Warehouse) -> None:
    monkeypatch.setattr(ManifestLog, "create_next", _crash)


@step
def after_the_manifest(monkeypatch: pytest.MonkeyPatch, _: Warehouse) -> None:
    monkeypatch.setattr(Loader, "_complete", _crash)


@step
def before_the_job(monkeypatch: pytest.MonkeyPatch, _: Warehouse) -> None:
    monkeypatch.setattr(Warehouse, "_start_job", _crash)


@step
def after_the_job(monkeypatch: pytest.MonkeyPatch, _: Warehouse) -> None:
    monkeypatch.setattr(Warehouse, "_wait_for_job", _crash)


@step
def between_two_tables(monkeypatch: pytest.MonkeyPatch, _: Warehouse) -> None:
    real = Warehouse.load
    loaded_tables: list[str] = []

    def load(self: Warehouse, spec: TableSpec, *args: Any) -> int:
        loaded_tables.append(spec.name)
        if len(loaded_tables) == 2:
            raise Crash
        return real(self, spec, *args)

    monkeypatch.setattr(Warehouse, "load", load)


@step
def before_the_load_result(monkeypatch: pytest.MonkeyPatch, _: Warehouse) -> None:
    monkeypatch.setattr(ManifestLog, "record_result", _crash)


@pytest.mark.parametrize("where", STEPS)
@pytest.mark.parametrize("store_type", ["gs", "folder"])
def test_killed_at_each_step_and_rerun(
    request: pytest.FixtureRequest,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    store_type: str,
    tmp_path: Any,
) -> None:
    store = request.getfixturevalue("store") if store_type == "gs" else open_store(str(tmp_path))
    topic = LakeTopic(store, "t")
    topic.add_segment([bar("A", 0), bar("A", 0, interval="1d"), bar("B", 1)])
    with monkeypatch.context() as patch:
        STEPS[where](patch, warehouse)
        with pytest.raises(Crash):
            load(store, warehouse)
    # records that arrive in the meantime must not change the load that was started
    topic.add_segment([bar("C", 2)])
    load(store, warehouse)
    assert offsets(warehouse, "raw_bars") == [0, 2, 3]
    assert offsets(warehouse, "raw_bars_daily") == [1]
    assert_no_findings(store, warehouse)


@pytest.mark.parametrize("fault", ["lose", "503", "cut"])
def test_a_job_whose_reply_is_lost_runs_once(
    store: Store,
    warehouse: Warehouse,
    fake_bigquery: FakeBigQuery,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    LakeTopic(store, "t").add_segment([trade("A", n) for n in range(4)])
    load(store, warehouse)
    LakeTopic(store, "t").add_segment([trade("A", n) for n in range(4)])
    with FaultProxy(fake_bigquery.url, f"/bigquery/v2/projects/{PROJECT}/jobs") as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        {"lose": proxy.lose_reply, "503": lambda: proxy.reply_with_status(503), "cut": proxy.reset_mid_body}[
            fault
        ]()
        proxied = Warehouse(PROJECT, warehouse.dataset)
        proxied.open()
        load(store, proxied)
        assert proxy.pending == 0, "the fault must occur"
        proxied.close()
    assert offsets(warehouse, "raw_trades") == list(range(8))
    assert_no_findings(store, warehouse)


def test_two_loaders_at_once_load_once(
    store: Store, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    LakeTopic(store, "t").add_segment([trade("A", n) for n in range(4)])
    real = ManifestLog.create_next
    concurrent: list[LoadProgress] = []

    def create_next(self: ManifestLog, *args: Any) -> Any:
        if not concurrent:
            concurrent.append(LoadProgress())
            concurrent[0] = load(store, warehouse)
        return real(self, *args)

    monkeypatch.setattr(ManifestLog, "create_next", create_next)
    load(store, warehouse)
    assert concurrent[0].loads == 1
    assert offsets(warehouse, "raw_trades") == list(range(4))
    assert_no_findings(store, warehouse)


def test_a_failed_job_is_repeated_under_another_name(
    store: Store, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    LakeTopic(store, "t").add_segment([trade("A", 1)])
    real = Warehouse._start_job
    with monkeypatch.context() as patch:
        # the file is not Parquet: the job fails, and its name cannot be used again
        patch.setattr(
            Warehouse, "_start_job", lambda self, spec, job, _: real(self, spec, job, b"garbage" * 10)
        )
        with pytest.raises(JobFailed, match=r"tickerlake_raw_trades_1_.*_0 failed"):
            load(store, warehouse)
    assert offsets(warehouse, "raw_trades") == []
    done = load(store, warehouse)
    assert done.resumed == 1
    manifests = ManifestLog(store, PROJECT, warehouse.dataset, "trades")
    result = manifests.find_result(1)
    assert result is not None
    assert result.jobs[0].endswith("_1")
    assert offsets(warehouse, "raw_trades") == [0]
    assert_no_findings(store, warehouse)


def test_transient_failures_are_retried_automatically(
    store: Store, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    LakeTopic(store, "t").add_segment([trade("A", 1)])
    real = Warehouse.load
    failed: list[str] = []

    def fail_twice(self: Warehouse, spec: TableSpec, job_id: str, source: Any) -> int:
        if len(failed) < 2:
            failed.append(job_id)
            raise JobFailed("backendError", "", transient=True, preexisting=False)
        return real(self, spec, job_id, source)

    monkeypatch.setattr(Warehouse, "load", fail_twice)
    load(store, warehouse)
    assert [name[-1] for name in failed] == ["0", "1"]
    assert offsets(warehouse, "raw_trades") == [0]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_load_whose_jobs_have_expired_is_looked_up_in_the_table(
    store: Store, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    LakeTopic(store, "t").add_segment([trade("A", n) for n in range(3)])
    with monkeypatch.context() as patch:
        patch.setattr(
            *((ManifestLog, "record_result", _crash) if loaded else (Warehouse, "_start_job", _crash))
        )
        with pytest.raises(Crash):
            load(store, warehouse)
    later = clock.now_ns() + 170 * DAY_NS
    monkeypatch.setattr(clock, "now_ns", lambda: later)
    monkeypatch.setattr(Warehouse, "_find_job", lambda *_: None)
    load(store, warehouse)
    assert offsets(warehouse, "raw_trades") == [0, 1, 2]


def test_batches_stay_under_the_daily_limit(
    store: Store, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = LakeTopic(store, "t")
    for second in range(4):
        topic.add_segment([trade("A", second)])
    monkeypatch.setattr(load_module, "MAX_LOADS_PER_DAY", 3)
    with pytest.raises(WarehouseUnavailable, match="3 loads of trades were made within a day") as caught:
        load(store, warehouse, batch_rows=1)
    assert 86_000 < caught.value.retry_after_s <= 86_400
    assert offsets(warehouse, "raw_trades") == [0, 1, 2]
    later = clock.now_ns() + DAY_NS
    monkeypatch.setattr(clock, "now_ns", lambda: later)
    assert load(store, warehouse, batch_rows=1).loads == 1


def test_a_new_column_is_added_without_downtime(
    store: Store, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = TableSpec.fields.fget  # type: ignore[attr-defined]
    LakeTopic(store, "t").add_segment([trade("A", 1)])
    with monkeypatch.context() as patch:
        patch.setattr(TableSpec, "fields", property(lambda self: fields(self)[:-1]))
        warehouse.ensure_table(TABLES["raw_trades"])
    load(store, warehouse)
    (row,) = warehouse.query(f"select kafka_timestamp_ms from `{warehouse.name}`.raw_trades")
    assert row == (1,)


def test_a_table_of_another_schema_is_left_alone(store: Store, warehouse: Warehouse) -> None:
    from google.cloud import bigquery

    table = bigquery.Table(f"{warehouse.name}.raw_trades")
    table.schema = [bigquery.SchemaField("price", "FLOAT")]
    warehouse._client.create_table(table)
    LakeTopic(store, "t").add_segment([trade("A", 1)])
    with pytest.raises(WarehouseError, match="column price is FLOAT, not NUMERIC") as caught:
        load(store, warehouse)
    assert "--dataset" in caught.value.hint


def test_a_required_column_is_reported_with_the_statement_that_relaxes_it(
    store: Store, warehouse: Warehouse
) -> None:
    from google.cloud import bigquery

    table = bigquery.Table(f"{warehouse.name}.raw_bars")
    table.schema = [bigquery.SchemaField("open", "NUMERIC", mode="REQUIRED")]
    warehouse._client.create_table(table)
    LakeTopic(store, "t").add_segment([bar("A", 1)])
    with pytest.raises(WarehouseError, match="column open is required") as caught:
        load(store, warehouse)
    assert "alter column open drop not null" in caught.value.hint


def test_a_missing_dataset_is_reported(emulators: None) -> None:
    warehouse = Warehouse(PROJECT, next(NAMES))
    with pytest.raises(UsageError, match="does not exist") as caught:
        warehouse.open()
    assert "--location" in caught.value.hint
    with pytest.raises(UsageError, match="is not a project id"):
        ManifestLog(open_store("memory://x"), "No/Project", "d", "bars")
    with pytest.raises(UsageError, match="is not a dataset name"):
        ManifestLog(open_store("memory://x"), "p", "d-d", "bars")


def test_the_audit_finds_lost_and_duplicated_rows(store: Store, warehouse: Warehouse) -> None:
    topic = LakeTopic(store, "t")
    for first in (0, 10, 20):
        topic.add_segment([trade("A", second) for second in range(first, first + 10)])
    load(store, warehouse, batch_rows=10)
    assert_no_findings(store, warehouse)
    table = f"`{warehouse.name}`.raw_trades"
    warehouse.query(f"delete from {table} where kafka_offset = 13")
    warehouse.query(f"insert into {table} select * from {table} where kafka_offset = 25")
    (result,) = audit_loads(store, warehouse)
    assert [finding.message for finding in result.findings] == [
        f"offsets 10 to 19: {warehouse.name} has 9 rows, 10 expected",
        f"offsets 20 to 29: {warehouse.name} has 11 rows (1 duplicates), 10 expected",
    ]


def test_views_agree_in_duckdb_and_bigquery(store: Store, warehouse: Warehouse) -> None:
    daily = [
        bar("A", 0, day=day, interval="1d", open=p, high=p + 2, low=p - 2, close=p, volume=100 + day % 9)
        for day, p in enumerate([100 + 7 * math.sin(day / 3) // 0.01 / 100 for day in range(45)])
    ]
    LakeTopic(store, "t").add_segment([*daily, bar("B", 1, quality=["late"]), bar("B", 1, revision=1)])
    LakeTopic(store, "x").add_segment([trade("A", 1, price=10), trade("A", 2, price=20, correction="cancel")])
    load(store, warehouse, with_views=True)
    local = LakeDatabase(store, utc_dates)
    for view in views().values():
        frame = local.query(f"select * from {view.name}").pl()
        rows = warehouse.query(f"select {', '.join(frame.columns)} from `{warehouse.name}`.{view.name}")
        assert _normalized(rows) == _normalized(frame.rows()), view.name
        assert frame.height or view.name == "alerts_in_context"
    local.close()


def _normalized(rows: list[tuple[Any, ...]]) -> list[str]:
    def text(value: Any) -> str:
        if isinstance(value, float | Decimal):
            return f"{float(value):.9g}"
        return str(value)

    return sorted(" ".join(map(text, row)) for row in rows)


def test_loaded_parquet_has_the_columns_of_its_table_in_order() -> None:
    for spec in TABLES.values():
        frame = pl.DataFrame(schema=frame_schema(spec.record_type))
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        buffer.seek(0)
        assert [field.name for field in spec.fields] == pl.read_parquet(buffer).columns


@pytest.mark.parametrize("fmt", ["ndjson", "parquet"])
def test_each_record_of_a_mixed_topic_goes_to_the_table_of_its_type(
    emulators: None, warehouse: Warehouse, tmp_path: Any, fmt: Any
) -> None:
    store = open_store(str(tmp_path))
    topic = LakeTopic(store, "t", fmt)
    topic.add_segment(
        [b'{"hello":1}', trade("A", 1), trade("A", 2), bar("A", 0), {**bar("A", 1), "open": "x"}]
    )
    LakeTopic(store, "foreign", fmt).add_segment([b"[1]", b"[2]"])
    done = load(store, warehouse)
    assert done.tables == {"raw_trades": 2, "raw_bars": 1}
    assert sorted((each.kafka_offset, each.reason) for each in done.rejects) == [
        (0, "schema is missing"),
        (4, "open, high or low is missing or invalid; bar.v1 requires all three or none"),
    ]
    assert done.skipped == ["foreign"]
    assert_no_findings(store, warehouse)
    topic.add_segment([trade("A", 3)])
    topic.add_segment([bar("A", 2), bar("A", 0, interval="1d")])
    assert load(store, warehouse).tables == {"raw_trades": 1, "raw_bars": 1, "raw_bars_daily": 1}
    assert offsets(warehouse, "raw_trades") == [1, 2, 5]
    assert offsets(warehouse, "raw_bars") == [3, 6]
    assert load(store, warehouse).loads == 0
    assert_no_findings(store, warehouse)
    assert {(each.records, each.rejects, each.rows) for each in audit_loads(store, warehouse)} == {
        (4, 1, 3),
        (4, 1, 3),
    }


def test_segments_without_a_record_type_are_not_read_again(
    emulators: None, warehouse: Warehouse, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))
    topic = LakeTopic(store, "t")
    for second in range(6):
        topic.add_segment([trade("A", second)])
    reads: list[str] = []

    def count(store: Store, chunk: Chunk) -> Any:
        reads.append(chunk.keys[0])
        return count_record_types(store, chunk)

    monkeypatch.setattr(load_module, "count_record_types", count)
    load(store, warehouse)
    assert len(reads) == 1, "only the first segment, to find the commonest type"
    # a new process reads the segments that the other types' manifests do not cover
    load(store, warehouse)
    assert len(reads) == 1 + 6
    monkeypatch.setattr(load_module, "_MAX_SKIPPED_ROWS", 6)
    load(store, warehouse)
    assert len(reads) == 1 + 2 * 6
    load(store, warehouse)
    assert len(reads) == 1 + 2 * 6 + 1
    assert offsets(warehouse, "raw_trades") == [0, 1, 2, 3, 4, 5]
    assert_no_findings(store, warehouse)
