"""A simulated Kafka in memory, driven by a script of events: for property tests of `track`."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import polars as pl

from tickerlake.errors import BrokerUnreachable, Rebalanced
from tickerlake.kafka.admin import Topic
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset
from tickerlake.kafka.reader import RecordBatch
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA
from tickerlake.pipeline.partition_state import ClockClose, CommitMetadata

Event = tuple[Any, ...]
Log = list[tuple[int, int, bytes]]
"""Offset, timestamp in milliseconds, and value."""


class Killed(BaseException):
    """The process was killed: none of its code continues."""


@dataclass
class SimCluster:
    """What outlives a worker: the broker and the clock.

    Parameters
    ----------
    logs
        The records of the topic, by partition.
    script
        The event of each poll.
    stop
        Called at the end of the script.
    """

    logs: dict[int, Log]
    script: Iterator[Event]
    stop: Callable[[], None]
    now_s: float
    low_watermarks: dict[int, int] = field(default_factory=dict)
    high_watermarks: dict[int, int] = field(default_factory=dict)
    committed: dict[int, CommittedOffset] = field(default_factory=dict)
    published: dict[tuple[str, bytes | None], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    idle_closes: dict[int, dict[ClockClose, None]] = field(default_factory=lambda: defaultdict(dict))
    commit_fault: str = ""
    is_killed: bool = False
    defers_writes: bool = False

    def kill(self) -> None:
        """Kill the process: none of its effects is visible from now on."""
        self.is_killed = True
        raise Killed

    def high_watermark(self, partition: int) -> int:
        """Return how many records of a partition have been produced."""
        return self.high_watermarks.get(partition, 0)


class SimConsumer:
    """Replaces `kafka.consumer.Consumer`."""

    def __init__(
        self,
        cluster: SimCluster,
        on_assign: Callable[[Partition, CommittedOffset | None], int],
        on_revoke: Callable[[Partition], None],
    ) -> None:
        self.assignments = 0
        self.blocked_partitions: set[Partition] = set()
        self._cluster, self._on_assign, self._on_revoke = cluster, on_assign, on_revoke
        self._positions: dict[int, int] = {}
        self._topic = ""

    def subscribe(self, topics: list[str]) -> None:
        (self._topic,) = topics

    def poll(self, timeout_s: float, max_records: int) -> Iterator[RecordBatch]:
        del timeout_s
        if not self.assignments:
            for number in self._cluster.logs:
                self._assign(number)
            self.assignments += 1
            return
        event = next(self._cluster.script, None)
        if event is None:
            self._cluster.stop()
            return
        match event:
            case ("read", counts):
                for number, count in enumerate(counts):
                    if number in self._positions:
                        yield self._batch(number, min(count, max_records))
            case ("grow", number, count):
                end = min(len(self._cluster.logs[number]), self._cluster.high_watermark(number) + count)
                self._cluster.high_watermarks[number] = end
            case ("wait", seconds):
                self._cluster.now_s += seconds
            case ("move", number):
                if number in self._positions:
                    del self._positions[number]
                    self._on_revoke((self._topic, number))
                else:
                    self._assign(number)
            case ("fail", when):
                self._cluster.commit_fault = when
            case ("kill",):
                self._cluster.kill()
            case ("stop",):
                self._cluster.stop()

    def _assign(self, number: int) -> None:
        committed = self._cluster.committed.get(number)
        self._positions[number] = self._on_assign((self._topic, number), committed)

    def _batch(self, number: int, count: int) -> RecordBatch:
        log, start = self._cluster.logs[number], self._positions[number]
        start = max(start, self._cluster.low_watermarks.get(number, 0))
        available = [record for record in log[: self._cluster.high_watermark(number)] if record[0] >= start]
        fetched = available[:count]
        if fetched:
            self._positions[number] = fetched[-1][0] + 1
        rows = [(offset, ms, None, value, None) for offset, ms, value in fetched]
        frame = pl.DataFrame(rows, schema=KAFKA_RECORD_SCHEMA, orient="row")
        return RecordBatch((self._topic, number), frame, len(fetched) == len(available))

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        log = self._cluster.logs[partition[1]][: self._cluster.high_watermark(partition[1])]
        return self._cluster.low_watermarks.get(partition[1], 0), log[-1][0] + 1 if log else 0

    def cached_high_watermark(self, partition: Partition) -> int:
        return self.watermarks(partition)[1]

    def group_metadata(self) -> None:
        return

    def close(self) -> None:
        for number in [] if self._cluster.is_killed else list(self._positions):
            del self._positions[number]
            self._on_revoke((self._topic, number))


class SimProducer:
    """Replaces `kafka.producer.Producer`; a commit can fail, and requests and replies can be lost."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self.begin()

    def begin(self) -> None:
        self._records: list[tuple[str, bytes | None, bytes]] = []
        self._offsets: Mapping[Partition, tuple[int, str]] = {}

    def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes]) -> None:
        self._records += [(topic, key, bytes(value)) for key, value in zip(keys, values, strict=True)]

    def send_offsets(self, positions: Mapping[Partition, tuple[int, str]], group_metadata: None) -> None:
        del group_metadata
        self._offsets = positions

    def commit(self) -> None:
        fault, self._cluster.commit_fault = self._cluster.commit_fault, ""
        if fault == "before":
            raise Rebalanced("no longer assigned")
        if fault == "kill before":
            self._cluster.kill()
        for topic, key, value in self._records:
            self._cluster.published[topic, key].append(value)
        for (_, number), (offset, encoded) in self._offsets.items():
            self._cluster.committed[number] = CommittedOffset(offset, encoded)
            metadata = msgspec.json.decode(encoded, type=CommitMetadata)
            self._cluster.idle_closes[number] |= dict.fromkeys(metadata.clock_closes)
        if fault == "after":
            raise BrokerUnreachable("the reply was lost")
        if fault == "kill after":
            self._cluster.kill()


class SimPool:
    """Replaces the thread that writes: a write runs at once, or when its result is requested."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._pending: list[tuple[Future[None], Callable[[], None]]] = []

    def submit(self, write: Callable[..., None], *arguments: Any) -> Future[None]:
        future = SimFuture(self.shutdown)
        self._pending.append((future, partial(write, *arguments)))
        if not self._cluster.defers_writes:
            self.shutdown()
        return future

    def shutdown(self) -> None:
        pending, self._pending = self._pending, []
        for future, write in [] if self._cluster.is_killed else pending:
            try:
                future.set_result(write())
            except BaseException as error:
                future.set_exception(error)


class SimFuture(Future[None]):
    """Runs its write when its result is requested."""

    def __init__(self, finish: Callable[[], None]) -> None:
        super().__init__()
        self._finish = finish

    def result(self, timeout: float | None = None) -> None:
        self._finish()
        super().result(timeout)


class SimAdmin:
    """Replaces `kafka.admin.Admin`."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster

    def require_topic(self, topic: str) -> Topic:
        return Topic(topic, "id", "cluster", len(self._cluster.logs))

    def describe_topic(self, topic: str) -> Topic:
        return self.require_topic(topic)
