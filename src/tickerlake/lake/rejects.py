"""Records that are not JSON, as they are stored under ``rejects/``.

The rejects of a segment are one object, named by the segment's range of offsets: its content depends on the
records of that range alone, so it is the same whoever stores it. It counts only if the chain has a segment of
exactly that range; one of another range was left by a writer that stopped before its segment was stored.
In the format ``json``, each reject is an object, as each row is.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from isal import igzip

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.formats.ndjson import decode_rows
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.segment import REPAIR_HINT, parse_position, reject_prefix
from tickerlake.lake.store.base import ReadableStore, Store, create_if_absent

_RANGE_NAME: Final = re.compile(r"(?P<start>\d{20})-(?P<end>\d{20})\.ndjson\.gz")
_DECODER: Final = msgspec.json.Decoder(RejectedRecord)


def rejects_key(topic: str, partition: int, start: int, end: int) -> str:
    """Key of the rejects of the segment that covers the offsets ``[start, end)``."""
    return f"{reject_prefix(topic, partition)}{start:020d}-{end:020d}.ndjson.gz"


def reject_key(topic: str, partition: int, offset: int) -> str:
    """Key of one reject in the format ``json``."""
    return f"{reject_prefix(topic, partition)}{offset:020d}.json"


def parse_range(key: str) -> tuple[int, int] | None:
    """Return the offsets ``[start, end)`` whose rejects an object holds; None for any other key."""
    name = key.rpartition("/")[2]
    if match := _RANGE_NAME.fullmatch(name):
        return int(match["start"]), int(match["end"])
    offset = parse_position(key) if name.endswith(".json") else None
    return None if offset is None else (offset, offset + 1)


def encode_rejects(key: str, rejects: Sequence[RejectedRecord]) -> tuple[bytes, str]:
    """Return the object of a key as newline-delimited JSON, and its media type.

    The rejects of a segment are one gzip member.
    """
    lines = b"".join(reject.to_json() + b"\n" for reject in rejects)
    if key.endswith(".gz"):
        return igzip.compress(lines, compresslevel=1, mtime=0), "application/gzip"
    return lines, "application/json"


def reason_of(rejects: Sequence[RejectedRecord]) -> str:
    """Return why the first of these was rejected, empty if there is none."""
    return rejects[0].reason if rejects else ""


def store_rejects(
    store: Store, topic: str, partition: int, span: tuple[int, int], rejects: Sequence[RejectedRecord]
) -> None:
    """Store the rejects of a segment, if it has some; call it before storing the segment.

    Parameters
    ----------
    span
        The offsets ``[start, end)`` of the segment.
    """
    if rejects:
        _store(store, rejects_key(topic, partition, *span), rejects)


def store_reject(store: Store, topic: str, partition: int, reject: RejectedRecord) -> bool:
    """Store one reject in the format ``json``; return whether it was not stored before."""
    return _store(store, reject_key(topic, partition, reject.offset), [reject])


def _store(store: Store, key: str, rejects: Sequence[RejectedRecord]) -> bool:
    data, content_type = encode_rejects(key, rejects)
    return create_if_absent(store, key, data, content_type=content_type)


def read_rejects(store: ReadableStore, key: str) -> list[RejectedRecord]:
    """Return the rejects in an object.

    Raises
    ------
    ObjectMissing
        There is no such object.
    LakeError
        It is damaged.
    """
    data = store.read(key)
    lines = decode_rows(data, key) if key.endswith(".gz") else data
    try:
        return [_DECODER.decode(line) for line in lines.splitlines()]
    except msgspec.MsgspecError as error:
        raise LakeError(f"{key} is damaged: {error}.", REPAIR_HINT) from error


def reject_ranges(store: ReadableStore, topic: str, partition: int) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield the objects with rejects of a partition by their first offset: range and key."""
    for info in store.list(reject_prefix(topic, partition)):
        if span := parse_range(info.key):
            yield span, info.key


def find_reject(store: ReadableStore, topic: str, partition: int, offset: int) -> RejectedRecord:
    """Return the reject of one offset.

    Raises
    ------
    ObjectMissing
        There is none.
    LakeError
        An object that may hold it is damaged.
    """
    if store.stat(key := reject_key(topic, partition, offset)):
        return read_rejects(store, key)[0]
    for (start, end), key in reject_ranges(store, topic, partition):
        if start > offset:
            break
        if offset < end:
            for reject in read_rejects(store, key):
                if reject.offset == offset:
                    return reject
    raise ObjectMissing(
        f"{topic} partition {partition} has no reject at offset {offset}.", "Check the offset."
    )
