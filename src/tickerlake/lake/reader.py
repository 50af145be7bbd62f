"""Reads the lake: which topics, partitions and segments there are, and what they hold."""

import re
from collections.abc import Iterator

from tickerlake.lake import rows
from tickerlake.lake.segment import SegmentMeta, partition_prefix, position_of
from tickerlake.lake.store.base import ObjectInfo, Store

_HEAD_BYTES = 4096
_TOPIC = re.compile(r"raw/([^/]+)/_topic\.json")
_PARTITION = re.compile(r"raw/[^/]+/partition=(\d+)/")


def topics(store: Store) -> list[str]:
    """Names of the topics in the lake."""
    return sorted({m[1] for info in store.list("raw/") if (m := _TOPIC.fullmatch(info.key))})


def partitions(store: Store, topic: str) -> list[int]:
    """Numbers of the partitions that have segments."""
    found = (_PARTITION.match(info.key) for info in store.list(f"raw/{topic}/partition="))
    return sorted({int(match[1]) for match in found if match})


def segments(store: Store, topic: str, partition: int) -> Iterator[ObjectInfo]:
    """Segments of one partition, by position."""
    for info in store.list(partition_prefix(topic, partition)):
        if position_of(info.key) is not None:
            yield info


def read_meta(store: Store, info: ObjectInfo) -> SegmentMeta:
    """Read what a segment says about itself: from the store's metadata, else from its header."""
    if info.metadata is not None:
        return SegmentMeta.from_text(info.metadata, info.key)
    return rows.unpack_meta(store.read_range(info.key, 0, _HEAD_BYTES), info.key)


def read_lines(store: Store, key: str) -> list[bytes]:
    """Rows of one segment, one JSON document each."""
    return rows.unpack(store.read(key), key).splitlines()
