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
from tickerlake.errors import ObjectExists, ObjectMissing, WarehouseError, WarehouseUnavailable
from tickerlake.lake import curated
from tickerlake.lake.curated import Kinds
from tickerlake.lake.reader import topics
from tickerlake.lake.segment import TopicMeta
from tickerlake.lake.store.base import Store, discard
from tickerlake.lake.typed import (
    SCHEMA_OF,
    Chunk,
    Misfit,
    SessionDates,
    chunks,
    misfit_lines,
    read_ahead,
)
from tickerlake.lake.views import views
from tickerlake.lake.writer import read_topic
from tickerlake.warehouse.bigquery import JobFailed, Warehouse
from tickerlake.warehouse.manifests import Done, Manifest, Manifests, Range
from tickerlake.warehouse.tables import TableSpec, all_sql, divide, tables, view_sql

BATCH_ROWS: Final = 1_000_000
LOADS_A_DAY: Final = 1_450
"""BigQuery takes 1,500 a table; some are left for attempts that are repeated."""

_DAY_MS: Final = 86_400_000
_REMEMBERED_MS: Final = 150 * _DAY_MS
"""BigQuery forgets the names of jobs after 180 days."""

_ATTEMPTS: Final = 6
_LONGEST_DELAY_S: Final = 60.0


