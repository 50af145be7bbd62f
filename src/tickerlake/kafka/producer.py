"""Write records in transactions: a batch and the note of how far it got become visible together."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice, starmap
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka import Producer as RdProducer

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, UsageError
from tickerlake.kafka.client import Partition, call_with_timeout, client_settings, translate_error

_TIMEOUT_S = 60.0
_SEND_OFFSETS_TIMEOUT_S = 10.0
_COMMIT_TIMEOUT_S = 100.0  # Kafka has dropped by then what was left open
_COMMIT_ATTEMPT_S = 5.0  # no signal is heard meanwhile
_SLICE_RECORDS = 500
_MAX_QUEUED_MESSAGES = 100_000
_MAX_QUEUED_BYTES = 48 << 20


class Producer:
    """A transactional producer.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    transactional_id
        Names the work: a second producer of the same id ends the first, so that a process that was
        thought dead cannot write after its successor.
    timeout_ms
        How long a transaction may stay open: what a killed process leaves behind hides for so long what
        comes after it.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        transactional_id: str,
        properties: Mapping[str, str],
        *,
        transaction_timeout_ms: int = 60_000,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._action = f"producing as {transactional_id}"
        defaults = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": transaction_timeout_ms,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1 << 20,
            # the partition that Java clients choose for the same key
            "partitioner": "murmur2_random",
            # `send` keeps the queue far below these
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
        }
        try:
            self._client = RdProducer(client_settings(bootstrap_servers, properties, **defaults))
            self._client.init_transactions(_TIMEOUT_S)
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, bootstrap_servers) from error

    def begin(self) -> None:
        """Begin a transaction."""
        try:
            self._client.begin_transaction()
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error

    def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes]) -> None:
        """Add records to the transaction; waits where too many are not sent yet."""
        mean_size = sum(map(len, values)) / max(1, len(values))
        max_queued = min(_MAX_QUEUED_MESSAGES, max(1, int(_MAX_QUEUED_BYTES / (mean_size + 1))))
        records = zip(values, keys, strict=True)
        produce = partial(self._client.produce, topic)
        try:
            while part := list(islice(records, min(_SLICE_RECORDS, max_queued))):
                while len(self._client) > max_queued:
                    self._client.poll(0.005)
                # a loop in C, as in Python the loop would cost as much as what it does; in short slices, as
                # it lets no other thread run
                deque(starmap(produce, part), maxlen=0)
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error
        except BufferError as error:
            raise UsageError(
                "Kafka's client has no room for a batch of records.",
                "Leave queue.buffering.max.messages and queue.buffering.max.kbytes as they are (-X).",
            ) from error

    def send_offsets(self, positions: Mapping[Partition, tuple[int, str]], group_metadata: Any) -> None:
        """Add to the transaction how far a group has read: next offset and note of partitions.

        Parameters
        ----------
        member
            What `Consumer.group_metadata` says.

        Raises
        ------
        Rebalanced
            The partitions are another member's meanwhile; the transaction is dropped.
        BrokerUnreachable
            Nobody answered for long: this producer may be stuck, use another one.
        """
        offsets = [
            TopicPartition(*partition, offset, metadata=metadata)
            for partition, (offset, metadata) in positions.items()
        ]
        send = partial(
            self._client.send_offsets_to_transaction, offsets, group_metadata, _SEND_OFFSETS_TIMEOUT_S
        )
        try:
            # librdkafka forgets the time limit while it looks for a group's coordinator
            # (https://github.com/confluentinc/librdkafka/issues/5456)
            call_with_timeout(_SEND_OFFSETS_TIMEOUT_S + 1, send)
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"Kafka has not answered for {_SEND_OFFSETS_TIMEOUT_S:.0f} s ({self._action}).",
                "Nothing is lost: run it again when it does.",
            ) from error
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                self.abort()
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error

    def commit(self) -> None:
        """Make the transaction's records visible; returns when every one is acknowledged.

        Raises
        ------
        BrokerUnreachable
            Nobody answered for long; whether it is committed, only the topic knows.
        """
        deadline_s = clock.monotonic_s() + _COMMIT_TIMEOUT_S
        while True:
            try:
                self._client.commit_transaction(_COMMIT_ATTEMPT_S)
            except KafkaException as error:
                reason = error.args[0]
                if reason.retriable() and clock.monotonic_s() < deadline_s:
                    continue
                if reason.txn_requires_abort():
                    self.abort()
                raise translate_error(reason, self._action, self.bootstrap_servers) from error
            return

    def abort(self) -> None:
        """Drop the transaction."""
        try:
            self._client.abort_transaction(_TIMEOUT_S)
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error
