"""A lake that was damaged: the audit says what is wrong and where, and a repair makes it whole again."""

import gzip
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from hypothesis import given, settings
from hypothesis import strategies as st

from fault.conftest import Story
from support.faultproxy import FaultProxy
from support.gcs import FakeGcs
from support.process import run, tickerlake
from tickerlake.lake import ndjson, parquet
from tickerlake.lake.audit import Finding
from tickerlake.lake.repair import Repaired, plan
from tickerlake.lake.rows import checksum
from tickerlake.lake.segment import SegmentMeta, segment_key
from tickerlake.lake.store import open_store
from tickerlake.pipeline.prove import prove
from tickerlake.pipeline.repair import repair

Damage = Callable[[Path], str]
"""Damages a segment in the middle of a chain; returns the kind of the finding that names it."""


def _meta(file: Path) -> SegmentMeta:
    data = file.read_bytes()
    return parquet.unpack_meta(data, "k") if file.suffix == ".parquet" else ndjson.unpack_meta(data, "k")


def _pack(file: Path, meta: SegmentMeta, keep: Callable[[int], bool] = lambda _: True) -> bytes:
    """Write a segment anew as whoever knows the format would: sums and counts agree with its rows."""
    data = file.read_bytes()
    if file.suffix == ".parquet":
        frame, _ = parquet.unpack(data, "k")
        kept = frame.filter(pl.Series([keep(n) for n in range(frame.height)], dtype=pl.Boolean))
        return parquet.pack(kept, replace(meta, records=kept.height))[0]
    lines = [line for n, line in enumerate(gzip.decompress(data).splitlines(keepends=True)) if keep(n)]
    text = b"".join(lines)
    return ndjson.pack(text, replace(meta, records=len(lines), rows_crc32c=checksum(text)))


def missing(file: Path) -> str:
    file.unlink()
    return "missing"


def truncated(file: Path) -> str:
    file.write_bytes(file.read_bytes()[:-300])
    return "unreadable" if file.suffix == ".parquet" else "damaged"


def emptied(file: Path) -> str:
    file.write_bytes(b"")
    return "unreadable"


def bit_flipped(file: Path) -> str:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return "checksum" if file.suffix == ".parquet" else "damaged"


def doubled(file: Path) -> str:
    copy = file.with_name(f"{_meta(file).position + 3:020d}{''.join(file.suffixes)}")
    shutil.copy(file, copy)
    return "misnamed"


def overlapping(file: Path) -> str:
    meta = _meta(file)
    inside = replace(meta, position=meta.position + 3)
    file.with_name(f"{inside.position:020d}{''.join(file.suffixes)}").write_bytes(
        _pack(file, inside, lambda n: n >= 3)
    )
    return "overlap"


def metadata_edited(file: Path) -> str:
    meta = _meta(file)
    file.write_bytes(_pack(file, replace(meta, next_position=meta.next_position - 2)))
    return "range"


def foreign(file: Path) -> str:
    file.write_bytes(_pack(file, replace(_meta(file), topic="others", topic_id="other")))
    return "foreign"


def record_removed(file: Path) -> str:
    file.write_bytes(_pack(file, _meta(file), lambda n: n != 7))
    return "differs"


def record_changed(file: Path) -> str:
    if file.suffix == ".parquet":
        frame, _ = parquet.unpack(file.read_bytes(), "k")
        changed = frame.with_columns(price=pl.when(pl.int_range(pl.len()) == 7).then(1).otherwise("price"))
        file.write_bytes(parquet.pack(changed.cast({"price": frame.schema["price"]}), _meta(file))[0])
        return "differs"
    lines = gzip.decompress(file.read_bytes()).replace(b'"id": ', b'"id": 9', 1)
    file.write_bytes(ndjson.pack(lines, replace(_meta(file), rows_crc32c=checksum(lines))))
    return "differs"


DAMAGES: list[Damage] = [
    missing, truncated, emptied, bit_flipped, doubled, overlapping, metadata_edited, foreign, record_removed,
    record_changed,
]  # fmt: skip


def findings(story: Story) -> list[Finding]:
    store = open_store(story.lake)
    return [each for part in prove(store, story.topic, story.servers, deep=True) for each in part.findings]


def mend(story: Story) -> list[Repaired]:
    store = open_store(story.lake)
    return list(repair(store, prove(store, story.topic, story.servers, deep=True), story.servers))


def chain(story: Story, partition: int = 1) -> list[Path]:
    return sorted((Path(story.lake) / "raw" / story.topic / f"partition={partition}").glob("*.*"))


