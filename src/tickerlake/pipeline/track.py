"""Kafka → bars, indicators, alerts → Kafka, exactly once.

What a batch of records gives and how far the topic has been read become visible together, in one transaction.
The state behind it is a function of the records alone. It is kept as snapshots in the lake's store; after a
crash the newest one is taken up, and the records between it and the committed offset are read again without
writing.

The one thing that the records do not say is when the clock closed a bar for which no more records came. Each
such moment since the last snapshot stands in the note beside the committed offset, and is repeated at its
place.
"""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
import polars as pl

from tickerlake import clock
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.sessions import Sessions
from tickerlake.analytics.types import EngineOptions, Output, Watcher
from tickerlake.errors import (
    BrokerUnreachable,
    Fenced,
    KafkaError,
    LakeError,
    Rebalanced,
    StoreError,
    StoreUnavailable,
    TickerlakeError,
)
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer
from tickerlake.kafka.producer import Producer
from tickerlake.kafka.reader import OPEN_TRANSACTIONS_WARNING, RecordBatch, read_all
from tickerlake.lake.snapshots import Snapshots
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import check_topic
from tickerlake.model.alert import Alert
from tickerlake.pipeline.locks import instance_slot
from tickerlake.pipeline.publisher import Publisher

_POLL_TIMEOUT_S = 0.05
_TRANSACTION_TIMEOUT_MS: Final = 15_000
_COMMIT_INTERVAL_S: Final = 1.0
_IDLE_CHECK_INTERVAL_S: Final = 2.0
_MAINTENANCE_INTERVAL_S: Final = 5.0
_RETRY_BACKOFF_S: Final = 1.0
_END_CHECK_INTERVAL_S: Final = 1.0
_FENCING_WINDOW_S: Final = 60.0
"""Who is ended by another twice within this time gives way: both work under one name."""
_MAX_CLOCK_CLOSES: Final = 60
"""Moments that fit into a note: Kafka takes 4,096 bytes."""
_IDLE_CHECK_BACKOFF: Final = 1.2
"""The longer nothing comes, the less often the clock is asked: so many moments last for days."""


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """What is computed, and where it goes.

    ``prefix`` names the topics: ``<prefix>.bars``, ``.indicators``, ``.alerts`` and ``.refused``. A snapshot
    is taken after ``snapshot_s`` seconds or ``snapshot_records`` records, and at the end. At most
    ``batch_records`` are read at once.
    """

    engine: EngineOptions = field(default_factory=EngineOptions)
    prefix: str = "stocks"
    batch_records: int = 50_000
    snapshot_s: float = 300.0
    snapshot_records: int = 5_000_000


@dataclass(slots=True)
class TrackProgress:
    """Running totals of one worker; ``lag`` is what its partitions hold and it has not read yet."""

    records: int = 0
    rows: int = 0
    bars: int = 0
    restated: int = 0
    indicators: int = 0
    alerts: int = 0
    instruments: int = 0
    lag: int = 0
    replaying: int = 0
    open_bars: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


class ClockClose(NamedTuple):
    """When the clock closed bars: before which offset, at which time, and how long they had to be idle."""

    offset: int
    now_ns: int
    idle_ns: int


class CommitMetadata(msgspec.Struct, frozen=True):
    """What stands beside a committed offset.

    ``idle`` are the moments since the last snapshot.
    """

    topic_id: str
    idle: list[ClockClose] = []


@dataclass(slots=True)
class PartitionState:
    """How far one partition has been read; up to ``emit_from`` what comes out was written before."""

    position: int
    emit_from: int
    clock_closes: list[ClockClose] = field(default_factory=list)
    closes_to_replay: list[ClockClose] = field(default_factory=list)
    committed: tuple[int, tuple[ClockClose, ...]] = (-1, ())
    snapshot_offset: int = -1
    records_since_snapshot: int = 0
    snapshot_at_s: float = 0.0
    idle_checked_ns: int = 0
    at_end: bool = False

    @property
    def checkpoint(self) -> tuple[int, tuple[ClockClose, ...]]:
        """The next offset, and what the clock closed since the last snapshot."""
        return self.position, tuple(self.clock_closes)

    @property
    def closes_at_position(self) -> list[ClockClose]:
        """The clock's moments since the last record."""
        return [moment for moment in self.clock_closes if moment.offset == self.position]

    @property
    def is_replaying(self) -> bool:
        """True while records are read again whose results are committed."""
        return self.position < self.emit_from


