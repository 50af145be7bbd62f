"""Kafka → lake, exactly once.

One thread polls and commits; a few others encode and store segments, at most one at a time per partition. The
order is always: store the segment, then commit the offset as a hint.
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
from tickerlake.lake.formats import for_topic
from tickerlake.lake.segment import StoreResult
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import Format, TopicMeta, check_same_topic, check_topic, open_topic
from tickerlake.lake.writer import Writer, open_writer
from tickerlake.pipeline.defaults import FLUSH_AGE_S, FLUSH_BYTES, FLUSH_RECORDS

_POLL_TIMEOUT_S = 0.05  # how late an idle worker notices that a segment is due, or stored
_TOPIC_CHECK_INTERVAL_S = 5.0  # one request per topic
_TOPIC_CHECK_RETRY_S = 0.2
_MEMORY_WAIT_S = 2.0  # before fetching is paused; a segment is usually stored sooner
_MAX_SEGMENTS_IN_FLIGHT = 2  # one is encoded while another is uploaded
_MAX_OBJECT_UPLOADS = 128  # with one object per record, the rate is this number divided by the latency
_OBJECT_BATCH_RECORDS = 4_000  # of format json: what is stored between two commits
_RECORD_OVERHEAD_BYTES = 64  # offset, timestamp, and the views that point to key and value


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """When a segment is cut, and what happens at a gap.

    Attributes
    ----------
    format
        The format of the segments. With ``json``, each record is stored as soon as it is read.
    flush_bytes, flush_records, flush_age_s
        A segment is stored when its keys, values and headers reach this size, its records this number, or the
        oldest of them this age.
    buffer_bytes
        The memory for records, buffered or in flight; by default that of four full segments. At the limit,
        the largest buffered segment is cut early, and fetching pauses until half of the memory is free.
    on_gap
        Whether to stop, or record a gap, if Kafka deleted records before they were stored.
    """

    format: Format = "ndjson"
    flush_bytes: int = FLUSH_BYTES
    flush_records: int = FLUSH_RECORDS
    flush_age_s: float = FLUSH_AGE_S
    buffer_bytes: int = 32 << 20
    on_gap: Literal["stop", "record"] = "stop"


@dataclass(slots=True)
class TopicCounts:
    """What a worker has stored of one topic, and why the first reject was rejected."""

    records: int = 0
    rejects: int = 0
    reject_reason: str = ""

    @property
    def is_all_rejected(self) -> bool:
        """Whether there are records, and none is a row: the topic probably has another format."""
        return self.rejects > 0 and not self.records


@dataclass(slots=True)
class SinkProgress:
    """Running totals of one worker.

    Attributes
    ----------
    records, rejects, segments, bytes
        What it has stored.
    adopted
        Segments that another worker had stored first.
    lag
        Records of its partitions that are not stored yet.
    blocked_partitions
        Partitions that end in an open transaction.
    partitions
        The next offset to store of each partition.
    topics
        What it has stored of each topic.
    """

    records: int = 0
    rejects: int = 0
    segments: int = 0
    adopted: int = 0
    bytes: int = 0
    lag: int = 0
    blocked_partitions: int = 0
    partitions: dict[Partition, int] = field(default_factory=dict)
    topics: dict[str, TopicCounts] = field(default_factory=dict)


class _PartitionBuffer:
    """Records of one partition: waiting for a segment, or in flight to the store."""

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
        """Bytes buffered and in flight."""
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
        """Drop the records that the segment covers; an adopted one may leave some that stay buffered."""
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
    size = _RECORD_OVERHEAD_BYTES * frame.height
    for name in ("key", "value"):
        size += int(frame.get_column(name).bin.size().sum() or 0)
    return size + int(frame.get_column("headers").str.len_bytes().sum() or 0)


class _TopicIdentity:
    """Checks that topics are still those of the lake: a recreated topic starts over with other records.

    Checks compare with the metadata read when the sink started, so they cost the store nothing.
    """

    def __init__(self, admin: Admin, store: Store, topics: list[str], fmt: Format) -> None:
        self._admin = admin
        self._store = store
        self._topics = topics
        self._format = fmt
        self._metas: dict[str, TopicMeta] = {}
        self._last_check_s = 0.0
        self._last_answer_s = 0.0

    def open(self) -> None:
        """Read the metadata of all topics from the lake, or create them there."""
        for name in self._topics:
            topic = self._admin.require_topic(name)
            watermarks = sorted(self._admin.watermarks(topic).items())
            first_positions = {str(number): low for number, (low, _) in watermarks}
            self._metas[name] = open_topic(self._store, self._expected_meta(topic, first_positions))
        self._last_check_s = self._last_answer_s = clock.monotonic_s()

    def meta(self, name: str) -> TopicMeta:
        """Return the metadata of a topic in the lake."""
        return self._metas[name]

    def check(self, name: str) -> None:
        """Raise LakeError if Kafka's topic of this name is not the one in the lake."""
        meta = self._metas[name]
        expected = self._expected_meta(self._admin.require_topic(name), meta.first_positions)
        check_same_topic(meta, expected, self._store.uri)

    def check_all(self) -> None:
        """Check all topics; tolerate for a grace period that no broker answers."""
        try:
            for name in self._topics:
                self.check(name)
        except BrokerUnreachable:
            if clock.monotonic_s() - self._last_answer_s > BROKER_GRACE_S:
                raise
        else:
            self._last_answer_s = clock.monotonic_s()
        self._last_check_s = clock.monotonic_s()

    def check_if_due(self) -> None:
        """Check all topics if the last check was a while ago."""
        if clock.monotonic_s() - self._last_check_s > _TOPIC_CHECK_INTERVAL_S:
            self.check_all()

    def _expected_meta(self, topic: Topic, first_positions: dict[str, int]) -> TopicMeta:
        now_ms = clock.now_ns() // 1_000_000
        return TopicMeta(topic.name, topic.topic_id, topic.cluster_id, self._format, first_positions, now_ms)


