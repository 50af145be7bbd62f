"""One target's queue: tried again as asked, given up in time, and nothing lost silently."""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.receivers import SkippingTimes, a_note, an_alert
from tickerlake.model.alert import Alert
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.delivery import Delivery, Stats
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.target import Refused, Unreachable

_DOWN = Unreachable("ops answers 503.")


class Scripted:
    """A target that fails as told, and takes what comes after."""

    def __init__(self, *failures: Exception | None) -> None:
        self.name = "ops"
        self._failures = deque(failures)
        self.attempts: list[str] = []
        self.taken: list[Notification] = []

    def deliver(self, notification: Notification) -> None:
        self.attempts.append(notification.first.symbol)
        failure = self._failures.popleft() if self._failures else None
        if failure is not None:
            raise failure
        self.taken.append(notification)


class Picky:
    """A target that fails for some alerts."""

    def __init__(self, refuses: Callable[[Alert], bool]) -> None:
        self.name = "ops"
        self._refuses = refuses
        self.attempts: list[str] = []
        self.taken: list[tuple[str, str]] = []

    def deliver(self, notification: Notification) -> None:
        self.attempts.append(notification.first.symbol)
        if self._refuses(notification.first):
            raise _DOWN
        self.taken.append((notification.first.symbol, notification.first.state))


class Held:
    """A target that delivers when it is let to."""

    def __init__(self) -> None:
        self.name = "ops"
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.taken = 0

    def deliver(self, notification: Notification) -> None:
        self.began.set()
        assert self.go_on.wait(60)
        self.taken += 1


def _run(
    folder: Path, target: Any, notes: Sequence[Notification], **options: Any
) -> tuple[Stats, SkippingTimes]:
    clock = SkippingTimes()
    delivery = Delivery(target, DeadLetters(folder, "ops", lambda: 7), times=clock.times, **options)
    delivery.submit(notes)
    assert delivery.wait_until_empty(60) == 0
    stats = delivery.stats()
    delivery.close(60)
    return stats, clock


def _dead(folder: Path) -> list[dict[str, Any]]:
    file = folder / "ops.dead.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_what_fails_is_tried_again(tmp_path: Path) -> None:
    target = Scripted(_DOWN, _DOWN)
    stats, clock = _run(tmp_path, target, [a_note()])
    assert stats == Stats(delivered=1, retried=2, last_error="ops answers 503.")
    assert clock.waits == [1.0, 2.0]
    assert _dead(tmp_path) == []


def test_pauses_grow_to_a_minute_and_end_with_the_budget(tmp_path: Path) -> None:
    stats, clock = _run(tmp_path, Picky(lambda alert: True), [a_note()], give_up_after_s=600)
    assert clock.waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(clock.waits[7:]) == {60}
    assert 540 <= sum(clock.waits) <= 600
    (line,) = _dead(tmp_path)
    assert line["attempts"] == len(clock.waits) + 1 == stats.retried + 1
    assert (stats.dead, stats.delivered, stats.queued) == (1, 0, 0)


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    _, clock = _run(tmp_path, Scripted(Unreachable("Busy.", retry_after_s=7)), [a_note()])
    assert clock.waits == [7]


def test_retry_after_beyond_the_budget_gives_up(tmp_path: Path) -> None:
    target = Scripted(Unreachable("Busy.", retry_after_s=700))
    stats, _ = _run(tmp_path, target, [a_note()])
    assert (stats.dead, target.attempts) == (1, ["AAPL"])


def test_what_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    target = Scripted(Refused("ops answers 400.", "Check it."))
    note = a_note()
    stats, _ = _run(tmp_path, target, [note, a_note("MSFT")])
    assert stats == Stats(delivered=1, dead=1, last_error="ops answers 400.")
    assert target.attempts == ["AAPL", "MSFT"]
    assert _dead(tmp_path) == [
        {
            "target": "ops",
            "reason": "ops answers 400.",
            "attempts": 1,
            "ts_dead_ns": 7,
            "group_id": None,
            "alert": json.loads(note.first.to_json()),
        }
    ]


def test_refusals_slow_down_too(tmp_path: Path) -> None:
    refusals = [Refused("desk refuses to log in (535).")] * 4
    _, clock = _run(tmp_path, Scripted(*refusals), [a_note(f"S{number}") for number in range(5)])
    assert clock.waits == [1, 2, 4, 8]


def test_a_fault_in_a_target_shows_its_kind_alone(tmp_path: Path) -> None:
    target = Scripted(RuntimeError("https://hooks.example.com/secret"))
    stats, _ = _run(tmp_path, target, [a_note(), a_note("MSFT")])
    assert stats == Stats(delivered=1, dead=1, last_error="RuntimeError in the target ops.")
    assert "secret" not in (tmp_path / "ops.dead.ndjson").read_text()


def test_a_group_becomes_a_dead_letter_for_each_alert(tmp_path: Path) -> None:
    group = Notification(tuple(an_alert(f"S{number}") for number in range(30)))
    stats, _ = _run(tmp_path, Scripted(Refused("No.")), [group])
    lines = _dead(tmp_path)
    assert stats.dead == len(lines) == 30
    assert {line["group_id"] for line in lines} == {group.id}
    assert len({line["alert"]["alert_id"] for line in lines}) == 30


