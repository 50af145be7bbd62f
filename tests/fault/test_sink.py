"""Kafka → lake on a real broker: buffers, transactions, Cloud Storage, comparison with Kafka."""

import json
import secrets
import threading
from pathlib import Path

import pytest
from confluent_kafka import Producer

from support import oracle
from support.gcs import FakeGcs, fake_gcs
from support.process import run
from support.scenario import unique_topic
from tickerlake.kafka import reader
from tickerlake.kafka.admin import Admin
from tickerlake.lake.store import open_store
from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress

__all__ = ["fake_gcs"]


@pytest.fixture
def topic(kafka: str) -> str:
    name = unique_topic()
    Admin(kafka).create_topic(name, 4)
    return name


def produce(servers: str, topic: str, count: int, start: int = 0) -> None:
    producer = Producer(
        {"bootstrap.servers": servers, "queue.buffering.max.messages": 1_000_000, "linger.ms": 20}
    )
    for number in range(start, start + count):
        producer.produce(
            topic, json.dumps({"id": number, "price": number / 8}).encode(), f"K{number % 50}".encode()
        )
    assert producer.flush(60) == 0


def test_a_missing_record_is_found_by_comparing_with_kafka(kafka: str, topic: str, tmp_path: Path) -> None:
    produce(kafka, topic, 4000)
    run("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--until-end", "--flush-records", 100)
    last = sorted((tmp_path / "raw" / topic / "partition=2").glob("*.gz"))[-1]
    last.unlink()
    run("audit", "--lake", tmp_path)
    _, err = run("audit", "--lake", tmp_path, "-b", kafka, exit_code=4)
    assert "in no segment" in err


def test_into_cloud_storage(
    kafka: str, topic: str, fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.url)
    bucket = f"b-{secrets.token_hex(4)}"
    fake_gcs.create_bucket(bucket)
    produce(kafka, topic, 5000)
    options = ("sink", "-t", topic, "--lake", f"gs://{bucket}/lake", "-b", kafka, "--until-end")
    run(*options, "--flush-records", 300)
    out, _ = run(*options, "--json")
    assert json.loads(out)["records"] == 0
    out, _ = run("audit", "--lake", f"gs://{bucket}/lake", "--deep", "-b", kafka, "--json")
    assert sum(part["records"] for part in json.loads(out)["partitions"]) == 5000


def test_a_buffer_smaller_than_one_segment_per_partition(kafka: str, topic: str, tmp_path: Path) -> None:
    produce(kafka, topic, 20_000)
    options = SinkOptions(flush_bytes=1 << 30, flush_age_s=3600, buffer_bytes=100_000)
    store = open_store(str(tmp_path))
    sink = Sink(kafka, [topic], store, f"memory-{topic}", options, {"fetch.message.max.bytes": "20000"})
    lags: list[int] = []
    progress = sink.run(threading.Event(), until_end=True, on_progress=lambda now: lags.append(now.lag))
    assert progress.records == 20_000
    assert 0 < max(lags) <= 20_000
    assert progress.lag == 0
    assert oracle.assert_stored_once(kafka, topic, tmp_path) == 20_000


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
    assert oracle.assert_stored_once(kafka, topic, tmp_path) == 26 * 25
    run("audit", "--lake", tmp_path, "--deep", "-b", kafka)


def test_the_buffer_limit_holds_while_the_only_partition_is_stored(kafka: str, tmp_path: Path) -> None:
    topic = unique_topic()
    Admin(kafka).create_topic(topic, 1)
    produce(kafka, topic, 20_000)
    options = SinkOptions(flush_records=5_000, buffer_bytes=100_000)
    sink = Sink(kafka, [topic], open_store(str(tmp_path)), f"single-{topic}", options)
    assert sink.run(threading.Event(), until_end=True).records == 20_000
    assert oracle.assert_stored_once(kafka, topic, tmp_path) == 20_000


def produce_behind_open_transaction(servers: str, topic: str) -> Producer:
    """Produce records behind an open transaction, and return the producer with that transaction."""
    unfinished = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    unfinished.init_transactions(30)
    produce(servers, topic, 100)
    unfinished.begin_transaction()
    for number in range(50):
        unfinished.produce(topic, json.dumps({"id": -number}).encode(), b"%d" % number)
    assert unfinished.flush(60) == 0
    produce(servers, topic, 100, start=100)
    return unfinished


def test_the_sink_waits_for_an_open_transaction(
    kafka: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_OPEN_TRANSACTION_GRACE_S", 60.0)
    open_transactions = [produce_behind_open_transaction(kafka, topic)]
    sink = Sink(kafka, [topic], open_store(str(tmp_path)), topic, SinkOptions(flush_age_s=0.0))

    def finish_transaction(now: SinkProgress) -> None:
        if now.records == 100 and open_transactions:
            open_transactions.pop().commit_transaction(30)

    progress = sink.run(threading.Event(), until_end=True, on_progress=finish_transaction)
    assert progress.records == 250
    assert progress.blocked_partitions == 0
    assert oracle.assert_stored_once(kafka, topic, tmp_path) == 250


def test_an_abandoned_transaction_is_reported(
    kafka: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished = produce_behind_open_transaction(kafka, topic)
    out, err = run("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--until-end", "--json")
    assert json.loads(out)["records"] == 100
    assert "4 partitions end in an open transaction" in err
    monkeypatch.setattr(reader, "_OPEN_TRANSACTION_GRACE_S", 0.0)
    assert (
        sum(batch.frame.height for batch in reader.read_all(kafka, {}, topic, dict.fromkeys(range(4), 0)))
        == 100
    )
    unfinished.abort_transaction(30)
    out, err = run("sink", "-t", topic, "--lake", tmp_path, "-b", kafka, "--until-end", "--json")
    assert json.loads(out)["records"] == 100
    assert "open transaction" not in err
    assert oracle.assert_stored_once(kafka, topic, tmp_path) == 200
