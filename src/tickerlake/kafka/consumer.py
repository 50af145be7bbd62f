"""Read topics as a member of a group: whole batches of one partition, with their offsets."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl
from confluent_kafka import Consumer as RdConsumer
from confluent_kafka import KafkaError as RdError
from confluent_kafka import KafkaException, Message, TopicPartition

from tickerlake import clock
from tickerlake.errors import BrokerUnreachable, LakeError
from tickerlake.kafka.client import (
    BROKER_GRACE_S,
    BrokerWatch,
    brokers_lost_error,
    call_with_timeout,
    start_consumer,
    translate_error,
    watermarks,
)
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

Partition = tuple[str, int]
OPEN_TRANSACTIONS_WARNING = (
    "{} partitions end in a transaction that is not finished: what stands behind it was not read. "
    "Run again when it is finished, or has timed out."
)
_OPEN_TRANSACTION_GRACE_S = 5.0
_LEAVE_TIMEOUT_S = 5.0
# a killed process's transaction hides for a while what was committed
_COMMITTED_OFFSETS_TIMEOUT_S = 30.0
_READER_SETTINGS = {
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "fetch.queue.backoff.ms": 20,
    # an end of a partition is told only after this long
    "fetch.wait.max.ms": 100,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in offset order.

    ``frame`` has the columns offset, timestamp_ms, key and value (bytes, null where absent);
    ``at_end`` says that no committed record followed when it was read (see `Ends`).
    """

    partition: Partition
    frame: pl.DataFrame
    at_end: bool


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """An offset committed to Kafka and the note kept with it."""

    offset: int
    metadata: str


class EndTracker:
    """Tells which partitions have been read to the end that they had when they were first read through.

    Kafka says "end" where a transaction begins that is not finished, and hides all that follows. Mostly it is
    finished in a moment: who commits is told so before the readers are. So that is waited for, but not for
    long, as who began it may be dead.

    Attributes
    ----------
    unfinished
        Partitions where it was waited for in vain.
    """

    def __init__(self, client: RdConsumer) -> None:
        self.blocked_partitions: set[Partition] = set()
        self._client = client
        self._targets: dict[Partition, tuple[int, float]] = {}
        self._pending: set[Partition] = set()

    def confirm_end(self, partition: Partition, offset: int) -> bool:
        """Take what Kafka calls the end of a partition."""
        now_s = clock.monotonic_s()
        if partition not in self._targets:
            _, high = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
            self._targets[partition] = (int(high), now_s + _OPEN_TRANSACTION_GRACE_S)
        end, deadline_s = self._targets[partition]
        if offset >= end:
            self.blocked_partitions.discard(partition)
        elif now_s <= deadline_s:
            self._pending.add(partition)
            return False
        self._pending.discard(partition)
        return True

    def overdue_ends(self) -> list[Batch]:
        """Return an end for each partition that has been waited for in vain, once."""
        now_s = clock.monotonic_s()
        overdue = {place for place in self._pending if now_s > self._targets[place][1]}
        self._pending -= overdue
        self.blocked_partitions |= overdue
        return [_end_batch(place) for place in sorted(overdue)]


