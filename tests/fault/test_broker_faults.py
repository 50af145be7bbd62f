"""10–12: broker outages, recreated topics, records deleted by retention."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient

from support import oracle, topics
from support.process import peak_mb, run, tickerlake, wait_until
from support.scenario import MAX_SINK_MB, RecordProperty, Scenario, create_scenario
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded.broker import EmbeddedBroker

FREQUENT_FLUSH = ("--flush-records", 300, "--flush-age", 0.2)


@pytest.fixture
def broker_scenario(broker: EmbeddedBroker, tmp_path: Path, record_property: RecordProperty) -> Scenario:
    return create_scenario(broker.bootstrap_servers, tmp_path / "lake", record_property)


@pytest.mark.parametrize(
    "outage",
    ["paused", *(pytest.param(outage, marks=pytest.mark.full) for outage in ("restarted", "killed"))],
)
def test_the_broker_is_down_while_a_sink_stores(
    broker_scenario: Scenario, broker: EmbeddedBroker, outage: str
) -> None:
    _check_broker_outage(broker_scenario, broker, outage, 2)


@pytest.mark.full
def test_the_broker_hangs_for_half_a_minute_while_a_sink_stores(
    broker_scenario: Scenario, broker: EmbeddedBroker
) -> None:
    _check_broker_outage(broker_scenario, broker, "paused", 30)


@pytest.mark.full
@pytest.mark.parametrize("outage", ["killed", "paused"])
def test_a_sink_is_stopped_while_the_broker_is_down(
    broker_scenario: Scenario, broker: EmbeddedBroker, outage: str
) -> None:
    """The sink leaves its group without waiting for the reply, which does not come."""
    with broker_scenario.start_sink(*FREQUENT_FLUSH) as child, broker_scenario.continuous_load(500):
        wait_until(lambda: len(broker_scenario.object_keys()) > 8, child)
        {"killed": broker.kill, "paused": broker.pause}[outage]()
        child.terminate()
        _, err = child.communicate(timeout=60)
        # 3: records were read and not stored; the next sink stores them
        assert child.returncode in {0, 3}, err
        (broker.resume if outage == "paused" else broker.start)()
    broker_scenario.run_sink()
    broker_scenario.assert_survived(
        "10", f"sink stopped while the broker is {outage}", injected=1, triggered=1
    )


@pytest.mark.full
@pytest.mark.parametrize("outage", ["killed", "paused"])
def test_a_simulation_is_stopped_while_the_broker_is_down(broker: EmbeddedBroker, outage: str) -> None:
    """It does not wait for the commit, and the next run produces each trade once."""
    topic, servers = f"stopped.{outage}", broker.bootstrap_servers
    market = ("simulate", "-t", topic, "-b", servers, "--trades", 20_000, "--symbols", 5, "--days", 1)
    with tickerlake(*market, "--rate", "2000/s") as child:
        wait_until(lambda: topics.has_more_than(servers, topic, 1_000), child)
        {"killed": broker.kill, "paused": broker.pause}[outage]()
        # long enough for a transaction to be open, whatever was committed last
        time.sleep(2)
        child.send_signal(signal.SIGINT)
        # a commit alone is tried for 100 s
        _, err = child.communicate(timeout=40)
        assert child.returncode == 130, err
        assert "run the same command again" in err
    (broker.resume if outage == "paused" else broker.start)()
    run(*market)
    counts = oracle.count_by_field(servers, topic, "trade_id")
    assert len(counts) == 20_000
    assert set(counts.values()) == {1}


def _check_broker_outage(
    broker_scenario: Scenario, broker: EmbeddedBroker, outage: str, seconds: int
) -> None:
    with broker_scenario.start_sink("--flush-records", 50, "--flush-age", 0.2) as child:
        with broker_scenario.continuous_load(500):
            wait_until(lambda: len(broker_scenario.object_keys()) > 8, child)
            outage_started_s = time.monotonic()
            {"restarted": broker.stop, "killed": broker.kill, "paused": broker.pause}[outage]()
            # an outage of this length; the sink must survive it, which is asserted below
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
            stored_before = broker_scenario.object_keys()
            (broker.resume if outage == "paused" else broker.start)()
            outage_s = time.monotonic() - outage_started_s
            assert outage_s < 50, f"this machine is too slow: the broker was down for {outage_s:.0f} s"
            recovery_s = wait_until(
                lambda: len(broker_scenario.object_keys()) > len(stored_before) + 8, child
            )
        wait_until(broker_scenario.has_stored_all, child)
        assert child.poll() is None, child.communicate()
        assert peak_mb(child.pid) < MAX_SINK_MB
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert (
        oracle.count_by_field(broker_scenario.servers, broker_scenario.topic, "id").total()
        == broker_scenario.sent_count
    )
    broker_scenario.assert_survived(
        "10", f"broker {outage}, down for {seconds} s", injected=1, triggered=1, recovery_s=recovery_s
    )


def _recreate_topic(scenario: Scenario, count: int) -> None:
    """Delete the topic, create it again, and produce records to it."""
    topics.delete_topic(scenario.servers, scenario.topic)
    wait_until(lambda: Admin(scenario.servers).create_topic(scenario.topic, 4))
    scenario.produce(count)


def _restart_with_empty_log(scenario: Scenario, broker: EmbeddedBroker, count: int) -> None:
    """Restart the broker without its data, and produce to a topic of the same name."""
    broker.stop()
    shutil.rmtree(broker.info.data_dir)
    broker.start()
    Admin(scenario.servers).create_topic(scenario.topic, 4)
    scenario.produce(count)


def _assert_lake_is_sound(
    scenario: Scenario, original: list[Message], err: str, expected_error: str, fault: str
) -> None:
    assert expected_error in err
    assert "→" in err
    verdict = oracle.compare_with_kafka(scenario.servers, scenario.topic, scenario.copy_lake(), original)
    scenario.record_verdict("11", fault, 1, 1, verdict)
    assert verdict.is_sound, verdict


def _run_until_stopped_by(scenario: Scenario, change: Callable[[], None]) -> tuple[list[Message], str]:
    """Change the topic while a sink is paused; return the messages it held and the sink's stderr."""
    with scenario.start_sink(*FREQUENT_FLUSH) as child:
        wait_until(scenario.has_stored_all, child)
        original = oracle.read_messages(scenario.servers, scenario.topic)
        child.send_signal(signal.SIGSTOP)
        change()
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    return original, err


