"""Locks between processes on this machine; the system releases them when a process exits, even if killed."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count

import platformdirs

from tickerlake.errors import Fenced


@contextmanager
def hold_locks(names: Sequence[str]) -> Iterator[None]:
    """Hold a lock for each name on this machine, until the block or the process ends.

    Kafka fences a second run with the same files, but not one with only some of them.

    Raises
    ------
    Fenced
        If another process holds one of them.
    """
    folder = platformdirs.user_state_path("tickerlake") / "files"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for name in sorted(set(names)):
            file = stack.enter_context((folder / name).open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Fenced(
                    "Another process on this machine is writing one of these files to this topic.",
                    "Wait for it, or stop it.",
                ) from error
        yield


@contextmanager
def instance_slot(name: str) -> Iterator[int]:
    """Hold the lowest number of a name that no other process on this machine holds.

    A process that restarts after a crash usually gets the number that it had.
    """
    for number in count():
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_locks([f"{name}.{number}"]))
            except Fenced:
                continue
            yield number
            return
