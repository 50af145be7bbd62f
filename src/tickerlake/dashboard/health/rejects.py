"""The rejects of the lake: the newest of a topic, and a single one in full."""

import base64
import binascii
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from itertools import islice
from typing import Any, Final

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing, UsageError
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.rejects import find_reject, parse_range, read_rejects
from tickerlake.lake.store.base import ObjectInfo, ReadableStore
from tickerlake.lake.topic import check_topic

MAX_REJECTS: Final = 1_000
"""Each may be an object of the store that has to be read."""
_MAX_REASON_CHARS: Final = 500
MAX_BYTES: Final = 1 << 16
"""Of a key or a value in a response: more than a browser shows sensibly."""
_LIST_TIMEOUT_S: Final = 5.0
"""How long a user waits at most for a topic with very many rejects."""
_READER_THREADS: Final = 8
"""Reads from a bucket take tens of milliseconds each, mostly waiting."""
_READERS: Final = ThreadPoolExecutor(_READER_THREADS, thread_name_prefix="reject")
"""Of all requests."""
_LARGE_BYTES: Final = 1 << 20
_LARGE_COMPRESSED_BYTES: Final = 1 << 12
"""Deflate expands to at most 1,032 times as much."""
_LARGE_READER: Final = ThreadPoolExecutor(1, thread_name_prefix="large-reject")
"""Reads one object at a time that is large, or may be: each takes a multiple of its size, uncompressed."""
_PARTITION_PREFIX: Final = "/partition="


def newest_rejects(store: ReadableStore, topic: str, limit: int = 100) -> dict[str, Any]:
    """Return the newest rejects of a topic, without their values.

    Returns
    -------
    dict
        ``topic``; ``rejects``: a list of ``topic``, ``partition``, ``offset``, ``timestamp_ms``, ``reason``
        and ``bytes`` (of the value), by Kafka's timestamp, newest first; ``more``: whether there are more;
        ``complete``: false if there are so many that the newest may be missing.

    Raises
    ------
    UsageError
        The topic name is invalid.
    """
    check_topic(topic)
    limit = max(1, min(limit, MAX_REJECTS))
    found_by_partition: dict[int, deque[ObjectInfo]] = {}
    count, complete = 0, True
    deadline_s = clock.monotonic_s() + _LIST_TIMEOUT_S
    for info in store.list(f"rejects/{topic}/partition="):
        number = info.key.partition(_PARTITION_PREFIX)[2].partition("/")[0]
        if parse_range(info.key) and number.isdecimal():
            count += 1
            found_by_partition.setdefault(int(number), deque(maxlen=limit)).append(info)
        if clock.monotonic_s() > deadline_s:
            complete = False
            break
    newest = [_read_descending(store, topic, number, found) for number, found in found_by_partition.items()]
    merged = merge(*newest, key=lambda reject: -reject["timestamp_ms"])
    rejects = list(islice(merged, limit))
    more = count > sum(map(len, found_by_partition.values())) or next(merged, None) is not None
    return {"topic": topic, "rejects": rejects, "more": more, "complete": complete}


def _read_descending(
    store: ReadableStore, topic: str, partition: int, found: deque[ObjectInfo]
) -> Iterator[dict[str, Any]]:
    def read(info: ObjectInfo) -> list[dict[str, Any]]:
        limit = _LARGE_COMPRESSED_BYTES if info.key.endswith(".gz") else _LARGE_BYTES
        if info.size > limit:
            return _LARGE_READER.submit(_read_summaries, store, topic, partition, info.key).result()
        return _read_summaries(store, topic, partition, info.key)

    first_offset: int | None = None
    descending = iter(reversed(found))
    while batch := list(islice(descending, _READER_THREADS)):
        for summaries in _READERS.map(read, batch):
            for summary in summaries:
                # a writer that stopped may have left rejects that are also in another object
                if first_offset is None or summary["offset"] < first_offset:
                    first_offset = summary["offset"]
                    yield summary


def _read_summaries(store: ReadableStore, topic: str, partition: int, key: str) -> list[dict[str, Any]]:
    try:
        records = read_rejects(store, key)
    except (ObjectMissing, LakeError) as error:
        start, _ = parse_range(key) or (0, 0)
        records = [RejectedRecord(start, 0, error.message, None, None)]
    return [_summary(topic, partition, record) for record in reversed(records)]


def read_reject(store: ReadableStore, topic: str, partition: int, offset: int) -> dict[str, Any]:
    """Return one reject.

    Returns
    -------
    dict
        ``topic``, ``partition``, ``offset``, ``timestamp_ms``, ``reason``, ``bytes`` (of the value); and for
        the key, as for the value, ``key`` (text; null if it is absent or not UTF-8), ``key_base64`` (null if
        it is text) and ``key_cut`` (whether it was truncated).

    Raises
    ------
    UsageError
        The partition or the offset is invalid.
    ObjectMissing
        There is no reject at this offset.
    LakeError
        The object is damaged.
    """
    check_topic(topic)
    if not (0 <= partition < 1 << 31 and 0 <= offset < 1 << 63):
        raise UsageError("The partition or the offset is out of range.", "Both are non-negative integers.")
    return _LARGE_READER.submit(_read_in_full, store, topic, partition, offset).result()


def _read_in_full(store: ReadableStore, topic: str, partition: int, offset: int) -> dict[str, Any]:
    record = find_reject(store, topic, partition, offset)
    return {
        **_summary(topic, partition, record),
        "reason": record.reason,
        **_preview("key", _decode_base64(record.key_base64)),
        **_preview("value", _decode_base64(record.value_base64)),
    }


def _summary(topic: str, partition: int, record: RejectedRecord) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp_ms": max(0, record.timestamp_ms),
        "reason": record.reason[:_MAX_REASON_CHARS],
        "bytes": _decoded_length(record.value_base64 or ""),
    }


def _decode_base64(text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text)
    except (binascii.Error, ValueError):
        return None


def _decoded_length(text: str) -> int:
    # decoding a large value only to measure it would take a copy of it
    return max(0, len(text) * 3 // 4 - text[-2:].count("="))


def _preview(name: str, data: bytes | None) -> dict[str, Any]:
    shown = (data or b"")[:MAX_BYTES]
    is_truncated = data is not None and len(data) > MAX_BYTES
    text = in_base64 = None
    if data is not None:
        try:
            # truncation may split a character
            text = getincrementaldecoder("utf-8")().decode(shown, final=not is_truncated)
        except UnicodeDecodeError:
            in_base64 = base64.b64encode(shown).decode()
    return {name: text, f"{name}_base64": in_base64, f"{name}_cut": is_truncated}
