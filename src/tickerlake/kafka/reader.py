"""Read topics without a consumer group; and what group members share: record batches and end detection."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import polars as pl
from confluent_kafka import Consumer as RdConsumer
from confluent_kafka import KafkaError as RdError
from confluent_kafka import KafkaException, Message, TopicPartition

from tickerlake import clock
from tickerlake.kafka.client import (
    BrokerWatch,
    Partition,
    brokers_lost_error,
    start_consumer,
    translate_error,
    watermarks,
)
from tickerlake.model.headers import UNREADABLE_HEADERS, MessageHeaders, encode_headers
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

OPEN_TRANSACTIONS_WARNING: Final = (
    "{} partitions end in an open transaction: the records after it were not read. "
    "Run the command again when the transaction has finished or timed out."
)
READER_SETTINGS: Final[dict[str, Any]] = {
    "enable.auto.commit": False,
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    # how long to wait when the queue is full; the default of 1 s would starve a fast reader
    "fetch.queue.backoff.ms": 20,
    # the broker reports the end of a partition only after it has waited this long for more records
    "fetch.wait.max.ms": 100,
}
UNGROUPED_SETTINGS: Final[dict[str, Any]] = {
    **READER_SETTINGS,
    # librdkafka requires a name; such a client joins no group and commits nothing
    "group.id": "tickerlake-reader",
    "auto.offset.reset": "earliest",
}
_OPEN_TRANSACTION_GRACE_S = 5.0
"""How long the end of an open transaction is awaited.

Commit markers arrive within milliseconds; a dead producer's transaction stays open until it times out.
"""
_READ_ALL_RECORDS = 10_000  # per batch: enough for columnar processing, a few MB of memory
_TAILER_QUEUE_KB = 16_384  # bounds the prefetched records of a dashboard that follows many partitions
_OFFSETS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records of one partition in offset order.

    Attributes
    ----------
    partition
        Topic and partition number.
    frame
        The records, in the columns of `KAFKA_RECORD_SCHEMA`.
    at_end
        Whether no committed record followed when they were read (see `EndTracker`).
    """

    partition: Partition
    frame: pl.DataFrame
    at_end: bool


class EndTracker:
    """Decides which partitions have been read to the end that they had when it was first reached.

    Kafka also reports an end where an open transaction begins, and withholds everything after it. Most
    transactions finish at once: a producer learns of its commit before the readers do. So the tracker waits
    for the transaction to finish, but only for a grace period, as its producer may be dead.

    Attributes
    ----------
    blocked_partitions
        Partitions whose open transaction did not finish within the grace period.
    """

    def __init__(self, client: RdConsumer) -> None:
        self.blocked_partitions: set[Partition] = set()
        self._client = client
        self._targets: dict[Partition, tuple[int, float]] = {}
        self._pending: set[Partition] = set()

    def confirm_end(self, partition: Partition, offset: int) -> bool:
        """Return whether an end that Kafka reports is the real end, or the grace period is over."""
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

    def overdue_ends(self) -> list[RecordBatch]:
        """Return an empty last batch, once, for each partition whose grace period has run out."""
        now_s = clock.monotonic_s()
        overdue = {partition for partition in self._pending if now_s > self._targets[partition][1]}
        self._pending -= overdue
        self.blocked_partitions |= overdue
        return [_end_batch(partition) for partition in sorted(overdue)]


def split_by_partition(
    messages: list[Message], end_tracker: EndTracker, on_error: Callable[[RdError, Message], None]
) -> Iterator[RecordBatch]:
    """Group messages into one batch per partition; `on_error` receives all errors but ends of partitions."""
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
        yield RecordBatch(partition, frame, at_end_by_partition.pop(partition, False))
    for partition, at_end in at_end_by_partition.items():
        if at_end:
            yield _end_batch(partition)


def _end_batch(partition: Partition) -> RecordBatch:
    return RecordBatch(partition, _to_frame([]).drop("topic", "partition"), at_end=True)


