"""A store as a read-only file system, for libraries that need one (DuckDB, by fsspec)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import fsspec

from tickerlake.lake.store.base import ReadableStore

_BLOCK_BYTES: Final = 4 << 20
"""Bytes per request: few requests for a column, little waste for a footer."""


class StoreFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """The objects of a store, as ``lake://key``.

    Parameters
    ----------
    store
        The store.
    find_size
        Returns the size of the object with a key if it is known, which saves a request.
    """

    protocol = "lake"
    cachable = False

    def __init__(self, store: ReadableStore, find_size: Callable[[str], int | None]) -> None:
        super().__init__()
        self._store = store
        self._find_size = find_size

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return size and type of an object."""
        key = self._key(path)
        size = self._find_size(key)
        if size is None:
            object_info = self._store.stat(key)
            if object_info is None:
                raise FileNotFoundError(path)
            size = object_info.size
        return {"name": path, "size": size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the object with that key; folders are not listed."""
        entry = self.info(path)
        return [entry if detail else entry["name"]]

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path itself: patterns are not supported."""
        return [path]

    def modified(self, path: str) -> datetime:
        """Return the same time for all: objects never change."""
        return datetime(1970, 1, 1, tzinfo=UTC)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        if mode != "rb":
            raise OSError("This file system is read-only.")
        size = self.info(path)["size"]
        return _StoreFile(self, path, mode, block_size or _BLOCK_BYTES, size=size)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return a range of an object."""
        return self._store.read_range(self._key(path), start, end - start)

    def _key(self, path: str) -> str:
        return str(path).removeprefix("lake:").lstrip("/")


class _StoreFile(fsspec.spec.AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        file_system: StoreFileSystem = self.fs
        return file_system.read_range(self.path, start, end)
