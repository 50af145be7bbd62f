"""Compare the lake with Kafka: every record that Kafka retains must be in the lake."""

from collections.abc import Mapping

from tickerlake.errors import LakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import read_all
from tickerlake.lake.audit import Finding, PartitionAudit
from tickerlake.lake.reader import read_meta, segments
from tickerlake.lake.store.base import Store
from tickerlake.lake.writer import read_topic


def check_against_kafka(
    store: Store,
    topic: str,
    audited: list[PartitionAudit],
    bootstrap_servers: str,
    properties: Mapping[str, str] | None = None,
) -> None:
    """Add a finding to each partition of which Kafka holds committed records that the lake does not.

    Parameters
    ----------
    audited
        The partitions of ``topic`` as `lake.audit` found them; findings are added in place.

    Raises
    ------
    LakeError
        The topic in Kafka is another one than that in the lake.
    """
    admin = Admin(bootstrap_servers, properties)
    about = admin.require(topic)
    known = read_topic(store, topic)
    if about.topic_id != known.topic_id:
        raise LakeError(
            f"The topic {topic} at {bootstrap_servers} is not the one in the lake "
            f"(topic id {about.topic_id} there, {known.topic_id} here).",
            "It was created anew, or is of another cluster; audit without --bootstrap-servers.",
        )
    results = {result.partition: result for result in audited}
    retained = admin.watermarks(about)
    for number in set(retained) - set(results):
        results[number] = PartitionAudit(topic, number)
        audited.append(results[number])
    starts = {number: max(low, results[number].first) for number, (low, _) in retained.items()}
    ranges = {
        number: [
            (meta.position, meta.next_position)
            for info in segments(store, topic, number)
            if not (meta := read_meta(store, info)).gap
        ]
        for number in retained
    }
    for batch in read_all(bootstrap_servers, dict(properties or {}), topic, starts):
        number = batch.partition[1]
        offsets = batch.frame.get_column("offset").to_list()
        missing = _outside(offsets, ranges[number])
        if missing:
            results[number].findings.append(
                Finding(
                    "not_stored",
                    f"raw/{topic}/partition={number}/",
                    f"{len(missing)} records that Kafka holds are in no segment, the first at "
                    f"offset {missing[0]}",
                )
            )


def _outside(offsets: list[int], ranges: list[tuple[int, int]]) -> list[int]:
    found, at = [], 0
    for offset in offsets:
        while at < len(ranges) and ranges[at][1] <= offset:
            at += 1
        if at == len(ranges) or offset < ranges[at][0]:
            found.append(offset)
    return found
