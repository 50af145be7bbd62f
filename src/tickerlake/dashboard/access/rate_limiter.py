"""What counts as one client, and rate limits by client: token buckets in bounded memory."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tickerlake import clock

MAX_CONNECTIONS_PER_CLIENT: Final = 64
"""Some ten browsers. To keep others out takes sixteen addresses, as 1,000 connections may be open."""
MAX_CLIENTS: Final = 10_000
"""Some megabytes of buckets; a network that evicts others has spent a request on each."""


class RateLimiter:
    """One token bucket per client.

    Parameters
    ----------
    rate_per_s
        Tokens added per second.
    burst
        Capacity of a bucket.
    max_clients
        Buckets to keep; the least recently used one is evicted first.
    monotonic_s
        The clock.
    """

    def __init__(
        self,
        rate_per_s: float,
        burst: int,
        max_clients: int = MAX_CLIENTS,
        monotonic_s: Callable[[], float] = clock.monotonic_s,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._max_clients = max_clients
        self._monotonic_s = monotonic_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def acquire(self, client: str) -> float:
        """Consume one token and return 0, or return the seconds until there is one."""
        now_s = self._monotonic_s()
        tokens, since_s = self._buckets.get(client, (float(self._burst), now_s))
        tokens = min(tokens + (now_s - since_s) * self._rate_per_s, self._burst)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._rate_per_s
        self._buckets[client] = (tokens if wait_s else tokens - 1, now_s)
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return wait_s


def client_key(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    return _prefix(address, 32)


def network_of(address: str) -> str:
    """Return the network whose hosts are likely to be neighbors: /24 of IPv4, /64 of IPv6."""
    return _prefix(address, 24)


def _prefix(address: str, ipv4_length: int) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
        parsed = parsed.ipv4_mapped
    bits = 32 - ipv4_length
    return str(ipaddress.IPv4Address(int(parsed) >> bits << bits))
