"""10–12: a broker that goes away, a topic that is another one, records that retention took."""

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

from fault.conftest import Story, begin
from support import oracle, topics
from support.process import peak_mb, run, wait_until
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.embedded import EmbeddedBroker

OFTEN = ("--flush-records", 300, "--flush-age", 0.2)
# 140 MB of interpreter and libraries, 32 MB of records, what encodes two segments
MOST_MB = 400


@pytest.fixture
def own(broker: EmbeddedBroker, tmp_path: Path, record_property: Callable[[str, object], None]) -> Story:
    return begin(broker.bootstrap_servers, tmp_path / "lake", record_property)


def _strike(broker: EmbeddedBroker, how: str) -> None:
    if how == "restarted":
        broker.restart()
    else:
        broker.kill()
        broker.start()


@pytest.mark.parametrize(
    "how", ["paused", *(pytest.param(how, marks=pytest.mark.full) for how in ("restarted", "killed"))]
)
def test_the_broker_is_away_while_a_sink_stores(own: Story, broker: EmbeddedBroker, how: str) -> None:
    _away(own, broker, how, 2)


@pytest.mark.full
def test_the_broker_hangs_for_half_a_minute_while_a_sink_stores(own: Story, broker: EmbeddedBroker) -> None:
    _away(own, broker, "paused", 30)


@pytest.mark.full
@pytest.mark.parametrize("how", ["killed", "paused"])
def test_a_sink_is_stopped_while_the_broker_is_away(own: Story, broker: EmbeddedBroker, how: str) -> None:
    """Leaving the group needs an answer that does not come, and is not waited for."""
    with own.sink(*OFTEN) as child, own.coming(500):
        wait_until(lambda: len(own.objects()) > 8, child)
        {"killed": broker.kill, "paused": broker.pause}[how]()
        child.terminate()
        _, err = child.communicate(timeout=60)
        # 3: what it had read and not stored is left to the next one
        assert child.returncode in {0, 3}, err
        (broker.resume if how == "paused" else broker.start)()
    own.store_all()
    own.survived("10", f"sink stopped while the broker is {how}", injected=1, struck=1)


def _away(own: Story, broker: EmbeddedBroker, how: str, seconds: int) -> None:
    with own.sink("--flush-records", 50, "--flush-age", 0.2) as child:
        with own.coming(500):
            wait_until(lambda: len(own.objects()) > 8, child)
            began_s = time.monotonic()
            {"restarted": broker.stop, "killed": broker.kill, "paused": broker.pause}[how]()
            # at most so long: that the sink ends meanwhile is seen below
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
            before = own.objects()
            (broker.resume if how == "paused" else broker.start)()
            away_s = time.monotonic() - began_s
            assert away_s < 50, f"this machine is too busy: the broker was away for {away_s:.0f} s"
            back_s = wait_until(lambda: len(own.objects()) > len(before) + 8, child)
        wait_until(own.has_all, child)
        assert child.poll() is None, child.communicate()
        assert peak_mb(child.pid) < MOST_MB
        child.terminate()
        _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert oracle.each_once(own.servers, own.topic, "id").total() == own.sent
    own.survived("10", f"broker {how}, away for {seconds} s", injected=1, struck=1, back_s=back_s)


def _renew(story: Story, count: int) -> None:
    """Create the topic anew, with so many records."""
    topics.delete(story.servers, story.topic)
    wait_until(lambda: Admin(story.servers).create(story.topic, 4))
    story.fill(count)


def _lost_its_log(story: Story, broker: EmbeddedBroker, count: int) -> None:
    """Let the broker come back empty, and its users begin again."""
    broker.stop()
    shutil.rmtree(broker.info.data_dir)
    broker.start()
    Admin(story.servers).create(story.topic, 4)
    story.fill(count)


def _refused(story: Story, held: list[Message], err: str, why: str, fault: str) -> None:
    assert why in err
    assert "→" in err
    found = oracle.verdict(story.servers, story.topic, story.copy(), held)
    story.tell("11", fault, 1, 1, found)
    assert found.is_sound, found


