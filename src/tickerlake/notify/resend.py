"""Dead letters once more, and a trial of a target."""

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
_CLOSE_TIMEOUT_S: Final = 1.0
_TRIAL_ID: Final = "trial"


@dataclass(frozen=True, slots=True)
class ResendResult:
    """What became of a target's dead letters; ``stats.dead`` are kept again, with the new reason."""

    stats: DeliveryStats
    unreadable: int


def resend(
    route: Route,
    folder: Path,
    stop: threading.Event,
    on_progress: Callable[[DeliveryStats], None] = lambda _: None,
    timing: Timing | None = None,
) -> ResendResult:
    """Send a target's dead letters again, as they were grouped, with the ids that they had.

    Each is told at least once: what is not delivered is kept again, and what a killed run had begun is begun
    again by the next one. What dies meanwhile elsewhere is left for the next run.

    Parameters
    ----------
    folder
        Where dead letters are kept.
    stop
        Ends it; what is left is kept.
    """
    dead_letters = DeadLetters(folder, route.target.name)
    # all that is to be sent may wait: it stands in the file as long as that takes
    unlimited = 1 << 62
    delivery = DeliveryWorker(
        route.target, dead_letters, give_up_after_s=route.give_up_after_s, max_queued=unlimited, timing=timing
    )
    unreadable = 0
    try:
        for path in dead_letters.rotate():
            bytes_read, data = 0, b""
            # somebody who writes may have opened the file before it was set aside
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
            # what was not read, or could not be kept again, is for the next run
            if bytes_read and not data and not delivery.stats().lost:
                path.unlink()
            if stop.is_set():
                break
    finally:
        delivery.close(_CLOSE_TIMEOUT_S)
    return ResendResult(delivery.stats(), unreadable)


def trial_notification(now_ns: int) -> Notification:
    """Return what shows that a target gets alerts."""
    instrument = f"TEST.{UNKNOWN_MIC}"
    return Notification(
        (
            Alert(
                alert_id=alert_id(_TRIAL_ID, instrument, "", now_ns, "fired"),
                rule_id=_TRIAL_ID,
                rule_version=1,
                kind=_TRIAL_ID,
                severity="info",
                state="fired",
                instrument_id=instrument,
                symbol="TEST",
                ts_event_ns=now_ns,
                ts_detected_ns=now_ns,
                direction="none",
                unit="count",
                suppressed_count=0,
                dedup_key=_TRIAL_ID,
                cause="unknown",
                message="TEST: a trial of tickerlake; alerts will arrive here",
            ),
        )
    )
