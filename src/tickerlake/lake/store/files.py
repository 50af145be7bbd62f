"""A store as a file system that only reads, for libraries that want one (DuckDB, by fsspec)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import fsspec

from tickerlake.lake.store.base import Store

_BLOCK: Final = 4 << 20


class StoreFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]
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

    def __init__(self, store: Store, size: Callable[[str], int | None]) -> None:
        super().__init__()
        self._store = store
        self._size = size

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return length and type of an object."""
        key = self._key(path)
        size = self._size(key)
        if size is None:
            found = self._store.stat(key)
            if found is None:
                raise FileNotFoundError(path)
            size = found.size
        return {"name": path, "size": size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """Return the one object of that name; folders are not listed."""
        found = self.info(path)
        return [found if detail else found["name"]]

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
        return _StoreFile(self, path, mode, block_size or _BLOCK, size=size)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Return a part of an object."""
        return self._store.read_range(self._key(path), start, end - start)

    def _key(self, path: str) -> str:
        return str(path).removeprefix("lake:").lstrip("/")


class _StoreFile(fsspec.spec.AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        files: StoreFiles = self.fs
        return files.read_range(self.path, start, end)
