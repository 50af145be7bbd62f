"""Reads a store in a folder: it creates, deletes and syncs nothing, and follows no link below the folder."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tickerlake.errors import LinkedObject, ObjectMissing, StoreError, StoreUnavailable, TickerlakeError
from tickerlake.lake.store.base import LAKE_KEY, TEMP_FOLDER, ObjectInfo, check_key

_NO_SPACE_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PERMISSION_ERRNOS: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_TRANSIENT_ERRNOS: Final = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A named pipe must not make a reader wait."""


class LocalReader:
    """The store in the folder ``root``, for reading; the folder itself can be a link."""

    def __init__(self, root: Path) -> None:
        self._root = str(root.absolute())
        self._folders_without_links = {self._root}
        # an unmounted disk leaves an empty folder behind, which must not be taken for an empty lake
        self._mark = next(
            (name for name in (TEMP_FOLDER, LAKE_KEY) if os.path.lexists(f"{self._root}/{name}")), None
        )

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

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        path = self._path(key)
        try:
            with os.fdopen(self._open(path), "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise translate_error(error, path) from error

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a range of an object."""
        path = self._path(key)
        try:
            with os.fdopen(self._open(path), "rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            raise translate_error(error, path) from error

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object's properties."""
        path = self._path(key)
        try:
            self.check_no_links(path.rpartition("/")[0])
            file_stat = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            self.check_mounted()
            return None
        except OSError as error:
            raise translate_error(error, path) from error
        if stat.S_ISLNK(file_stat.st_mode):
            raise _linked(path)
        return ObjectInfo(key, file_stat.st_size, None, None) if stat.S_ISREG(file_stat.st_mode) else None

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects under ``prefix``, in order; links are among them, and fail when they are read."""
        folder, separator, _ = prefix.rpartition("/")
        if folder:
            check_key(folder)
        self.check_mounted()
        try:
            self.check_no_links(f"{self._root}{separator}{folder}")
            yield from self._walk(folder + separator, prefix, start_at)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise translate_error(error, self._root) from error

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def check_mounted(self) -> None:
        """Raise StoreUnavailable if what was in the folder at opening has gone."""
        if self._mark and not os.path.lexists(f"{self._root}/{self._mark}"):
            raise StoreUnavailable(
                f"{self._root} no longer has {self._mark}.", "Check that the disk is mounted."
            )

    def check_no_links(self, folder: str) -> None:
        """Raise LinkedObject if a folder is a link, or lies in one, below the root."""
        if folder in self._folders_without_links:
            return
        self.check_no_links(folder.rpartition("/")[0])
        if stat.S_ISLNK(os.lstat(folder).st_mode):
            raise _linked(folder)
        self._folders_without_links.add(folder)

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
                    if key in {TEMP_FOLDER, f"{TEMP_FOLDER}/"}:
                        continue
                    if is_folder or entry.is_symlink() or entry.is_file():
                        children.append((key, entry))
        except (FileNotFoundError, NotADirectoryError):
            return
        children.sort(key=lambda item: item[0])
        for key, entry in children:
            if key.endswith("/"):
                yield from self._walk(key, prefix, start_at)
            else:
                yield ObjectInfo(key, entry.stat(follow_symlinks=False).st_size, None, None)

    def _open(self, path: str) -> int:
        try:
            self.check_no_links(path.rpartition("/")[0])
            descriptor = os.open(path, _OPEN_FLAGS)
        except NotADirectoryError as error:
            raise ObjectMissing(f"{path} does not exist.") from error
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EMLINK}:
                raise _linked(path) from error
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ObjectMissing(f"{path} does not exist: this is not a file.")
        return descriptor

    def _path(self, key: str) -> str:
        check_key(key)
        return f"{self._root}/{key}"


def _linked(path: str) -> LinkedObject:
    return LinkedObject(
        f"{path} is a symbolic link, which is not followed.",
        "Replace it by what it leads to: a lake holds files and folders only.",
    )


def translate_error(error: OSError, path: str) -> TickerlakeError:
    """Return the error of a store for one of the operating system."""
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
        return StoreError(
            f"No permission for {path}: {reason}.",
            "Grant this user permission, or name another lake (--lake).",
        )
    return StoreError(f"{path} cannot be used: {reason}.", "Check the path and the disk.")
