"""Describe topics, groups and the cluster, and create topics."""

import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import KafkaError as RdError
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclOperation,
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, KafkaError, TickerlakeError
from tickerlake.kafka.client import Partition, client_settings, start_consumer, translate_error, watermarks

_TIMEOUT_S = 10.0  # covers the restart of one of several brokers, but soon reports a wrong address
_LISTED_POLL_S = 0.05
_PARTITION_UNAVAILABLE = {
    RdError.UNKNOWN_TOPIC_OR_PART,
    RdError.NOT_LEADER_FOR_PARTITION,
    RdError.LEADER_NOT_AVAILABLE,
    RdError.TOPIC_AUTHORIZATION_FAILED,
    RdError._UNKNOWN_PARTITION,
    RdError._UNKNOWN_TOPIC,
    RdError._NOENT,
}
_UNKNOWN_TOPIC = {RdError.UNKNOWN_TOPIC_OR_PART}
_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_UNREADABLE_GROUP = {RdError.GROUP_AUTHORIZATION_FAILED, RdError.GROUP_ID_NOT_FOUND, RdError.INVALID_GROUP_ID}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster describes it; the ids distinguish it from other topics of the same name."""

    name: str
    topic_id: str
    cluster_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and the names of the operations we may perform on it (None if it does not report them)."""

    cluster_id: str
    brokers: int
    authorized_operations: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class TopicHealth:
    """Replication, retention and permissions of a topic.

    Parameters
    ----------
    partitions
        The number of partitions.
    replicas, in_sync_replicas
        The lowest number of replicas, and of in-sync replicas, of any partition.
    min_in_sync_replicas, retention_ms, compacted
        The topic's configuration; None if we may not read it. A retention of -1 is unlimited.
    authorized_operations
        Names of operations such as ``READ``; None if the cluster does not report them.
    """

    partitions: int
    replicas: int
    in_sync_replicas: int
    min_in_sync_replicas: int | None
    retention_ms: int | None
    compacted: bool | None
    authorized_operations: frozenset[str] | None


