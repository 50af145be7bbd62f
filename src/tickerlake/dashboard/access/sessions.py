"""Logins that are open, in memory: they end with the server."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tickerlake import clock

SESSIONS_MAX: Final = 1_000
IDLE_MAX_S: Final = 12 * 3600
AGE_MAX_S: Final = 7 * 24 * 3600


@dataclass(slots=True)
class _Session:
    began_s: float
    used_s: float


class Sessions:
    """Open logins, by the hash of their secret.

    Parameters
    ----------
    sessions_max
        Logins to keep; the one that was not used for the longest ends first.
    monotonic_s
        The clock.
    """

    def __init__(
        self, sessions_max: int = SESSIONS_MAX, monotonic_s: Callable[[], float] = clock.monotonic_s
    ) -> None:
        self._sessions_max = sessions_max
        self._monotonic_s = monotonic_s
        self._open: OrderedDict[bytes, _Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self) -> str:
        """Open a login; return its secret of 256 bits."""
        secret = "".join(clock.nonce() for _ in range(4))
        now_s = self._monotonic_s()
        self._open[_key(secret)] = _Session(now_s, now_s)
        if len(self._open) > self._sessions_max:
            self._open.popitem(last=False)
        return secret

    def is_open(self, secret: str) -> bool:
        """Whether a login is open; asking counts as use of it."""
        key = _key(secret)
        session = self._open.get(key)
        if session is None:
            return False
        now_s = self._monotonic_s()
        if now_s - session.used_s >= IDLE_MAX_S or now_s - session.began_s >= AGE_MAX_S:
            del self._open[key]
            return False
        session.used_s = now_s
        self._open.move_to_end(key)
        return True

    def end(self, secret: str) -> None:
        """Close a login, if it is open."""
        self._open.pop(_key(secret), None)


def _key(secret: str) -> bytes:
    # finding it by its hash tells nothing of the secret by how long it takes
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
