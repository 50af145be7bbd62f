"""Loads a lake into BigQuery: each record once, despite crashes, retries and concurrent loaders.

For each record type, a manifest in the lake plans the next load: its offsets, and the names of its jobs. The
next manifest is created only when the load is complete. BigQuery runs a job of a given name once, so a loader
that finds an incomplete load requests its jobs by name: they are started, or waited for.

A topic can hold several record types. The manifests of its commonest one are planned without reading it, and
its foreign rows are rejected there. The other types' manifests cover its segments, too, but only once rows of
the type are in them, or many segments are without.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import polars as pl

from tickerlake import clock, failpoints
from tickerlake.errors import ObjectMissing, WarehouseError, WarehouseUnavailable
from tickerlake.lake import curated
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.reader import topics
from tickerlake.lake.segment import parse_position
from tickerlake.lake.store.base import Store, create_if_absent, discard
from tickerlake.lake.topic import TopicMeta, read_topic
from tickerlake.lake.typed_records import (
    Chunk,
    Records,
    RejectedRow,
    SessionDateLookup,
    chunks,
    count_record_types,
    encode_rejects,
    frame_schema,
    prefetch_chunks,
)
from tickerlake.lake.views import views
from tickerlake.model.schema import SCHEMA_OF
from tickerlake.warehouse.bigquery import JobFailed, Warehouse
from tickerlake.warehouse.manifests import LoadResult, Manifest, ManifestLog, Range
from tickerlake.warehouse.tables import TableSpec, latest_view_sql, plain_view_sql, split_by_table, tables

BATCH_ROWS: Final = 1_000_000
"""Bounds memory: a batch is held as a frame and as a Parquet file."""

MAX_LOADS_PER_DAY: Final = 1_450
"""BigQuery's limit is 1,500 load jobs per table and day; the rest is left for retries."""

_DAY_MS: Final = 86_400_000
_JOB_NAME_RETENTION_MS: Final = 150 * _DAY_MS
"""BigQuery forgets job names after 180 days; the margin of a month covers clock errors and long runs."""

_MAX_ATTEMPTS: Final = 6
"""Backoffs of 1 + 4 + 16 + 60 + 60 s, then the load is left to a later run."""

_MAX_BACKOFF_S: Final = 60.0

_MAX_SKIPPED_ROWS: Final = 1_000_000
"""A new process reads so many rows again at most to find that they are of other record types."""

_MAX_SAMPLE_CHUNKS: Final = 3
"""A topic of other programs is not searched any further for its commonest record type."""


@dataclass(slots=True)
class LoadProgress:
    """Totals of a run, for its caller to report.

    Parameters
    ----------
    tables
        Loaded rows by table.
    resumed
        Incomplete loads of an earlier run that were completed.
    skipped
        Topics without records of ours.
    views
        Views that were created or updated.
    activity
        What the run is doing.
    """

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
        """Loaded rows of all tables."""
        return sum(self.tables.values())


