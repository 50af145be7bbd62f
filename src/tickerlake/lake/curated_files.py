"""Rows of a compaction step → curated files: staged on local disk by folder, then sorted by DuckDB."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from tickerlake import failpoints
from tickerlake.errors import LakeError, ObjectExists
from tickerlake.lake.curated import (
    REBUILD_HINT,
    ConsumedTopic,
    CuratedFile,
    CuratedFolder,
    CuratedState,
    folder_date,
)
from tickerlake.lake.duckdb_sql import (
    column_list,
    latest_rows_sql,
    open_database,
    read_parquet_sql,
    sql_literal,
)
from tickerlake.lake.formats.rows import checksum
from tickerlake.lake.store.base import Store
from tickerlake.lake.typed_records import DEDUP_KEYS, event_time_column, frame_schema

TARGET_FILE_ROWS: Final = 4_000_000
"""About 100–150 MB of trades: few files per folder, yet cheap to rewrite for a late revision."""

SMALL_FILE_BYTES: Final = 64 << 20
"""A smaller file is merged with new rows of its folder, so that a folder has one of them at most."""

_BUFFER_ROWS: Final = 1_000_000
"""Bounds memory per record type; smaller buffers would stage many tiny files."""

_ROW_GROUP_ROWS: Final = 61_440
"""30 vectors of DuckDB (2,048 rows): a reader of one symbol skips most groups of a file."""

_FOLDER_COLUMN: Final = "\n"
"""A column name that no field has."""

_FOREIGN_FILE_HINT: Final = "Another program wrote it; move it away and run `tickerlake compact` again."


@dataclass(slots=True)
class StagedFolder:
    """The staged rows of one folder: paths of Parquet files, instruments, and the number of rows."""

    paths: list[str] = field(default_factory=list)
    instruments: set[str] = field(default_factory=set)
    rows: int = 0


class StagedRows:
    """The rows of one step, on local disk by folder, so that memory stays bounded.

    Parameters
    ----------
    directory
        Existing directory for the files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._buffers: dict[str, list[pl.DataFrame]] = {}
        self._folders: dict[CuratedFolder, StagedFolder] = {}
        self._file_count = 0

    def add(self, record_type: str, frame: pl.DataFrame) -> None:
        """Add rows in the columns of `frame_schema`."""
        buffered = self._buffers.setdefault(record_type, [])
        buffered.append(frame)
        if sum(each.height for each in buffered) >= _BUFFER_ROWS:
            self._flush(record_type)

    def flush(self) -> dict[CuratedFolder, StagedFolder]:
        """Stage all buffered rows; return what is staged by folder, in order."""
        for record_type in list(self._buffers):
            self._flush(record_type)
        return {folder: self._folders[folder] for folder in sorted(self._folders)}

    def _flush(self, record_type: str) -> None:
        frame = pl.concat(self._buffers.pop(record_type))
        frame = frame.with_columns(folder_date(record_type).alias(_FOLDER_COLUMN))
        partition_columns = ["interval", _FOLDER_COLUMN] if "interval" in frame.columns else [_FOLDER_COLUMN]
        for key, rows in frame.partition_by(partition_columns, as_dict=True).items():
            *interval, day = key
            assert isinstance(day, date), "every record has a session date"
            folder = CuratedFolder(record_type, str(interval[0]) if interval else "", day)
            staged = self._folders.setdefault(folder, StagedFolder())
            path = str(self._directory / f"{self._file_count}.parquet")
            self._file_count += 1
            rows.drop("interval", _FOLDER_COLUMN, strict=False).write_parquet(path, compression="lz4")
            staged.paths.append(path)
            staged.instruments.update(rows.get_column("instrument_id").unique())
            staged.rows += rows.height


@dataclass(slots=True)
class FolderChange:
    """The change to one folder that its commit has to name.

    Parameters
    ----------
    added
        New files.
    removed
        Keys of the files that they replace.
    superseded
        Number of rows that a later revision superseded.
    adopted
        How many of the new files an interrupted attempt had stored.
    """

    added: list[CuratedFile] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    superseded: int = 0
    adopted: int = 0


