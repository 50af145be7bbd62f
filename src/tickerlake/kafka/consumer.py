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
    PATIENCE_S,
    BrokerWatch,
    lost,
    start_consumer,
    translate,
    watermarks,
    within,
)
from tickerlake.model.schema import KAFKA_RECORDS

Partition = tuple[str, int]
UNFINISHED = (
    "{} partitions end in a transaction that is not finished: what stands behind it was not read. "
    "Run again when it is finished, or has timed out."
)
_UNFINISHED_S = 5.0
_LEAVE_S = 5.0
# a killed process's transaction hides for a while what was committed
_COMMITTED_S = 30.0
_READING = {
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
class Committed:
    """An offset committed to Kafka and the note kept with it."""

    offset: int
    note: str


class Ends:
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
        self.unfinished: set[Partition] = set()
        self._client = client
        self._first: dict[Partition, tuple[int, float]] = {}
        self._waiting: set[Partition] = set()

    def is_reached(self, place: Partition, offset: int) -> bool:
        """Take what Kafka calls the end of a partition."""
        now_s = clock.monotonic_s()
        if place not in self._first:
            _, high = self._client.get_watermark_offsets(TopicPartition(*place), cached=True)
            self._first[place] = (int(high), now_s + _UNFINISHED_S)
        end, until_s = self._first[place]
        if offset >= end:
            self.unfinished.discard(place)
        elif now_s <= until_s:
            self._waiting.add(place)
            return False
        self._waiting.discard(place)
        return True

    def overdue(self) -> list[Batch]:
        """Return an end for each partition that has been waited for in vain, once."""
        now_s = clock.monotonic_s()
        late = {place for place in self._waiting if now_s > self._first[place][1]}
        self._waiting -= late
        self.unfinished |= late
        return [_end(place) for place in sorted(late)]


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
        on_assign: Callable[[Partition, Committed | None], int],
        on_revoke: Callable[[Partition], None],
        *,
        instance: str | None = None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.assignments = 0
        self._on_assign = on_assign
        self._on_revoke = on_revoke
        self._topics: list[str] = []
        self._held: set[Partition] = set()
        self._left: RdConsumer | None = None
        self._failure: Exception | None = None
        self._away_s: float | None = None
        self._properties = properties
        self._own: dict[str, Any] = {
            **_READING,
            "group.id": group,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # a killed worker's partitions are taken over after this long
            "session.timeout.ms": 15_000,
            "queued.max.messages.kbytes": 8192,
            "fetch.message.max.bytes": 1 << 20,
        }
        if instance:
            self._own["group.instance.id"] = instance
        # a named member gives up all partitions when they are shared out anew: Kafka takes it back without
        # asking what it had still to give up, and that would be nobody's
        is_named = "group.instance.id" in {**self._own, **properties}
        sharing = "range" if is_named else "cooperative-sticky"
        self._own["partition.assignment.strategy"] = sharing
        self._is_eager = properties.get("partition.assignment.strategy", sharing) != "cooperative-sticky"
        self._client = self._start()

    def _start(self) -> RdConsumer:
        self._watch = BrokerWatch()
        own = self._own | self._watch.settings
        client = start_consumer(self.bootstrap_servers, self._properties, **own)
        self._ends = Ends(client)
        return client

    @property
    def unfinished(self) -> set[Partition]:
        """Partitions of which a transaction that is not finished hides what was there; see `Ends`."""
        return self._ends.unfinished & self._held

    def subscribe(self, topics: list[str]) -> None:
        """Join the group."""
        self._topics = topics
        self._client.subscribe(
            topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def _assigned(self, client: RdConsumer, partitions: list[TopicPartition]) -> None:
        if client is self._left:
            return
        self.assignments += 1
        taken = []
        try:
            for known in client.committed(partitions, timeout=_COMMITTED_S) if partitions else []:
                committed = Committed(known.offset, known.metadata or "") if known.offset >= 0 else None
                place = (known.topic, known.partition)
                known.offset = self._on_assign(place, committed)
                self._held.add(place)
                taken.append(TopicPartition(known.topic, known.partition, known.offset))
            if self._is_eager:
                client.assign(taken)
            else:
                client.incremental_assign(taken)
        except KafkaException as error:
            self._failure = translate(error.args[0], "taking a partition", self.bootstrap_servers)
        except Exception as error:
            # librdkafka's callback would swallow it: poll() raises it again on the caller's side
            self._failure = error

    def _revoked(self, client: RdConsumer, partitions: list[TopicPartition]) -> None:
        if client is not self._left:
            self._release([(gone.topic, gone.partition) for gone in partitions])
        if self._is_eager:
            client.unassign()
        else:
            client.incremental_unassign(partitions)

    def _release(self, places: list[Partition]) -> None:
        for place in places:
            if place in self._held:
                self._held.discard(place)
                self._on_revoke(place)

    def _leave(self) -> None:
        """Give up all partitions, and leave the group: without a broker librdkafka may never be done."""
        self._left = self._client
        self._release(sorted(self._held))
        with suppress(TimeoutError):
            within(_LEAVE_S, self._client.close)

    def _rejoin(self, error: BrokerUnreachable) -> None:
        """Begin again with a new client, unless it has been tried for long enough."""
        now_s = clock.monotonic_s()
        self._away_s = now_s if self._away_s is None else self._away_s
        if now_s - self._away_s > PATIENCE_S:
            raise error
        self._leave()
        self._failure = None
        self._client = self._start()
        self.subscribe(self._topics)

    def poll(self, timeout_s: float, most: int = 10_000) -> Iterator[Batch]:
        """Wait for records, then take what is there.

        Raises
        ------
        BrokerUnreachable
            No broker has answered for a minute when partitions were to be taken.
        TickerlakeError
            What librdkafka reports, and whatever ``on_assign`` raised.
        """
        first = self._client.poll(timeout_s)
        failure = lost(self.bootstrap_servers) if self._watch.is_lost else self._failure
        if isinstance(failure, BrokerUnreachable):
            self._rejoin(failure)
            return
        if failure:
            raise failure
        yield from self._ends.overdue()
        if first is None:
            return
        if (error := first.error()) is None or error.code() == RdError._PARTITION_EOF:
            self._away_s = None
        # consume(n, t) waits all of t unless n messages arrive, so it is only asked for what is there
        messages = [first, *self._client.consume(most - 1, 0)]
        yield from batches(messages, self._ends, self._raise)

    def _raise(self, error: RdError, message: Message) -> None:
        if error.code() == RdError._MAX_POLL_EXCEEDED:
            return  # the partitions are lost, which on_revoke is told next; polling joins the group again
        if error.code() == RdError._AUTO_OFFSET_RESET:
            raise LakeError(
                f"Kafka no longer has offset {message.offset()} of {message.topic()} partition "
                f"{message.partition()}: it was deleted, or the log was cut, before it was read.",
                "Lengthen the topic's retention. `sink --on-gap record` notes the loss and goes on.",
            )
        found = translate(error, "reading", self.bootstrap_servers)
        if not isinstance(found, BrokerUnreachable):
            raise found
        self._failure = found  # the next poll begins again

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Earliest retained and next offset of a partition."""
        return watermarks(self._client, self.bootstrap_servers, *partition)

    def known_end(self, partition: Partition) -> int:
        """Where a partition ended when it was last fetched from, without asking again; -1 if it never was."""
        try:
            _, high = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
        except KafkaException:
            return -1
        return int(high)

    def committed(self, topic: str, numbers: Iterable[int]) -> dict[int, int]:
        """Return the offsets that the group has committed for partitions; without those that have none."""
        wanted = [TopicPartition(topic, number) for number in numbers]
        try:
            found = self._client.committed(wanted, timeout=_COMMITTED_S)
        except KafkaException as error:
            raise translate(error.args[0], "reading offsets", self.bootstrap_servers) from error
        return {known.partition: known.offset for known in found if known.offset >= 0}

    def group_metadata(self) -> Any:
        """Return what a transaction needs to commit this group's offsets."""
        return self._client.consumer_group_metadata()

    def pause(self, partitions: list[Partition]) -> None:
        """Stop fetching these partitions, without leaving the group."""
        self._client.pause([TopicPartition(*place) for place in partitions])

    def resume(self, partitions: list[Partition]) -> None:
        """Fetch these partitions again."""
        self._client.resume([TopicPartition(*place) for place in partitions])

    def commit(self, partition: Partition, offset: int, note: str) -> None:
        """Commit an offset without waiting; what is committed is a hint, the lake is the truth."""
        try:
            self._client.commit(
                offsets=[TopicPartition(*partition, offset, metadata=note)], asynchronous=True
            )
        except KafkaException:
            return  # a lost hint costs a listing at the next start, nothing else

    def close(self) -> None:
        """Leave the group."""
        self._leave()


def batches(
    messages: list[Message], ends: Ends, on_error: Callable[[RdError, Message], None]
) -> Iterator[Batch]:
    """Sort messages by partition; ``on_error`` is called with what is neither a record nor an end."""
    ended: dict[Partition, bool] = {}
    errors = [message.error() for message in messages]
    if any(errors):
        for message, error in zip(messages, errors, strict=True):
            place = (str(message.topic()), int(message.partition() or 0))
            if error is None:
                ended[place] = False
            elif error.code() == RdError._PARTITION_EOF:
                ended[place] = ends.is_reached(place, int(message.offset() or 0))
            else:
                on_error(error, message)
        messages = [message for message, error in zip(messages, errors, strict=True) if error is None]
    frames = _frame(messages).partition_by("topic", "partition", as_dict=True, include_key=False)
    for (topic, number), frame in frames.items():
        place = (topic, number)
        yield Batch(place, frame, ended.pop(place, False))
    for place, at_end in ended.items():
        if at_end:
            yield _end(place)


def _end(place: Partition) -> Batch:
    return Batch(place, _frame([]).drop("topic", "partition"), at_end=True)


def _frame(messages: list[Message]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "topic": [message.topic() for message in messages],
            "partition": [message.partition() for message in messages],
            "offset": [message.offset() for message in messages],
            "timestamp_ms": [message.timestamp()[1] for message in messages],
            "key": [message.key() for message in messages],
            "value": [message.value() for message in messages],
        },
        schema={"topic": pl.String, "partition": pl.Int64, **KAFKA_RECORDS},
    )


def read_all(
    bootstrap_servers: str,
    properties: Mapping[str, str],
    topic: str,
    starts: Mapping[int, int],
    followed: Callable[[], bool] = lambda: False,
) -> Generator[Batch]:
    """Read partitions from given offsets to their present end, in no group (committed records only).

    Parameters
    ----------
    followed
        While it says so, what comes later is read, too.
    """
    watch = BrokerWatch()
    own = {**_READING, "group.id": "tickerlake-reader", "auto.offset.reset": "earliest", **watch.settings}

    def fail(error: RdError, _: Message) -> None:
        raise translate(error, f"reading {topic}", bootstrap_servers)

    client = start_consumer(bootstrap_servers, properties, **own)
    ends = Ends(client)
    try:
        client.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
        open_ends = set(starts)
        while open_ends or followed():
            first = client.poll(0.1)
            if watch.is_lost:
                raise lost(bootstrap_servers)
            messages = [] if first is None else [first, *client.consume(9_999, 0)]
            for batch in [*ends.overdue(), *batches(messages, ends, fail)]:
                if batch.at_end:
                    open_ends.discard(batch.partition[1])
                if batch.frame.height:
                    yield batch
    except KafkaException as error:
        raise translate(error.args[0], f"reading {topic}", bootstrap_servers) from error
    finally:
        client.close()


class Tail:
    """Follows partitions in no group, for who wants values by topic and no offsets (committed ones only).

    Attributes
    ----------
    open_ends
        The partitions whose end has not been reached yet.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._starts: dict[Partition, int] = {}
        self.open_ends: set[Partition] = set()
        self._watch = BrokerWatch()
        own = {
            **_READING,
            "group.id": "tickerlake-reader",
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 16_384,
            **self._watch.settings,
        }
        self._client = start_consumer(bootstrap_servers, properties, **own)

    def follow(self, starts: Mapping[Partition, int]) -> None:
        """Follow more partitions, from the given offsets on."""
        self._client.incremental_assign([TopicPartition(*place, start) for place, start in starts.items()])
        self._starts |= starts
        self.open_ends |= set(starts)

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Earliest retained and next offset of a partition."""
        return watermarks(self._client, self.bootstrap_servers, *partition)

    def offset_at(self, partition: Partition, timestamp_ms: int) -> int:
        """Return the offset of the first message that Kafka took at a time or later; -1 if there is none."""
        try:
            (found,) = self._client.offsets_for_times(
                [TopicPartition(*partition, timestamp_ms)], timeout=10.0
            )
        except KafkaException as error:
            raise translate(error.args[0], "reading offsets", self.bootstrap_servers) from error
        return int(found.offset)

    def take(self, wait_s: float, most: int = 10_000) -> dict[str, list[bytes | None]]:
        """Gather messages for some time, or until there are so many; return their values by topic.

        Raises
        ------
        TickerlakeError
            What librdkafka reports, such as a topic that was deleted.
        """
        values: dict[str, list[bytes | None]] = {}
        messages = self._client.consume(most, wait_s)
        if self._watch.is_lost:
            raise lost(self.bootstrap_servers)
        for message in messages:
            topic = message.topic() or ""
            if (error := message.error()) is None:
                if topic not in values:
                    values[topic] = []
                values[topic].append(message.value())
            elif error.code() == RdError._PARTITION_EOF:
                self.open_ends.discard((topic, int(message.partition() or 0)))
            else:
                raise translate(error, f"reading {topic}", self.bootstrap_servers)
        return values

    def positions(self) -> dict[Partition, int]:
        """Return the offsets that will be read next, by partition."""
        at = self._client.position([TopicPartition(*place) for place in self._starts])
        return {
            (place.topic, place.partition): max(place.offset, self._starts[place.topic, place.partition])
            for place in at
        }

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
