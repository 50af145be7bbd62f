"""The only source of time and randomness."""

import random
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# not the module-level generator, which a test or a library may have seeded
_RANDOM = random.SystemRandom()


def now_ns() -> int:
    """UTC wall-clock time in nanoseconds since the epoch."""
    return time.time_ns()


def monotonic_s() -> float:
    """Seconds of a clock that never goes back, for ages and rates."""
    return time.monotonic()


def jitter(delay_s: float) -> float:
    """Full jitter: a random share of `delay_s`, for waits between retries."""
    return _RANDOM.uniform(0, delay_s)


def nonce() -> str:
    """Return 16 random hexadecimal digits from a secure source."""
    return secrets.token_hex(8)


def _wait(condition: threading.Condition, until_s: float | None) -> None:
    condition.wait(None if until_s is None else max(until_s - monotonic_s(), 0.0))


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, jitter and waiting for threads; tests inject their own.

    Parameters
    ----------
    monotonic_s
        Seconds of a clock that never goes back.
    jitter
        Returns a random share of a delay.
    wait
        Waits, holding the condition, until it is notified or the monotonic clock reaches a time if given.
    """

    monotonic_s: Callable[[], float] = monotonic_s
    jitter: Callable[[float], float] = jitter
    wait: Callable[[threading.Condition, float | None], None] = _wait
