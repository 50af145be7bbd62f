"""The rejects of the lake: the newest of a topic, and a single one in full."""

import base64
import binascii
import re
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from itertools import islice
from typing import Any, Final

import msgspec

from tickerlake import clock
from tickerlake.errors import LakeError, ObjectMissing, UsageError
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.segment import reject_key
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import check_topic

MAX_REJECTS: Final = 1_000
"""Each is an object of the store that has to be read."""
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
_LARGE_READER: Final = ThreadPoolExecutor(1, thread_name_prefix="large-reject")
"""Reads one object at a time that is large, or may be: each takes a multiple of its size."""
_KEY_PATTERN: Final = re.compile(r"rejects/[^/]+/partition=(\d{1,10})/(\d{20})\.json")
_DECODER: Final = msgspec.json.Decoder(RejectedRecord)


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
    found_by_partition: dict[int, deque[tuple[int, int]]] = {}  # offsets and sizes
    count, complete = 0, True
    deadline_s = clock.monotonic_s() + _LIST_TIMEOUT_S
    for info in store.list(f"rejects/{topic}/partition="):
        if match := _KEY_PATTERN.fullmatch(info.key):
            count += 1
            found = found_by_partition.setdefault(int(match[1]), deque(maxlen=limit))
            found.append((int(match[2]), info.size))
        if clock.monotonic_s() > deadline_s:
            complete = False
            break
    newest = [_read_descending(store, topic, number, found) for number, found in found_by_partition.items()]
    rejects = list(islice(merge(*newest, key=lambda reject: -reject["timestamp_ms"]), limit))
    return {"topic": topic, "rejects": rejects, "more": count > len(rejects), "complete": complete}


def _read_descending(
    store: ReadableStore, topic: str, partition: int, found: deque[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    def read(item: tuple[int, int]) -> dict[str, Any]:
        offset, size = item
        if size > _LARGE_BYTES:
            return _LARGE_READER.submit(_read_summary, store, topic, partition, offset).result()
        return _read_summary(store, topic, partition, offset)

    descending = iter(reversed(found))
    while batch := list(islice(descending, _READER_THREADS)):
        yield from _READERS.map(read, batch)


def _read_summary(store: ReadableStore, topic: str, partition: int, offset: int) -> dict[str, Any]:
    try:
        record = _read_record(store, topic, partition, offset)
    except (ObjectMissing, LakeError) as error:
        record = RejectedRecord(offset, 0, error.message, None, None)
    return _summary(topic, partition, offset, record) | {"reason": record.reason[:_MAX_REASON_CHARS]}


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
    record = _read_record(store, topic, partition, offset)
    return {
        **_summary(topic, partition, offset, record),
        **_preview("key", _decode_base64(record.key_base64)),
        **_preview("value", _decode_base64(record.value_base64)),
    }


def _summary(topic: str, partition: int, offset: int, record: RejectedRecord) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp_ms": max(0, record.timestamp_ms),
        "reason": record.reason,
        "bytes": _decoded_length(record.value_base64 or ""),
    }


def _read_record(store: ReadableStore, topic: str, partition: int, offset: int) -> RejectedRecord:
    key = reject_key(topic, partition, offset)
    try:
        return _DECODER.decode(store.read(key))
    except msgspec.MsgspecError as error:
        raise LakeError(f"{key} is damaged: {error}.", "Restore it from a backup.") from error


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
