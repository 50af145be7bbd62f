"""Raw segments → curated Parquet, exactly once, in bounded memory.

A step reads each chunk that is not consumed yet once, stages its rows on disk by folder, and then writes
each folder's rows as sorted files, merged with those of its files that the new rows affect
(`curated_files`). One commit makes all of it visible. A step's file names are derived from its input, so a
step that was killed is found and used by the next one.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists
from tickerlake.lake import curated
from tickerlake.lake.curated import ConsumedRange, ConsumedTopic, CuratedFolder, CuratedState
from tickerlake.lake.curated_files import (
    TARGET_FILE_ROWS,
    FolderChange,
    FolderWriter,
    StagedFolder,
    StagedRows,
)
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.reader import topics
from tickerlake.lake.store.base import Store, create_if_absent
from tickerlake.lake.topic import read_topic
from tickerlake.lake.typed_records import (
    Chunk,
    Records,
    RejectedRow,
    SessionDateLookup,
    encode_rejects,
    prefetch_chunks,
)
from tickerlake.model.schema import SCHEMA_OF

MAX_STEP_ROWS: Final = 20_000_000
"""Bounds the temporary disk space of a step, and the work that is lost if it is killed."""

_MAX_CONFLICTS: Final = 5
"""Lost commits in a row: compactions that merely overlap lose once or twice, so this one never wins."""


@dataclass(slots=True)
class CompactionProgress:
    """Totals of a run, for its caller to report.

    Parameters
    ----------
    superseded
        Rows that a later revision superseded.
    files, file_bytes, replaced, adopted
        Curated files that were added, their size, those that they replace, and those among them that an
        interrupted attempt had stored.
    rejects_by_topic
        The rejected rows of each topic that has some.
    activity
        What the run is doing.
    """

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
    rejects_by_topic: dict[str, int] = field(default_factory=dict)
    activity: str = ""


class Compactor:
    """Compacts a lake.

    Parameters
    ----------
    store
        The lake.
    session_dates
        Finds the session date of records without one.
    folder
        Directory for the rows of a step; they take about twice their size as Parquet.
    topic
        Compact only this topic.
    until_ms
        Leave out records that Kafka received at or after this time, and all later ones of their partition.
    memory
        DuckDB's memory limit, such as ``1GB``.
    step_rows
        Rows per step, exceeded by one chunk at most.
    file_rows
        Rows per curated file.
    should_stop
        Polled between chunks and folders; an incomplete step is discarded.
    report
        Called periodically.
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

    def run(self) -> CompactionProgress:
        """Compact all pending records.

        Raises
        ------
        LakeError
            If the lake does not have the topic, is damaged, or this version cannot read it.
        """
        check_format_version(self._store)
        progress = CompactionProgress()
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
                        f"Another process compacts {self._store.uri}: its commits were first "
                        f"{_MAX_CONFLICTS} times in a row.",
                        "Run one compaction at a time.",
                    ) from error
        return progress

    def _run_step(self, state: CuratedState, progress: CompactionProgress) -> bool:
        """Run a step; return whether it was committed."""
        folder = self._folder / f"step-{state.version + 1}"
        with CompactionStep(self._store, state, folder, self._memory, self._file_rows) as step:
            if not self._read(step, state, progress) or not step.consumed:
                return False
            for target, staged in step.staged_folders().items():
                progress.activity = f"writing {target.prefix.removeprefix(curated.ROOT)}"
                self._report(progress)
                step.write(target, staged)
                if self._should_stop():
                    return False
            step.commit(progress)
        return True

    def _read(self, step: "CompactionStep", state: CuratedState, progress: CompactionProgress) -> bool:
        """Add pending chunks to a step until it has enough rows; return False on a request to stop."""
        rows = 0
        for chunk, records in self._pending(state):
            step.add(chunk, records)
            rows += chunk.records
            progress.activity = f"reading {chunk.topic}"
            self._report(progress)
            if self._should_stop():
                return False
            if rows >= self._step_rows:
                break
        return True

    def _pending(self, state: CuratedState) -> Iterator[tuple[Chunk, Records]]:
        """Read the chunks that are not consumed yet, topic by topic."""
        for name in [self._topic] if self._topic else topics(self._store):
            topic = read_topic(self._store, name)
            past_cutoff: set[int] = set()
            pending = curated.pending_chunks(self._store, topic, state.next_offsets(name))
            for chunk, records in prefetch_chunks(self._store, pending, SCHEMA_OF, self._session_dates):
                if self._reaches_cutoff(records):
                    past_cutoff.add(chunk.partition)
                if chunk.partition not in past_cutoff:
                    yield chunk, records

    def _reaches_cutoff(self, records: Records) -> bool:
        if self._until_ms is None:
            return False
        newest = (frame.get_column("kafka_timestamp_ms").max() for frame in records.frames.values())
        return any(isinstance(time_ms, int) and time_ms >= self._until_ms for time_ms in newest)


