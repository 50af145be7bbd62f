"""What the lake asks of an object store: create-only writes, reads and ordered lists."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tickerlake.errors import ObjectExists, StoreError, StoreUnavailable

TEMP_FOLDER = ".tmp"
_MAX_KEY_BYTES = 1024  # Cloud Storage's limit


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows about one object.

    Parameters
    ----------
    key
        Name of the object below the lake's root.
    size
        Length in bytes.
    metadata
        What was given at creation. None: this store keeps none, read it from the object.
    crc32c
        Base64 of the big-endian checksum, as Cloud Storage writes it. None: not kept.
    """

    key: str
    size: int
    metadata: Mapping[str, str] | None
    crc32c: str | None


class Store(Protocol):
    """An object store in which nothing is ever overwritten, and only what can be made again deleted.

    Every method may be called from many threads, and raises only ``StoreError`` (with ``ObjectExists``
    and ``ObjectMissing``), ``StoreUnavailable`` or ``SetupError``. No key may be a folder of another one.
    """

    @property
    def uri(self) -> str:
        """Where the store is, as ``open_store`` accepts it."""
        ...

    def create(
        self,
        key: str,
        data: bytes,
        *,
        metadata: Mapping[str, str],
        content_type: str = "application/octet-stream",
    ) -> None:
        """Store an object; it is whole and durable when this returns.

        Raises
        ------
        ObjectExists
            There is one of that name, which stays as it is. It may be this very call's, if a reply
            was lost on the way: look at the object.
        StoreUnavailable
            Not stored, or stored without our knowing.
        """
        ...

    def read(self, key: str) -> bytes:
        """Return an object's content, or raise ``ObjectMissing``."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``start``; fewer (or none) where the object ends."""
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known about an object, None if there is none."""
        ...

    def list(self, prefix: str, start_at: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key begins with ``prefix``, in the byte order of their keys.

        Parameters
        ----------
        prefix
            Any beginning of a key; empty for all.
        start_at
            Leave out the keys before this one.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete a snapshot or a curated file, if it is there; nothing else is ever deleted.

        Raises
        ------
        StoreError
            The key is of something else, or we may not.
        """
        ...

    def replace_damaged(self, key: str, data: bytes | None, *, metadata: Mapping[str, str]) -> None:
        """Put other content in the place of a damaged object, or with None delete it; in one step.

        Only `lake.repair` may: it keeps the damaged content elsewhere first.

        Raises
        ------
        ObjectMissing
            There is no such object.
        StoreError
            We may not; whoever only creates and reads can't change what is stored.
        """
        ...

    def close(self) -> None:
        """Release connections. Calls under way may fail with ``StoreUnavailable``."""
        ...


def check_deletable(key: str) -> None:
    """Refuse a key of what can't be made again: snapshots and curated files can, records can't."""
    check_key(key)
    staged = key.startswith("loads/") and key.endswith(".parquet")
    if not key.startswith(("state/", "curated/")) and not staged:
        raise StoreError(
            f"{key} is not deleted.", "Only snapshots, curated files and what was staged for a load can be."
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
    """Delete what is not needed; False if that fails.

    Who may only create keeps it: the bucket's life cycle can delete it.
    """
    try:
        store.delete(key)
    except (StoreError, StoreUnavailable):
        return False
    return True


def check_key(key: str) -> None:
    """Refuse a key that could leave the lake's root or that some store can't hold.

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
            f"{key[:200]!r} is not a valid object name.", "Names are made of validated parts only."
        )
