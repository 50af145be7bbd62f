"""Locks between the processes of this machine, which end with their holder, however that ends."""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count

import platformdirs

from tickerlake.errors import Fenced


@contextmanager
def hold_locks(names: Sequence[str]) -> Iterator[None]:
    """Hold a lock for each name on this machine, until the block or the process ends.

    Kafka fences a second run over the same files; it can't fence one over some of them.

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
                    "Another process on this machine writes one of these files to this topic.",
                    "Wait for it, or stop it.",
                ) from error
        yield


@contextmanager
def instance_slot(name: str) -> Iterator[int]:
    """Hold the first number that no other process of this machine holds for some work.

    A process that begins again after a crash gets the number that it had.
    """
    for number in count():
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_locks([f"{name}.{number}"]))
            except Fenced:
                continue
            yield number
            return
