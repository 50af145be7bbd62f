"""The dashboard's password: only its scrypt hash is stored."""

import asyncio
import hashlib
import hmac
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from tickerlake import clock
from tickerlake.errors import UsageError

MIN_PASSWORD_LENGTH: Final = 12
_PREFIX: Final = "scrypt$"
_HASH_PATTERN: Final = re.compile(
    r"scrypt\$([0-9]{1,9})\$([0-9]{1,3})\$([0-9]{1,3})\$([0-9a-f]{32,128})\$([0-9a-f]{64,128})"
)
_MAX_MEMORY_BYTES: Final = 256 * 1024 * 1024
"""Per check: eight times the default cost. With two at a time, logins use at most half a GiB."""
_MAX_PARALLELIZATION: Final = 16
"""Does not change the memory but multiplies the time of a check, which a hash must not make endless."""
_HASH_HINT: Final = (
    "Create one with `tickerlake serve --hash-password`, and put it in single quotes: shells expand '$'."
)


class _ScryptCost(NamedTuple):
    n: int
    r: int
    p: int

    @property
    def memory(self) -> int:
        return 128 * self.r * (self.n + self.p + 2)


_DEFAULT_COST: Final = _ScryptCost(2**15, 8, 1)


class Password:
    """Checks passwords, at most two at a time: each takes a tenth of a second and 32 MiB.

    Parameters
    ----------
    setting
        The password itself, or its hash from `hash_password`.
    min_length
        Minimum length, if it is the password itself.

    Raises
    ------
    UsageError
        If the password is too short, or the hash is damaged or too weak.
    """

    def __init__(self, setting: str, *, min_length: int = 1) -> None:
        if setting.startswith(_PREFIX):
            self._cost, self._salt, self._hash = _parse_hash(setting)
        else:
            if len(setting) < min_length:
                raise UsageError(
                    f"The password is shorter than {min_length} characters.", "Choose a longer one."
                )
            self._cost, self._salt = _DEFAULT_COST, _new_salt()
            self._hash = _scrypt(setting, self._cost, self._salt, 32)
        # a dedicated pool: in the loop's, checks of abandoned requests would let more than two run
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="password")

    async def matches(self, text: str) -> bool:
        """Whether ``text`` is the password."""
        candidate = await asyncio.get_running_loop().run_in_executor(
            self._executor, _scrypt, text, self._cost, self._salt, len(self._hash)
        )
        return hmac.compare_digest(candidate, self._hash)


def hash_password(text: str) -> str:
    """Return ``scrypt$n$r$p$salt$hash`` of a password, to be set instead of it.

    Raises
    ------
    UsageError
        If the password is shorter than 12 characters.
    """
    if len(text) < MIN_PASSWORD_LENGTH:
        raise UsageError(
            f"The password is shorter than {MIN_PASSWORD_LENGTH} characters.", "Choose a longer one."
        )
    salt = _new_salt()
    n, r, p = _DEFAULT_COST
    return f"{_PREFIX}{n}${r}${p}${salt.hex()}${_scrypt(text, _DEFAULT_COST, salt, 32).hex()}"


def _new_salt() -> bytes:
    return bytes.fromhex(clock.nonce() + clock.nonce())


def _parse_hash(setting: str) -> tuple[_ScryptCost, bytes, bytes]:
    match = _HASH_PATTERN.fullmatch(setting)
    if match is None:
        raise UsageError("The password hash is malformed.", _HASH_HINT)
    cost = _ScryptCost(*(int(digits) for digits in match.groups()[:3]))
    if cost.n & (cost.n - 1) or cost.n < 2**14 or cost.r < 8 or cost.p < 1:
        raise UsageError("The password hash is too weak.", _HASH_HINT)
    if cost.memory > _MAX_MEMORY_BYTES or cost.p > _MAX_PARALLELIZATION:
        raise UsageError("The password hash would take too long to check.", _HASH_HINT)
    try:
        salt, digest = (bytes.fromhex(digits) for digits in match.groups()[3:])
    except ValueError:
        # an odd number of hexadecimal digits
        raise UsageError("The password hash is malformed.", _HASH_HINT) from None
    return cost, salt, digest


def _scrypt(text: str, cost: _ScryptCost, salt: bytes, length: int) -> bytes:
    # keyboards differ in the Unicode form of é
    secret = unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, dklen=length, maxmem=2 * cost.memory
    )
