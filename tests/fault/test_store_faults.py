"""4–9, 17: a store that loses replies, refuses, is slow, damages, or never answers."""

import json
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from confluent_kafka.admin import AdminClient

from fault.conftest import Story, begin
from support import oracle
from support.faultproxy import FaultProxy
from support.gcs import FakeGcs
from support.process import Child, is_halted, tickerlake, wait_until

FULL = pytest.mark.full
Cloud = tuple[Story, FaultProxy]


@pytest.mark.parametrize(
    "cloud",
    ["ndjson", pytest.param("parquet", marks=FULL), pytest.param("json", marks=FULL)],
    indirect=True,
)
def test_the_reply_is_lost_and_there_is_one_object(cloud: Cloud) -> None:
    story, proxy = cloud
    story.fill(20)
    story.store_all()
    story.fill(100)
    before, uploads = len(story.objects()), proxy.uploads
    proxy.lose_reply(3)
    out, _ = story.store_all("--json", "--flush-records", 20)
    told = json.loads(out)
    added = len(story.objects()) - before
    assert proxy.uploads == uploads + added + 3
    # the reply that is lost may be the second one of the same upload
    found_there = added - told["segments"]
    assert 0 < found_there <= 3
    assert told["adopted"] == (0 if "json" in story.options else found_there)
    what = f"reply of a put lost, {story.options[-1]}"
    story.survived("4", what, injected=3, struck=3 - proxy.pending)


@pytest.mark.full
@pytest.mark.parametrize("when", [pytest.param("before", marks=FULL), "meanwhile"])
def test_another_topics_records_in_this_place(story: Story, tmp_path: Path, when: str) -> None:
    other = begin(story.servers, tmp_path / "other", story.record)
    other.fill(100)
    other.store_all()
    theirs = Path(other.lake, other.objects()[0])
    story.fill(400)
    story.options = ("--group", story.topic)
    story.store_all()
    story.fill(400)
    at = "sink.cut=stop" if when == "meanwhile" else ""
    with story.sink("--until-end", at=at) as child:
        if at:
            wait_until(lambda: is_halted(child.pid), child)
        ends = story.committed()
        planted = []
        for number, end in ends.items():
            place = Path(story.lake, "raw", story.topic, f"partition={number}", f"{end:020d}.ndjson.gz")
            shutil.copy(theirs, place)
            planted.append(place)
        held = contents(Path(story.lake))
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    assert "it does not belong here" in err
    assert "→" in err
    assert contents(Path(story.lake)) == held, "nothing is changed"
    assert story.committed() == ends
    for place in planted:
        place.unlink()
    story.store_all()
    story.survived("5", f"another topic's object at the same start, {when}", injected=1, struck=1)


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@FULL
def test_a_busy_store_is_asked_again(cloud: Cloud) -> None:
    story, proxy = cloud
    # in one partition, so that the uploads come one after the other
    story.fill(2000, lambda number: "one partition")
    proxy.answer(503, times=2)
    proxy.let_pass()
    proxy.answer(429, retry_after=2)
    proxy.let_pass()
    proxy.answer(408)
    proxy.let_pass()
    proxy.cut_body()
    with story.sink("--until-end", "--flush-records", 300, "--json") as child:
        wait_until(lambda: proxy.uploads > 0, child)
        back_s = wait_until(lambda: proxy.uploads > 8, child)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert json.loads(out)["retries"] == 5, "it says how often it tried again"
    assert proxy.uploads == len(story.objects()) + 5
    assert proxy.arrived_s[4] - proxy.arrived_s[3] >= 2, "it comes back when it was told to"
    what = "503 twice, 429 with Retry-After, 408, a reset in mid-upload"
    story.survived("6", what, injected=5, struck=5 - proxy.pending, back_s=back_s)


@pytest.mark.full
@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(400, "Trying again would not help", marks=FULL),
        pytest.param(401, "gcloud auth application-default login", marks=FULL),
        (403, "roles/storage.objectCreator"),
    ],
)
def test_a_refusal_ends_it_at_once(cloud: Cloud, status: int, said: str) -> None:
    story, proxy = cloud
    story.options = ("--group", story.topic)
    story.fill(200)
    story.store_all()
    noted, held, uploads = story.committed(), story.objects(), proxy.uploads
    story.fill(2000)
    proxy.answer(status, times=1000)
    _, err = story.store_all("--flush-records", 50, code=2)
    struck = 1000 - proxy.pending
    assert said in err
    assert struck == proxy.uploads - uploads
    assert struck <= 2, "those which are on their way at once, none of them again"
    assert (story.committed(), story.objects()) == (noted, held)
    proxy.heal()
    story.store_all()
    story.survived("7", f"{status}: ended at once", injected=1, struck=struck)


Damage = Callable[[Path], None]


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def cut_the_head(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def change_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-20] ^= 0x10
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("fmt", "damage"),
    [
        ("ndjson", cut_in_half),
        pytest.param("ndjson", cut_the_head, marks=FULL),
        pytest.param("ndjson", change_a_byte, marks=FULL),
        pytest.param("parquet", cut_in_half, marks=FULL),
        pytest.param("parquet", empty, marks=FULL),
    ],
)
def test_a_damaged_segment_is_never_built_upon(story: Story, fmt: str, damage: Damage) -> None:
    story.options = ("--format", fmt)
    story.fill(400)
    story.store_all()
    last = Path(story.lake) / story.objects()[-1]
    whole = last.read_bytes()
    damage(last)
    held = contents(Path(story.lake))
    story.fill(400)
    # every partition goes on from its last segment, which is that one for one of them
    _, err = story.store_all(code=4)
    assert last.name in err
    assert "→" in err
    assert contents(Path(story.lake)) == held, "nothing is changed"
    assert last.name in audit(story, code=4)
    last.write_bytes(whole)
    story.store_all()
    story.survived("8", f"the last segment is damaged: {damage.__name__}, {fmt}", injected=1, struck=1)


