"""A Kafka in memory, in which a script says what happens next: for tracking, thousands of times."""

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
from tickerlake.kafka.consumer import Batch, Committed, Partition
from tickerlake.model.schema import KAFKA_RECORDS
from tickerlake.pipeline.track import Moment, Note

Event = tuple[Any, ...]
Log = list[tuple[int, int, bytes]]
"""Offset, milliseconds and value."""


class Killed(BaseException):
    """The process is gone: nothing of it runs on."""


@dataclass
class Cluster:
    """What outlives a worker, and the time.

    Parameters
    ----------
    logs
        The records of the topic, by partition.
    script
        What happens at each poll, until it is used up.
    stop
        Called at the end of the script.
    """

    logs: dict[int, Log]
    script: Iterator[Event]
    stop: Callable[[], None]
    now_s: float
    low: dict[int, int] = field(default_factory=dict)
    high: dict[int, int] = field(default_factory=dict)
    committed: dict[int, Committed] = field(default_factory=dict)
    written: dict[tuple[str, bytes | None], list[bytes]] = field(default_factory=lambda: defaultdict(list))
    moments: dict[int, dict[Moment, None]] = field(default_factory=lambda: defaultdict(dict))
    failing: str = ""
    is_killed: bool = False
    is_slow: bool = False

    def kill(self) -> None:
        """End the process, as far as it can be seen."""
        self.is_killed = True
        raise Killed

    def ends(self, partition: int) -> int:
        """Return how much of a partition there is yet."""
        return self.high.get(partition, 0)


class SimConsumer:
    """Stands for `kafka.consumer.Consumer`."""

    def __init__(
        self,
        cluster: Cluster,
        on_assign: Callable[[Partition, Committed | None], int],
        on_revoke: Callable[[Partition], None],
    ) -> None:
        self.assignments = 0
        self.unfinished: set[Partition] = set()
        self._cluster, self._on_assign, self._on_revoke = cluster, on_assign, on_revoke
        self._positions: dict[int, int] = {}
        self._topic = ""

    def subscribe(self, topics: list[str]) -> None:
        (self._topic,) = topics

    def poll(self, timeout_s: float, most: int) -> Iterator[Batch]:
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
                        yield self._batch(number, min(count, most))
            case ("grow", number, count):
                end = min(len(self._cluster.logs[number]), self._cluster.ends(number) + count)
                self._cluster.high[number] = end
            case ("wait", seconds):
                self._cluster.now_s += seconds
            case ("move", number):
                if number in self._positions:
                    del self._positions[number]
                    self._on_revoke((self._topic, number))
                else:
                    self._assign(number)
            case ("fail", when):
                self._cluster.failing = when
            case ("kill",):
                self._cluster.kill()
            case ("stop",):
                self._cluster.stop()

    def _assign(self, number: int) -> None:
        committed = self._cluster.committed.get(number)
        self._positions[number] = self._on_assign((self._topic, number), committed)

    def _batch(self, number: int, count: int) -> Batch:
        log, start = self._cluster.logs[number], self._positions[number]
        start = max(start, self._cluster.low.get(number, 0))
        there = [record for record in log[: self._cluster.ends(number)] if record[0] >= start]
        found = there[:count]
        if found:
            self._positions[number] = found[-1][0] + 1
        rows = [(offset, ms, None, value) for offset, ms, value in found]
        frame = pl.DataFrame(rows, schema=KAFKA_RECORDS, orient="row")
        return Batch((self._topic, number), frame, len(found) == len(there))

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        log = self._cluster.logs[partition[1]][: self._cluster.ends(partition[1])]
        return self._cluster.low.get(partition[1], 0), log[-1][0] + 1 if log else 0

    def known_end(self, partition: Partition) -> int:
        return self.watermarks(partition)[1]

    def group_metadata(self) -> None:
        return

    def close(self) -> None:
        for number in [] if self._cluster.is_killed else list(self._positions):
            del self._positions[number]
            self._on_revoke((self._topic, number))


class SimProducer:
    """Stands for `kafka.producer.Producer`; a commit may fail, or be lost, or its reply be."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.begin()

    def begin(self) -> None:
        self._records: list[tuple[str, bytes | None, bytes]] = []
        self._offsets: Mapping[Partition, tuple[int, str]] = {}

    def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes]) -> None:
        self._records += [(topic, key, bytes(value)) for key, value in zip(keys, values, strict=True)]

    def send_offsets(self, positions: Mapping[Partition, tuple[int, str]], member: None) -> None:
        del member
        self._offsets = positions

    def commit(self) -> None:
        when, self._cluster.failing = self._cluster.failing, ""
        if when == "before":
            raise Rebalanced("no longer ours")
        if when == "kill before":
            self._cluster.kill()
        for topic, key, value in self._records:
            self._cluster.written[topic, key].append(value)
        for (_, number), (offset, note) in self._offsets.items():
            self._cluster.committed[number] = Committed(offset, note)
            known = msgspec.json.decode(note, type=Note)
            self._cluster.moments[number] |= dict.fromkeys(known.idle)
        if when == "after":
            raise BrokerUnreachable("the reply was lost")
        if when == "kill after":
            self._cluster.kill()


class SimPool:
    """Stands for the thread that writes: it is done at once, or only when it is waited for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._waiting: list[tuple[Future[None], Callable[[], None]]] = []

    def submit(self, write: Callable[..., None], *given: Any) -> Future[None]:
        future = SimFuture(self.shutdown)
        self._waiting.append((future, partial(write, *given)))
        if not self._cluster.is_slow:
            self.shutdown()
        return future

    def shutdown(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future, write in [] if self._cluster.is_killed else waiting:
            try:
                future.set_result(write())
            except BaseException as error:
                future.set_exception(error)


class SimFuture(Future[None]):
    """Is done when it is asked for its result."""

    def __init__(self, finish: Callable[[], None]) -> None:
        super().__init__()
        self._finish = finish

    def result(self, timeout: float | None = None) -> None:
        self._finish()
        super().result(timeout)


class SimAdmin:
    """Stands for `kafka.admin.Admin`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def require(self, topic: str) -> Topic:
        return Topic(topic, "id", "cluster", len(self._cluster.logs))

    def describe(self, topic: str) -> Topic:
        return self.require(topic)