@dataclass(slots=True)
class LoadProgress:
    """Totals of a run; ``tables`` are rows by table."""

    tables: dict[str, int] = field(default_factory=dict)
    loads: int = 0
    resumed: int = 0
    records: int = 0
    misfits: list[Misfit] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    views: int = 0
    doing: str = ""

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
        dates: SessionDates,
        *,
        batch_rows: int = BATCH_ROWS,
        wait: Callable[[float], bool],
        report: Callable[[LoadProgress], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._warehouse = warehouse
        self._dates = dates
        self._batch_rows = batch_rows
        self._wait = wait
        self._report = report
        self._kinds = Kinds(store)
        self._ready: set[str] = set()
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
        by_kind = self._topics(progress)
        for kind, found in by_kind.items():
            self._load_kind(kind, found, progress)
        if with_views and by_kind:
            progress.views = self.make_views()
        return progress

    def _topics(self, progress: LoadProgress) -> dict[str, list[TopicMeta]]:
        found: dict[str, list[TopicMeta]] = {}
        self._kinds.look_again()
        for name in topics(self._store):
            topic = read_topic(self._store, name)
            kind = self._kinds.of(topic)
            if kind is None:
                progress.skipped.append(name)
            else:
                found.setdefault(kind, []).append(topic)
        return found

    def _load_kind(self, kind: str, found: list[TopicMeta], progress: LoadProgress) -> None:
        self._make_tables(kind)
        manifests = self._manifests.get(kind)
        if manifests is None:
            manifests = Manifests(self._store, self._warehouse.project, self._warehouse.dataset, kind)
            self._manifests[kind] = manifests
        last = manifests.last()
        if last is not None and manifests.done(last.number) is None:
            progress.resumed += 1
            self._finish(manifests, last, progress)
        while not self._wait(0):
            ranges = self._next(found, last)
            if not ranges:
                return
            self._check_quota(manifests, last)
            last = manifests.plan(last, ranges)
            failpoints.reach("load.planned")
            self._finish(manifests, last, progress)

    def _make_tables(self, kind: str) -> None:
        for spec in tables(kind):
            if spec.name not in self._ready:
                self._warehouse.ensure_table(spec)
                self._ready.add(spec.name)

    def _next(self, found: list[TopicMeta], last: Manifest | None) -> list[Range]:
        """Return what comes after a manifest: about a batch, in whole objects."""
        through = last.through if last else {}
        ranges: dict[tuple[str, int], Range] = {}
        rows = 0
        for topic in found:
            for chunk in curated.untaken(self._store, topic, through.get(topic.topic, {})):
                key = (chunk.topic, chunk.partition)
                start = ranges[key].start if key in ranges else chunk.start
                before = ranges[key].records if key in ranges else 0
                ranges[key] = Range(chunk.topic, chunk.partition, start, chunk.end, before + chunk.records)
                rows += chunk.records
                if rows >= self._batch_rows:
                    return list(ranges.values())
        return list(ranges.values()) if rows else []

    def _check_quota(self, manifests: Manifests, last: Manifest | None) -> None:
        if last is None or last.number < LOADS_A_DAY:
            return
        try:
            then = manifests.read(last.number - LOADS_A_DAY + 1)
        except ObjectMissing:
            return
        left_ms = then.created_ms + _DAY_MS - clock.now_ns() // 1_000_000
        if left_ms > 0:
            failed = WarehouseUnavailable(
                f"{LOADS_A_DAY:,} loads of {manifests.kind} were made within a day, BigQuery takes 1,500.",
                f"Go on in {left_ms / 60_000:,.0f} minutes, with a longer --watch.",
            )
            failed.retry_after_s = left_ms / 1000
            raise failed

    def _finish(self, manifests: Manifests, manifest: Manifest, progress: LoadProgress) -> None:
        """Bring a manifest's records into their tables, or see that they are."""
        progress.doing = f"reading what load {manifest.number:,} of {manifest.kind} takes"
        self._report(progress)
        frames: list[pl.DataFrame] = []
        rows: list[int] = []
        misfits: list[Misfit] = []
        for each in manifest.ranges:
            read = read_ahead(self._store, self._chunks(each), manifest.kind, self._dates)
            records = [records for _, records in read]
            rows.append(sum(part.frame.height for part in records))
            frames += [part.frame for part in records]
            misfits += [misfit for part in records for misfit in part.misfits]
        frame = pl.concat(frames)
        if misfits:
            self._keep(manifests.key(manifest.number, "misfits.ndjson"), misfit_lines(misfits))
        jobs = []
        for spec, part in divide(manifest.kind, frame):
            jobs.append(self._load_part(manifests, manifest, spec, part, progress))
            progress.tables[spec.name] = progress.tables.get(spec.name, 0) + part.height
        failpoints.reach("load.loaded")
        now_ms = clock.now_ns() // 1_000_000
        manifests.finish(manifest, Done(rows=rows, misfits=len(misfits), jobs=jobs, done_ms=now_ms))
        failpoints.reach("load.noted")
        progress.loads += 1
        progress.records += sum(each.records for each in manifest.ranges)
        progress.misfits += misfits
        self._report(progress)

    def _chunks(self, wanted: Range) -> Iterator[Chunk]:
        topic = read_topic(self._store, wanted.topic)
        for chunk in chunks(self._store, topic, wanted.partition, wanted.start):
            if chunk.start >= wanted.end:
                return
            yield _cut(chunk, wanted.end)

    def _load_part(
        self,
        manifests: Manifests,
        manifest: Manifest,
        spec: TableSpec,
        part: pl.DataFrame,
        progress: LoadProgress,
    ) -> str:
        if clock.now_ns() // 1_000_000 - manifest.created_ms > _REMEMBERED_MS and self._is_there(
            manifest, spec, part
        ):
            return ""
        buffer = io.BytesIO()
        part.write_parquet(buffer, compression="zstd", statistics=True)
        data = buffer.getvalue()
        source: bytes | str = data
        staged = manifests.key(manifest.number, f"{spec.name}.parquet")
        if self._store.uri.startswith("gs://"):
            self._keep(staged, data)
            source = f"{self._store.uri}/{staged}"
        delay, tries = 1.0, 0
        # a job that failed has no effect, and its name is used up; of one that may run the name is kept
        attempt = 0
        while True:
            progress.doing = f"loading {part.height:,} rows into {spec.name}"
            self._report(progress)
            job_id = manifest.job_id(spec.name, attempt)
            try:
                loaded = self._warehouse.load(spec, job_id, source)
            except WarehouseUnavailable:
                tries += 1
                if tries == _ATTEMPTS or self._wait(delay):
                    raise
                delay = min(delay * 4, _LONGEST_DELAY_S)
                continue
            except JobFailed as failed:
                attempt += 1
                if failed.earlier:
                    continue
                tries += 1
                if not failed.transient or tries == _ATTEMPTS or self._wait(delay):
                    raise
                delay = min(delay * 4, _LONGEST_DELAY_S)
                continue
            if loaded != part.height:
                raise WarehouseError(
                    f"The job {job_id} loaded {loaded:,} rows into {spec.name}, {part.height:,} were due.",
                    "Compare the two with `tickerlake audit --bigquery`.",
                )
            if isinstance(source, str):
                discard(self._store, staged)
            return job_id

    def _is_there(self, manifest: Manifest, spec: TableSpec, part: pl.DataFrame) -> bool:
        """Tell whether the rows of a load, the jobs of which nobody remembers, are in the table."""
        found = 0
        for each in manifest.ranges:
            found += self._warehouse.query(
                f"select count(*) from `{self._warehouse.name}`.{spec.name} where kafka_topic = @topic "
                "and kafka_partition = @partition and kafka_offset >= @first and kafka_offset < @end",
                [
                    ("topic", "STRING", each.topic),
                    ("partition", "INT64", each.partition),
                    ("first", "INT64", each.start),
                    ("end", "INT64", each.end),
                ],
            )[0][0]
        if found not in {0, part.height}:
            raise WarehouseError(
                f"Of load {manifest.number} of {manifest.kind}, {found:,} of {part.height:,} rows are in "
                f"{spec.name}, and it is so old that BigQuery has forgotten its jobs.",
                "Delete these rows from the table, then run it again.",
            )
        return found > 0

    def _keep(self, key: str, data: bytes) -> None:
        try:
            self._store.create(key, data, metadata={})
        except ObjectExists:
            return  # an attempt before stored it: the same records, so the same content

    def make_views(self, sources: dict[str, str] | None = None) -> int:
        """Create the views, and change those whose text is another one; return how many that were.

        Parameters
        ----------
        sources
            By kind, a table of which every row counts; by default, and for others, those that are loaded,
            which are created if they are missing.
        """
        changed = 0
        for kind in SCHEMA_OF:
            if sources and kind in sources:
                names = [sources[kind]]
                sql = all_sql(kind, self._warehouse.name, sources[kind])
            else:
                self._make_tables(kind)
                names = [spec.name for spec in tables(kind)]
                sql = view_sql(kind, self._warehouse.name, names)
            changed += self._warehouse.ensure_view(kind, sql, f"What counts of {', '.join(names)}.")
        for view in views().values():
            changed += self._warehouse.ensure_view(
                view.name, view.in_dataset(self._warehouse.name), view.about
            )
        return changed


def _cut(chunk: Chunk, end: int) -> Chunk:
    """Return what of a chunk lies before an offset: chunks of single objects may end elsewhere now."""
    if chunk.end <= end:
        return chunk
    keys = tuple(key for key in chunk.keys if int(key.rpartition("/")[2].partition(".")[0]) < end)
    return Chunk(chunk.topic, chunk.partition, chunk.start, end, keys, len(keys), chunk.bytes)