class Tracker:
    """One tracking worker; any number may share the group and the topic.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topic
        Trades or bars.
    store
        Where snapshots are kept: the same for all workers of a group.
    group
        Consumer group that shares the partitions.
    sessions_of
        The sessions of a market, by its ISO 10383 code.
    watcher
        What raises alerts.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        store: Store,
        group: str,
        options: TrackOptions,
        sessions_of: Callable[[str], Sessions],
        watcher: Watcher | None = None,
        properties: dict[str, str] | None = None,
    ) -> None:
        self.topic, self.group, self.options = check_topic(topic), check_topic(group), options
        self.progress = TrackProgress()
        self.engine = Engine(options.engine, sessions_of, watcher)
        self._servers, self._properties = bootstrap_servers, properties or {}
        self._admin = Admin(bootstrap_servers, self._properties)
        self._store = store
        self._partition_states: dict[int, PartitionState] = {}
        self._end_checked_s = 0.0
        self._on_warning: Callable[[str], None] = lambda _: None

    def prepare(self) -> list[str]:
        """Create the topics that are missing, and return their names."""
        topic = self._admin.require_topic(self.topic)
        self._topic_id, self._partition_count = topic.topic_id, topic.partitions
        self._snapshots = Snapshots(self._store, self.group, self.topic, topic.topic_id)
        partition_counts = {
            self._topic_name("bars"): topic.partitions,
            self._topic_name("indicators"): topic.partitions,
        }
        partition_counts |= {self._topic_name("alerts"): 1, self._topic_name("refused"): 1}
        return [
            name
            for name, count in partition_counts.items()
            if self._admin.describe_topic(name) is None and self._admin.create_topic(name, count)
        ]

    def run(
        self,
        stop: threading.Event,
        *,
        until_end: bool = False,
        on_progress: Callable[[TrackProgress], None] | None = None,
        on_alert: Callable[[Alert], None] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> TrackProgress:
        """Track until ``stop`` is set or, with ``until_end``, until all that is there has been read.

        What other workers of the group still have to read counts, too.

        Parameters
        ----------
        on_alert
            Called with each alert when it is committed.
        on_warning
            Called with a line for people.

        Raises
        ------
        KafkaError
            The topic was deleted and created anew, or Kafka refuses something.
        """
        self._on_warning = on_warning or self._on_warning
        self.prepare()
        with instance_slot(f"track.{self.group}") as number:
            # one that comes back after a crash ends at once what it left open, and has its partitions again
            name = f"tickerlake-track-{self.group}-{socket.gethostname()}-{number}"
            self._run_with_restarts(
                name, stop, until_end, on_progress or (lambda _: None), on_alert or (lambda _: None)
            )
        return self.progress

    def _run_with_restarts(
        self,
        name: str,
        stop: threading.Event,
        until_end: bool,
        on_progress: Callable[[TrackProgress], None],
        on_alert: Callable[[Alert], None],
    ) -> None:
        """Turn the crank; where Kafka was away, or gave work to others, begin where it was committed."""
        producer: Producer | None = None
        fenced_s = clock.monotonic_s() - _FENCING_WINDOW_S
        while True:
            self._consumer = Consumer(
                self._servers, self.group, self._properties, self._on_assign, self._on_revoke, instance=name
            )
            try:
                self._consumer.subscribe([self.topic])
                producer = producer or self._open_producer(name)
                self._run_loop(producer, stop, until_end, on_progress, on_alert)
                self._refresh_progress()
            except (BrokerUnreachable, Rebalanced, Fenced) as error:
                now_s = clock.monotonic_s()
                if stop.is_set() or (isinstance(error, Fenced) and now_s - fenced_s < _FENCING_WINDOW_S):
                    raise
                if isinstance(error, Fenced):
                    fenced_s = now_s
                if not isinstance(error, Rebalanced):
                    producer = None
                self._on_warning(f"{error.message} Beginning again where it was committed.")
                self._discard_partitions()
                stop.wait(_RETRY_BACKOFF_S)
            else:
                return
            finally:
                self._consumer.close()

    def _open_producer(self, name: str) -> Producer:
        return Producer(self._servers, name, self._properties, transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS)

    def _discard_partitions(self) -> None:
        """Drop what was computed and not written."""
        for partition in list(self._partition_states):
            del self._partition_states[partition]
            self.engine.drop_partition(partition)

    def _run_loop(
        self,
        producer: Producer,
        stop: threading.Event,
        until_end: bool,
        on_progress: Callable[[TrackProgress], None],
        on_alert: Callable[[Alert], None],
    ) -> None:
        self._publisher = publisher = Publisher(producer, self.topic, self.options.prefix)
        self._revoke_error: Exception | None = None
        committed_s = checked_s = clock.monotonic_s()
        try:
            while not stop.is_set():
                outputs = [*self._poll_and_process(), *self._close_idle_bars()]
                if self._revoke_error:
                    raise self._revoke_error
                self._add_to_totals(outputs)
                now_s = clock.monotonic_s()
                if any(map(_has_results, outputs)) or now_s - committed_s >= _COMMIT_INTERVAL_S:
                    committed_s = now_s
                    self._commit(outputs, on_alert)
                publisher.complete(wait=False)
                if now_s - checked_s >= _MAINTENANCE_INTERVAL_S:
                    checked_s = now_s
                    self._check_topic()
                    self._store_due_snapshots()
                on_progress(self._refresh_progress())
                if until_end and self._has_reached_end():
                    if unfinished := len(self._consumer.blocked_partitions):
                        self._on_warning(OPEN_TRANSACTIONS_WARNING.format(unfinished))
                    break
            self._commit([], on_alert)
            publisher.complete()
            on_progress(self._refresh_progress())
            for partition in self._partition_states:
                self._store_snapshot(partition)
        finally:
            publisher.close()

    def _topic_name(self, suffix: str) -> str:
        return f"{self.options.prefix}.{suffix}"

    # -- partitions come and go

    def _on_assign(self, topic_partition: Partition, committed: CommittedOffset | None) -> int:
        partition = topic_partition[1]
        low, high = self._consumer.watermarks(topic_partition)
        metadata = self._decode_metadata(committed)
        emit_from = committed.offset if committed else low
        if committed and committed.offset > high:
            raise KafkaError(
                f"{self.group} has read {self.topic} partition {partition} up to offset "
                f"{committed.offset - 1}, but Kafka's log ends at {high}.",
                "The broker lost its log. Begin anew with another --group.",
            )
        stored = self._snapshots.read_latest(partition, emit_from) if committed else None
        start, closes_in_snapshot = low, list[int]()
        if stored and stored[0] >= low:
            start = stored[0]
            closes_in_snapshot = engine_state.restore(self.engine, partition, stored[1])
        elif emit_from > low or low > 0:
            self._warn_of_gap(partition, low, emit_from, committed)
        emit_from = max(emit_from, low)
        closes_to_replay = (
            [moment for moment in metadata.idle if start <= moment.offset <= emit_from] if metadata else []
        )
        # those at the snapshot's offset may be in it
        closes_to_replay = [
            moment
            for moment in closes_to_replay
            if moment.offset > start or moment.now_ns not in closes_in_snapshot
        ]
        state = PartitionState(
            start,
            emit_from,
            list(closes_to_replay),
            closes_to_replay,
            snapshot_offset=start if stored else -1,
            snapshot_at_s=clock.monotonic_s(),
        )
        state.committed = (emit_from, tuple(closes_to_replay)) if committed else (-1, ())
        self._partition_states[partition] = state
        self._replay_clock_closes(partition, state)
        return start

    def _warn_of_gap(
        self, partition: int, low: int, emit_from: int, committed: CommittedOffset | None
    ) -> None:
        if committed and committed.offset < low:
            self._on_warning(
                f"Kafka deleted the offsets {committed.offset} to {low - 1} of {self.topic} partition "
                f"{partition} before they were read: bars begin anew. Lengthen the topic's retention."
            )
        elif committed and emit_from > low:
            self._on_warning(
                f"there is no snapshot of {self.topic} partition {partition}: reading the offsets {low} to "
                f"{emit_from - 1} again"
            )

    def _decode_metadata(self, committed: CommittedOffset | None) -> CommitMetadata | None:
        if not committed or not committed.metadata:
            return None
        try:
            metadata = msgspec.json.decode(committed.metadata, type=CommitMetadata)
        except msgspec.MsgspecError:
            return None  # another program's
        if metadata.topic_id != self._topic_id:
            raise self._recreated_error()
        return metadata

    def _check_topic(self) -> None:
        with suppress(BrokerUnreachable):
            if self._admin.require_topic(self.topic).topic_id != self._topic_id:
                raise self._recreated_error()

    def _recreated_error(self) -> KafkaError:
        return KafkaError(
            f"The topic {self.topic} was deleted and created anew since {self.group} has read it.",
            "Begin with the new one under another --group.",
        )

    def _on_revoke(self, topic_partition: Partition) -> None:
        partition = topic_partition[1]
        if partition in self._partition_states:
            try:
                self._publisher.complete()
            except TickerlakeError as error:
                # told to `_turn`, as the client would swallow it
                self._revoke_error = error
            self._store_snapshot(partition)
            del self._partition_states[partition]
        self.engine.drop_partition(partition)

    # -- reading

    def _poll_and_process(self) -> list[Output]:
        batches = self._poll()
        outputs, live_frames = [], []
        for batch in batches:
            state = self._partition_states[batch.partition[1]]
            state.at_end = batch.at_end
            if not batch.frame.height:
                continue
            self.progress.records += batch.frame.height
            if state.closes_to_replay or state.is_replaying:
                outputs += self._replay(batch, state)
            else:
                live_frames.append(_with_partition(batch.frame, batch.partition[1]))
                self._advance(state, batch.frame)
        if live_frames:
            outputs.append(self.engine.process(pl.concat(live_frames)))
        return outputs

    def _poll(self) -> list[RecordBatch]:
        try:
            batches = list(self._consumer.poll(_POLL_TIMEOUT_S, self.options.batch_records))
        except LakeError:
            self._check_topic()
            raise
        return [batch for batch in batches if batch.partition[1] in self._partition_states]

    def _replay(self, batch: RecordBatch, state: PartitionState) -> list[Output]:
        """Repeat what was done, with the clock's moments at their places; only what is new comes out."""
        partition, rest, outputs = batch.partition[1], batch.frame, []
        while rest.height:
            until = (
                state.closes_to_replay[0].offset if state.closes_to_replay else rest.item(-1, "offset") + 1
            )
            part, rest = rest.filter(pl.col("offset") < until), rest.filter(pl.col("offset") >= until)
            if part.height:
                outputs.append(
                    _results_from(self.engine.process(_with_partition(part, partition)), state.emit_from)
                )
                self._advance(state, part)
            if rest.height:
                # nothing is left before it, though a batch may end before a moment's place
                state.position = max(state.position, until)
            self._replay_clock_closes(partition, state)
        return outputs

    def _replay_clock_closes(self, partition: int, state: PartitionState) -> None:
        while state.closes_to_replay and state.closes_to_replay[0].offset <= state.position:
            close = state.closes_to_replay.pop(0)
            self.engine.close_idle(partition, close.now_ns, close.idle_ns)

    def _advance(self, state: PartitionState, frame: pl.DataFrame) -> None:
        state.position = int(frame.item(-1, "offset")) + 1
        state.records_since_snapshot += frame.height

    def _close_idle_bars(self) -> list[Output]:
        now_ns, outputs = clock.now_ns(), []
        for partition, state in self._partition_states.items():
            if (
                not state.at_end
                or state.is_replaying
                or state.closes_to_replay
                or len(state.clock_closes) >= _MAX_CLOCK_CLOSES
            ):
                continue
            if (
                now_ns - state.idle_checked_ns
                < _IDLE_CHECK_INTERVAL_S
                * _IDLE_CHECK_BACKOFF ** len(state.closes_at_position)
                * 1_000_000_000
            ):
                continue
            state.idle_checked_ns = now_ns
            idle_ns = self.options.engine.idle_ns
            output = self.engine.close_idle(partition, now_ns, idle_ns)
            if _has_results(output):
                state.clock_closes.append(ClockClose(state.position, now_ns, idle_ns))
                outputs.append(output)
        return outputs

    def _has_reached_end(self) -> bool:
        """Tell whether nothing is left, nor in partitions that are not ours: they may be soon."""
        if not self._consumer.assignments or not all(lane.at_end for lane in self._partition_states.values()):
            return False
        others = set(range(self._partition_count)) - set(self._partition_states)
        now_s = clock.monotonic_s()
        if not others or now_s - self._end_checked_s < _END_CHECK_INTERVAL_S:
            return not others
        self._end_checked_s = now_s
        starts = dict.fromkeys(others, 0) | self._consumer.committed_offsets(self.topic, others)
        unread = read_all(self._servers, self._properties, self.topic, starts)
        return next(unread, None) is None

    # -- writing

    def _commit(self, outputs: Sequence[Output], on_alert: Callable[[Alert], None]) -> None:
        """Hand results over to be written; what is computed next waits for them at most."""
        self._publisher.complete()
        advanced = {
            partition: lane
            for partition, lane in self._partition_states.items()
            if not lane.is_replaying and lane.checkpoint != lane.committed
        }
        if not advanced:
            return
        checkpoints = {partition: lane.checkpoint for partition, lane in advanced.items()}
        positions = {
            (self.topic, partition): (
                lane.position,
                msgspec.json.encode(CommitMetadata(self._topic_id, lane.clock_closes)).decode(),
            )
            for partition, lane in advanced.items()
        }

        def on_committed() -> None:
            for partition, state in checkpoints.items():
                # one that was given away meanwhile is no longer ours to count
                if self._partition_states.get(partition) is advanced[partition]:
                    advanced[partition].committed = state
            raised = [each.alert for output in outputs for each in output.alerts]
            # partitions are read side by side: people read by time
            for alert in sorted(raised, key=lambda alert: alert.ts_event_ns):
                on_alert(alert)

        self._publisher.publish(outputs, positions, self._consumer.group_metadata(), on_committed)

    # -- snapshots

    def _store_due_snapshots(self) -> None:
        now_s, options = clock.monotonic_s(), self.options
        for partition, state in self._partition_states.items():
            is_due = (
                now_s - state.snapshot_at_s >= options.snapshot_s
                or state.records_since_snapshot >= options.snapshot_records
            )
            if (is_due and state.records_since_snapshot) or len(state.clock_closes) >= _MAX_CLOCK_CLOSES:
                self._publisher.complete()
                self._store_snapshot(partition)

    def _store_snapshot(self, partition: int) -> None:
        """Store the state at the offset that is committed, and forget the moments before it."""
        partition_state = self._partition_states[partition]
        if (
            partition_state.is_replaying
            or partition_state.checkpoint != partition_state.committed
            or (
                partition_state.position == partition_state.snapshot_offset
                and not partition_state.clock_closes
            )
        ):
            return
        partition_state.snapshot_at_s = clock.monotonic_s()
        try:
            clock_closes_ns = [moment.now_ns for moment in partition_state.closes_at_position]
            data = engine_state.snapshot(self.engine, partition, clock_closes_ns)
            created = self._snapshots.save(partition, partition_state.position, data)
        except (StoreError, StoreUnavailable) as error:
            self._on_warning(f"no snapshot was stored, it is tried again later: {error}")
            return
        if created:
            # moments at the offset of a snapshot that was there before are not in it
            partition_state.clock_closes = []
        partition_state.snapshot_offset, partition_state.records_since_snapshot = partition_state.position, 0

    # -- counting

    def _add_to_totals(self, outputs: Sequence[Output]) -> None:
        totals = self.progress
        for output in outputs:
            totals.rows += output.rows
            restated = int((output.bars.get_column("revision") > 0).sum())
            totals.bars += output.bars.height - restated
            totals.restated += restated
            totals.indicators += output.indicators.height
            totals.alerts += len(output.alerts)
            totals.skipped += output.skipped
            totals.rejects.update(output.rejects.get_column("reason"))

    def _refresh_progress(self) -> TrackProgress:
        totals = self.progress
        totals.instruments = len(self.engine.instruments)
        totals.open_bars = self.engine.open_bars
        totals.replaying = sum(lane.is_replaying for lane in self._partition_states.values())
        totals.lag = sum(
            0
            if lane.at_end
            else max(0, self._consumer.cached_high_watermark((self.topic, partition)) - lane.position)
            for partition, lane in self._partition_states.items()
        )
        return totals


def _with_partition(frame: pl.DataFrame, partition: int) -> pl.DataFrame:
    return frame.select(
        pl.lit(partition, dtype=pl.Int64).alias("partition"), "offset", "timestamp_ms", "value"
    )


def _has_results(output: Output) -> bool:
    return bool(output.bars.height or output.indicators.height or output.alerts or output.rejects.height)


def _results_from(output: Output, offset: int) -> Output:
    """Leave out what was written before."""
    new = pl.col("offset") >= offset
    return Output(
        output.bars.filter(new),
        output.indicators.filter(new),
        [raised for raised in output.alerts if raised.offset >= offset],
        output.rejects.filter(new),
        output.skipped,
        output.rows,
    )
