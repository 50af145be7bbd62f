"""Produce in transactions: records and the checkpoint that belongs to them become visible together."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice, starmap
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka import Producer as RdProducer

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, UsageError
from tickerlake.kafka.client import Partition, call_with_timeout, client_settings, translate_error

_TIMEOUT_S = 60.0  # as BROKER_GRACE_S: covers the restart of a broker
_SEND_OFFSETS_TIMEOUT_S = 10.0
_COMMIT_TIMEOUT_S = 100.0  # longer than the longest transaction.timeout.ms used: then Kafka has aborted it
_ATTEMPT_S = 2.0  # signals such as Ctrl-C are handled only between attempts
_STOPPED_TIMEOUT_S = 6.0  # with an attempt, a stopped command ends within 10 s, whatever the broker does
_SLICE_RECORDS = 500  # other threads wait for the GIL this long; shorter slices cost throughput
# bound librdkafka's queue: enough to keep it busy, far below the limits at which produce() fails
_MAX_QUEUED_MESSAGES = 100_000
_MAX_QUEUED_BYTES = 48 << 20


class Producer:
    """A transactional producer.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    transactional_id
        Identifies the work: a second producer with this id fences the first, so that a zombie process cannot
        write after its successor.
    transaction_timeout_ms
        After this time Kafka aborts an open transaction. Until then, a killed process's transaction blocks
        readers of all records after it.
    stop
        Once set, no broker is waited for longer than some seconds.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        transactional_id: str,
        properties: Mapping[str, str],
        *,
        transaction_timeout_ms: int = 60_000,
        stop: threading.Event | None = None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._stop = stop or threading.Event()
        self._stop_noticed_s: float | None = None
        self._action = f"producing as {transactional_id}"
        defaults = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": transaction_timeout_ms,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 1 << 20,
            # the same partition for a key as with Java clients
            "partitioner": "murmur2_random",
            # `send` keeps the queue far below these limits
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
        }
        try:
            self._client = RdProducer(client_settings(bootstrap_servers, properties, **defaults))
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, bootstrap_servers) from error
        self._retry(self._client.init_transactions, _TIMEOUT_S)

    def begin(self) -> None:
        """Begin a transaction."""
        try:
            self._client.begin_transaction()
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error

    def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes]) -> None:
        """Add records to the transaction; wait while too many are queued."""
        mean_size = sum(map(len, values)) / max(1, len(values))
        max_queued = min(_MAX_QUEUED_MESSAGES, max(1, int(_MAX_QUEUED_BYTES / (mean_size + 1))))
        records = zip(values, keys, strict=True)
        produce = partial(self._client.produce, topic)
        try:
            while part := list(islice(records, min(_SLICE_RECORDS, max_queued))):
                while len(self._client) > max_queued:
                    self._client.poll(0.005)
                    if self._has_waited_after_stop():
                        raise self._stopped_error()
                # A loop in C: in Python, the loop would cost as much as the calls. In short slices: it holds
                # the GIL.
                deque(starmap(produce, part), maxlen=0)
        except KafkaException as error:
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error
        except BufferError as error:
            raise UsageError(
                "The queue of the Kafka client is too small for a batch of records.",
                "Do not override queue.buffering.max.messages and queue.buffering.max.kbytes (-X).",
            ) from error

    def send_offsets(self, positions: Mapping[Partition, tuple[int, str]], group_metadata: Any) -> None:
        """Commit the offsets of a consumer group with the transaction.

        Parameters
        ----------
        positions
            The next offset and the commit metadata of each partition.
        group_metadata
            What `Consumer.group_metadata` returns.

        Raises
        ------
        Rebalanced
            If another member owns the partitions by now; the transaction is aborted.
        BrokerUnreachable
            If no broker answers in time: this producer may be stuck, use another one.
        """
        offsets = [
            TopicPartition(*partition, offset, metadata=metadata)
            for partition, (offset, metadata) in positions.items()
        ]
        send = partial(
            self._client.send_offsets_to_transaction, offsets, group_metadata, _SEND_OFFSETS_TIMEOUT_S
        )
        try:
            # librdkafka ignores the timeout while it looks up the group coordinator
            # (https://github.com/confluentinc/librdkafka/issues/5456)
            call_with_timeout(_SEND_OFFSETS_TIMEOUT_S + 1, send)
        except TimeoutError as error:
            raise BrokerUnreachable(
                f"Kafka has not answered for {_SEND_OFFSETS_TIMEOUT_S:.0f} s ({self._action}).",
                "Nothing is lost: run the command again when it does.",
            ) from error
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                self.abort()
            raise translate_error(error.args[0], self._action, self.bootstrap_servers) from error

    def commit(self) -> None:
        """Commit the transaction; return when all of its records are acknowledged.

        Raises
        ------
        BrokerUnreachable
            If no broker answers in time. Whether the transaction is committed only the topic shows.
        """
        self._retry(self._client.commit_transaction, _COMMIT_TIMEOUT_S)

    def abort(self) -> None:
        """Abort the transaction."""
        self._retry(self._client.abort_transaction, _TIMEOUT_S)

    def _retry(self, call: Callable[[float], None], timeout_s: float) -> None:
        """Call a function of the client, which can be repeated after a timeout."""
        deadline_s = clock.monotonic_s() + timeout_s
        self._has_waited_after_stop()  # begins the wait
        while True:
            try:
                call(min(_ATTEMPT_S, timeout_s))
            except KafkaException as error:
                reason = error.args[0]
                if reason.retriable():
                    if self._has_waited_after_stop():
                        raise self._stopped_error() from error
                    if clock.monotonic_s() < deadline_s:
                        continue
                if reason.txn_requires_abort():
                    self.abort()
                raise translate_error(reason, self._action, self.bootstrap_servers) from error
            return

    def _has_waited_after_stop(self) -> bool:
        if not self._stop.is_set():
            return False
        if self._stop_noticed_s is None:
            self._stop_noticed_s = clock.monotonic_s()
        return clock.monotonic_s() - self._stop_noticed_s > _STOPPED_TIMEOUT_S

    def _stopped_error(self) -> BrokerUnreachable:
        return BrokerUnreachable(
            f"No Kafka broker answers at {self.bootstrap_servers} ({self._action}), and it was stopped.",
            "Nothing is lost: run the same command again, and it continues where it stopped.",
        )
