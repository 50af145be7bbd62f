"""Loads a lake into BigQuery: each record once, whatever crashes, repeats or runs twice.

For each kind a manifest in the lake says which offsets come next, and how the jobs that load them are called.
Only when it is done is the next one made. BigQuery runs a job of a given name once, so that whoever
finds a manifest that is not done asks for its jobs, and they are started or waited for.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tickerlake import clock, failpoints
from tickerlake.errors import ObjectMissing, WarehouseError, WarehouseUnavailable
from tickerlake.lake import curated
from tickerlake.lake.reader import topics
from tickerlake.lake.record_types import TopicRecordTypes
from tickerlake.lake.store.base import Store, create_if_absent, discard
from tickerlake.lake.topic import TopicMeta, read_topic
from tickerlake.lake.typed_records import (
    Chunk,
    RejectedRow,
    SessionDateLookup,
    chunks,
    encode_rejects,
    prefetch_chunks,
)
from tickerlake.lake.views import views
from tickerlake.model.schema import SCHEMA_OF
from tickerlake.warehouse.bigquery import JobFailed, Warehouse
from tickerlake.warehouse.manifests import LoadResult, Manifest, Manifests, Range
from tickerlake.warehouse.tables import TableSpec, latest_view_sql, plain_view_sql, split_by_table, tables

BATCH_ROWS: Final = 1_000_000
MAX_LOADS_PER_DAY: Final = 1_450
"""BigQuery takes 1,500 a table; some are left for attempts that are repeated."""

_DAY_MS: Final = 86_400_000
_JOB_NAME_RETENTION_MS: Final = 150 * _DAY_MS
"""BigQuery forgets the names of jobs after 180 days."""

_MAX_ATTEMPTS: Final = 6
_MAX_BACKOFF_S: Final = 60.0


@dataclass(slots=True)
class LoadProgress:
    """Totals of a run; ``tables`` are rows by table."""

    tables: dict[str, int] = field(default_factory=dict)
    loads: int = 0
    resumed: int = 0
    records: int = 0
    rejects: list[RejectedRow] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    views: int = 0
    activity: str = ""

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(self.tables.values())


class Loader:
    """Loads one lake into one dataset.

    Parameters
    ----------
    store
        The lake.
    warehouse
        The dataset, opened.
    dates
        Finds the exchange day of records that do not say it.
    batch_rows
        So many records a load, but for one object more.
    wait
        Waits for some seconds; returns True to stop.
    report
        Called now and then.
    """

    def __init__(
        self,
        store: Store,
        warehouse: Warehouse,
        session_dates: SessionDateLookup,
        *,
        batch_rows: int = BATCH_ROWS,
        wait: Callable[[float], bool],
        report: Callable[[LoadProgress], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._warehouse = warehouse
        self._session_dates = session_dates
        self._batch_rows = batch_rows
        self._wait = wait
        self._report = report
        self._record_types = TopicRecordTypes(store)
        self._ensured_tables: set[str] = set()
        self._manifests: dict[str, Manifests] = {}

    def run(self, *, with_views: bool = True) -> LoadProgress:
        """Load all that there is to load.

        Raises
        ------
        WarehouseError
            BigQuery refuses; what was loaded before stays.
        WarehouseUnavailable
            It does not answer, or the day's loads are used up; a later run goes on.
        """
        progress = LoadProgress()
        topics_by_type = self._topics_by_record_type(progress)
        for record_type, topic_metas in topics_by_type.items():
            self._load_record_type(record_type, topic_metas, progress)
        if with_views and topics_by_type:
            progress.views = self.ensure_views()
        return progress

    def _topics_by_record_type(self, progress: LoadProgress) -> dict[str, list[TopicMeta]]:
        topics_by_type: dict[str, list[TopicMeta]] = {}
        self._record_types.refresh()
        for name in topics(self._store):
            topic = read_topic(self._store, name)
            record_type = self._record_types.find(topic)
            if record_type is None:
                progress.skipped.append(name)
            else:
                topics_by_type.setdefault(record_type, []).append(topic)
        return topics_by_type

    def _load_record_type(
        self, record_type: str, topic_metas: list[TopicMeta], progress: LoadProgress
    ) -> None:
        self._ensure_tables(record_type)
        manifests = self._manifests.get(record_type)
        if manifests is None:
            manifests = Manifests(self._store, self._warehouse.project, self._warehouse.dataset, record_type)
            self._manifests[record_type] = manifests
        last = manifests.find_latest()
        if last is not None and manifests.find_result(last.number) is None:
            progress.resumed += 1
            self._complete(manifests, last, progress)
        while not self._wait(0):
            ranges = self._next_ranges(topic_metas, last)
            if not ranges:
                return
            self._check_quota(manifests, last)
            last = manifests.create_next(last, ranges)
            failpoints.reach("load.planned")
            self._complete(manifests, last, progress)

    def _ensure_tables(self, record_type: str) -> None:
        for spec in tables(record_type):
            if spec.name not in self._ensured_tables:
                self._warehouse.ensure_table(spec)
                self._ensured_tables.add(spec.name)

    def _next_ranges(self, topic_metas: list[TopicMeta], last: Manifest | None) -> list[Range]:
        """Return what comes after a manifest: about a batch, in whole objects."""
        next_offsets = last.next_offsets if last else {}
        ranges: dict[tuple[str, int], Range] = {}
        rows = 0
        for topic in topic_metas:
            for chunk in curated.pending_chunks(self._store, topic, next_offsets.get(topic.topic, {})):
                key = (chunk.topic, chunk.partition)
                start = ranges[key].start if key in ranges else chunk.start
                before = ranges[key].records if key in ranges else 0
                ranges[key] = Range(chunk.topic, chunk.partition, start, chunk.end, before + chunk.records)
                rows += chunk.records
                if rows >= self._batch_rows:
                    return list(ranges.values())
        return list(ranges.values()) if rows else []

    def _check_quota(self, manifests: Manifests, last: Manifest | None) -> None:
        if last is None or last.number < MAX_LOADS_PER_DAY:
            return
        try:
            oldest = manifests.read(last.number - MAX_LOADS_PER_DAY + 1)
        except ObjectMissing:
            return
        remaining_ms = oldest.created_ms + _DAY_MS - clock.now_ns() // 1_000_000
        if remaining_ms > 0:
            unavailable = WarehouseUnavailable(
                f"{MAX_LOADS_PER_DAY:,} loads of {manifests.record_type} were made within a day, BigQuery takes 1,500.",
                f"Go on in {remaining_ms / 60_000:,.0f} minutes, with a longer --watch.",
            )
            unavailable.retry_after_s = remaining_ms / 1000
            raise unavailable

    def _complete(self, manifests: Manifests, manifest: Manifest, progress: LoadProgress) -> None:
        """Bring a manifest's records into their tables, or see that they are."""
        progress.activity = f"reading what load {manifest.number:,} of {manifest.record_type} takes"
        self._report(progress)
        frames: list[pl.DataFrame] = []
        rows: list[int] = []
        rejects: list[RejectedRow] = []
        for each in manifest.ranges:
            read = prefetch_chunks(
                self._store, self._chunks_in(each), manifest.record_type, self._session_dates
            )
            records = [records for _, records in read]
            rows.append(sum(part.frame.height for part in records))
            frames += [part.frame for part in records]
            rejects += [reject for part in records for reject in part.rejects]
        frame = pl.concat(frames)
        if rejects:
            create_if_absent(
                self._store, manifests.key(manifest.number, "rejects.ndjson"), encode_rejects(rejects)
            )
        jobs = []
        for spec, part in split_by_table(manifest.record_type, frame):
            jobs.append(self._load_part(manifests, manifest, spec, part, progress))
            progress.tables[spec.name] = progress.tables.get(spec.name, 0) + part.height
        failpoints.reach("load.loaded")
        now_ms = clock.now_ns() // 1_000_000
        manifests.record_result(
            manifest, LoadResult(rows=rows, rejects=len(rejects), jobs=jobs, done_ms=now_ms)
        )
        failpoints.reach("load.recorded")
        progress.loads += 1
        progress.records += sum(each.records for each in manifest.ranges)
        progress.rejects += rejects
        self._report(progress)

    def _chunks_in(self, offset_range: Range) -> Iterator[Chunk]:
        topic = read_topic(self._store, offset_range.topic)
        for chunk in chunks(self._store, topic, offset_range.partition, offset_range.start):
            if chunk.start >= offset_range.end:
                return
            yield _truncate_chunk(chunk, offset_range.end)

    def _load_part(
        self,
        manifests: Manifests,
        manifest: Manifest,
        spec: TableSpec,
        part: pl.DataFrame,
        progress: LoadProgress,
    ) -> str:
        if clock.now_ns() // 1_000_000 - manifest.created_ms > _JOB_NAME_RETENTION_MS and self._is_loaded(
            manifest, spec, part
        ):
            return ""
        buffer = io.BytesIO()
        part.write_parquet(buffer, compression="zstd", statistics=True)
        data = buffer.getvalue()
        source: bytes | str = data
        staged_key = manifests.key(manifest.number, f"{spec.name}.parquet")
        if self._store.uri.startswith("gs://"):
            # an earlier attempt may have stored it: the same records give the same content
            create_if_absent(self._store, staged_key, data)
            source = f"{self._store.uri}/{staged_key}"
        backoff_s, failures = 1.0, 0
        # a job that failed has no effect, and its name is used up; of one that may run the name is kept
        attempt = 0
        while True:
            progress.activity = f"loading {part.height:,} rows into {spec.name}"
            self._report(progress)
            job_id = manifest.job_id(spec.name, attempt)
            try:
                loaded = self._warehouse.load(spec, job_id, source)
            except WarehouseUnavailable:
                failures += 1
                if failures == _MAX_ATTEMPTS or self._wait(backoff_s):
                    raise
                backoff_s = min(backoff_s * 4, _MAX_BACKOFF_S)
                continue
            except JobFailed as failed:
                attempt += 1
                if failed.preexisting:
                    continue
                failures += 1
                if not failed.transient or failures == _MAX_ATTEMPTS or self._wait(backoff_s):
                    raise
                backoff_s = min(backoff_s * 4, _MAX_BACKOFF_S)
                continue
            if loaded != part.height:
                raise WarehouseError(
                    f"The job {job_id} loaded {loaded:,} rows into {spec.name}, {part.height:,} were due.",
                    "Compare the two with `tickerlake audit --bigquery`.",
                )
            if isinstance(source, str):
                discard(self._store, staged_key)
            return job_id

    def _is_loaded(self, manifest: Manifest, spec: TableSpec, part: pl.DataFrame) -> bool:
        """Tell whether the rows of a load, the jobs of which nobody remembers, are in the table."""
        row_count = 0
        for each in manifest.ranges:
            row_count += self._warehouse.query(
                f"select count(*) from `{self._warehouse.name}`.{spec.name} where kafka_topic = @topic "
                "and kafka_partition = @partition and kafka_offset >= @first and kafka_offset < @end",
                [
                    ("topic", "STRING", each.topic),
                    ("partition", "INT64", each.partition),
                    ("first", "INT64", each.start),
                    ("end", "INT64", each.end),
                ],
            )[0][0]
        if row_count not in {0, part.height}:
            raise WarehouseError(
                f"Of load {manifest.number} of {manifest.record_type}, {row_count:,} of {part.height:,} rows are in "
                f"{spec.name}, and it is so old that BigQuery has forgotten its jobs.",
                "Delete these rows from the table, then run it again.",
            )
        return row_count > 0

    def ensure_views(self, sources: dict[str, str] | None = None) -> int:
        """Create the views, and change those whose text is another one; return how many that were.

        Parameters
        ----------
        sources
            By kind, a table of which every row counts; by default, and for others, those that are loaded,
            which are created if they are missing.
        """
        changed = 0
        for record_type in SCHEMA_OF:
            if sources and record_type in sources:
                table_names = [sources[record_type]]
                sql = plain_view_sql(record_type, self._warehouse.name, sources[record_type])
            else:
                self._ensure_tables(record_type)
                table_names = [spec.name for spec in tables(record_type)]
                sql = latest_view_sql(record_type, self._warehouse.name, table_names)
            changed += self._warehouse.ensure_view(
                record_type, sql, f"What counts of {', '.join(table_names)}."
            )
        for view in views().values():
            changed += self._warehouse.ensure_view(
                view.name, view.sql_for_dataset(self._warehouse.name), view.description
            )
        return changed


def _truncate_chunk(chunk: Chunk, end: int) -> Chunk:
    """Return what of a chunk lies before an offset: chunks of single objects may end elsewhere now."""
    if chunk.end <= end:
        return chunk
    keys = tuple(key for key in chunk.keys if int(key.rpartition("/")[2].partition(".")[0]) < end)
    return Chunk(chunk.topic, chunk.partition, chunk.start, end, keys, len(keys), chunk.bytes)
