"""Host names, as in ``Host`` and ``Origin`` headers and on the command line."""

import ipaddress
import re
from typing import Final, NamedTuple, Self

_AUTHORITY: Final = re.compile(
    r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?)\.?)(?::([0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """A host and its port (RFC 9110).

    Attributes
    ----------
    name
        In lower case; an IPv6 address in its shortest form, without brackets.
    port
        None if not specified.
    """

    name: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse ``name``, ``name:port``, ``[ipv6]`` or ``[ipv6]:port``; return None for anything else."""
        match = _AUTHORITY.fullmatch(text.lower())
        if match is None:
            return None
        ipv6, name, digits = match.groups()
        port = None if digits is None else int(digits)
        if port is not None and not 0 < port < 65536:
            return None
        if ipv6 is None:
            return cls(name, port)
        try:
            return cls(str(ipaddress.IPv6Address(ipv6)), port)
        except ValueError:
            return None

    def with_default_port(self, scheme: str) -> Self:
        """Fill in the port that the scheme implies."""
        return self if self.port is not None else self._replace(port=_DEFAULT_PORTS[scheme])


def parse_origin(text: str) -> tuple[str, Authority] | None:
    """Parse an ``Origin`` header into the scheme and the host with its port; None if it has none."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    authority = Authority.parse(rest) if separator and scheme in _DEFAULT_PORTS else None
    return None if authority is None else (scheme, authority.with_default_port(scheme))


def is_loopback(host: str) -> bool:
    """Whether a host to bind is certainly loopback; names other than localhost are not resolved."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