def test_a_recreated_topic_is_rejected_at_startup(scenario: Scenario) -> None:
    scenario.produce(100)
    scenario.run_sink()
    original = oracle.read_messages(scenario.servers, scenario.topic)
    _recreate_topic(scenario, 400)
    _, err = scenario.run_sink(exit_code=4)
    _assert_lake_is_sound(
        scenario, original, err, "deleted and recreated", "topic recreated, then a sink starts"
    )


@pytest.mark.full
def test_a_broker_that_lost_its_log_is_rejected_at_startup(
    broker_scenario: Scenario, broker: EmbeddedBroker
) -> None:
    broker_scenario.produce(100)
    broker_scenario.run_sink()
    original = oracle.read_messages(broker_scenario.servers, broker_scenario.topic)
    _restart_with_empty_log(broker_scenario, broker, 400)
    _, err = broker_scenario.run_sink(exit_code=4)
    _assert_lake_is_sound(
        broker_scenario,
        original,
        err,
        "is of another cluster",
        "broker restarted with an empty log, then a sink starts",
    )


@pytest.mark.parametrize("count", [pytest.param(40, marks=pytest.mark.full), 4000])
def test_a_recreated_topic_stops_a_running_sink(scenario: Scenario, count: int) -> None:
    scenario.produce(400)
    original, err = _run_until_stopped_by(scenario, lambda: _recreate_topic(scenario, count))
    _assert_lake_is_sound(
        scenario,
        original,
        err,
        "deleted and recreated",
        f"topic recreated with {count} records while a sink runs",
    )


@pytest.mark.full
def test_a_broker_that_lost_its_log_stops_a_running_sink(
    broker_scenario: Scenario, broker: EmbeddedBroker
) -> None:
    broker_scenario.produce(400)
    original, err = _run_until_stopped_by(
        broker_scenario, lambda: _restart_with_empty_log(broker_scenario, broker, 4000)
    )
    _assert_lake_is_sound(
        broker_scenario,
        original,
        err,
        "is of another cluster",
        "broker restarted with an empty log while a sink runs",
    )


def _delete_all_records(scenario: Scenario) -> None:
    """Delete all records of the topic in Kafka, as retention does."""
    admin = Admin(scenario.servers)
    watermarks = admin.watermarks(admin.require_topic(scenario.topic))
    partitions = [TopicPartition(scenario.topic, number, high) for number, (_, high) in watermarks.items()]
    client = AdminClient({"bootstrap.servers": scenario.servers})
    for future in client.delete_records(partitions).values():
        future.result(30)


def _assert_gap_recorded(scenario: Scenario, original: list[Message], err: str, fault: str) -> None:
    """Store with `--on-gap record`; the recorded gap must be exactly the missing records."""
    assert "Lengthen the topic's retention" in err
    scenario.run_sink("--on-gap", "record")
    out, _ = run(
        "audit", "--lake", scenario.lake, "-t", scenario.topic, "--deep", "-b", scenario.servers, "--json"
    )
    parts = json.loads(out)["partitions"]
    gaps = sum(part["gaps"] for part in parts)
    full_verdict = oracle.compare_with_kafka(scenario.servers, scenario.topic, scenario.copy_lake(), original)
    assert 0 < len(full_verdict.lost) == gaps
    assert sum(part["records"] for part in parts) == scenario.sent_count - gaps
    lost = set(full_verdict.lost)
    retained = [m for m in original if (m.partition(), m.offset()) not in lost]
    verdict = oracle.compare_with_kafka(scenario.servers, scenario.topic, scenario.copy_lake(), retained)
    scenario.record_verdict("12", f"{fault}: gap of {gaps:,} records recorded", 1, 1, verdict)
    assert verdict.is_sound, verdict


def test_records_deleted_before_a_sink_starts_are_reported_as_a_gap(scenario: Scenario) -> None:
    scenario.produce(1000)
    scenario.run_sink()
    scenario.produce(1000)
    original = oracle.read_messages(scenario.servers, scenario.topic)
    _delete_all_records(scenario)
    scenario.produce(10)
    original += oracle.read_messages(scenario.servers, scenario.topic)
    _, err = scenario.run_sink(exit_code=4)
    _assert_gap_recorded(scenario, original, err, "retention before a sink starts")


@pytest.mark.full
def test_records_deleted_while_a_sink_is_paused_are_reported_as_a_gap(scenario: Scenario) -> None:
    scenario.produce(1000)
    with scenario.start_sink(*FREQUENT_FLUSH) as child:
        wait_until(scenario.has_stored_all, child)
        child.send_signal(signal.SIGSTOP)
        scenario.produce(1000)
        original = oracle.read_messages(scenario.servers, scenario.topic)
        _delete_all_records(scenario)
        scenario.produce(10)
        original += oracle.read_messages(scenario.servers, scenario.topic)
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    _assert_gap_recorded(scenario, original, err, "retention while a sink is paused")