def contents(story: Story) -> dict[str, bytes]:
    top = Path(story.lake)
    return {
        str(file.relative_to(top)): file.read_bytes() for file in (top / "raw").rglob("*.*") if file.is_file()
    }


@pytest.mark.parametrize("fmt", ["ndjson", pytest.param("parquet", marks=pytest.mark.full)])
def test_each_damage_is_named_and_mended(story: Story, fmt: str) -> None:
    story.fill(2000)
    story.store_all("--format", fmt, "--flush-records", 60)
    assert not findings(story)
    sound = contents(story)
    for damage in DAMAGES:
        file = chain(story)[3]
        key = str(file.relative_to(story.lake))
        kind = damage(file)
        found = findings(story)
        assert kind in {each.kind for each in found}, (damage.__name__, found)
        place = {"missing": 4, "misnamed": 4, "overlap": 4}.get(kind, 3)
        where = str(chain(story)[3 if kind == "missing" else place].relative_to(story.lake))
        assert where in {each.key for each in found if each.kind == kind}, (damage.__name__, found)
        made = [made for each in mend(story) for made in each.made]
        assert not findings(story), damage.__name__
        assert set(made) <= {key}, "a sound segment is never made anew"
        assert contents(story) == sound, f"{damage.__name__}: all is as it was"
        if kind != "missing":
            assert list((Path(story.lake) / "damaged").rglob("*.*")), "what was damaged is kept"
    story.survived(
        "audit",
        f"{len(DAMAGES)} damages of a lake ({fmt}), repaired",
        injected=len(DAMAGES),
        struck=len(DAMAGES),
    )


def test_single_objects_and_rejects_are_mended(story: Story) -> None:
    producer = Producer({"bootstrap.servers": story.servers})
    for number in range(40):
        producer.produce(story.topic, b'{"id":%d}' % number if number % 8 else b"poison", partition=0)
    assert producer.flush(30) == 0
    story.store_all("--format", "json")
    sound, top = contents(story), Path(story.lake)
    rejects = sorted((top / "rejects").rglob("*.json"))
    kept = [file.read_bytes() for file in rejects]
    files = chain(story, 0)
    files[2].unlink()
    files[4].write_bytes(b'{"kafka_offset":')
    files[6].write_bytes(files[6].read_bytes().replace(b'"id":', b'"id":1'))
    rejects[0].unlink()
    rejects[1].write_bytes(b"{}")
    rejects[2].write_bytes(kept[2].replace(b"cG9pc29u", b"cG9pc29v"))
    found = {Path(each.key).name: each.kind for each in findings(story)}
    assert found[files[4].name] == "damaged"
    assert found[files[6].name] == "differs"
    assert found[rejects[1].name] == "damaged"
    assert found[rejects[2].name] == "differs"
    assert "missing" in found.values()
    mend(story)
    assert not findings(story)
    assert contents(story) == sound
    assert [file.read_bytes() for file in rejects] == kept
    story.survived("audit", "damages of single objects and rejects (json), repaired", injected=6, struck=6)


def test_what_kafka_no_longer_has_is_named_and_left_alone(story: Story) -> None:
    story.fill(1000)
    story.store_all("--flush-records", 60)
    client = AdminClient({"bootstrap.servers": story.servers})
    low = _meta(chain(story)[2]).position + 10
    client.delete_records([TopicPartition(story.topic, 1, low)])[TopicPartition(story.topic, 1)].result()
    files = chain(story)
    damaged = files[1].read_bytes()[:-40]
    files[1].write_bytes(damaged)
    files[2].unlink()
    bit_flipped(files[4])
    meta = _meta(files[1])
    out, err = run("audit", "--lake", story.lake, "-b", story.servers, "--repair", "--json", code=4)
    (done,) = json.loads(out)["repaired"]
    assert done["lost"] == [[meta.position, low]]
    assert f"offsets {meta.position} to {low - 1} can't be had back" in err
    assert files[1].read_bytes() == damaged, "what can't be made anew stays"
    left = {(each["kind"], each["key"]) for p in json.loads(out)["partitions"] for each in p["findings"]}
    where = str((files[2].parent / f"{low:020d}.ndjson.gz").relative_to(story.lake))
    assert left == {("damaged", str(files[1].relative_to(story.lake))), ("missing", where)}


