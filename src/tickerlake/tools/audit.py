"""Compares the lake with Kafka: every record that Kafka retains must be in the lake."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import polars as pl

from tickerlake.errors import LakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.reader import read_all
from tickerlake.lake.audit.rows import Comparison
from tickerlake.lake.audit.segments import Finding, PartitionAudit, audit
from tickerlake.lake.chain import stored_ranges
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import read_topic

_MAX_BATCHES_IN_FLIGHT = 4  # of up to 10,000 records each
_Compared = tuple[PartitionAudit, int, Future[list[Finding]]]


def audit_lake(
    store: ReadableStore,
    topic: str | None = None,
    bootstrap_servers: str | None = None,
    properties: Mapping[str, str] | None = None,
    *,
    deep: bool = False,
    on_progress: Callable[[str, int], None] = lambda _, __: None,
) -> list[PartitionAudit]:
    """Audit one topic or all topics of a lake; with ``bootstrap_servers``, compare them with Kafka.

    Parameters
    ----------
    on_progress
        Called with what is being done, and the number of records since the last call.

    Raises
    ------
    LakeError
        If this is not a lake, does not have the topic, or Kafka has another topic of the same name.
    """
    results = list(audit(store, topic, deep=deep, on_progress=partial(on_progress, "records checked")))
    if bootstrap_servers:
        for name in sorted({result.topic for result in results}):
            topic_audits = [result for result in results if result.topic == name]
            audited_count = len(topic_audits)
            report = partial(on_progress, f"records of {name} compared with Kafka")
            check_against_kafka(
                store, name, topic_audits, bootstrap_servers, properties, deep=deep, on_progress=report
            )
            results += topic_audits[audited_count:]
    return results


def check_against_kafka(
    store: ReadableStore,
    topic: str,
    audits: list[PartitionAudit],
    bootstrap_servers: str,
    properties: Mapping[str, str] | None = None,
    *,
    deep: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Add a finding to each partition with committed records in Kafka that the lake does not hold.

    Parameters
    ----------
    audits
        The audits of the partitions of ``topic``; findings are added in place.
    deep
        Compare each row with its record, too.
    on_progress
        Called with the number of records of each batch that was compared.

    Raises
    ------
    LakeError
        The topic in Kafka is not the one in the lake.
    """
    admin = Admin(bootstrap_servers, properties)
    kafka_topic = admin.require_topic(topic)
    lake_topic = read_topic(store, topic)
    if kafka_topic.topic_id != lake_topic.topic_id:
        raise LakeError(
            f"The topic {topic} at {bootstrap_servers} is not the one in the lake "
            f"(topic id {kafka_topic.topic_id} in Kafka, {lake_topic.topic_id} in the lake).",
            "It was recreated, or is of another cluster; audit without --bootstrap-servers.",
        )
    results = {result.partition: result for result in audits}
    watermarks = admin.watermarks(kafka_topic)
    for number in set(watermarks) - set(results):
        results[number] = PartitionAudit(topic, number)
        audits.append(results[number])
    starts = {number: max(low, results[number].first) for number, (low, _) in watermarks.items()}
    stored_offsets = {
        number: _StoredOffsets(stored_ranges(store, lake_topic, number)) for number in watermarks
    }
    comparisons = {}
    if deep:
        topic_health = admin.topic_health(topic)
        compacted = topic_health is None or topic_health.compacted is not False
        comparisons = {
            number: Comparison(store, lake_topic, number, start, compacted=compacted)
            for number, start in starts.items()
        }
    # comparing releases Python's lock: it overlaps with reading
    with ThreadPoolExecutor(1) as pool:
        in_flight: deque[_Compared] = deque()
        for batch in read_all(bootstrap_servers, dict(properties or {}), topic, starts):
            number = batch.partition[1]
            stored_offsets[number].check(batch.frame.get_column("offset"))
            if deep:
                future = pool.submit(_compare, comparisons[number], batch.frame)
                in_flight.append((results[number], batch.frame.height, future))
            else:
                on_progress(batch.frame.height)
            while len(in_flight) > _MAX_BATCHES_IN_FLIGHT:
                _collect(in_flight.popleft(), on_progress)
        for compared in in_flight:
            _collect(compared, on_progress)
    for number, comparison in comparisons.items():
        results[number].findings += comparison.finish()
    for number, offsets in stored_offsets.items():
        if offsets.missing:
            results[number].findings.append(
                Finding(
                    "not_stored",
                    f"raw/{topic}/partition={number}/",
                    f"{offsets.missing} records that Kafka holds are in no segment, the first at "
                    f"offset {offsets.first_missing}",
                )
            )


def _compare(comparison: Comparison, records: pl.DataFrame) -> list[Finding]:
    return list(comparison.process(records))


def _collect(compared: _Compared, on_progress: Callable[[int], None]) -> None:
    audit, records, future = compared
    audit.findings += future.result()
    on_progress(records)


class _StoredOffsets:
    """Compares the offsets that the lake accounts for with those that Kafka holds, both ascending."""

    def __init__(self, ranges: Iterator[tuple[int, int]]) -> None:
        self.missing = 0
        self.first_missing: int | None = None
        self._ranges = ranges
        self._range: tuple[int, int] | None = next(ranges, None)

    def check(self, offsets: pl.Series) -> None:
        first, last = offsets.item(0), offsets.item(-1)
        if self._range and self._range[0] <= first <= last < self._range[1]:
            return
        for offset in offsets:
            while self._range and self._range[1] <= offset:
                self._range = next(self._ranges, None)
            if not self._range or offset < self._range[0]:
                self.missing += 1
                if self.first_missing is None:
                    self.first_missing = offset