class Consumer:
    """A member of a consumer group that is told where to start by its user, not by Kafka.

    Where no broker answers while partitions are taken, or its client has lost all of them, it gives up what
    it has and joins anew.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    group
        Name of the consumer group.
    on_assign
        Called with a partition and what is committed for it; returns the offset to read from.
    on_revoke
        Called with a partition that is no longer ours.
    instance
        A name that outlives the process: who comes back with it has its partitions at once. A name among the
        properties (``group.instance.id``) counts instead.
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
        self._owned: set[Partition] = set()
        self._closed_client: RdConsumer | None = None
        self._failure: Exception | None = None
        self._unreachable_since_s: float | None = None
        self._properties = properties
        self._defaults: dict[str, Any] = {
            **_READER_SETTINGS,
            "group.id": group,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # a killed worker's partitions are taken over after this long
            "session.timeout.ms": 15_000,
            "queued.max.messages.kbytes": 8192,
            "fetch.message.max.bytes": 1 << 20,
        }
        if instance:
            self._defaults["group.instance.id"] = instance
        # a named member gives up all partitions when they are shared out anew: Kafka takes it back without
        # asking what it had still to give up, and that would be nobody's
        is_named = "group.instance.id" in {**self._defaults, **properties}
        strategy = "range" if is_named else "cooperative-sticky"
        self._defaults["partition.assignment.strategy"] = strategy
        self._is_eager = properties.get("partition.assignment.strategy", strategy) != "cooperative-sticky"
        self._client = self._start_client()

    def _start_client(self) -> RdConsumer:
        self._broker_watch = BrokerWatch()
        defaults = self._defaults | self._broker_watch.settings
        client = start_consumer(self.bootstrap_servers, self._properties, **defaults)
        self._end_tracker = EndTracker(client)
        return client

    @property
    def blocked_partitions(self) -> set[Partition]:
        """Partitions of which a transaction that is not finished hides what was there; see `Ends`."""
        return self._end_tracker.blocked_partitions & self._owned

    def subscribe(self, topics: list[str]) -> None:
        """Join the group."""
        self._topics = topics
        self._client.subscribe(
            topics, on_assign=self._handle_assign, on_revoke=self._handle_revoke, on_lost=self._handle_revoke
        )

    def _handle_assign(self, client: RdConsumer, partitions: list[TopicPartition]) -> None:
        if client is self._closed_client:
            return
        self.assignments += 1
        assigned = []
        try:
            for entry in (
                client.committed(partitions, timeout=_COMMITTED_OFFSETS_TIMEOUT_S) if partitions else []
            ):
                committed = CommittedOffset(entry.offset, entry.metadata or "") if entry.offset >= 0 else None
                partition = (entry.topic, entry.partition)
                entry.offset = self._on_assign(partition, committed)
                self._owned.add(partition)
                assigned.append(TopicPartition(entry.topic, entry.partition, entry.offset))
            if self._is_eager:
                client.assign(assigned)
            else:
                client.incremental_assign(assigned)
        except KafkaException as error:
            self._failure = translate_error(error.args[0], "taking a partition", self.bootstrap_servers)
        except Exception as error:
            # librdkafka's callback would swallow it: poll() raises it again on the caller's side
            self._failure = error

    def _handle_revoke(self, client: RdConsumer, partitions: list[TopicPartition]) -> None:
        if client is not self._closed_client:
            self._release([(revoked.topic, revoked.partition) for revoked in partitions])
        if self._is_eager:
            client.unassign()
        else:
            client.incremental_unassign(partitions)

    def _release(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            if partition in self._owned:
                self._owned.discard(partition)
                self._on_revoke(partition)

    def _leave_group(self) -> None:
        """Give up all partitions, and leave the group: without a broker librdkafka may never be done."""
        self._closed_client = self._client
        self._release(sorted(self._owned))
        with suppress(TimeoutError):
            call_with_timeout(_LEAVE_TIMEOUT_S, self._client.close)

    def _rejoin(self, error: BrokerUnreachable) -> None:
        """Begin again with a new client, unless it has been tried for long enough."""
        now_s = clock.monotonic_s()
        self._unreachable_since_s = now_s if self._unreachable_since_s is None else self._unreachable_since_s
        if now_s - self._unreachable_since_s > BROKER_GRACE_S:
            raise error
        self._leave_group()
        self._failure = None
        self._client = self._start_client()
        self.subscribe(self._topics)

    def poll(self, timeout_s: float, max_records: int = 10_000) -> Iterator[Batch]:
        """Wait for records, then take what is there.

        Raises
        ------
        BrokerUnreachable
            No broker has answered for a minute when partitions were to be taken.
        TickerlakeError
            What librdkafka reports, and whatever ``on_assign`` raised.
        """
        first = self._client.poll(timeout_s)
        failure = (
            brokers_lost_error(self.bootstrap_servers)
            if self._broker_watch.has_lost_brokers
            else self._failure
        )
        if isinstance(failure, BrokerUnreachable):
            self._rejoin(failure)
            return
        if failure:
            raise failure
        yield from self._end_tracker.overdue_ends()
        if first is None:
            return
        if (error := first.error()) is None or error.code() == RdError._PARTITION_EOF:
            self._unreachable_since_s = None
        # consume(n, t) waits all of t unless n messages arrive, so it is only asked for what is there
        messages = [first, *self._client.consume(max_records - 1, 0)]
        yield from split_by_partition(messages, self._end_tracker, self._handle_error)

    def _handle_error(self, error: RdError, message: Message) -> None:
        if error.code() == RdError._MAX_POLL_EXCEEDED:
            return  # the partitions are lost, which on_revoke is told next; polling joins the group again
        if error.code() == RdError._AUTO_OFFSET_RESET:
            raise LakeError(
                f"Kafka no longer has offset {message.offset()} of {message.topic()} partition "
                f"{message.partition()}: it was deleted, or the log was cut, before it was read.",
                "Lengthen the topic's retention. `sink --on-gap record` notes the loss and goes on.",
            )
        translated = translate_error(error, "reading", self.bootstrap_servers)
        if not isinstance(translated, BrokerUnreachable):
            raise translated
        self._failure = translated  # the next poll begins again

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Earliest retained and next offset of a partition."""
        return watermarks(self._client, self.bootstrap_servers, *partition)

    def cached_high_watermark(self, partition: Partition) -> int:
        """Where a partition ended when it was last fetched from, without asking again; -1 if it never was."""
        try:
            _, high = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
        except KafkaException:
            return -1
        return int(high)

    def committed_offsets(self, topic: str, numbers: Iterable[int]) -> dict[int, int]:
        """Return the offsets that the group has committed for partitions; without those that have none."""
        partitions = [TopicPartition(topic, number) for number in numbers]
        try:
            committed = self._client.committed(partitions, timeout=_COMMITTED_OFFSETS_TIMEOUT_S)
        except KafkaException as error:
            raise translate_error(error.args[0], "reading offsets", self.bootstrap_servers) from error
        return {entry.partition: entry.offset for entry in committed if entry.offset >= 0}

    def group_metadata(self) -> Any:
        """Return what a transaction needs to commit this group's offsets."""
        return self._client.consumer_group_metadata()

    def pause(self, partitions: list[Partition]) -> None:
        """Stop fetching these partitions, without leaving the group."""
        self._client.pause([TopicPartition(*partition) for partition in partitions])

    def resume(self, partitions: list[Partition]) -> None:
        """Fetch these partitions again."""
        self._client.resume([TopicPartition(*partition) for partition in partitions])

    def commit(self, partition: Partition, offset: int, metadata: str) -> None:
        """Commit an offset without waiting; what is committed is a hint, the lake is the truth."""
        try:
            self._client.commit(
                offsets=[TopicPartition(*partition, offset, metadata=metadata)], asynchronous=True
            )
        except KafkaException:
            return  # a lost hint costs a listing at the next start, nothing else

    def close(self) -> None:
        """Leave the group."""
        self._leave_group()


