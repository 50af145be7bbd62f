"""A randomized simulation of the sink against a simulated Kafka and store; a seed determines each run.

One thread runs everything: the real `pipeline.sink`, `lake.writer` and `lake.segment` of several workers, a
log that grows, is compacted and loses its beginning, and a network that loses replies of the store and
delivers requests late. At the end a last worker stores the rest without faults, and `check_stored` reads what
is stored without the code under test.

As a script it runs many seeds: ``python -m fault.simulation --seeds 20000`` in the folder tests.
"""

import argparse
import gzip
import io
import json
import random
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl
import pytest

from support.oracle import select_rejects
from tickerlake import clock
from tickerlake.errors import ObjectExists, StoreUnavailable
from tickerlake.kafka.admin import Topic
from tickerlake.kafka.client import Partition
from tickerlake.kafka.consumer import CommittedOffset
from tickerlake.kafka.reader import RecordBatch
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.store.base import ObjectInfo
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import Format
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA
from tickerlake.pipeline import sink
from tickerlake.pipeline.sink import Sink, SinkOptions

SeededBug = Callable[[pytest.MonkeyPatch], None]
# long enough for a few workers to start, fail and overtake each other
STEPS = 120
# two, so that faults of one partition can affect the other
PARTITIONS = 2


class InvariantViolation(Exception):
    """Stored records are not what Kafka holds."""


class Killed(BaseException):
    """The process was killed during a call."""


@dataclass
class SimWorld:
    """What outlives a worker: Kafka, the store, the clock and the random generator.

    Parameters
    ----------
    rng
        The source of all randomness.
    format
        Format of the segments.
    logs
        What Kafka holds now, by partition and offset.
    history
        All that Kafka ever held.
    event_counts
        How often each event occurred.
    """

    rng: random.Random
    format: Format
    logs: list[dict[int, bytes | None]]
    history: list[dict[int, bytes | None]]
    high_watermarks: list[int]
    low_watermarks: list[int]
    owners: list["Worker | None"]
    committed: dict[int, CommittedOffset] = field(default_factory=dict)
    delayed_requests: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    event_counts: Counter[str] = field(default_factory=Counter)
    now_s: float = 0.0
    faults_disabled: bool = False
    store: "UnreliableStore" = field(init=False)

    def __post_init__(self) -> None:
        self.store = UnreliableStore(self)

    def should_inject(self, percent: float, fault: str) -> bool:
        """Decide at random whether a fault occurs, and count it."""
        injected = not self.faults_disabled and self.rng.random() * 100 < percent
        self.event_counts[fault] += injected
        return injected


class UnreliableStore(MemoryStore):
    """A create-only store behind a network."""

    def __init__(self, world: SimWorld) -> None:
        super().__init__()
        self._world = world
        self.kill_after_writes: int | None = None
        """Number of writes before the process is killed: 0 kills it at the next one."""

    def create(self, key: str, data: bytes, *, metadata: Mapping[str, str], content_type: str = "") -> None:
        world = self._world
        if self.kill_after_writes is not None:
            self.kill_after_writes -= 1
            if self.kill_after_writes < 0:
                self.kill_after_writes = None
                outcome = world.rng.randrange(3)
                if outcome == 0:
                    world.delayed_requests.append((key, data, dict(metadata)))
                elif outcome == 1:
                    self.deliver_late(key, data, metadata)
                raise Killed
        if world.should_inject(3, "request lost"):
            raise StoreUnavailable("not sent")
        if world.should_inject(3, "request late"):
            world.delayed_requests.append((key, data, dict(metadata)))
            raise StoreUnavailable("still in flight after the timeout")
        if world.should_inject(3, "request late and repeated"):
            world.delayed_requests.append((key, data, dict(metadata)))
        super().create(key, data, metadata=metadata)
        if world.should_inject(4, "reply lost"):
            raise StoreUnavailable("stored, but the reply was lost")
        if world.should_inject(4, "reply lost and repeated"):
            raise ObjectExists("reply to a repeated request")

    def deliver_late(self, key: str, data: bytes, metadata: Mapping[str, str]) -> None:
        """Deliver a delayed request to the store."""
        with suppress(ObjectExists):
            super().create(key, data, metadata=metadata)

    def stat(self, key: str) -> ObjectInfo | None:
        if self._world.should_inject(1, "read failed"):
            raise StoreUnavailable("no reply")
        return super().stat(key)


