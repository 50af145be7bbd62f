"""Kafka → bars, indicators, alerts → Kafka, exactly once.

The results of a batch and the offsets of its records are committed in one transaction. The state behind them
is a function of the records alone. Snapshots of it are stored in the lake's store: after a crash or a
rebalance the new owner of a partition restores the latest one and replays the records from there to the
committed offset without publishing.

The records do not say when the clock closed a bar for which no more records came. So each clock close since
the last snapshot is part of the commit metadata, and is replayed between the same two records.
"""

import hashlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

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
from tickerlake.kafka.admin import Admin, Topic
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset, Consumer
from tickerlake.kafka.producer import Producer
from tickerlake.kafka.reader import OPEN_TRANSACTIONS_WARNING, RecordBatch, read_all
from tickerlake.lake.snapshots import Snapshots
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import check_topic
from tickerlake.model.alert import Alert
from tickerlake.pipeline.locks import instance_slot
from tickerlake.pipeline.partition_state import ClockClose, CommitMetadata, PartitionState, has_results
from tickerlake.pipeline.publisher import Publisher

_POLL_TIMEOUT_S: Final = 0.05
"""How long a stop or a finished commit can go unnoticed while no records come; shorter costs CPU."""

_TRANSACTION_TIMEOUT_MS: Final = 15_000
"""How long the open transaction of a dead worker blocks readers: as long as the group waits for the worker
itself (``session.timeout.ms``)."""

_COMMIT_INTERVAL_S: Final = 1.0
"""How often offsets are committed while there are no results; results are committed at once."""

_MAINTENANCE_INTERVAL_S: Final = 5.0
"""How soon a recreated topic is noticed, for one request to Kafka each time."""

_RETRY_BACKOFF_S: Final = 1.0
_END_CHECK_INTERVAL_S: Final = 1.0
"""With ``until_end``: how often to ask how far other workers are, which opens a consumer each time."""

_MAX_UNKNOWN_CODES: Final = 20
_UNKNOWN_CONDITIONS: Final = "unknown sale conditions, which forbid nothing: {}"
_MAX_NAME_LENGTH: Final = 249
"""Kafka accepts no longer ``group.instance.id``."""

_FENCING_WINDOW_S: Final = 60.0
"""A worker that is fenced twice within this time stops: another one runs under the same name."""


@dataclass(frozen=True, slots=True)
class TrackOptions:
    """What to compute, and where to publish it.

    Parameters
    ----------
    engine
        Bars and indicators.
    prefix
        Names the topics: ``<prefix>.bars``, ``.indicators``, ``.alerts`` and ``.rejects``.
    batch_records
        Maximum number of records per poll.
    snapshot_s, snapshot_records
        Store a snapshot after this many seconds or records, whichever comes first: after a crash no more than
        that is replayed. One is also stored when a partition is revoked and at the end.
    """

    engine: EngineOptions = field(default_factory=EngineOptions)
    prefix: str = "stocks"
    batch_records: int = 50_000
    snapshot_s: float = 300.0
    snapshot_records: int = 5_000_000


@dataclass(slots=True)
class TrackProgress:
    """Running totals of one worker; ``lag`` is the number of offsets it has yet to read."""

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
    left_out: Counter[str] = field(default_factory=Counter)
    unknown_conditions: Counter[str] = field(default_factory=Counter)

    def add(self, output: Output) -> None:
        """Add the results of a batch."""
        restated = int((output.bars.get_column("revision") > 0).sum())
        self.rows += output.rows
        self.bars += output.bars.height - restated
        self.restated += restated
        self.indicators += output.indicators.height
        self.alerts += len(output.alerts)
        self.skipped += output.skipped
        self.left_out += output.left_out
        for code, count in output.unknown_conditions.items():
            known = code in self.unknown_conditions or len(self.unknown_conditions) < _MAX_UNKNOWN_CODES
            self.unknown_conditions[code if known else "others"] += count
        self.rejects.update(output.rejects.get_column("reason"))


