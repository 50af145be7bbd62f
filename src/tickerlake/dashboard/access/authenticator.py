"""Authenticates requests: by the session cookie of a browser or the bearer token of a program."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers

from tickerlake import clock
from tickerlake.dashboard.access.password import Password
from tickerlake.dashboard.access.policy import Policy
from tickerlake.dashboard.access.rate_limiter import RateLimiter, client_key, network_of
from tickerlake.dashboard.access.sessions import MAX_AGE_S, Sessions
from tickerlake.errors import UsageError

MIN_TOKEN_LENGTH: Final = 32
"""In hexadecimal digits this is 128 bits, out of reach of guessing at any request rate."""
_ATTEMPTS_PER_MINUTE: Final = 5
"""Attempts of one client, also its burst: enough for typing errors, and 7,200 guesses a day at most."""
_TOTAL_ATTEMPTS_PER_MINUTE: Final = 30
"""Attempts of all clients, also their burst: limits guessing from many addresses, and keeps hashing cheap."""
_UNKNOWN_CLIENTS: Final = "unknown"
_MAX_KNOWN_CLIENTS: Final = 256
"""Each may attempt passwords besides the total, but only owners of the password become known."""


class WrongPassword(Exception):
    """The password is incorrect."""


class TooManyAttempts(Exception):
    """Too many recent login attempts."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("Too many recent login attempts.")
        self.wait_s = wait_s


class Authenticator:
    """Opens, checks and closes sessions.

    A client may attempt five passwords at once and then five per minute; all clients together 30 and 30.
    The total does not apply to clients that have logged in since the server started, nor to five attempts
    per minute from their network: so others cannot lock them out.

    Parameters
    ----------
    password
        The dashboard's password.
    policy
        How the dashboard is served; determines the name and the flags of the cookie.
    token
        The bearer token of programs; empty for none.
    monotonic_s
        The clock.

    Raises
    ------
    UsageError
        If the token is too short or has characters that a header cannot carry.
    """

    def __init__(
        self,
        password: Password,
        policy: Policy,
        token: str = "",
        monotonic_s: Callable[[], float] = clock.monotonic_s,
    ) -> None:
        if token and (len(token) < MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable()):
            raise UsageError(
                f"The token must have at least {MIN_TOKEN_LENGTH} printable ASCII characters.",
                "Set TICKERLAKE_SERVE__TOKEN to a random one, for example from `openssl rand -hex 32`.",
            )
        self._password = password
        self._token = _digest(token) if token else None
        self._sessions = Sessions(monotonic_s=monotonic_s)
        self._client_limiter = _per_minute(_ATTEMPTS_PER_MINUTE, monotonic_s)
        self._network_limiter = _per_minute(_ATTEMPTS_PER_MINUTE, monotonic_s)
        self._total_limiter = _per_minute(_TOTAL_ATTEMPTS_PER_MINUTE, monotonic_s)
        self._known_clients: OrderedDict[str, str] = OrderedDict()  # the network of each
        self._is_secure = policy.is_secure
        # browsers share cookies across the ports of a host
        self.cookie_name = f"{'__Host-' if policy.is_secure else ''}tickerlake-{policy.port}"

    def identify(self, headers: Headers) -> Callable[[], bool] | None:
        """Authenticate a request.

        Returns
        -------
        callable or None
            None if the request is not authenticated; otherwise a function that returns whether its session
            is still open.
        """
        for secret in self._session_secrets(headers):
            if self._sessions.is_open(secret):
                return lambda: self._sessions.is_open(secret)
        return (lambda: True) if self._has_token(headers) else None

    async def log_in(self, password: str, client: str) -> str:
        """Open a session.

        Parameters
        ----------
        password
            The password as typed.
        client
            Address of the client.

        Returns
        -------
        str
            The value of ``Set-Cookie``.

        Raises
        ------
        WrongPassword
            If the password is incorrect.
        TooManyAttempts
            If there were too many attempts; the password was not checked.
        """
        wait_s = self._client_limiter.acquire(client_key(client)) or self._acquire_shared(client)
        if wait_s > 0:
            raise TooManyAttempts(wait_s)
        if not await self._password.matches(password):
            raise WrongPassword
        self._remember(client)
        return self._session_cookie(self._sessions.open(), MAX_AGE_S)

    def _acquire_shared(self, client: str) -> float:
        """Consume an attempt that a client shares with others; return the seconds until there is one."""
        network = network_of(client)
        if client_key(client) in self._known_clients:
            return 0.0
        if network in self._known_clients.values() and self._network_limiter.acquire(network) == 0:
            return 0.0
        return self._total_limiter.acquire(_UNKNOWN_CLIENTS)

    def _remember(self, client: str) -> None:
        key = client_key(client)
        self._known_clients[key] = network_of(client)
        self._known_clients.move_to_end(key)
        if len(self._known_clients) > _MAX_KNOWN_CLIENTS:
            self._known_clients.popitem(last=False)

    def log_out(self, headers: Headers) -> str:
        """Close the session of a request; return the value of ``Set-Cookie`` that removes the cookie."""
        for secret in self._session_secrets(headers):
            self._sessions.close(secret)
        return self._session_cookie("", 0)

    def _session_secrets(self, headers: Headers) -> list[str]:
        pairs = (
            pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";")
        )
        return [value for name, _, value in pairs if name == self.cookie_name]

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(_digest(token.strip()), self._token)

    def _session_cookie(self, value: str, max_age_s: int) -> str:
        secure = "; Secure" if self._is_secure else ""
        return f"{self.cookie_name}={value}; Max-Age={max_age_s}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _per_minute(attempts: int, monotonic_s: Callable[[], float]) -> RateLimiter:
    return RateLimiter(attempts / 60, attempts, monotonic_s=monotonic_s)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
