"""Object stores: a folder, Cloud Storage, or memory, behind one protocol."""

from pathlib import Path
from urllib.parse import unquote

from tickerlake.errors import UsageError
from tickerlake.lake.store.base import ObjectInfo, ReadableStore, Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.local_reader import LocalReader
from tickerlake.lake.store.memory import MemoryStore

__all__ = [
    "LocalReader",
    "LocalStore",
    "MemoryStore",
    "ObjectInfo",
    "ReadableStore",
    "Store",
    "open_for_reading",
    "open_store",
]


def open_store(uri: str) -> Store:
    """Open the store at a URI for reading and writing; a folder is created.

    Parameters
    ----------
    uri
        ``gs://bucket/prefix``, a folder, ``file:///folder`` or ``memory://name``.

    Raises
    ------
    UsageError
        The URI is not understood.
    SetupError
        There are no credentials for Cloud Storage.
    StoreError
        The folder cannot be created or written.
    """
    folder = _local_folder(uri)
    return LocalStore(folder) if folder else _open_remote(uri)


def open_for_reading(uri: str) -> ReadableStore:
    """Open the store at a URI for reading: nothing is created, deleted or synced.

    Parameters
    ----------
    uri
        As for `open_store`.

    Raises
    ------
    UsageError
        The URI is not understood.
    SetupError
        There are no credentials for Cloud Storage.
    """
    folder = _local_folder(uri)
    return LocalReader(folder) if folder else _open_remote(uri)


def _local_folder(uri: str) -> Path | None:
    if not uri:
        raise UsageError("The lake's URI is empty.", "Specify a folder or gs://bucket/prefix.")
    if not uri.isascii() and uri.encode(errors="replace") != uri.encode(errors="ignore"):
        # it is stored in manifests, and part of names of groups
        raise UsageError(f"{uri!r} is not UTF-8.", "Specify a folder or gs://bucket/prefix.")
    path, host = uri, ""
    if uri.startswith("file://"):
        host, _, rest = uri.removeprefix("file://").partition("/")
        path = f"/{unquote(rest)}"
    elif "://" in uri:
        return None
    if "\0" in path or host not in {"", "localhost"}:
        raise _unknown(uri)
    return Path(path)


def _open_remote(uri: str) -> Store:
    scheme, _, rest = uri.partition("://")
    if scheme == "gs":
        # importing the client takes half a second, which a local lake need not pay
        from tickerlake.lake.store.gcs import GcsStore

        bucket, _, prefix = rest.partition("/")
        return GcsStore(bucket, prefix)
    if scheme == "memory":
        return MemoryStore(rest)
    raise _unknown(uri)


def _unknown(uri: str) -> UsageError:
    return UsageError(f"{uri!r} is not the URI of a lake.", "Specify a folder or gs://bucket/prefix.")
