"""Checks of the prerequisites of the pipeline; each problem comes with a remedy."""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tickerlake import clock
from tickerlake.errors import ObjectExists, StoreError, TickerlakeError
from tickerlake.kafka.admin import Admin, TopicHealth
from tickerlake.kafka.embedded.broker import broker_status, default_data_dir
from tickerlake.kafka.embedded.jars import cache_dir
from tickerlake.kafka.embedded.java import find_java
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.store import ReadableStore, Store, open_for_reading, open_store

PROBE_KEY: Final = "state/doctor.json"
LOW_DISK_BYTES: Final = 2_000_000_000
"""Warn while there is still time to react: Kafka's log segments alone grow to 1 GiB each."""
MAX_CLOCK_SKEW_S: Final = 30.0
"""Well below the few minutes of skew at which cloud services reject signed requests."""

_DAY_MS: Final = 86_400_000
_EU_LOCATION_PREFIXES: Final = ("EUROPE-", "EUR")


@dataclass(frozen=True, slots=True)
class Check:
    """The finding of one check, and the remedy if there is a problem."""

    part: str
    state: Literal["ok", "warning", "failed"]
    found: str
    remedy: str = ""


def check_machine() -> Iterator[Check]:
    """Check Python, Java and the folders for temporary and cached files."""
    yield Check("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    try:
        java = find_java()
        yield Check("java", "ok", f"{java.major} at {java.path}")
    except TickerlakeError as error:
        yield Check("java", "warning", f"{error.message} Only the embedded Kafka needs it.", error.hint)
    yield _check_disk("temporary files", Path(tempfile.gettempdir()))
    yield _check_disk("cache", cache_dir())


def check_kafka(
    bootstrap_servers: str | None, properties: Mapping[str, str], topics: Iterable[str]
) -> Iterator[Check]:
    """Check a cluster and topics in it; without an address, the embedded broker."""
    if bootstrap_servers is None:
        running = broker_status(default_data_dir())
        if running is None:
            yield Check(
                "kafka",
                "ok",
                "no address is set and no embedded broker is running: `tickerlake broker start`",
            )
            return
        bootstrap_servers = running.bootstrap_servers
    try:
        admin = Admin(bootstrap_servers, properties)
        cluster = admin.describe_cluster()
        yield Check("kafka", "ok", f"{bootstrap_servers}: {cluster.brokers} broker(s), {cluster.cluster_id}")
        for topic in topics:
            yield from _check_topic(
                topic, admin.topic_health(topic), cluster.brokers, cluster.authorized_operations
            )
    except TickerlakeError as error:
        yield Check("kafka", "failed", error.message, error.hint)


def _check_topic(
    name: str, health: TopicHealth | None, brokers: int, cluster_operations: frozenset[str] | None
) -> Iterator[Check]:
    part = f"topic {name}"
    if health is None:
        if cluster_operations is not None and "CREATE" not in cluster_operations:
            yield Check(
                part,
                "failed",
                "it does not exist, and this principal is not allowed to create topics",
                "Create it, or allow CREATE for the cluster or the topic.",
            )
        else:
            yield Check(part, "warning", "it does not exist yet", "`tickerlake produce` creates it.")
        return
    summary = f"{health.partitions} partition(s), {health.replicas} replica(s) each, {_retention(health)}"
    yield Check(part, "ok", summary)
    missing = (
        sorted({"READ", "WRITE", "DESCRIBE"} - health.authorized_operations)
        if health.authorized_operations is not None
        else []
    )
    if missing:
        yield Check(
            part,
            "warning",
            f"this principal is not allowed to {', '.join(missing)}",
            "`produce` needs WRITE and DESCRIBE, `sink` and `track` READ and DESCRIBE: "
            f"kafka-acls.sh --add --topic {name} --allow-principal … --operation …",
        )
    for problem, remedy in _topic_risks(name, health, brokers):
        yield Check(part, "warning", problem, remedy)


def _retention(health: TopicHealth) -> str:
    retention_ms = health.retention_ms
    if retention_ms is None:
        return "no permission to read its retention"
    if retention_ms < 0:
        return "unlimited retention"
    return f"retention {retention_ms / _DAY_MS:.3g} days: a sink must not be stopped for longer"


def _topic_risks(name: str, health: TopicHealth, brokers: int) -> Iterator[tuple[str, str]]:
    """Yield what may lose records of a topic, with a remedy."""
    if health.in_sync_replicas < health.replicas:
        yield (
            f"a partition has {health.in_sync_replicas} of {health.replicas} replicas in sync",
            "A broker is down or behind: see its log.",
        )
    if health.replicas == 1 and brokers > 1:
        yield (
            "each record is on one broker only",
            "Records not yet in the lake are lost with its disk: use a replication factor of 3.",
        )
    if health.replicas > 1 and health.min_in_sync_replicas == 1:
        yield (
            "Kafka acknowledges a record once one broker has it (min.insync.replicas is 1)",
            f"kafka-configs.sh --alter --topic {name} --add-config min.insync.replicas=2",
        )
    if health.compacted:
        yield (
            "it is compacted: Kafka keeps only the last of the records with the same key",
            f"kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=delete",
        )


def check_lake(uri: str) -> Iterator[Check]:
    """Check that objects can be created, read, listed and deleted, and the disk or the clock.

    In a folder that is not a lake nothing is created: it is only checked whether a lake could be.
    """
    try:
        with closing(open_for_reading(uri)) as reader:
            if reader.local_path and not check_format_version(reader):
                yield from _check_new_lake(reader.local_path)
                return
            yield from _check_service(reader)
        with closing(open_store(uri)) as store:
            yield from _check_store(store)
    except TickerlakeError as error:
        yield Check("lake", "failed", error.message, error.hint)


def _check_new_lake(folder: Path) -> Iterator[Check]:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "no permission" if existing.is_dir() else "it is not a folder"
        yield Check(
            "lake", "failed", f"{folder} cannot be created in {existing}: {reason}", "Name another (--lake)."
        )
        return
    yield _check_disk("lake", folder)
    yield Check("lake", "warning", f"there is no lake at {folder} yet", "`tickerlake sink` creates it.")


def _check_service(store: ReadableStore) -> Iterator[Check]:
    if store.local_path:
        yield _check_disk("lake", store.local_path)
    if service := store.service_info():
        if service.server_time_s is not None:
            yield _check_clock(service.server_time_s)
        summary = f"in {service.location}" if service.location else "no permission to read its location"
        yield Check("bucket", "ok", summary)


def _check_store(store: Store) -> Iterator[Check]:
    # an earlier check may have been unable to delete it; this error also proves the permission to create
    with contextlib.suppress(ObjectExists):
        store.create(PROBE_KEY, b"{}", metadata={}, content_type="application/json")
    store.read(PROBE_KEY)
    next(iter(store.list("raw/")), None)
    check_format_version(store)
    yield Check("lake", "ok", f"{store.uri}: objects can be created, read and listed")
    try:
        store.delete(PROBE_KEY)
    except StoreError as error:
        yield Check(
            "lake",
            "warning",
            f"objects cannot be deleted: {error.message}",
            "Grant roles/storage.objectUser, or let a lifecycle rule of the bucket delete old snapshots of "
            "`track` and old curated files. Records are never deleted.",
        )


def check_warehouse(project: str, dataset: str, lake: str | None) -> Iterator[Check]:
    """Check that a dataset exists, can be loaded from the lake's bucket, and the permissions for it."""
    from tickerlake.warehouse.bigquery import Warehouse

    try:
        warehouse = Warehouse(project, dataset)
        try:
            warehouse.open()
            yield Check(
                "bigquery", "ok", f"{warehouse.name} in {warehouse.location or 'an unknown location'}"
            )
            if location := _bucket_location(lake):
                yield check_locations(location, warehouse.location)
            missing = warehouse.check_permissions()
            if not missing:
                yield Check("bigquery", "ok", "jobs can be run; tables can be created, read and deleted")
            for each in missing:
                yield Check("bigquery", "failed", *each)
        finally:
            warehouse.close()
    except TickerlakeError as error:
        yield Check("bigquery", "failed", error.message, error.hint)


def _bucket_location(lake: str | None) -> str | None:
    """Return the location of a lake's bucket; None if it has none or cannot be opened (see `check_lake`)."""
    if lake is None:
        return None
    try:
        with closing(open_for_reading(lake)) as store:
            service = store.service_info()
    except TickerlakeError:
        return None
    return service.location if service else None


def check_locations(bucket: str, dataset: str) -> Check:
    """Check whether a load job can read a bucket, by BigQuery's rules for locations.

    A job reads buckets in its own location; for a dataset in EU, in the EU; for one in US, anywhere.
    """
    bucket, dataset = bucket.upper(), dataset.upper()
    summary = f"the bucket is in {bucket}, the dataset in {dataset}"
    if dataset in {bucket, "US"} or (dataset == "EU" and bucket.startswith(_EU_LOCATION_PREFIXES)):
        return Check("locations", "ok", summary)
    if "-" not in bucket and bucket not in {"US", "EU", "ASIA"}:
        return Check(
            "locations",
            "warning",
            f"{summary}: a dual-region, which must include the region of the dataset",
            "If `load` fails, use a dataset in one of the two regions.",
        )
    return Check(
        "locations",
        "failed",
        f"{summary}: BigQuery cannot load from there",
        f"Use another dataset: `tickerlake load --dataset … --location {bucket}` creates it.",
    )


def _check_disk(part: str, folder: Path) -> Check:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free
    summary = f"{free / 1e9:,.1f} GB free in {folder}"
    if free < LOW_DISK_BYTES:
        return Check(part, "warning", summary, "Free disk space: jobs pause or stop when the disk is full.")
    return Check(part, "ok", summary)


def _check_clock(time_s: float) -> Check:
    skew_s = clock.now_ns() / 1e9 - time_s
    summary = f"this machine's clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} Google's"
    if abs(skew_s) > MAX_CLOCK_SKEW_S:
        return Check(
            "clock", "failed", summary, f"Enable NTP on {socket.gethostname()}: `timedatectl set-ntp on`."
        )
    return Check("clock", "ok", summary)
