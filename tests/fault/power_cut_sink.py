"""The recorded process: a sink stores records of a simulated Kafka in a folder, and notes its commits.

``python -m fault.power_cut_sink DISK NOTES SEED FORMAT OMITTED``: ``OMITTED`` is a kind of sync that is not
done: ``file``, ``entry`` (the name of an object), ``folder`` (the name of a new folder), or ``none``.
"""

import json
import os
import random
import sys
from functools import partial
from pathlib import Path

from fault.simulation import (
    PARTITIONS,
    SimWorld,
    Worker,
    _append_records,
    _stop_worker,
    simulated_environment,
)
from support.power_cut import omit_syncs
from tickerlake.kafka.consumer import CommittedOffset
from tickerlake.lake.store import open_store

_STEPS = 60


class NotedCommits(dict[int, CommittedOffset]):
    """The offsets that Kafka has committed, each noted in the recording as soon as it is."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __setitem__(self, number: int, committed: CommittedOffset) -> None:
        super().__setitem__(number, committed)
        self.note({"partition": number, "offset": committed.offset, "metadata": committed.metadata})

    def note(self, content: object) -> None:
        os.write(self._notes, json.dumps(content).encode())


def new_world(rng: random.Random, segment_format: str) -> SimWorld:
    """Return a world without faults of its own and without records."""
    world = SimWorld(
        rng,
        segment_format,  # type: ignore[arg-type]
        logs=[{} for _ in range(PARTITIONS)],
        history=[{} for _ in range(PARTITIONS)],
        high_watermarks=[0] * PARTITIONS,
        low_watermarks=[0] * PARTITIONS,
        owners=[None] * PARTITIONS,
        now_s=1e9,
    )
    world.faults_disabled = True
    return world


def _start_worker(world: SimWorld, lake: Path) -> Worker:
    world.store = open_store(str(lake))  # type: ignore[assignment]
    worker = Worker(world)
    worker.sink.open()
    for number in range(PARTITIONS):
        world.owners[number] = worker
        worker.consumer.sim_assign(number)
    return worker


def _run(world: SimWorld, lake: Path) -> None:
    rng = world.rng
    worker = _start_worker(world, lake)
    for _ in range(_STEPS):
        world.now_s += rng.choice([0.01, 0.5, 6])
        event = rng.choices(("grow", "step", "store", "restart", "kill"), (12, 20, 14, 1, 1))[0]
        if event == "grow":
            _append_records(world, rng.randrange(PARTITIONS), rng.randint(1, 10))
        elif event == "step":
            worker.sink.step()
        elif event == "store" and worker.pool.pending:
            worker.pool.run_task(rng.randrange(len(worker.pool.pending)))
        elif event in {"restart", "kill"}:
            if event == "restart":
                _stop_worker(worker)
            worker = _start_worker(world, lake)
    _stop_worker(worker)


def _is_omitted(omitted: str, path: Path) -> bool:
    if not path.is_dir():
        return omitted == "file"
    return omitted == ("entry" if path.name.startswith("partition=") else "folder")


def main() -> None:
    disk, notes, seed, segment_format, omitted = sys.argv[1:]
    if omitted != "none":
        omit_syncs(partial(_is_omitted, omitted))
    world = new_world(random.Random(int(seed)), segment_format)
    commits = NotedCommits(Path(notes))
    world.committed = commits
    with simulated_environment(world, None):
        _run(world, Path(disk) / "new" / "lake")
    values = [
        {offset: value if value is None else value.decode() for offset, value in log.items()}
        for log in world.history
    ]
    commits.note({"history": values, "high": world.high_watermarks})


if __name__ == "__main__":
    main()
