"""Kafka → lake, exactly once. The only place that commits offsets.

One thread polls; segments are encoded and stored by a few others, at most one at a time for each
partition. The order is always: store the segment, then commit the offset as a hint.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from tickerlake import clock, failpoints
from tickerlake.errors import BrokerUnreachable, LakeError
from tickerlake.kafka.admin import Admin, Topic
from tickerlake.kafka.client import PATIENCE_S
from tickerlake.kafka.consumer import Batch, Committed, Consumer, Partition
from tickerlake.lake.segment import Format, Stored, TopicMeta, check_topic
from tickerlake.lake.store.base import Store
from tickerlake.lake.writer import Writer, check_same, open_topic, open_writer

_POLL_S = 0.05
_RECHECK_S = 5.0
_ROOM_S = 2.0
_AGAIN_S = 0.2
_STORING = 2  # segments encoded at once
_OBJECT_UPLOADS = 128  # in flight at once with one object a record: its rate is this over the latency
_OBJECTS_AT_ONCE = 4_000


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """When a segment is cut, and what happens at a gap.

    A segment is stored when its records reach ``flush_bytes`` (of values) or ``flush_records``, or
    the oldest is ``flush_age_s`` old; with the format ``json`` each record is stored as soon as it is read.
    At most ``buffer_bytes`` are in memory, waiting or being stored: then the largest segment that waits is
    cut early, and reading pauses until there is room.
    """

    format: Format = "ndjson"
    flush_bytes: int = 8 << 20
    flush_records: int = 200_000
    flush_age_s: float = 10.0
    buffer_bytes: int = 32 << 20
    on_gap: Literal["stop", "record"] = "stop"


@dataclass(slots=True)
class SinkProgress:
    """Running totals of one worker.

    ``lag`` is what its partitions hold and the lake does not yet; ``unfinished`` are partitions of which the
    end is hidden by a transaction that is not finished.
    """

    records: int = 0
    rejects: int = 0
    segments: int = 0
    adopted: int = 0
    bytes: int = 0
    lag: int = 0
    unfinished: int = 0
    partitions: dict[Partition, int] = field(default_factory=dict)


class _Lane:
    """Records of one partition on their way to one writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.frames: list[pl.DataFrame] = []
        self.records = 0
        self.bytes = 0
        self.born_s = 0.0
        self.at_end = False
        self.flying: pl.DataFrame | None = None
        self.future: Future[Stored] | None = None

    @property
    def idle(self) -> bool:
        return self.future is None and not self.frames

    @property
    def held(self) -> int:
        """Bytes waiting and being stored."""
        return self.bytes + (0 if self.flying is None else _size(self.flying))

    def add(self, frame: pl.DataFrame) -> None:
        if frame.height and frame.item(0, "offset") < self.writer.position:
            frame = frame.filter(pl.col("offset") >= self.writer.position)
        if frame.height:
            if not self.frames:
                self.born_s = clock.monotonic_s()
            self.frames.append(frame)
            self.records += frame.height
            self.bytes += _size(frame)

    def due(self, options: SinkOptions, now_s: float) -> bool:
        return bool(self.frames) and (
            self.bytes >= options.flush_bytes
            or self.records >= options.flush_records
            or now_s - self.born_s >= options.flush_age_s
        )

    def take(self, options: SinkOptions) -> pl.DataFrame:
        records = size = count = 0
        for frame in self.frames:
            records, size, count = records + frame.height, size + _size(frame), count + 1
            if records >= options.flush_records or size >= options.flush_bytes:
                break
        taken = pl.concat(self.frames[:count]).head(options.flush_records)
        self._reset([self.frames[count - 1].tail(records - taken.height), *self.frames[count:]])
        self.flying = taken
        return taken

    def landed(self, stored: Stored) -> None:
        """Drop what the stored segment covers; what an adopted one does not cover waits again."""
        assert self.flying is not None
        self.future = None
        waiting = [self.flying, *self.frames]
        self.flying = None
        end = stored.next_position
        self._reset([frame.filter(pl.col("offset") >= end) for frame in waiting])

    def _reset(self, frames: list[pl.DataFrame]) -> None:
        self.frames = [frame for frame in frames if frame.height]
        self.records = sum(frame.height for frame in self.frames)
        self.bytes = sum(map(_size, self.frames))


def _size(frame: pl.DataFrame) -> int:
    # the fixed part stands for offset, timestamp, key and the views that point to them
    return int(frame.get_column("value").bin.size().sum() or 0) + 64 * frame.height


