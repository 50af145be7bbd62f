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
from tickerlake.kafka.client import BROKER_GRACE_S, Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer
from tickerlake.kafka.reader import RecordBatch
from tickerlake.lake.segment import StoreResult
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import Format, TopicMeta, check_same_topic, check_topic, open_topic
from tickerlake.lake.writer import Writer, open_writer

_POLL_TIMEOUT_S = 0.05
_TOPIC_CHECK_INTERVAL_S = 5.0
_MEMORY_WAIT_S = 2.0
_RETRY_DELAY_S = 0.2
_MAX_SEGMENTS_IN_FLIGHT = 2  # segments encoded at once
_MAX_OBJECT_UPLOADS = 128  # in flight at once with one object a record: its rate is this over the latency
_OBJECT_BATCH_RECORDS = 4_000


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
    blocked_partitions: int = 0
    partitions: dict[Partition, int] = field(default_factory=dict)


class _PartitionBuffer:
    """Records of one partition on their way to one writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.frames: list[pl.DataFrame] = []
        self.records = 0
        self.bytes = 0
        self.oldest_s = 0.0
        self.at_end = False
        self.in_flight: pl.DataFrame | None = None
        self.future: Future[StoreResult] | None = None

    @property
    def is_idle(self) -> bool:
        return self.future is None and not self.frames

    @property
    def held_bytes(self) -> int:
        """Bytes waiting and being stored."""
        return self.bytes + (0 if self.in_flight is None else _frame_bytes(self.in_flight))

    def add(self, frame: pl.DataFrame) -> None:
        if frame.height and frame.item(0, "offset") < self.writer.position:
            frame = frame.filter(pl.col("offset") >= self.writer.position)
        if frame.height:
            if not self.frames:
                self.oldest_s = clock.monotonic_s()
            self.frames.append(frame)
            self.records += frame.height
            self.bytes += _frame_bytes(frame)

    def is_due(self, options: SinkOptions, now_s: float) -> bool:
        return bool(self.frames) and (
            self.bytes >= options.flush_bytes
            or self.records >= options.flush_records
            or now_s - self.oldest_s >= options.flush_age_s
        )

    def cut_segment(self, options: SinkOptions) -> pl.DataFrame:
        records = size = count = 0
        for frame in self.frames:
            records, size, count = records + frame.height, size + _frame_bytes(frame), count + 1
            if records >= options.flush_records or size >= options.flush_bytes:
                break
        segment = pl.concat(self.frames[:count]).head(options.flush_records)
        self._reset([self.frames[count - 1].tail(records - segment.height), *self.frames[count:]])
        self.in_flight = segment
        return segment

    def on_stored(self, stored: StoreResult) -> None:
        """Drop what the stored segment covers; what an adopted one does not cover waits again."""
        assert self.in_flight is not None
        self.future = None
        pending = [self.in_flight, *self.frames]
        self.in_flight = None
        end = stored.next_position
        self._reset([frame.filter(pl.col("offset") >= end) for frame in pending])

    def _reset(self, frames: list[pl.DataFrame]) -> None:
        self.frames = [frame for frame in frames if frame.height]
        self.records = sum(frame.height for frame in self.frames)
        self.bytes = sum(map(_frame_bytes, self.frames))


def _frame_bytes(frame: pl.DataFrame) -> int:
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
            self.options = replace(self.options, flush_records=_OBJECT_BATCH_RECORDS, flush_age_s=0)
            self._uploads = ThreadPoolExecutor(_MAX_OBJECT_UPLOADS, thread_name_prefix="object")
        self.store = store
        self.topics = [check_topic(topic) for topic in topics]
        self.progress = SinkProgress()
        self._admin = Admin(bootstrap_servers, properties)
        self._chains: dict[str, TopicMeta] = {}
        self._buffers: dict[Partition, _PartitionBuffer] = {}
        self._revoked_uploads: list[Future[StoreResult]] = []
        self._paused = False
        self._failure: Exception | None = None
        self._is_stopping = False
        self._last_check_s = 0.0
        self._last_answer_s = 0.0
        self._pool = ThreadPoolExecutor(_MAX_SEGMENTS_IN_FLIGHT, thread_name_prefix="segment")
        self._consumer = Consumer(
            bootstrap_servers, group, properties or {}, self._open_partition, self._release_partition
        )

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
                    self.progress.lag = sum(map(self._lag, self._buffers))
                    on_progress(self.progress)
                if until_end and self._has_read_all() and self._is_idle():
                    break
            self._is_stopping = True
            while not self._is_idle():
                self._flush(flush_all=True, wait_for_all=True)
            self.progress.blocked_partitions = len(self._consumer.blocked_partitions)
        finally:
            self.close()
        if on_progress:
            on_progress(self.progress)
        return self.progress

    def open(self) -> None:
        """Open the chains and join the group."""
        for topic in self.topics:
            self._chains[topic] = self._open_chain(topic)
        self._last_check_s = self._last_answer_s = clock.monotonic_s()
        self._consumer.subscribe(self.topics)

    def step(self, *, until_end: bool = False) -> None:
        """Take what there is to be read, and store what is due; `run` is this again and again."""
        try:
            for batch in self._consumer.poll(_POLL_TIMEOUT_S):
                self._buffer_batch(batch)
        except LakeError:
            self._check_topics()  # a missing offset may be one of another topic: that is said first
            raise
        self._flush(flush_all=until_end and self._has_read_all())
        if clock.monotonic_s() - self._last_check_s > _TOPIC_CHECK_INTERVAL_S:
            self._check_topics()

    def close(self) -> None:
        """Leave the group, when what is being stored is stored or has failed."""
        self._consumer.close()
        self._pool.shutdown()
        if self._uploads:
            self._uploads.shutdown(wait=False, cancel_futures=True)

    def _is_idle(self) -> bool:
        return not self._revoked_uploads and all(buffer.is_idle for buffer in self._buffers.values())

    def _open_chain(self, topic: str) -> TopicMeta:
        description = self._admin.require_topic(topic)
        cached = self._chains.get(topic)
        first_positions = cached.first_positions if cached else self._first_positions(description)
        expected = TopicMeta(
            topic,
            description.topic_id,
            description.cluster_id,
            self.options.format,
            first_positions,
            clock.now_ns() // 1_000_000,
        )
        # a recheck compares with what is known: it costs the store nothing
        return (
            check_same_topic(cached, expected, self.store.uri) if cached else open_topic(self.store, expected)
        )

    def _check_topics(self) -> None:
        try:
            for topic in self.topics:
                self._open_chain(topic)
        except BrokerUnreachable:
            if clock.monotonic_s() - self._last_answer_s > BROKER_GRACE_S:
                raise
        else:
            self._last_answer_s = clock.monotonic_s()
        self._last_check_s = clock.monotonic_s()

    def _first_positions(self, topic: Topic) -> dict[str, int]:
        return {str(number): low for number, (low, _) in sorted(self._admin.watermarks(topic).items())}

    def _open_partition(self, partition: Partition, committed: CommittedOffset | None) -> int:
        topic, number = partition
        hint = (
            (int(committed.metadata), committed.offset)
            if committed and committed.metadata.isdigit()
            else None
        )
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
        self._buffers[partition] = _PartitionBuffer(writer)
        self.progress.partitions[partition] = writer.position
        return writer.position

    def _release_partition(self, partition: Partition) -> None:
        # what is buffered is read again by the next owner; an upload in flight is harmless: it is
        # create-only, and whoever comes second adopts it
        buffer = self._buffers.pop(partition, None)
        if buffer and buffer.future:
            self._revoked_uploads.append(buffer.future)

    def _buffer_batch(self, batch: RecordBatch) -> None:
        buffer = self._buffers.get(batch.partition)
        if buffer is not None:
            failpoints.reach("sink.read")
            buffer.add(batch.frame)
            buffer.at_end = batch.at_end

    def _has_read_all(self) -> bool:
        return self._consumer.assignments > 0 and all(buffer.at_end for buffer in self._buffers.values())

    def _lag(self, partition: Partition) -> int:
        buffer = self._buffers[partition]
        # the end of a transaction is an offset without a record: nothing is left to be stored there
        if buffer.at_end and buffer.is_idle:
            return 0
        return max(0, self._consumer.cached_high_watermark(partition) - self.progress.partitions[partition])

    def _flush(self, *, flush_all: bool, wait_for_all: bool = False) -> None:
        now_s = clock.monotonic_s()
        for partition, buffer in self._buffers.items():
            if buffer.future is not None and (wait_for_all or buffer.future.done()):
                self._on_stored(partition, buffer, buffer.future.result())
            if buffer.future is None and (
                buffer.is_due(self.options, now_s) or (flush_all and buffer.frames)
            ):
                self._start_store(partition, buffer)
        for future in [each for each in self._revoked_uploads if wait_for_all or each.done()]:
            self._revoked_uploads.remove(future)
            self._add_to_totals(future.result())
        self._limit_memory()

    def _start_store(self, partition: Partition, buffer: _PartitionBuffer) -> None:
        segment = buffer.cut_segment(self.options)
        failpoints.reach("sink.segment_cut")
        buffer.future = self._pool.submit(self._store_segment, partition[0], buffer.writer, segment)

    def _store_segment(self, topic: str, writer: Writer, segment: pl.DataFrame) -> StoreResult:
        try:
            self._check_topic(topic)
            return writer.put(segment)
        except Exception as error:
            self._failure = error
            raise

    def _check_topic(self, topic: str) -> None:
        """See that records which were read are of the topic in the lake, not of one of its name made anew."""
        deadline_s = clock.monotonic_s() + BROKER_GRACE_S
        while True:
            # one failure ends the sink: what waited for a thread meanwhile might take as long to fail
            if self._failure:
                raise self._failure
            try:
                self._open_chain(topic)
            except BrokerUnreachable:
                if self._is_stopping or clock.monotonic_s() > deadline_s:
                    raise
                time.sleep(_RETRY_DELAY_S)
            else:
                return

    def _on_stored(self, partition: Partition, buffer: _PartitionBuffer, stored: StoreResult) -> None:
        buffer.on_stored(stored)
        failpoints.reach("sink.stored")
        self._consumer.commit(partition, stored.next_position, str(stored.position))
        failpoints.reach("sink.committed")
        self.progress.partitions[partition] = stored.next_position
        self._add_to_totals(stored)

    def _add_to_totals(self, stored: StoreResult) -> None:
        totals = self.progress
        totals.segments += stored.objects
        totals.adopted += stored.adopted
        totals.records += stored.records
        totals.rejects += stored.rejects
        totals.bytes += stored.bytes

    def _limit_memory(self) -> None:
        held_bytes = sum(buffer.held_bytes for buffer in self._buffers.values())
        if held_bytes > self.options.buffer_bytes and not self._paused:
            ready = [item for item in self._buffers.items() if item[1].future is None and item[1].frames]
            if (
                ready
                and sum(lane.future is not None for lane in self._buffers.values()) < _MAX_SEGMENTS_IN_FLIGHT
            ):
                self._start_store(*max(ready, key=lambda item: item[1].bytes))
            in_flight = [lane.future for lane in self._buffers.values() if lane.future is not None]
            # pausing makes the client drop what it has fetched: wait a while for room first
            if in_flight and wait(in_flight, _MEMORY_WAIT_S, FIRST_COMPLETED).done:
                return
            self._consumer.pause(list(self._buffers))
            self._paused = True
        elif self._paused and held_bytes <= self.options.buffer_bytes // 2:
            self._consumer.resume(list(self._buffers))
            self._paused = False