def split_by_partition(
    messages: list[Message], end_tracker: EndTracker, on_error: Callable[[RdError, Message], None]
) -> Iterator[Batch]:
    """Sort messages by partition; ``on_error`` is called with what is neither a record nor an end."""
    at_end_by_partition: dict[Partition, bool] = {}
    errors = [message.error() for message in messages]
    if any(errors):
        for message, error in zip(messages, errors, strict=True):
            partition = (str(message.topic()), int(message.partition() or 0))
            if error is None:
                at_end_by_partition[partition] = False
            elif error.code() == RdError._PARTITION_EOF:
                at_end_by_partition[partition] = end_tracker.confirm_end(
                    partition, int(message.offset() or 0)
                )
            else:
                on_error(error, message)
        messages = [message for message, error in zip(messages, errors, strict=True) if error is None]
    frames = _to_frame(messages).partition_by("topic", "partition", as_dict=True, include_key=False)
    for (topic, number), frame in frames.items():
        partition = (topic, number)
        yield Batch(partition, frame, at_end_by_partition.pop(partition, False))
    for partition, at_end in at_end_by_partition.items():
        if at_end:
            yield _end_batch(partition)


def _end_batch(partition: Partition) -> Batch:
    return Batch(partition, _to_frame([]).drop("topic", "partition"), at_end=True)