def _to_frame(messages: list[Message]) -> pl.DataFrame:
    headers = _read_headers(messages)
    return pl.DataFrame(
        {
            "topic": [message.topic() for message in messages],
            "partition": [message.partition() for message in messages],
            "offset": [message.offset() for message in messages],
            "timestamp_ms": [message.timestamp()[1] for message in messages],
            "key": [message.key() for message in messages],
            "value": [message.value() for message in messages],
            "headers": [each and encode_headers(each) for each in headers] if any(headers) else None,
        },
        schema={"topic": pl.String, "partition": pl.Int64, **KAFKA_RECORD_SCHEMA},
    )


def _read_headers(messages: list[Message]) -> list[MessageHeaders]:
    """Return the headers of each message, None if it has none.

    The client raises if the name of a header is not UTF-8, and a second call for that message crashes the
    process (confluent-kafka 2.16): each message is asked once.
    """
    headers: list[MessageHeaders] = []
    remaining = iter(messages)
    while len(headers) < len(messages):
        try:
            for message in remaining:
                headers.append(cast(MessageHeaders, message.headers()))
        except SystemError:
            headers.append(UNREADABLE_HEADERS)
    return headers


def read_all(
    bootstrap_servers: str,
    properties: Mapping[str, str],
    topic: str,
    starts: Mapping[int, int],
    should_follow: Callable[[], bool] = lambda: False,
) -> Generator[RecordBatch]:
    """Read the committed records of a topic to its current end.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topic
        The topic's name.
    starts
        The first offset to read of each partition.
    should_follow
        While it returns True, records that arrive later are read as well.

    Yields
    ------
    RecordBatch
        Never empty.
    """
    watch = BrokerWatch()

    def fail(error: RdError, _: Message) -> None:
        raise translate_error(error, f"reading {topic}", bootstrap_servers)

    client = start_consumer(bootstrap_servers, properties, **UNGROUPED_SETTINGS, **watch.settings)
    end_tracker = EndTracker(client)
    try:
        client.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
        unread = set(starts)
        while unread or should_follow():
            first = client.poll(0.1)
            if watch.has_lost_brokers:
                raise brokers_lost_error(bootstrap_servers)
            messages = [] if first is None else [first, *client.consume(_READ_ALL_RECORDS - 1, 0)]
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
    """Follows partitions of several topics and returns committed values by topic, without offsets.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.

    Attributes
    ----------
    catching_up
        The partitions whose end has not been reached yet.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.catching_up: set[Partition] = set()
        self._starts: dict[Partition, int] = {}
        self._broker_watch = BrokerWatch()
        settings = {"queued.max.messages.kbytes": _TAILER_QUEUE_KB, **self._broker_watch.settings}
        self._client = start_consumer(bootstrap_servers, properties, **UNGROUPED_SETTINGS, **settings)

    def follow(self, starts: Mapping[Partition, int]) -> None:
        """Follow more partitions, each from an offset."""
        self._client.incremental_assign(
            [TopicPartition(*partition, start) for partition, start in starts.items()]
        )
        self._starts |= starts
        self.catching_up |= set(starts)

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Return the low and the high watermark of a partition."""
        return watermarks(self._client, self.bootstrap_servers, *partition)

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int:
        """Return the first offset whose Kafka timestamp is at or after a time; -1 if there is none."""
        try:
            (result,) = self._client.offsets_for_times(
                [TopicPartition(*partition, timestamp_ms)], timeout=_OFFSETS_TIMEOUT_S
            )
        except KafkaException as error:
            raise translate_error(error.args[0], "reading offsets", self.bootstrap_servers) from error
        return int(result.offset)

    def poll(self, timeout_s: float, max_records: int = 10_000) -> dict[str, list[bytes | None]]:
        """Collect messages until the timeout or until there are `max_records`; return their values by topic.

        Raises
        ------
        TickerlakeError
            An error that librdkafka reports, such as a topic that was deleted.
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
        """Return the next offset to read of each partition."""
        entries = self._client.position([TopicPartition(*entry) for entry in self._starts])
        return {
            (entry.topic, entry.partition): max(entry.offset, self._starts[entry.topic, entry.partition])
            for entry in entries
        }

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
