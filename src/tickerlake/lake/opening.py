"""Opens a lake that exists. Only `sink` and `demo` create one."""

import difflib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from tickerlake.errors import TickerlakeError, UsageError
from tickerlake.lake.format_version import check_can_hold_lake, check_format_version
from tickerlake.lake.store import ReadableStore, Store, open_for_reading, open_store
from tickerlake.lake.store.base import LAKE_KEY

_USUAL_NAME: Final = "lake"


def open_lake_for_reading(uri: str) -> ReadableStore:
    """Open a lake for reading: nothing in it changes, and it may be on a read-only disk.

    Raises
    ------
    UsageError
        There is no lake.
    LakeError
        Another version of tickerlake wrote it, or ``_lake.json`` is damaged.
    """
    store = open_for_reading(uri)
    try:
        require_lake(store)
    except BaseException:
        store.close()
        raise
    return store


def open_lake_for_writing(uri: str) -> Store:
    """Open a lake that exists for reading and writing; raises as `open_lake_for_reading`."""
    open_lake_for_reading(uri).close()
    return open_store(uri)


def open_or_create_lake(uri: str) -> Store:
    """Open a lake for reading and writing, or create it; a folder that holds something else stays as it is.

    Raises
    ------
    UsageError
        The folder holds something that is not a lake.
    LakeError
        As `open_lake_for_reading`.
    """
    with closing(open_for_reading(uri)) as reader:
        if reader.local_path:  # of a bucket, opening changes nothing
            check_can_hold_lake(reader)
    return open_store(uri)


def require_lake(store: ReadableStore) -> None:
    """Check that a store holds a lake; raises as `open_lake_for_reading`. It takes one read."""
    if check_format_version(store):
        return
    nearby = _nearby_lake(store)
    remedy = f"There is one at {nearby}." if nearby else "Check --lake; `tickerlake sink` creates a lake."
    raise UsageError(f"There is no lake at {store.uri}.", remedy)


def _nearby_lake(store: ReadableStore) -> str | None:
    """Return a lake in the folder, around it, or with a similar name; of a bucket, few places are tried."""
    if store.local_path:
        return next(_lakes_near(store.local_path), None)
    scheme, _, path = store.uri.partition("://")
    if scheme != "gs":
        return None
    bucket, *folders = path.split("/")
    candidates = [f"{path}/{_USUAL_NAME}", *("/".join([bucket, *folders[:n]]) for n in range(len(folders)))]
    return next((uri for uri in (f"gs://{each}" for each in candidates) if _is_lake(uri)), None)


def _lakes_near(folder: Path) -> Iterator[str]:
    for parent in folder.parents:
        if (parent / LAKE_KEY).is_file():
            yield str(parent)
    yield from _lakes_in(folder)
    lakes = {Path(each).name: each for each in _lakes_in(folder.parent)}
    for name in difflib.get_close_matches(folder.name, lakes, n=1):
        yield lakes[name]


def _lakes_in(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for child in sorted(folder.iterdir()):
            if (child / LAKE_KEY).is_file():
                yield str(child)


def _is_lake(uri: str) -> bool:
    try:
        with closing(open_for_reading(uri)) as store:
            return store.stat(LAKE_KEY) is not None
    except TickerlakeError:
        return False