class CompactionStep:
    """One step: chunks are added, their folders written, and all is committed at once.

    Parameters
    ----------
    store
        The lake.
    state
        The state that the step starts from.
    folder
        Directory for temporary files, which the step creates and deletes.
    memory
        DuckDB's memory limit.
    file_rows
        Rows per curated file.
    """

    def __init__(self, store: Store, state: CuratedState, folder: Path, memory: str, file_rows: int) -> None:
        self.consumed: dict[str, ConsumedTopic] = {}
        """The topics of the added chunks, with the offsets consumed once the step is committed."""
        self._store = store
        self._state = state
        self._folder = folder
        self._rows = StagedRows(folder)
        self._writer = FolderWriter(store, state, folder, memory, file_rows)
        self._rejects: list[RejectedRow] = []
        self._changes: list[FolderChange] = []
        self._superseded = dict(state.superseded)
        self._rejects_by_topic: Counter[str] = Counter()
        self._records = self._segments = self._raw_bytes = 0

    def __enter__(self) -> "CompactionStep":
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, chunk: Chunk, records: Records) -> None:
        """Add the records of the next chunk of a partition."""
        topic, number = chunk.topic, str(chunk.partition)
        consumed = self.consumed.get(topic) or self._state.consumed.get(topic) or ConsumedTopic({})
        before = consumed.partitions.get(number, ConsumedRange(chunk.start, chunk.start))
        counts = Counter({record_type: frame.height for record_type, frame in records.frames.items()})
        after = ConsumedRange(
            before.first_offset,
            chunk.end,
            before.records + chunk.records,
            before.rejects + records.rejected,
            dict(Counter(before.rows) + counts),
        )
        self.consumed[topic] = ConsumedTopic({**consumed.partitions, number: after})
        self._records += chunk.records
        self._rejects_by_topic[topic] += records.rejected
        self._segments += len(chunk.keys)
        self._raw_bytes += chunk.bytes
        self._rejects += records.rejects
        for record_type, frame in records.frames.items():
            self._rows.add(record_type, frame)

    def staged_folders(self) -> dict[CuratedFolder, StagedFolder]:
        """Stage the rows that are still in memory; return the folders to write."""
        return self._rows.flush()

    def write(self, folder: CuratedFolder, staged: StagedFolder) -> None:
        """Write the curated files of a folder."""
        change = self._writer.write(folder, staged, self.consumed)
        superseded = self._superseded.get(folder.record_type, 0)
        self._superseded[folder.record_type] = superseded + change.superseded
        self._changes.append(change)

    def commit(self, progress: CompactionProgress) -> None:
        """Make the step visible to readers, and add its counts to those of the run.

        Raises
        ------
        ObjectExists
            Another process committed a step first.
        """
        self._store_rejects()
        added = [file for change in self._changes for file in change.added]
        removed = [key for change in self._changes for key in change.removed]
        consumed = {**self._state.consumed, **self.consumed}
        curated.commit(self._store, self._state, consumed, self._superseded, added, removed)
        failpoints.reach("compact.committed")
        progress.steps += 1
        progress.records += self._records
        progress.rejects += self._rejects_by_topic.total()
        progress.rejects_by_topic = dict(Counter(progress.rejects_by_topic) + self._rejects_by_topic)
        progress.superseded += sum(change.superseded for change in self._changes)
        progress.segments += self._segments
        progress.raw_bytes += self._raw_bytes
        progress.files += len(added)
        progress.file_bytes += sum(each.bytes for each in added)
        progress.replaced += len(removed)
        progress.adopted += sum(change.adopted for change in self._changes)

    def _store_rejects(self) -> None:
        if self._rejects:
            lines = encode_rejects(self._rejects)
            digest = hashlib.sha256(lines).hexdigest()
            key = f"{curated.REJECTS}{self._state.version + 1:010d}-{digest[:16]}.ndjson"
            create_if_absent(self._store, key, lines, content_type="application/x-ndjson")
