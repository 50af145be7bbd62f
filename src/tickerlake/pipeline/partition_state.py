"""One partition of `track`: its position, the replay after an assignment, and what to commit and store."""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

import msgspec
import polars as pl

from tickerlake import clock
from tickerlake.analytics import engine_state
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.types import Output

MAX_CLOCK_CLOSES: Final = 60
"""Kafka accepts 4,096 bytes of commit metadata by default; a clock close takes about 50."""

_IDLE_CHECK_INTERVAL_S: Final = 2.0
_IDLE_CHECK_BACKOFF: Final = 1.2
"""Each clock close at one offset makes the next check rarer: 2 s × Σ 1.2ⁿ over 60 closes is 6.5 days."""


class ClockClose(NamedTuple):
    """Bars closed by the clock: the partition's next offset, the time, and how long a bar had to be idle."""

    offset: int
    now_ns: int
    idle_ns: int


class CommitMetadata(msgspec.Struct, frozen=True):
    """What Kafka stores with a committed offset: the topic, and the clock closes since the last snapshot."""

    topic_id: str
    clock_closes: list[ClockClose] = []


class Checkpoint(NamedTuple):
    """What a commit makes durable: the next offset, and the clock closes since the last snapshot."""

    next_offset: int
    clock_closes: tuple[ClockClose, ...]

    def encode_metadata(self, topic_id: str) -> str:
        """Return the commit metadata."""
        return msgspec.json.encode(CommitMetadata(topic_id, list(self.clock_closes))).decode()


class PartitionMode(Enum):
    """What happens to the results of a partition's records."""

    REPLAYING = auto()
    """They are committed already: the records only rebuild the state."""

    LIVE = auto()
    """They are published. Only here can the clock close bars, once the partition is read to its end."""


