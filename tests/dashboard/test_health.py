"""The health of a pipeline with a real broker and lake: transactions, losses, unresponsive services."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from support.process import wait_until
from support.topics import delete_topic
from tickerlake.dashboard.health.cluster import Rates
from tickerlake.dashboard.health.monitor import HealthMonitor
from tickerlake.errors import KafkaError, StoreUnavailable
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.lake.audit.history import save_audit_records
from tickerlake.lake.audit.segments import audit
from tickerlake.lake.store import Store, open_store
from tickerlake.lake.store.memory import MemoryStore
from tickerlake.lake.topic import Format
from tickerlake.pipeline.sink import Sink, SinkOptions


@pytest.fixture
def prefix() -> str:
    return f"h{secrets.token_hex(5)}"


@pytest.fixture
def topic(kafka: str, prefix: str) -> str:
    Admin(kafka).create_topic(f"{prefix}.bars", 2)
    return f"{prefix}.bars"


class TransactionalWriter:
    """Writes the records of each call in one transaction, whose marker takes an offset."""

    def __init__(self, servers: str) -> None:
        self._admin = Admin(servers)
        self._producer = Producer({"bootstrap.servers": servers, "transactional.id": secrets.token_hex(4)})
        self._producer.init_transactions(30)

    def write(self, topic: str, count: int, *, partition: int = 0, value: bytes = b'{"a":1}') -> None:
        before = self._admin.offset_ranges({topic: 2})
        self.begin(topic, count, partition=partition, value=value)
        self._producer.commit_transaction(30)
        # committed records become visible with a delay
        wait_until(lambda: self._admin.offset_ranges({topic: 2}) != before)

    def begin(self, topic: str, count: int, *, partition: int = 0, value: bytes = b'{"a":1}') -> None:
        self._producer.begin_transaction()
        for _ in range(count):
            self._producer.produce(topic, value, partition=partition)
        self._producer.flush(30)

    def abort(self) -> None:
        self._producer.abort_transaction(30)


def run_sink(servers: str, topic: str, store: Store, fmt: Format = "ndjson", **options: Any) -> None:
    sink_options = SinkOptions(format=fmt, **options)
    Sink(servers, [topic], store, f"sink-{topic}", sink_options).run(threading.Event(), until_end=True)


def commit_offset(servers: str, group: str, topic: str, offset: int) -> None:
    member = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})
    member.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    member.close()


def delete_records(servers: str, topic: str, before: int) -> None:
    client = AdminClient({"bootstrap.servers": servers})
    for future in client.delete_records([TopicPartition(topic, 0, before)]).values():
        future.result()


class MonitoredPipeline:
    """A health monitor that counts the lake at every poll, instead of every ten seconds."""

    def __init__(self, servers: str, store: Store | None, prefix: str) -> None:
        self.health = HealthMonitor(servers, {}, store, lake_interval_s=0.0)
        self._prefix = prefix

    def poll(self) -> dict[str, Any]:
        return self.health.poll([self._prefix])

    def lake_topic(self) -> dict[str, Any]:
        (record,) = self.poll()["lake"]["topics"]
        assert isinstance(record, dict)
        return record

    def poll_until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Poll until the topic meets a condition: requested records may arrive one poll later."""
        latest: list[dict[str, Any]] = []

        def is_true() -> bool:
            latest[:] = [self.lake_topic()]
            return condition(latest[0])

        wait_until(is_true)
        return latest[0]


@pytest.fixture
def pipeline(kafka: str, prefix: str, tmp_path: Path) -> Iterator[MonitoredPipeline]:
    pipeline = MonitoredPipeline(kafka, open_store(str(tmp_path)), prefix)
    yield pipeline
    pipeline.health.close()


