"""Symbolic links in a lake's folder: readers do not follow them, so what they lead to is not in the lake."""

import os
from collections.abc import Iterator

from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.store.base import TEMP_FOLDER, ReadableStore


def find_links(store: ReadableStore) -> list[Finding]:
    """Return a finding for each symbolic link in a lake's folder; a bucket has none."""
    folder = store.local_path
    return [] if folder is None else [_finding(key) for key in sorted(_links(str(folder), ""))]


def _links(root: str, prefix: str) -> Iterator[str]:
    with os.scandir(f"{root}/{prefix}") as entries:
        children = list(entries)
    for entry in children:
        key = f"{prefix}{entry.name}"
        if entry.is_symlink():
            yield key
        elif entry.is_dir() and key != TEMP_FOLDER:
            yield from _links(root, f"{key}/")


def _finding(key: str) -> Finding:
    return Finding("link", key, "is a symbolic link, which is not followed: replace it by what it leads to")
