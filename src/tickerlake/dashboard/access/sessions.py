"""Sessions of logged-in browsers, in memory: they end with the server."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tickerlake import clock

MAX_SESSIONS: Final = 1_000
"""Bounds memory; a login needs the password, so only its owners can fill it."""
MAX_IDLE_S: Final = 12 * 3600
"""Longer than a working day; an open page counts as use."""
MAX_AGE_S: Final = 7 * 24 * 3600
"""Ends the sessions of pages that are never closed, too, so that a stolen cookie expires."""


@dataclass(slots=True)
class _Session:
    opened_s: float
    last_used_s: float


class Sessions:
    """Open sessions, by the hash of their secret.

    Parameters
    ----------
    max_sessions
        Sessions to keep; the least recently used one is closed first.
    monotonic_s
        The clock.
    """

    def __init__(
        self, max_sessions: int = MAX_SESSIONS, monotonic_s: Callable[[], float] = clock.monotonic_s
    ) -> None:
        self._max_sessions = max_sessions
        self._monotonic_s = monotonic_s
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self) -> str:
        """Open a session; return its secret of 256 bits."""
        secret = "".join(clock.nonce() for _ in range(4))
        now_s = self._monotonic_s()
        self._sessions[_hash_secret(secret)] = _Session(now_s, now_s)
        if len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)
        return secret

    def is_open(self, secret: str) -> bool:
        """Whether a session is open; the check counts as use of it."""
        key = _hash_secret(secret)
        session = self._sessions.get(key)
        if session is None:
            return False
        now_s = self._monotonic_s()
        if now_s - session.last_used_s >= MAX_IDLE_S or now_s - session.opened_s >= MAX_AGE_S:
            del self._sessions[key]
            return False
        session.last_used_s = now_s
        self._sessions.move_to_end(key)
        return True

    def close(self, secret: str) -> None:
        """Close a session, if it is open."""
        self._sessions.pop(_hash_secret(secret), None)


def _hash_secret(secret: str) -> bytes:
    # the time of a lookup by hash reveals nothing about the secret
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
