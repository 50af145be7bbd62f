"""Reads the lake: its topics, partitions and segments, and what they hold."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from tickerlake.lake.formats import ObjectContent, StoredRows, for_key
from tickerlake.lake.formats.columns import Column, decode_columns
from tickerlake.lake.segment import SegmentMeta, columns_key, parse_position, partition_prefix
from tickerlake.lake.store.base import ObjectInfo, ReadableStore
from tickerlake.lake.topic import topic_key

_PARTITION: Final = re.compile(r"partition=(\d+)")


def topics(store: ReadableStore, prefix: str = "") -> list[str]:
    """Names of the topics in the lake that begin with ``prefix``."""
    return sorted(name for name in _folders(store, "raw/", prefix) if store.stat(topic_key(name)))


def partitions(store: ReadableStore, topic: str) -> list[int]:
    """Numbers of the partitions that have segments."""
    matches = (_PARTITION.fullmatch(name) for name in _folders(store, f"raw/{topic}/", "partition="))
    return sorted({int(match[1]) for match in matches if match})


def _folders(store: ReadableStore, parent: str, prefix: str) -> Iterator[str]:
    """Yield the names of folders that begin with a prefix, without listing their contents."""
    start_at = ""
    while info := next(iter(store.list(f"{parent}{prefix}", start_at)), None):
        name, slash, _ = info.key.removeprefix(parent).partition("/")
        if slash:
            yield name
        # in the order of keys "0" follows the slash, and "!" is the first character that can follow a name
        start_at = f"{parent}{name}{'0' if slash else '!'}"


def segments(store: ReadableStore, topic: str, partition: int, start_at: str = "") -> Iterator[ObjectInfo]:
    """Segments of one partition, by position, from the key ``start_at`` on."""
    for info in store.list(partition_prefix(topic, partition), start_at):
        if parse_position(info.key) is not None:
            yield info


def read_meta(store: ReadableStore, info: ObjectInfo) -> SegmentMeta:
    """Read a segment's metadata: from the store's object metadata, else from the object.

    Raises
    ------
    LakeError
        The object is not a segment.
    """
    if info.metadata is not None:
        return SegmentMeta.from_metadata(info.metadata, info.key)
    return for_key(info.key).read_meta(partial(store.read_range, info.key), info.size, info.key)


def read_columns(store: ReadableStore, topic: str) -> list[Column]:
    """Return the columns of a topic's segments; ObjectMissing if it has no segment yet."""
    key = columns_key(topic)
    return decode_columns(store.read(key), f"{store.uri}/{key}")


def read_rows(store: ReadableStore, key: str) -> StoredRows:
    """Read the rows of a segment or of a record's object; LakeError if it is damaged."""
    return for_key(key).read_rows(store.read(key), key)


def read_content(store: ReadableStore, key: str) -> ObjectContent:
    """Read a segment or a record's object for a deep check; LakeError if it is damaged."""
    return for_key(key).read_content(store.read(key), key)
