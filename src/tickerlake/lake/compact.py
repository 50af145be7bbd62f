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
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists
from tickerlake.lake import curated
from tickerlake.lake.curated import CuratedFile, Kinds, Place, State, Taken, TakenTopic
from tickerlake.lake.duck import latest, literal, names, open_database, parquet
from tickerlake.lake.reader import topics
from tickerlake.lake.rows import checksum
from tickerlake.lake.store.base import Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.typed import (
    RANKED,
    Chunk,
    Misfit,
    Records,
    SessionDates,
    event_time,
    frame_schema,
    misfit_lines,
    read_ahead,
)
from tickerlake.lake.writer import read_topic

STEP_ROWS: Final = 20_000_000
"""So many rows a step at most, but for one object more."""

FILE_ROWS: Final = 4_000_000
SMALL_BYTES: Final = 64 << 20
"""A file under this is written anew with what joins its folder."""

_BUFFER_ROWS: Final = 1_000_000
_GROUP_ROWS: Final = 61_440
_FOLDER: Final = "\n"
_TRIES: Final = 5


@dataclass(slots=True)
class Progress:
    """How far a compaction is: totals of this run."""

    records: int = 0
    misfits: int = 0
    superseded: int = 0
    segments: int = 0
    raw_bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    replaced: int = 0
    steps: int = 0
    adopted: int = 0
    skipped: list[str] = field(default_factory=list)
    doing: str = ""


@dataclass(slots=True)
class _Group:
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
        dates: SessionDates,
        folder: Path,
        *,
        topic: str | None = None,
        until_ms: int | None = None,
        memory: str = "1GB",
        step_rows: int = STEP_ROWS,
        file_rows: int = FILE_ROWS,
        stop: Callable[[], bool] = lambda: False,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._dates = dates
        self._folder = folder
        self._topic = topic
        self._until_ms = until_ms
        self._memory = memory
        self._step_rows, self._file_rows = step_rows, file_rows
        self._stop = stop
        self._report = report
        self._kinds = Kinds(store)

    def run(self) -> Progress:
        """Take all that there is to take.

        Raises
        ------
        LakeError
            If the lake has no such topic, or is damaged.
        """
        progress = Progress()
        self._kinds.look_again()
        outrun = 0
        while not self._stop():
            state = curated.read_state(self._store)
            try:
                if not self._step(state, progress):
                    break
                outrun = 0
            except ObjectExists as error:
                outrun += 1
                if outrun == _TRIES:
                    raise LakeError(
                        f"Somebody else compacts {self._store.uri}, and was first {_TRIES} times.",
                        "Let one compaction run at a time.",
                    ) from error
        return progress

    def _step(self, state: State, progress: Progress) -> bool:
        folder = self._folder / f"step-{state.version + 1}"
        rows = 0
        with _Step(self._store, state, folder, self._memory, self._file_rows) as work:
            for kind, chunk, records in self._read(state, progress):
                work.take(kind, chunk, records)
                rows += chunk.records
                progress.doing = f"reading {chunk.topic}"
                self._report(progress)
                if self._stop():
                    return False
                if rows >= self._step_rows:
                    break
            if not work.ranges:
                return False
            for place in work.places():
                progress.doing = f"writing {place.prefix.removeprefix(curated.ROOT)}"
                self._report(progress)
                work.write(place)
                if self._stop():
                    return False
            work.commit(progress)
        return True

    def _read(self, state: State, progress: Progress) -> Iterator[tuple[str, Chunk, Records]]:
        """Read what has not been taken, topic by topic."""
        progress.skipped = []
        for name in [self._topic] if self._topic else topics(self._store):
            topic = read_topic(self._store, name)
            kind = self._kinds.of(topic, state)
            if kind is None:
                progress.skipped.append(name)
                continue
            late: set[int] = set()
            found = curated.untaken(self._store, topic, state.through(name))
            for chunk, records in read_ahead(self._store, found, kind, self._dates):
                if self._is_late(records):
                    late.add(chunk.partition)
                if chunk.partition not in late:
                    yield kind, chunk, records

    def _is_late(self, records: Records) -> bool:
        if self._until_ms is None:
            return False
        newest = records.frame.get_column("kafka_timestamp_ms").max()
        return isinstance(newest, int) and newest >= self._until_ms