def _stopped_by(story: Story, change: Callable[[], None]) -> tuple[list[Message], str]:
    """Change the topic while a sink sleeps; return what it held, and what the sink said."""
    with story.sink(*OFTEN) as child:
        wait_until(story.has_all, child)
        held = oracle.messages(story.servers, story.topic)
        child.send_signal(signal.SIGSTOP)
        change()
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    return held, err


def test_a_topic_created_anew_is_refused_at_the_start(story: Story) -> None:
    story.fill(100)
    story.store_all()
    held = oracle.messages(story.servers, story.topic)
    _renew(story, 400)
    _, err = story.store_all(code=4)
    _refused(story, held, err, "created anew", "topic created anew, then a sink starts")


@pytest.mark.full
def test_a_broker_that_lost_its_log_is_refused_at_the_start(own: Story, broker: EmbeddedBroker) -> None:
    own.fill(100)
    own.store_all()
    held = oracle.messages(own.servers, own.topic)
    _lost_its_log(own, broker, 400)
    _, err = own.store_all(code=4)
    _refused(own, held, err, "is of another cluster", "broker back with an empty log, then a sink starts")


@pytest.mark.parametrize("count", [pytest.param(40, marks=pytest.mark.full), 4000])
def test_a_topic_created_anew_stops_a_sink_that_runs(story: Story, count: int) -> None:
    story.fill(400)
    held, err = _stopped_by(story, lambda: _renew(story, count))
    _refused(story, held, err, "created anew", f"topic created anew with {count} records under a sink")


@pytest.mark.full
def test_a_broker_that_lost_its_log_stops_a_sink_that_runs(own: Story, broker: EmbeddedBroker) -> None:
    own.fill(400)
    held, err = _stopped_by(own, lambda: _lost_its_log(own, broker, 4000))
    _refused(own, held, err, "is of another cluster", "broker back with an empty log under a sink")


def _overtake(story: Story) -> None:
    """Delete all that Kafka holds, as retention does."""
    admin = Admin(story.servers)
    ends = admin.watermarks(admin.require(story.topic))
    places = [TopicPartition(story.topic, number, high) for number, (_, high) in ends.items()]
    client = AdminClient({"bootstrap.servers": story.servers})
    for done in client.delete_records(places).values():
        done.result(30)


def _goes_on(story: Story, held: list[Message], err: str, fault: str) -> None:
    """Let the gap be recorded, and what is missing be what it says."""
    assert "Lengthen the topic's retention" in err
    story.store_all("--on-gap", "record")
    out, _ = run("audit", "--lake", story.lake, "-t", story.topic, "--deep", "-b", story.servers, "--json")
    parts = json.loads(out)["partitions"]
    gaps = sum(part["gaps"] for part in parts)
    ever = oracle.verdict(story.servers, story.topic, story.copy(), held)
    assert 0 < len(ever.lost) == gaps
    assert sum(part["records"] for part in parts) == story.sent - gaps
    gone = set(ever.lost)
    rest = [m for m in held if (m.partition(), m.offset()) not in gone]
    found = oracle.verdict(story.servers, story.topic, story.copy(), rest)
    story.tell("12", f"{fault}: {gaps:,} are gone, and counted", 1, 1, found)
    assert found.is_sound, found


def test_records_deleted_before_a_sink_starts_are_a_gap_and_never_silent(story: Story) -> None:
    story.fill(1000)
    story.store_all()
    story.fill(1000)
    held = oracle.messages(story.servers, story.topic)
    _overtake(story)
    story.fill(10)
    held += oracle.messages(story.servers, story.topic)
    _, err = story.store_all(code=4)
    _goes_on(story, held, err, "retention before a sink starts")


@pytest.mark.full
def test_records_deleted_while_a_sink_sleeps_are_a_gap_and_never_silent(story: Story) -> None:
    story.fill(1000)
    with story.sink(*OFTEN) as child:
        wait_until(story.has_all, child)
        child.send_signal(signal.SIGSTOP)
        story.fill(1000)
        held = oracle.messages(story.servers, story.topic)
        _overtake(story)
        story.fill(10)
        held += oracle.messages(story.servers, story.topic)
        child.send_signal(signal.SIGCONT)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 4, err
    _goes_on(story, held, err, "retention while a sink sleeps")
