"""Topics: what there is, and creating what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicCollection
from confluent_kafka import KafkaError as RdError
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tickerlake.errors import KafkaError
from tickerlake.kafka.client import settings, translate, watermarks

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster describes it; the ids tell a topic from another of the same name."""

    name: str
    topic_id: str
    cluster_id: str
    partitions: int


class Admin:
    """Asks one cluster about topics, and creates them.

    Raises
    ------
    BrokerUnreachable
        From every method, if no broker answers within ten seconds.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str] | None = None) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._properties = dict(properties or {})
        try:
            self._client = AdminClient(settings(bootstrap_servers, self._properties))
        except KafkaException as error:
            raise translate(error.args[0], "starting a client", bootstrap_servers) from error

    def describe(self, topic: str) -> Topic | None:
        """Describe a topic, or None if the cluster does not have it."""
        try:
            cluster = self._client.list_topics(timeout=_TIMEOUT_S)
            if topic not in cluster.topics:
                return None
            found = self._client.describe_topics(TopicCollection([topic]), request_timeout=_TIMEOUT_S)
            about = found[topic].result()
        except KafkaException as error:
            if error.args[0].code() == RdError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise translate(error.args[0], f"describing {topic}", self.bootstrap_servers) from error
        return Topic(topic, str(about.topic_id), str(cluster.cluster_id), len(about.partitions))

    def create(self, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        """Create a topic; False if somebody was first."""
        new = NewTopic(topic, num_partitions=partitions, config=dict(config or {}))
        try:
            created = self._client.create_topics(
                [new], operation_timeout=_TIMEOUT_S, request_timeout=_TIMEOUT_S
            )
            created[topic].result()
        except KafkaException as error:
            if error.args[0].code() == RdError.TOPIC_ALREADY_EXISTS:
                return False
            raise translate(error.args[0], f"creating {topic}", self.bootstrap_servers) from error
        return True

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
        client = Consumer(
            settings(self.bootstrap_servers, self._properties, **{"group.id": "tickerlake-admin"})
        )
        try:
            return {number: watermarks(client, topic.name, number) for number in range(topic.partitions)}
        except KafkaException as error:
            raise translate(error.args[0], f"reading {topic.name}", self.bootstrap_servers) from error
        finally:
            client.close()
