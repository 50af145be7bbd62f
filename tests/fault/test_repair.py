"""Damaged lakes: the audit reports what is damaged and where, and a repair restores it."""

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

from support.gcs import FakeGcs
from support.http_fault_proxy import FaultProxy
from support.process import run, tickerlake
from support.scenario import Scenario
from tickerlake.lake.audit.repair import RepairResult, plan_repair
from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.formats import ndjson, parquet
from tickerlake.lake.formats.rows import checksum
from tickerlake.lake.segment import SegmentMeta, segment_key
from tickerlake.lake.store import open_store
from tickerlake.tools.audit import audit_lake
from tickerlake.tools.repair import repair_lake

Corruption = Callable[[Path], str]
"""Damages a segment in the middle of a chain; returns the kind of the expected finding."""


def _read_meta(file: Path) -> SegmentMeta:
    data = file.read_bytes()
    return parquet.decode_meta(data, "k") if file.suffix == ".parquet" else ndjson.decode_meta(data, "k")


def _rewrite_segment(
    file: Path, meta: SegmentMeta, should_keep: Callable[[int], bool] = lambda _: True
) -> bytes:
    """Encode a segment again, with valid checksums and counts."""
    data = file.read_bytes()
    if file.suffix == ".parquet":
        frame, _ = parquet.decode_rows(data, "k")
        retained = frame.filter(pl.Series([should_keep(n) for n in range(frame.height)], dtype=pl.Boolean))
        return parquet.encode_segment(retained, replace(meta, records=retained.height))[0]
    lines = [line for n, line in enumerate(gzip.decompress(data).splitlines(keepends=True)) if should_keep(n)]
    ndjson_rows = b"".join(lines)
    return ndjson.encode_segment(
        ndjson_rows, replace(meta, records=len(lines), rows_crc32c=checksum(ndjson_rows))
    )


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


def duplicated(file: Path) -> str:
    copy = file.with_name(f"{_read_meta(file).position + 3:020d}{''.join(file.suffixes)}")
    shutil.copy(file, copy)
    return "misnamed"


def overlapping(file: Path) -> str:
    meta = _read_meta(file)
    inside = replace(meta, position=meta.position + 3)
    file.with_name(f"{inside.position:020d}{''.join(file.suffixes)}").write_bytes(
        _rewrite_segment(file, inside, lambda n: n >= 3)
    )
    return "overlap"


def metadata_edited(file: Path) -> str:
    meta = _read_meta(file)
    file.write_bytes(_rewrite_segment(file, replace(meta, next_position=meta.next_position - 2)))
    return "range"


def foreign(file: Path) -> str:
    file.write_bytes(_rewrite_segment(file, replace(_read_meta(file), topic="others", topic_id="other")))
    return "wrong_topic"


def record_removed(file: Path) -> str:
    file.write_bytes(_rewrite_segment(file, _read_meta(file), lambda n: n != 7))
    return "differs"


def record_changed(file: Path) -> str:
    if file.suffix == ".parquet":
        frame, _ = parquet.decode_rows(file.read_bytes(), "k")
        changed = frame.with_columns(price=pl.when(pl.int_range(pl.len()) == 7).then(1).otherwise("price"))
        file.write_bytes(
            parquet.encode_segment(changed.cast({"price": frame.schema["price"]}), _read_meta(file))[0]
        )
        return "differs"
    lines = gzip.decompress(file.read_bytes()).replace(b'"id": ', b'"id": 9', 1)
    file.write_bytes(ndjson.encode_segment(lines, replace(_read_meta(file), rows_crc32c=checksum(lines))))
    return "differs"


CORRUPTIONS: list[Corruption] = [
    missing,
    truncated,
    emptied,
    bit_flipped,
    duplicated,
    overlapping,
    metadata_edited,
    foreign,
    record_removed,
    record_changed,
]


def findings(scenario: Scenario) -> list[Finding]:
    store = open_store(scenario.lake)
    return [
        each
        for part in audit_lake(store, scenario.topic, scenario.servers, deep=True)
        for each in part.findings
    ]


def run_repair(scenario: Scenario) -> list[RepairResult]:
    store = open_store(scenario.lake)
    return list(
        repair_lake(store, audit_lake(store, scenario.topic, scenario.servers, deep=True), scenario.servers)
    )


def chain_files(scenario: Scenario, partition: int = 1) -> list[Path]:
    return sorted((Path(scenario.lake) / "raw" / scenario.topic / f"partition={partition}").glob("*.*"))


def raw_contents(scenario: Scenario) -> dict[str, bytes]:
    root = Path(scenario.lake)
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in (root / "raw").rglob("*.*")
        if file.is_file()
    }