@pytest.mark.parametrize("fmt", ["ndjson", "parquet", "json"])
def test_stored_and_pending_records(
    kafka: str, topic: str, prefix: str, pipeline: MonitoredPipeline, tmp_path: Path, fmt: Format
) -> None:
    store, writer = open_store(str(tmp_path)), TransactionalWriter(kafka)
    for _ in range(3):
        writer.write(topic, 5)
    writer.write(topic, 4, partition=1, value=b"poison")
    run_sink(kafka, topic, store, fmt, flush_records=6)
    first = pipeline.lake_topic()
    assert first == pipeline.poll_until(lambda _: True)
    assert (first["records"], first["rejects"], first["gaps"], first["error"]) == (15, 4, 0, "")
    # transaction markers are offsets, but no records to store
    assert (first["behind"], first["behind_s"], first["counting"]) == (0, 0, False)
    assert first["stored_ms"] > 1_700_000_000_000

    writer.write(topic, 7)
    topic_state = pipeline.poll_until(lambda now: bool(now["behind"]))
    assert (topic_state["behind"], topic_state["records"]) == (8, 15)
    assert 0 < topic_state["behind_s"] < 60
    run_sink(kafka, topic, store, fmt)
    topic_state = pipeline.lake_topic()
    assert (topic_state["records"], topic_state["behind"], topic_state["behind_s"]) == (22, 0, 0)
    assert topic_state["stored_ms"] >= first["stored_ms"]

    fresh = MonitoredPipeline(kafka, store, prefix)
    assert fresh.lake_topic() == topic_state
    files = [
        path for folder in ("raw", "rejects") for path in (tmp_path / folder).rglob("*") if path.is_file()
    ]
    state = pipeline.poll()
    assert state["lake"]["cost"]["objects"] == len(files)
    stored = [
        path for path in files if "/raw/" in str(path) and path.suffix != ".hole" and path.name[0] != "_"
    ]
    assert (
        topic_state["bytes"] == sum(path.stat().st_size for path in stored) == state["lake"]["cost"]["bytes"]
    )
    assert topic_state["segments"] == len(stored)
    assert not pipeline.health.poll([prefix[:-1]])["lake"]["topics"], "another prefix"
    json.dumps(state)
    fresh.health.close()


def test_lag_counts_records(kafka: str, topic: str, prefix: str, pipeline: MonitoredPipeline) -> None:
    writer = TransactionalWriter(kafka)
    for _ in range(3):
        writer.write(
            topic, 5
        )  # records 0 to 4, marker 5, records 6 to 10, marker 11, records 12 to 16, marker 17

    def lag() -> dict[str, int]:
        return {group["group"].removeprefix(prefix): group["lag"] for group in pipeline.poll()["groups"]}

    for name, offset in {"-done": 18, "-read": 17, "-part": 13, "-end": 11}.items():
        commit_offset(kafka, prefix + name, topic, offset)
    # a group before a transaction marker has as many records to read as one after it
    assert lag() == {"-done": 0, "-read": 0, "-part": 5, "-end": 6}
    writer.begin(topic, 100)
    assert lag() == {"-done": 0, "-read": 0, "-part": 5, "-end": 6}, "uncommitted records do not count"
    writer.abort()
    # an abort takes effect with a delay
    wait_until(lambda: lag() == {"-done": 0, "-read": 0, "-part": 106, "-end": 107})
    writer.write(topic, 1)
    wait_until(lambda: lag()["-read"] == lag()["-done"] == 2)
    delete_records(kafka, topic, 16)
    state = pipeline.poll()
    assert [part["low"] for part in state["topics"][0]["partitions"]] == [16, 0]
    assert state["topics"][0]["records"] == 121 - 16
    assert lag()["-part"] == lag()["-end"] == 121 - 16
    assert state["lake"]["topics"] == []


def test_a_group_that_changes_topics_is_queried_again(kafka: str, topic: str, prefix: str) -> None:
    Admin(kafka).create_topic(f"other.{prefix}", 1)
    commit_offset(kafka, f"{prefix}-late", f"other.{prefix}", 0)
    health = HealthMonitor(kafka, {}, None)
    assert health.poll([prefix])["groups"] == []
    TransactionalWriter(kafka).write(topic, 3)
    commit_offset(kafka, f"{prefix}-late", topic, 1)
    assert health.poll([prefix])["groups"] == []
    health._cluster._other_groups.clear()  # ten seconds later
    (group,) = health.poll([prefix])["groups"]
    assert (group["group"], group["topic"], group["lag"]) == (f"{prefix}-late", topic, 3)
    health.close()


