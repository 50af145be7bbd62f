"""What may be bound, and which requests are for us and from us. Pure.

A page of another site must not get at the dashboard through the reader's browser. It can try with a name of
its own that resolves to our address (caught by ``Host``), and with requests that carry our address (caught by
``Origin`` and ``Sec-Fetch-Site``, which pages cannot forge). Clients without a browser send neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from starlette.datastructures import Headers

from tickerlake.dashboard.access.authority import Authority, is_loopback, parse_origin
from tickerlake.errors import UsageError

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # not no-referrer: with it browsers send "Origin: null" with forms, and the login would be refused
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# browsers then want https of every port of that host, so not for long, and never of localhost
_HSTS: Final = "max-age=86400"


class Refusal(NamedTuple):
    """Why a request is not answered, for the client to read."""

    status: int
    error: str
    hint: str = ""


def check_binding(host: str, *, password: bool, tls: bool, behind_proxy: bool) -> None:
    """Refuse to serve other machines without a login, or with passwords that travel in the clear.

    Parameters
    ----------
    host
        Address or name to bind.
    password
        Whether a password is set.
    tls
        Whether we have a certificate.
    behind_proxy
        Whether a proxy in front of us speaks TLS with the browsers.

    Raises
    ------
    UsageError
        If the host is not a loopback one and a password, or TLS and a proxy, are missing.
    """
    if is_loopback(host):
        return
    where = f"{host or 'every address'} can be reached by other machines"
    if not password:
        raise UsageError(
            f"{where}, and no password is set.",
            "Set one in TICKERLAKE_SERVE__PASSWORD, or serve 127.0.0.1.",
        )
    if not (tls or behind_proxy):
        raise UsageError(
            f"{where}, and the password would travel unencrypted.",
            "Give a TLS certificate, or --behind-proxy if a proxy in front of it has one.",
        )


def allowed_hosts(
    host: str, port: int, extra: Iterable[str] = (), *, behind_proxy: bool = False
) -> frozenset[Authority]:
    """List the names under which we answer; a port of ``None`` stands for any.

    Parameters
    ----------
    host
        Address or name that is bound.
    port
        Port that is bound.
    extra
        More names, ``name`` or ``name:port``.
    behind_proxy
        The port that browsers see is the proxy's, so names without a port match any.

    Raises
    ------
    UsageError
        If one of ``extra`` is no name of a host.
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
                f"{text!r} is no name of a host.", "Write it like dash.example.com, or with :port."
            )
        allowed.add(named if named.port is not None else Authority(named.name, own_port))
    return frozenset(allowed)


@dataclass(frozen=True)
class Policy:
    """How the dashboard is served.

    Parameters
    ----------
    host, port
        What is bound: the port must be the real one, not 0.
    tls
        Whether we have a certificate.
    behind_proxy
        Whether a proxy in front of us speaks TLS with the browsers. Then the last entry of
        ``X-Forwarded-For`` is the client's address.
    allow_hosts
        More names under which browsers may call us.
    """

    host: str
    port: int
    tls: bool = False
    behind_proxy: bool = False
    allow_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.hosts  # a wrong name stops the start, not the first request

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach us by https."""
        return self.tls or self.behind_proxy

    @property
    def scheme(self) -> str:
        """The scheme that browsers use."""
        return "https" if self.is_secure else "http"

    @cached_property
    def hosts(self) -> frozenset[Authority]:
        """The names under which we answer."""
        return allowed_hosts(self.host, self.port, self.allow_hosts, behind_proxy=self.behind_proxy)

    @cached_property
    def security_headers(self) -> dict[str, str]:
        """Headers of every answer."""
        hsts = self.tls and not is_loopback(self.host)
        return SECURITY_HEADERS | ({"strict-transport-security": _HSTS} if hsts else {})

    def find_refusal(self, headers: Headers, *, is_page: bool, changes_state: bool) -> Refusal | None:
        """Judge where a request is sent to and where it comes from.

        Parameters
        ----------
        headers
            The request's.
        is_page
            Whether the path is one that people may follow a link to from elsewhere.
        changes
            Whether the request changes something (POST), so that it must tell its origin.

        Returns
        -------
        Refusal or None
            None if the request may go on.
        """
        host_headers = headers.getlist("host")
        host = Authority.parse(host_headers[0]) if len(host_headers) == 1 else None
        if host is None:
            return Refusal(400, "The request has no usable Host header.")
        host = host.with_default_port(self.scheme)
        if host not in self.hosts and Authority(host.name, None) not in self.hosts:
            return Refusal(421, "This host is not served here.", f"If it should be: --allow-host {host.name}")
        return self._check_origin(headers, host, required=changes_state) or _check_fetch_metadata(
            headers, is_page=is_page
        )

    def _check_origin(self, headers: Headers, host: Authority, *, required: bool) -> Refusal | None:
        origins = headers.getlist("origin")
        if not origins and not required:
            return None
        if len(origins) == 1 and parse_origin(origins[0]) == (self.scheme, host):
            return None
        hint = "A proxy must pass the browser's Host header on unchanged." if self.behind_proxy else ""
        return Refusal(403, "The request does not come from this dashboard's own page.", hint)


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