class SimAdmin:
    """Replaces `kafka.admin.Admin`."""

    def __init__(self, world: SimWorld) -> None:
        self._world = world

    def require_topic(self, topic: str) -> Topic:
        return Topic(topic, "id", "cluster", PARTITIONS)

    def watermarks(self, topic: Topic) -> dict[int, tuple[int, int]]:
        del topic
        return dict(enumerate(zip(self._world.low_watermarks, self._world.high_watermarks, strict=True)))


class SimConsumer:
    """Replaces `kafka.consumer.Consumer`; it can keep partitions that are no longer assigned to it."""

    def __init__(
        self,
        world: SimWorld,
        on_assign: Callable[[Partition, CommittedOffset | None], int],
        on_revoke: Callable[[Partition], None],
    ) -> None:
        self.assignments = 0
        self.positions: dict[int, int] = {}
        self._world, self._on_assign, self._on_revoke = world, on_assign, on_revoke
        self._paused: set[int] = set()

    def subscribe(self, topics: list[str]) -> None:
        del topics

    def sim_assign(self, number: int) -> None:
        self.assignments += 1
        self.positions[number] = self._on_assign(("t", number), self._world.committed.get(number))

    def sim_revoke(self, number: int) -> None:
        if self.positions.pop(number, None) is not None:
            self._on_revoke(("t", number))

    def poll(self, timeout_s: float) -> Iterator[RecordBatch]:
        del timeout_s
        world = self._world
        for number in list(self.positions):
            if number in self._paused or world.should_inject(30, "nothing fetched"):
                continue
            start = self.positions[number]
            if start < world.low_watermarks[number]:
                world.event_counts["overtaken by retention"] += 1
                raise StoreUnavailable("stands for LakeError: the offset was deleted")
            available = [offset for offset in sorted(world.logs[number]) if offset >= start]
            fetched = available if world.faults_disabled else available[: world.rng.randint(1, 12)]
            rows = [(offset, offset, None, world.logs[number][offset], None) for offset in fetched]
            if fetched:
                self.positions[number] = fetched[-1] + 1
            elif world.high_watermarks[number] > start:
                self.positions[number] = world.high_watermarks[number]
            frame = pl.DataFrame(rows, schema=KAFKA_RECORD_SCHEMA, orient="row")
            yield RecordBatch(("t", number), frame, len(fetched) == len(available))

    def commit(self, partition: Partition, offset: int, metadata: str) -> None:
        number = partition[1]
        is_owner = self._world.owners[number] is not None and self._world.owners[number].consumer is self  # type: ignore[union-attr]
        if is_owner or self._world.should_inject(30, "zombie commits"):
            if self._world.should_inject(20, "commit lost"):
                return
            self._world.committed[number] = CommittedOffset(offset, metadata)

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        return self._world.low_watermarks[partition[1]], self._world.high_watermarks[partition[1]]

    def cached_high_watermark(self, partition: Partition) -> int:
        return self._world.high_watermarks[partition[1]]

    def pause(self, partitions: list[Partition]) -> None:
        self._paused = {number for _, number in partitions}

    def resume(self, partitions: list[Partition]) -> None:
        del partitions
        self._paused = set()

    def close(self) -> None:
        for number in list(self.positions):
            self.sim_revoke(number)


