"""Object stores: a folder, Cloud Storage, or memory, behind one protocol."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tickerlake.errors import UsageError
from tickerlake.lake.store.base import ObjectInfo, Store
from tickerlake.lake.store.local import LocalStore
from tickerlake.lake.store.memory import MemoryStore

__all__ = ["LocalStore", "MemoryStore", "ObjectInfo", "Store", "open_store"]


def open_store(uri: str) -> Store:
    """Open the store at a URI.

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
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if not uri:
            raise UsageError("The lake's URI is empty.", "Specify a folder or gs://bucket/prefix.")
        return LocalStore(Path(uri))
    if scheme == "gs":
        # importing the client takes half a second, which a local lake need not pay
        from tickerlake.lake.store.gcs import GcsStore

        bucket, _, prefix = rest.partition("/")
        return GcsStore(bucket, prefix)
    if scheme == "memory":
        return MemoryStore(rest)
    if scheme == "file":
        parts = urlsplit(uri)
        if parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
            return LocalStore(Path(unquote(parts.path)))
    raise UsageError(f"{uri!r} is not the URI of a lake.", "Specify a folder or gs://bucket/prefix.")