class Sink:
    """One sink worker; any number may share the group and the topics.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topics
        What to store.
    store
        Where the lake is.
    group
        Consumer group that shares the partitions.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topics: list[str],
        store: Store,
        group: str,
        options: SinkOptions | None = None,
        properties: dict[str, str] | None = None,
    ) -> None:
        self.options = options or SinkOptions()
        self._uploads: ThreadPoolExecutor | None = None
        if self.options.format == "json":
            # objects of one record gain nothing by waiting for others
            self.options = replace(self.options, flush_records=_OBJECTS_AT_ONCE, flush_age_s=0)
            self._uploads = ThreadPoolExecutor(_OBJECT_UPLOADS, thread_name_prefix="object")
        self.store = store
        self.topics = [check_topic(topic) for topic in topics]
        self.progress = SinkProgress()
        self._admin = Admin(bootstrap_servers, properties)
        self._chains: dict[str, TopicMeta] = {}
        self._lanes: dict[Partition, _Lane] = {}
        self._left: list[Future[Stored]] = []
        self._paused = False
        self._failure: Exception | None = None
        self._ending = False
        self._checked_s = 0.0
        self._answered_s = 0.0
        self._pool = ThreadPoolExecutor(_STORING, thread_name_prefix="segment")
        self._consumer = Consumer(bootstrap_servers, group, properties or {}, self._open, self._drop)

    def run(
        self,
        stop: threading.Event,
        *,
        until_end: bool = False,
        on_progress: Callable[[SinkProgress], None] | None = None,
    ) -> SinkProgress:
        """Store records until ``stop`` is set or, with ``until_end``, until all that is there is stored.

        On ``stop`` what has been read is stored before returning.

        Raises
        ------
        LakeError
            The topic is not the one in the lake, or records were deleted before they were stored.
        StoreUnavailable
            The store gave no answer within its budget; nothing is lost, run again.
        """
        self.open()
        try:
            while not stop.is_set():
                self.step(until_end=until_end)
                if on_progress:
                    self.progress.lag = sum(map(self._lag, self._lanes))
                    on_progress(self.progress)
                if until_end and self._all_read() and self._idle():
                    break
            self._ending = True
            while not self._idle():
                self._flush(everything=True, last=True)
            self.progress.unfinished = len(self._consumer.unfinished)
        finally:
            self.close()
        if on_progress:
            on_progress(self.progress)
        return self.progress

    def open(self) -> None:
        """Open the chains and join the group."""
        for topic in self.topics:
            self._chains[topic] = self._open_chain(topic)
        self._checked_s = self._answered_s = clock.monotonic_s()
        self._consumer.subscribe(self.topics)

    def step(self, *, until_end: bool = False) -> None:
        """Take what there is to be read, and store what is due; `run` is this again and again."""
        try:
            for batch in self._consumer.poll(_POLL_S):
                self._take(batch)
        except LakeError:
            self._check_topics()  # a missing offset may be one of another topic: that is said first
            raise
        self._flush(everything=until_end and self._all_read())
        if clock.monotonic_s() - self._checked_s > _RECHECK_S:
            self._check_topics()

    def close(self) -> None:
        """Leave the group, when what is being stored is stored or has failed."""
        self._consumer.close()
        self._pool.shutdown()
        if self._uploads:
            self._uploads.shutdown(wait=False, cancel_futures=True)

    def _idle(self) -> bool:
        return not self._left and all(lane.idle for lane in self._lanes.values())

    def _open_chain(self, topic: str) -> TopicMeta:
        about = self._admin.require(topic)
        known = self._chains.get(topic)
        firsts = known.first_positions if known else self._first_positions(about)
        wanted = TopicMeta(
            topic,
            about.topic_id,
            about.cluster_id,
            self.options.format,
            firsts,
            clock.now_ns() // 1_000_000,
        )
        # a recheck compares with what is known: it costs the store nothing
        return check_same(known, wanted, self.store.uri) if known else open_topic(self.store, wanted)

    def _check_topics(self) -> None:
        try:
            for topic in self.topics:
                self._open_chain(topic)
        except BrokerUnreachable:
            if clock.monotonic_s() - self._answered_s > PATIENCE_S:
                raise
        else:
            self._answered_s = clock.monotonic_s()
        self._checked_s = clock.monotonic_s()

    def _first_positions(self, topic: Topic) -> dict[str, int]:
        return {str(number): low for number, (low, _) in sorted(self._admin.watermarks(topic).items())}

    def _open(self, partition: Partition, committed: Committed | None) -> int:
        topic, number = partition
        hint = (int(committed.note), committed.offset) if committed and committed.note.isdigit() else None
        writer = open_writer(self.store, self._chains[topic], number, hint, self._uploads)
        low, high = self._consumer.watermarks(partition)
        if low > writer.position:
            if self.options.on_gap == "stop":
                raise LakeError(
                    f"Kafka deleted the offsets {writer.position} to {low - 1} of {topic} partition {number} "
                    "before they could be stored.",
                    "Lengthen the topic's retention. "
                    "`--on-gap record` notes the loss in the lake and goes on.",
                )
            writer.put_gap(low)
        if writer.position > high:
            raise LakeError(
                f"The lake holds {topic} partition {number} up to offset {writer.position - 1}, "
                f"but Kafka's log ends at {high}.",
                "The broker lost its log. Store what comes from now on in another lake (--lake).",
            )
        self._lanes[partition] = _Lane(writer)
        self.progress.partitions[partition] = writer.position
        return writer.position

    def _drop(self, partition: Partition) -> None:
        # what is buffered is read again by the next owner; an upload in flight is harmless: it is
        # create-only, and whoever comes second adopts it
        lane = self._lanes.pop(partition, None)
        if lane and lane.future:
            self._left.append(lane.future)

    def _take(self, batch: Batch) -> None:
        lane = self._lanes.get(batch.partition)
        if lane is not None:
            failpoints.reach("sink.read")
            lane.add(batch.frame)
            lane.at_end = batch.at_end

    def _all_read(self) -> bool:
        return self._consumer.assignments > 0 and all(lane.at_end for lane in self._lanes.values())

    def _lag(self, partition: Partition) -> int:
        lane = self._lanes[partition]
        # the end of a transaction is an offset without a record: nothing is left to be stored there
        if lane.at_end and lane.idle:
            return 0
        return max(0, self._consumer.known_end(partition) - self.progress.partitions[partition])

    def _flush(self, *, everything: bool, last: bool = False) -> None:
        now_s = clock.monotonic_s()
        for partition, lane in self._lanes.items():
            if lane.future is not None and (last or lane.future.done()):
                self._landed(partition, lane, lane.future.result())
            if lane.future is None and (lane.due(self.options, now_s) or (everything and lane.frames)):
                self._store(partition, lane)
        for future in [each for each in self._left if last or each.done()]:
            self._left.remove(future)
            self._count(future.result())
        self._limit_memory()

    def _store(self, partition: Partition, lane: _Lane) -> None:
        taken = lane.take(self.options)
        failpoints.reach("sink.cut")
        lane.future = self._pool.submit(self._put, partition[0], lane.writer, taken)

    def _put(self, topic: str, writer: Writer, taken: pl.DataFrame) -> Stored:
        try:
            self._check_topic(topic)
            return writer.put(taken)
        except Exception as error:
            self._failure = error
            raise

    def _check_topic(self, topic: str) -> None:
        """See that records which were read are of the topic in the lake, not of one of its name made anew."""
        until_s = clock.monotonic_s() + PATIENCE_S
        while True:
            # one failure ends the sink: what waited for a thread meanwhile might take as long to fail
            if self._failure:
                raise self._failure
            try:
                self._open_chain(topic)
            except BrokerUnreachable:
                if self._ending or clock.monotonic_s() > until_s:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    def _landed(self, partition: Partition, lane: _Lane, stored: Stored) -> None:
        lane.landed(stored)
        failpoints.reach("sink.landed")
        self._consumer.commit(partition, stored.next_position, str(stored.position))
        failpoints.reach("sink.committed")
        self.progress.partitions[partition] = stored.next_position
        self._count(stored)

    def _count(self, stored: Stored) -> None:
        totals = self.progress
        totals.segments += stored.objects
        totals.adopted += stored.adopted
        totals.records += stored.records
        totals.rejects += stored.rejects
        totals.bytes += stored.bytes

    def _limit_memory(self) -> None:
        held = sum(lane.held for lane in self._lanes.values())
        if held > self.options.buffer_bytes and not self._paused:
            ready = [item for item in self._lanes.items() if item[1].future is None and item[1].frames]
            if ready and sum(lane.future is not None for lane in self._lanes.values()) < _STORING:
                self._store(*max(ready, key=lambda item: item[1].bytes))
            flying = [lane.future for lane in self._lanes.values() if lane.future is not None]
            # pausing makes the client drop what it has fetched: wait a while for room first
            if flying and wait(flying, _ROOM_S, FIRST_COMPLETED).done:
                return
            self._consumer.pause(list(self._lanes))
            self._paused = True
        elif self._paused and held <= self.options.buffer_bytes // 2:
            self._consumer.resume(list(self._lanes))
            self._paused = False
