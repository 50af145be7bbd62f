"""What the lake requires of an object store: create-only writes, reads and ordered listings."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import google_crc32c

from tickerlake.errors import ObjectExists, StoreError, StoreUnavailable

TEMP_FOLDER = ".tmp"
LAKE_KEY = "_lake.json"
"""The object that makes a folder or prefix a lake (`lake.format_version`)."""

_MAX_KEY_BYTES = 1024  # limit of Cloud Storage


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Properties of one object.

    Parameters
    ----------
    key
        Name of the object below the lake's root.
    size
        Length in bytes.
    metadata
        Object metadata as passed to ``create``. None: this store has none, read it from the object.
    crc32c
        Base64 of the big-endian checksum, as Cloud Storage writes it. None: not stored.
    """

    key: str
    size: int
    metadata: Mapping[str, str] | None
    crc32c: str | None


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """Location of a bucket (None: not visible to us), and the service's time in seconds since the epoch."""

    location: str | None
    server_time_s: float | None


class ReadableStore(Protocol):
    """An object store that is read; opening and reading it changes nothing.

    Every method can be called from many threads, and raises only ``StoreError`` (with ``ObjectMissing``),
    ``StoreUnavailable``, ``SetupError``, or ``LinkedObject`` for what a link would lead to.
    """

    @property
    def uri(self) -> str:
        """Location of the store, as ``open_store`` accepts it."""
        ...

    @property
    def local_path(self) -> Path | None:
        """Folder in which each object is the file named by its key; None if there are no files."""
        ...

    @property
    def bigquery_uri(self) -> str | None:
        """URI of the root by which BigQuery can read the objects; None if it cannot."""
        ...

    @property
    def listing_costs(self) -> bool:
        """Whether the service charges for each listing."""
        ...

    def service_info(self) -> ServiceInfo | None:
        """Ask the service for its location and time; None if there is no service.

        Raises
        ------
        StoreError
            The bucket does not exist, or the credentials are rejected.
        StoreUnavailable
            The service does not answer.
        """
        ...

    def read(self, key: str) -> bytes:
        """Return an object's content, or raise ``ObjectMissing``."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``start``; fewer (or none) where the object ends."""
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Return an object's properties, None if it does not exist."""
        ...

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with ``prefix``, in the byte order of their keys.

        Parameters
        ----------
        prefix
            Any beginning of a key; empty for all.
        start_at
            Skip the keys before this one.
        """
        ...

    def close(self) -> None:
        """Release connections. Calls in flight may fail with ``StoreUnavailable``."""
        ...


class Store(ReadableStore, Protocol):
    """A store in which nothing is overwritten, and only what can be computed again is deleted.

    Writing raises ``ObjectExists``, too. No key is a folder of another key.
    """

    def create(
        self,
        key: str,
        data: bytes,
        *,
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> None:
        """Store an object; it is complete and durable when this returns.

        Raises
        ------
        ObjectExists
            The key exists, and its object stays as it is. This very call may have created it, if a reply
            was lost: compare the object.
        StoreUnavailable
            Not stored, or stored but the reply was lost.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete a snapshot, a curated file or a staged file, if it exists; other keys are rejected.

        Raises
        ------
        StoreError
            The key is of another object, or this account may not delete.
        """
        ...

    def replace_damaged(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Replace a damaged object, or with None delete it; atomically.

        Only `lake.audit.repair` calls it, after it has copied the damaged object.

        Raises
        ------
        ObjectMissing
            The object does not exist.
        StoreError
            This account may not replace objects; one that can only create and read cannot.
        """
        ...


def crc32c(data: bytes) -> str:
    """Return the checksum of ``data`` as Cloud Storage writes it."""
    return base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()


def check_deletable(key: str) -> None:
    """Raise StoreError for a key whose object cannot be computed again: records cannot."""
    check_key(key)
    staged = key.startswith("loads/") and key.endswith(".parquet")
    if not key.startswith(("state/", "curated/")) and not staged:
        raise StoreError(
            f"{key} must not be deleted.", "Only snapshots, curated files and files staged for a load can be."
        )


def create_if_absent(
    store: Store, key: str, data: bytes, *, content_type: str = "application/octet-stream"
) -> bool:
    """Create an object unless its key exists; return whether this call created it.

    For objects whose first version counts, or whose content is the same for every writer.
    """
    try:
        store.create(key, data, metadata={}, content_type=content_type)
    except ObjectExists:
        return False
    return True


def discard(store: Store, key: str) -> bool:
    """Delete an object that is no longer needed; False if that fails.

    An account that can only create leaves it: the bucket's lifecycle rules can delete it.
    """
    try:
        store.delete(key)
    except (StoreError, StoreUnavailable):
        return False
    return True


def check_key(key: str) -> None:
    """Reject a key that could escape the lake's root or that some store cannot hold.

    Raises
    ------
    StoreError
        The key is empty, absolute, too long, or has a part such as ``..``.
    """
    parts = key.split("/")
    if (
        "" in parts
        or "." in parts
        or ".." in parts
        or parts[0] == TEMP_FOLDER
        or "\\" in key
        or not key.isprintable()
        or len(key.encode("utf-8", "surrogatepass")) > _MAX_KEY_BYTES
    ):
        raise StoreError(
            f"{key[:200]!r} is not a valid object name.", "This is a bug: names are built from checked parts."
        )
