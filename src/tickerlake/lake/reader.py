"""Reads the lake: which topics, partitions and segments there are, and what they hold."""

import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from tickerlake.errors import LakeError
from tickerlake.lake import ndjson, parquet
from tickerlake.lake.columns import Column, from_json
from tickerlake.lake.objects import coverage
from tickerlake.lake.rows import checksum
from tickerlake.lake.segment import (
    MEND,
    SegmentMeta,
    TopicMeta,
    columns_key,
    marker_of,
    partition_prefix,
    position_of,
    topic_key,
)
from tickerlake.lake.store.base import ObjectInfo, Store

_PARTITION = re.compile(r"partition=(\d+)")


class _Offset(msgspec.Struct):
    kafka_offset: int


OFFSET = msgspec.json.Decoder(_Offset)


def topics(store: Store, prefix: str = "") -> list[str]:
    """Names of the topics in the lake that begin with ``prefix``."""
    return sorted(name for name in _folders(store, "raw/", prefix) if store.stat(topic_key(name)))


def partitions(store: Store, topic: str) -> list[int]:
    """Numbers of the partitions that have segments."""
    found = (_PARTITION.fullmatch(name) for name in _folders(store, f"raw/{topic}/", "partition="))
    return sorted({int(match[1]) for match in found if match})


def _folders(store: Store, above: str, prefix: str) -> Iterator[str]:
    """Yield the names of folders that begin with a prefix, without listing what is in them."""
    start_at = ""
    while info := next(iter(store.list(f"{above}{prefix}", start_at)), None):
        name, slash, _ = info.key.removeprefix(above).partition("/")
        if slash:
            yield name
        # in the order of keys 0 follows the slash, and ! is the first of all that may follow a name
        start_at = f"{above}{name}{'0' if slash else '!'}"


def segments(store: Store, topic: str, partition: int, start_at: str = "") -> Iterator[ObjectInfo]:
    """Segments of one partition, by position; ``start_at`` is the key of the first one wanted."""
    for info in store.list(partition_prefix(topic, partition), start_at):
        if position_of(info.key) is not None:
            yield info


def stored_ranges(store: Store, topic: TopicMeta, partition: int) -> Iterator[tuple[int, int]]:
    """Offsets ``[start, end)`` that a partition's objects account for, in order; not those of gaps.

    What can't be read, or is of another topic, accounts for none.
    """
    if topic.format != "json":
        for info in segments(store, topic.topic, partition):
            with suppress(LakeError):
                meta = read_meta(store, info)
                if meta.is_of(topic, partition, info.key) and not meta.gap:
                    yield meta.position, meta.next_position
        return
    for start, end, info in coverage(store, topic.topic, partition, 0):
        marker = marker_of(info.key)
        if not marker or marker.kind == "hole":
            yield start, end


def read_meta(store: Store, info: ObjectInfo) -> SegmentMeta:
    """Read what a segment says about itself: from the store's metadata, else from the object."""
    if info.metadata is not None:
        return SegmentMeta.from_text(info.metadata, info.key)
    if not info.key.endswith(".parquet"):
        return ndjson.unpack_meta(store.read_range(info.key, 0, ndjson.HEAD_BYTES), info.key)
    start = max(0, info.size - parquet.TAIL_BYTES)
    tail = store.read_range(info.key, start, parquet.TAIL_BYTES)
    more = min(start, parquet.missing_bytes(tail))
    return parquet.unpack_meta(store.read_range(info.key, start - more, more) + tail, info.key)


def read_columns(store: Store, topic: str) -> list[Column]:
    """Return the columns of a topic's Parquet segments; ObjectMissing if it has no segment yet."""
    key = columns_key(topic)
    return from_json(store.read(key), f"{store.uri}/{key}")


def read_segment(store: Store, key: str) -> tuple[list[int], str, SegmentMeta | None]:
    """Read all of a segment, or of one record's object: its rows' offsets, its checksum, what it says itself.

    Raises
    ------
    LakeError
        If it is damaged.
    """
    data = store.read(key)
    if key.endswith(".parquet"):
        frame, crc32c = parquet.unpack(data, key)
        return frame.get_column("kafka_offset").to_list(), crc32c, parquet.unpack_meta(data, key)
    packed = key.endswith(".ndjson.gz")
    lines = ndjson.unpack(data, key) if packed else data
    meta = ndjson.unpack_meta(data, key) if packed else None
    try:
        return [OFFSET.decode(line).kafka_offset for line in lines.splitlines()], checksum(lines), meta
    except msgspec.MsgspecError as error:
        raise LakeError(f"{key} is damaged: a row is not readable ({error}).", MEND) from error
