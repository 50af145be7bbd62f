"""TCP ports of this machine: which are free, and who uses one that is not."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_PROC: Final = Path("/proc")
_EPHEMERAL_RANGE: Final = _PROC / "sys/net/ipv4/ip_local_port_range"
_LOWEST: Final = 10_000
_ATTEMPTS: Final = 50
_LISTENING: Final = "0A"  # the state in /proc/net/tcp


def free_port() -> int:
    """Return an unused loopback port.

    Preferably one that the system does not give to outgoing connections: these could take it before it is
    bound, or while a server that had it restarts.
    """
    generator = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = generator.randrange(_LOWEST, max(_lowest_ephemeral(), _LOWEST + 1))
        if is_port_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int) -> bool:
    """Whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        # as servers do: lingering connections of a stopped one do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def port_user(port: int) -> str:
    """Describe the process that listens on a port, such as ``process 4711 (nginx)``."""
    inodes = set(_listening_inodes(port))
    for process in _PROC.glob("[0-9]*") if inodes else ():
        try:
            if any(link.is_symlink() and str(link.readlink()) in inodes for link in process.glob("fd/*")):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:
            continue  # it has ended, or belongs to somebody else
    return "another program"


def _lowest_ephemeral() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (_PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue  # not Linux
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[9]}]"
