"""Compares the lake with Kafka: every record that Kafka retains must be in the lake."""

from collections.abc import Iterator, Mapping

from tickerlake.errors import LakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.reader import read_all
from tickerlake.lake.audit.rows import Comparison
from tickerlake.lake.audit.segments import Finding, PartitionAudit, audit
from tickerlake.lake.chain import stored_ranges
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import read_topic


def audit_lake(
    store: ReadableStore,
    topic: str | None = None,
    bootstrap_servers: str | None = None,
    properties: Mapping[str, str] | None = None,
    *,
    deep: bool = False,
) -> list[PartitionAudit]:
    """Audit one topic or all topics of a lake; with ``bootstrap_servers``, compare them with Kafka.

    Raises
    ------
    LakeError
        If this is not a lake, does not have the topic, or Kafka has another topic of the same name.
    """
    results = list(audit(store, topic, deep=deep))
    if bootstrap_servers:
        for name in sorted({result.topic for result in results}):
            topic_audits = [result for result in results if result.topic == name]
            audited_count = len(topic_audits)
            check_against_kafka(store, name, topic_audits, bootstrap_servers, properties, deep=deep)
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
) -> None:
    """Add a finding to each partition with committed records in Kafka that the lake does not hold.

    Parameters
    ----------
    audits
        The audits of the partitions of ``topic``; findings are added in place.
    deep
        Compare each row with its record, too.

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
    for batch in read_all(bootstrap_servers, dict(properties or {}), topic, starts):
        number = batch.partition[1]
        stored_offsets[number].check(batch.frame.get_column("offset").to_list())
        if deep:
            results[number].findings += comparisons[number].process(batch.frame)
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


class _StoredOffsets:
    """Compares the offsets that the lake accounts for with those that Kafka holds, both ascending."""

    def __init__(self, ranges: Iterator[tuple[int, int]]) -> None:
        self.missing = 0
        self.first_missing: int | None = None
        self._ranges = ranges
        self._range: tuple[int, int] | None = next(ranges, None)

    def check(self, offsets: list[int]) -> None:
        for offset in offsets:
            while self._range and self._range[1] <= offset:
                self._range = next(self._ranges, None)
            if not self._range or offset < self._range[0]:
                self.missing += 1
                if self.first_missing is None:
                    self.first_missing = offset
