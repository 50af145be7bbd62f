"""Proof that the curated part of a lake holds each record that was consumed from its segments once.

The plain audit compares the counts of segments, commits and files. ``deep`` reads every file: it verifies
checksums and order, and that no offset occurs twice.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake import curated
from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.chain import walk
from tickerlake.lake.curated import CuratedFile, CuratedState
from tickerlake.lake.duckdb_sql import open_database, read_parquet_sql
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.formats.rows import checksum
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import TopicMeta, read_topic
from tickerlake.lake.typed_records import event_time_column

NO_RECORD_TYPE: Final = "none"

_MEMORY_LIMIT: Final = "1GB"
"""As for a compaction: offsets that do not fit spill to disk."""

_OFFSET_COLUMNS: Final = ["kafka_topic", "kafka_partition", "kafka_offset"]


@dataclass(slots=True)
class CuratedAudit:
    """Counts of one record type; ``findings`` is empty if no error was found.

    Parameters
    ----------
    kind
        The record type; `NO_RECORD_TYPE` for topics without records.
    records, rejects, superseded
        Rows that were consumed, those of them that were rejected, and those replaced by a later revision.
        The rejects of a topic are counted with the record type that is commonest in it.
    rows, files, bytes
        What is stored: ``records`` less ``rejects`` and ``superseded``.
    left_over
        Files that no commit names: replaced ones, or those of a compaction that was killed.
    """

    kind: str
    records: int = 0
    rejects: int = 0
    superseded: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    left_over: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as ``--json`` prints it."""
        return asdict(self)


def audit_curated(store: ReadableStore, *, deep: bool = False) -> list[CuratedAudit]:
    """Audit the curated part of a lake, by record type; empty if there is none.

    Raises
    ------
    LakeError
        If its log is damaged, or this version cannot read the lake.
    """
    check_format_version(store)
    state = curated.read_state(store)
    if not state.version:
        return []
    rows_by_topic = {name: topic.rows for name, topic in state.consumed.items()}
    commonest = {
        name: rows.most_common(1)[0][0] if rows else NO_RECORD_TYPE for name, rows in rows_by_topic.items()
    }
    record_types = {
        *commonest.values(),
        *(record_type for rows in rows_by_topic.values() for record_type in rows),
        *(file.folder.record_type for file in state.files.values()),
    }
    results = {
        record_type: CuratedAudit(record_type, superseded=state.superseded.get(record_type, 0))
        for record_type in sorted(record_types)
    }
    for name, consumed in state.consumed.items():
        for record_type, rows in rows_by_topic[name].items():
            results[record_type].records += rows
        result = results[commonest[name]]
        for number, consumed_range in consumed.partitions.items():
            result.records += consumed_range.rejects
            result.rejects += consumed_range.rejects
            result.findings += _check_consumed(store, name, int(number), consumed_range)
    stored_sizes = {
        info.key: info.size for info in store.list(curated.ROOT) if curated.parse_version(info.key)
    }
    for record_type, result in results.items():
        with tempfile.TemporaryDirectory(prefix="tickerlake-audit-") as folder:
            _check_files(
                store, state.files_of(record_type), stored_sizes, result, Path(folder) if deep else None
            )
            expected_rows = result.records - result.rejects - result.superseded
            if expected_rows != result.rows:
                expected = f"{expected_rows} rows are expected (records less rejects and superseded)"
                message = f"{expected}, {result.rows} are stored"
                result.findings.append(Finding("curated_count", f"{curated.ROOT}{record_type}/", message))
            if deep and result.files and not result.findings:
                result.findings += _check_offsets(Path(folder), state, record_type)
    for key in stored_sizes:
        record_type = curated.parse_folder(key).record_type
        if record_type in results:
            results[record_type].left_over += 1
    return list(results.values())


def _check_files(
    store: ReadableStore,
    files: list[CuratedFile],
    stored_sizes: dict[str, int],
    result: CuratedAudit,
    folder: Path | None,
) -> None:
    """Compare files with ``stored_sizes``, and remove them from it; with a folder, read them, too.

    The folder receives the offsets of each file's rows.
    """
    for number, file in enumerate(files):
        result.files += 1
        result.rows += file.rows
        result.bytes += file.bytes
        size = stored_sizes.pop(file.key, None)
        if size != file.bytes:
            problem = "is missing" if size is None else f"has {size} bytes, its commit says {file.bytes}"
            result.findings.append(Finding("curated_file", file.key, problem))
        elif folder:
            result.findings += _check_file(store, file, folder / f"{number}.parquet")


