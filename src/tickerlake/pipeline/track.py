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
from tickerlake.analytics import snapshot
from tickerlake.analytics.engine import Engine, EngineOptions, Output, Watcher
from tickerlake.analytics.sessions import Sessions
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
from tickerlake.kafka.consumer import UNFINISHED, Batch, Committed, Consumer, Partition, read_all
from tickerlake.kafka.producer import Producer
from tickerlake.lake.segment import check_topic
from tickerlake.lake.states import States
from tickerlake.lake.store.base import Store
from tickerlake.model.alert import Alert
from tickerlake.pipeline.locks import slot
from tickerlake.pipeline.publish import Publisher

_POLL_S = 0.05
_TRANSACTION_MS: Final = 15_000
_COMMIT_S: Final = 1.0
_IDLE_CHECK_S: Final = 2.0
_CHECK_S: Final = 5.0
_RETRY_S: Final = 1.0
_ASK_S: Final = 1.0
_FENCED_AGAIN_S: Final = 60.0
"""Who is ended by another twice within this time gives way: both work under one name."""
_MOST_IDLE: Final = 60
"""Moments that fit into a note: Kafka takes 4,096 bytes."""
_RARER: Final = 1.2
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
    refused: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)


class Moment(NamedTuple):
    """When the clock closed bars: before which offset, at which time, and how long they had to be idle."""

    offset: int
    now_ns: int
    idle_ns: int


class Note(msgspec.Struct, frozen=True):
    """What stands beside a committed offset.

    ``idle`` are the moments since the last snapshot.
    """

    topic_id: str
    idle: list[Moment] = []


@dataclass(slots=True)
class _Lane:
    """How far one partition has been read; up to ``emit_from`` what comes out was written before."""

    position: int
    emit_from: int
    idle: list[Moment] = field(default_factory=list)
    again: list[Moment] = field(default_factory=list)
    committed: tuple[int, tuple[Moment, ...]] = (-1, ())
    kept: int = -1
    since: int = 0
    kept_s: float = 0.0
    looked_ns: int = 0
    at_end: bool = False

    @property
    def state(self) -> tuple[int, tuple[Moment, ...]]:
        return self.position, tuple(self.idle)

    @property
    def here(self) -> list[Moment]:
        """The clock's moments since the last record."""
        return [moment for moment in self.idle if moment.offset == self.position]

    @property
    def replaying(self) -> bool:
        return self.position < self.emit_from


