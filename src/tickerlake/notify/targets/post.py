"""A safe HTTP POST: checked address, verified TLS, no redirects, no proxies, limits on time and size."""

import contextlib
import email.utils
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from tickerlake import clock
from tickerlake.notify.targets import DeliveryRefused, TargetUnreachable
from tickerlake.notify.targets.address import Endpoint, is_permitted
from tickerlake.notify.targets.network import Deadline, Network

_TRANSIENT_STATUSES: Final = {408, 425, 429}
_MAX_ADDRESSES: Final = 4
"""Each address gets half of the remaining time to connect; with more, the last would get less than 0.4 s."""

_MAX_RETRY_AFTER_S: Final = 3600.0
"""Beyond any useful wait: notifications are given up earlier. Bounds the numbers that a receiver can send."""

_DEFAULT_HEADERS: Final = {
    "Content-Type": "application/json",
    "User-Agent": "tickerlake",
    "Connection": "close",
}


def post(
    name: str,
    endpoint: Endpoint,
    body: bytes,
    headers: Mapping[str, str],
    network: Network,
    now_ns: Callable[[], int] = clock.now_ns,
) -> None:
    """Post JSON; return if the response is 2xx.

    Parameters
    ----------
    name
        The name of the target, for errors: the URL may be a secret and is never shown.
    endpoint, body, headers
        The URL, the document, and headers in addition to the default ones.
    network
        Name resolution, connections and timeouts.
    now_ns
        The wall clock, for a ``Retry-After`` that is a date.

    Raises
    ------
    TargetUnreachable
        If there is no response, or it is 408, 425, 429 or 5xx.
    DeliveryRefused
        If the response is anything else, the certificate is invalid, or the address is not permitted.
    """
    addresses = _permitted_addresses(name, endpoint, network)
    all_headers = {"Host": endpoint.authority, **_DEFAULT_HEADERS, **headers}
    with Deadline(network.total_timeout_s) as deadline:
        try:
            status, retry_after = _exchange(addresses, endpoint, body, all_headers, network, deadline)
        except ssl.SSLCertVerificationError as error:
            raise DeliveryRefused(
                f"The certificate of {name} is not valid: {error.verify_message}.",
                "Check the host in its URL and its certificate.",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            # not chained: the receiver's response may contain its URL
            what = _timeout_reason(network) if deadline.has_passed else _error_reason(error)
            raise TargetUnreachable(f"{name} cannot be reached: {what}.", "Check that it is up.") from None
        if deadline.has_passed:
            # the shutdown looked like the end of the headers: the response is incomplete
            raise TargetUnreachable(
                f"{name} cannot be reached: {_timeout_reason(network)}.", "Check that it is up."
            )
    _check_status(name, status, retry_after, now_ns)


def _permitted_addresses(name: str, endpoint: Endpoint, network: Network) -> list[str]:
    try:
        addresses = network.resolve(endpoint.host, endpoint.port)
    except (OSError, UnicodeError):
        raise TargetUnreachable(
            f"The host of {name} cannot be resolved.", "Check its URL and the DNS."
        ) from None
    if not addresses:
        raise TargetUnreachable(f"The host of {name} has no address.", "Check its URL and the DNS.")
    if not all(is_permitted(address, allow_private=endpoint.allow_private) for address in addresses):
        raise DeliveryRefused(
            f"The host of {name} has an address that is not permitted; nothing was sent.",
            "A receiver in a private network needs allow_private = true."
            if not endpoint.allow_private
            else "Link-local and metadata addresses are never permitted.",
        )
    return addresses[:_MAX_ADDRESSES]


def _exchange(
    addresses: list[str],
    endpoint: Endpoint,
    body: bytes,
    headers: Mapping[str, str],
    network: Network,
    deadline: Deadline,
) -> tuple[int, str | None]:
    with contextlib.ExitStack() as stack:
        plain = _connect_any(addresses, endpoint.port, network)
        stack.callback(plain.close)
        deadline.add(plain)
        # a fallback: the deadline is earlier
        plain.settimeout(deadline.remaining_s() + 1)
        stream: socket.socket = plain
        if endpoint.scheme == "https":
            stream = network.tls_context().wrap_socket(plain, server_hostname=endpoint.host)
            stack.callback(stream.close)
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
        # it must not connect itself, to an unchecked address
        connection.auto_open = 0
        connection.sock = stream
        connection.request("POST", endpoint.path, body, dict(headers))
        # the body is not read: it does not matter, and it can be endless
        reply = stack.enter_context(connection.getresponse())
        return reply.status, reply.getheader("Retry-After")


def _connect_any(addresses: list[str], port: int, network: Network) -> socket.socket:
    end_s = clock.monotonic_s() + network.connect_timeout_s
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            left_s = (end_s - clock.monotonic_s()) / 2
            return network.connect(address, port, max(left_s, 0.001))
    return network.connect(addresses[-1], port, max(end_s - clock.monotonic_s(), 0.001))


def _check_status(name: str, status: int, retry_after: str | None, now_ns: Callable[[], int]) -> None:
    if 200 <= status < 300:
        return
    if status in _TRANSIENT_STATUSES or status >= 500:
        wait_s = _parse_retry_after_s(retry_after, now_ns)
        raise TargetUnreachable(f"{name} returned {status}.", "It may recover.", retry_after_s=wait_s)
    if 300 <= status < 400:
        raise DeliveryRefused(f"{name} returned {status}.", "Redirects are not followed: use the final URL.")
    raise DeliveryRefused(f"{name} returned {status}.", "Check its URL and what it accepts.")


def _parse_retry_after_s(retry_after: str | None, now_ns: Callable[[], int]) -> float:
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _MAX_RETRY_AFTER_S)
    try:
        left_s = email.utils.parsedate_to_datetime(text).timestamp() - now_ns() / 1e9
    except (ValueError, OverflowError):
        return 0.0
    return min(max(left_s, 0.0), _MAX_RETRY_AFTER_S)


def _timeout_reason(network: Network) -> str:
    return f"no answer within {network.total_timeout_s:g} s"


def _error_reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
