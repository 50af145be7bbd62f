"""One target's queue: retried with backoff, given up in time, and nothing is lost silently."""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.receivers import SkippingClock, make_alert, make_notification
from tickerlake.model.alert import Alert
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.delivery import DeliveryStats, DeliveryWorker
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets import DeliveryRefused, TargetUnreachable

_DOWN = TargetUnreachable("ops returned 503.")


class ScriptedTarget:
    """A target that fails as scripted, and then delivers."""

    def __init__(self, *failures: Exception | None) -> None:
        self.name = "ops"
        self._failures = deque(failures)
        self.attempts: list[str] = []
        self.delivered: list[Notification] = []

    def deliver(self, notification: Notification) -> None:
        self.attempts.append(notification.first.symbol)
        failure = self._failures.popleft() if self._failures else None
        if failure is not None:
            raise failure
        self.delivered.append(notification)


class SelectiveTarget:
    """A target that fails for some alerts."""

    def __init__(self, fails_for: Callable[[Alert], bool]) -> None:
        self.name = "ops"
        self._fails_for = fails_for
        self.attempts: list[str] = []
        self.delivered: list[tuple[str, str]] = []

    def deliver(self, notification: Notification) -> None:
        self.attempts.append(notification.first.symbol)
        if self._fails_for(notification.first):
            raise _DOWN
        self.delivered.append((notification.first.symbol, notification.first.state))


class BlockingTarget:
    """A target that blocks until it is released."""

    def __init__(self) -> None:
        self.name = "ops"
        self.started = threading.Event()
        self.released = threading.Event()
        self.delivered_count = 0

    def deliver(self, notification: Notification) -> None:
        self.started.set()
        assert self.released.wait(60)
        self.delivered_count += 1


def _deliver_all(
    folder: Path, target: Any, notifications: Sequence[Notification], **options: Any
) -> tuple[DeliveryStats, SkippingClock]:
    clock = SkippingClock()
    delivery = DeliveryWorker(target, DeadLetters(folder, "ops", lambda: 7), timing=clock.times, **options)
    delivery.submit(notifications)
    assert delivery.wait_until_empty(60) == 0
    stats = delivery.stats()
    delivery.close(60)
    return stats, clock


def _read_dead_letters(folder: Path) -> list[dict[str, Any]]:
    file = folder / "ops.dead.ndjson"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_failures_are_retried(tmp_path: Path) -> None:
    target = ScriptedTarget(_DOWN, _DOWN)
    stats, clock = _deliver_all(tmp_path, target, [make_notification()])
    assert stats == DeliveryStats(delivered=1, retried=2, last_error="ops returned 503.")
    assert clock.waits == [1.0, 2.0]
    assert _read_dead_letters(tmp_path) == []


def test_backoff_grows_to_a_minute_within_the_budget(tmp_path: Path) -> None:
    stats, clock = _deliver_all(
        tmp_path, SelectiveTarget(lambda alert: True), [make_notification()], give_up_after_s=600
    )
    assert clock.waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(clock.waits[7:]) == {60}
    assert 540 <= sum(clock.waits) <= 600
    (line,) = _read_dead_letters(tmp_path)
    assert line["attempts"] == len(clock.waits) + 1 == stats.retried + 1
    assert (stats.dead_lettered, stats.delivered, stats.queued) == (1, 0, 0)


def test_retry_after_is_honored(tmp_path: Path) -> None:
    _, clock = _deliver_all(
        tmp_path, ScriptedTarget(TargetUnreachable("Busy.", retry_after_s=7)), [make_notification()]
    )
    assert clock.waits == [7]


def test_retry_after_beyond_the_budget_gives_up(tmp_path: Path) -> None:
    target = ScriptedTarget(TargetUnreachable("Busy.", retry_after_s=700))
    stats, _ = _deliver_all(tmp_path, target, [make_notification()])
    assert (stats.dead_lettered, target.attempts) == (1, ["AAPL"])


def test_permanent_failures_are_not_retried(tmp_path: Path) -> None:
    target = ScriptedTarget(DeliveryRefused("ops returned 400.", "Check it."))
    note = make_notification()
    stats, _ = _deliver_all(tmp_path, target, [note, make_notification("MSFT")])
    assert stats == DeliveryStats(delivered=1, dead_lettered=1, last_error="ops returned 400.")
    assert target.attempts == ["AAPL", "MSFT"]
    assert _read_dead_letters(tmp_path) == [
        {
            "target": "ops",
            "reason": "ops returned 400.",
            "attempts": 1,
            "ts_dead_ns": 7,
            "group_id": None,
            "alert": json.loads(note.first.to_json()),
        }
    ]


def test_permanent_failures_back_off_too(tmp_path: Path) -> None:
    refusals = [DeliveryRefused("desk refuses the login (535).")] * 4
    _, clock = _deliver_all(
        tmp_path, ScriptedTarget(*refusals), [make_notification(f"S{number}") for number in range(5)]
    )
    assert clock.waits == [1, 2, 4, 8]


def test_an_error_in_a_target_exposes_only_its_type(tmp_path: Path) -> None:
    target = ScriptedTarget(RuntimeError("https://hooks.example.com/secret"))
    stats, _ = _deliver_all(tmp_path, target, [make_notification(), make_notification("MSFT")])
    assert stats == DeliveryStats(delivered=1, dead_lettered=1, last_error="RuntimeError in the target ops.")
    assert "secret" not in (tmp_path / "ops.dead.ndjson").read_text()


