"""A member of a consumer group: whole batches of one partition, with their offsets."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer as RdConsumer
from confluent_kafka import KafkaError as RdError
from confluent_kafka import KafkaException, Message, TopicPartition

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, LakeError
from tickerlake.kafka.client import (
    BROKER_GRACE_S,
    BrokerWatch,
    Partition,
    brokers_lost_error,
    call_with_timeout,
    start_consumer,
    translate_error,
    watermarks,
)
from tickerlake.kafka.reader import READER_SETTINGS, EndTracker, RecordBatch, split_by_partition

_LEAVE_TIMEOUT_S = 5.0
"""How long leaving the group may take: without a broker, it would never return."""
_COMMITTED_OFFSETS_TIMEOUT_S = 30.0
"""Longer than the transactions of `track` stay open: Kafka withholds the offsets of an open transaction."""
_RECORDS_PER_POLL = 10_000
_MAX_POLLS_BEFORE_CLOSING = 10
"""Enough to empty the queue, which is bounded; records keep arriving."""
_COOPERATIVE = "cooperative-sticky"


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """An offset committed to Kafka, and the commit metadata stored with it."""

    offset: int
    metadata: str


class _Membership:
    """One stay in the group, from joining to leaving; each has a librdkafka client of its own.

    Attributes
    ----------
    owned
        The partitions assigned to this member.
    has_left
        True once the client is being closed: its callbacks no longer change anything.
    failure
        What went wrong in a callback, or while reading; the next `Consumer.poll` handles it.
    """

    def __init__(self, client: RdConsumer, broker_watch: BrokerWatch) -> None:
        self.client = client
        self.broker_watch = broker_watch
        self.end_tracker = EndTracker(client)
        self.owned: set[Partition] = set()
        self.has_left = False
        self.failure: Exception | None = None


class Consumer:
    """A member of a consumer group whose user decides, not Kafka, at which offset to start.

    If no broker answers during an assignment, or its client has lost all brokers, it releases its partitions
    and joins the group again with a new client.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    group
        Name of the consumer group.
    on_assign
        Called with a partition and its committed offset; returns the offset to read from.
    on_revoke
        Called with a partition that no longer belongs to this member.
    instance
        Name for static membership: a restarted process of this name gets its partitions back at once.
        A ``group.instance.id`` among the properties takes precedence.

    Attributes
    ----------
    assignments
        How often the group has assigned partitions (perhaps none) to this member.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        properties: Mapping[str, str],
        on_assign: Callable[[Partition, CommittedOffset | None], int],
        on_revoke: Callable[[Partition], None],
        *,
        instance: str | None = None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.assignments = 0
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._topics: list[str] = []
        self._unreachable_since_s: float | None = None
        self._properties = properties
        self._defaults: dict[str, Any] = {
            **READER_SETTINGS,
            "group.id": group,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # below the default of 45 s, so that others take over a killed member's partitions sooner
            "session.timeout.ms": 15_000,
            # these bound what librdkafka prefetches: for all partitions together, and per request of one
            "queued.max.messages.kbytes": 8192,
            "fetch.message.max.bytes": 1 << 20,
        }
        if instance:
            self._defaults["group.instance.id"] = instance
        # Eager rebalancing for static members: Kafka readmits a restarted one without having it revoke the
        # partitions that a cooperative rebalance had taken from it, and those would belong to no member.
        is_static = "group.instance.id" in {**self._defaults, **properties}
        strategy = "range" if is_static else _COOPERATIVE
        self._defaults["partition.assignment.strategy"] = strategy
        self._is_eager = properties.get("partition.assignment.strategy", strategy) != _COOPERATIVE
        self._membership = self._start_client()

    def _start_client(self) -> _Membership:
        watch = BrokerWatch()
        settings = self._defaults | watch.settings
        return _Membership(start_consumer(self.bootstrap_servers, self._properties, **settings), watch)

    @property
    def blocked_partitions(self) -> set[Partition]:
        """Own partitions with records that an open transaction withholds; see `EndTracker`."""
        return self._membership.end_tracker.blocked_partitions & self._membership.owned

    def subscribe(self, topics: list[str]) -> None:
        """Join the group."""
        self._topics = topics
        membership = self._membership

        def on_assign(_: RdConsumer, partitions: list[TopicPartition]) -> None:
            self._handle_assign(membership, partitions)

        def on_revoke(_: RdConsumer, partitions: list[TopicPartition]) -> None:
            self._handle_revoke(membership, partitions)

        membership.client.subscribe(topics, on_assign=on_assign, on_revoke=on_revoke, on_lost=on_revoke)

    def _handle_assign(self, membership: _Membership, partitions: list[TopicPartition]) -> None:
        client, assigned = membership.client, []
        if membership.has_left:
            with suppress(KafkaException):
                self._assign(client, [])
            return
        self.assignments += 1
        try:
            for entry in (
                client.committed(partitions, timeout=_COMMITTED_OFFSETS_TIMEOUT_S) if partitions else []
            ):
                committed = CommittedOffset(entry.offset, entry.metadata or "") if entry.offset >= 0 else None
                partition = (entry.topic, entry.partition)
                entry.offset = self._on_assign(partition, committed)
                membership.owned.add(partition)
                assigned.append(TopicPartition(entry.topic, entry.partition, entry.offset))
            self._assign(client, assigned)
        except KafkaException as error:
            membership.failure = translate_error(
                error.args[0], "assigning partitions", self.bootstrap_servers
            )
        except Exception as error:
            # librdkafka would swallow it in a callback: poll() raises it again on the caller's side
            membership.failure = error

    def _assign(self, client: RdConsumer, partitions: list[TopicPartition]) -> None:
        if self._is_eager:
            client.assign(partitions)
        else:
            client.incremental_assign(partitions)

    def _handle_revoke(self, membership: _Membership, partitions: list[TopicPartition]) -> None:
        if not membership.has_left:
            self._release(membership, [(revoked.topic, revoked.partition) for revoked in partitions])
        if self._is_eager:
            membership.client.unassign()
        else:
            membership.client.incremental_unassign(partitions)

    def _release(self, membership: _Membership, partitions: list[Partition]) -> None:
        for partition in partitions:
            if partition in membership.owned:
                membership.owned.discard(partition)
                self._on_revoke(partition)

    def _leave_group(self) -> None:
        membership = self._membership
        membership.has_left = True
        self._release(membership, sorted(membership.owned))
        with suppress(TimeoutError):
            call_with_timeout(_LEAVE_TIMEOUT_S, partial(_close, membership.client))

    def _rejoin(self, error: BrokerUnreachable) -> None:
        """Join the group again with a new client; raise the error if the grace period is over."""
        now_s = clock.monotonic_s()
        self._unreachable_since_s = now_s if self._unreachable_since_s is None else self._unreachable_since_s
        if now_s - self._unreachable_since_s > BROKER_GRACE_S:
            raise error
        self._leave_group()
        self._membership = self._start_client()
        self.subscribe(self._topics)

    def poll(self, timeout_s: float, max_records: int = _RECORDS_PER_POLL) -> Iterator[RecordBatch]:
        """Wait for records and yield those that have arrived, at most `max_records`.

        Raises
        ------
        BrokerUnreachable
            No broker has answered for `BROKER_GRACE_S` when one was needed.
        TickerlakeError
            An error that librdkafka reports, or whatever `on_assign` raised.
        """
        membership = self._membership
        first = membership.client.poll(timeout_s)
        failure = (
            brokers_lost_error(self.bootstrap_servers)
            if membership.broker_watch.has_lost_brokers
            else membership.failure
        )
        if isinstance(failure, BrokerUnreachable):
            self._rejoin(failure)
            return
        if failure:
            raise failure
        yield from membership.end_tracker.overdue_ends()
        if first is None:
            return
        if (error := first.error()) is None or error.code() == RdError._PARTITION_EOF:
            self._unreachable_since_s = None
        # consume(n, t) waits all of t unless n messages arrive: with 0 it returns only those already there
        messages = [first, *membership.client.consume(max_records - 1, 0)]
        yield from split_by_partition(messages, membership.end_tracker, self._handle_error)

    def _handle_error(self, error: RdError, message: Message) -> None:
        """Raise final errors; if no broker answers, the next poll joins the group again."""
        if error.code() == RdError._MAX_POLL_EXCEEDED:
            return  # the partitions are lost: on_revoke is called next, and polling joins the group again
        if error.code() == RdError._AUTO_OFFSET_RESET:
            raise LakeError(
                f"Kafka no longer has offset {message.offset()} of {message.topic()} partition "
                f"{message.partition()}: it was deleted, or the log was truncated, before it was read.",
                "Lengthen the topic's retention. `sink --on-gap record` records the gap and continues.",
            )
        translated = translate_error(error, "reading", self.bootstrap_servers)
        if not isinstance(translated, BrokerUnreachable):
            raise translated
        self._membership.failure = translated

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Return the low and the high watermark of a partition."""
        return watermarks(self._membership.client, self.bootstrap_servers, *partition)

    def cached_high_watermark(self, partition: Partition) -> int:
        """Return the high watermark as of the last fetch, without a request; -1 before the first fetch."""
        try:
            _, high = self._membership.client.get_watermark_offsets(TopicPartition(*partition), cached=True)
        except KafkaException:
            return -1
        return int(high)

    def committed_offsets(self, topic: str, numbers: Iterable[int]) -> dict[int, int]:
        """Return the group's committed offset of each partition that has one."""
        partitions = [TopicPartition(topic, number) for number in numbers]
        try:
            committed = self._membership.client.committed(partitions, timeout=_COMMITTED_OFFSETS_TIMEOUT_S)
        except KafkaException as error:
            raise translate_error(error.args[0], "reading offsets", self.bootstrap_servers) from error
        return {entry.partition: entry.offset for entry in committed if entry.offset >= 0}

    def group_metadata(self) -> Any:
        """Return the group metadata that a producer needs to commit offsets in a transaction."""
        return self._membership.client.consumer_group_metadata()

    def pause(self, partitions: list[Partition]) -> None:
        """Stop fetching these partitions, without leaving the group."""
        self._membership.client.pause([TopicPartition(*partition) for partition in partitions])

    def resume(self, partitions: list[Partition]) -> None:
        """Fetch these partitions again."""
        self._membership.client.resume([TopicPartition(*partition) for partition in partitions])

    def commit(self, partition: Partition, offset: int, metadata: str) -> None:
        """Commit an offset without waiting; the offset is only a hint, the lake is authoritative."""
        try:
            self._membership.client.commit(
                offsets=[TopicPartition(*partition, offset, metadata=metadata)], asynchronous=True
            )
        except KafkaException:
            return  # a lost hint costs a listing at the next start, nothing else

    def close(self) -> None:
        """Release all partitions and leave the group."""
        self._leave_group()


def _close(client: RdConsumer) -> None:
    # librdkafka would wait forever, and with Python's lock, for an assignment that is still in its queue:
    # https://github.com/confluentinc/librdkafka/issues/4884
    for _ in range(_MAX_POLLS_BEFORE_CLOSING):
        if not client.consume(_RECORDS_PER_POLL, 0):
            break
    client.close()
