"""The only source of wall-clock time and randomness."""

import random
import secrets
import time

# not the module's own state, which others may have seeded
_RANDOM = random.SystemRandom()


def now_ns() -> int:
    """UTC wall-clock time in nanoseconds since the epoch."""
    return time.time_ns()


def monotonic_s() -> float:
    """Seconds that never step back; for ages and rates."""
    return time.monotonic()


def jitter(delay_s: float) -> float:
    """Full jitter: a random share of ``delay_s``, for waits between retries."""
    return _RANDOM.uniform(0, delay_s)


def nonce() -> str:
    """Return 16 hexadecimal digits that no input can have guessed."""
    return secrets.token_hex(8)