class _Step:
    """One step: rows are taken, folders written, and all is committed."""

    def __init__(self, store: Store, state: State, folder: Path, memory: str, file_rows: int) -> None:
        self.ranges: dict[str, TakenTopic] = {}
        self._store = store
        self._state = state
        self._folder = folder
        self._memory = memory
        self._file_rows = file_rows
        self._groups: dict[Place, _Group] = {}
        self._here: dict[Place, list[CuratedFile]] = {}
        for key in sorted(state.files):
            self._here.setdefault(state.files[key].place, []).append(state.files[key])
        self._buffers: dict[str, list[pl.DataFrame]] = {}
        self._misfits: list[Misfit] = []
        self._parts = 0
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

    def take(self, kind: str, chunk: Chunk, records: Records) -> None:
        """Take what one chunk holds."""
        topic = chunk.topic
        known = self.ranges.get(topic) or self._state.taken.get(topic) or TakenTopic(kind, {})
        number = str(chunk.partition)
        before = known.partitions.get(number, Taken(chunk.start, chunk.start))
        after = Taken(
            before.first,
            chunk.end,
            before.records + chunk.records,
            before.misfits + len(records.misfits),
        )
        self.ranges[topic] = TakenTopic(kind, {**known.partitions, number: after})
        self._segments += len(chunk.keys)
        self._raw_bytes += chunk.bytes
        self._records += chunk.records
        self._misfits += records.misfits
        waiting = self._buffers.setdefault(kind, [])
        waiting.append(records.frame)
        if sum(each.height for each in waiting) >= _BUFFER_ROWS:
            self._lay_out(kind)

    def _lay_out(self, kind: str) -> None:
        """Write the rows that were taken to a file for each folder that they belong to."""
        frame = pl.concat(self._buffers.pop(kind))
        frame = frame.with_columns(curated.period(kind).alias(_FOLDER))
        by = ["interval", _FOLDER] if "interval" in frame.columns else [_FOLDER]
        for key, rows in frame.partition_by(by, as_dict=True).items():
            *interval, day = key
            assert isinstance(day, date), "every record has a day"
            name = str(interval[0]) if interval else ""
            group = self._groups.setdefault(Place(kind, name, day), _Group())
            path = str(self._folder / f"{self._parts}.parquet")
            self._parts += 1
            rows.drop("interval", _FOLDER, strict=False).write_parquet(path, compression="lz4")
            group.parts.append(path)
            group.instruments.update(rows.get_column("instrument_id").unique())
            group.rows += rows.height

    def places(self) -> list[Place]:
        """Return the folders that get rows."""
        for kind in list(self._buffers):
            self._lay_out(kind)
        return sorted(self._groups)

    def write(self, place: Place) -> None:
        """Write a folder's new rows, with those of its files that they belong to."""
        group = self._groups[place]
        merged = self._to_merge(place, group)
        sources = [*group.parts, *(self._local(each) for each in merged)]
        database = self._open()
        interval = f", {literal(place.interval)} as interval" if place.interval else ""
        database.execute(f"create or replace temp view source as select *{interval} from {parquet(sources)}")
        ranked = latest(place.kind, "source")
        database.execute(f"create or replace temp view rows as {ranked}")
        written = sum(self._write_slice(place, merged, *part) for part in self._slices(database))
        before = group.rows + sum(each.rows for each in merged)
        lost = before - written
        if lost < 0 or (lost and place.kind not in RANKED):
            raise LakeError(
                f"{place.prefix}: of {before} rows {written} were written.", "Nothing was changed."
            )
        self._superseded[place.kind] = self._superseded.get(place.kind, 0) + lost
        self._removed += [each.key for each in merged]

    def _to_merge(self, place: Place, group: _Group) -> list[CuratedFile]:
        """Choose a folder's files to be written anew: small ones, and where a newer revision may be due."""
        keyed = place.kind in RANKED

        def joins(file: CuratedFile) -> bool:
            if file.bytes < SMALL_BYTES and file.rows < self._file_rows:
                return True
            return keyed and any(file.first <= name <= file.last for name in group.instruments)

        return [each for each in self._here.get(place, []) if joins(each)]

    def _slices(self, database: Any) -> list[tuple[str, str]]:
        """Divide instruments into runs, each of which fills a file."""
        counts = database.execute(
            "select instrument_id, count(*) from source group by all order by all"
        ).fetchall()
        total = sum(count for _, count in counts)
        files = -(-total // self._file_rows)
        share = -(-total // max(1, files))
        slices: list[tuple[str, str]] = []
        first, rows = counts[0][0], 0
        for number, (name, count) in enumerate(counts):
            rows += count
            if rows >= share or number == len(counts) - 1:
                slices.append((first, name))
                rows = 0
                first = counts[number + 1][0] if number < len(counts) - 1 else name
        return slices

    def _write_slice(self, place: Place, merged: list[CuratedFile], first: str, last: str) -> int:
        plan = msgspec.json.encode(
            [self.ranges, [each.key for each in merged], place.prefix, first, last], order="deterministic"
        )
        name = hashlib.sha256(plan).hexdigest()[:16]
        key = f"{place.prefix}{self._state.version + 1:010d}-{name}.parquet"
        path = self._folder / "out.parquet"
        columns = names(name for name in frame_schema(place.kind).names() if name != "interval")
        order = ", ".join(
            part
            for part in (
                "instrument_id",
                event_time(place.kind),
                "sequence nulls first" if place.kind in {"trades", "quotes"} else "",
                "kafka_topic, kafka_partition, kafka_offset",
            )
            if part
        )
        self._open().execute(
            f"copy (select {columns} from rows where instrument_id between ? and ? order by {order}) "
            f"to {literal(str(path))} (format parquet, compression zstd, row_group_size {_GROUP_ROWS})",
            [first, last],
        )
        data = path.read_bytes()
        path.unlink()
        rows = _rows_of(path.name, data)
        try:
            self._store.create(
                key, data, metadata={"rows": str(rows)}, content_type="application/vnd.apache.parquet"
            )
        except ObjectExists:
            data = self._store.read(key)  # an attempt that was killed left it: the same rows
            if _rows_of(key, data) != rows:
                raise LakeError(f"{key} does not hold the rows that its name stands for.", _FOREIGN) from None
            self._adopted += 1
        failpoints.reach("compact.written")
        self._added.append(CuratedFile(key, rows, len(data), checksum(data), first, last))
        return rows

    def _local(self, file: CuratedFile) -> str:
        """Return the path of a file on this machine, checked, fetching it if it is elsewhere."""
        data = self._store.read(file.key)
        if checksum(data) != file.crc32c:
            raise LakeError(
                f"{file.key} is damaged: its checksum is not that of its commit.", curated.REBUILD
            )
        if isinstance(self._store, LocalStore):
            return f"{self._store.uri}/{file.key}"
        path = self._folder / f"have-{len(self._removed)}-{file.key.rpartition('/')[2]}"
        path.write_bytes(data)
        return str(path)

    def _open(self) -> Any:
        if self._database is None:
            self._database = open_database(self._folder, self._memory)
        return self._database

    def commit(self, progress: Progress) -> None:
        """Make the step count.

        Raises
        ------
        ObjectExists
            Somebody else's step was first.
        """
        if self._misfits:
            lines = misfit_lines(self._misfits)
            name = f"{self._state.version + 1:010d}-{hashlib.sha256(lines).hexdigest()[:16]}.ndjson"
            with suppress(ObjectExists):
                self._store.create(
                    f"{curated.MISFITS}{name}", lines, metadata={}, content_type="application/x-ndjson"
                )
        taken = {**self._state.taken, **self.ranges}
        curated.commit(self._store, self._state, taken, self._superseded, self._added, self._removed)
        failpoints.reach("compact.committed")
        progress.steps += 1
        progress.records += self._records
        progress.misfits += len(self._misfits)
        progress.superseded += sum(self._superseded.values()) - sum(self._state.superseded.values())
        progress.segments += self._segments
        progress.raw_bytes += self._raw_bytes
        progress.files += len(self._added)
        progress.file_bytes += sum(each.bytes for each in self._added)
        progress.replaced += len(self._removed)
        progress.adopted += self._adopted


_FOREIGN: Final = "Something else wrote it; move it away and run `tickerlake compact` again."


def _rows_of(key: str, data: bytes) -> int:
    try:
        return int(pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{key} is damaged: {error}.", _FOREIGN) from error
