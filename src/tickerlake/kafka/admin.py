"""Topics: what there is, and creating what is missing."""

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

from tickerlake.errors import BrokerUnreachable, KafkaError, TickerlakeError
from tickerlake.kafka.client import settings, start_consumer, translate, watermarks

_TIMEOUT_S = 10.0
_GONE = {
    RdError.UNKNOWN_TOPIC_OR_PART,
    RdError.NOT_LEADER_FOR_PARTITION,
    RdError.LEADER_NOT_AVAILABLE,
    RdError.TOPIC_AUTHORIZATION_FAILED,
    RdError._UNKNOWN_PARTITION,
    RdError._UNKNOWN_TOPIC,
    RdError._NOENT,
}
_NO_TOPIC = {RdError.UNKNOWN_TOPIC_OR_PART}
_EARLIEST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NO_GROUP = {RdError.GROUP_AUTHORIZATION_FAILED, RdError.GROUP_ID_NOT_FOUND, RdError.INVALID_GROUP_ID}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster describes it; the ids tell a topic from another of the same name."""

    name: str
    topic_id: str
    cluster_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, and what we may do to it as a whole: names of operations; None where it does not say."""

    cluster_id: str
    brokers: int
    rights: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How safe a topic's records are, and what we may do.

    Parameters
    ----------
    partitions
        How many there are.
    copies, in_sync
        Of the partition that has the fewest: on how many brokers it is, and how many of them are up to date.
    min_in_sync, retention_ms, compacted
        The topic's configuration; None if we may not read it, retention -1 is for ever.
    rights
        Names of operations such as ``READ``; None where the cluster does not say.
    """

    partitions: int
    copies: int
    in_sync: int
    min_in_sync: int | None
    retention_ms: int | None
    compacted: bool | None
    rights: frozenset[str] | None


class Admin:
    """Asks one cluster about topics and groups, and creates topics.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    timeout_s
        How long a call may take.

    Raises
    ------
    BrokerUnreachable
        From every method, if no broker answers in that time.
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
        with self._asking("starting a client"):
            pass

    @contextmanager
    def _asking(self, doing: str, nothing: Collection[int] = ()) -> Iterator[AdminClient]:
        """Lend the client; errors are translated, those whose codes say that there is nothing end the block.

        Where no broker answers, the next call begins with a new client, as the old one may never find one
        again: see `BrokerWatch`.
        """
        try:
            # another thread may drop it meanwhile
            client = self._client
            if client is None:
                client = self._client = AdminClient(settings(self.bootstrap_servers, self._properties))
            yield client
        except KafkaException as error:
            if error.args[0].code() not in nothing:
                raise self._failed(error.args[0], doing) from error

    def _failed(self, error: RdError, doing: str) -> TickerlakeError:
        found = translate(error, doing, self.bootstrap_servers)
        if isinstance(found, BrokerUnreachable):
            self._client = None
        return found

    def describe(self, topic: str) -> Topic | None:
        """Describe a topic, or None if the cluster does not have it."""
        about = None
        with self._asking(f"describing {topic}", _NO_TOPIC) as client:
            cluster = client.list_topics(timeout=self._timeout_s)
            if topic in cluster.topics:
                asked = client.describe_topics(TopicCollection([topic]), request_timeout=self._timeout_s)
                found = asked[topic].result()
                about = Topic(topic, str(found.topic_id), str(cluster.cluster_id), len(found.partitions))
        return about

    def cluster(self) -> Cluster:
        """Describe the cluster."""
        with self._asking("describing the cluster") as client:
            found = client.describe_cluster(
                include_authorized_operations=True, request_timeout=self._timeout_s
            ).result()
        return Cluster(str(found.cluster_id), len(found.nodes), _names(found.authorized_operations))

    def standing(self, topic: str) -> Standing | None:
        """Describe how a topic stands, or None if the cluster does not have it."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        about = None
        with self._asking(f"describing {topic}", _NO_TOPIC) as client:
            asked = client.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=self._timeout_s
            )
            about = asked[topic].result()
        if about is None:
            return None
        config: dict[str, str] = {}
        with self._asking(f"describing {topic}", {RdError.TOPIC_AUTHORIZATION_FAILED}) as client:
            answer = client.describe_configs([resource], request_timeout=self._timeout_s)[resource]
            config = {name: str(entry.value) for name, entry in answer.result().items()}
        return Standing(
            len(about.partitions),
            min(len(each.replicas) for each in about.partitions),
            min(len(each.isr) for each in about.partitions),
            int(config["min.insync.replicas"]) if config else None,
            int(config["retention.ms"]) if config else None,
            "compact" in config["cleanup.policy"] if config else None,
            _names(about.authorized_operations),
        )

    def topics(self) -> dict[str, int]:
        """Return the names of all topics, but Kafka's own, and how many partitions each has."""
        with self._asking("listing topics") as client:
            found = client.list_topics(timeout=self._timeout_s).topics
        return {name: len(about.partitions) for name, about in found.items() if not name.startswith("__")}

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Return the ids of topics; those that are not there are left out."""
        if not topics:
            return {}
        ids = {}
        with self._asking("describing topics") as client:
            asked = client.describe_topics(TopicCollection([*topics]), request_timeout=self._timeout_s)
        for name, answer in asked.items():
            with self._asking(f"describing {name}", _NO_TOPIC):
                ids[name] = str(answer.result().topic_id)
        return ids

    def create(self, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        """Create a topic; False if somebody was first."""
        new = NewTopic(topic, num_partitions=partitions, config=dict(config or {}))
        exists = True
        with self._asking(f"creating {topic}", {RdError.TOPIC_ALREADY_EXISTS}) as client:
            asked = client.create_topics(
                [new], operation_timeout=self._timeout_s, request_timeout=self._timeout_s
            )
            asked[topic].result()
            exists = False
        return not exists

    def require(self, topic: str) -> Topic:
        """Describe a topic that must be there."""
        about = self.describe(topic)
        if about is None:
            raise KafkaError(
                f"{self.bootstrap_servers} has no topic {topic}.",
                "Check --topic; `tickerlake produce` creates it.",
            )
        return about

    def watermarks(self, topic: Topic) -> dict[int, tuple[int, int]]:
        """Earliest retained and next offset of each partition."""
        servers, own = self.bootstrap_servers, {"group.id": "tickerlake-admin"}
        with closing(start_consumer(servers, self._properties, **own)) as client:
            return {
                number: watermarks(client, servers, topic.name, number) for number in range(topic.partitions)
            }

    def ends(self, topics: Mapping[str, int]) -> dict[tuple[str, int], tuple[int, int]]:
        """Earliest retained offset and end of the committed records of all partitions of topics, at once.

        Parameters
        ----------
        topics
            How many partitions each has, as `topics` says.

        Returns
        -------
        dict
            Without the partitions that are gone or have no leader for now.
        """
        places = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
        if not places:
            return {}
        with self._asking("reading offsets") as client:
            asked = [
                client.list_offsets(
                    dict.fromkeys(places, spec),
                    isolation_level=IsolationLevel.READ_COMMITTED,
                    request_timeout=self._timeout_s,
                )
                for spec in (_EARLIEST, _LATEST)
            ]
        found: dict[tuple[str, int], list[int]] = {}
        for answers in asked:
            for place, answer in answers.items():
                with self._asking("reading offsets", _GONE):
                    found.setdefault((place.topic, place.partition), []).append(int(answer.result().offset))
        return {place: (both[0], both[1]) for place, both in found.items() if len(both) == 2}

    def groups(self) -> list[str]:
        """Return the names of the consumer groups that we may see."""
        with self._asking("listing groups") as client:
            found = client.list_consumer_groups(request_timeout=self._timeout_s).result()
        if found.errors and not found.valid:
            first = found.errors[0]
            # the client hands over both kinds
            cause = first.args[0] if isinstance(first, KafkaException) else first
            raise self._failed(cause, "listing groups")
        return sorted(group.group_id for group in found.valid)

    def committed(self, groups: Collection[str]) -> dict[str, dict[tuple[str, int], int]]:
        """Return the offsets that groups have committed; without the groups that we may not read."""
        asked: dict[str, Future[ConsumerGroupTopicPartitions]] = {}
        with self._asking("reading offsets") as client:
            for group in groups:
                # Kafka's client takes one group a call
                asked |= client.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(group)], request_timeout=self._timeout_s
                )
        found = {}
        for group, answer in asked.items():
            with self._asking("reading offsets", _NO_GROUP):
                places = answer.result().topic_partitions or []
                found[group] = {
                    (place.topic, place.partition): int(place.offset) for place in places if place.offset >= 0
                }
        return found


def _names(operations: Collection[AclOperation] | None) -> frozenset[str] | None:
    return None if operations is None else frozenset(each.name for each in operations)