@pytest.mark.parametrize("fmt", ["ndjson", pytest.param("parquet", marks=pytest.mark.full)])
def test_each_corruption_is_reported_and_repaired(scenario: Scenario, fmt: str) -> None:
    scenario.produce(2000)
    scenario.run_sink("--format", fmt, "--flush-records", 60)
    assert not findings(scenario)
    sound = raw_contents(scenario)
    for corrupt in CORRUPTIONS:
        file = chain_files(scenario)[3]
        key = str(file.relative_to(scenario.lake))
        kind = corrupt(file)
        reported = findings(scenario)
        assert kind in {each.kind for each in reported}, (corrupt.__name__, reported)
        expected_index = {"missing": 4, "misnamed": 4, "overlap": 4}.get(kind, 3)
        expected_key = str(
            chain_files(scenario)[3 if kind == "missing" else expected_index].relative_to(scenario.lake)
        )
        assert expected_key in {each.key for each in reported if each.kind == kind}, (
            corrupt.__name__,
            reported,
        )
        rebuilt = [name for each in run_repair(scenario) for name in each.made]
        assert not findings(scenario), corrupt.__name__
        assert set(rebuilt) <= {key}, "a sound segment is never rebuilt"
        assert raw_contents(scenario) == sound, f"{corrupt.__name__}: the lake is as before"
        if kind != "missing":
            assert list((Path(scenario.lake) / "damaged").rglob("*.*")), "the damaged original is quarantined"
    scenario.assert_survived(
        "audit",
        f"{len(CORRUPTIONS)} kinds of damage ({fmt}), repaired",
        injected=len(CORRUPTIONS),
        triggered=len(CORRUPTIONS),
    )


def test_single_objects_and_rejects_are_repaired(scenario: Scenario) -> None:
    producer = Producer({"bootstrap.servers": scenario.servers})
    for number in range(40):
        producer.produce(scenario.topic, b'{"id":%d}' % number if number % 8 else b"poison", partition=0)
    assert producer.flush(30) == 0
    scenario.run_sink("--format", "json")
    sound, root = raw_contents(scenario), Path(scenario.lake)
    rejects = sorted((root / "rejects").rglob("*.json"))
    reject_contents = [file.read_bytes() for file in rejects]
    files = chain_files(scenario, 0)
    files[2].unlink()
    files[4].write_bytes(b'{"kafka_offset":')
    files[6].write_bytes(files[6].read_bytes().replace(b'"id":', b'"id":1'))
    rejects[0].unlink()
    rejects[1].write_bytes(b"{}")
    rejects[2].write_bytes(reject_contents[2].replace(b"cG9pc29u", b"cG9pc29v"))
    kinds_by_name = {Path(each.key).name: each.kind for each in findings(scenario)}
    assert kinds_by_name[files[4].name] == "damaged"
    assert kinds_by_name[files[6].name] == "differs"
    assert kinds_by_name[rejects[1].name] == "damaged"
    assert kinds_by_name[rejects[2].name] == "differs"
    assert "missing" in kinds_by_name.values()
    run_repair(scenario)
    assert not findings(scenario)
    assert raw_contents(scenario) == sound
    assert [file.read_bytes() for file in rejects] == reject_contents
    scenario.assert_survived("audit", "damaged objects and rejects (json), repaired", injected=6, triggered=6)


def test_unrecoverable_offsets_are_reported_and_left_alone(scenario: Scenario) -> None:
    scenario.produce(1000)
    scenario.run_sink("--flush-records", 60)
    client = AdminClient({"bootstrap.servers": scenario.servers})
    low = _read_meta(chain_files(scenario)[2]).position + 10
    client.delete_records([TopicPartition(scenario.topic, 1, low)])[
        TopicPartition(scenario.topic, 1)
    ].result()
    files = chain_files(scenario)
    damaged = files[1].read_bytes()[:-40]
    files[1].write_bytes(damaged)
    files[2].unlink()
    bit_flipped(files[4])
    meta = _read_meta(files[1])
    out, err = run(
        "audit", "--lake", scenario.lake, "-b", scenario.servers, "--repair", "--json", exit_code=4
    )
    (repaired,) = json.loads(out)["repaired"]
    assert repaired["lost"] == [[meta.position, low]]
    assert f"offsets {meta.position} to {low - 1} cannot be recovered" in err
    assert files[1].read_bytes() == damaged, "what cannot be rebuilt remains"
    remaining = {(each["kind"], each["key"]) for p in json.loads(out)["partitions"] for each in p["findings"]}
    missing_key = str((files[2].parent / f"{low:020d}.ndjson.gz").relative_to(scenario.lake))
    assert remaining == {("damaged", str(files[1].relative_to(scenario.lake))), ("missing", missing_key)}


def test_the_end_of_the_chain_is_repaired_and_the_sink_continues(scenario: Scenario) -> None:
    scenario.produce(800)
    scenario.run_sink("--flush-records", 60)
    sound = raw_contents(scenario)
    chain_files(scenario)[-1].write_bytes(b"")
    scenario.run_sink(exit_code=4)
    run_repair(scenario)
    assert not findings(scenario)
    assert raw_contents(scenario).keys() == sound.keys()
    scenario.produce(800)
    scenario.run_sink("--flush-records", 70)
    scenario.assert_survived(
        "8", "last segment emptied and repaired; the sink continues", injected=1, triggered=1
    )


