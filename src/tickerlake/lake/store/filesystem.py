"""A store as a file system that only reads, for libraries that want one (DuckDB, by fsspec)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import fsspec

from tickerlake.lake.store.base import Store

_BLOCK_BYTES: Final = 4 << 20


class StoreFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """The objects of a store, as ``lake://key``.

    Parameters
    ----------
    store
        Where they are.
    size
        Tells the length of an object by its key, as far as that is known: these need not be asked for.
    """

    protocol = "lake"
    cachable = False

    def __init__(self, store: Store, find_size: Callable[[str], int | None]) -> None:
        super().__init__()
        self._store = store
        self._find_size = find_size

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return length and type of an object."""
        key = self._key(path)
        size = self._find_size(key)
        if size is None:
            object_info = self._store.stat(key)
            if object_info is None:
                raise FileNotFoundError(path)
            size = object_info.size
        return {"name": path, "size": size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the one object of that name; folders are not listed."""
        entry = self.info(path)
        return [entry if detail else entry["name"]]

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path itself: no pattern is understood."""
        return [path]

    def modified(self, path: str) -> datetime:
        """Return the same for all: no object ever changes."""
        return datetime(1970, 1, 1, tzinfo=UTC)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> Any:
        if mode != "rb":
            raise OSError("This file system only reads.")
        size = self.info(path)["size"]
        return _StoreFile(self, path, mode, block_size or _BLOCK_BYTES, size=size)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return a part of an object."""
        return self._store.read_range(self._key(path), start, end - start)

    def _key(self, path: str) -> str:
        return str(path).removeprefix("lake:").lstrip("/")


class _StoreFile(fsspec.spec.AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        file_system: StoreFileSystem = self.fs
        return file_system.read_range(self.path, start, end)
