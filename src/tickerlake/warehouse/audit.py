"""Audit of BigQuery: its rows are counted per range of offsets and compared with the manifests."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.store.base import ReadableStore
from tickerlake.model.schema import SCHEMA_OF
from tickerlake.warehouse.bigquery import NotFound, Warehouse
from tickerlake.warehouse.manifests import Manifests, Range
from tickerlake.warehouse.tables import tables

_RANGES_PER_QUERY: Final = 5_000
"""Keeps the array parameter, and with it the request, small."""


@dataclass(slots=True)
class LoadAudit:
    """Counts of one partition of a topic; ``findings`` is empty if nothing is wrong.

    Parameters
    ----------
    loads, through
        Number of complete loads, and the first offset after them.
    records, rejects, rows
        Records of a record type that were read, rejected ones among them, and rows in the tables.
    """

    topic: str
    partition: int
    loads: int = 0
    through: int = 0
    records: int = 0
    rejects: int = 0
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as ``--json`` prints it."""
        return asdict(self)


def audit_loads(store: ReadableStore, warehouse: Warehouse) -> list[LoadAudit]:
    """Compare the tables of a dataset with the manifests in the lake.

    Loads that are not complete are skipped: run `tickerlake load` first.
    """
    results: list[LoadAudit] = []
    for record_type in SCHEMA_OF:
        loaded = _loaded_ranges(Manifests(store, warehouse.project, warehouse.dataset, record_type))
        for (topic, partition), ranges in sorted(loaded.items()):
            result = LoadAudit(topic, partition, loads=len(ranges), through=ranges[-1].offsets.end)
            result.rejects = sum(loaded_range.rejects for loaded_range in ranges)
            result.records = result.rejects + sum(loaded_range.rows for loaded_range in ranges)
            for first in range(0, len(ranges), _RANGES_PER_QUERY):
                result.findings += _compare(
                    warehouse, record_type, ranges[first : first + _RANGES_PER_QUERY], result
                )
            if result.records or result.findings:
                results.append(result)
    return results


@dataclass(frozen=True, slots=True)
class _LoadedRange:
    offsets: Range
    rows: int
    rejects: int


def _loaded_ranges(manifests: Manifests) -> dict[tuple[str, int], list[_LoadedRange]]:
    """Return the loaded ranges of each partition in order."""
    ranges_by_partition: dict[tuple[str, int], list[_LoadedRange]] = {}
    latest = manifests.find_latest()
    for number in range(1, latest.number + 1 if latest else 1):
        result = manifests.find_result(number)
        if result is None:
            continue
        ranges = manifests.read(number).ranges
        rejected = result.rejected or [
            each.records - rows for each, rows in zip(ranges, result.rows, strict=True)
        ]
        for each, rows, rejects in zip(ranges, result.rows, rejected, strict=True):
            loaded = ranges_by_partition.setdefault((each.topic, each.partition), [])
            loaded.append(_LoadedRange(each, rows, rejects))
    return ranges_by_partition


def _compare(
    warehouse: Warehouse, record_type: str, ranges: list[_LoadedRange], result: LoadAudit
) -> Iterator[Finding]:
    first = ranges[0].offsets
    sources = " union all ".join(
        f"select kafka_topic, kafka_partition, kafka_offset from `{warehouse.name}`.{table.name}"
        for table in tables(record_type)
    )
    try:
        bucket_counts = warehouse.query(
            "select bucket, count(*) as n, count(distinct kafka_offset) as offsets from ("
            f"select range_bucket(r.kafka_offset, @starts) as bucket, r.kafka_offset from ({sources}) as r "
            "where r.kafka_topic = @topic and r.kafka_partition = @partition "
            "and r.kafka_offset >= @first and r.kafka_offset < @end) as counted group by bucket",
            [
                ("starts", "INT64", [each.offsets.start for each in ranges]),
                ("topic", "STRING", first.topic),
                ("partition", "INT64", first.partition),
                ("first", "INT64", first.start),
                ("end", "INT64", ranges[-1].offsets.end),
            ],
        )
    except NotFound as error:
        if any(each.rows for each in ranges):
            yield Finding("table_missing", f"{warehouse.name}.raw_{record_type}", error.message)
        return
    by_bucket = {int(bucket): (int(n), int(offsets)) for bucket, n, offsets in bucket_counts}
    for number, loaded in enumerate(ranges, 1):
        each, expected_rows = loaded.offsets, loaded.rows
        rows, offsets = by_bucket.get(number, (0, 0))
        result.rows += rows
        if rows != expected_rows or offsets != rows:
            duplicates = f" ({rows - offsets:,} duplicates)" if rows > offsets else ""
            yield Finding(
                "loaded",
                f"raw/{each.topic}/partition={each.partition}/",
                f"offsets {each.start} to {each.end - 1}: {warehouse.name} has {rows:,} rows"
                f"{duplicates}, {expected_rows:,} expected",
            )