@pytest.mark.parametrize(
    "failpoints", ["repair.quarantined=kill", pytest.param("repair.replaced=kill", marks=pytest.mark.full)]
)
def test_a_repair_killed_and_rerun(scenario: Scenario, failpoints: str) -> None:
    scenario.produce(1200)
    scenario.run_sink("--flush-records", 60)
    sound = raw_contents(scenario)
    foreign(chain_files(scenario)[1])
    missing(chain_files(scenario)[3])
    with tickerlake(
        "audit",
        "--lake",
        scenario.lake,
        "-b",
        scenario.servers,
        "--repair",
        env={"TICKERLAKE_FAILPOINTS": failpoints},
    ) as child:
        child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    run_repair(scenario)
    assert not findings(scenario)
    assert raw_contents(scenario) == sound
    scenario.assert_survived("audit", f"repair killed at {failpoints}", injected=1, triggered=1)


@pytest.mark.full
def test_in_cloud_storage(cloud: tuple[Scenario, FaultProxy], fake_gcs: FakeGcs) -> None:
    scenario, _ = cloud
    del fake_gcs
    scenario.produce(600)
    scenario.run_sink("--flush-records", 60)
    store = open_store(scenario.lake)
    keys = [info.key for info in store.list(f"raw/{scenario.topic}/partition=1/")]
    info = store.stat(keys[1])
    assert info is not None
    assert info.metadata is not None
    edited = dict(info.metadata) | {"next_position": str(int(info.metadata["next_position"]) - 1)}
    store.replace_damaged(keys[1], store.read(keys[1]), metadata=edited)
    store.replace_damaged(keys[2], b"rubbish", metadata=info.metadata)
    kinds = {(each["key"], each["kind"]) for each in _cloud_findings(scenario)}
    assert {(keys[1], "metadata"), (keys[2], "misnamed")} <= kinds
    with tickerlake(
        "audit", "--lake", scenario.lake, "-b", scenario.servers, "--repair", env=scenario.env
    ) as child:
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert [info.key for info in store.list(f"raw/{scenario.topic}/partition=1/")] == keys
    assert len(list(store.list("damaged/"))) == 2
    store.close()
    scenario.assert_survived("audit", "damage in Cloud Storage, repaired", injected=2, triggered=2)


def _cloud_findings(scenario: Scenario) -> list[dict[str, str]]:
    with tickerlake("audit", "--lake", scenario.lake, "--deep", "--json", env=scenario.env) as child:
        out, _ = child.communicate(timeout=60)
    return [each for part in json.loads(out)["partitions"] for each in part["findings"]]


def test_a_repair_needs_kafka(scenario: Scenario) -> None:
    _, err = run("audit", "--lake", scenario.lake, "--repair", exit_code=2)
    assert "--bootstrap-servers" in err


SEGMENT_LISTS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), max_size=12)


@settings(max_examples=300, derandomize=True)
@given(SEGMENT_LISTS, st.integers(0, 60), st.integers(0, 80))
def test_a_repair_plan_completes_every_chain(
    segments: list[tuple[int, int, bool]], low: int, end: int
) -> None:
    by_start = {start: (start + length, is_sound) for start, length, is_sound in segments}

    def meta(start: int) -> tuple[str, SegmentMeta]:
        segment_meta = SegmentMeta("t", "id", 0, start, by_start[start][0], 1, 0, "")
        return segment_key("t", 0, start, "ndjson"), segment_meta

    sound = [meta(start) for start in sorted(by_start) if by_start[start][1]]
    damaged = [
        (segment_key("t", 0, start, "ndjson"), start) for start in sorted(by_start) if not by_start[start][1]
    ]
    repair_plan = plan_repair(0, end, low, sound, damaged)
    rebuilt = {segment_key("t", 0, start, "ndjson"): (start, stop) for start, stop in repair_plan.ranges}
    retained = {
        key: (each.position, each.next_position)
        for key, each in sound
        if key not in repair_plan.to_quarantine
    }
    assert not rebuilt.keys() & retained.keys(), "a sound segment is never rewritten"
    covered = sorted([*rebuilt.values(), *retained.values()])
    covered_to = 0
    for start, stop in covered:
        assert start <= covered_to, "no gap remains"
        assert start == covered_to or start < low, (
            "an overlap remains only if its records cannot be recovered"
        )
        covered_to = max(covered_to, stop)
    assert covered_to >= end
    assert {key for key, _ in damaged} <= rebuilt.keys() | set(repair_plan.to_quarantine), (
        "no damaged segment remains in the chain"
    )
    for key, each in sound:
        if key in repair_plan.to_quarantine:
            before = [stop for start, stop in retained.values() if start <= each.position]
            assert each.next_position <= max(before, default=0) or max(before, default=0) >= low
