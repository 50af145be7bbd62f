"""Repairs a lake from the records that Kafka still has."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import polars as pl

from tickerlake.kafka.admin import Admin
from tickerlake.kafka.reader import read_all
from tickerlake.lake.audit.repair import Repair, RepairResult
from tickerlake.lake.audit.segments import PartitionAudit
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import read_topic
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA


def repair_lake(
    store: Store,
    audits: list[PartitionAudit],
    bootstrap_servers: str,
    properties: Mapping[str, str] | None = None,
) -> Iterator[RepairResult]:
    """Repair the partitions for which an audit has findings.

    Parameters
    ----------
    audits
        Results of a deep audit that compared the lake with Kafka.

    Raises
    ------
    StoreError
        This account may not replace objects.
    """
    admin = Admin(bootstrap_servers, properties)
    for result in audits:
        if not result.findings:
            continue
        name, number = result.topic, result.partition
        watermarks = admin.watermarks(admin.require_topic(name)).get(number)
        if watermarks is None:
            continue

        def read(start: int, end: int, topic_partition: tuple[str, int] = (name, number)) -> pl.DataFrame:
            frames = [pl.DataFrame(schema=KAFKA_RECORD_SCHEMA)]
            batches = read_all(
                bootstrap_servers, dict(properties or {}), topic_partition[0], {topic_partition[1]: start}
            )
            with closing(batches):
                for batch in batches:
                    frames.append(batch.frame.filter(pl.col("offset") < end))
                    if batch.frame.item(-1, "offset") >= end - 1:
                        break
            return pl.concat(frames)

        repaired = Repair(store, read_topic(store, name), result, watermarks, read).run()
        if repaired.made or repaired.aside or repaired.lost:
            yield repaired