class Track:
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
        self._lanes: dict[int, _Lane] = {}
        self._asked_s = 0.0
        self._on_warning: Callable[[str], None] = lambda _: None

    def prepare(self) -> list[str]:
        """Create the topics that are missing, and return their names."""
        about = self._admin.require(self.topic)
        self._topic_id, self._partitions = about.topic_id, about.partitions
        self._states = States(self._store, self.group, self.topic, about.topic_id)
        wanted = {self._name("bars"): about.partitions, self._name("indicators"): about.partitions}
        wanted |= {self._name("alerts"): 1, self._name("refused"): 1}
        return [
            name
            for name, count in wanted.items()
            if self._admin.describe(name) is None and self._admin.create(name, count)
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
        with slot(f"track.{self.group}") as number:
            # one that comes back after a crash ends at once what it left open, and has its partitions again
            name = f"tickerlake-track-{self.group}-{socket.gethostname()}-{number}"
            self._run(name, stop, until_end, on_progress or (lambda _: None), on_alert or (lambda _: None))
        return self.progress

    def _run(
        self,
        name: str,
        stop: threading.Event,
        until_end: bool,
        on_progress: Callable[[TrackProgress], None],
        on_alert: Callable[[Alert], None],
    ) -> None:
        """Turn the crank; where Kafka was away, or gave work to others, begin where it was committed."""
        producer: Producer | None = None
        fenced_s = clock.monotonic_s() - _FENCED_AGAIN_S
        while True:
            self._consumer = Consumer(
                self._servers, self.group, self._properties, self._open, self._drop, instance=name
            )
            try:
                self._consumer.subscribe([self.topic])
                producer = producer or self._producer(name)
                self._turn(producer, stop, until_end, on_progress, on_alert)
                self._now()
            except (BrokerUnreachable, Rebalanced, Fenced) as error:
                now_s = clock.monotonic_s()
                if stop.is_set() or (isinstance(error, Fenced) and now_s - fenced_s < _FENCED_AGAIN_S):
                    raise
                if isinstance(error, Fenced):
                    fenced_s = now_s
                if not isinstance(error, Rebalanced):
                    producer = None
                self._on_warning(f"{error.message} Beginning again where it was committed.")
                self._forget()
                stop.wait(_RETRY_S)
            else:
                return
            finally:
                self._consumer.close()

    def _producer(self, name: str) -> Producer:
        return Producer(self._servers, name, self._properties, timeout_ms=_TRANSACTION_MS)

    def _forget(self) -> None:
        """Drop what was computed and not written."""
        for partition in list(self._lanes):
            del self._lanes[partition]
            self.engine.drop(partition)

    def _turn(
        self,
        producer: Producer,
        stop: threading.Event,
        until_end: bool,
        on_progress: Callable[[TrackProgress], None],
        on_alert: Callable[[Alert], None],
    ) -> None:
        self._publisher = publisher = Publisher(producer, self.topic, self.options.prefix)
        self._failure: Exception | None = None
        committed_s = checked_s = clock.monotonic_s()
        try:
            while not stop.is_set():
                outputs = [*self._read(), *self._closed_by_clock()]
                if self._failure:
                    raise self._failure
                self._count(outputs)
                now_s = clock.monotonic_s()
                if any(map(_says_something, outputs)) or now_s - committed_s >= _COMMIT_S:
                    committed_s = now_s
                    self._commit(outputs, on_alert)
                publisher.settle(wait=False)
                if now_s - checked_s >= _CHECK_S:
                    checked_s = now_s
                    self._check_topic()
                    self._keep_old()
                on_progress(self._now())
                if until_end and self._all_read():
                    if hidden := len(self._consumer.unfinished):
                        self._on_warning(UNFINISHED.format(hidden))
                    break
            self._commit([], on_alert)
            publisher.settle()
            on_progress(self._now())
            for partition in self._lanes:
                self._keep(partition)
        finally:
            publisher.close()

    def _name(self, what: str) -> str:
        return f"{self.options.prefix}.{what}"

    # -- partitions come and go

    def _open(self, place: Partition, committed: Committed | None) -> int:
        partition = place[1]
        low, high = self._consumer.watermarks(place)
        note = self._note(committed)
        emit_from = committed.offset if committed else low
        if committed and committed.offset > high:
            raise KafkaError(
                f"{self.group} has read {self.topic} partition {partition} up to offset "
                f"{committed.offset - 1}, but Kafka's log ends at {high}.",
                "The broker lost its log. Begin anew with another --group.",
            )
        found = self._states.newest(partition, emit_from) if committed else None
        start, known = low, list[int]()
        if found and found[0] >= low:
            start = found[0]
            known = snapshot.restore(self.engine, partition, found[1])
        elif emit_from > low or low > 0:
            self._warn_of_gap(partition, low, emit_from, committed)
        emit_from = max(emit_from, low)
        again = [moment for moment in note.idle if start <= moment.offset <= emit_from] if note else []
        # those at the snapshot's offset may be in it
        again = [moment for moment in again if moment.offset > start or moment.now_ns not in known]
        lane = _Lane(
            start, emit_from, list(again), again, kept=start if found else -1, kept_s=clock.monotonic_s()
        )
        lane.committed = (emit_from, tuple(again)) if committed else (-1, ())
        self._lanes[partition] = lane
        self._repeat_moments(partition, lane)
        return start

    def _warn_of_gap(self, partition: int, low: int, emit_from: int, committed: Committed | None) -> None:
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

    def _note(self, committed: Committed | None) -> Note | None:
        if not committed or not committed.note:
            return None
        try:
            note = msgspec.json.decode(committed.note, type=Note)
        except msgspec.MsgspecError:
            return None  # another program's
        if note.topic_id != self._topic_id:
            raise self._renewed()
        return note

    def _check_topic(self) -> None:
        with suppress(BrokerUnreachable):
            if self._admin.require(self.topic).topic_id != self._topic_id:
                raise self._renewed()

    def _renewed(self) -> KafkaError:
        return KafkaError(
            f"The topic {self.topic} was deleted and created anew since {self.group} has read it.",
            "Begin with the new one under another --group.",
        )

    def _drop(self, place: Partition) -> None:
        partition = place[1]
        if partition in self._lanes:
            try:
                self._publisher.settle()
            except TickerlakeError as error:
                # told to `_turn`, as the client would swallow it
                self._failure = error
            self._keep(partition)
            del self._lanes[partition]
        self.engine.drop(partition)

    # -- reading

    def _read(self) -> list[Output]:
        batches = self._polled()
        outputs, together = [], []
        for batch in batches:
            lane = self._lanes[batch.partition[1]]
            lane.at_end = batch.at_end
            if not batch.frame.height:
                continue
            self.progress.records += batch.frame.height
            if lane.again or lane.replaying:
                outputs += self._replayed(batch, lane)
            else:
                together.append(_placed(batch.frame, batch.partition[1]))
                self._advance(lane, batch.frame)
        if together:
            outputs.append(self.engine.take(pl.concat(together)))
        return outputs

    def _polled(self) -> list[Batch]:
        try:
            polled = list(self._consumer.poll(_POLL_S, self.options.batch_records))
        except LakeError:
            self._check_topic()
            raise
        return [batch for batch in polled if batch.partition[1] in self._lanes]

    def _replayed(self, batch: Batch, lane: _Lane) -> list[Output]:
        """Repeat what was done, with the clock's moments at their places; only what is new comes out."""
        partition, rest, outputs = batch.partition[1], batch.frame, []
        while rest.height:
            until = lane.again[0].offset if lane.again else rest.item(-1, "offset") + 1
            part, rest = rest.filter(pl.col("offset") < until), rest.filter(pl.col("offset") >= until)
            if part.height:
                outputs.append(_from(self.engine.take(_placed(part, partition)), lane.emit_from))
                self._advance(lane, part)
            if rest.height:
                # nothing is left before it, though a batch may end before a moment's place
                lane.position = max(lane.position, until)
            self._repeat_moments(partition, lane)
        return outputs

    def _repeat_moments(self, partition: int, lane: _Lane) -> None:
        while lane.again and lane.again[0].offset <= lane.position:
            moment = lane.again.pop(0)
            self.engine.idle(partition, moment.now_ns, moment.idle_ns)

    def _advance(self, lane: _Lane, frame: pl.DataFrame) -> None:
        lane.position = int(frame.item(-1, "offset")) + 1
        lane.since += frame.height

    def _closed_by_clock(self) -> list[Output]:
        now_ns, outputs = clock.now_ns(), []
        for partition, lane in self._lanes.items():
            if not lane.at_end or lane.replaying or lane.again or len(lane.idle) >= _MOST_IDLE:
                continue
            if now_ns - lane.looked_ns < _IDLE_CHECK_S * _RARER ** len(lane.here) * 1_000_000_000:
                continue
            lane.looked_ns = now_ns
            idle_ns = self.options.engine.idle_ns
            output = self.engine.idle(partition, now_ns, idle_ns)
            if _says_something(output):
                lane.idle.append(Moment(lane.position, now_ns, idle_ns))
                outputs.append(output)
        return outputs

    def _all_read(self) -> bool:
        """Tell whether nothing is left, nor in partitions that are not ours: they may be soon."""
        if not self._consumer.assignments or not all(lane.at_end for lane in self._lanes.values()):
            return False
        others = set(range(self._partitions)) - set(self._lanes)
        now_s = clock.monotonic_s()
        if not others or now_s - self._asked_s < _ASK_S:
            return not others
        self._asked_s = now_s
        starts = dict.fromkeys(others, 0) | self._consumer.committed(self.topic, others)
        left = read_all(self._servers, self._properties, self.topic, starts)
        return next(left, None) is None

    # -- writing

    def _commit(self, outputs: Sequence[Output], on_alert: Callable[[Alert], None]) -> None:
        """Hand results over to be written; what is computed next waits for them at most."""
        self._publisher.settle()
        moved = {
            partition: lane
            for partition, lane in self._lanes.items()
            if not lane.replaying and lane.state != lane.committed
        }
        if not moved:
            return
        states = {partition: lane.state for partition, lane in moved.items()}
        positions = {
            (self.topic, partition): (
                lane.position,
                msgspec.json.encode(Note(self._topic_id, lane.idle)).decode(),
            )
            for partition, lane in moved.items()
        }

        def then() -> None:
            for partition, state in states.items():
                # one that was given away meanwhile is no longer ours to count
                if self._lanes.get(partition) is moved[partition]:
                    moved[partition].committed = state
            raised = [each.alert for output in outputs for each in output.alerts]
            # partitions are read side by side: people read by time
            for alert in sorted(raised, key=lambda alert: alert.ts_event_ns):
                on_alert(alert)

        self._publisher.publish(outputs, positions, self._consumer.group_metadata(), then)

    # -- snapshots

    def _keep_old(self) -> None:
        now_s, options = clock.monotonic_s(), self.options
        for partition, lane in self._lanes.items():
            old = now_s - lane.kept_s >= options.snapshot_s or lane.since >= options.snapshot_records
            if (old and lane.since) or len(lane.idle) >= _MOST_IDLE:
                self._publisher.settle()
                self._keep(partition)

    def _keep(self, partition: int) -> None:
        """Store the state at the offset that is committed, and forget the moments before it."""
        lane = self._lanes[partition]
        if lane.replaying or lane.state != lane.committed or (lane.position == lane.kept and not lane.idle):
            return
        lane.kept_s = clock.monotonic_s()
        try:
            moments = [moment.now_ns for moment in lane.here]
            state = snapshot.take(self.engine, partition, moments)
            created = self._states.keep(partition, lane.position, state)
        except (StoreError, StoreUnavailable) as error:
            self._on_warning(f"no snapshot was stored, it is tried again later: {error}")
            return
        if created:
            # moments at the offset of a snapshot that was there before are not in it
            lane.idle = []
        lane.kept, lane.since = lane.position, 0

    # -- counting

    def _count(self, outputs: Sequence[Output]) -> None:
        totals = self.progress
        for output in outputs:
            totals.rows += output.rows
            restated = int((output.bars.get_column("revision") > 0).sum())
            totals.bars += output.bars.height - restated
            totals.restated += restated
            totals.indicators += output.indicators.height
            totals.alerts += len(output.alerts)
            totals.ignored += output.ignored
            totals.refused.update(output.refused.get_column("reason"))

    def _now(self) -> TrackProgress:
        totals = self.progress
        totals.instruments = len(self.engine.instruments)
        totals.open_bars = self.engine.open_bars
        totals.replaying = sum(lane.replaying for lane in self._lanes.values())
        totals.lag = sum(
            0 if lane.at_end else max(0, self._consumer.known_end((self.topic, partition)) - lane.position)
            for partition, lane in self._lanes.items()
        )
        return totals


def _placed(frame: pl.DataFrame, partition: int) -> pl.DataFrame:
    return frame.select(
        pl.lit(partition, dtype=pl.Int64).alias("partition"), "offset", "timestamp_ms", "value"
    )


def _says_something(output: Output) -> bool:
    return bool(output.bars.height or output.indicators.height or output.alerts or output.refused.height)


def _from(output: Output, offset: int) -> Output:
    """Leave out what was written before."""
    new = pl.col("offset") >= offset
    return Output(
        output.bars.filter(new),
        output.indicators.filter(new),
        [raised for raised in output.alerts if raised.offset >= offset],
        output.refused.filter(new),
        output.ignored,
        output.rows,
    )