@dataclass(frozen=True, slots=True)
class _Listeners:
    """Callbacks of the caller of `Tracker.run`."""

    on_progress: Callable[[TrackProgress], None]
    on_alert: Callable[[Alert], None]
    on_warning: Callable[[str], None]


class Tracker:
    """A tracking worker; any number of workers can share the group and the topic.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    topic
        Trades or bars.
    store
        Where snapshots are stored; all workers of a group share it.
    group
        Consumer group that shares the partitions.
    options
        What to compute, and where to publish it.
    sessions_of
        Returns the sessions of a market by its ISO 10383 code.
    watcher
        Raises alerts; None for none.
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
        self.bootstrap_servers, self.properties = bootstrap_servers, properties or {}
        self.topic, self.group, self.options = check_topic(topic), check_topic(group), options
        self.admin = Admin(bootstrap_servers, self.properties)
        self.store = store
        self.engine = Engine(options.engine, sessions_of, watcher)
        self.progress = TrackProgress()
        self._producer: Producer | None = None

    def prepare(self) -> list[str]:
        """Create the result topics that are missing, and return their names."""
        return self._create_missing_topics(self.admin.require_topic(self.topic))

    def _create_missing_topics(self, topic: Topic) -> list[str]:
        partitions = {
            "bars": topic.partitions,
            "indicators": topic.partitions,
            "alerts": 1,
            "rejects": 1,
        }
        return [
            name
            for suffix, count in partitions.items()
            if self.admin.describe_topic(name := f"{self.options.prefix}.{suffix}") is None
            and self.admin.create_topic(name, count)
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
        """Track until ``stop`` is set or, with ``until_end``, until the whole topic has been read.

        With ``until_end`` the partitions of the group's other workers count, too.

        Parameters
        ----------
        on_progress
            Called after each iteration with the running totals.
        on_alert
            Called with each alert when it is committed.
        on_warning
            Called with each warning, as a line of text.

        Raises
        ------
        KafkaError
            The topic was recreated, or Kafka denies a request.
        """
        listeners = _Listeners(
            on_progress or (lambda _: None), on_alert or (lambda _: None), on_warning or (lambda _: None)
        )
        topic = self.admin.require_topic(self.topic)
        self._create_missing_topics(topic)
        with instance_slot(f"track.{self.group}") as number:
            # the same name after a crash aborts the open transaction, and gets the partitions back at once
            name = _worker_name(self.group, self.topic, number)
            try:
                self._run_with_restarts(topic, name, listeners, stop, until_end=until_end)
            finally:
                self._producer = None
        return self.progress

    def _run_with_restarts(
        self, topic: Topic, name: str, listeners: _Listeners, stop: threading.Event, *, until_end: bool
    ) -> None:
        """Run sessions until one ends; restart from the committed offsets after a transient failure."""
        last_fenced_s = clock.monotonic_s() - _FENCING_WINDOW_S
        while True:
            session: _Session | None = None
            try:
                session = _Session(self, topic, name, listeners)
                session.run(stop, until_end=until_end)
            except (BrokerUnreachable, Rebalanced, Fenced) as error:
                now_s = clock.monotonic_s()
                if stop.is_set() or (isinstance(error, Fenced) and now_s - last_fenced_s < _FENCING_WINDOW_S):
                    raise
                if isinstance(error, Fenced):
                    last_fenced_s = now_s
                if not isinstance(error, Rebalanced):
                    self._producer = None
                listeners.on_warning(f"{error.message} Restarting from the committed offsets.")
                if session:
                    session.discard_partitions()
                stop.wait(_RETRY_BACKOFF_S)
            else:
                return
            finally:
                if session:
                    session.close()

    def open_producer(self, name: str) -> Producer:
        """Return the transactional producer; a restart reuses it unless it can no longer be trusted."""
        self._producer = self._producer or Producer(
            self.bootstrap_servers, name, self.properties, transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS
        )
        return self._producer


def _worker_name(group: str, topic: str, number: int) -> str:
    """Return a ``group.instance.id``.

    Without the topic in it, Kafka would assign the partitions of the topic that a worker read before.
    """
    name = f"tickerlake-track-{group}-{topic}-{socket.gethostname()}-{number}"
    if len(name) <= _MAX_NAME_LENGTH:
        return name
    return f"tickerlake-track-{hashlib.sha256(name.encode()).hexdigest()}"


class _Session:
    """One membership of the group: the consumer, the publisher and the assigned partitions.

    Parameters
    ----------
    tracker
        Whose session it is.
    topic
        The topic as it was when the worker started.
    name
        The worker's ``group.instance.id`` and ``transactional.id``.
    listeners
        The caller's callbacks.
    """

    def __init__(self, tracker: Tracker, topic: Topic, name: str, listeners: _Listeners) -> None:
        self._tracker, self._topic, self._listeners = tracker, topic, listeners
        self._engine, self._options, self._progress = tracker.engine, tracker.options, tracker.progress
        self._snapshots = Snapshots(tracker.store, tracker.group, tracker.topic, topic.topic_id)
        self._partitions: dict[int, PartitionState] = {}
        self._revoke_error: TickerlakeError | None = None
        self._end_checked_s = 0.0
        self._consumer = Consumer(
            tracker.bootstrap_servers,
            tracker.group,
            tracker.properties,
            self._on_assign,
            self._on_revoke,
            instance=name,
        )
        try:
            self._consumer.subscribe([tracker.topic])
            self._publisher = Publisher(tracker.open_producer(name), tracker.topic, self._options.prefix)
        except BaseException:
            self._consumer.close()
            raise

    def run(self, stop: threading.Event, *, until_end: bool) -> None:
        """Read, compute and commit until ``stop`` is set or the end is reached; then store snapshots."""
        try:
            self._run_loop(stop, until_end=until_end)
            self._commit([])
            self._publisher.complete()
            self._listeners.on_progress(self._refresh_progress())
            for state in self._partitions.values():
                self._store_snapshot(state)
        finally:
            self._publisher.close()

    def _run_loop(self, stop: threading.Event, *, until_end: bool) -> None:
        committed_s = checked_s = clock.monotonic_s()
        while not stop.is_set():
            outputs = [*self._poll_and_process(), *self._close_idle_bars()]
            if self._revoke_error:
                raise self._revoke_error
            for output in outputs:
                known = set(self._progress.unknown_conditions)
                self._progress.add(output)
                if new := sorted(set(self._progress.unknown_conditions) - known):
                    self._listeners.on_warning(_UNKNOWN_CONDITIONS.format(", ".join(new)))
            now_s = clock.monotonic_s()
            if any(map(has_results, outputs)) or now_s - committed_s >= _COMMIT_INTERVAL_S:
                committed_s = now_s
                self._commit(outputs)
            self._publisher.complete(wait=False)
            if now_s - checked_s >= _MAINTENANCE_INTERVAL_S:
                checked_s = now_s
                self._check_topic()
                self._store_due_snapshots()
            self._listeners.on_progress(self._refresh_progress())
            if until_end and self._has_reached_end():
                if blocked := len(self._consumer.blocked_partitions):
                    self._listeners.on_warning(OPEN_TRANSACTIONS_WARNING.format(blocked))
                break

    def discard_partitions(self) -> None:
        """Drop all partitions, with what was computed and not committed."""
        for partition in list(self._partitions):
            del self._partitions[partition]
            self._engine.drop_partition(partition)

    def close(self) -> None:
        """Leave the group; partitions that it still has are revoked."""
        self._consumer.close()

    # -- assignment

    def _on_assign(self, topic_partition: Partition, committed: CommittedOffset | None) -> int:
        """Restore the state of a partition, and return the offset to read from."""
        topic, partition = topic_partition
        if topic != self._topic.name:
            raise KafkaError(
                f"The group {self._tracker.group} assigns partitions of {topic} to this worker of "
                f"{self._topic.name}: a worker of the same name read that topic a moment ago.",
                "Use another --group, or another -X group.instance.id, for each topic.",
            )
        low, high = self._consumer.watermarks(topic_partition)
        clock_closes = self._committed_clock_closes(committed)
        if committed and committed.offset > high:
            raise KafkaError(
                f"The group {self._tracker.group} has committed offset {committed.offset} of "
                f"{self._topic.name} partition {partition}, but the log ends at {high}: records were lost.",
                "Start over with another --group.",
            )
        restored = self._restore_snapshot(partition, committed, low)
        start, restored_closes_ns = restored or (low, [])
        emit_from = max(committed.offset, low) if committed else low
        self._partitions[partition] = PartitionState(
            partition,
            self._engine,
            start,
            emit_from,
            [
                close
                for close in clock_closes
                if start <= close.offset <= emit_from
                # those at the snapshot's offset can be part of it
                and (close.offset > start or close.now_ns not in restored_closes_ns)
            ],
            is_committed=committed is not None,
            snapshot_offset=start if restored else None,
        )
        return start

    def _restore_snapshot(
        self, partition: int, committed: CommittedOffset | None, low: int
    ) -> tuple[int, list[int]] | None:
        """Restore the latest usable snapshot; return its offset and the clock closes at that offset."""
        if committed is None:
            return None
        reason = "there is no snapshot"
        stored = self._snapshots.read_latest(partition, committed.offset)
        if stored and stored[0] >= low:
            try:
                return stored[0], engine_state.restore(self._engine, partition, stored[1])
            except engine_state.OutdatedSnapshot as error:
                reason = error.message
        self._warn_of_replay(partition, low, committed.offset, reason)
        return None

    def _committed_clock_closes(self, committed: CommittedOffset | None) -> list[ClockClose]:
        if not committed or not committed.metadata:
            return []
        try:
            metadata = msgspec.json.decode(committed.metadata, type=CommitMetadata)
        except msgspec.MsgspecError:
            return []  # another program's metadata
        if metadata.topic_id != self._topic.topic_id:
            raise self._recreated_error()
        return metadata.clock_closes

    def _warn_of_replay(self, partition: int, low: int, committed_offset: int, reason: str) -> None:
        of_partition = f"of {self._topic.name} partition {partition}"
        if committed_offset < low:
            self._listeners.on_warning(
                f"Kafka deleted the offsets {committed_offset} to {low - 1} {of_partition} before they were "
                "read: bars start over. Lengthen the topic's retention."
            )
        elif committed_offset > low:
            self._listeners.on_warning(
                f"{reason} {of_partition}: replaying the offsets {low} to {committed_offset - 1}"
            )

    def _on_revoke(self, topic_partition: Partition) -> None:
        partition = topic_partition[1]
        if state := self._partitions.get(partition):
            try:
                self._publisher.complete()
            except TickerlakeError as error:
                # raised by the run loop: Kafka's client would swallow it here
                self._revoke_error = error
            self._store_snapshot(state)
            del self._partitions[partition]
        self._engine.drop_partition(partition)

    def _check_topic(self) -> None:
        with suppress(BrokerUnreachable):
            if self._tracker.admin.require_topic(self._topic.name).topic_id != self._topic.topic_id:
                raise self._recreated_error()

    def _recreated_error(self) -> KafkaError:
        return KafkaError(
            f"The topic {self._topic.name} was recreated since the group {self._tracker.group} read it.",
            "Use another --group to read the new one.",
        )

    # -- reading

    def _poll_and_process(self) -> list[Output]:
        outputs, live_frames = [], []
        for batch in self._poll():
            state = self._partitions[batch.partition[1]]
            state.at_end = batch.at_end
            if not batch.frame.height:
                continue
            self._progress.records += batch.frame.height
            if state.is_live:
                live_frames.append(state.advance(batch.frame))
            else:
                outputs += state.replay(batch.frame)
        if live_frames:
            outputs.append(self._engine.process(pl.concat(live_frames)))
        return outputs

    def _poll(self) -> list[RecordBatch]:
        try:
            batches = list(self._consumer.poll(_POLL_TIMEOUT_S, self._options.batch_records))
        except LakeError:
            self._check_topic()
            raise
        return [batch for batch in batches if batch.partition[1] in self._partitions]

    def _close_idle_bars(self) -> list[Output]:
        now_ns, idle_ns = clock.now_ns(), self._options.engine.idle_ns
        outputs = (state.close_idle(now_ns, idle_ns) for state in self._partitions.values())
        return [output for output in outputs if output]

    def _has_reached_end(self) -> bool:
        """Return whether all partitions are read, those of other workers too: they can be assigned to us."""
        if not self._consumer.assignments or not all(state.at_end for state in self._partitions.values()):
            return False
        others = set(range(self._topic.partitions)) - set(self._partitions)
        now_s = clock.monotonic_s()
        if not others or now_s - self._end_checked_s < _END_CHECK_INTERVAL_S:
            return not others
        self._end_checked_s = now_s
        starts = dict.fromkeys(others, 0) | self._consumer.committed_offsets(self._topic.name, others)
        tracker = self._tracker
        unread = read_all(tracker.bootstrap_servers, tracker.properties, tracker.topic, starts)
        return next(unread, None) is None

    # -- committing

    def _commit(self, outputs: Sequence[Output]) -> None:
        """Start to publish results and offsets; the next batch is computed in the meantime."""
        self._publisher.complete()
        checkpoints = [
            (state, state.checkpoint)
            for state in self._partitions.values()
            if state.is_live and state.checkpoint != state.committed
        ]
        if not checkpoints:
            return
        positions = {
            (self._topic.name, state.partition): (
                checkpoint.next_offset,
                checkpoint.encode_metadata(self._topic.topic_id),
            )
            for state, checkpoint in checkpoints
        }

        def on_committed() -> None:
            for state, checkpoint in checkpoints:
                state.committed = checkpoint
            alerts = [raised.alert for output in outputs for raised in output.alerts]
            # records are in order per partition, people read in order of time
            for alert in sorted(alerts, key=lambda alert: alert.ts_event_ns):
                self._listeners.on_alert(alert)

        self._publisher.publish(outputs, positions, self._consumer.group_metadata(), on_committed)

    # -- snapshots

    def _store_due_snapshots(self) -> None:
        now_s, options = clock.monotonic_s(), self._options
        for state in self._partitions.values():
            if state.is_snapshot_due(now_s, options.snapshot_s, options.snapshot_records):
                self._publisher.complete()
                self._store_snapshot(state)

    def _store_snapshot(self, state: PartitionState) -> None:
        """Store the state if it is that of the committed offset."""
        if not state.can_snapshot:
            return
        try:
            created = self._snapshots.save(state.partition, state.position, state.snapshot())
        except (StoreError, StoreUnavailable) as error:
            self._listeners.on_warning(f"no snapshot was stored, it will be retried later: {error}")
            return
        state.record_snapshot(created=created)

    def _refresh_progress(self) -> TrackProgress:
        progress, states = self._progress, self._partitions.values()
        progress.instruments = len(self._engine.instruments)
        progress.open_bars = self._engine.open_bars
        progress.replaying = sum(not state.is_live for state in states)
        progress.lag = sum(self._lag(state) for state in states if not state.at_end)
        return progress

    def _lag(self, state: PartitionState) -> int:
        high = self._consumer.cached_high_watermark((self._topic.name, state.partition))
        return max(0, high - state.position)
