"""1–3: a process that is killed, at each place and at random, leaves nothing lost and nothing doubled."""

import json
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from fault.conftest import Story, daily_csv
from support import oracle
from support.faultproxy import FaultProxy
from support.process import is_halted, run, tickerlake, wait_until
from support.tracker import Written, amounts, simulated, tracker, undisturbed, written
from tickerlake.failpoints import POINTS, VARIABLE

# who comes back under its name has its partitions at once, not when the session of the dead has ended
NAMED = ("-X", "group.instance.id=sink")
_ELSEWHERE = ("compact.", "load.", "repair.")
_PRODUCE, _TRACK = "ingest.", "track."
_QUICK = {"segment.stored"}
_FORMATS = {"object": "json", "folder": "parquet"}


def places(names: Iterable[str]) -> list[object]:
    return [pytest.param(name, marks=() if name in _QUICK else pytest.mark.full) for name in names]


@pytest.mark.parametrize(
    "place", places(name for name in POINTS if not name.startswith((*_ELSEWHERE, _PRODUCE, _TRACK)))
)
def test_a_sink_killed_at_each_place_and_run_again(story: Story, place: str) -> None:
    story.options = (*NAMED, "--format", _FORMATS.get(place.partition(".")[0], "ndjson"))
    story.fill(1000)
    story.send((b"K%d" % number, b"{") for number in range(50))
    story.fill(1000)
    stored: list[str] = []
    struck = 0
    for time_ in (1, 3):
        with story.sink("--until-end", "--flush-records", 100, at=f"{place}=kill@{time_}") as child:
            _, err = child.communicate(timeout=60)
        struck += child.returncode == -signal.SIGKILL
        assert set(stored) <= set(story.objects()), f"what was stored stays\n{err}"
        stored = story.objects()
    with story.sink("--until-end", "--flush-records", 170) as child:
        back_s = wait_until(lambda: len(story.objects()) > len(stored), child)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert set(stored) <= set(story.objects()), "what was stored stays"
    found = story.survived("1", f"sink killed at {place}", injected=2, struck=struck, back_s=back_s)
    assert found.rejected == 50


@pytest.mark.full
@pytest.mark.parametrize("place", [name for name in POINTS if name.startswith(_PRODUCE)])
def test_produce_killed_at_each_place_and_run_again(story: Story, tmp_path: Path, place: str) -> None:
    rows = 3000
    path = daily_csv(tmp_path, rows)
    options = ("produce", path, "-t", story.topic, "-b", story.servers)
    struck = 0
    for time_ in (1, 2):
        armed = {VARIABLE: f"{place}=kill@{time_}"}
        with tickerlake(*options, "--rate", "4000/s", variables=armed) as child:
            _, err = child.communicate(timeout=60)
        struck += child.returncode == -signal.SIGKILL
    assert struck == 2, err
    run(*options)
    story.produced("1", f"produce killed at {place}", 2, struck, rows)


@pytest.fixture(scope="module")
def trades(kafka: str) -> str:
    return simulated(kafka)


