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
from collections.abc import Iterator, Mapping
from pathlib import Path

from tickerlake import clock, failpoints
from tickerlake.durable import fsync_dir
from tickerlake.errors import ObjectExists, ObjectMissing, StoreError, StoreUnavailable, TickerlakeError
from tickerlake.lake.store.base import TEMP_FOLDER, ObjectInfo, check_deletable, check_key

_DAY_NS = 86_400_000_000_000
_NO_SPACE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PERMISSION_ERRNOS = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_HARD_LINK_ERRNOS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_TRANSIENT_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT}
_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]


class LocalStore:
    """A store in the folder ``root``, which is created if it does not exist."""

    def __init__(self, root: Path) -> None:
        self._root = str(root.absolute())
        self._temp = f"{self._root}/{TEMP_FOLDER}"
        self._durable_folders: set[str] = set()  # folders whose own entry is durable
        self._durable_folders_lock = threading.Lock()
        try:
            Path(self._temp).mkdir(parents=True, exist_ok=True)
            fsync_dir(str(root.absolute().parent))
            self._remove_leftovers()
        except OSError as error:
            raise _translate(error, self._root) from error

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return self._root

    @property
    def local_path(self) -> Path:
        """The folder."""
        return Path(self._root)

    @property
    def bigquery_uri(self) -> None:
        """None: BigQuery cannot read local files."""

    @property
    def listing_costs(self) -> bool:
        """False."""
        return False

    def service_info(self) -> None:
        """Return None."""

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
        temp = f"{self._temp}/{_HOST}.{os.getpid()}.{clock.nonce()}"
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
            self._check_mounted()
            if error.errno == errno.ENOENT:
                raise StoreUnavailable(
                    f"{path} was not written: its folder was removed.", "The next attempt creates it again."
                ) from error
            raise _translate(error, path) from error

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        path = self._path(key)
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise _translate(error, path) from error

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a range of an object."""
        path = self._path(key)
        try:
            with Path(path).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            raise _translate(error, path) from error

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object's properties."""
        path = Path(self._path(key))
        try:
            file_stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._check_mounted()
            return None
        except OSError as error:
            raise _translate(error, str(path)) from error
        return ObjectInfo(key, file_stat.st_size, None, None) if stat.S_ISREG(file_stat.st_mode) else None

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects under ``prefix``, in order."""
        folder, separator, _ = prefix.rpartition("/")
        if folder:
            check_key(folder)
        self._check_mounted()
        try:
            yield from self._walk(folder + separator, prefix, start_at)
        except OSError as error:
            raise _translate(error, self._root) from error

    def delete(self, key: str) -> None:
        """Delete an object that can be computed again."""
        check_deletable(key)
        path = self._path(key)
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise _translate(error, path) from error

    def replace_damaged(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Replace a damaged object, or with None delete it."""
        del metadata
        path = self._path(key)
        temp = f"{self._temp}/{_HOST}.{os.getpid()}.{clock.nonce()}"
        try:
            Path(path).stat()
            if data is None:
                Path(path).unlink()
            else:
                _write_synced(temp, data)
                Path(temp).replace(path)
            fsync_dir(path.rpartition("/")[0])
        except OSError as error:
            _unlink(temp)
            raise _translate(error, path) from error

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def _walk(self, folder: str, prefix: str, start_at: str) -> Iterator[ObjectInfo]:
        children: list[tuple[str, os.DirEntry[str]]] = []
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    # keys sort with the slash included: "a.b" comes before "a/b"
                    key = f"{folder}{entry.name}/" if is_folder else folder + entry.name
                    if not key.startswith(prefix) and not (is_folder and prefix.startswith(key)):
                        continue
                    if key < start_at and not (is_folder and start_at.startswith(key)):
                        continue
                    if key != f"{TEMP_FOLDER}/" and (is_folder or entry.is_file()):
                        children.append((key, entry))
        except (FileNotFoundError, NotADirectoryError):
            return
        children.sort(key=lambda item: item[0])
        for key, entry in children:
            if key.endswith("/"):
                yield from self._walk(key, prefix, start_at)
            else:
                yield ObjectInfo(key, entry.stat().st_size, None, None)

    def _path(self, key: str) -> str:
        check_key(key)
        return f"{self._root}/{key}"

    def _ensure_folder(self, folder: str) -> None:
        if folder in self._durable_folders or folder == self._root:
            return
        parent = folder.rpartition("/")[0]
        self._ensure_folder(parent)
        Path(folder).mkdir(exist_ok=True)
        # another process may have just created it, so sync even if it existed
        fsync_dir(parent)
        with self._durable_folders_lock:
            self._durable_folders.add(folder)

    def _check_mounted(self) -> None:
        # an unmounted disk leaves an empty folder behind, which must not be taken for an empty lake
        if not Path(self._temp).is_dir():
            raise StoreUnavailable(
                f"{self._root} no longer has the folder {TEMP_FOLDER}.", "Check that the disk is mounted."
            )

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
        with os.scandir(self._temp) as entries:
            for entry in entries:
                host, _, rest = entry.name.partition(".")
                pid = rest.partition(".")[0]
                with contextlib.suppress(FileNotFoundError):
                    if clock.now_ns() - entry.stat().st_mtime_ns > _DAY_NS or (
                        host == _HOST and pid.isdecimal() and not _is_alive(int(pid))
                    ):
                        _unlink(entry.path)


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


def _translate(error: OSError, path: str) -> TickerlakeError:
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOENT, errno.EISDIR}:
        return ObjectMissing(f"{path} does not exist.")
    if error.errno in _NO_SPACE_ERRNOS:
        return StoreUnavailable(
            f"No space left to write {path}: {reason}.",
            "Free disk space; the next attempt continues from there.",
        )
    if error.errno in _TRANSIENT_ERRNOS:
        return StoreUnavailable(
            f"{path} is unavailable: {reason}.", "Check the disk; the next attempt continues from there."
        )
    if error.errno in _PERMISSION_ERRNOS:
        return StoreError(f"No permission for {path}: {reason}.", "Grant this user write permission.")
    return StoreError(f"{path} cannot be used: {reason}.", "Check the path and the disk.")
