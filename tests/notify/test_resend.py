"""Dead letters are told again: each at least once, in its group, and none is lost on the way."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.process import run
from support.receivers import Receiver, Reply, SkippingTimes, a_note, an_alert
from tickerlake.model.alert import Alert
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.notification import Notification
from tickerlake.notify.resend import resend
from tickerlake.notify.route import Route
from tickerlake.notify.targets.target import Refused

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
GROUP = Notification(tuple(an_alert(f"G{number}") for number in range(7)))
NOTES = [a_note("AAPL"), GROUP, a_note("IBM"), a_note("IBM", state="cleared")]


class Ops:
    """A target that takes all but some symbols; it may stop the run after the first."""

    name = "ops"

    def __init__(self, refused: Sequence[str] = (), stop: threading.Event | None = None) -> None:
        self.taken: list[Notification] = []
        self._refused, self._stop = refused, stop

    def deliver(self, notification: Notification) -> None:
        if notification.first.symbol in self._refused:
            raise Refused("ops has had enough.")
        self.taken.append(notification)
        if self._stop:
            self._stop.set()


def kept(folder: Path) -> list[Alert]:
    """Return what is among the dead letters, wherever."""
    lines = (line for path in sorted(folder.iterdir()) for line in path.read_bytes().splitlines())
    return [Alert(**json.loads(line)["alert"]) for line in lines]


def ids(notes: Sequence[Notification]) -> list[str]:
    return [note.id for note in notes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    DeadLetters(tmp_path / "dead", "ops").keep(NOTES, "ops answers 503.", [3] * len(NOTES))
    return tmp_path / "dead"


def send(target: Ops, folder: Path, stop: threading.Event | None = None) -> tuple[int, int, int]:
    found = resend(Route(target), folder, stop or threading.Event(), times=SkippingTimes().times)
    return found.stats.delivered, found.stats.dead, found.unreadable


def test_all_is_told_as_it_was_to_be_told(folder: Path) -> None:
    ops = Ops()
    assert send(ops, folder) == (10, 0, 0)
    assert ids(ops.taken) == ids(NOTES)
    assert not list(folder.iterdir())
    assert send(ops, folder) == (0, 0, 0)


def test_what_is_refused_again_is_kept_again(folder: Path) -> None:
    ops = Ops(refused=["G0", "AAPL"])
    assert send(ops, folder) == (2, 8, 0)
    (path,) = folder.iterdir()
    assert path.name == "ops.dead.ndjson"
    assert [alert.symbol for alert in kept(folder)] == ["AAPL", *(f"G{number}" for number in range(7))]
    assert "ops has had enough." in path.read_text()
    later = Ops()
    assert send(later, folder) == (8, 0, 0)
    assert ids(later.taken) == ids(NOTES[:2])


def test_what_a_killed_run_had_begun_is_told_with_what_came_since(folder: Path) -> None:
    letters = DeadLetters(folder, "ops")
    letters.set_aside()
    letters.keep([a_note("MSFT")], "ops answers 503.", [1])
    letters.set_aside()
    letters.keep([a_note("FB")], "ops answers 503.", [1])
    ops = Ops()
    assert send(ops, folder) == (12, 0, 0)
    assert ids(ops.taken) == ids([*NOTES, a_note("MSFT"), a_note("FB")])
    assert not list(folder.iterdir())


def test_lines_that_are_no_letters_stay(folder: Path) -> None:
    path = folder / "ops.dead.ndjson"
    torn = path.read_bytes().splitlines()[0][:40]
    with path.open("ab") as file:
        file.write(torn)
    assert send(Ops(), folder) == (10, 0, 1)
    assert path.read_bytes() == torn + b"\n"


def test_who_stops_it_loses_nothing(folder: Path) -> None:
    letters = DeadLetters(folder, "ops")
    letters.set_aside()
    letters.keep([a_note("MSFT")], "ops answers 503.", [1])
    stop = threading.Event()
    ops = Ops(stop=stop)
    send(ops, folder, stop)
    told = [alert.alert_id for note in ops.taken for alert in note.alerts]
    left = [alert.alert_id for alert in kept(folder)]
    due = [alert.alert_id for note in [*NOTES, a_note("MSFT")] for alert in note.alerts]
    assert sorted(told + left) == sorted(due)


def test_what_is_written_to_the_old_file_meanwhile_is_told(folder: Path) -> None:
    late = DeadLetters(folder / "elsewhere", "ops")
    late.keep([a_note("LATE")], "ops answers 503.", [1])

    class Slow(Ops):
        def deliver(self, notification: Notification) -> None:
            if late.path.exists():
                (aside,) = folder.glob("ops.resending-*")
                with aside.open("ab") as file:
                    file.write(late.path.read_bytes())
                late.path.unlink()
            super().deliver(notification)

    ops = Slow()
    assert send(ops, folder) == (11, 0, 0)
    assert ids(ops.taken) == ids([*NOTES, a_note("LATE")])


def test_what_is_written_to_the_old_file_while_it_is_stopped_is_kept(folder: Path) -> None:
    stop = threading.Event()
    late = DeadLetters(folder / "elsewhere", "ops")
    late.keep([a_note("LATE")], "ops answers 503.", [1])
    line = late.path.read_bytes()
    late.path.unlink()
    late.path.parent.rmdir()

    class Slow(Ops):
        def deliver(self, notification: Notification) -> None:
            if not self.taken:
                (aside,) = folder.glob("ops.resending-*")
                with aside.open("ab") as file:
                    file.write(line)
            super().deliver(notification)

    send(Slow(stop=stop), folder, stop)
    assert "LATE" in {alert.symbol for alert in kept(folder)}


def test_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    with Receiver(Reply(204), Reply(500)) as receiver:
        rules = tmp_path / "rules.toml"
        rules.write_text(RULES.format(url=receiver.url))
        _, err = run("alerts", "try", "--rules", rules, code=2)
        assert "✓ ops: took the message" in err
        assert "✗ desk: " in err
        assert "alerts will arrive here" in json.loads(receiver.received().body)["data"]["message"]
        receiver.received()
        _, err = run("alerts", "try", "--rules", rules, "--target", "nobody", code=2)
        assert "There is ops, desk." in err
        options = ("alerts", "resend", "--rules", rules, "--dead-letters", folder)
        DeadLetters(folder, "former").keep([a_note()], "gone", [1])
        _, err = run(*options)
        assert "ops: 10 delivered" in err
        assert "former: has dead letters" in err
        bodies = [json.loads(receiver.received().body) for _ in NOTES]
        assert {body["type"] for body in bodies} == {"alert.fired", "alert.cleared", "alert.group"}
    # nobody is there any more
    DeadLetters(folder, "ops").keep(NOTES, "ops answers 503.", [3] * len(NOTES))
    _, err = run(*options, "--target", "ops", code=3)
    assert "10 kept again" in err
    assert len((folder / "ops.dead.ndjson").read_bytes().splitlines()) == 10
