"""Write records in transactions: a batch and the note of how far it got become visible together."""

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaException
from confluent_kafka import Producer as RdProducer

from tickerlake.kafka.client import settings, translate

_TIMEOUT_S = 60.0


class Producer:
    """A transactional producer.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    transactional_id
        Names the work: a second producer of the same id ends the first, so that a process that was
        thought dead cannot write after its successor.
    """

    def __init__(self, bootstrap_servers: str, transactional_id: str, properties: Mapping[str, str]) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._doing = f"producing as {transactional_id}"
        own = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 60_000,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1 << 20,
            # the partition that Java clients choose for the same key
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 131_072,
        }
        try:
            self._client = RdProducer(settings(bootstrap_servers, properties, **own))
            self._client.init_transactions(_TIMEOUT_S)
        except KafkaException as error:
            raise translate(error.args[0], self._doing, bootstrap_servers) from error

    def begin(self) -> None:
        """Begin a transaction."""
        self._client.begin_transaction()

    def send(self, topic: str, keys: Iterable[bytes | None], values: Iterable[bytes | None]) -> None:
        """Add records to the transaction; waits where the queue is full."""
        produce, poll = self._client.produce, self._client.poll
        try:
            for key, value in zip(keys, values, strict=True):
                while True:
                    try:
                        produce(topic, value, key)
                    except BufferError:
                        poll(0.1)
                        continue
                    break
        except KafkaException as error:
            raise translate(error.args[0], self._doing, self.bootstrap_servers) from error

    def commit(self) -> None:
        """Make the transaction's records visible; returns when every one is acknowledged."""
        while True:
            try:
                self._client.commit_transaction(_TIMEOUT_S)
            except KafkaException as error:
                reason = error.args[0]
                if reason.retriable():
                    continue
                if reason.txn_requires_abort():
                    self.abort()
                raise translate(reason, self._doing, self.bootstrap_servers) from error
            return

    def abort(self) -> None:
        """Drop the transaction."""
        try:
            self._client.abort_transaction(_TIMEOUT_S)
        except KafkaException as error:
            raise translate(error.args[0], self._doing, self.bootstrap_servers) from error
