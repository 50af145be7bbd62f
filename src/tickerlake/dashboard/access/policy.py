"""Which addresses may be bound, and which requests are allowed by path, host and origin. Pure.

A page of another site must not reach the dashboard through the user's browser. It can try with a host name
that resolves to our address (detected by ``Host``), and with requests to our address (detected by ``Origin``
and ``Sec-Fetch-Site``, which pages cannot forge). Clients other than browsers send neither.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple
from urllib.parse import quote

from starlette.datastructures import Headers

from tickerlake.dashboard.access.authority import Authority, is_loopback, parse_origin
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.errors import UsageError

HOME_PATH: Final = "/"
LOGIN_PATH: Final = "/login"
LOGOUT_PATH: Final = "/logout"
LOGIN_STYLE_PATH: Final = "/static/login.css"
PUBLIC_PATHS: Final = frozenset({LOGIN_PATH, "/healthz", LOGIN_STYLE_PATH, "/static/favicon.svg"})
"""Paths served without a login."""
POST_PATHS: Final = frozenset({LOGIN_PATH, LOGOUT_PATH})
MAX_NEXT_LENGTH: Final = 2048
"""Of the path that follows the login: half of the longest URL served, as quoting makes it longer."""
CLOSE_LOGIN_REQUIRED: Final = 4401
"""WebSocket close code: there is no open session; the page goes to the login instead of reconnecting."""
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # with no-referrer browsers send "Origin: null" with forms, and the login would be denied
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HSTS: Final = "max-age=86400"
"""Only a day, and never for localhost: browsers then require https on every port of that host."""
_NEXT_PATTERN: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")


class Refusal(NamedTuple):
    """Why a request is denied: the status and the texts of the response."""

    status: int
    error: str
    hint: str = ""


def check_binding(host: str, *, password: bool, tls: bool, behind_proxy: bool) -> None:
    """Refuse to serve remote hosts without a login, or with unencrypted passwords.

    Parameters
    ----------
    host
        Address or name to bind.
    password
        Whether a password is set.
    tls
        Whether a certificate is configured.
    behind_proxy
        Whether a reverse proxy terminates TLS.

    Raises
    ------
    UsageError
        If the host is not loopback and there is no password, or neither TLS nor a proxy.
    """
    if is_loopback(host):
        return
    where = f"Remote hosts can reach {host or 'every address'}"
    if not password:
        raise UsageError(
            f"{where}, and no password is set.",
            "Set TICKERLAKE_SERVE__PASSWORD, or bind 127.0.0.1.",
        )
    if not (tls or behind_proxy):
        raise UsageError(
            f"{where}, and the password would be sent unencrypted.",
            "Set --tls-cert and --tls-key, or --behind-proxy ADDRESS if a reverse proxy terminates TLS.",
        )


def allowed_hosts(
    host: str, port: int, extra: Iterable[str] = (), *, behind_proxy: bool = False
) -> frozenset[Authority]:
    """Return the host names that requests may be sent to; a port of None matches any port.

    Parameters
    ----------
    host, port
        The bound address or name, and port.
    extra
        Additional names, ``name`` or ``name:port``.
    behind_proxy
        Whether browsers connect to a proxy's port: names without a port then match any port.

    Raises
    ------
    UsageError
        If one of ``extra`` is not a host name.
    """
    own_port = None if behind_proxy else port
    allowed = {Authority(name, own_port) for name in LOOPBACK_NAMES}
    bound = Authority.parse(f"[{host}]" if ":" in host else host)
    if bound is not None and bound.name not in {"0.0.0.0", "::"}:  # noqa: S104
        allowed.add(Authority(bound.name, own_port))
    for text in extra:
        named = Authority.parse(text) or Authority.parse(f"[{text}]")
        if named is None:
            raise UsageError(
                f"{text!r} is not a host name.", "Write it like dash.example.com or dash.example.com:8443."
            )
        allowed.add(named if named.port is not None else Authority(named.name, own_port))
    return frozenset(allowed)


@dataclass(frozen=True)
class Policy:
    """How the dashboard is served, and which requests that allows.

    Parameters
    ----------
    host, port
        The bound address and port; the port must be the real one, not 0.
    tls
        Whether a certificate is configured.
    proxies
        Reverse proxies that terminate TLS; what they say in ``X-Forwarded-For`` is trusted.
    allow_hosts
        Additional host names that browsers may send requests to.
    """

    host: str
    port: int
    tls: bool = False
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    allow_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.hosts  # an invalid name fails the start instead of the first request

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach us by https."""
        return self.tls or bool(self.proxies)

    @property
    def scheme(self) -> str:
        """The URL scheme that browsers use."""
        return "https" if self.is_secure else "http"

    @cached_property
    def hosts(self) -> frozenset[Authority]:
        """The host names that requests may be sent to."""
        return allowed_hosts(self.host, self.port, self.allow_hosts, behind_proxy=bool(self.proxies))

    @cached_property
    def security_headers(self) -> dict[str, str]:
        """Headers of every response."""
        hsts = self.tls and not is_loopback(self.host)
        return SECURITY_HEADERS | ({"strict-transport-security": _HSTS} if hsts else {})

    def find_refusal(self, headers: Headers, *, is_page: bool, changes_state: bool) -> Refusal | None:
        """Check the host that a request is sent to and the site that it comes from.

        Parameters
        ----------
        headers
            Headers of the request.
        is_page
            Whether pages of other sites may link to the path.
        changes_state
            Whether the request changes something (POST): it must then have an ``Origin`` header.

        Returns
        -------
        Refusal or None
            None if the request is allowed.
        """
        host_headers = headers.getlist("host")
        host = Authority.parse(host_headers[0]) if len(host_headers) == 1 else None
        if host is None:
            return Refusal(400, "The request does not have exactly one valid Host header.")
        host = host.with_default_port(self.scheme)
        if host not in self.hosts and Authority(host.name, None) not in self.hosts:
            return Refusal(
                421, "This host is not served here.", f"To serve it, start with --allow-host {host.name}."
            )
        return self._check_origin(headers, host, required=changes_state) or _check_fetch_metadata(
            headers, is_page=is_page
        )

    def _check_origin(self, headers: Headers, host: Authority, *, required: bool) -> Refusal | None:
        origins = headers.getlist("origin")
        if not origins and not required:
            return None
        if len(origins) == 1 and parse_origin(origins[0]) == (self.scheme, host):
            return None
        hint = "The proxy must forward the browser's Host header unchanged." if self.proxies else ""
        return Refusal(403, "The request does not come from this dashboard's page.", hint)


def _check_fetch_metadata(headers: Headers, *, is_page: bool) -> Refusal | None:
    if headers.get("sec-fetch-site", "none") in {"same-origin", "none"}:
        return None
    if (
        is_page
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    ):
        return None
    return Refusal(403, "Pages of other sites may only link to the dashboard.")


def is_api_path(path: str) -> bool:
    """Whether a path is for programs: without a session it gets a status, not the login page."""
    return path.startswith("/api/") or path in {"/metrics", "/healthz"}


def safe_local_path(text: str) -> str:
    r"""Return a path to redirect to after the login if it is certainly local, or else the home page.

    Browsers read ``//host`` and ``/\host`` as other hosts, and drop control characters before they parse.
    """
    path = text.partition("?")[0].partition("#")[0]
    if len(text) > MAX_NEXT_LENGTH or _NEXT_PATTERN.fullmatch(text) is None or path in POST_PATHS:
        return HOME_PATH
    return text


def login_path(target: str) -> str:
    """Return the URL of the login page that leads to ``target``."""
    target = safe_local_path(target)
    return LOGIN_PATH if target == HOME_PATH else f"{LOGIN_PATH}?next={quote(target, safe='/')}"
