"""26: the power fails at each moment, and the disk keeps only what was synced."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fault.power_cut_files import LETTERS, VERSIONS
from fault.power_cut_sink import new_world
from fault.simulation import (
    InvariantViolation,
    SimWorld,
    _rows,
    _run_to_completion,
    check_stored,
    simulated_environment,
)
from support.oracle import read_reject_documents
from support.power_cut import (
    Disk,
    Loss,
    Operation,
    compile_recorder,
    read_files,
    record,
    replay,
    write_files,
)
from support.scenario import RecordProperty, record_result
from tickerlake.kafka.consumer import CommittedOffset
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.store import open_store

LOSSES: tuple[Loss, ...] = ("unsynced", "data", "nothing", "random", "random")
Committed = dict[int, CommittedOffset]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_recorder(tmp_path_factory.mktemp("recorder"))


class Recording:
    """A recorded run of a sink: its operations, and what Kafka held in the end."""

    def __init__(self, recorder: Path, folder: Path, seed: int, fmt: str, omitted: str = "none") -> None:
        module = "fault.power_cut_sink"
        self.operations, self.disk = record(recorder, folder / "recorded", module, seed, fmt, omitted)
        *_, (_, self._end) = (each for each in self.operations if each[0][0] == "note")
        self.folder, self.seed, self.format = folder, seed, fmt

    def states(self) -> Iterator[tuple[int, Disk, Committed]]:
        """Yield number, disk and committed offsets at each moment at which any of them had changed."""
        committed: Committed = {}
        for number, (disk, (words, data)) in enumerate(replay(self.operations[:-1])):
            if words[0] == "note":
                note = json.loads(data)
                committed[note["partition"]] = CommittedOffset(note["offset"], note["metadata"])
            yield number, disk, committed

    def kafka(self, committed: Committed) -> SimWorld:
        """Return what survives the cut elsewhere: all records, and the offsets committed until then."""
        world = new_world(random.Random(self.seed), self.format)
        end: dict[str, Any] = json.loads(self._end)
        for number, log in enumerate(end["history"]):
            values = {int(offset): value and value.encode() for offset, value in log.items()}
            world.logs[number], world.history[number] = dict(values), dict(values)
        world.high_watermarks = end["high"]
        world.committed = dict(committed)
        return world


def check_committed(world: SimWorld, folder: Path) -> None:
    """Check that the records before the committed offsets are on the disk; reads only its files."""
    rejects = read_reject_documents(folder / "new" / "lake", "t")
    for number, committed in world.committed.items():
        stored = {offset for partition, offset in rejects if partition == number}
        for path in folder.glob(f"new/lake/raw/t/partition={number}/*"):
            stored |= {offset for offset, _ in _rows(path.name, path.read_bytes())}
        lost = {offset for offset in world.history[number] if offset < committed.offset} - stored
        if lost:
            raise InvariantViolation(f"partition {number}: {min(lost)} was committed before it was durable")


def check_recovery(world: SimWorld, folder: Path) -> None:
    """Start a sink on the disk, let it store the rest, and check that each record is there once."""
    try:
        check_committed(world, folder)
        with simulated_environment(world, None), pytest.MonkeyPatch.context() as patch:
            # this time there is no power cut, and it takes a third of the time
            patch.setattr(os, "fsync", lambda _: None)
            world.store = open_store(str(folder / "new" / "lake"))  # type: ignore[assignment]
            _run_to_completion(world, [])
        check_stored(world)
    except InvariantViolation:
        raise
    except Exception as error:
        raise InvariantViolation(f"the disk cannot be used: {error!r}") from error
    for result in audit(world.store, deep=True):
        if result.findings:
            raise InvariantViolation(f"the audit reports {result.findings[0]}")


def cut_everywhere(recording: Recording, every: int) -> int:
    """Cut the power at each moment (or at every few), in each way; return the number of different states."""
    seen: set[int] = set()
    for number, disk, committed in recording.states():
        if number % every:
            continue
        for index, loss in enumerate(LOSSES):
            found = disk.cut(loss, seed=number * 100 + index)
            key = hash((frozenset(found.items()), frozenset(committed.items())))
            if key in seen:
                continue
            seen.add(key)
            folder = recording.folder / "cut"
            write_files(found, folder)
            try:
                check_recovery(recording.kafka(committed), folder)
            except InvariantViolation as violation:
                where = f"seed {recording.seed}, {recording.format}, after operation {number}, lost: {loss}"
                raise InvariantViolation(f"{where}: {violation}") from violation
            finally:
                shutil.rmtree(folder)
    return len(seen)


@pytest.mark.parametrize(
    ("fmt", "seed", "every"),
    [
        ("ndjson", 0, 8),
        *(
            pytest.param(fmt, seed, every, marks=pytest.mark.full)
            for fmt, seed, every in (("ndjson", 1, 1), ("ndjson", 2, 1), ("parquet", 1, 2), ("json", 1, 9))
        ),
    ],
)
def test_records_survive_a_power_cut(
    recorder: Path, tmp_path: Path, fmt: str, seed: int, every: int, record_property: RecordProperty
) -> None:
    recording = Recording(recorder, tmp_path, seed, fmt)
    *_, (disk, _) = replay(recording.operations)
    assert disk.cut("nothing") == read_files(recording.disk), "an operation was not recorded"
    kinds = {words[0] for words, _ in recording.operations}
    assert {"create", "write", "sync", "link", "unlink", "mkdir", "note"} <= kinds
    cuts = cut_everywhere(recording, every)
    assert cuts > 50
    fault = f"power cut, {fmt}, seed {seed}"
    record_result(record_property, "26", fault, cuts, cuts, lost=0, duplicated=0)


@pytest.mark.parametrize("omitted", ["file", "entry", "folder"])
def test_a_sync_that_is_omitted_is_detected(recorder: Path, tmp_path: Path, omitted: str) -> None:
    recording = Recording(recorder, tmp_path, 0, "ndjson", omitted)
    with pytest.raises(InvariantViolation) as caught:
        cut_everywhere(recording, 1)
    print(f"without syncing {omitted}: {caught.value}")


def check_files(found: dict[str, bytes | None], versions: int, letters: int) -> None:
    """Check the files of `power_cut_files`, of which so many versions and letters were written."""
    complete = [None, *VERSIONS]
    state = complete.index(found.get("files/state"))
    assert state in {versions, versions + 1}, f"{state} of {versions} versions"
    for number, version in enumerate(VERSIONS):
        content = found.get(f"files/version-{number}")
        assert content == version or (content is None and number >= versions)
    lines = [
        line
        for path, content in found.items()
        if path.startswith("new/letters/") and content
        for line in content.split(b"\n")
    ]
    missing = set(LETTERS[:letters]) - set(lines)
    assert not missing, f"{missing} of {letters} letters"


def cut_files(recorder: Path, folder: Path, omitted: str) -> int:
    """Cut the power at each moment of `power_cut_files`; return the number of states."""
    operations, disk_folder = record(recorder, folder, "fault.power_cut_files", omitted)
    counts = {b"version": 0, b"letter": 0}
    states = 0
    for number, (disk, (words, data)) in enumerate(replay(operations)):
        if words[0] == "note":
            counts[data] += 1
        for index, loss in enumerate((*LOSSES, *["random"] * 10)):
            found = disk.cut(loss, seed=number * 100 + index)  # type: ignore[arg-type]
            check_files(found, counts[b"version"], counts[b"letter"])
            states += 1
    assert disk.cut("nothing") == read_files(disk_folder), "an operation was not recorded"
    assert counts == {b"version": len(VERSIONS), b"letter": len(LETTERS)}
    return states


def test_files_survive_a_power_cut(recorder: Path, tmp_path: Path, record_property: RecordProperty) -> None:
    cuts = cut_files(recorder, tmp_path, "none")
    fault = "power cut, replaced files and dead letters"
    record_result(record_property, "26", fault, cuts, cuts, lost=0, duplicated=0)


@pytest.mark.parametrize("omitted", ["file", "folder", "parent"])
def test_files_that_are_not_synced_are_detected(recorder: Path, tmp_path: Path, omitted: str) -> None:
    with pytest.raises((AssertionError, ValueError)) as caught:
        cut_files(recorder, tmp_path, omitted)
    print(f"without syncing {omitted}: {caught.value}")


def operation(*words: str, data: bytes = b"") -> Operation:
    return list(words), data


def test_a_disk_keeps_what_was_synced() -> None:
    disk = Disk()
    for each in (
        operation("mkdir", "1", "/a"),
        operation("create", "2", "/a/temp"),
        operation("write", "2", "0", "3", data=b"abc"),
        operation("sync", "2"),
        operation("write", "2", "1", "3", data=b"xyz"),
        operation("link", "2", "/a/final"),
    ):
        disk.apply(each)
    assert disk.cut("unsynced") == {}
    assert disk.cut("nothing") == {"a": None, "a/final": b"axyz", "a/temp": b"axyz"}
    assert disk.cut("data") == {"a": None, "a/final": b"abc", "a/temp": b"abc"}
    disk.apply(operation("sync", "1"))
    assert disk.cut("unsynced") == {}, "the folder has no durable name"
    disk.apply(operation("sync", "7"))
    assert disk.cut("unsynced") == {"a": None, "a/final": b"abc", "a/temp": b"abc"}
    disk.apply(operation("unlink", "/a/temp"))
    disk.apply(operation("rename", "/a/final", "/a/renamed"))
    assert disk.cut("nothing") == {"a": None, "a/renamed": b"axyz"}
    states = [disk.cut("random", seed) for seed in range(200)]
    # each change of the folder may be there or not, but a rename within it is one change
    assert {frozenset(state) - {"a"} for state in states} == {
        frozenset(names)
        for names in (
            {"a/final", "a/temp"},
            {"a/final"},
            {"a/renamed", "a/temp"},
            {"a/renamed"},
        )
    }
    contents = {data for state in states for data in state.values() if data is not None}
    assert {b"abc", b"axyz", b"a", b"axc", b"ax\0\0"} <= contents