def test_one_bad_message_does_not_hold_up_the_others(tmp_path: Path) -> None:
    target = Picky(lambda alert: alert.symbol == "BAD")
    notes = [a_note("BAD"), *(a_note(f"S{number}") for number in range(50))]
    stats, _ = _run(tmp_path, target, notes)
    assert (stats.delivered, stats.dead) == (50, 1)
    assert [symbol for symbol, _ in target.taken] == [f"S{number}" for number in range(50)]
    # the others did not wait for the end of the bad one
    assert target.attempts.index("S49") <= 52


def test_cleared_does_not_overtake_fired(tmp_path: Path) -> None:
    failing = iter([True, True])
    target = Picky(lambda alert: alert.symbol == "A" and alert.state == "fired" and next(failing, False))
    notes = [a_note("A"), a_note("A", state="cleared"), a_note("B")]
    _run(tmp_path, target, notes)
    assert [told for told in target.taken if told[0] == "A"] == [("A", "fired"), ("A", "cleared")]
    assert target.taken[0] == ("B", "fired")


def test_a_target_that_is_down_is_not_tried_for_each_alert(tmp_path: Path) -> None:
    target = Picky(lambda alert: True)
    stats, _ = _run(tmp_path, target, [a_note(f"S{number}") for number in range(1_000)])
    assert stats.dead == 1_000
    assert len(target.attempts) < 30
    assert {line["alert"]["symbol"] for line in _dead(tmp_path)} == {f"S{number}" for number in range(1_000)}


def test_a_target_that_comes_back_gets_everything(tmp_path: Path) -> None:
    target = Scripted(*[_DOWN] * 12)
    stats, _ = _run(tmp_path, target, [a_note(f"S{number}") for number in range(100)])
    assert (stats.delivered, stats.dead) == (100, 0)


def test_what_does_not_fit_goes_to_the_dead_letters(tmp_path: Path) -> None:
    target = Held()
    delivery = Delivery(target, DeadLetters(tmp_path, "ops"), queue_max=2, times=SkippingTimes().times)
    delivery.submit([a_note("A"), a_note("B"), a_note("C"), a_note("D")])
    assert delivery.stats() == Stats(queued=2, dead=2)
    target.go_on.set()
    assert delivery.wait_until_empty(60) == 0
    assert [(line["alert"]["symbol"], line["reason"], line["attempts"]) for line in _dead(tmp_path)] == [
        ("C", "The queue is full.", 0),
        ("D", "The queue is full.", 0),
    ]
    delivery.close(60)


def test_a_group_larger_than_the_queue_passes_when_it_is_alone(tmp_path: Path) -> None:
    group = Notification(tuple(an_alert(f"S{number}") for number in range(5)))
    stats, _ = _run(tmp_path, Scripted(), [group], queue_max=2)
    assert stats.delivered == 5


def test_close_drains(tmp_path: Path) -> None:
    target = Scripted(_DOWN, _DOWN)
    delivery = Delivery(target, DeadLetters(tmp_path, "ops"), times=SkippingTimes().times)
    delivery.submit([a_note(f"S{number}") for number in range(20)])
    delivery.close(60)
    assert delivery.stats() == Stats(delivered=20, retried=2, last_error="ops answers 503.")


def test_close_in_time_keeps_the_rest(tmp_path: Path) -> None:
    target = Held()
    delivery = Delivery(target, DeadLetters(tmp_path, "ops"))
    delivery.submit([a_note("A"), a_note("B")])
    assert target.began.wait(60)
    delivery.close(0)
    delivery.submit([a_note("C")])
    told = {line["alert"]["symbol"]: (line["reason"], line["attempts"]) for line in _dead(tmp_path)}
    assert told == {
        "A": ("It was closed during the attempt: it may have arrived.", 1),
        "B": ("It was closed before its turn.", 0),
        "C": ("It was closed.", 0),
    }
    target.go_on.set()
    delivery.close(60)
    assert target.taken == 1
    assert delivery.stats() == Stats(dead=3)


def test_dead_letters_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("no folder")
    stats, _ = _run(folder, Scripted(Refused("No.")), [a_note(), a_note("B")])
    assert (stats.delivered, stats.dead, stats.lost) == (1, 0, 1)
    assert stats.last_error == "The dead letters of ops can't be written: FileExistsError."


@pytest.mark.parametrize("torn", [b"", b'{"half": ', b'{"whole": 1}\n'])
def test_a_torn_line_spoils_no_other(tmp_path: Path, torn: bytes) -> None:
    dead = DeadLetters(tmp_path, "ops")
    dead.path.write_bytes(torn)
    for symbol in "AB":
        dead.keep([a_note(symbol)], "No.", [1])
    lines = dead.path.read_bytes().split(b"\n")
    assert lines[-1] == b""
    assert [json.loads(line)["alert"]["symbol"] for line in lines[-3:-1]] == ["A", "B"]
