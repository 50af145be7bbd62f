"""Dead letters once more, and a trial of a target."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickerlake.model.alert import Alert, alert_id
from tickerlake.model.instrument import UNKNOWN_MIC
from tickerlake.notify.dead_letters import DeadLetters, read_letters
from tickerlake.notify.delivery import Delivery, Stats
from tickerlake.notify.notification import Notification
from tickerlake.notify.route import Route
from tickerlake.notify.times import Times

_LOOK_S: Final = 0.2
_CLOSE_S: Final = 1.0
_TRIAL: Final = "trial"


@dataclass(frozen=True, slots=True)
class Resent:
    """What became of a target's dead letters; ``stats.dead`` are kept again, with the new reason."""

    stats: Stats
    unreadable: int


def resend(
    route: Route,
    folder: Path,
    stop: threading.Event,
    on_progress: Callable[[Stats], None] = lambda _: None,
    times: Times | None = None,
) -> Resent:
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
    letters = DeadLetters(folder, route.target.name)
    # all that is to be sent may wait: it stands in the file as long as that takes
    endless = 1 << 62
    delivery = Delivery(
        route.target, letters, give_up_after_s=route.give_up_after_s, queue_max=endless, times=times
    )
    unreadable = 0
    try:
        for path in letters.set_aside():
            done, data = 0, b""
            # somebody who writes may have opened the file before it was set aside
            while (data := path.read_bytes()[done:]) and not stop.is_set():
                done += len(data)
                notes, strange = read_letters(data)
                delivery.submit(notes)
                while delivery.wait_until_empty(_LOOK_S) and not stop.is_set():
                    on_progress(delivery.stats())
                if strange:
                    letters.put_back(strange)
                    unreadable += len(strange)
            if stop.is_set():
                delivery.close(_CLOSE_S)
            # what was not read, or could not be kept again, is for the next run
            if done and not data and not delivery.stats().lost:
                path.unlink()
            if stop.is_set():
                break
    finally:
        delivery.close(_CLOSE_S)
    return Resent(delivery.stats(), unreadable)


def trial(now_ns: int) -> Notification:
    """Return what shows that a target gets alerts."""
    instrument = f"TEST.{UNKNOWN_MIC}"
    return Notification(
        (
            Alert(
                alert_id=alert_id(_TRIAL, instrument, "", now_ns, "fired"),
                rule_id=_TRIAL,
                rule_version=1,
                kind=_TRIAL,
                severity="info",
                state="fired",
                instrument_id=instrument,
                symbol="TEST",
                ts_event_ns=now_ns,
                ts_detected_ns=now_ns,
                direction="none",
                unit="count",
                suppressed_count=0,
                dedup_key=_TRIAL,
                cause="unknown",
                message="TEST: a trial of tickerlake; alerts will arrive here",
            ),
        )
    )
