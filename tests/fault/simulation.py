"""The sink in a Kafka and a store of which dice say what happens next: many runs, each told by its seed.

One thread plays everything: the real `pipeline.sink`, `lake.writer` and `lake.segment` of several workers, a
log that grows, is compacted and loses its beginning, and a network to the store that loses replies and
delivers late. At the end a last worker finishes in peace, and `judge` reads what is stored with none of the
code under test.

Run by itself it plays many seeds: ``python tests/fault/simulation.py --seeds 20000``.
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

from tickerlake import clock
from tickerlake.errors import ObjectExists, StoreUnavailable
from tickerlake.kafka.admin import Topic
from tickerlake.kafka.consumer import Batch, Committed, Partition
from tickerlake.lake.audit import audit
from tickerlake.lake.segment import Format
from tickerlake.lake.store.base import ObjectInfo
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.model.schema import KAFKA_RECORDS
from tickerlake.pipeline import sink
from tickerlake.pipeline.sink import Sink, SinkOptions

Plant = Callable[[pytest.MonkeyPatch], None]
STEPS = 120
PARTITIONS = 2


class Wrong(Exception):
    """The judge found something."""


class Killed(BaseException):
    """The process is gone in the middle of a call."""


@dataclass
class World:
    """What outlives a worker, and the dice.

    Parameters
    ----------
    dice
        Decides everything.
    format
        Of the segments.
    logs
        What Kafka holds now, by partition and offset.
    ever
        What it ever held.
    happened
        How often each thing happened.
    """

    dice: random.Random
    format: Format
    logs: list[dict[int, bytes | None]]
    ever: list[dict[int, bytes | None]]
    ends: list[int]
    lows: list[int]
    owners: list["Worker | None"]
    committed: dict[int, Committed] = field(default_factory=dict)
    packets: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    now_s: float = 0.0
    calm: bool = False
    store: "Network" = field(init=False)

    def __post_init__(self) -> None:
        self.store = Network(self)

    def chance(self, percent: float, what: str) -> bool:
        """Throw the dice, and count what came of it."""
        struck = not self.calm and self.dice.random() * 100 < percent
        self.happened[what] += struck
        return struck


class Network(MemoryStore):
    """A create-only store behind a network."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.kill_after: int | None = None
        """A process is killed at this write: 0 is the next one."""

    def create(self, key: str, data: bytes, *, metadata: Mapping[str, str], content_type: str = "") -> None:
        world = self._world
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after < 0:
                self.kill_after = None
                fate = world.dice.randrange(3)
                if fate == 0:
                    world.packets.append((key, data, dict(metadata)))
                elif fate == 1:
                    self.arrive(key, data, metadata)
                raise Killed
        if world.chance(3, "request lost"):
            raise StoreUnavailable("not sent")
        if world.chance(3, "request late"):
            world.packets.append((key, data, dict(metadata)))
            raise StoreUnavailable("on its way, and we gave up")
        if world.chance(3, "request late and repeated"):
            world.packets.append((key, data, dict(metadata)))
        super().create(key, data, metadata=metadata)
        if world.chance(4, "reply lost"):
            raise StoreUnavailable("stored, and we never knew")
        if world.chance(4, "reply lost and repeated"):
            raise ObjectExists("the client sent it again, and was told this")

    def arrive(self, key: str, data: bytes, metadata: Mapping[str, str]) -> None:
        """Let a late request reach the store."""
        with suppress(ObjectExists):
            super().create(key, data, metadata=metadata)

    def stat(self, key: str) -> ObjectInfo | None:
        if self._world.chance(1, "read failed"):
            raise StoreUnavailable("no answer")
        return super().stat(key)