def audit(story: Story, code: int) -> str:
    options = ("audit", "--lake", story.lake, "-t", story.topic, "--deep", "-b", story.servers)
    with tickerlake(*options, variables=story.variables) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == code, out + err
    return out + err


@FULL
def test_an_object_that_does_not_say_what_it_holds(cloud: Cloud, fake_gcs: FakeGcs) -> None:
    story, _ = cloud
    story.options = ("--group", story.topic)
    story.fill(400)
    story.store_all()
    number, end = next((number, end) for number, end in story.committed().items() if end > 0)
    name = f"raw/{story.topic}/partition={number}/{end:020d}.ndjson.gz"
    bucket = story.lake.removeprefix("gs://").strip("/")
    where = f"{fake_gcs.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
    urllib.request.urlopen(urllib.request.Request(where, b"something"), timeout=10).close()  # noqa: S310
    story.fill(400)
    noted = story.committed()
    _, err = story.store_all(code=4)
    assert f"{name} does not say which records it holds" in err
    assert "→" in err
    assert noted[number] == story.committed()[number]
    assert name in audit(story, code=4)
    where = f"{fake_gcs.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    urllib.request.urlopen(urllib.request.Request(where, method="DELETE"), timeout=10).close()  # noqa: S310
    story.store_all()
    story.survived("8", "an object without metadata in the chain", injected=1, struck=1)


@FULL
def test_downloads_that_are_damaged_or_cut(cloud: Cloud) -> None:
    story, proxy = cloud
    story.fill(400)
    story.store_all()
    story.fill(400)
    held = story.objects()
    proxy.damage_download()
    _, err = story.store_all(code=2)
    assert "arrived damaged" in err
    assert story.objects() == held
    proxy.truncate_download(2)
    story.store_all()
    struck = 3 - proxy.pending
    proxy.damage_download()
    assert "arrived damaged" in audit(story, code=2)
    story.survived("8", "downloads damaged and cut", injected=4, struck=struck + 1 - proxy.pending)


@FULL
@pytest.mark.timeout(300)
def test_a_store_that_never_answers(cloud: Cloud) -> None:
    """Its session is of 6 s; an upload waits 30 s for its answer, and is tried for 90 s."""
    story, proxy = cloud
    story.options = ("--group", story.topic)
    story.fill(500)
    proxy.stall(1000)
    client = AdminClient({"bootstrap.servers": story.servers})
    members: dict[int, int] = {}

    def ended() -> bool:
        tries = proxy.uploads
        if tries not in members:
            about = client.describe_consumer_groups([story.topic])[story.topic].result(10)
            members[tries] = len(about.members)
        return child.poll() is not None

    with story.sink("--until-end") as child:
        wait_until(lambda: proxy.uploads > 1, child)
        took_s = wait_until(ended, seconds=250)
        _, err = child.communicate(timeout=10)
    assert child.returncode == 3, err
    assert "3 tries in " in err
    assert "→" in err
    assert 80 < took_s < 110
    assert len(members) >= 3
    assert set(members.values()) == {1}, "it stays in its group all the time"
    assert max(story.committed().values()) < 0, "nothing is committed"
    struck = 1000 - proxy.pending
    proxy.heal()
    story.store_all()
    story.survived("9", f"the store never answers: given up after {took_s:.0f} s", injected=1, struck=struck)


def stop_while_refused(story: Story, proxy: FaultProxy) -> Child:
    before = proxy.uploads
    child = story.sink("--flush-records", 100, "--flush-age", 0.5)
    wait_until(lambda: proxy.uploads > before + 1, child)
    child.terminate()
    return child


@FULL
def test_stopped_while_the_store_has_no_room_and_then_has(cloud: Cloud) -> None:
    story, proxy = cloud
    story.options = ("--group", story.topic)
    story.fill(1000)
    proxy.answer(429, times=6)
    with stop_while_refused(story, proxy) as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "stopping" in err
    stored = sum(map(len, oracle.rows(story.copy(), story.topic).values()))
    assert f"stored {stored:,} records" in err
    assert stored == sum(end for end in story.committed().values() if end > 0), "it says how far it got"
    assert stored > 0
    story.store_all()
    story.survived("17", "SIGTERM during 429s that end", injected=6, struck=6 - proxy.pending)


@FULL
def test_stopped_while_the_store_has_no_room(cloud: Cloud) -> None:
    story, proxy = cloud
    story.options = ("--group", story.topic)
    story.fill(400)
    story.store_all()
    noted, held = story.committed(), story.objects()
    story.fill(1000)
    proxy.answer(429, times=1000)
    with stop_while_refused(story, proxy) as child:
        # longer than anybody would wait
        struck = 1000 - proxy.pending
        proxy.heal()
        proxy.answer(429, times=1000, retry_after=3600)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 3, err
    assert "stopping" in err
    assert (story.committed(), story.objects()) == (noted, held)
    struck += 1000 - proxy.pending
    proxy.heal()
    story.store_all()
    story.survived("17", "SIGTERM during 429s that do not end", injected=1, struck=struck)
