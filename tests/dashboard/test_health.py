"""The pipeline as it is: on a real broker and a real lake, with transactions, losses and silence."""

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
from tickerlake.dashboard.health.monitor import HealthMonitor
from tickerlake.dashboard.health.rates import Rates
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
    """Writes each call in a transaction of its own, whose end takes an offset."""

    def __init__(self, servers: str) -> None:
        self._admin = Admin(servers)
        self._producer = Producer({"bootstrap.servers": servers, "transactional.id": secrets.token_hex(4)})
        self._producer.init_transactions(30)

    def write(self, topic: str, count: int, *, partition: int = 0, value: bytes = b'{"a":1}') -> None:
        before = self._admin.offset_ranges({topic: 2})
        self.begin(topic, count, partition=partition, value=value)
        self._producer.commit_transaction(30)
        # what is committed is seen a moment later
        wait_until(lambda: self._admin.offset_ranges({topic: 2}) != before)

    def begin(self, topic: str, count: int, *, partition: int = 0, value: bytes = b'{"a":1}') -> None:
        self._producer.begin_transaction()
        for _ in range(count):
            self._producer.produce(topic, value, partition=partition)
        self._producer.flush(30)

    def abort(self) -> None:
        self._producer.abort_transaction(30)


def run_sink(servers: str, topic: str, store: Store, fmt: Format = "ndjson", **options: Any) -> None:
    wanted = SinkOptions(format=fmt, **options)
    Sink(servers, [topic], store, f"sink-{topic}", wanted).run(threading.Event(), until_end=True)


def commit_offset(servers: str, group: str, topic: str, offset: int) -> None:
    member = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})
    member.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    member.close()


def delete_records(servers: str, topic: str, before: int) -> None:
    client = AdminClient({"bootstrap.servers": servers})
    for future in client.delete_records([TopicPartition(topic, 0, before)]).values():
        future.result()


class MonitoredPipeline:
    """Looks at the lake at each look, instead of every ten seconds."""

    def __init__(self, servers: str, store: Store | None, prefix: str) -> None:
        self.health = HealthMonitor(servers, {}, store, lake_interval_s=0.0)
        self._prefix = prefix

    def poll(self) -> dict[str, Any]:
        return self.health.poll([self._prefix])

    def lake_topic(self) -> dict[str, Any]:
        (found,) = self.poll()["lake"]["topics"]
        assert isinstance(found, dict)
        return found

    def poll_until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Look until the lake's topic is so: what is asked of Kafka may be answered a look later."""
        latest: list[dict[str, Any]] = []

        def is_true() -> bool:
            latest[:] = [self.lake_topic()]
            return condition(latest[0])

        wait_until(is_true)
        return latest[0]


@pytest.fixture
def watch(kafka: str, prefix: str, tmp_path: Path) -> Iterator[MonitoredPipeline]:
    made = MonitoredPipeline(kafka, open_store(str(tmp_path)), prefix)
    yield made
    made.health.close()


@pytest.mark.parametrize("fmt", ["ndjson", "parquet", "json"])
def test_stored_and_pending_records(
    kafka: str, topic: str, prefix: str, watch: MonitoredPipeline, tmp_path: Path, fmt: Format
) -> None:
    store, writer = open_store(str(tmp_path)), TransactionalWriter(kafka)
    for _ in range(3):
        writer.write(topic, 5)
    writer.write(topic, 4, partition=1, value=b"poison")
    run_sink(kafka, topic, store, fmt, flush_records=6)
    first = watch.lake_topic()
    assert first == watch.poll_until(lambda _: True)
    assert (first["records"], first["rejects"], first["gaps"], first["error"]) == (15, 4, 0, "")
    # the ends of the transactions are offsets, but nothing that is to be stored
    assert (first["behind"], first["behind_s"], first["counting"]) == (0, 0, False)
    assert first["stored_ms"] > 1_700_000_000_000

    writer.write(topic, 7)
    found = watch.poll_until(lambda now: bool(now["behind"]))
    assert (found["behind"], found["records"]) == (8, 15)
    assert 0 < found["behind_s"] < 60
    run_sink(kafka, topic, store, fmt)
    found = watch.lake_topic()
    assert (found["records"], found["behind"], found["behind_s"]) == (22, 0, 0)
    assert found["stored_ms"] >= first["stored_ms"]

    fresh = MonitoredPipeline(kafka, store, prefix)
    again = fresh.lake_topic()
    assert again == found
    files = [path for room in ("raw", "rejects") for path in (tmp_path / room).rglob("*") if path.is_file()]
    state = watch.poll()
    assert state["lake"]["cost"]["objects"] == len(files)
    stored = [
        path for path in files if "/raw/" in str(path) and path.suffix != ".hole" and path.name[0] != "_"
    ]
    assert found["bytes"] == sum(path.stat().st_size for path in stored) == state["lake"]["cost"]["bytes"]
    assert found["segments"] == len(stored)
    assert not watch.health.poll([prefix[:-1]])["lake"]["topics"], "another prefix"
    json.dumps(state)
    fresh.health.close()