class FolderWriter:
    """Merges staged rows with the files of their folder, and writes sorted files in their place.

    Parameters
    ----------
    store
        The lake.
    state
        The state that the step starts from.
    directory
        Existing directory for temporary files.
    memory
        DuckDB's memory limit, such as ``1GB``.
    file_rows
        Rows per file.
    """

    def __init__(
        self, store: Store, state: CuratedState, directory: Path, memory: str, file_rows: int
    ) -> None:
        self._store = store
        self._version = state.version + 1
        self._directory = directory
        self._memory = memory
        self._file_rows = file_rows
        self._files_by_folder: dict[CuratedFolder, list[CuratedFile]] = {}
        for key in sorted(state.files):
            self._files_by_folder.setdefault(state.files[key].folder, []).append(state.files[key])
        self._database: Any = None

    def close(self) -> None:
        """Release DuckDB's memory."""
        if self._database:
            self._database.close()

    def write(
        self, folder: CuratedFolder, staged: StagedFolder, consumed: Mapping[str, ConsumedTopic]
    ) -> FolderChange:
        """Write a folder's staged rows, merged with the files that they affect.

        Parameters
        ----------
        consumed
            The offsets that the step consumes. File names are derived from them, so that a repetition of
            an interrupted step finds its files.

        Raises
        ------
        LakeError
            A file is damaged, or not all rows were written.
        """
        merged = self._files_to_merge(folder, staged)
        self._create_views(folder, [*staged.paths, *(self._local_path(each) for each in merged)])
        change = FolderChange(removed=[each.key for each in merged])
        for first, last in self._instrument_slices():
            key = self._file_key(folder, [consumed, change.removed, folder.prefix, first, last])
            self._write_file(folder, key, first, last, change)
        rows_before = staged.rows + sum(each.rows for each in merged)
        rows_written = sum(each.rows for each in change.added)
        change.superseded = rows_before - rows_written
        if change.superseded < 0 or (change.superseded and folder.record_type not in DEDUP_KEYS):
            raise LakeError(
                f"{folder.prefix}: {rows_written} of {rows_before} rows were written.",
                "Nothing was committed; report this as a bug.",
            )
        return change

    def _files_to_merge(self, folder: CuratedFolder, staged: StagedFolder) -> list[CuratedFile]:
        """Choose the files to rewrite: small ones, and those that may hold an earlier revision."""
        has_dedup_key = folder.record_type in DEDUP_KEYS

        def is_affected(file: CuratedFile) -> bool:
            if file.bytes < SMALL_FILE_BYTES and file.rows < self._file_rows:
                return True
            return has_dedup_key and any(file.first <= name <= file.last for name in staged.instruments)

        return [each for each in self._files_by_folder.get(folder, []) if is_affected(each)]

    def _local_path(self, file: CuratedFile) -> str:
        """Return a local path of a file, downloading it if necessary, after checking its checksum."""
        data = self._store.read(file.key)
        if checksum(data) != file.crc32c:
            raise LakeError(
                f"{file.key} is damaged: its checksum differs from that in its commit.", REBUILD_HINT
            )
        if self._store.local_path:
            return str(self._store.local_path / file.key)
        path = self._directory / f"merged-{file.key.rpartition('/')[2]}"
        path.write_bytes(data)
        return str(path)

    def _create_views(self, folder: CuratedFolder, paths: list[str]) -> None:
        """Create the views ``source``, all rows of some files, and ``rows``, those of them that count."""
        interval = f", {sql_literal(folder.interval)} as interval" if folder.interval else ""
        database = self._open_database()
        database.execute(
            f"create or replace temp view source as select *{interval} from {read_parquet_sql(paths)}"
        )
        latest_rows = latest_rows_sql(folder.record_type, "source")
        database.execute(f"create or replace temp view rows as {latest_rows}")

    def _instrument_slices(self) -> list[tuple[str, str]]:
        """Divide the instruments of ``source`` into ranges (first, last) that fill about a file each."""
        counts = (
            self._open_database()
            .execute("select instrument_id, count(*) from source group by all order by all")
            .fetchall()
        )
        total = sum(count for _, count in counts)
        files = -(-total // self._file_rows)
        rows_per_file = -(-total // max(1, files))
        slices: list[tuple[str, str]] = []
        first, rows = None, 0
        for name, count in counts:
            first = name if first is None else first
            rows += count
            if rows >= rows_per_file or name == counts[-1][0]:
                slices.append((first, name))
                first, rows = None, 0
        return slices

    def _file_key(self, folder: CuratedFolder, content: list[Any]) -> str:
        digest = hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
        return f"{folder.prefix}{self._version:010d}-{digest[:16]}.parquet"

    def _write_file(
        self, folder: CuratedFolder, key: str, first: str, last: str, change: FolderChange
    ) -> None:
        """Store the rows of some instruments, or adopt the file that an interrupted attempt stored."""
        data = self._sort_rows(folder, first, last)
        rows = _count_rows(key, data)
        try:
            self._store.create(
                key, data, metadata={"rows": str(rows)}, content_type="application/vnd.apache.parquet"
            )
        except ObjectExists:
            data = self._store.read(key)
            if _count_rows(key, data) != rows:
                raise LakeError(
                    f"{key} does not hold the rows that its name stands for.", _FOREIGN_FILE_HINT
                ) from None
            change.adopted += 1
        failpoints.reach("compact.written")
        change.added.append(CuratedFile(key, rows, len(data), checksum(data), first, last))

    def _sort_rows(self, folder: CuratedFolder, first: str, last: str) -> bytes:
        """Return the rows of some instruments as a sorted Parquet file."""
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
        path = self._directory / "sorted.parquet"
        options = f"format parquet, compression zstd, row_group_size {_ROW_GROUP_ROWS}"
        self._open_database().execute(
            f"copy (select {columns} from rows where instrument_id between ? and ? order by {order}) "
            f"to {sql_literal(str(path))} ({options})",
            [first, last],
        )
        data = path.read_bytes()
        path.unlink()
        return data

    def _open_database(self) -> Any:
        if self._database is None:
            self._database = open_database(self._directory, self._memory)
        return self._database


def _count_rows(key: str, data: bytes) -> int:
    try:
        return int(pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{key} is damaged: {error}.", _FOREIGN_FILE_HINT) from error