class Admin:
    """Client for requests about topics, groups and the cluster.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    timeout_s
        How long a request may take.

    Raises
    ------
    BrokerUnreachable
        From every method, if no broker answers in time.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str] | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._timeout_s = timeout_s
        self._properties = dict(properties or {})
        self._client: AdminClient | None = None
        with self._request("starting a client"):
            pass

    @contextmanager
    def _request(self, action: str, expected_errors: Collection[int] = ()) -> Iterator[AdminClient]:
        """Yield the client and translate its errors; expected errors just end the block.

        If no broker answers, the next call starts a new client, as the old one may never find a broker
        again: see `BrokerWatch`.
        """
        try:
            # another thread may reset the attribute in the meantime
            client = self._client
            if client is None:
                client = self._client = AdminClient(client_settings(self.bootstrap_servers, self._properties))
            yield client
        except KafkaException as error:
            if error.args[0].code() not in expected_errors:
                raise self._translate(error.args[0], action) from error

    def _translate(self, error: RdError, action: str) -> TickerlakeError:
        translated = translate_error(error, action, self.bootstrap_servers)
        if isinstance(translated, BrokerUnreachable):
            self._client = None
        return translated

    def describe_topic(self, topic: str) -> Topic | None:
        """Describe a topic; return None if it does not exist."""
        description = None
        with self._request(f"describing {topic}", _UNKNOWN_TOPIC) as client:
            cluster = client.list_topics(timeout=self._timeout_s)
            if topic in cluster.topics:
                futures = client.describe_topics(TopicCollection([topic]), request_timeout=self._timeout_s)
                result = futures[topic].result()
                description = Topic(
                    topic, str(result.topic_id), str(cluster.cluster_id), len(result.partitions)
                )
        return description

    def describe_cluster(self) -> Cluster:
        """Describe the cluster."""
        with self._request("describing the cluster") as client:
            description = client.describe_cluster(
                include_authorized_operations=True, request_timeout=self._timeout_s
            ).result()
        return Cluster(
            str(description.cluster_id),
            len(description.nodes),
            _operation_names(description.authorized_operations),
        )

    def topic_health(self, topic: str) -> TopicHealth | None:
        """Describe the health of a topic; return None if it does not exist."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        description = None
        with self._request(f"describing {topic}", _UNKNOWN_TOPIC) as client:
            futures = client.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=self._timeout_s
            )
            description = futures[topic].result()
        if description is None:
            return None
        config: dict[str, str] = {}
        with self._request(f"describing {topic}", {RdError.TOPIC_AUTHORIZATION_FAILED}) as client:
            future = client.describe_configs([resource], request_timeout=self._timeout_s)[resource]
            config = {name: str(entry.value) for name, entry in future.result().items()}
        return TopicHealth(
            len(description.partitions),
            min(len(each.replicas) for each in description.partitions),
            min(len(each.isr) for each in description.partitions),
            int(config["min.insync.replicas"]) if config else None,
            int(config["retention.ms"]) if config else None,
            "compact" in config["cleanup.policy"] if config else None,
            _operation_names(description.authorized_operations),
        )

    def topics(self) -> dict[str, int]:
        """Return the number of partitions of each topic, without Kafka's internal topics."""
        with self._request("listing topics") as client:
            metadata = client.list_topics(timeout=self._timeout_s).topics
        return {name: len(topic.partitions) for name, topic in metadata.items() if not name.startswith("__")}

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Return the ids of those topics that exist."""
        if not topics:
            return {}
        ids = {}
        with self._request("describing topics") as client:
            futures = client.describe_topics(TopicCollection([*topics]), request_timeout=self._timeout_s)
        for name, future in futures.items():
            with self._request(f"describing {name}", _UNKNOWN_TOPIC):
                ids[name] = str(future.result().topic_id)
        return ids

    def create_topic(self, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        """Create a topic, and wait until it can be described; return False if it exists already."""
        new_topic = NewTopic(topic, num_partitions=partitions, config=dict(config or {}))
        exists = True
        with self._request(f"creating {topic}", {RdError.TOPIC_ALREADY_EXISTS}) as client:
            futures = client.create_topics(
                [new_topic], operation_timeout=self._timeout_s, request_timeout=self._timeout_s
            )
            futures[topic].result()
            exists = False
            self._wait_until_listed(client, topic)
        return not exists

    def _wait_until_listed(self, client: AdminClient, topic: str) -> None:
        # the controller confirms a new topic before the brokers list it
        deadline_s = clock.monotonic_s() + self._timeout_s
        while topic not in client.list_topics(timeout=self._timeout_s).topics:
            if clock.monotonic_s() > deadline_s:
                return
            time.sleep(_LISTED_POLL_S)

    def require_topic(self, topic: str) -> Topic:
        """Describe a topic.

        Raises
        ------
        KafkaError
            If it does not exist.
        """
        description = self.describe_topic(topic)
        if description is None:
            raise KafkaError(
                f"The topic {topic} does not exist at {self.bootstrap_servers}.",
                "Check --topic, or create it with `tickerlake produce`.",
            )
        return description

    def watermarks(self, topic: Topic) -> dict[int, tuple[int, int]]:
        """Return the low and the high watermark of each partition."""
        servers, defaults = self.bootstrap_servers, {"group.id": "tickerlake-admin"}
        with closing(start_consumer(servers, self._properties, **defaults)) as client:
            return {
                number: watermarks(client, servers, topic.name, number) for number in range(topic.partitions)
            }

    def offset_ranges(self, topics: Mapping[str, int]) -> dict[Partition, tuple[int, int]]:
        """Return the low watermark and the end of the committed records of all partitions of several topics.

        Parameters
        ----------
        topics
            The number of partitions of each, as `topics` returns it.

        Returns
        -------
        dict
            Without the partitions that do not exist or have no leader at the moment.
        """
        partitions = [
            TopicPartition(name, number) for name, count in topics.items() for number in range(count)
        ]
        if not partitions:
            return {}
        with self._request("reading offsets") as client:
            futures_by_spec = [
                client.list_offsets(
                    dict.fromkeys(partitions, spec),
                    isolation_level=IsolationLevel.READ_COMMITTED,
                    request_timeout=self._timeout_s,
                )
                for spec in (_EARLIEST, _LATEST)
            ]
        offsets: dict[Partition, list[int]] = {}
        for futures in futures_by_spec:
            for entry, future in futures.items():
                with self._request("reading offsets", _PARTITION_UNAVAILABLE):
                    offsets.setdefault((entry.topic, entry.partition), []).append(int(future.result().offset))
        return {
            partition: (bounds[0], bounds[1]) for partition, bounds in offsets.items() if len(bounds) == 2
        }

    def groups(self) -> list[str]:
        """Return the names of the consumer groups that we may describe."""
        with self._request("listing groups") as client:
            listing = client.list_consumer_groups(request_timeout=self._timeout_s).result()
        if listing.errors and not listing.valid:
            first = listing.errors[0]
            # the client returns either type
            cause = first.args[0] if isinstance(first, KafkaException) else first
            raise self._translate(cause, "listing groups")
        return sorted(group.group_id for group in listing.valid)

    def committed_offsets(self, groups: Collection[str]) -> dict[str, dict[Partition, int]]:
        """Return the committed offsets of those groups that we may read."""
        futures: dict[str, Future[ConsumerGroupTopicPartitions]] = {}
        with self._request("reading offsets") as client:
            for group in groups:
                # the client accepts one group per call
                futures |= client.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(group)], request_timeout=self._timeout_s
                )
        offsets = {}
        for group, future in futures.items():
            with self._request("reading offsets", _UNREADABLE_GROUP):
                partitions = future.result().topic_partitions or []
                offsets[group] = {
                    (partition.topic, partition.partition): int(partition.offset)
                    for partition in partitions
                    if partition.offset >= 0
                }
        return offsets


def _operation_names(operations: Collection[AclOperation] | None) -> frozenset[str] | None:
    return None if operations is None else frozenset(operation.name for operation in operations)
