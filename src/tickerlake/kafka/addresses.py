"""Addresses of brokers, checked before a client exists."""

import re

from tickerlake.errors import UsageError

_LOOPBACK_SERVER = re.compile(
    r"(?:PLAINTEXT://)?(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?", re.IGNORECASE
)
_SERVER = re.compile(
    r"(?:[A-Za-z_]+://)?(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s\[\]:/@,\x00-\x1f\x7f\ud800-\udfff]+)(?::(?P<port>[0-9]{1,5}))?"
)


def check_servers(servers: str) -> None:
    """Raise an error for what is no list of addresses.

    Raises
    ------
    UsageError
        If one of them is invalid; never with a password.
    """
    if not servers.strip(" ,"):
        raise UsageError("There is no address of a broker.", "Name it: -b HOST:PORT.")
    # errors and reports show the address
    if "@" in servers:
        raise UsageError(
            "The address of the brokers has a user name or a password, which Kafka does not read there.",
            "Write HOST:PORT. Set -X sasl.username=…, and the password in the environment: "
            "TICKERLAKE_KAFKA__PROPERTIES__SASL_PASSWORD.",
        )
    for server in filter(None, map(str.strip, servers.split(","))):
        match = _SERVER.fullmatch(server)
        if not match or int(match["port"] or 1) not in range(1, 1 << 16):
            raise UsageError(f"{server[:80]!r} is not an address of a broker.", "Write HOST:PORT.")


def is_loopback(server: str) -> bool:
    """Return whether an address is one of this machine."""
    return not server.strip() or _LOOPBACK_SERVER.fullmatch(server.strip()) is not None