class PartitionState:
    """The state of an assigned partition.

    It starts at a snapshot, or at the earliest offset, and is `REPLAYING` until it reaches the committed
    offset; from there on it is `LIVE`.

    Parameters
    ----------
    partition
        Its number.
    engine
        Holds the state of its instruments, restored from the snapshot.
    start
        The offset to read from.
    emit_from
        The committed offset, or ``start``: results of earlier records are committed already.
    clock_closes
        Those between ``start`` and ``emit_from`` that the snapshot does not contain, in order.
    is_committed
        Whether the group has committed an offset of this partition.
    snapshot_offset
        The offset of the last snapshot.

    Attributes
    ----------
    position
        The next offset.
    at_end
        Whether the partition was read to its end; also while replaying.
    committed
        The last committed checkpoint.
    """

    def __init__(
        self,
        partition: int,
        engine: Engine,
        start: int,
        emit_from: int,
        clock_closes: Sequence[ClockClose],
        *,
        is_committed: bool,
        snapshot_offset: int | None,
    ) -> None:
        self.partition = partition
        self.position = start
        self.mode = PartitionMode.REPLAYING
        self.at_end = False
        self.committed = Checkpoint(emit_from, tuple(clock_closes)) if is_committed else None
        self._engine = engine
        self._emit_from = emit_from
        self._clock_closes = list(clock_closes)
        self._closes_to_replay = deque(clock_closes)
        self._snapshot_offset = snapshot_offset
        self._records_since_snapshot = 0
        self._snapshot_at_s = clock.monotonic_s()
        self._idle_checked_ns = 0
        self._replay_clock_closes()

    @property
    def is_live(self) -> bool:
        """Whether results of the next record are to be published."""
        return self.mode is PartitionMode.LIVE

    @property
    def checkpoint(self) -> Checkpoint:
        """What the next commit should make durable."""
        return Checkpoint(self.position, tuple(self._clock_closes))

    def advance(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Move past these records, and return them as input of the engine."""
        self.position = int(frame.item(-1, "offset")) + 1
        self._records_since_snapshot += frame.height
        partition = pl.lit(self.partition, dtype=pl.Int64).alias("partition")
        return frame.select(partition, "offset", "timestamp_ms", "value")

    def replay(self, frame: pl.DataFrame) -> list[Output]:
        """Process records with the clock closes between them; return the results that are not committed."""
        rest, outputs = frame, []
        while rest.height:
            until = self._closes_to_replay[0].offset if self._closes_to_replay else None
            part, rest = (rest, rest.clear()) if until is None else _split_at(rest, until)
            if part.height:
                outputs.append(_results_from(self._engine.process(self.advance(part)), self._emit_from))
            if until is not None and rest.height:
                # offsets can have holes: all records before the clock close are processed
                self.position = max(self.position, until)
            self._replay_clock_closes()
        return outputs

    def _replay_clock_closes(self) -> None:
        while self._closes_to_replay and self._closes_to_replay[0].offset <= self.position:
            close = self._closes_to_replay.popleft()
            self._engine.close_idle(self.partition, close.now_ns, close.idle_ns)
        if self.position >= self._emit_from:
            self.mode = PartitionMode.LIVE

    def close_idle(self, now_ns: int, idle_ns: int) -> Output | None:
        """Let the clock close bars if a check is due; None if nothing came of it."""
        if not self._is_idle_check_due(now_ns):
            return None
        self._idle_checked_ns = now_ns
        output = self._engine.close_idle(self.partition, now_ns, idle_ns)
        if not has_results(output):
            return None
        self._clock_closes.append(ClockClose(self.position, now_ns, idle_ns))
        return output

    def _is_idle_check_due(self, now_ns: int) -> bool:
        if not (self.is_live and self.at_end) or len(self._clock_closes) >= MAX_CLOCK_CLOSES:
            return False
        interval_s = _IDLE_CHECK_INTERVAL_S * _IDLE_CHECK_BACKOFF ** len(self._closes_at_position())
        return now_ns - self._idle_checked_ns >= interval_s * 1_000_000_000

    def _closes_at_position(self) -> list[ClockClose]:
        return [close for close in self._clock_closes if close.offset == self.position]

    def is_snapshot_due(self, now_s: float, interval_s: float, interval_records: int) -> bool:
        """Return whether a snapshot is due, by time, by records or for lack of room for clock closes."""
        if len(self._clock_closes) >= MAX_CLOCK_CLOSES:
            return True
        records = self._records_since_snapshot
        is_late = now_s - self._snapshot_at_s >= interval_s
        return records > 0 and (is_late or records >= interval_records)

    @property
    def can_snapshot(self) -> bool:
        """Whether the state is exactly what is committed, and differs from the last snapshot."""
        has_changed = self.position != self._snapshot_offset or bool(self._clock_closes)
        return self.is_live and self.checkpoint == self.committed and has_changed

    def snapshot(self) -> bytes:
        """Return the state as bytes; the next snapshot is due one interval from now."""
        self._snapshot_at_s = clock.monotonic_s()
        closes_ns = [close.now_ns for close in self._closes_at_position()]
        return engine_state.snapshot(self._engine, self.partition, closes_ns)

    def record_snapshot(self, *, created: bool) -> None:
        """Record that a snapshot at this position is stored, by this worker or (not created) before."""
        if created:
            # a snapshot that existed before does not contain the clock closes at its offset
            self._clock_closes = []
        self._snapshot_offset, self._records_since_snapshot = self.position, 0


def has_results(output: Output) -> bool:
    """Return whether there is anything to publish."""
    return bool(output.bars.height or output.indicators.height or output.alerts or output.rejects.height)


def _split_at(frame: pl.DataFrame, offset: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    is_before = pl.col("offset") < offset
    return frame.filter(is_before), frame.filter(~is_before)


def _results_from(output: Output, offset: int) -> Output:
    """Drop the results of records before an offset."""
    is_new = pl.col("offset") >= offset
    return Output(
        output.bars.filter(is_new),
        output.indicators.filter(is_new),
        [raised for raised in output.alerts if raised.offset >= offset],
        output.rejects.filter(is_new),
        output.skipped,
        output.rows,
    )