class SimPool:
    """Replaces the threads that store; the simulation decides when a task runs."""

    def __init__(self) -> None:
        self.pending: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, store: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.pending.append((future, partial(store, *arguments)))
        return future

    def map(self, store: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        return [store(item) for item in items]

    def run_task(self, index: int = 0) -> None:
        future, store = self.pending.pop(index)
        try:
            future.set_result(store())
        except Exception as error:
            future.set_exception(error)

    def shutdown(self, **_: bool) -> None:
        while self.pending:
            self.run_task()


class Worker:
    """A sink process."""

    def __init__(self, world: SimWorld) -> None:
        rng = world.rng
        self.world = world
        self.alive = True
        options = SinkOptions(
            format=world.format,
            flush_records=rng.randint(1, 15),
            flush_bytes=rng.choice([300, 1 << 20]),
            flush_age_s=rng.choice([0.5, 5, 50]),
            buffer_bytes=rng.choice([500, 1 << 20]),
            on_gap="record",
        )
        self.sink = Sink("", ["t"], world.store, "g", options)
        self.consumer: SimConsumer = self.sink._consumer  # type: ignore[assignment]
        self.pool: SimPool = self.sink._pool  # type: ignore[assignment]

    def run_guarded(self, action: Callable[[], None]) -> None:
        """Run an action, or end the process as `run` would."""
        try:
            action()
        except StoreUnavailable:
            self.world.event_counts["store timed out"] += 1
            self.alive = False
            self.sink.close()

    def kill(self) -> None:
        """Kill the process; its uploads in flight may or may not arrive."""
        self.alive = False
        for _, task in self.pool.pending:
            if self.world.should_inject(60, "killed while storing"):
                self.world.store.kill_after_writes = self.world.rng.randrange(3)
                with suppress(Killed, StoreUnavailable):
                    task()
                self.world.store.kill_after_writes = None


@contextmanager
def simulated_environment(world: SimWorld, seeded_bug: SeededBug | None) -> Iterator[None]:
    """Replace the real parts by the simulated ones."""
    with pytest.MonkeyPatch.context() as patch:

        def wait(futures: list[Future[Any]], *_: object) -> Any:
            done = {future for future in futures if future.done()}
            return type("Waited", (), {"done": done})

        patch.setattr(sink, "Admin", lambda *_: SimAdmin(world))
        patch.setattr(sink, "Consumer", lambda a, b, c, *on: SimConsumer(world, *on))
        patch.setattr(sink, "ThreadPoolExecutor", lambda *_, **__: SimPool())
        patch.setattr(sink, "wait", wait)
        patch.setattr(clock, "monotonic_s", lambda: world.now_s)
        patch.setattr(clock, "now_ns", lambda: int(world.now_s * 1e9))
        if seeded_bug:
            seeded_bug(patch)
        yield


def run_seed(seed: int, seeded_bug: SeededBug | None = None) -> SimWorld:
    """Simulate one run.

    Raises
    ------
    InvariantViolation
        A record is lost, duplicated, changed or out of order.
    """
    rng = random.Random(seed)
    segment_format: Format = rng.choices(("ndjson", "parquet", "json"), (8, 1, 1))[0]
    start = rng.choice([0, 0, 1000])
    world = SimWorld(
        rng,
        segment_format,
        logs=[{} for _ in range(PARTITIONS)],
        history=[{} for _ in range(PARTITIONS)],
        high_watermarks=[start] * PARTITIONS,
        low_watermarks=[start] * PARTITIONS,
        owners=[None] * PARTITIONS,
        now_s=1e9,
    )
    with simulated_environment(world, seeded_bug):
        workers: list[Worker] = []
        for _ in range(STEPS):
            workers = [worker for worker in workers if worker.alive]
            _run_random_event(world, workers)
        _run_to_completion(world, workers)
    check_stored(world)
    for result in audit(world.store, deep=True):
        if result.findings:
            raise InvariantViolation(f"the audit reports a finding in a sound lake: {result.findings[0]}")
    return world


def _run_random_event(world: SimWorld, workers: list[Worker]) -> None:
    rng = world.rng
    world.now_s += rng.choice([0.01, 0.5, 6]) if not world.should_inject(1, "clock jumped") else -3600
    event = rng.choices(
        (
            "grow",
            "step",
            "store",
            "move",
            "reassign",
            "revoke",
            "kill",
            "stop",
            "deliver late",
            "compact",
            "retain",
        ),
        (12, 30, 20, 6, 4, 4, 4, 2, 6, 2, 0.5),
    )[0]
    if not workers or (len(workers) < 3 and world.should_inject(5, "worker started")):
        _start_worker(world, workers)
    number = rng.randrange(PARTITIONS)
    worker = rng.choice(workers) if workers else None
    if event == "grow":
        _append_records(world, number, rng.randint(1, 10))
    elif event == "deliver late" and world.delayed_requests:
        world.store.deliver_late(*world.delayed_requests.pop(rng.randrange(len(world.delayed_requests))))
        world.event_counts["late request arrived"] += 1
    elif event == "compact":
        for offset in list(world.logs[number]):
            if rng.random() < 0.3:
                del world.logs[number][offset]
        world.event_counts["compacted"] += 1
    elif event == "retain" and world.logs[number]:
        world.low_watermarks[number] = low = rng.choice(list(world.logs[number]))
        world.logs[number] = {at: value for at, value in world.logs[number].items() if at >= low}
        world.event_counts["retention"] += 1
    elif worker is None:
        return
    elif event == "step":
        worker.run_guarded(worker.sink.step)
    elif event == "store" and worker.pool.pending:
        worker.pool.run_task(rng.randrange(len(worker.pool.pending)))
    elif event in {"move", "reassign"}:
        owner = world.owners[number]
        if owner and owner.alive and event == "move":
            owner.consumer.sim_revoke(number)
        elif owner and owner.alive and owner is not worker:
            world.event_counts["zombie"] += 1
        if owner is not worker:
            world.owners[number] = worker
            world.event_counts["rebalanced"] += 1
            worker.run_guarded(lambda: worker.consumer.sim_assign(number))
    elif event == "revoke" and world.owners[number] is not worker:
        worker.consumer.sim_revoke(number)
    elif event == "kill":
        world.event_counts["killed"] += 1
        worker.kill()
    elif event == "stop":
        world.event_counts["stopped"] += 1
        worker.run_guarded(partial(_stop_worker, worker))


def _start_worker(world: SimWorld, workers: list[Worker]) -> None:
    started: list[Worker] = []

    def open_worker() -> None:
        started.append(Worker(world))
        started[0].sink.open()

    try:
        open_worker()
    except StoreUnavailable:
        return
    workers.append(started[0])
    for number, owner in enumerate(world.owners):
        if (owner is None or not owner.alive) and started[0].alive:
            world.owners[number] = started[0]
            started[0].run_guarded(partial(started[0].consumer.sim_assign, number))


def _stop_worker(worker: Worker) -> None:
    """Stop as after SIGTERM: what was read is stored."""
    for _ in range(1000):
        if worker.sink._is_idle():
            break
        worker.sink._flush(flush_all=True)
        if worker.pool.pending:
            worker.pool.run_task()
    else:
        raise InvariantViolation("a worker does not stop")
    worker.alive = False
    worker.sink.close()


def _append_records(world: SimWorld, number: int, count: int) -> None:
    for _ in range(count):
        offset = world.high_watermarks[number]
        # every tenth offset is a hole, like those of transaction markers and aborted records
        if world.rng.random() >= 0.1:
            draw = world.rng.random()
            value = b"poison %d" % offset if draw < 0.05 else None if draw < 0.08 else b'{"id":%d}' % offset
            world.logs[number][offset] = world.history[number][offset] = value
        world.high_watermarks[number] = offset + 1


def _run_to_completion(world: SimWorld, workers: list[Worker]) -> None:
    """Deliver all delayed requests, then store the rest with one more worker, without faults."""
    for worker in (worker for worker in workers if worker.alive):
        if world.rng.random() < 0.5:
            worker.kill()
        else:
            worker.run_guarded(partial(_stop_worker, worker))
    world.faults_disabled = True
    for request in world.delayed_requests:
        world.store.deliver_late(*request)
    last = Worker(world)
    last.sink.open()
    for number in range(PARTITIONS):
        _append_records(world, number, 3)
        world.owners[number] = last
        last.consumer.sim_assign(number)
    for _ in range(1000):
        last.sink.step(until_end=True)
        while last.pool.pending:
            last.pool.run_task()
        if last.sink._has_read_all() and last.sink._is_idle():
            return
    raise InvariantViolation("the last worker does not finish")


def check_stored(world: SimWorld) -> None:
    """Compare what is stored with what Kafka holds and ever held, without the code under test."""
    for number in range(PARTITIONS):
        stored: dict[int, bytes | None] = {}
        for info in world.store.list(f"raw/t/partition={number}/"):
            before = -1
            for offset, value in _rows(info.key, world.store.read(info.key)):
                if offset in stored:
                    raise InvariantViolation(
                        f"partition {number}, offset {offset} is stored twice, the second time in {info.key}"
                    )
                if offset <= before:
                    raise InvariantViolation(f"{info.key} is out of order at offset {offset}")
                before, stored[offset] = offset, value
        if list(stored) != sorted(stored):
            raise InvariantViolation(f"partition {number}: segments are out of order")
        segments, objects = (
            {info.key.rpartition("/")[2]: world.store.read(info.key) for info in world.store.list(prefix)}
            for prefix in (f"raw/t/partition={number}/", f"rejects/t/partition={number}/")
        )
        for reject in select_rejects(segments, objects):
            if reject["offset"] in stored:
                raise InvariantViolation(
                    f"partition {number}, offset {reject['offset']} is a row and a reject"
                )
            stored[reject["offset"]] = b"poison %d" % reject["offset"]
        lost = world.logs[number].keys() - stored.keys()
        if lost:
            raise InvariantViolation(
                f"partition {number}: {len(lost)} offsets are lost, the first is {min(lost)}"
            )
        for offset, value in stored.items():
            if offset not in world.history[number] or world.history[number][offset] != value:
                raise InvariantViolation(f"partition {number}, offset {offset} is stored as {value!r}")


def _rows(key: str, data: bytes) -> Iterator[tuple[int, bytes | None]]:
    if key.endswith(".parquet"):
        for row in pl.read_parquet(io.BytesIO(data)).iter_rows(named=True):
            # fields that the first segment did not have are in `extra`
            yield row["kafka_offset"], _value(row | json.loads(row.get("extra") or "{}"))
        return
    lines = gzip.decompress(data) if key.endswith(".gz") else data
    for line in lines.splitlines():
        row = json.loads(line)
        yield row["kafka_offset"], _value(row)


def _value(row: dict[str, Any]) -> bytes | None:
    return None if row.get("kafka_tombstone") else b'{"id":%d}' % row["id"]


def try_seed(seed: int) -> tuple[int, str, Counter[str]]:
    """Simulate one run; return the seed, the violation (empty if none) and the event counts."""
    try:
        return seed, "", run_seed(seed).event_counts
    except InvariantViolation as error:
        return seed, str(error), Counter()
    except Exception:
        return seed, traceback.format_exc(), Counter()


def main(arguments: list[str]) -> int:
    """Simulate many seeds on all cores, and print the event counts."""
    parser = argparse.ArgumentParser(description="Simulate the sink under randomized faults.")
    parser.add_argument("--seeds", type=int, default=2000, help="number of runs")
    parser.add_argument("--first", type=int, default=0, help="first seed; replays a failed one")
    options = parser.parse_args(arguments)
    started_s = clock.monotonic_s()
    event_counts: Counter[str] = Counter()
    failed = 0
    with ProcessPoolExecutor() as pool:
        seeds = range(options.first, options.first + options.seeds)
        for done, (seed, violation, counts) in enumerate(pool.map(try_seed, seeds, chunksize=20), 1):
            event_counts += counts
            if violation:
                failed += 1
                print(f"seed {seed}: {violation}\n  replay: make simulate SEEDS=1 FIRST={seed}", flush=True)
            elif sys.stderr.isatty() and done % 100 == 0:
                print(f"\r{done:,} of {options.seeds:,} runs", end="", file=sys.stderr, flush=True)
    print(f"{options.seeds:,} runs, {failed} failed, {clock.monotonic_s() - started_s:.0f} s; events:")
    for name, count in sorted(event_counts.items()):
        print(f"  {count:10,} {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
