"""Kafka → lake on a real broker: buffers, transactions, Cloud Storage, comparison with Kafka."""

import json
import threading
from pathlib import Path

import pytest
from confluent_kafka import Producer

from support import oracle
from support.process import run
from support.scenario import Scenario, unique_topic
from tickerlake.kafka import reader
from tickerlake.kafka.admin import Admin
from tickerlake.lake.store import open_store
from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress


def run_audit(scenario: Scenario, *options: object, exit_code: int = 0) -> str:
    _, err = run("audit", "--lake", scenario.lake, *options, exit_code=exit_code)
    return err


def assert_stored_once(scenario: Scenario, count: int) -> None:
    assert oracle.assert_stored_once(scenario.servers, scenario.topic, scenario.copy_lake()) == count


def make_sink(scenario: Scenario, options: SinkOptions, client_options: dict[str, str] | None = None) -> Sink:
    store = open_store(scenario.lake)
    return Sink(scenario.servers, [scenario.topic], store, scenario.topic, options, client_options or {})


def test_a_missing_record_is_found_by_comparing_with_kafka(scenario: Scenario) -> None:
    scenario.produce(4000)
    scenario.run_sink("--flush-records", 100)
    last = sorted(Path(scenario.lake, "raw", scenario.topic, "partition=2").glob("*.gz"))[-1]
    last.unlink()
    run_audit(scenario)
    assert "in no segment" in run_audit(scenario, "-b", scenario.servers, exit_code=4)


def test_into_cloud_storage(cloud: tuple[Scenario, object]) -> None:
    scenario, _ = cloud
    scenario.lake += "lake"
    scenario.produce(5000)
    scenario.run_sink("--flush-records", 300)
    out, _ = scenario.run_sink("--json")
    assert json.loads(out)["records"] == 0
    out, _ = run("audit", "--lake", scenario.lake, "--deep", "-b", scenario.servers, "--json")
    assert sum(part["records"] for part in json.loads(out)["partitions"]) == 5000


def test_a_buffer_smaller_than_one_segment_per_partition(scenario: Scenario) -> None:
    scenario.produce(20_000)
    options = SinkOptions(flush_bytes=1 << 30, flush_age_s=3600, buffer_bytes=100_000)
    sink = make_sink(scenario, options, {"fetch.message.max.bytes": "20000"})
    lags: list[int] = []
    progress = sink.run(threading.Event(), until_end=True, on_progress=lambda now: lags.append(now.lag))
    assert progress.records == 20_000
    assert 0 < max(lags) <= 20_000
    assert progress.lag == 0
    assert_stored_once(scenario, 20_000)


def test_aborted_transactions_are_not_stored(scenario: Scenario) -> None:
    producer = Producer(
        {
            "bootstrap.servers": scenario.servers,
            "transactional.id": scenario.topic,
            "batch.num.messages": 10,
        }
    )
    producer.init_transactions(30)
    for number in range(40):
        producer.begin_transaction()
        for _ in range(25):
            producer.produce(scenario.topic, json.dumps({"number": number}).encode(), b"%d" % number)
        producer.flush(30)
        if number % 3:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    scenario.run_sink("--flush-records", 60)
    assert_stored_once(scenario, 26 * 25)
    run_audit(scenario, "--deep", "-b", scenario.servers)


def test_the_buffer_limit_holds_while_the_only_partition_is_stored(scenario: Scenario) -> None:
    scenario.topic = unique_topic()
    Admin(scenario.servers).create_topic(scenario.topic, 1)
    scenario.produce(20_000)
    sink = make_sink(scenario, SinkOptions(flush_records=5_000, buffer_bytes=100_000))
    assert sink.run(threading.Event(), until_end=True).records == 20_000
    assert_stored_once(scenario, 20_000)


def produce_around_open_transaction(scenario: Scenario) -> Producer:
    """Produce 100 records, 50 in a transaction that stays open, and 100 more; return the open producer."""
    unfinished = Producer({"bootstrap.servers": scenario.servers, "transactional.id": scenario.topic})
    unfinished.init_transactions(30)
    scenario.produce(100)
    unfinished.begin_transaction()
    for number in range(50):
        unfinished.produce(scenario.topic, json.dumps({"id": -number}).encode(), b"%d" % number)
    assert unfinished.flush(60) == 0
    scenario.produce(100)
    return unfinished


def test_the_sink_waits_for_an_open_transaction(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_OPEN_TRANSACTION_GRACE_S", 60.0)
    open_transactions = [produce_around_open_transaction(scenario)]
    sink = make_sink(scenario, SinkOptions(flush_age_s=0.0))

    def finish_transaction(now: SinkProgress) -> None:
        if now.records == 100 and open_transactions:
            open_transactions.pop().commit_transaction(30)

    progress = sink.run(threading.Event(), until_end=True, on_progress=finish_transaction)
    assert progress.records == 250
    assert progress.blocked_partitions == 0
    assert_stored_once(scenario, 250)


def test_an_abandoned_transaction_is_reported(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished = produce_around_open_transaction(scenario)
    out, err = scenario.run_sink("--json")
    assert json.loads(out)["records"] == 100
    assert "4 partitions end in an open transaction" in err
    monkeypatch.setattr(reader, "_OPEN_TRANSACTION_GRACE_S", 0.0)
    batches = reader.read_all(scenario.servers, {}, scenario.topic, dict.fromkeys(range(4), 0))
    assert sum(batch.frame.height for batch in batches) == 100
    unfinished.abort_transaction(30)
    out, err = scenario.run_sink("--json")
    assert json.loads(out)["records"] == 100
    assert "open transaction" not in err
    assert_stored_once(scenario, 200)
