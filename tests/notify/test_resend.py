"""Dead letters are resent: each at least once, in its group, and none is lost."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.process import run
from support.receivers import Receiver, Reply, SkippingClock, make_alert, make_notification
from tickerlake.model.alert import Alert
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.dispatcher import Route
from tickerlake.notify.notification import Notification
from tickerlake.notify.resend import resend
from tickerlake.notify.targets import DeliveryRefused

RULES = """
preset = "default"

[[notify]]
kind = "webhook"
name = "ops"
url = "{url}"
allow_private = true
give_up_after_s = 1

[[notify]]
kind = "webhook"
name = "desk"
url = "{url}"
allow_private = true
"""
GROUP = Notification(tuple(make_alert(f"G{number}") for number in range(7)))
NOTIFICATIONS = [
    make_notification("AAPL"),
    GROUP,
    make_notification("IBM"),
    make_notification("IBM", state="cleared"),
]


class FakeTarget:
    """A target that refuses some symbols; it can stop the run after the first delivery."""

    name = "ops"

    def __init__(self, refused: Sequence[str] = (), stop: threading.Event | None = None) -> None:
        self.delivered: list[Notification] = []
        self._refused, self._stop = refused, stop

    def deliver(self, notification: Notification) -> None:
        if notification.first.symbol in self._refused:
            raise DeliveryRefused("ops has had enough.")
        self.delivered.append(notification)
        if self._stop:
            self._stop.set()


def dead_letter_alerts(folder: Path) -> list[Alert]:
    """Return the alerts of all dead letters in a folder."""
    lines = (line for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines())
    return [Alert(**json.loads(line)["alert"]) for line in lines]


def ids(notes: Sequence[Notification]) -> list[str]:
    return [note.id for note in notes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    DeadLetters(tmp_path / "dead", "ops").append(NOTIFICATIONS, "ops returned 503.", [3] * len(NOTIFICATIONS))
    return tmp_path / "dead"


def run_resend(target: FakeTarget, folder: Path, stop: threading.Event | None = None) -> tuple[int, int, int]:
    result = resend(Route(target), folder, stop or threading.Event(), timing=SkippingClock().times)
    return result.stats.delivered, result.stats.dead_lettered, result.unreadable


def test_dead_letters_are_resent_unchanged(folder: Path) -> None:
    ops = FakeTarget()
    assert run_resend(ops, folder) == (10, 0, 0)
    assert ids(ops.delivered) == ids(NOTIFICATIONS)
    assert not list(folder.iterdir())
    assert run_resend(ops, folder) == (0, 0, 0)


def test_resends_that_fail_become_dead_letters_again(folder: Path) -> None:
    ops = FakeTarget(refused=["G0", "AAPL"])
    assert run_resend(ops, folder) == (2, 8, 0)
    (path,) = folder.iterdir()
    assert path.name == "ops.dead.ndjson"
    assert [alert.symbol for alert in dead_letter_alerts(folder)] == [
        "AAPL",
        *(f"G{number}" for number in range(7)),
    ]
    assert "ops has had enough." in path.read_text()
    later = FakeTarget()
    assert run_resend(later, folder) == (8, 0, 0)
    assert ids(later.delivered) == ids(NOTIFICATIONS[:2])


def test_a_killed_resend_is_resumed_with_newer_dead_letters(folder: Path) -> None:
    dead_letters = DeadLetters(folder, "ops")
    dead_letters.rotate()
    dead_letters.append([make_notification("MSFT")], "ops returned 503.", [1])
    dead_letters.rotate()
    dead_letters.append([make_notification("FB")], "ops returned 503.", [1])
    ops = FakeTarget()
    assert run_resend(ops, folder) == (12, 0, 0)
    assert ids(ops.delivered) == ids([*NOTIFICATIONS, make_notification("MSFT"), make_notification("FB")])
    assert not list(folder.iterdir())


def test_lines_that_are_not_dead_letters_stay(folder: Path) -> None:
    path = folder / "ops.dead.ndjson"
    truncated = path.read_bytes().splitlines()[0][:40]
    with path.open("ab") as file:
        file.write(truncated)
    assert run_resend(FakeTarget(), folder) == (10, 0, 1)
    assert path.read_bytes() == truncated + b"\n"


def test_an_interrupted_resend_loses_nothing(folder: Path) -> None:
    dead_letters = DeadLetters(folder, "ops")
    dead_letters.rotate()
    dead_letters.append([make_notification("MSFT")], "ops returned 503.", [1])
    stop = threading.Event()
    ops = FakeTarget(stop=stop)
    run_resend(ops, folder, stop)
    delivered = [alert.alert_id for note in ops.delivered for alert in note.alerts]
    left = [alert.alert_id for alert in dead_letter_alerts(folder)]
    expected = [
        alert.alert_id for note in [*NOTIFICATIONS, make_notification("MSFT")] for alert in note.alerts
    ]
    assert sorted(delivered + left) == sorted(expected)


def test_dead_letters_added_during_a_resend_are_sent(folder: Path) -> None:
    late = DeadLetters(folder / "elsewhere", "ops")
    late.append([make_notification("LATE")], "ops returned 503.", [1])

    class Slow(FakeTarget):
        def deliver(self, notification: Notification) -> None:
            if late.path.exists():
                (resending,) = folder.glob("ops.resending-*")
                with resending.open("ab") as file:
                    file.write(late.path.read_bytes())
                late.path.unlink()
            super().deliver(notification)

    ops = Slow()
    assert run_resend(ops, folder) == (11, 0, 0)
    assert ids(ops.delivered) == ids([*NOTIFICATIONS, make_notification("LATE")])


def test_dead_letters_added_to_a_stopped_resend_are_kept(folder: Path) -> None:
    stop = threading.Event()
    late = DeadLetters(folder / "elsewhere", "ops")
    late.append([make_notification("LATE")], "ops returned 503.", [1])
    line = late.path.read_bytes()
    late.path.unlink()
    late.path.parent.rmdir()

    class Slow(FakeTarget):
        def deliver(self, notification: Notification) -> None:
            if not self.delivered:
                (resending,) = folder.glob("ops.resending-*")
                with resending.open("ab") as file:
                    file.write(line)
            super().deliver(notification)

    run_resend(Slow(stop=stop), folder, stop)
    assert "LATE" in {alert.symbol for alert in dead_letter_alerts(folder)}


def test_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    with Receiver(Reply(204), Reply(500)) as receiver:
        rules = tmp_path / "rules.toml"
        rules.write_text(RULES.format(url=receiver.url))
        _, err = run("alerts", "try", "--rules", rules, exit_code=2)
        assert "✓ ops: accepted the message" in err
        assert "✗ desk: " in err
        assert "alerts will arrive here" in json.loads(receiver.next_request().body)["data"]["message"]
        receiver.next_request()
        _, err = run("alerts", "try", "--rules", rules, "--target", "nobody", exit_code=2)
        assert "Its targets are ops, desk." in err
        options = ("alerts", "resend", "--rules", rules, "--dead-letters", folder)
        DeadLetters(folder, "former").append([make_notification()], "gone", [1])
        _, err = run(*options)
        assert "ops: 10 delivered" in err
        assert "former: has dead letters" in err
        bodies = [json.loads(receiver.next_request().body) for _ in NOTIFICATIONS]
        assert {body["type"] for body in bodies} == {"alert.fired", "alert.cleared", "alert.group"}
    # the receiver is gone
    DeadLetters(folder, "ops").append(NOTIFICATIONS, "ops returned 503.", [3] * len(NOTIFICATIONS))
    _, err = run(*options, "--target", "ops", exit_code=3)
    assert "10 dead-lettered again" in err
    assert len((folder / "ops.dead.ndjson").read_bytes().splitlines()) == 10