def test_cached_groups_are_used_when_listing_fails(
    kafka: str, topic: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TransactionalWriter(kafka).write(topic, 3)
    commit_offset(kafka, f"{prefix}-group", topic, 1)
    health = HealthMonitor(kafka, {}, None)
    before = health.poll([prefix])
    assert len(before["groups"]) == 1

    def refuse(_: Admin) -> list[str]:
        raise KafkaError("Kafka refused listing groups.")

    monkeypatch.setattr(Admin, "groups", refuse)
    state = health.poll([prefix])
    assert state["kafka"] == {"ok": True, "error": "Kafka refused listing groups."}
    assert state["groups"] == before["groups"]
    health.close()


def test_records_lost_to_retention_are_reported(
    kafka: str, topic: str, pipeline: MonitoredPipeline, tmp_path: Path
) -> None:
    store, writer = open_store(str(tmp_path)), TransactionalWriter(kafka)
    writer.write(topic, 5)  # records 0 to 4, marker 5
    run_sink(kafka, topic, store)
    assert pipeline.lake_topic()["gaps"] == 0
    delete_records(kafka, topic, 6)
    assert pipeline.lake_topic()["gaps"] == 0, "a lost transaction marker is not a lost record"
    writer.write(topic, 9)
    delete_records(kafka, topic, 10)
    topic_state = pipeline.lake_topic()
    assert topic_state["gaps"] == 4
    assert topic_state["behind"] == 6
    run_sink(kafka, topic, store, on_gap="record")
    topic_state = pipeline.poll_until(lambda now: not now["behind"])
    assert (topic_state["gaps"], topic_state["records"]) == (5, 10)  # the sink also counts the marker


def test_a_recreated_topic_is_reported(
    kafka: str, topic: str, pipeline: MonitoredPipeline, tmp_path: Path
) -> None:
    TransactionalWriter(kafka).write(topic, 5)
    store = open_store(str(tmp_path))
    run_sink(kafka, topic, store)
    assert not pipeline.lake_topic()["error"]
    delete_topic(kafka, topic)
    assert pipeline.lake_topic()["records"] == 5
    wait_until(lambda: Admin(kafka).create_topic(topic, 2))
    TransactionalWriter(kafka).write(topic, 50)
    pipeline.health._next_ids_s = 0.0
    topic_state = pipeline.lake_topic()
    assert "deleted and recreated" in topic_state["error"]
    assert topic_state["behind"] == 0


def test_a_damaged_segment_is_reported_until_repaired(
    kafka: str, topic: str, pipeline: MonitoredPipeline, tmp_path: Path
) -> None:
    store, writer = open_store(str(tmp_path)), TransactionalWriter(kafka)
    writer.write(topic, 10)
    run_sink(kafka, topic, store, flush_records=5)
    assert pipeline.lake_topic()["segments"] == 2
    writer.write(topic, 10)
    run_sink(kafka, topic, store)
    path = sorted((tmp_path / "raw" / topic / "partition=0").iterdir())[-1]
    data = path.read_bytes()
    path.write_bytes(b"")
    topic_state = pipeline.lake_topic()
    assert path.name in topic_state["error"]
    assert (topic_state["records"], topic_state["behind"]) == (10, 11)
    path.write_bytes(data)
    topic_state = pipeline.lake_topic()
    assert (topic_state["error"], topic_state["records"], topic_state["behind"]) == ("", 20, 0)
    path.with_name(f"{0:020d}.ndjson.gz").unlink()
    assert (
        "lacks the offsets 0 to"
        in MonitoredPipeline(kafka, store, topic.partition(".")[0]).lake_topic()["error"]
    )


def test_the_last_audits_are_reported(
    kafka: str, topic: str, prefix: str, pipeline: MonitoredPipeline, tmp_path: Path
) -> None:
    TransactionalWriter(kafka).write(topic, 5)
    store = open_store(str(tmp_path))
    run_sink(kafka, topic, store)
    assert pipeline.poll()["audits"] == []
    assert save_audit_records(store, audit(store, deep=True), deep=True, compared=False) == ""
    assert (
        save_audit_records(
            store, [replace(next(audit(store)), topic="others.bars")], deep=False, compared=False
        )
        == ""
    )
    (record,) = pipeline.poll()["audits"]
    assert record["ts_ms"] > 0
    record.pop("ts_ms")
    assert record == {
        "topic": topic,
        "ok": True,
        "deep": True,
        "compared": False,
        "records": 5,
        "findings": 0,
    }


class HangingStore(MemoryStore):
    """A store that does not respond, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.fail = False

    def read(self, key: str) -> bytes:
        self.released.wait(60)
        if self.fail:
            raise StoreUnavailable("The store is unavailable.")
        return super().read(key)


def test_an_unresponsive_lake_blocks_nothing(
    kafka: str, topic: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerlake.dashboard.health.monitor._JOIN_TIMEOUT_S", 0.05)
    monkeypatch.setattr("tickerlake.dashboard.health.monitor._RESPONSE_TIMEOUT_S", 0.0)
    store = HangingStore()
    pipeline = MonitoredPipeline(kafka, store, prefix)
    state = pipeline.poll()
    assert state["kafka"]["ok"]
    assert [each["topic"] for each in state["topics"]] == [topic]
    assert (state["lake"]["ok"], state["lake"]["error"]) == (False, "The lake is not responding.")
    store.fail = True
    store.released.set()
    wait_until(lambda: pipeline.poll()["lake"]["error"] == "The store is unavailable.")
    store.fail = False
    wait_until(lambda: bool(pipeline.poll()["lake"]["ok"]))
    pipeline.health.close()


def test_a_lost_kafka_connection_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerlake.dashboard.health.cluster._TIMEOUT_S", 1.0)
    store = open_store(str(tmp_path / "lake"))
    with EmbeddedBroker(tmp_path / "broker", heap="256m") as broker:
        Admin(broker.bootstrap_servers).create_topic("s.bars", 2)
        writer = TransactionalWriter(broker.bootstrap_servers)
        writer.write("s.bars", 5)
        run_sink(broker.bootstrap_servers, "s.bars", store)
        writer.write("s.bars", 5)
        pipeline = MonitoredPipeline(broker.bootstrap_servers, store, "s")
        before = pipeline.poll()
        assert before["kafka"] == {"ok": True, "error": ""}
        broker.pause()
        lost = pipeline.poll()
        assert not lost["kafka"]["ok"]
        assert "No Kafka broker answers" in lost["kafka"]["error"]
        assert lost["topics"] == before["topics"]
        assert lost["groups"] == before["groups"]
        assert lost["lake"]["topics"][0]["behind"] == before["lake"]["topics"][0]["behind"] == 6
        assert lost["lake"]["topics"][0]["behind_s"] >= before["lake"]["topics"][0]["behind_s"] + 1
        broker.resume()
        wait_until(lambda: bool(pipeline.poll()["kafka"]["ok"]))
        pipeline.health.close()


def test_rates_cover_the_last_ten_seconds() -> None:
    rates: Rates[str] = Rates()
    assert rates.rate("a") == 0
    for second in range(0, 31, 2):
        rates.add(second, {"a": second * second, "b": 100 - second} | ({"c": second} if second > 25 else {}))
    assert rates.rate("a") == (900 - 400) / 10
    assert rates.rate("b") == 0, "the offsets of a recreated topic went back"
    assert rates.rate("c") == 1, "only since the first sample"
    rates.clear()
    rates.add(40, {"a": 2000})
    assert rates.rate("a") == 0