class SimAdmin:
    """Stands for `kafka.admin.Admin`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def require(self, topic: str) -> Topic:
        return Topic(topic, "id", "cluster", PARTITIONS)

    def watermarks(self, topic: Topic) -> dict[int, tuple[int, int]]:
        del topic
        return dict(enumerate(zip(self._world.lows, self._world.ends, strict=True)))


class SimConsumer:
    """Stands for `kafka.consumer.Consumer`; it may believe that a partition is its own for too long."""

    def __init__(
        self,
        world: World,
        on_assign: Callable[[Partition, Committed | None], int],
        on_revoke: Callable[[Partition], None],
    ) -> None:
        self.assignments = 0
        self.positions: dict[int, int] = {}
        self._world, self._on_assign, self._on_revoke = world, on_assign, on_revoke
        self._paused: set[int] = set()

    def subscribe(self, topics: list[str]) -> None:
        del topics

    def give(self, number: int) -> None:
        self.assignments += 1
        self.positions[number] = self._on_assign(("t", number), self._world.committed.get(number))

    def take_away(self, number: int) -> None:
        if self.positions.pop(number, None) is not None:
            self._on_revoke(("t", number))

    def poll(self, timeout_s: float) -> Iterator[Batch]:
        del timeout_s
        world = self._world
        for number in list(self.positions):
            if number in self._paused or world.chance(30, "nothing fetched"):
                continue
            start = self.positions[number]
            if start < world.lows[number]:
                world.happened["outrun by retention"] += 1
                raise StoreUnavailable("stands for LakeError: the offset is gone")
            there = [offset for offset in sorted(world.logs[number]) if offset >= start]
            found = there if world.calm else there[: world.dice.randint(1, 12)]
            rows = [(offset, offset, None, world.logs[number][offset]) for offset in found]
            if found:
                self.positions[number] = found[-1] + 1
            elif world.ends[number] > start:
                self.positions[number] = world.ends[number]
            frame = pl.DataFrame(rows, schema=KAFKA_RECORDS, orient="row")
            yield Batch(("t", number), frame, len(found) == len(there))

    def commit(self, partition: Partition, offset: int, note: str) -> None:
        number = partition[1]
        mine = self._world.owners[number] is not None and self._world.owners[number].consumer is self  # type: ignore[union-attr]
        if mine or self._world.chance(30, "zombie commits"):
            if self._world.chance(20, "commit lost"):
                return
            self._world.committed[number] = Committed(offset, note)

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        return self._world.lows[partition[1]], self._world.ends[partition[1]]

    def known_end(self, partition: Partition) -> int:
        return self._world.ends[partition[1]]

    def pause(self, partitions: list[Partition]) -> None:
        self._paused = {number for _, number in partitions}

    def resume(self, partitions: list[Partition]) -> None:
        del partitions
        self._paused = set()

    def close(self) -> None:
        for number in list(self.positions):
            self.take_away(number)


class SimPool:
    """Stands for the threads that store: what they do is done when the dice say so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, store: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, partial(store, *given)))
        return future

    def map(self, store: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        return [store(item) for item in items]

    def run_one(self, number: int = 0) -> None:
        future, store = self.waiting.pop(number)
        try:
            future.set_result(store())
        except Exception as error:
            future.set_exception(error)

    def shutdown(self, **_: bool) -> None:
        while self.waiting:
            self.run_one()


class Worker:
    """A sink, and how it ends."""

    def __init__(self, world: World) -> None:
        dice = world.dice
        self.world = world
        self.alive = True
        options = SinkOptions(
            format=world.format,
            flush_records=dice.randint(1, 15),
            flush_bytes=dice.choice([300, 1 << 20]),
            flush_age_s=dice.choice([0.5, 5, 50]),
            buffer_bytes=dice.choice([500, 1 << 20]),
            on_gap="record",
        )
        self.sink = Sink("", ["t"], world.store, "g", options)
        self.consumer: SimConsumer = self.sink._consumer  # type: ignore[assignment]
        self.pool: SimPool = self.sink._pool  # type: ignore[assignment]

    def live(self, doing: Callable[[], None]) -> None:
        """Do something, or end the process as `run` would."""
        try:
            doing()
        except StoreUnavailable:
            self.world.happened["gave up"] += 1
            self.alive = False
            self.sink.close()

    def kill(self) -> None:
        """End the process; what it was storing is somewhere on its way."""
        self.alive = False
        for _, store in self.pool.waiting:
            if self.world.chance(60, "killed while storing"):
                self.world.store.kill_after = self.world.dice.randrange(3)
                with suppress(Killed, StoreUnavailable):
                    store()
                self.world.store.kill_after = None


@contextmanager
def simulated(world: World, plant: Plant | None) -> Iterator[None]:
    """Put the simulated parts where the real ones were."""
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
        if plant:
            plant(patch)
        yield


def play(seed: int, plant: Plant | None = None) -> World:
    """Play one run.

    Raises
    ------
    Wrong
        A record is lost, doubled, changed or out of order.
    """
    dice = random.Random(seed)
    fmt: Format = dice.choices(("ndjson", "parquet", "json"), (8, 1, 1))[0]
    start = dice.choice([0, 0, 1000])
    world = World(
        dice,
        fmt,
        logs=[{} for _ in range(PARTITIONS)],
        ever=[{} for _ in range(PARTITIONS)],
        ends=[start] * PARTITIONS,
        lows=[start] * PARTITIONS,
        owners=[None] * PARTITIONS,
        now_s=1e9,
    )
    with simulated(world, plant):
        workers: list[Worker] = []
        for _ in range(STEPS):
            workers = [worker for worker in workers if worker.alive]
            _event(world, workers)
        _finish(world, workers)
    judge(world)
    for result in audit(world.store, deep=True):
        if result.findings:
            raise Wrong(f"the audit finds fault with what is sound: {result.findings[0]}")
    return world


def _event(world: World, workers: list[Worker]) -> None:
    dice = world.dice
    world.now_s += dice.choice([0.01, 0.5, 6]) if not world.chance(1, "clock jumped") else -3600
    what = dice.choices(
        ("grow", "step", "store", "move", "steal", "notice", "kill", "stop", "packet", "compact", "retain"),
        (12, 30, 20, 6, 4, 4, 4, 2, 6, 2, 0.5),
    )[0]
    if not workers or (len(workers) < 3 and world.chance(5, "worker came")):
        _start(world, workers)
    number = dice.randrange(PARTITIONS)
    worker = dice.choice(workers) if workers else None
    if what == "grow":
        _grow(world, number, dice.randint(1, 10))
    elif what == "packet" and world.packets:
        world.store.arrive(*world.packets.pop(dice.randrange(len(world.packets))))
        world.happened["late request arrived"] += 1
    elif what == "compact":
        for offset in list(world.logs[number]):
            if dice.random() < 0.3:
                del world.logs[number][offset]
        world.happened["compacted"] += 1
    elif what == "retain" and world.logs[number]:
        world.lows[number] = low = dice.choice(list(world.logs[number]))
        world.logs[number] = {at: value for at, value in world.logs[number].items() if at >= low}
        world.happened["retention"] += 1
    elif worker is None:
        return
    elif what == "step":
        worker.live(worker.sink.step)
    elif what == "store" and worker.pool.waiting:
        worker.pool.run_one(dice.randrange(len(worker.pool.waiting)))
    elif what in {"move", "steal"}:
        owner = world.owners[number]
        if owner and owner.alive and what == "move":
            owner.consumer.take_away(number)
        elif owner and owner.alive and owner is not worker:
            world.happened["zombie"] += 1
        if owner is not worker:
            world.owners[number] = worker
            world.happened["rebalanced"] += 1
            worker.live(lambda: worker.consumer.give(number))
    elif what == "notice" and world.owners[number] is not worker:
        worker.consumer.take_away(number)
    elif what == "kill":
        world.happened["killed"] += 1
        worker.kill()
    elif what == "stop":
        world.happened["stopped"] += 1
        worker.live(partial(_stop, worker))


def _start(world: World, workers: list[Worker]) -> None:
    made: list[Worker] = []

    def begin() -> None:
        made.append(Worker(world))
        made[0].sink.open()

    try:
        begin()
    except StoreUnavailable:
        return
    workers.append(made[0])
    for number, owner in enumerate(world.owners):
        if (owner is None or not owner.alive) and made[0].alive:
            world.owners[number] = made[0]
            made[0].live(partial(made[0].consumer.give, number))


def _stop(worker: Worker) -> None:
    """End as SIGTERM does: what was read is stored."""
    for _ in range(1000):
        if worker.sink._idle():
            break
        worker.sink._flush(everything=True)
        if worker.pool.waiting:
            worker.pool.run_one()
    else:
        raise Wrong("a worker that was told to stop does not")
    worker.alive = False
    worker.sink.close()


def _grow(world: World, number: int, count: int) -> None:
    for _ in range(count):
        offset = world.ends[number]
        # a hole: the end of a transaction, or what it dropped
        if world.dice.random() >= 0.1:
            kind = world.dice.random()
            value = b"poison %d" % offset if kind < 0.05 else None if kind < 0.08 else b'{"id":%d}' % offset
            world.logs[number][offset] = world.ever[number][offset] = value
        world.ends[number] = offset + 1


def _finish(world: World, workers: list[Worker]) -> None:
    """Let what is on its way arrive, then one more worker store the rest in peace."""
    for worker in (worker for worker in workers if worker.alive):
        if world.dice.random() < 0.5:
            worker.kill()
        else:
            worker.live(partial(_stop, worker))
    world.calm = True
    for packet in world.packets:
        world.store.arrive(*packet)
    last = Worker(world)
    last.sink.open()
    for number in range(PARTITIONS):
        _grow(world, number, 3)
        world.owners[number] = last
        last.consumer.give(number)
    for _ in range(1000):
        last.sink.step(until_end=True)
        while last.pool.waiting:
            last.pool.run_one()
        if last.sink._all_read() and last.sink._idle():
            return
    raise Wrong("the last worker does not come to an end")


def judge(world: World) -> None:
    """Compare what is stored with what Kafka holds, and ever held; reads with plain tools."""
    for number in range(PARTITIONS):
        stored: dict[int, bytes | None] = {}
        for info in world.store.list(f"raw/t/partition={number}/"):
            before = -1
            for offset, value in _rows(info.key, world.store.read(info.key)):
                if offset in stored:
                    raise Wrong(f"partition {number}, offset {offset} is stored twice, again in {info.key}")
                if offset <= before:
                    raise Wrong(f"{info.key} is out of order at offset {offset}")
                before, stored[offset] = offset, value
        if list(stored) != sorted(stored):
            raise Wrong(f"partition {number}: segments are out of order")
        for info in world.store.list(f"rejects/t/partition={number}/"):
            kept = json.loads(world.store.read(info.key))
            if kept["offset"] in stored:
                raise Wrong(f"partition {number}, offset {kept['offset']} is a row and a reject")
            stored[kept["offset"]] = b"poison %d" % kept["offset"]
        lost = world.logs[number].keys() - stored.keys()
        if lost:
            raise Wrong(f"partition {number}: offset {min(lost)} is lost ({len(lost)} of them)")
        for offset, value in stored.items():
            if offset not in world.ever[number] or world.ever[number][offset] != value:
                raise Wrong(f"partition {number}, offset {offset} is stored as {value!r}")


def _rows(key: str, data: bytes) -> Iterator[tuple[int, bytes | None]]:
    if key.endswith(".parquet"):
        for row in pl.read_parquet(io.BytesIO(data)).iter_rows(named=True):
            # what the first segment did not have has no column, and stands in `extra`
            yield row["kafka_offset"], _value(row | json.loads(row.get("extra") or "{}"))
        return
    lines = gzip.decompress(data) if key.endswith(".gz") else data
    for line in lines.splitlines():
        row = json.loads(line)
        yield row["kafka_offset"], _value(row)


def _value(row: dict[str, Any]) -> bytes | None:
    return None if row.get("kafka_tombstone") else b'{"id":%d}' % row["id"]


def try_seed(seed: int) -> tuple[int, str, Counter[str]]:
    """Play one run; return the seed, what went wrong (empty: nothing), and what happened."""
    try:
        return seed, "", play(seed).happened
    except Wrong as error:
        return seed, str(error), Counter()
    except Exception:
        return seed, traceback.format_exc(), Counter()


def main(arguments: list[str]) -> int:
    """Play many seeds on all cores, and say what happened."""
    parser = argparse.ArgumentParser(description="Simulate the sink under every mishap, seed by seed.")
    parser.add_argument("--seeds", type=int, default=2000, help="how many runs")
    parser.add_argument(
        "--first", type=int, default=0, help="the first seed; one that failed is replayed by it"
    )
    given = parser.parse_args(arguments)
    began = clock.monotonic_s()
    happened: Counter[str] = Counter()
    failed = 0
    with ProcessPoolExecutor() as pool:
        seeds = range(given.first, given.first + given.seeds)
        for done, (seed, wrong, what) in enumerate(pool.map(try_seed, seeds, chunksize=20), 1):
            happened += what
            if wrong:
                failed += 1
                print(f"seed {seed}: {wrong}\n  replay: make simulate SEEDS=1 FIRST={seed}", flush=True)
            elif sys.stderr.isatty() and done % 100 == 0:
                print(f"\r{done:,} of {given.seeds:,} runs", end="", file=sys.stderr, flush=True)
    print(f"{given.seeds:,} runs, {failed} wrong, {clock.monotonic_s() - began:.0f} s; what happened:")
    for name, count in sorted(happened.items()):
        print(f"  {count:10,} {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