def _check_consumed(
    store: ReadableStore, topic: str, partition: int, consumed: curated.ConsumedRange
) -> Iterator[Finding]:
    key = f"raw/{topic}/partition={partition}/"
    try:
        topic_meta = read_topic(store, topic)
        records, end = _count_raw(store, topic_meta, partition, consumed)
    except (LakeError, ObjectMissing) as error:
        yield Finding("curated_source", key, error.message)
        return
    if consumed.first_offset != topic_meta.first_position(partition):
        yield Finding(
            "curated_source",
            key,
            f"consumed from {consumed.first_offset}, not from the beginning of the chain",
        )
    if end != consumed.next_offset:
        yield Finding("curated_source", key, f"consumed up to {consumed.next_offset}, where no segment ends")
    if consumed.records != consumed.rejects + sum(consumed.rows.values()):
        message = (
            f"{consumed.records} records were consumed up to {consumed.next_offset}, "
            f"{consumed.rejects} of them rejected and {sum(consumed.rows.values())} accepted"
        )
        yield Finding("curated_source", key, message)
    if records != consumed.records:
        message = (
            f"{consumed.records} records were consumed up to {consumed.next_offset}, "
            f"the segments hold {records}"
        )
        yield Finding("curated_source", key, message)


def _count_raw(
    store: ReadableStore, topic: TopicMeta, partition: int, consumed: curated.ConsumedRange
) -> tuple[int, int]:
    """Count the records in the compacted part of a chain, and return where that part ends."""
    records, end = 0, consumed.first_offset
    for piece in walk(store, topic, partition, end):
        if piece.start >= consumed.next_offset:
            break
        if piece.problem or piece.start > end:
            raise LakeError(f"the chain is broken at offset {end}", "Run `tickerlake audit`.")
        records += piece.records
        end = max(end, piece.end)
    return records, end


def _check_file(store: ReadableStore, file: CuratedFile, lineage: Path) -> Iterator[Finding]:
    data = store.read(file.key)
    if checksum(data) != file.crc32c:
        yield Finding("curated_checksum", file.key, "its checksum differs from that of its commit")
        return
    order = ["instrument_id", event_time_column(file.folder.record_type)]
    rows = pl.read_parquet(data, columns=[*order, *_OFFSET_COLUMNS])
    rows.select(_OFFSET_COLUMNS).write_parquet(lineage, compression="lz4")
    frame = rows.select(order)
    if frame.height != file.rows:
        yield Finding("curated_count", file.key, f"has {frame.height} rows, its commit says {file.rows}")
    instruments = frame.get_column("instrument_id")
    # in lakes of earlier versions, all alerts of an instrument could be superseded by those of another
    if frame.height and not file.first <= instruments[0] <= instruments[-1] <= file.last:
        message = f"holds {instruments[0]} to {instruments[-1]}, its commit says {file.first} to {file.last}"
        yield Finding("curated_range", file.key, message)
    if not frame.equals(frame.sort(order)):
        yield Finding("curated_order", file.key, "is not sorted by instrument and time")


def _check_offsets(lineage: Path, state: CuratedState, record_type: str) -> Iterator[Finding]:
    """Check that each offset of a record type occurs once, and was consumed."""
    database = open_database(lineage, _MEMORY_LIMIT)
    counts = database.execute(
        "select kafka_topic, kafka_partition, count(*), count(distinct kafka_offset), min(kafka_offset), "
        f"max(kafka_offset) from {read_parquet_sql([f'{lineage}/*.parquet'])} group by all order by all"
    ).fetchall()
    database.close()
    for topic, partition, rows, distinct, low, high in counts:
        key = f"{curated.ROOT}{record_type}/"
        if rows != distinct:
            message = f"{rows - distinct} offsets of {topic} partition {partition} occur twice"
            yield Finding("curated_duplicate", key, message)
        consumed = state.consumed.get(topic)
        consumed_range = consumed.partitions.get(str(partition)) if consumed else None
        if consumed_range is None or low < consumed_range.first_offset or high >= consumed_range.next_offset:
            message = f"offsets {low} to {high} of {topic} partition {partition} were never consumed"
            yield Finding("curated_source", key, message)
