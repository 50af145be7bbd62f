"""Reverse proxies that are trusted to name their clients in ``X-Forwarded-For``.

Each proxy appends the address that it got the request from. The client writes the beginning, and can forge
it: only what trusted proxies appended counts, so the header is read from its end.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from tickerlake.errors import UsageError

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAX_HOPS: Final = 16
"""Of trusted proxies in a row; a header of 16 KiB could name thousands."""
_FORWARDED_ADDRESS: Final = re.compile(
    r"\[(?P<bracketed>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?"
    r"|(?P<ipv4>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::[0-9]{1,5})?"
    r"|(?P<ipv6>[0-9A-Fa-f:.]+)"
)
_HINT: Final = "Name the address that the proxy connects from: 127.0.0.1, 10.0.0.0/8, or several with commas."


class TrustedProxies:
    """The addresses of trusted proxies; false if there are none.

    Parameters
    ----------
    texts
        Addresses and networks in CIDR notation; each text may hold several, separated by commas.

    Raises
    ------
    UsageError
        If one is neither, or is a network of all addresses.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._networks = tuple(_parse_network(part.strip()) for text in texts for part in text.split(","))

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        parsed = _parse_address(address)
        return parsed is not None and self._contains(parsed)

    def find_client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address of the client that a request comes from.

        Parameters
        ----------
        peer
            Address of the other end of the connection.
        forwarded
            The values of all ``X-Forwarded-For`` headers, in order.

        Returns
        -------
        str
            The last address that is not a trusted proxy's. If an entry is not an address, the proxy that
            appended it counts as the client.
        """
        client = _parse_address(peer) if self._networks else None
        if client is None:
            return peer
        entries = ",".join(forwarded).rsplit(",", _MAX_HOPS)[-_MAX_HOPS:] if forwarded else []
        while entries and self._contains(client):
            entry = parse_forwarded(entries.pop())
            if entry is None:
                break
            client = entry
        return str(client)

    def _contains(self, address: _Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def parse_forwarded(text: str) -> _Address | None:
    """Parse an entry of ``X-Forwarded-For``: an address, with or without a port; None for anything else."""
    match = _FORWARDED_ADDRESS.fullmatch(text.strip(" \t"))
    return None if match is None else _parse_address(next(filter(None, match.groups())))


def _parse_address(text: str) -> _Address | None:
    try:
        # the zone of a link-local address is a name of this machine's
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _parse_network(text: str) -> _Network:
    try:
        address = _parse_address(text)
        network = _unmapped(ipaddress.ip_network(text if address is None else str(address)))
    except ValueError as error:
        reason = "sets bits behind its prefix" if "host bits" in str(error) else "is not an IP address"
        raise UsageError(f"--behind-proxy {text!r} {reason}.", _HINT) from error
    if network.prefixlen == 0:
        raise UsageError(f"--behind-proxy {text!r} would trust every address.", _HINT)
    return network


def _unmapped(network: _Network) -> _Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