class _Backpressure:
    """Pauses fetching while too much is in memory, and resumes it when half of the limit is free."""

    def __init__(self, consumer: Consumer, limit_bytes: int) -> None:
        self._consumer = consumer
        self._limit_bytes = limit_bytes
        self._is_paused = False

    def should_pause(self, held_bytes: int) -> bool:
        return held_bytes > self._limit_bytes and not self._is_paused

    def pause(self, partitions: list[Partition]) -> None:
        self._consumer.pause(partitions)
        self._is_paused = True

    def resume_if_drained(self, held_bytes: int, partitions: list[Partition]) -> None:
        if self._is_paused and held_bytes <= self._limit_bytes // 2:
            self._consumer.resume(partitions)
            self._is_paused = False


class Sink:
    """One sink worker; any number may share the group and the topics.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topics
        The topics to store.
    store
        The store of the lake.
    group
        The consumer group whose members share the partitions.
    options
        When segments are cut, and what happens at a gap.
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
        if for_topic(self.options.format).one_object_per_record:
            # objects of one record gain nothing from waiting for more
            self.options = replace(self.options, flush_records=_OBJECT_BATCH_RECORDS, flush_age_s=0)
            self._uploads = ThreadPoolExecutor(_MAX_OBJECT_UPLOADS, thread_name_prefix="object")
        self.store = store
        self.topics = [check_topic(topic) for topic in topics]
        self.progress = SinkProgress()
        admin = Admin(bootstrap_servers, properties)
        self._identity = _TopicIdentity(admin, store, self.topics, self.options.format)
        self._buffers: dict[Partition, _PartitionBuffer] = {}
        self._revoked_uploads: list[tuple[str, Future[StoreResult]]] = []
        self._failure: Exception | None = None
        self._is_stopping = False
        self._pool = ThreadPoolExecutor(_MAX_SEGMENTS_IN_FLIGHT, thread_name_prefix="segment")
        self._consumer = Consumer(
            bootstrap_servers, group, properties or {}, self._open_partition, self._release_partition
        )
        self._backpressure = _Backpressure(self._consumer, self.options.buffer_bytes)

    def run(
        self,
        stop: threading.Event,
        *,
        until_end: bool = False,
        on_progress: Callable[[SinkProgress], None] | None = None,
    ) -> SinkProgress:
        """Store records until `stop` is set or, with `until_end`, until all existing records are stored.

        When `stop` is set, the records that were read are stored before this returns.

        Raises
        ------
        LakeError
            The topic is not the one in the lake, or records were deleted before they were stored.
        StoreUnavailable
            The store did not answer within its budget; nothing is lost, run the command again.
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
        """Open the topics in the lake and join the group."""
        self._identity.open()
        self._consumer.subscribe(self.topics)

    def step(self, *, until_end: bool = False) -> None:
        """Read what has arrived, and store the segments that are due: one iteration of `run`."""
        try:
            for batch in self._consumer.poll(_POLL_TIMEOUT_S):
                self._buffer_batch(batch)
        except LakeError:
            self._identity.check_all()  # an offset missing in a recreated topic: report that instead
            raise
        self._flush(flush_all=until_end and self._has_read_all())
        self._identity.check_if_due()

    def close(self) -> None:
        """Leave the group, and wait for segments in flight to be stored or fail."""
        self._consumer.close()
        self._pool.shutdown()
        if self._uploads:
            self._uploads.shutdown(wait=False, cancel_futures=True)

    def _is_idle(self) -> bool:
        return not self._revoked_uploads and all(buffer.is_idle for buffer in self._buffers.values())

    def _open_partition(self, partition: Partition, committed: CommittedOffset | None) -> int:
        topic, number = partition
        hint = (
            (int(committed.metadata), committed.offset)
            if committed and committed.metadata.isdigit()
            else None
        )
        writer = open_writer(self.store, self._identity.meta(topic), number, hint, self._uploads)
        low, high = self._consumer.watermarks(partition)
        if low > writer.position:
            if self.options.on_gap == "stop":
                raise LakeError(
                    f"Kafka deleted the offsets {writer.position} to {low - 1} of {topic} partition {number} "
                    "before they could be stored.",
                    "Lengthen the topic's retention. "
                    "`--on-gap record` records the gap in the lake and continues.",
                )
            writer.put_gap(low)
        if writer.position > high:
            raise LakeError(
                f"The lake has {topic} partition {number} up to offset {writer.position - 1}, "
                f"but Kafka's log ends at {high}.",
                "The broker has lost its log. Store the records from now on in another lake (--lake).",
            )
        self._buffers[partition] = _PartitionBuffer(writer)
        self.progress.partitions[partition] = writer.position
        return writer.position

    def _release_partition(self, partition: Partition) -> None:
        # the next owner reads the buffered records again; an upload in flight is harmless: it is create-only,
        # and the worker that comes second adopts it
        buffer = self._buffers.pop(partition, None)
        if buffer and buffer.future:
            self._revoked_uploads.append((partition[0], buffer.future))

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
        # a transaction ends with an offset without a record, which leaves the position below the watermark
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
        for upload in [each for each in self._revoked_uploads if wait_for_all or each[1].done()]:
            self._revoked_uploads.remove(upload)
            self._add_to_totals(upload[0], upload[1].result())
        self._limit_memory()

    def _start_store(self, partition: Partition, buffer: _PartitionBuffer) -> None:
        segment = buffer.cut_segment(self.options)
        failpoints.reach("sink.segment_cut")
        buffer.future = self._pool.submit(self._store_segment, partition[0], buffer.writer, segment)

    def _store_segment(self, topic: str, writer: Writer, segment: pl.DataFrame) -> StoreResult:
        try:
            self._wait_for_topic_check(topic)
            return writer.put(segment)
        except Exception as error:
            self._failure = error
            raise

    def _wait_for_topic_check(self, topic: str) -> None:
        """Check that records in flight are of the topic in the lake; retry while no broker answers."""
        deadline_s = clock.monotonic_s() + BROKER_GRACE_S
        while True:
            # one failure stops the sink: segments queued behind it could take as long to fail
            if self._failure:
                raise self._failure
            try:
                self._identity.check(topic)
            except BrokerUnreachable:
                if self._is_stopping or clock.monotonic_s() > deadline_s:
                    raise
                time.sleep(_TOPIC_CHECK_RETRY_S)
            else:
                return

    def _on_stored(self, partition: Partition, buffer: _PartitionBuffer, stored: StoreResult) -> None:
        buffer.on_stored(stored)
        failpoints.reach("sink.stored")
        self._consumer.commit(partition, stored.next_position, str(stored.position))
        failpoints.reach("sink.committed")
        self.progress.partitions[partition] = stored.next_position
        self._add_to_totals(partition[0], stored)

    def _add_to_totals(self, topic: str, stored: StoreResult) -> None:
        counts = self.progress.topics.setdefault(topic, TopicCounts())
        counts.records += stored.records
        counts.rejects += stored.rejects
        counts.reject_reason = counts.reject_reason or stored.reject_reason
        totals = self.progress
        totals.segments += stored.objects
        totals.adopted += stored.adopted
        totals.records += stored.records
        totals.rejects += stored.rejects
        totals.bytes += stored.bytes

    def _limit_memory(self) -> None:
        held_bytes = sum(buffer.held_bytes for buffer in self._buffers.values())
        if not self._backpressure.should_pause(held_bytes):
            self._backpressure.resume_if_drained(held_bytes, list(self._buffers))
            return
        if len(self._in_flight()) < _MAX_SEGMENTS_IN_FLIGHT:
            self._store_largest()
        # pausing makes the client discard its prefetched records: first wait for memory to become free
        in_flight = self._in_flight()
        if in_flight and wait(in_flight, _MEMORY_WAIT_S, FIRST_COMPLETED).done:
            return
        self._backpressure.pause(list(self._buffers))

    def _in_flight(self) -> list[Future[StoreResult]]:
        return [buffer.future for buffer in self._buffers.values() if buffer.future is not None]

    def _store_largest(self) -> None:
        ready = [item for item in self._buffers.items() if item[1].future is None and item[1].frames]
        if ready:
            self._start_store(*max(ready, key=lambda item: item[1].bytes))
