"""A store in a folder.

An object is written under a temporary name, synced, and then hard-linked to its key: the link fails if
the key exists, and a reader that sees the key sees the complete object.
"""

import contextlib
import errno
import os
import re
import socket
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tickerlake import clock, failpoints
from tickerlake.durable import fsync_dir, make_folder
from tickerlake.errors import ObjectExists, StoreError, StoreUnavailable
from tickerlake.lake.store.base import TEMP_FOLDER, check_deletable
from tickerlake.lake.store.local_reader import LocalReader, translate_error

_DAY_NS: Final = 86_400_000_000_000
_NO_HARD_LINK_ERRNOS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_HOST: Final = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]
_TEMP_NAME: Final = re.compile(r"([A-Za-z0-9-]{0,64})\.(\d{1,10})\.[0-9a-f]{16}")
"""Host, process and nonce: other names in the folder are not ours."""


class LocalStore(LocalReader):
    """A store in the folder ``root``, which is created if it does not exist."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._temp, self._mark = f"{self._root}/{TEMP_FOLDER}", TEMP_FOLDER
        self._durable_folders: set[str] = set()  # folders whose own entry is durable
        self._durable_folders_lock = threading.Lock()
        try:
            make_folder(Path(self._root))
            with contextlib.suppress(FileExistsError):
                Path(self._temp).mkdir()
            self.check_no_links(self._temp)
            self._remove_leftovers()
        except OSError as error:
            raise translate_error(error, self._root) from error

    def create(
        self,
        key: str,
        data: bytes,
        *,
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> None:
        """Store an object unless there is one."""
        path = self._path(key)
        folder = path.rpartition("/")[0]
        temp = self._temp_path()
        try:
            self._ensure_folder(folder)
            _write_synced(temp, data)
            failpoints.reach("local.written")
            try:
                self._link(temp, path)
                failpoints.reach("local.linked")
            finally:
                _unlink(temp)
                # also if the key existed: the caller will build on that object, and the process
                # that linked it may have died before it synced the folder
                fsync_dir(folder)
        except OSError as error:
            _unlink(temp)
            with self._durable_folders_lock:
                self._durable_folders.clear()
            self.check_mounted()
            if error.errno == errno.ENOENT:
                raise StoreUnavailable(
                    f"{path} was not written: its folder was removed.", "The next attempt creates it again."
                ) from error
            raise translate_error(error, path) from error

    def delete(self, key: str) -> None:
        """Delete an object that can be computed again."""
        check_deletable(key)
        path = self._path(key)
        try:
            self.check_no_links(path.rpartition("/")[0])
            Path(path).unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate_error(error, path) from error

    def replace_damaged(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Replace a damaged object, or with None delete it."""
        del metadata
        path = self._path(key)
        temp = self._temp_path()
        try:
            self.check_no_links(path.rpartition("/")[0])
            os.lstat(path)
            if data is None:
                Path(path).unlink()
            else:
                _write_synced(temp, data)
                Path(temp).replace(path)
            fsync_dir(path.rpartition("/")[0])
        except OSError as error:
            _unlink(temp)
            raise translate_error(error, path) from error

    def _ensure_folder(self, folder: str) -> None:
        if folder in self._durable_folders or folder == self._root:
            return
        parent = folder.rpartition("/")[0]
        self._ensure_folder(parent)
        Path(folder).mkdir(exist_ok=True)
        self.check_no_links(folder)
        # another process may have just created it, so sync even if it existed
        fsync_dir(parent)
        with self._durable_folders_lock:
            self._durable_folders.add(folder)

    def _temp_path(self) -> str:
        return f"{self._temp}/{_HOST}.{os.getpid()}.{clock.nonce()}"

    def _link(self, temp: str, path: str) -> None:
        try:
            os.link(temp, path)
        except FileExistsError as error:
            raise ObjectExists(f"{path} exists already.") from error
        except OSError as error:
            if error.errno in _NO_HARD_LINK_ERRNOS:
                raise StoreError(
                    f"The file system of {self._root} does not support hard links ({error.strerror}), "
                    "so creating a segment could overwrite another.",
                    "Put the lake on a local file system such as ext4, XFS, Btrfs or APFS, or use gs://.",
                ) from error
            raise

    def _remove_leftovers(self) -> None:
        """Remove temporary files of killed processes; those of other hosts after a day."""
        folder = os.open(self._temp, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for name in os.listdir(folder):  # noqa: PTH208 - of the descriptor, which is no link
                if not (match := _TEMP_NAME.fullmatch(name)):
                    continue
                with contextlib.suppress(OSError):
                    file_stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    is_old = clock.now_ns() - file_stat.st_mtime_ns > _DAY_NS
                    is_dead = match[1] == _HOST and not _is_alive(int(match[2]))
                    if stat.S_ISREG(file_stat.st_mode) and (is_old or is_dead):
                        os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)


def _write_synced(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        remaining = memoryview(data)
        while remaining:
            remaining = remaining[os.write(descriptor, remaining) :]
        os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)  # network file systems report a full disk only on close


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is alive, and belongs to another user
    return True