def test_lag_counts_records(kafka: str, topic: str, prefix: str, watch: MonitoredPipeline) -> None:
    writer = TransactionalWriter(kafka)
    for _ in range(3):
        writer.write(topic, 5)  # 0 to 4 and an end at 5, 6 to 10, 11, 12 to 16, 17

    def lag() -> dict[str, int]:
        return {group["group"].removeprefix(prefix): group["lag"] for group in watch.poll()["groups"]}

    for name, offset in {"-done": 18, "-read": 17, "-part": 13, "-end": 11}.items():
        commit_offset(kafka, prefix + name, topic, offset)
    # who stands before an end of a transaction has as much to read as who stands behind it
    assert lag() == {"-done": 0, "-read": 0, "-part": 5, "-end": 6}
    writer.begin(topic, 100)
    assert lag() == {"-done": 0, "-read": 0, "-part": 5, "-end": 6}, "what is not committed is not there"
    writer.abort()
    # an abort takes effect a moment later
    wait_until(lambda: lag() == {"-done": 0, "-read": 0, "-part": 106, "-end": 107})
    writer.write(topic, 1)
    wait_until(lambda: lag()["-read"] == lag()["-done"] == 2)
    delete_records(kafka, topic, 16)
    state = watch.poll()
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
    kafka: str, topic: str, watch: MonitoredPipeline, tmp_path: Path
) -> None:
    store, writer = open_store(str(tmp_path)), TransactionalWriter(kafka)
    writer.write(topic, 5)  # 0 to 4, and an end at 5
    run_sink(kafka, topic, store)
    assert watch.lake_topic()["gaps"] == 0
    delete_records(kafka, topic, 6)
    assert watch.lake_topic()["gaps"] == 0, "an end of a transaction is no loss"
    writer.write(topic, 9)
    delete_records(kafka, topic, 10)
    found = watch.lake_topic()
    assert found["gaps"] == 4
    assert found["behind"] == 6
    run_sink(kafka, topic, store, on_gap="record")
    found = watch.poll_until(lambda now: not now["behind"])
    assert (found["gaps"], found["records"]) == (5, 10)  # the sink counts the end, too


def test_another_topic_of_the_same_name(
    kafka: str, topic: str, watch: MonitoredPipeline, tmp_path: Path
) -> None:
    TransactionalWriter(kafka).write(topic, 5)
    store = open_store(str(tmp_path))
    run_sink(kafka, topic, store)
    assert not watch.lake_topic()["error"]
    delete_topic(kafka, topic)
    assert watch.lake_topic()["records"] == 5
    wait_until(lambda: Admin(kafka).create_topic(topic, 2))
    TransactionalWriter(kafka).write(topic, 50)
    watch.health._next_ids_s = 0.0
    found = watch.lake_topic()
    assert "created anew" in found["error"]
    assert found["behind"] == 0


def test_a_damaged_segment_is_reported_until_repaired(
    kafka: str, topic: str, watch: MonitoredPipeline, tmp_path: Path
) -> None:
    store, writer = open_store(str(tmp_path)), TransactionalWriter(kafka)
    writer.write(topic, 10)
    run_sink(kafka, topic, store, flush_records=5)
    assert watch.lake_topic()["segments"] == 2
    writer.write(topic, 10)
    run_sink(kafka, topic, store)
    path = sorted((tmp_path / "raw" / topic / "partition=0").iterdir())[-1]
    data = path.read_bytes()
    path.write_bytes(b"")
    found = watch.lake_topic()
    assert path.name in found["error"]
    assert (found["records"], found["behind"]) == (10, 11)
    path.write_bytes(data)
    found = watch.lake_topic()
    assert (found["error"], found["records"], found["behind"]) == ("", 20, 0)
    path.with_name(f"{0:020d}.ndjson.gz").unlink()
    assert (
        "lacks the offsets 0 to"
        in MonitoredPipeline(kafka, store, topic.partition(".")[0]).lake_topic()["error"]
    )


