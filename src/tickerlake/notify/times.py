"""How notify knows the time and waits; tests put their own in."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from tickerlake import clock


def _wait(condition: threading.Condition, until_s: float | None) -> None:
    condition.wait(None if until_s is None else max(until_s - clock.monotonic_s(), 0.0))


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, chance and waiting.

    Parameters
    ----------
    monotonic_s
        Seconds that never step back.
    jitter
        A random share of a delay.
    wait
        Waits, with the condition held, until it is notified or the monotonic time has come.
    """

    monotonic_s: Callable[[], float] = clock.monotonic_s
    jitter: Callable[[float], float] = clock.jitter
    wait: Callable[[threading.Condition, float | None], None] = _wait
