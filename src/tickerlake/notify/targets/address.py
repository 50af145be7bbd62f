"""The addresses that a webhook may connect to: protection against server-side request forgery.

By default, only ``https`` to public addresses. ``allow_private`` also permits ``http`` and private addresses,
but never link-local ones, where clouds serve their metadata. A name is resolved once, all its addresses are
checked, and the connection goes to a checked address (`post.py`): DNS rebinding has no effect.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_BLOCKED_NETWORKS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "192.0.0.192/32",  # Oracle Cloud's metadata
        "168.63.129.16/32",  # Azure's wire server
        "fe80::/10",
        "fd00:ec2::254/128",  # Amazon's metadata
        "fd20:ce::254/128",  # Google's metadata
    )
)
_NON_PUBLIC_NETWORKS: Final = tuple(ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24"))
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")
_TEREDO: Final = ipaddress.IPv6Network("2001::/32")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
_IPV4_IN_LAST_BYTES: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
_ISATAP_INTERFACES: Final = (b"\0\0\x5e\xfe", b"\2\0\x5e\xfe")
_PRINTABLE: Final = re.compile(r"[!-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed URL. Its parts may be secret and are never shown."""

    scheme: str = field(repr=False)
    host: str = field(repr=False)
    port: int = field(repr=False)
    path: str = field(repr=False)
    allow_private: bool = False

    @classmethod
    def parse(cls, url: str, *, allow_private: bool = False) -> Self:
        """Parse and check a URL.

        Raises
        ------
        ValueError
            Says why the URL is rejected, without showing it.
        """
        if not _PRINTABLE.fullmatch(url):
            raise ValueError("has spaces, a backslash or non-ASCII characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        schemes = ("https", "http") if allow_private else ("https",)
        if parts.scheme not in schemes:
            raise ValueError(f"does not begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if not parts.hostname or "%" in parts.hostname or len(parts.hostname) > 253:
            raise ValueError("has no valid host")
        if "@" in parts.netloc:
            raise ValueError("has a user name or password")
        if port == 0:
            raise ValueError("has port 0")
        host = parts.hostname.rstrip(".")
        if _is_ip_address(host) and not is_permitted(host, allow_private=allow_private):
            raise ValueError("has an address that is not permitted; see allow_private")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, host, port or default, path, allow_private)

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == (443 if self.scheme == "https" else 80)
        return host if is_default else f"{host}:{self.port}"


def is_permitted(address: str, *, allow_private: bool) -> bool:
    """Return whether a webhook may connect to an IP address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    effective = _effective_address(parsed)
    reachable = [parsed, effective, *_embedded_addresses(parsed)]
    if any(_is_in(each, _BLOCKED_NETWORKS) or each.is_multicast or each.is_unspecified for each in reachable):
        return False
    return allow_private or _is_public(effective)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _effective_address(address: _IpAddress) -> _IpAddress:
    """Return the IPv4 address that is embedded in an IPv6 address; other addresses unchanged."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def _embedded_addresses(address: _IpAddress) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses to which a translator or tunnel may pass on what is sent to an address."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    packed = address.packed
    forms = [packed[12:]] if any(address in network for network in _IPV4_IN_LAST_BYTES) else []
    if packed[8:12] in _ISATAP_INTERFACES:
        forms.append(packed[12:])
    if address in _LOCAL_NAT64:
        # RFC 6052: where the address stands depends on the length of the prefix, and byte 8 is zero
        forms += [packed[6:8] + packed[9:11], packed[7:8] + packed[9:12], packed[9:13], packed[12:]]
    embedded = [ipaddress.IPv4Address(form) for form in forms]
    # 0.0.0.1 in ::1 is no address of IPv4
    embedded = [each for each in embedded if int(each) >= 1 << 24]
    return [*embedded, *(address.teredo or ())]


def _is_public(address: _IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        return address in _GLOBAL_V6 and address not in _TEREDO and address.is_global
    return address.is_global and not address.is_reserved and not _is_in(address, _NON_PUBLIC_NETWORKS)


def _is_in(address: _IpAddress, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
