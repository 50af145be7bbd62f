"""Files that survive a crash: synced, and either complete or absent under their name."""

import errno
import filecmp
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tickerlake import clock

_DISK_FULL_TEXTS: Final = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT))
_NO_HARD_LINK_ERRNOS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}


def is_disk_full(error: Exception) -> bool:
    """Whether an error is about a full disk: libraries wrap the system's error, but keep its text."""
    return any(text in str(error) for text in _DISK_FULL_TEXTS)


def fsync_dir(folder: str | Path) -> None:
    """Make the entries of a folder durable: files created, renamed or deleted in it."""
    _fsync(folder, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, and make their names durable.

    Raises
    ------
    OSError
        If one cannot be created.
    """
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    # another process may have just created it, so sync even if it existed
    fsync_dir(folder.parent)


@contextmanager
def atomic_write(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; if the block succeeds, the file is synced and gets its name.

    Parameters
    ----------
    path
        The final name.
    overwrite
        False to leave an existing file alone.

    Raises
    ------
    FileExistsError
        If `overwrite` is False and a file with other content exists.
    OSError
        If the file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{clock.nonce()}.tmp")
    try:
        draft.touch(exist_ok=False)
        yield draft
        _fsync(draft, os.O_RDWR)
        if overwrite:
            draft.replace(path)
        else:
            _link_or_rename(draft, path)
        fsync_dir(path.parent)
    finally:
        # an error here would hide the one that tells why the file was not written
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Replace a file's content; readers see either the old or the new content.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with atomic_write(path) as draft:
        draft.write_bytes(data)


def _link_or_rename(draft: Path, path: Path) -> None:
    # unlike a rename, a hard link never overwrites a file that another process has just created
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        if not filecmp.cmp(draft, path, shallow=False):
            raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINK_ERRNOS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        draft.rename(path)


def _fsync(path: str | Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