def test_a_group_becomes_a_dead_letter_for_each_alert(tmp_path: Path) -> None:
    group = Notification(tuple(make_alert(f"S{number}") for number in range(30)))
    stats, _ = _deliver_all(tmp_path, ScriptedTarget(DeliveryRefused("No.")), [group])
    lines = _read_dead_letters(tmp_path)
    assert stats.dead_lettered == len(lines) == 30
    assert {line["group_id"] for line in lines} == {group.id}
    assert len({line["alert"]["alert_id"] for line in lines}) == 30


def test_one_bad_message_does_not_delay_others(tmp_path: Path) -> None:
    target = SelectiveTarget(lambda alert: alert.symbol == "BAD")
    notifications = [make_notification("BAD"), *(make_notification(f"S{number}") for number in range(50))]
    stats, _ = _deliver_all(tmp_path, target, notifications)
    assert (stats.delivered, stats.dead_lettered) == (50, 1)
    assert [symbol for symbol, _ in target.delivered] == [f"S{number}" for number in range(50)]
    # the others did not wait until the bad one was given up
    assert target.attempts.index("S49") <= 52


def test_cleared_does_not_overtake_fired(tmp_path: Path) -> None:
    failing = iter([True, True])
    target = SelectiveTarget(
        lambda alert: alert.symbol == "A" and alert.state == "fired" and next(failing, False)
    )
    notifications = [make_notification("A"), make_notification("A", state="cleared"), make_notification("B")]
    _deliver_all(tmp_path, target, notifications)
    assert [delivered for delivered in target.delivered if delivered[0] == "A"] == [
        ("A", "fired"),
        ("A", "cleared"),
    ]
    assert target.delivered[0] == ("B", "fired")


def test_a_target_that_is_down_is_not_attempted_for_each_alert(tmp_path: Path) -> None:
    target = SelectiveTarget(lambda alert: True)
    stats, _ = _deliver_all(tmp_path, target, [make_notification(f"S{number}") for number in range(1_000)])
    assert stats.dead_lettered == 1_000
    assert len(target.attempts) < 30
    assert {line["alert"]["symbol"] for line in _read_dead_letters(tmp_path)} == {
        f"S{number}" for number in range(1_000)
    }


def test_a_recovered_target_gets_everything(tmp_path: Path) -> None:
    target = ScriptedTarget(*[_DOWN] * 12)
    stats, _ = _deliver_all(tmp_path, target, [make_notification(f"S{number}") for number in range(100)])
    assert (stats.delivered, stats.dead_lettered) == (100, 0)


def test_overflow_becomes_dead_letters(tmp_path: Path) -> None:
    target = BlockingTarget()
    delivery = DeliveryWorker(
        target, DeadLetters(tmp_path, "ops"), max_queued=2, timing=SkippingClock().times
    )
    delivery.submit(
        [make_notification("A"), make_notification("B"), make_notification("C"), make_notification("D")]
    )
    assert delivery.stats() == DeliveryStats(queued=2, dead_lettered=2)
    target.released.set()
    assert delivery.wait_until_empty(60) == 0
    assert [
        (line["alert"]["symbol"], line["reason"], line["attempts"]) for line in _read_dead_letters(tmp_path)
    ] == [
        ("C", "The queue is full.", 0),
        ("D", "The queue is full.", 0),
    ]
    delivery.close(60)


def test_a_group_larger_than_the_queue_passes_when_it_is_alone(tmp_path: Path) -> None:
    group = Notification(tuple(make_alert(f"S{number}") for number in range(5)))
    stats, _ = _deliver_all(tmp_path, ScriptedTarget(), [group], max_queued=2)
    assert stats.delivered == 5


def test_close_drains(tmp_path: Path) -> None:
    target = ScriptedTarget(_DOWN, _DOWN)
    delivery = DeliveryWorker(target, DeadLetters(tmp_path, "ops"), timing=SkippingClock().times)
    delivery.submit([make_notification(f"S{number}") for number in range(20)])
    delivery.close(60)
    assert delivery.stats() == DeliveryStats(delivered=20, retried=2, last_error="ops returned 503.")


def test_close_during_an_attempt_saves_the_rest(tmp_path: Path) -> None:
    target = BlockingTarget()
    delivery = DeliveryWorker(target, DeadLetters(tmp_path, "ops"))
    delivery.submit([make_notification("A"), make_notification("B")])
    assert target.started.wait(60)
    delivery.close(0)
    delivery.submit([make_notification("C")])
    dead_letters = {
        line["alert"]["symbol"]: (line["reason"], line["attempts"]) for line in _read_dead_letters(tmp_path)
    }
    assert dead_letters == {
        "A": ("It was closed during the attempt: it may have arrived.", 1),
        "B": ("It was closed before its turn.", 0),
        "C": ("It was closed.", 0),
    }
    target.released.set()
    delivery.close(60)
    assert target.delivered_count == 1
    assert delivery.stats() == DeliveryStats(dead_lettered=3)


def test_dead_letters_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("not a folder")
    stats, _ = _deliver_all(
        folder, ScriptedTarget(DeliveryRefused("No.")), [make_notification(), make_notification("B")]
    )
    assert (stats.delivered, stats.dead_lettered, stats.lost) == (1, 0, 1)
    assert stats.last_error == "The dead letters of ops cannot be written: FileExistsError."


@pytest.mark.parametrize("tail", [b"", b'{"half": ', b'{"whole": 1}\n'])
def test_a_truncated_line_does_not_corrupt_others(tmp_path: Path, tail: bytes) -> None:
    dead = DeadLetters(tmp_path, "ops")
    dead.path.write_bytes(tail)
    for symbol in "AB":
        dead.append([make_notification(symbol)], "No.", [1])
    lines = dead.path.read_bytes().split(b"\n")
    assert lines[-1] == b""
    assert [json.loads(line)["alert"]["symbol"] for line in lines[-3:-1]] == ["A", "B"]