class Loader:
    """Loads one lake into one dataset.

    Parameters
    ----------
    store
        The lake.
    warehouse
        The dataset, opened.
    session_dates
        Finds the session date of records without one.
    batch_rows
        Records per load, exceeded by one chunk at most.
    wait
        Waits for some seconds; returns True to stop.
    report
        Called periodically.
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
        self._record_counts = _RecordCounts(store)
        self._ensured_tables: set[str] = set()
        self._manifests: dict[str, ManifestLog] = {}

    def run(self, *, with_views: bool = True) -> LoadProgress:
        """Load all records that are not loaded yet.

        Parameters
        ----------
        with_views
            Whether to create or update the views, too.

        Raises
        ------
        LakeError
            The lake is damaged, or this version cannot read it.
        WarehouseError
            BigQuery refused a request; completed loads stay.
        WarehouseUnavailable
            BigQuery does not answer, or the day's loads are used up; a later run continues.
        """
        check_format_version(self._store)
        progress = LoadProgress()
        topic_metas = [read_topic(self._store, name) for name in topics(self._store)]
        main_types = {topic.topic: self._record_counts.main_type(topic) for topic in topic_metas}
        for is_main in (True, False):
            # the main types first: what is read for them tells where the others are
            for record_type in SCHEMA_OF:
                selected = [t for t in topic_metas if (main_types[t.topic] == record_type) == is_main]
                if selected:
                    self._load_record_type(record_type, selected, main_types, progress)
        progress.skipped = [name for name in main_types if not self._record_counts.has_records(name)]
        self._record_counts.forget_loaded()
        if with_views and len(progress.skipped) < len(topic_metas):
            progress.views = self.ensure_views()
        return progress

    def _load_record_type(
        self,
        record_type: str,
        topic_metas: list[TopicMeta],
        main_types: Mapping[str, str | None],
        progress: LoadProgress,
    ) -> None:
        manifests = self._manifests.get(record_type)
        if manifests is None:
            manifests = ManifestLog(
                self._store, self._warehouse.project, self._warehouse.dataset, record_type
            )
            self._manifests[record_type] = manifests
        last = manifests.find_latest()
        if last is not None and manifests.find_result(last.number) is None:
            progress.resumed += 1
            self._complete(manifests, last, main_types, progress)
        while not self._wait(0):
            ranges = self._next_ranges(record_type, topic_metas, main_types, last)
            if not ranges:
                return
            self._check_quota(manifests, last)
            last = manifests.create_next(last, ranges)
            failpoints.reach("load.planned")
            self._complete(manifests, last, main_types, progress)

    def _ensure_tables(self, record_type: str) -> None:
        for spec in tables(record_type):
            if spec.name not in self._ensured_tables:
                self._warehouse.ensure_table(spec)
                self._ensured_tables.add(spec.name)

    def _next_ranges(
        self,
        record_type: str,
        topic_metas: list[TopicMeta],
        main_types: Mapping[str, str | None],
        last: Manifest | None,
    ) -> list[Range]:
        """Return the offsets of the next load: about a batch, in complete objects."""
        next_offsets = last.next_offsets if last else {}
        ranges: dict[tuple[str, int], Range] = {}
        rows = skipped = 0
        for topic in topic_metas:
            for chunk in curated.pending_chunks(self._store, topic, next_offsets.get(topic.topic, {})):
                records = chunk.records
                if main_types[topic.topic] != record_type:
                    records = self._record_counts.count(chunk)[record_type]
                key = (chunk.topic, chunk.partition)
                start = ranges[key].start if key in ranges else chunk.start
                before = ranges[key].records if key in ranges else 0
                ranges[key] = Range(chunk.topic, chunk.partition, start, chunk.end, before + records)
                rows += records
                skipped += chunk.records - records
                if rows >= self._batch_rows:
                    return list(ranges.values())
        return list(ranges.values()) if rows or skipped >= _MAX_SKIPPED_ROWS else []

    def _check_quota(self, manifests: ManifestLog, last: Manifest | None) -> None:
        if last is None or last.number < MAX_LOADS_PER_DAY:
            return
        try:
            oldest = manifests.read(last.number - MAX_LOADS_PER_DAY + 1)
        except ObjectMissing:
            return
        remaining_ms = oldest.created_ms + _DAY_MS - clock.now_ns() // 1_000_000
        if remaining_ms > 0:
            unavailable = WarehouseUnavailable(
                f"{MAX_LOADS_PER_DAY:,} loads of {manifests.record_type} were made within a day; "
                "BigQuery's limit is 1,500.",
                f"Continue in {remaining_ms / 60_000:,.0f} minutes, with a longer --watch.",
            )
            unavailable.retry_after_s = remaining_ms / 1000
            raise unavailable

    def _complete(
        self,
        manifests: ManifestLog,
        manifest: Manifest,
        main_types: Mapping[str, str | None],
        progress: LoadProgress,
    ) -> None:
        """Load the records of a manifest into their tables, unless that has been done."""
        record_type = manifest.record_type
        progress.activity = f"reading the records of load {manifest.number:,} of {record_type}"
        self._report(progress)
        frames: list[pl.DataFrame] = [frame_schema(record_type).to_frame()]
        rows: list[int] = []
        rejected: list[int] = []
        rejects: list[RejectedRow] = []
        for each in manifest.ranges:
            is_main = main_types.get(each.topic) == record_type
            range_rejects = len(rejects)
            rows.append(0)
            for chunk, records in prefetch_chunks(
                self._store, self._chunks_in(each), [record_type], self._session_dates, complete=is_main
            ):
                frame = records.frame(record_type)
                if is_main:
                    self._record_counts.add(chunk, records)
                rows[-1] += frame.height
                frames.append(frame)
                rejects += records.rejects
            rejected.append(sum(reject.rows for reject in rejects[range_rejects:]))
        frame = pl.concat(frames)
        if rejects:
            create_if_absent(
                self._store, manifests.key(manifest.number, "rejects.ndjson"), encode_rejects(rejects)
            )
        jobs = []
        if frame.height:
            self._ensure_tables(record_type)
        for spec, part in split_by_table(record_type, frame):
            jobs.append(self._load_part(manifests, manifest, spec, part, progress))
            progress.tables[spec.name] = progress.tables.get(spec.name, 0) + part.height
        failpoints.reach("load.loaded")
        now_ms = clock.now_ns() // 1_000_000
        manifests.record_result(
            manifest,
            LoadResult(rows=rows, rejected=rejected, rejects=sum(rejected), jobs=jobs, done_ms=now_ms),
        )
        failpoints.reach("load.recorded")
        progress.loads += bool(jobs or rejects)
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
        manifests: ManifestLog,
        manifest: Manifest,
        spec: TableSpec,
        part: pl.DataFrame,
        progress: LoadProgress,
    ) -> str:
        """Load the rows of one table; return the name of the job that did, empty if it is forgotten."""
        age_ms = clock.now_ns() // 1_000_000 - manifest.created_ms
        if age_ms > _JOB_NAME_RETENTION_MS and self._is_loaded(manifest, spec, part):
            return ""
        buffer = io.BytesIO()
        part.write_parquet(buffer, compression="zstd", statistics=True)
        data = buffer.getvalue()
        lake_uri = self._store.bigquery_uri
        if lake_uri is None:
            return self._run_job(manifest, spec, data, part.height, progress)
        staged_key = manifests.key(manifest.number, f"{spec.name}.parquet")
        # an earlier attempt may have stored it: the same records give the same content
        create_if_absent(self._store, staged_key, data)
        job_id = self._run_job(manifest, spec, f"{lake_uri}/{staged_key}", part.height, progress)
        discard(self._store, staged_key)
        return job_id

    def _run_job(
        self, manifest: Manifest, spec: TableSpec, source: bytes | str, rows: int, progress: LoadProgress
    ) -> str:
        """Load a file with a job, and another one if it fails; return the name of the successful one."""
        backoff = _Backoff(self._wait)
        number = 0
        while True:
            progress.activity = f"loading {rows:,} rows into {spec.name}"
            self._report(progress)
            job_id = manifest.job_id(spec.name, number)
            try:
                loaded = self._warehouse.load(spec, job_id, source)
            except WarehouseUnavailable:
                # the job may be running: it is requested again by its name
                if not backoff.wait():
                    raise
            except JobFailed as failed:
                # it had no effect, and its name cannot be used again
                number += 1
                if failed.preexisting:
                    continue
                if not failed.transient or not backoff.wait():
                    raise
            else:
                if loaded != rows:
                    raise WarehouseError(
                        f"The job {job_id} loaded {loaded:,} rows into {spec.name} instead of {rows:,}.",
                        "Compare the lake and the table with `tickerlake audit --bigquery`.",
                    )
                return job_id

    def _is_loaded(self, manifest: Manifest, spec: TableSpec, part: pl.DataFrame) -> bool:
        """Return whether the rows of a load are in the table, when its jobs are forgotten."""
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
                f"{spec.name} has {row_count:,} of the {part.height:,} rows of load {manifest.number} of "
                f"{manifest.record_type}, which is so old that BigQuery has forgotten its jobs.",
                "Delete these rows from the table, then run the command again.",
            )
        return row_count > 0

    def ensure_views(self, sources: dict[str, str] | None = None) -> int:
        """Create the views, or update those whose query differs; return the number of changes.

        Parameters
        ----------
        sources
            By record type, a table whose rows all count. Default, also for types that are not in it: the
            loaded tables, which are created if they are missing.
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
                record_type, sql, f"The rows of {', '.join(table_names)} that count."
            )
        for view in views().values():
            changed += self._warehouse.ensure_view(
                view.name, view.sql_for_dataset(self._warehouse.name), view.description
            )
        return changed


