"""Raw segments → curated Parquet, exactly once, in bounded memory.

A step takes what the chains hold beyond what was taken before: it is read once, laid out on disk by folder
(`curated.Place`), and then each folder is sorted and written by DuckDB, together with those of its
files that the new rows belong to. One commit makes it all visible. A step's file names follow from what
went into it, so one that was killed is found and used by the next.
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists
from tickerlake.lake import curated
from tickerlake.lake.curated import (
    ConsumedRange,
    ConsumedTopic,
    CuratedFile,
    CuratedFolder,
    CuratedState,
)
from tickerlake.lake.duckdb_sql import (
    column_list,
    latest_rows_sql,
    open_database,
    read_parquet_sql,
    sql_literal,
)
from tickerlake.lake.formats.rows import checksum
from tickerlake.lake.reader import topics
from tickerlake.lake.record_types import TopicRecordTypes
from tickerlake.lake.store.base import Store, create_if_absent
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.topic import read_topic
from tickerlake.lake.typed_records import (
    DEDUP_KEYS,
    Chunk,
    Records,
    RejectedRow,
    SessionDateLookup,
    encode_rejects,
    event_time_column,
    frame_schema,
    prefetch_chunks,
)

MAX_STEP_ROWS: Final = 20_000_000
"""So many rows a step at most, but for one object more."""

TARGET_FILE_ROWS: Final = 4_000_000
SMALL_FILE_BYTES: Final = 64 << 20
"""A file under this is written anew with what joins its folder."""

_BUFFER_ROWS: Final = 1_000_000
_ROW_GROUP_ROWS: Final = 61_440
_FOLDER_COLUMN: Final = "\n"
_MAX_CONFLICTS: Final = 5


@dataclass(slots=True)
class CompactionProgress:
    """How far a compaction is: totals of this run."""

    records: int = 0
    rejects: int = 0
    superseded: int = 0
    segments: int = 0
    raw_bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    replaced: int = 0
    steps: int = 0
    adopted: int = 0
    skipped: list[str] = field(default_factory=list)
    activity: str = ""


@dataclass(slots=True)
class _PendingFolder:
    parts: list[str] = field(default_factory=list)
    instruments: set[str] = field(default_factory=set)
    rows: int = 0


class Compactor:
    """Compacts a lake.

    Parameters
    ----------
    store
        The lake.
    dates
        Finds the exchange day of records that do not say it.
    folder
        Where to lay out a step's rows; about as large as these are.
    topic
        Only this topic.
    until_ms
        Leave what Kafka took at this time or later, and all that follows it in its partition.
    memory
        How much DuckDB may use, such as ``1GB``.
    stop
        Asked between objects; a step that is not complete is given up.
    report
        Called now and then.
    """

    def __init__(
        self,
        store: Store,
        session_dates: SessionDateLookup,
        folder: Path,
        *,
        topic: str | None = None,
        until_ms: int | None = None,
        memory: str = "1GB",
        step_rows: int = MAX_STEP_ROWS,
        file_rows: int = TARGET_FILE_ROWS,
        should_stop: Callable[[], bool] = lambda: False,
        report: Callable[[CompactionProgress], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._session_dates = session_dates
        self._folder = folder
        self._topic = topic
        self._until_ms = until_ms
        self._memory = memory
        self._step_rows, self._file_rows = step_rows, file_rows
        self._should_stop = should_stop
        self._report = report
        self._record_types = TopicRecordTypes(store)

    def run(self) -> CompactionProgress:
        """Take all that there is to take.

        Raises
        ------
        LakeError
            If the lake has no such topic, or is damaged.
        """
        progress = CompactionProgress()
        self._record_types.refresh()
        conflicts = 0
        while not self._should_stop():
            state = curated.read_state(self._store)
            try:
                if not self._run_step(state, progress):
                    break
                conflicts = 0
            except ObjectExists as error:
                conflicts += 1
                if conflicts == _MAX_CONFLICTS:
                    raise LakeError(
                        f"Somebody else compacts {self._store.uri}, and was first {_MAX_CONFLICTS} times.",
                        "Let one compaction run at a time.",
                    ) from error
        return progress

    def _run_step(self, state: CuratedState, progress: CompactionProgress) -> bool:
        folder = self._folder / f"step-{state.version + 1}"
        rows = 0
        with _Step(self._store, state, folder, self._memory, self._file_rows) as step:
            for record_type, chunk, records in self._read_pending(state, progress):
                step.add(record_type, chunk, records)
                rows += chunk.records
                progress.activity = f"reading {chunk.topic}"
                self._report(progress)
                if self._should_stop():
                    return False
                if rows >= self._step_rows:
                    break
            if not step.consumed:
                return False
            for target in step.folders():
                progress.activity = f"writing {target.prefix.removeprefix(curated.ROOT)}"
                self._report(progress)
                step.write(target)
                if self._should_stop():
                    return False
            step.commit(progress)
        return True

    def _read_pending(
        self, state: CuratedState, progress: CompactionProgress
    ) -> Iterator[tuple[str, Chunk, Records]]:
        """Read what has not been taken, topic by topic."""
        progress.skipped = []
        for name in [self._topic] if self._topic else topics(self._store):
            topic = read_topic(self._store, name)
            record_type = self._record_types.find(topic, state.record_type(name))
            if record_type is None:
                progress.skipped.append(name)
                continue
            past_cutoff: set[int] = set()
            pending = curated.pending_chunks(self._store, topic, state.next_offsets(name))
            for chunk, records in prefetch_chunks(self._store, pending, record_type, self._session_dates):
                if self._reaches_cutoff(records):
                    past_cutoff.add(chunk.partition)
                if chunk.partition not in past_cutoff:
                    yield record_type, chunk, records

    def _reaches_cutoff(self, records: Records) -> bool:
        if self._until_ms is None:
            return False
        newest = records.frame.get_column("kafka_timestamp_ms").max()
        return isinstance(newest, int) and newest >= self._until_ms


class _Step:
    """One step: rows are taken, folders written, and all is committed."""

    def __init__(self, store: Store, state: CuratedState, folder: Path, memory: str, file_rows: int) -> None:
        self.consumed: dict[str, ConsumedTopic] = {}
        self._store = store
        self._state = state
        self._folder = folder
        self._memory = memory
        self._file_rows = file_rows
        self._pending_folders: dict[CuratedFolder, _PendingFolder] = {}
        self._files_by_folder: dict[CuratedFolder, list[CuratedFile]] = {}
        for key in sorted(state.files):
            self._files_by_folder.setdefault(state.files[key].folder, []).append(state.files[key])
        self._buffers: dict[str, list[pl.DataFrame]] = {}
        self._rejects: list[RejectedRow] = []
        self._part_count = 0
        self._added: list[CuratedFile] = []
        self._removed: list[str] = []
        self._superseded = dict(state.superseded)
        self._segments = self._raw_bytes = self._records = self._adopted = 0
        self._database: Any = None

    def __enter__(self) -> "_Step":
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._database:
            self._database.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, record_type: str, chunk: Chunk, records: Records) -> None:
        """Take what one chunk holds."""
        topic = chunk.topic
        consumed = (
            self.consumed.get(topic) or self._state.consumed.get(topic) or ConsumedTopic(record_type, {})
        )
        number = str(chunk.partition)
        before = consumed.partitions.get(number, ConsumedRange(chunk.start, chunk.start))
        after = ConsumedRange(
            before.first_offset,
            chunk.end,
            before.records + chunk.records,
            before.rejects + len(records.rejects),
        )
        self.consumed[topic] = ConsumedTopic(record_type, {**consumed.partitions, number: after})
        self._segments += len(chunk.keys)
        self._raw_bytes += chunk.bytes
        self._records += chunk.records
        self._rejects += records.rejects
        buffered = self._buffers.setdefault(record_type, [])
        buffered.append(records.frame)
        if sum(each.height for each in buffered) >= _BUFFER_ROWS:
            self._flush(record_type)

    def _flush(self, record_type: str) -> None:
        """Write the rows that were taken to a file for each folder that they belong to."""
        frame = pl.concat(self._buffers.pop(record_type))
        frame = frame.with_columns(curated.folder_date(record_type).alias(_FOLDER_COLUMN))
        partition_columns = ["interval", _FOLDER_COLUMN] if "interval" in frame.columns else [_FOLDER_COLUMN]
        for key, rows in frame.partition_by(partition_columns, as_dict=True).items():
            *interval, day = key
            assert isinstance(day, date), "every record has a day"
            name = str(interval[0]) if interval else ""
            group = self._pending_folders.setdefault(CuratedFolder(record_type, name, day), _PendingFolder())
            path = str(self._folder / f"{self._part_count}.parquet")
            self._part_count += 1
            rows.drop("interval", _FOLDER_COLUMN, strict=False).write_parquet(path, compression="lz4")
            group.parts.append(path)
            group.instruments.update(rows.get_column("instrument_id").unique())
            group.rows += rows.height

    def folders(self) -> list[CuratedFolder]:
        """Return the folders that get rows."""
        for record_type in list(self._buffers):
            self._flush(record_type)
        return sorted(self._pending_folders)

    def write(self, folder: CuratedFolder) -> None:
        """Write a folder's new rows, with those of its files that they belong to."""
        pending = self._pending_folders[folder]
        merged = self._files_to_merge(folder, pending)
        sources = [*pending.parts, *(self._local_path(each) for each in merged)]
        database = self._open_database()
        interval = f", {sql_literal(folder.interval)} as interval" if folder.interval else ""
        database.execute(
            f"create or replace temp view source as select *{interval} from {read_parquet_sql(sources)}"
        )
        latest_rows = latest_rows_sql(folder.record_type, "source")
        database.execute(f"create or replace temp view rows as {latest_rows}")
        written = sum(self._write_slice(folder, merged, *part) for part in self._instrument_slices(database))
        before = pending.rows + sum(each.rows for each in merged)
        superseded = before - written
        if superseded < 0 or (superseded and folder.record_type not in DEDUP_KEYS):
            raise LakeError(
                f"{folder.prefix}: of {before} rows {written} were written.", "Nothing was changed."
            )
        self._superseded[folder.record_type] = self._superseded.get(folder.record_type, 0) + superseded
        self._removed += [each.key for each in merged]

    def _files_to_merge(self, folder: CuratedFolder, pending: _PendingFolder) -> list[CuratedFile]:
        """Choose a folder's files to be written anew: small ones, and where a newer revision may be due."""
        has_dedup_key = folder.record_type in DEDUP_KEYS

        def joins(file: CuratedFile) -> bool:
            if file.bytes < SMALL_FILE_BYTES and file.rows < self._file_rows:
                return True
            return has_dedup_key and any(file.first <= name <= file.last for name in pending.instruments)

        return [each for each in self._files_by_folder.get(folder, []) if joins(each)]

    def _instrument_slices(self, database: Any) -> list[tuple[str, str]]:
        """Divide instruments into runs, each of which fills a file."""
        counts = database.execute(
            "select instrument_id, count(*) from source group by all order by all"
        ).fetchall()
        total = sum(count for _, count in counts)
        files = -(-total // self._file_rows)
        rows_per_file = -(-total // max(1, files))
        slices: list[tuple[str, str]] = []
        first, rows = counts[0][0], 0
        for number, (name, count) in enumerate(counts):
            rows += count
            if rows >= rows_per_file or number == len(counts) - 1:
                slices.append((first, name))
                rows = 0
                first = counts[number + 1][0] if number < len(counts) - 1 else name
        return slices

    def _write_slice(self, folder: CuratedFolder, merged: list[CuratedFile], first: str, last: str) -> int:
        plan = msgspec.json.encode(
            [self.consumed, [each.key for each in merged], folder.prefix, first, last], order="deterministic"
        )
        name = hashlib.sha256(plan).hexdigest()[:16]
        key = f"{folder.prefix}{self._state.version + 1:010d}-{name}.parquet"
        path = self._folder / "out.parquet"
        columns = column_list(name for name in frame_schema(folder.record_type).names() if name != "interval")
        order = ", ".join(
            part
            for part in (
                "instrument_id",
                event_time_column(folder.record_type),
                "sequence nulls first" if folder.record_type in {"trades", "quotes"} else "",
                "kafka_topic, kafka_partition, kafka_offset",
            )
            if part
        )
        self._open_database().execute(
            f"copy (select {columns} from rows where instrument_id between ? and ? order by {order}) "
            f"to {sql_literal(str(path))} (format parquet, compression zstd, row_group_size {_ROW_GROUP_ROWS})",
            [first, last],
        )
        data = path.read_bytes()
        path.unlink()
        rows = _count_rows(path.name, data)
        try:
            self._store.create(
                key, data, metadata={"rows": str(rows)}, content_type="application/vnd.apache.parquet"
            )
        except ObjectExists:
            data = self._store.read(key)  # an attempt that was killed left it: the same rows
            if _count_rows(key, data) != rows:
                raise LakeError(
                    f"{key} does not hold the rows that its name stands for.", _FOREIGN_FILE_HINT
                ) from None
            self._adopted += 1
        failpoints.reach("compact.written")
        self._added.append(CuratedFile(key, rows, len(data), checksum(data), first, last))
        return rows

    def _local_path(self, file: CuratedFile) -> str:
        """Return the path of a file on this machine, checked, fetching it if it is elsewhere."""
        data = self._store.read(file.key)
        if checksum(data) != file.crc32c:
            raise LakeError(
                f"{file.key} is damaged: its checksum is not that of its commit.", curated.REBUILD_HINT
            )
        if isinstance(self._store, LocalStore):
            return f"{self._store.uri}/{file.key}"
        path = self._folder / f"have-{len(self._removed)}-{file.key.rpartition('/')[2]}"
        path.write_bytes(data)
        return str(path)

    def _open_database(self) -> Any:
        if self._database is None:
            self._database = open_database(self._folder, self._memory)
        return self._database

    def commit(self, progress: CompactionProgress) -> None:
        """Make the step count.

        Raises
        ------
        ObjectExists
            Somebody else's step was first.
        """
        if self._rejects:
            lines = encode_rejects(self._rejects)
            name = f"{self._state.version + 1:010d}-{hashlib.sha256(lines).hexdigest()[:16]}.ndjson"
            create_if_absent(
                self._store, f"{curated.REJECTS}{name}", lines, content_type="application/x-ndjson"
            )
        consumed = {**self._state.consumed, **self.consumed}
        curated.commit(self._store, self._state, consumed, self._superseded, self._added, self._removed)
        failpoints.reach("compact.committed")
        progress.steps += 1
        progress.records += self._records
        progress.rejects += len(self._rejects)
        progress.superseded += sum(self._superseded.values()) - sum(self._state.superseded.values())
        progress.segments += self._segments
        progress.raw_bytes += self._raw_bytes
        progress.files += len(self._added)
        progress.file_bytes += sum(each.bytes for each in self._added)
        progress.replaced += len(self._removed)
        progress.adopted += self._adopted


_FOREIGN_FILE_HINT: Final = "Something else wrote it; move it away and run `tickerlake compact` again."


def _count_rows(key: str, data: bytes) -> int:
    try:
        return int(pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{key} is damaged: {error}.", _FOREIGN_FILE_HINT) from error
