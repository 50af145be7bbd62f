"""Resending dead letters, and the test message of `alerts try`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickerlake.clock import Timing
from tickerlake.model.alert import Alert, alert_id
from tickerlake.model.instrument import UNKNOWN_MIC
from tickerlake.notify.dead_letters import DeadLetters, read_dead_letters
from tickerlake.notify.delivery import DeliveryStats, DeliveryWorker
from tickerlake.notify.dispatcher import Route
from tickerlake.notify.notification import Notification

_POLL_S: Final = 0.2
"""How often progress is reported, and how soon Ctrl-C is noticed."""

_CLOSE_TIMEOUT_S: Final = 1.0
"""Ctrl-C does not wait for retries: the dead letters are still there."""

_UNLIMITED: Final = 1 << 62
_TEST_ID: Final = "test"


@dataclass(frozen=True, slots=True)
class ResendResult:
    """The counts of a resend (``dead_lettered``: failed again), and of lines that are not dead letters."""

    stats: DeliveryStats
    unreadable: int


def resend(
    route: Route,
    folder: Path,
    stop: threading.Event,
    on_progress: Callable[[DeliveryStats], None] = lambda _: None,
    timing: Timing | None = None,
) -> ResendResult:
    """Resend a target's dead letters, grouped as before and with the same ids, at least once each.

    What fails again becomes a dead letter again. The next run repeats what a killed run had started. Dead
    letters that other processes write in the meantime are left for the next run.

    Parameters
    ----------
    route
        The target; its filters do not apply.
    folder
        Where the dead letters are.
    stop
        Ends the resend when set; the rest stays in the folder.
    on_progress
        Is called several times per second.
    timing
        Clock, jitter and waiting.
    """
    dead_letters = DeadLetters(folder, route.target.name)
    # no limit: a dead letter must not become one again because the queue is full
    delivery = DeliveryWorker(
        route.target,
        dead_letters,
        give_up_after_s=route.give_up_after_s,
        max_queued=_UNLIMITED,
        timing=timing,
    )
    unreadable = 0
    try:
        for path in dead_letters.rotate():
            bytes_read, data = 0, b""
            # another process may have opened the file before it was renamed, and still append to it
            while (data := path.read_bytes()[bytes_read:]) and not stop.is_set():
                bytes_read += len(data)
                notifications, unreadable_lines = read_dead_letters(data)
                delivery.submit(notifications)
                while delivery.wait_until_empty(_POLL_S) and not stop.is_set():
                    on_progress(delivery.stats())
                if unreadable_lines:
                    dead_letters.append_raw(unreadable_lines)
                    unreadable += len(unreadable_lines)
            if stop.is_set():
                delivery.close(_CLOSE_TIMEOUT_S)
            # unless everything was read and what failed was written again, the next run needs the file
            if bytes_read and not data and not delivery.stats().lost:
                path.unlink()
            if stop.is_set():
                break
    finally:
        delivery.close(_CLOSE_TIMEOUT_S)
    return ResendResult(delivery.stats(), unreadable)


def build_test_notification(now_ns: int) -> Notification:
    """Return a notification that shows that alerts reach a target."""
    instrument = f"TEST.{UNKNOWN_MIC}"
    return Notification(
        (
            Alert(
                alert_id=alert_id(_TEST_ID, instrument, "", now_ns, "fired"),
                rule_id=_TEST_ID,
                rule_version=1,
                kind=_TEST_ID,
                severity="info",
                state="fired",
                instrument_id=instrument,
                symbol="TEST",
                ts_event_ns=now_ns,
                ts_detected_ns=now_ns,
                direction="none",
                unit="count",
                suppressed_count=0,
                dedup_key=_TEST_ID,
                cause="unknown",
                message="TEST: a test message from tickerlake; alerts will arrive here",
            ),
        )
    )