class _RecordCounts:
    """How many rows of each record type the chunks hold that some manifests do not cover yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._main_types: dict[str, str] = {}
        self._before: dict[tuple[str, int, int, int], Counter[str]] = {}
        self._current: dict[tuple[str, int, int, int], Counter[str]] = {}
        self._has_records: set[str] = set()

    def main_type(self, topic: TopicMeta) -> str | None:
        """Return the commonest record type of a topic's first records; None if it has none yet."""
        name = topic.topic
        if name not in self._main_types:
            pending = (chunk for chunk in curated.pending_chunks(self._store, topic, {}) if chunk.keys)
            for chunk in islice(pending, _MAX_SAMPLE_CHUNKS):
                if commonest := self.count(chunk).most_common(1):
                    self._main_types[name] = commonest[0][0]
                    break
        return self._main_types.get(name)

    def count(self, chunk: Chunk) -> Counter[str]:
        """Return the number of rows of each record type; read the chunk if they are not known."""
        key = _key(chunk)
        counts = self._current.get(key, self._before.get(key))
        return self._store_counts(chunk, count_record_types(self._store, chunk) if counts is None else counts)

    def add(self, chunk: Chunk, records: Records) -> None:
        """Add the counts of a chunk that was read completely."""
        counts = Counter({name: frame.height for name, frame in records.frames.items()})
        self._store_counts(chunk, counts + records.others)

    def _store_counts(self, chunk: Chunk, counts: Counter[str]) -> Counter[str]:
        self._current[_key(chunk)] = counts
        if counts:
            self._has_records.add(chunk.topic)
        return counts

    def has_records(self, topic: str) -> bool:
        """Return whether a record was found in a topic."""
        return topic in self._main_types or topic in self._has_records

    def forget_loaded(self) -> None:
        """Forget the chunks that were not asked for since the last call."""
        self._before, self._current = self._current, {}


def _key(chunk: Chunk) -> tuple[str, int, int, int]:
    return chunk.topic, chunk.partition, chunk.start, chunk.end


class _Backoff:
    """Pauses between attempts: 1, 4, 16 … seconds."""

    def __init__(self, wait: Callable[[float], bool]) -> None:
        self._wait = wait
        self._delay_s = 1.0
        self._failures = 0

    def wait(self) -> bool:
        """Wait before the next attempt; return False if none is left, or on a request to stop."""
        self._failures += 1
        if self._failures == _MAX_ATTEMPTS or self._wait(self._delay_s):
            return False
        self._delay_s = min(self._delay_s * 4, _MAX_BACKOFF_S)
        return True


def _truncate_chunk(chunk: Chunk, end: int) -> Chunk:
    """Return the part of a chunk before an offset: chunks of single objects can end elsewhere later."""
    if chunk.end <= end:
        return chunk
    keys = tuple(key for key in chunk.keys if (parse_position(key) or 0) < end)
    return replace(chunk, end=end, keys=keys, records=len(keys))
