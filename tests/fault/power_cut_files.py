"""The recorded process: files are replaced and dead letters appended, and each is noted once it is durable.

``python -m fault.power_cut_files DISK NOTES OMITTED``: ``OMITTED`` is a kind of sync that is not done:
``file``, ``folder``, ``parent`` (of a new folder), or ``none``.
"""

import os
import sys
from functools import partial
from pathlib import Path

from support.power_cut import omit_syncs
from tickerlake.durable import atomic_write, atomic_write_bytes, make_folder
from tickerlake.notify.dead_letters import DeadLetters

VERSIONS = [b"version %d " % number * 50 for number in range(5)]
LETTERS = [b'{"letter":%d}' % number for number in range(8)]


def _is_omitted(omitted: str, disk: Path, path: Path) -> bool:
    if not path.is_dir():
        return omitted == "file"
    return omitted == ("parent" if path in {disk, disk / "new"} else "folder")


def main() -> None:
    disk, omitted = Path(sys.argv[1]), sys.argv[3]
    notes = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if omitted != "none":
        omit_syncs(partial(_is_omitted, omitted, disk))
    make_folder(disk / "files")
    for number, version in enumerate(VERSIONS):
        atomic_write_bytes(disk / "files" / "state", version)
        with atomic_write(disk / "files" / f"version-{number}", overwrite=False) as draft:
            draft.write_bytes(version)
        os.write(notes, b"version")
    letters = DeadLetters(disk / "new" / "letters", "ops")
    for number, letter in enumerate(LETTERS):
        if number == 3:
            letters.rotate()
        if number == 5:  # another process
            letters = DeadLetters(disk / "new" / "letters", "ops")
        letters.append_raw([letter])
        os.write(notes, b"letter")


if __name__ == "__main__":
    main()
