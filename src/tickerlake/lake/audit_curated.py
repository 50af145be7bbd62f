"""Proof that the curated part of a lake holds what was taken from its segments, each record once.

The plain audit compares counts: what the segments say, what the commits say, and the files. ``deep`` reads
every file: its checksum, its order, and that no offset is in it twice.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake import curated
from tickerlake.lake.audit import Finding
from tickerlake.lake.curated import CuratedFile, State
from tickerlake.lake.duck import open_database, parquet
from tickerlake.lake.objects import coverage
from tickerlake.lake.rows import checksum
from tickerlake.lake.segment import TopicMeta, marker_of
from tickerlake.lake.store.base import Store
from tickerlake.lake.typed import chunks, event_time
from tickerlake.lake.writer import read_topic

_LINEAGE: Final = ["kafka_topic", "kafka_partition", "kafka_offset"]


@dataclass(slots=True)
class CuratedAudit:
    """Figures of one kind; ``findings`` is empty if all is well.

    Parameters
    ----------
    records, misfits, superseded
        What was taken, what of it is no record of the kind, and what gave way to a later revision.
    rows, files, bytes
        What there is: ``records`` less ``misfits`` and ``superseded``.
    left_over
        Files that no commit names: replaced ones, or those of a compaction that was killed.
    """

    kind: str
    records: int = 0
    misfits: int = 0
    superseded: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    left_over: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return asdict(self)


def audit_curated(store: Store, *, deep: bool = False) -> list[CuratedAudit]:
    """Audit the curated part of a lake, by kind; nothing if there is none.

    Raises
    ------
    LakeError
        If its log is damaged.
    """
    state = curated.read_state(store)
    if not state.version:
        return []
    kinds = {topic.kind for topic in state.taken.values()} | {
        file.place.kind for file in state.files.values()
    }
    results = {kind: CuratedAudit(kind, superseded=state.superseded.get(kind, 0)) for kind in sorted(kinds)}
    for name, taken in state.taken.items():
        result = results[taken.kind]
        for number, part in taken.partitions.items():
            result.records += part.records
            result.misfits += part.misfits
            result.findings += _check_taken(store, name, int(number), part)
    there = {info.key: info.size for info in store.list(curated.ROOT) if curated.version_of(info.key)}
    for kind, result in results.items():
        with tempfile.TemporaryDirectory(prefix="tickerlake-audit-") as folder:
            _check_files(store, state.of(kind), there, result, Path(folder) if deep else None)
            due = result.records - result.misfits - result.superseded
            if due != result.rows:
                message = f"{due} rows are due (records less misfits and superseded), {result.rows} are there"
                result.findings.append(Finding("curated_count", f"{curated.ROOT}{kind}/", message))
            if deep and result.files and not result.findings:
                result.findings += _check_offsets(Path(folder), state, kind)
    for key in there:
        kind = curated.place_of(key).kind
        if kind in results:
            results[kind].left_over += 1
    return list(results.values())


def _check_files(
    store: Store, files: list[CuratedFile], there: dict[str, int], result: CuratedAudit, folder: Path | None
) -> None:
    """Look for files, and take them out of what is ``there``; with a folder, read them, too.

    Where the rows of each come from is left in the folder.
    """
    for number, file in enumerate(files):
        result.files += 1
        result.rows += file.rows
        result.bytes += file.bytes
        size = there.pop(file.key, None)
        if size != file.bytes:
            how = "is gone" if size is None else f"has {size} bytes, its commit says {file.bytes}"
            result.findings.append(Finding("curated_file", file.key, how))
        elif folder:
            result.findings += _read(store, file, folder / f"{number}.parquet")


def _check_taken(store: Store, topic: str, partition: int, taken: curated.Taken) -> Iterator[Finding]:
    key = f"raw/{topic}/partition={partition}/"
    try:
        about = read_topic(store, topic)
        records, end = _raw(store, about, partition, taken)
    except (LakeError, ObjectMissing) as error:
        yield Finding("curated_source", key, error.message)
        return
    if taken.first != about.first_position(partition):
        yield Finding("curated_source", key, f"taken from {taken.first} on, not from the chain's beginning")
    if end != taken.through:
        yield Finding("curated_source", key, f"taken up to {taken.through}, where no segment ends")
    if records != taken.records:
        message = f"{taken.records} records were taken up to {taken.through}, the segments hold {records}"
        yield Finding("curated_source", key, message)


def _raw(store: Store, topic: TopicMeta, partition: int, taken: curated.Taken) -> tuple[int, int]:
    """Count the records of a chain, and find where it ends, in what was taken of it."""
    records, end = 0, taken.first
    if topic.format == "json":
        for start, stop, info in coverage(store, topic.topic, partition, taken.first):
            if start >= taken.through:
                break
            records += info.key.startswith("raw/") and not marker_of(info.key)
            end = max(end, stop)
        return records, end
    for chunk in chunks(store, topic, partition, taken.first):
        if chunk.start >= taken.through:
            break
        records += chunk.records
        end = chunk.end
    return records, end


def _read(store: Store, file: CuratedFile, lineage: Path) -> Iterator[Finding]:
    data = store.read(file.key)
    if checksum(data) != file.crc32c:
        yield Finding("curated_checksum", file.key, "its checksum is not that of its commit")
        return
    order = ["instrument_id", event_time(file.place.kind)]
    read = pl.read_parquet(data, columns=[*order, *_LINEAGE])
    read.select(_LINEAGE).write_parquet(lineage, compression="lz4")
    frame = read.select(order)
    if frame.height != file.rows:
        yield Finding("curated_count", file.key, f"has {frame.height} rows, its commit says {file.rows}")
    instruments = frame.get_column("instrument_id")
    if frame.height and (instruments[0], instruments[-1]) != (file.first, file.last):
        message = f"holds {instruments[0]} to {instruments[-1]}, its commit says {file.first} to {file.last}"
        yield Finding("curated_range", file.key, message)
    if not frame.equals(frame.sort(order)):
        yield Finding("curated_order", file.key, "is not sorted by instrument and time")


def _check_offsets(lineage: Path, state: State, kind: str) -> Iterator[Finding]:
    """Check that each offset of a kind is there once, and was taken."""
    database = open_database(lineage, "1GB")
    found = database.execute(
        "select kafka_topic, kafka_partition, count(*), count(distinct kafka_offset), min(kafka_offset), "
        f"max(kafka_offset) from {parquet([f'{lineage}/*.parquet'])} group by all order by all"
    ).fetchall()
    database.close()
    for topic, partition, rows, distinct, low, high in found:
        key = f"{curated.ROOT}{kind}/"
        if rows != distinct:
            message = f"{rows - distinct} offsets of {topic} partition {partition} are there twice"
            yield Finding("curated_double", key, message)
        taken = state.taken.get(topic)
        part = taken.partitions.get(str(partition)) if taken else None
        if part is None or low < part.first or high >= part.through:
            message = f"offsets {low} to {high} of {topic} partition {partition} were never taken"
            yield Finding("curated_source", key, message)
