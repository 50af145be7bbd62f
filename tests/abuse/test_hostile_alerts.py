"""Whatever a topic of alerts or a file of dead letters holds, the good alerts are printed and sent."""

import json
import secrets
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from support import hostile
from support.hostile import Message
from support.process import run, wait_until
from tickerlake.kafka.admin import Admin
from tickerlake.model.schema import ALERT
from tickerlake.notify.dead_letters import DeadLetters, read_dead_letters
from tickerlake.notify.dispatcher import Dispatcher, Route
from tickerlake.notify.notification import Notification
from tickerlake.notify.resend import resend
from tickerlake.notify.targets.console import console_line
from tickerlake.pipeline.forward_alerts import AlertForwarder, forwarding

COUNTS = [400, pytest.param(10_000, marks=pytest.mark.full)]


class Recorder:
    """A target that renders and keeps what it gets."""

    name = "recorder"

    def __init__(self) -> None:
        self.ids: list[str] = []

    def deliver(self, notification: Notification) -> None:
        json.loads(msgspec.json.encode(notification.data()))
        assert console_line(notification.first).plain
        self.ids += [alert.alert_id for alert in notification.alerts]

    def good_ids(self) -> list[str]:
        return good_ids(self.ids)


def good_alerts(count: int) -> list[Message]:
    messages = []
    for number in range(count):
        members = hostile.sound(ALERT, number, "GOOD")
        value = hostile.encode(
            [(name, f'"good {number}"' if name == "alert_id" else text) for name, text in members]
        )
        messages.append(Message("", b"GOOD.XXXX", value))
    return messages


def good_ids(ids: Iterable[str]) -> list[str]:
    return [each for each in ids if each.startswith("good ")]


EXPECTED = [f"good {number}" for number in range(30)]


def create_topic(kafka: str) -> str:
    topic = f"a{secrets.token_hex(4)}.alerts"
    Admin(kafka).create_topic(topic, 1, hostile.TOPIC_CONFIG)
    return topic


@pytest.mark.parametrize("count", COUNTS)
def test_tail_prints_the_good_alerts_among_hostile_records(kafka: str, count: int) -> None:
    topic = create_topic(kafka)
    assert not hostile.send(kafka, topic, hostile.mixed(good_alerts(30), 11, count))
    out, err = run("alerts", "tail", "-t", topic, "-b", kafka, "-n", 2 * count, "--no-follow", "--json")
    # a text can hold a line separator of Unicode, which JSON need not escape
    alerts = [json.loads(line) for line in out.split("\n")[:-1]]
    assert sorted(good_ids(alert["alert_id"] for alert in alerts)) == sorted(EXPECTED)
    assert f"skipped {count + 30 - len(alerts):,} records" in err
    assert len(alerts) < count / 2
    out, _ = run("alerts", "tail", "-t", topic, "-b", kafka, "-n", 2 * count, "--no-follow")
    assert len(out.split("\n")) == len(alerts) + 1
    out, err = run("alerts", "list", "-t", topic, "-b", kafka, "--symbol", "GOOD", "--json")
    listed = [alert_id for line in out.split("\n")[:-1] for alert_id in json.loads(line)["alert_ids"]]
    assert set(listed) <= set(EXPECTED)
    assert "records of" in err
    run("alerts", "list", "-t", topic, "-b", kafka)


@pytest.mark.parametrize("count", COUNTS)
def test_good_alerts_are_sent_among_hostile_records(kafka: str, tmp_path: Path, count: int) -> None:
    topic, recorder = create_topic(kafka), Recorder()
    forwarder = AlertForwarder(kafka, topic, f"{topic}-notify", {})
    dispatcher = Dispatcher([Route(recorder, group=False)], tmp_path, max_queued=count)
    errors: list[object] = []
    with forwarding(forwarder, dispatcher, errors.append):
        wait_until(lambda: forwarder._consumer.assignments > 0)
        assert not hostile.send(kafka, topic, hostile.mixed(good_alerts(30), 12, count))
        wait_until(lambda: forwarder.forwarded + forwarder.skipped.total() == count + 30, timeout_s=120)
    assert not errors
    assert recorder.good_ids() == EXPECTED
    assert dispatcher.stats()["recorder"].dead_lettered == 0


@pytest.mark.parametrize("count", COUNTS)
def test_good_dead_letters_are_resent_among_hostile_lines(tmp_path: Path, count: int) -> None:
    recorder, dead_letters = Recorder(), DeadLetters(tmp_path, "recorder")
    lines = []
    for number, message in enumerate(hostile.mixed(good_alerts(30), 13, count)):
        value = (message.value or b"").replace(b"\n", b" ")
        is_letter = not message.kind or number % 2
        lines.append(b'{"target":"recorder","alert":' + value + b"}" if is_letter else value)
    dead_letters.append_raw(lines)
    result = resend(Route(recorder), tmp_path, threading.Event())
    assert recorder.good_ids() == EXPECTED
    assert result.stats.dead_lettered == 0
    # what cannot be read stays, byte by byte
    unreadable = set(dead_letters.path.read_bytes().split(b"\n"))
    assert result.unreadable > count / 2
    assert unreadable <= {*lines, b""}
    assert not any(b'"good ' in line for line in unreadable)


def test_a_dead_letter_with_an_impossible_number_stays_in_the_file() -> None:
    value = good_alerts(1)[0].value or b""
    line = b'{"alert":' + value.replace(b'"price":10.5', b'"price":"1e999999999"') + b"}"
    assert line.count(b"1e999999999") == 1
    assert read_dead_letters(line) == ([], [line])


def test_an_unexpected_error_of_forwarding_is_reported(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder = AlertForwarder(kafka, create_topic(kafka), "g", {})

    def fail(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(forwarder, "_forward", fail)
    errors: list[object] = []
    with forwarding(forwarder, Dispatcher([], tmp_path), errors.append):
        wait_until(lambda: bool(errors))
    assert "KeyError: 'a bug'" in str(errors[0])
