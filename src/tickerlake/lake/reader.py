"""Reads the lake: which topics, partitions and segments there are, and what they hold."""

import re
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from tickerlake.errors import LakeError
from tickerlake.lake.formats import ndjson, parquet
from tickerlake.lake.formats.columns import Column, decode_columns
from tickerlake.lake.formats.record_objects import coverage
from tickerlake.lake.formats.rows import checksum
from tickerlake.lake.segment import (
    REPAIR_HINT,
    SegmentMeta,
    columns_key,
    parse_marker,
    parse_position,
    partition_prefix,
)
from tickerlake.lake.store.base import ObjectInfo, Store
from tickerlake.lake.topic import TopicMeta, topic_key

_PARTITION = re.compile(r"partition=(\d+)")


class _Offset(msgspec.Struct):
    kafka_offset: int


OFFSET_DECODER = msgspec.json.Decoder(_Offset)


def topics(store: Store, prefix: str = "") -> list[str]:
    """Names of the topics in the lake that begin with ``prefix``."""
    return sorted(name for name in _folders(store, "raw/", prefix) if store.stat(topic_key(name)))


def partitions(store: Store, topic: str) -> list[int]:
    """Numbers of the partitions that have segments."""
    matches = (_PARTITION.fullmatch(name) for name in _folders(store, f"raw/{topic}/", "partition="))
    return sorted({int(match[1]) for match in matches if match})


def _folders(store: Store, parent: str, prefix: str) -> Iterator[str]:
    """Yield the names of folders that begin with a prefix, without listing what is in them."""
    start_at = ""
    while info := next(iter(store.list(f"{parent}{prefix}", start_at)), None):
        name, slash, _ = info.key.removeprefix(parent).partition("/")
        if slash:
            yield name
        # in the order of keys 0 follows the slash, and ! is the first of all that may follow a name
        start_at = f"{parent}{name}{'0' if slash else '!'}"


def segments(store: Store, topic: str, partition: int, start_at: str = "") -> Iterator[ObjectInfo]:
    """Segments of one partition, by position; ``start_at`` is the key of the first one wanted."""
    for info in store.list(partition_prefix(topic, partition), start_at):
        if parse_position(info.key) is not None:
            yield info


def stored_ranges(store: Store, topic: TopicMeta, partition: int) -> Iterator[tuple[int, int]]:
    """Offsets ``[start, end)`` that a partition's objects account for, in order; not those of gaps.

    What can't be read, or is of another topic, accounts for none.
    """
    if topic.format != "json":
        for info in segments(store, topic.topic, partition):
            with suppress(LakeError):
                meta = read_meta(store, info)
                if meta.matches(topic, partition, info.key) and not meta.gap:
                    yield meta.position, meta.next_position
        return
    for start, end, info in coverage(store, topic.topic, partition, 0):
        marker = parse_marker(info.key)
        if not marker or marker.kind == "hole":
            yield start, end


def read_meta(store: Store, info: ObjectInfo) -> SegmentMeta:
    """Read what a segment says about itself: from the store's metadata, else from the object."""
    if info.metadata is not None:
        return SegmentMeta.from_metadata(info.metadata, info.key)
    if not info.key.endswith(".parquet"):
        return ndjson.decode_meta(store.read_range(info.key, 0, ndjson.HEADER_READ_BYTES), info.key)
    start = max(0, info.size - parquet.FOOTER_READ_BYTES)
    tail = store.read_range(info.key, start, parquet.FOOTER_READ_BYTES)
    more = min(start, parquet.missing_footer_bytes(tail))
    return parquet.decode_meta(store.read_range(info.key, start - more, more) + tail, info.key)


def read_columns(store: Store, topic: str) -> list[Column]:
    """Return the columns of a topic's Parquet segments; ObjectMissing if it has no segment yet."""
    key = columns_key(topic)
    return decode_columns(store.read(key), f"{store.uri}/{key}")


def read_segment(store: Store, key: str) -> tuple[list[int], str, SegmentMeta | None]:
    """Read all of a segment, or of one record's object: its rows' offsets, its checksum, what it says itself.

    Raises
    ------
    LakeError
        If it is damaged.
    """
    data = store.read(key)
    if key.endswith(".parquet"):
        frame, crc32c = parquet.decode_rows(data, key)
        return frame.get_column("kafka_offset").to_list(), crc32c, parquet.decode_meta(data, key)
    is_compressed = key.endswith(".ndjson.gz")
    lines = ndjson.decode_rows(data, key) if is_compressed else data
    meta = ndjson.decode_meta(data, key) if is_compressed else None
    try:
        return (
            [OFFSET_DECODER.decode(line).kafka_offset for line in lines.splitlines()],
            checksum(lines),
            meta,
        )
    except msgspec.MsgspecError as error:
        raise LakeError(f"{key} is damaged: a row is not readable ({error}).", REPAIR_HINT) from error