def _to_frame(messages: list[Message]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "topic": [message.topic() for message in messages],
            "partition": [message.partition() for message in messages],
            "offset": [message.offset() for message in messages],
            "timestamp_ms": [message.timestamp()[1] for message in messages],
            "key": [message.key() for message in messages],
            "value": [message.value() for message in messages],
        },
        schema={"topic": pl.String, "partition": pl.Int64, **KAFKA_RECORD_SCHEMA},
    )


def read_all(
    bootstrap_servers: str,
    properties: Mapping[str, str],
    topic: str,
    starts: Mapping[int, int],
    should_follow: Callable[[], bool] = lambda: False,
) -> Generator[Batch]:
    """Read partitions from given offsets to their present end, in no group (committed records only).

    Parameters
    ----------
    followed
        While it says so, what comes later is read, too.
    """
    watch = BrokerWatch()
    reader_settings = {
        **_READER_SETTINGS,
        "group.id": "tickerlake-reader",
        "auto.offset.reset": "earliest",
        **watch.settings,
    }

    def fail(error: RdError, _: Message) -> None:
        raise translate_error(error, f"reading {topic}", bootstrap_servers)

    client = start_consumer(bootstrap_servers, properties, **reader_settings)
    end_tracker = EndTracker(client)
    try:
        client.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
        unread = set(starts)
        while unread or should_follow():
            first = client.poll(0.1)
            if watch.has_lost_brokers:
                raise brokers_lost_error(bootstrap_servers)
            messages = [] if first is None else [first, *client.consume(9_999, 0)]
            for batch in [*end_tracker.overdue_ends(), *split_by_partition(messages, end_tracker, fail)]:
                if batch.at_end:
                    unread.discard(batch.partition[1])
                if batch.frame.height:
                    yield batch
    except KafkaException as error:
        raise translate_error(error.args[0], f"reading {topic}", bootstrap_servers) from error
    finally:
        client.close()


class TopicTailer:
    """Follows partitions in no group, for who wants values by topic and no offsets (committed ones only).

    Attributes
    ----------
    open_ends
        The partitions whose end has not been reached yet.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._starts: dict[Partition, int] = {}
        self.catching_up: set[Partition] = set()
        self._broker_watch = BrokerWatch()
        reader_settings = {
            **_READER_SETTINGS,
            "group.id": "tickerlake-reader",
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 16_384,
            **self._broker_watch.settings,
        }
        self._client = start_consumer(bootstrap_servers, properties, **reader_settings)

    def follow(self, starts: Mapping[Partition, int]) -> None:
        """Follow more partitions, from the given offsets on."""
        self._client.incremental_assign(
            [TopicPartition(*partition, start) for partition, start in starts.items()]
        )
        self._starts |= starts
        self.catching_up |= set(starts)

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Earliest retained and next offset of a partition."""
        return watermarks(self._client, self.bootstrap_servers, *partition)

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int:
        """Return the offset of the first message that Kafka took at a time or later; -1 if there is none."""
        try:
            (result,) = self._client.offsets_for_times(
                [TopicPartition(*partition, timestamp_ms)], timeout=10.0
            )
        except KafkaException as error:
            raise translate_error(error.args[0], "reading offsets", self.bootstrap_servers) from error
        return int(result.offset)

    def poll(self, timeout_s: float, max_records: int = 10_000) -> dict[str, list[bytes | None]]:
        """Gather messages for some time, or until there are so many; return their values by topic.

        Raises
        ------
        TickerlakeError
            What librdkafka reports, such as a topic that was deleted.
        """
        values: dict[str, list[bytes | None]] = {}
        messages = self._client.consume(max_records, timeout_s)
        if self._broker_watch.has_lost_brokers:
            raise brokers_lost_error(self.bootstrap_servers)
        for message in messages:
            topic = message.topic() or ""
            if (error := message.error()) is None:
                if topic not in values:
                    values[topic] = []
                values[topic].append(message.value())
            elif error.code() == RdError._PARTITION_EOF:
                self.catching_up.discard((topic, int(message.partition() or 0)))
            else:
                raise translate_error(error, f"reading {topic}", self.bootstrap_servers)
        return values

    def positions(self) -> dict[Partition, int]:
        """Return the offsets that will be read next, by partition."""
        entries = self._client.position([TopicPartition(*entry) for entry in self._starts])
        return {
            (place.topic, place.partition): max(place.offset, self._starts[place.topic, place.partition])
            for place in entries
        }

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