def test_the_last_audits_are_reported(
    kafka: str, topic: str, prefix: str, watch: MonitoredPipeline, tmp_path: Path
) -> None:
    TransactionalWriter(kafka).write(topic, 5)
    store = open_store(str(tmp_path))
    run_sink(kafka, topic, store)
    assert watch.poll()["audits"] == []
    assert save_audit_records(store, audit(store, deep=True), deep=True, compared=False) == ""
    assert (
        save_audit_records(
            store, [replace(next(audit(store)), topic="others.bars")], deep=False, compared=False
        )
        == ""
    )
    (found,) = watch.poll()["audits"]
    assert found["ts_ms"] > 0
    found.pop("ts_ms")
    assert found == {
        "topic": topic,
        "ok": True,
        "deep": True,
        "compared": False,
        "records": 5,
        "findings": 0,
    }


class HangingStore(MemoryStore):
    """A store that does not answer, or says that it can't."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.fail = False

    def read(self, key: str) -> bytes:
        self.released.wait(60)
        if self.fail:
            raise StoreUnavailable("It can't be reached now.")
        return super().read(key)


def test_an_unresponsive_lake_blocks_nothing(
    kafka: str, topic: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tickerlake.dashboard.health.monitor._JOIN_TIMEOUT_S", 0.05)
    monkeypatch.setattr("tickerlake.dashboard.health.monitor._RESPONSE_TIMEOUT_S", 0.0)
    store = HangingStore()
    watch = MonitoredPipeline(kafka, store, prefix)
    state = watch.poll()
    assert state["kafka"]["ok"]
    assert [each["topic"] for each in state["topics"]] == [topic]
    assert (state["lake"]["ok"], state["lake"]["error"]) == (False, "The lake does not answer.")
    store.fail = True
    store.released.set()
    wait_until(lambda: watch.poll()["lake"]["error"] == "It can't be reached now.")
    store.fail = False
    wait_until(lambda: bool(watch.poll()["lake"]["ok"]))
    watch.health.close()


def test_kafka_is_lost_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerlake.dashboard.health.cluster._TIMEOUT_S", 1.0)
    store = open_store(str(tmp_path / "lake"))
    with EmbeddedBroker(tmp_path / "broker", heap="256m") as broker:
        Admin(broker.bootstrap_servers).create_topic("s.bars", 2)
        writer = TransactionalWriter(broker.bootstrap_servers)
        writer.write("s.bars", 5)
        run_sink(broker.bootstrap_servers, "s.bars", store)
        writer.write("s.bars", 5)
        watch = MonitoredPipeline(broker.bootstrap_servers, store, "s")
        before = watch.poll()
        assert before["kafka"] == {"ok": True, "error": ""}
        broker.pause()
        lost = watch.poll()
        assert not lost["kafka"]["ok"]
        assert "No Kafka broker answers" in lost["kafka"]["error"]
        assert lost["topics"] == before["topics"]
        assert lost["groups"] == before["groups"]
        assert lost["lake"]["topics"][0]["behind"] == before["lake"]["topics"][0]["behind"] == 6
        assert lost["lake"]["topics"][0]["behind_s"] >= before["lake"]["topics"][0]["behind_s"] + 1
        broker.resume()
        wait_until(lambda: bool(watch.poll()["kafka"]["ok"]))
        watch.health.close()


def test_rates_are_of_the_last_ten_seconds() -> None:
    rates: Rates[str] = Rates()
    assert rates.rate("a") == 0
    for second in range(0, 31, 2):
        rates.add(second, {"a": second * second, "b": 100 - second} | ({"c": second} if second > 25 else {}))
    assert rates.rate("a") == (900 - 400) / 10
    assert rates.rate("b") == 0, "a topic that began anew"
    assert rates.rate("c") == 1, "no more than has been seen of it"
    rates.clear()
    rates.add(40, {"a": 2000})
    assert rates.rate("a") == 0
