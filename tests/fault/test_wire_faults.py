"""10 and 16: a broker's replies are lost, truncated, or replaced by errors."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import oracle
from support.csv_files import write_daily_csv
from support.kafka_proxy import KafkaProxy
from support.process import run, wait_until
from support.scenario import RecordProperty, Scenario, count_differences, create_scenario, record_result
from support.tracker import (
    TrackResults,
    count_values,
    make_tracker,
    read_results,
    run_baseline,
    simulate_trades,
)
from tickerlake.errors import BrokerUnreachable
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.kafka.probe import OffsetProbe
from tickerlake.kafka.reader import TopicTailer, read_all
from tickerlake.ports import free_port

FREQUENT_FLUSH = ("--flush-records", 50, "--flush-age", 0.2)
# the errors for a late member, an unknown one, one that must rejoin, and a moved coordinator
ERROR_CODES = {
    22: "ILLEGAL_GENERATION",
    25: "UNKNOWN_MEMBER_ID",
    27: "REBALANCE_IN_PROGRESS",
    16: "NOT_COORDINATOR",
}
FAULT_COUNT = 3

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaProxy]:
    """A broker behind a proxy, which it advertises as its address."""
    port = free_port()
    with KafkaProxy(port) as proxy:
        advertised = {"advertised.listeners": f"PLAINTEXT://{proxy.address}"}
        with EmbeddedBroker(tmp_path_factory.mktemp("wire") / "broker", port, properties=advertised):
            yield proxy


@pytest.fixture
def scenario(wire: KafkaProxy, tmp_path: Path, record_property: RecordProperty) -> Scenario:
    wire.reset()
    return create_scenario(wire.address, tmp_path / "lake", record_property)


def _check_sink_survives(scenario: Scenario, wire: KafkaProxy, fault: str) -> None:
    """Run a sink under the injected faults; it continues, exits with 0, and its last commits arrive."""
    injected = wire.pending
    with scenario.start_sink(*FREQUENT_FLUSH, "--group", scenario.topic) as child:
        wait_until(scenario.has_stored_all, child)
        while wire.pending and child.poll() is None:
            scenario.produce(200)
            wait_until(scenario.has_stored_all, child)
        scenario.produce(600)
        wait_until(scenario.has_stored_all, child)
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    next_offsets: Counter[int] = Counter()
    for number, offset in oracle.read_rows(scenario.copy_lake(), scenario.topic):
        next_offsets[number] = max(next_offsets[number], offset + 1)
    assert scenario.committed_offsets() == next_offsets
    scenario.assert_survived("16", fault, injected=injected, triggered=wire.triggered.total())


@pytest.mark.parametrize(
    "api", ["OffsetCommit", "JoinGroup", "SyncGroup", "Heartbeat", "OffsetFetch", "Fetch"]
)
def test_replies_to_a_sink_are_lost(scenario: Scenario, wire: KafkaProxy, api: str) -> None:
    scenario.produce(600)
    wire.lose_reply(api, FAULT_COUNT)
    _check_sink_survives(scenario, wire, f"sink: replies to {api} lost")


def test_replies_to_a_sink_are_truncated(scenario: Scenario, wire: KafkaProxy) -> None:
    scenario.produce(600)
    wire.truncate_reply("Fetch", FAULT_COUNT)
    _check_sink_survives(scenario, wire, "sink: replies to Fetch truncated")


@pytest.mark.parametrize("code", ERROR_CODES, ids=ERROR_CODES.get)
def test_commits_fail_with_group_errors(scenario: Scenario, wire: KafkaProxy, code: int) -> None:
    scenario.produce(600)
    wire.reply_with_error("OffsetCommit", code, FAULT_COUNT)
    _check_sink_survives(scenario, wire, f"sink: commits fail with {ERROR_CODES[code]}")


@pytest.mark.timeout(180)
def test_the_broker_returns_with_empty_metadata(scenario: Scenario, wire: KafkaProxy) -> None:
    """Without brokers in its metadata, a client without rebootstrapping (first option) never reconnects.

    The second option makes it request metadata soon.
    """
    no_rebootstrap = ("-X", "metadata.recovery.strategy=none", "-X", "topic.metadata.refresh.interval.ms=500")
    scenario.produce(600)
    with scenario.start_sink(*FREQUENT_FLUSH, "--group", scenario.topic, *no_rebootstrap) as child:
        wait_until(scenario.has_stored_all, child)
        wire.hides_brokers = True
        # the consumer, and the client that checks the topic's id
        wait_until(lambda: wire.triggered.total() > 1, child)
        wire.hides_brokers = False
        scenario.produce(600)
        recovery_s = wait_until(scenario.has_stored_all, child)
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    scenario.assert_survived(
        "10",
        "broker returns with empty metadata",
        injected=2,
        triggered=wire.triggered.total(),
        recovery_s=recovery_s,
    )


def test_readers_report_that_all_brokers_are_lost(scenario: Scenario, wire: KafkaProxy) -> None:
    no_rebootstrap = {"metadata.recovery.strategy": "none", "topic.metadata.refresh.interval.ms": "500"}
    scenario.produce(100)
    tailer, probe = (
        TopicTailer(scenario.servers, no_rebootstrap),
        OffsetProbe(scenario.servers, no_rebootstrap),
    )
    starts = {(scenario.topic, number): 0 for number in range(4)}
    tailer.follow(starts)
    read_count = 0
    while read_count < scenario.sent_count:
        read_count += len(tailer.poll(0.2).get(scenario.topic, []))
    assert len(probe.next_records(starts, 30)) == 4
    follower = read_all(scenario.servers, no_rebootstrap, scenario.topic, {0: 0}, lambda: True)
    assert next(follower).frame.height
    wire.hides_brokers = True
    with pytest.raises(BrokerUnreachable, match="lost all brokers"):
        wait_until(lambda: bool(tailer.poll(0.2)))
    with pytest.raises(BrokerUnreachable, match="lost all brokers"):
        list(follower)
    tailer.close()
    # the probe reconnects by itself
    wait_until(lambda: not probe.next_records(starts, 0.2))
    wire.hides_brokers = False
    wait_until(lambda: len(probe.next_records(starts, 1)) == 4)
    probe.close()
    assert wire.triggered.total() >= 3


@pytest.mark.parametrize("api", ["InitProducerId", "AddPartitionsToTxn", "Produce", "EndTxn"])
def test_replies_to_produce_are_lost(scenario: Scenario, wire: KafkaProxy, tmp_path: Path, api: str) -> None:
    rows = 3000
    path = write_daily_csv(tmp_path, rows)
    wire.lose_reply(api, FAULT_COUNT)
    run("produce", path, "-t", scenario.topic, "-b", scenario.servers, "--rate", "4000/s")
    assert wire.pending == 0
    scenario.assert_produced_once(
        "10", f"produce: replies to {api} lost", FAULT_COUNT, wire.triggered[api], rows
    )


@pytest.fixture(scope="module")
def trades(wire: KafkaProxy) -> str:
    return simulate_trades(wire.address)


@pytest.fixture(scope="module")
def baseline(wire: KafkaProxy, trades: str, tmp_path_factory: pytest.TempPathFactory) -> TrackResults:
    return run_baseline(wire.address, trades, tmp_path_factory.mktemp("baseline"))


@pytest.mark.parametrize(
    "api", ["AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "Produce", "EndTxn"]
)
def test_replies_to_track_are_lost(
    scenario: Scenario, wire: KafkaProxy, trades: str, baseline: TrackResults, tmp_path: Path, api: str
) -> None:
    wire.lose_reply(api, FAULT_COUNT)
    worker = make_tracker(wire.address, trades, scenario.topic, scenario.topic, tmp_path / "state")
    worker.run(threading.Event(), until_end=True)
    assert wire.pending == 0
    results = read_results(wire.address, scenario.topic)
    differences = count_differences(count_values(baseline), count_values(results))
    fault = f"track: replies to {api} lost"
    record_result(scenario.record_property, "10", fault, FAULT_COUNT, wire.triggered[api], **differences)
    assert results == baseline