@pytest.fixture(scope="module")
def quiet(kafka: str, trades: str, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return undisturbed(kafka, trades, tmp_path_factory.mktemp("quiet"))


@pytest.mark.full
@pytest.mark.parametrize("place", [name for name in POINTS if name.startswith(_TRACK)])
def test_track_killed_at_each_place_and_run_again(
    story: Story, trades: str, quiet: Written, tmp_path: Path, place: str
) -> None:
    name = story.topic
    arguments = (story.servers, trades, name, name, tmp_path / "state", 400, "until-end")
    command = [sys.executable, "-m", "support.tracker", *map(str, arguments)]
    struck = 0
    for time_ in (1, 3):
        armed = {**os.environ, VARIABLE: f"{place}=kill@{time_}"}
        ended = subprocess.run(
            command, env=armed, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, timeout=60,
            check=False,
        )  # fmt: skip
        struck += ended.returncode == -signal.SIGKILL
    assert struck == 2, "it must be killed there"
    tracker(story.servers, trades, name, name, tmp_path / "state").run(threading.Event(), until_end=True)
    found = written(story.servers, name)
    assert found == quiet
    what = f"track killed at {place}"
    story.tell("1", what, 2, struck, wanted=amounts(quiet), there=amounts(found))


@pytest.mark.parametrize(
    ("fmt", "lives", "named"),
    [
        ("ndjson", 2, NAMED),
        pytest.param("ndjson", 40, NAMED, marks=[pytest.mark.full, pytest.mark.timeout(400)]),
        # without a name it comes back as a stranger, when the session of the dead has ended
        pytest.param("ndjson", 10, (), marks=[pytest.mark.full, pytest.mark.timeout(400)]),
        pytest.param("parquet", 5, NAMED, marks=pytest.mark.full),
        pytest.param("json", 5, NAMED, marks=pytest.mark.full),
    ],
)
def test_a_sink_killed_at_random_moments(story: Story, fmt: str, lives: int, named: tuple[str, ...]) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    each = 1 if fmt == "json" else 60
    many = 20 if fmt == "json" else 1
    story.fill(each * many * 8 * lives + 2000)
    struck, waits = 0, []
    for _ in range(lives):
        before = len(story.objects())
        with story.sink("--until-end", "--flush-records", each, "--format", fmt, *named) as child:
            waits.append(wait_until(partial(holds_more_than, story, before), child))
            more = len(story.objects()) + dice.randint(0, 8) * many
            wait_until(partial(holds_more_than, story, more), child)
            struck += child.poll() is None
            child.kill()
    before = len(story.objects())
    with story.sink("--until-end", "--format", fmt, *named) as child:
        waits.append(wait_until(lambda: len(story.objects()) > before, child))
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert max(waits) < 30
    who = f"{fmt}, {'a name' if named else 'no name'}"
    what = f"sink killed at random moments, {who}; typically back after {statistics.median(waits):.1f} s"
    # one or the other may have come to the end before it was killed
    story.survived("1", what, injected=lives * 4 // 5, struck=struck, back_s=max(waits))


def holds_more_than(story: Story, count: int) -> bool:
    return len(story.objects()) > count


@pytest.mark.full
@pytest.mark.parametrize("place", ["segment.stored", "sink.landed"])
def test_killed_between_put_and_commit_and_the_next_goes_on_from_there(story: Story, place: str) -> None:
    story.options = (*NAMED, "--group", story.topic)
    story.fill(100)
    story.store_all()
    noted = story.committed()
    story.fill(2000)
    with story.sink("--until-end", "--flush-records", 100, at=f"{place}=kill") as child:
        child.communicate(timeout=60)
    stored = {object_: (Path(story.lake) / object_).read_bytes() for object_ in story.objects()}
    assert story.committed() == noted, "Kafka must not know of the segment"
    ends = {number: last_offset(story, number) + 1 for number in noted}
    assert ends != noted, "the lake must know it"
    story.store_all()
    assert {object_: (Path(story.lake) / object_).read_bytes() for object_ in stored} == stored
    for number, end in ends.items():
        assert f"raw/{story.topic}/partition={number}/{end:020d}.ndjson.gz" in story.objects()
    story.survived("2", f"killed at {place}, before the commit", injected=1, struck=child.returncode == -9)


def last_offset(story: Story, partition: int) -> int:
    found = oracle.rows(Path(story.lake), story.topic)
    return max(offset for number, offset in found if number == partition)


def test_stored_by_one_that_was_killed_and_adopted_by_another(story: Story) -> None:
    story.fill(1000)
    with story.sink("--until-end", "--json", "--group", f"{story.topic}.b", at="sink.cut=stop") as late:
        wait_until(lambda: is_halted(late.pid), late)
        with story.sink("--until-end", "--flush-records", 60, at="sink.landed=kill@3") as early:
            early.communicate(timeout=60)
        stored = story.objects()
        late.send_signal(signal.SIGCONT)
        out, err = late.communicate(timeout=60)
    assert late.returncode == 0, err
    assert set(stored) <= set(story.objects())
    adopted = json.loads(out)["adopted"]
    story.survived("2", "another was first, and was killed: adopted", injected=1, struck=adopted)
    assert early.returncode == -signal.SIGKILL


@pytest.mark.full
@pytest.mark.parametrize("how", ["stall", "hold_half", "hold_reply"])
def test_killed_in_mid_upload(cloud: tuple[Story, FaultProxy], how: str) -> None:
    story, proxy = cloud
    story.options += NAMED
    story.fill(2000, lambda number: "one partition")
    getattr(proxy, how)()
    before = story.objects()
    with story.sink("--until-end", "--flush-records", 900) as child:
        assert proxy.held.acquire(timeout=60)
        child.kill()
    stored = set(story.objects()) - set(before)
    assert len(stored) == (how == "hold_reply"), "no object, or the whole one"
    out, _ = story.store_all("--json")
    assert json.loads(out)["records"] == (1100 if stored else 2000)
    what = {
        "stall": "no object is there",
        "hold_half": "half of it arrived, no object",
        "hold_reply": "the whole object is there",
    }
    story.survived("3", f"killed in mid-upload: {what[how]}", injected=1, struck=1 - proxy.pending)