def test_the_end_of_the_chain_is_mended_and_the_sink_goes_on(story: Story) -> None:
    story.fill(800)
    story.store_all("--flush-records", 60)
    sound = contents(story)
    chain(story)[-1].write_bytes(b"")
    story.store_all(code=4)
    mend(story)
    assert not findings(story)
    assert contents(story).keys() == sound.keys()
    story.fill(800)
    story.store_all("--flush-records", 70)
    story.survived("8", "the last segment emptied, repaired, and the sink goes on", injected=1, struck=1)


@pytest.mark.parametrize(
    "at", ["repair.aside=kill", pytest.param("repair.replaced=kill", marks=pytest.mark.full)]
)
def test_a_repair_that_is_killed_and_run_again(story: Story, at: str) -> None:
    story.fill(1200)
    story.store_all("--flush-records", 60)
    sound = contents(story)
    foreign(chain(story)[1])
    missing(chain(story)[3])
    with tickerlake(
        "audit",
        "--lake",
        story.lake,
        "-b",
        story.servers,
        "--repair",
        variables={"TICKERLAKE_FAILPOINTS": at},
    ) as child:
        child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    mend(story)
    assert not findings(story)
    assert contents(story) == sound
    story.survived("audit", f"a repair killed at {at}", injected=1, struck=1)


@pytest.mark.full
def test_in_cloud_storage(cloud: tuple[Story, FaultProxy], fake_gcs: FakeGcs) -> None:
    story, _ = cloud
    del fake_gcs
    story.fill(600)
    story.store_all("--flush-records", 60)
    store = open_store(story.lake)
    keys = [info.key for info in store.list(f"raw/{story.topic}/partition=1/")]
    info = store.stat(keys[1])
    assert info is not None
    assert info.metadata is not None
    edited = dict(info.metadata) | {"next_position": str(int(info.metadata["next_position"]) - 1)}
    store.mend(keys[1], store.read(keys[1]), metadata=edited)
    store.mend(keys[2], b"rubbish", metadata=info.metadata)
    kinds = {(each["key"], each["kind"]) for each in _cloud_findings(story)}
    assert {(keys[1], "metadata"), (keys[2], "misnamed")} <= kinds
    with tickerlake(
        "audit", "--lake", story.lake, "-b", story.servers, "--repair", variables=story.variables
    ) as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert [info.key for info in store.list(f"raw/{story.topic}/partition=1/")] == keys
    assert len(list(store.list("damaged/"))) == 2
    store.close()
    story.survived("audit", "damages of a lake in Cloud Storage, repaired", injected=2, struck=2)


def _cloud_findings(story: Story) -> list[dict[str, str]]:
    with tickerlake("audit", "--lake", story.lake, "--deep", "--json", variables=story.variables) as child:
        out, _ = child.communicate(timeout=60)
    return [each for part in json.loads(out)["partitions"] for each in part["findings"]]


def test_a_repair_needs_kafka(story: Story) -> None:
    _, err = run("audit", "--lake", story.lake, "--repair", code=2)
    assert "--bootstrap-servers" in err


SEGMENTS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), max_size=12)


@settings(max_examples=300, derandomize=True)
@given(SEGMENTS, st.integers(0, 60), st.integers(0, 80))
def test_a_plan_makes_every_chain_whole(segments: list[tuple[int, int, bool]], low: int, end: int) -> None:
    there = {start: (start + length, is_sound) for start, length, is_sound in segments}

    def meta(start: int) -> tuple[str, SegmentMeta]:
        said = SegmentMeta("t", "id", 0, start, there[start][0], 1, 0, "")
        return segment_key("t", 0, start, "ndjson"), said

    sound = [meta(start) for start in sorted(there) if there[start][1]]
    bad = [(segment_key("t", 0, start, "ndjson"), start) for start in sorted(there) if not there[start][1]]
    todo = plan(0, end, low, sound, bad)
    made = {segment_key("t", 0, start, "ndjson"): (start, stop) for start, stop in todo.ranges}
    left = {key: (each.position, each.next_position) for key, each in sound if key not in todo.aside}
    assert not made.keys() & left.keys(), "a sound segment is never rewritten"
    covered = sorted([*made.values(), *left.values()])
    reached = 0
    for start, stop in covered:
        assert start <= reached, "no gap is left"
        assert start == reached or start < low, "an overlap stays only if its records can't be had back"
        reached = max(reached, stop)
    assert reached >= end
    assert {key for key, _ in bad} <= made.keys() | set(todo.aside), "nothing damaged stays in the chain"
    for key, each in sound:
        if key in todo.aside:
            before = [stop for start, stop in left.values() if start <= each.position]
            assert each.next_position <= max(before, default=0) or max(before, default=0) >= low
