"""Kafka → lake on a real broker: killed, doubled up and rebalanced, each record is stored once."""

import json
import random
import secrets
import threading
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer

from support import oracle
from support.faultproxy import FaultProxy
from support.gcs import FakeGcs, fake_gcs
from support.process import run, tickerlake, wait_until
from tickerlake.kafka.admin import Admin
from tickerlake.lake.store import open_store
from tickerlake.pipeline.sink import Sink, SinkOptions

__all__ = ["fake_gcs"]


@pytest.fixture
def topic(kafka: str) -> str:
    name = f"t.{secrets.token_hex(6)}"
    Admin(kafka).create(name, 4)
    return name


def fill(servers: str, topic: str, count: int, start: int = 0) -> None:
    producer = Producer(
        {"bootstrap.servers": servers, "queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
    )
    for number in range(start, start + count):
        producer.produce(
            topic, json.dumps({"id": number, "price": number / 8}).encode(), f"K{number % 50}".encode()
        )
    assert producer.flush(60) == 0


def segments(lake: Path, topic: str) -> int:
    return len(list((lake / "raw" / topic).glob("partition=*/*")))


def _more_than(lake: Path, topic: str, count: int) -> bool:
    return segments(lake, topic) > count


@pytest.mark.parametrize(("fmt", "count"), [("ndjson", 40_000), ("parquet", 40_000), ("json", 4_000)])
def test_killed_at_random_moments(kafka: str, topic: str, tmp_path: Path, fmt: str, count: int) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    fill(kafka, topic, count)
    options = ("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--flush-records", 400,
               "--format", fmt, "-X", "session.timeout.ms=6000")  # fmt: skip
    killed = 0
    for _ in range(4 if fmt == "ndjson" else 2):
        more = dice.randint(0, 11) * (20 if fmt == "json" else 1)
        enough = partial(_more_than, tmp_path, topic, segments(tmp_path, topic) + more)
        with tickerlake(*options, "--until-end") as child:
            wait_until(enough, child)
            killed += child.poll() is None
            child.kill()
    assert killed, "the kills came too late to prove anything"
    run(*options, "--until-end")
    assert oracle.judge(kafka, topic, tmp_path) == count
    out, _ = run("audit", "--lake", tmp_path, "--deep", "-b", kafka, "--json")
    assert sum(part["records"] for part in json.loads(out)["partitions"]) == count


def test_poison_is_kept_and_the_partition_moves_on(kafka: str, topic: str, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    poison = [b"", b"{", b'{"price": NaN}', b"\xff\xfe", b"[" * 5000]
    for number, value in enumerate([b'{"id":1}', *poison, b'{"id":2}', b"[1]", b'{"kafka_offset":3}']):
        producer.produce(topic, value, str(number % 3).encode())
    producer.produce(topic, None, b"tombstone")
    assert producer.flush(30) == 0
    out, _ = run("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--until-end", "--json")
    assert json.loads(out)["rejects"] == len(poison)
    assert sorted(oracle.rejects(tmp_path, topic).values()) == sorted(poison)
    stored = [row for found in oracle.rows(tmp_path, topic).values() for row in found]
    assert len(stored) == 5
    assert any(row.get("kafka_tombstone") for row in stored)
    run("audit", "--lake", tmp_path, "--deep", "-b", kafka)


def test_a_missing_record_is_found_by_comparing_with_kafka(kafka: str, topic: str, tmp_path: Path) -> None:
    fill(kafka, topic, 4000)
    run("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--until-end", "--flush-records", 100)
    last = sorted((tmp_path / "raw" / topic / "partition=2").glob("*.gz"))[-1]
    last.unlink()
    run("audit", "--lake", tmp_path)
    _, err = run("audit", "--lake", tmp_path, "-b", kafka, code=4)
    assert "in no segment" in err


def test_into_cloud_storage(
    kafka: str, topic: str, fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    bucket = f"b-{secrets.token_hex(4)}"
    fake_gcs.create_bucket(bucket)
    fill(kafka, topic, 5000)
    options = ("sink", "-t", topic, "--lake", f"gs://{bucket}/lake", "-b", kafka, "--until-end")
    run(*options, "--flush-records", 300)
    out, _ = run(*options, "--json")
    assert json.loads(out)["records"] == 0
    out, _ = run("audit", "--lake", f"gs://{bucket}/lake", "--deep", "-b", kafka, "--json")
    assert sum(part["records"] for part in json.loads(out)["partitions"]) == 5000


@pytest.mark.parametrize("fmt", ["ndjson", "json"])
def test_stored_but_the_reply_is_lost(
    kafka: str, topic: str, tmp_path: Path, fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch, fmt: str
) -> None:
    bucket = f"b-{secrets.token_hex(4)}"
    fake_gcs.create_bucket(bucket)
    count = 100 if fmt == "json" else 4000
    with FaultProxy(fake_gcs.url) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        options = (
            "sink",
            "-t",
            topic,
            "--lake",
            f"gs://{bucket}",
            "-b",
            kafka,
            "--until-end",
            "--format",
            fmt,
        )
        run(*options)  # what a topic has once is there: the faults hit segments
        fill(kafka, topic, count)
        proxy.lose_reply(2)
        proxy.cut_body()
        proxy.answer(503)
        run(*options, "--flush-records", 400)
        assert proxy.pending == 0
        run("audit", "--lake", f"gs://{bucket}", "--deep", "-b", kafka)
    fake_gcs.download(bucket, tmp_path)
    assert oracle.judge(kafka, topic, tmp_path) == count


def test_memory_for_less_than_a_segment_of_each_partition(kafka: str, topic: str, tmp_path: Path) -> None:
    fill(kafka, topic, 20_000)
    options = SinkOptions(flush_bytes=1 << 30, flush_age_s=3600, buffer_bytes=100_000)
    store = open_store(str(tmp_path))
    sink = Sink(kafka, [topic], store, f"memory-{topic}", options, {"fetch.message.max.bytes": "20000"})
    lags: list[int] = []
    done = sink.run(threading.Event(), until_end=True, on_progress=lambda now: lags.append(now.lag))
    assert done.records == 20_000
    assert 0 < max(lags) <= 20_000
    assert done.lag == 0
    assert oracle.judge(kafka, topic, tmp_path) == 20_000


def test_aborted_transactions_are_not_stored(kafka: str, topic: str, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic, "batch.num.messages": 10})
    producer.init_transactions(30)
    for number in range(40):
        producer.begin_transaction()
        for _ in range(25):
            producer.produce(topic, json.dumps({"number": number}).encode(), b"%d" % number)
        producer.flush(30)
        if number % 3:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    run("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--until-end", "--flush-records", 60)
    assert oracle.judge(kafka, topic, tmp_path) == 26 * 25
    run("audit", "--lake", tmp_path, "--deep", "-b", kafka)


def test_memory_while_the_only_partition_is_being_stored(kafka: str, tmp_path: Path) -> None:
    topic = f"t.{secrets.token_hex(6)}"
    Admin(kafka).create(topic, 1)
    fill(kafka, topic, 20_000)
    options = SinkOptions(flush_records=5_000, buffer_bytes=100_000)
    sink = Sink(kafka, [topic], open_store(str(tmp_path)), f"single-{topic}", options)
    assert sink.run(threading.Event(), until_end=True).records == 20_000
    assert oracle.judge(kafka, topic, tmp_path) == 20_000
