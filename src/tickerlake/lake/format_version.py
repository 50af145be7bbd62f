"""The format version of a lake (``_lake.json``), which every reader and writer checks when it opens a lake.

`docs/lake.md` says which changes need a new version.
"""

from typing import Final

import msgspec

from tickerlake.errors import LakeError, ObjectMissing, UsageError
from tickerlake.lake.store.base import LAKE_KEY, ReadableStore, Store, create_if_absent
from tickerlake.version import VERSION

FORMAT_VERSION: Final = 1
"""The version that is written, and the newest that is read."""

TOP_LEVEL_PREFIXES: Final = ("raw/", "rejects/", "curated/", "loads/", "state/", "damaged/")


class LakeMeta(msgspec.Struct, frozen=True):
    """Content of ``_lake.json``: the format version, and the program that created the lake."""

    format_version: int
    created_by: str = ""


def ensure_format_version(store: Store) -> None:
    """Create the metadata of a new lake, or check those of an existing one. Writers call it.

    Raises
    ------
    LakeError
        As `check_format_version`.
    UsageError
        The store holds something that is not a lake.
    """
    if check_can_hold_lake(store):
        return
    meta = msgspec.json.encode(LakeMeta(FORMAT_VERSION, f"tickerlake {VERSION}"))
    if not create_if_absent(store, LAKE_KEY, meta, content_type="application/json"):
        check_format_version(store)  # another writer created it


def check_can_hold_lake(store: ReadableStore) -> bool:
    """Return whether there is a lake; raise as `ensure_format_version` if there is none and cannot be one."""
    if check_format_version(store):
        return True
    first = next((info for info in store.list("") if not info.key.startswith(".")), None)
    if first and not first.key.startswith((*TOP_LEVEL_PREFIXES, LAKE_KEY)):
        raise UsageError(
            f"{store.uri} is not a lake: it holds {first.key}.",
            "Name an empty folder or prefix, or one that holds a lake (--lake).",
        )
    return False


def check_format_version(store: ReadableStore) -> bool:
    """Check that this version of tickerlake can read a lake; it takes one read. Readers call it.

    Returns
    -------
    bool
        Whether there is a lake: False if nothing has been stored yet.

    Raises
    ------
    LakeError
        A newer version of tickerlake wrote the lake, or one before 0.1.0, or ``_lake.json`` is damaged.
    """
    meta = _read_meta(store)
    if meta is None and next(iter(store.list("raw/")), None) is not None:
        meta = _read_meta(store)  # the first writer may have created the lake in between
        if meta is None:
            raise LakeError(
                f"A version of tickerlake before 0.1.0 wrote {store.uri}.",
                "Store its topics again, into an empty lake (--lake).",
            )
    if meta is None:
        return False
    if meta.format_version > FORMAT_VERSION:
        raise LakeError(
            f"{store.uri} has format version {meta.format_version}; "
            f"tickerlake {VERSION} reads versions up to {FORMAT_VERSION}.",
            "Update tickerlake.",
        )
    return True


def _read_meta(store: ReadableStore) -> LakeMeta | None:
    try:
        return msgspec.json.decode(store.read(LAKE_KEY), type=LakeMeta)
    except ObjectMissing:
        return None
    except msgspec.MsgspecError as error:
        raise LakeError(
            f"{store.uri}/{LAKE_KEY} is damaged: {error}.", "Restore it from a backup."
        ) from error
