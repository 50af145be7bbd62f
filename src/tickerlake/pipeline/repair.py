"""Repairs a lake from what Kafka still has."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import polars as pl

from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import read_all
from tickerlake.lake.audit import PartitionAudit
from tickerlake.lake.repair import Repair, Repaired
from tickerlake.lake.store.base import Store
from tickerlake.lake.writer import read_topic
from tickerlake.model.schema import KAFKA_RECORDS


def repair(
    store: Store,
    audited: list[PartitionAudit],
    bootstrap_servers: str,
    properties: Mapping[str, str] | None = None,
) -> Iterator[Repaired]:
    """Repair the partitions in which the audit found something.

    Parameters
    ----------
    audited
        What the deep audit found, compared with Kafka.

    Raises
    ------
    StoreError
        This account may not replace objects.
    """
    admin = Admin(bootstrap_servers, properties)
    for result in audited:
        if not result.findings:
            continue
        name, number = result.topic, result.partition
        retained = admin.watermarks(admin.require(name)).get(number)
        if retained is None:
            continue

        def read(start: int, end: int, place: tuple[str, int] = (name, number)) -> pl.DataFrame:
            frames = [pl.DataFrame(schema=KAFKA_RECORDS)]
            batches = read_all(bootstrap_servers, dict(properties or {}), place[0], {place[1]: start})
            with closing(batches):
                for batch in batches:
                    frames.append(batch.frame.filter(pl.col("offset") < end))
                    if batch.frame.item(-1, "offset") >= end - 1:
                        break
            return pl.concat(frames)

        done = Repair(store, read_topic(store, name), result, retained, read).run()
        if done.made or done.aside or done.lost:
            yield done
