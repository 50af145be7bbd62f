"""Segments: their keys, their metadata, and the rules of the chain they form. Pure.

A segment holds consecutive records of one topic partition. It is named by the offset where the
segment before it ended, so the segments of a partition form a chain that can be checked, and
continued, from names and metadata alone.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, Self, cast

import msgspec

from tickerlake.errors import LakeError
from tickerlake.lake.topic import Format, TopicMeta

EXTENSIONS: Final[dict[Format, str]] = {"ndjson": "ndjson.gz", "parquet": "parquet", "json": "json"}
_SEGMENT_NAME: Final = re.compile(r"(?P<position>\d{20})\.(ndjson\.gz|parquet|json)")
_MARKER_NAME: Final = re.compile(r"(?P<start>\d{20})-(?P<end>\d{20})\.(?P<kind>hole|gap)")

REPAIR_HINT: Final = (
    "Run `tickerlake audit --deep` to list damaged objects; add --repair -b KAFKA to rebuild them."
)
"""Remedy for a segment that is damaged or out of place."""


def columns_key(topic: str) -> str:
    """Key of the object that lists the columns of a topic's Parquet segments."""
    return f"raw/{topic}/_columns.json"


def partition_prefix(topic: str, partition: int) -> str:
    """Prefix of the segments of one partition."""
    return f"raw/{topic}/partition={partition}/"


def reject_prefix(topic: str, partition: int) -> str:
    """Prefix of the rejects of one partition."""
    return f"rejects/{topic}/partition={partition}/"


def segment_key(topic: str, partition: int, position: int, fmt: Format) -> str:
    """Key of the segment that begins at ``position``."""
    return f"{partition_prefix(topic, partition)}{position:020d}.{EXTENSIONS[fmt]}"


def parse_position(key: str) -> int | None:
    """Chain position in the key of a segment, record or reject; None for any other key."""
    match = _SEGMENT_NAME.fullmatch(key.rpartition("/")[2])
    return int(match["position"]) if match else None


MarkerKind = Literal["hole", "gap"]


@dataclass(frozen=True, slots=True)
class Marker:
    """In the format ``json``: the offsets ``[start, end)`` have no records (hole) or lost them (gap)."""

    kind: MarkerKind
    start: int
    end: int


def marker_key(topic: str, partition: int, marker: Marker) -> str:
    """Key of a marker; the object itself is empty."""
    return f"{partition_prefix(topic, partition)}{marker.start:020d}-{marker.end:020d}.{marker.kind}"


def parse_marker(key: str) -> Marker | None:
    """Marker in a key; None for any other key."""
    match = _MARKER_NAME.fullmatch(key.rpartition("/")[2])
    if not match:
        return None
    return Marker(cast(MarkerKind, match["kind"]), int(match["start"]), int(match["end"]))


@dataclass(frozen=True, slots=True)
class SegmentMeta:
    """Metadata of a segment, stored in the segment itself.

    ``position`` is where it begins in the chain, ``next_position`` where the next segment begins.
    ``records`` counts rows, ``rejects`` the records stored under ``rejects/`` instead;
    ``rows_crc32c`` is the checksum of the rows. ``gap`` marks a segment without records that
    covers offsets which Kafka had deleted before they could be stored.
    """

    topic: str
    topic_id: str
    partition: int
    position: int
    next_position: int
    records: int
    rejects: int
    rows_crc32c: str
    gap: bool = False
    version: int = 1

    def matches(self, topic: TopicMeta, partition: int, key: str) -> bool:
        """Whether this is the metadata of the segment of that topic, partition and key."""
        expected = (topic.topic, topic.topic_id, partition, parse_position(key))
        return expected == (self.topic, self.topic_id, self.partition, self.position)

    def to_metadata(self) -> dict[str, str]:
        """Return it as string pairs, as an object store keeps them with an object."""
        return {name: msgspec.json.encode(value).decode().strip('"') for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], key: str) -> Self:
        """Read what `to_metadata` wrote.

        Raises
        ------
        LakeError
            If a value is missing or has another type: ``key`` is not a segment.
        """
        try:
            return msgspec.convert(dict(metadata), cls, strict=False)
        except msgspec.ValidationError as error:
            raise LakeError(
                f"{key} does not have the object metadata of a segment ({error}).",
                f"Another program wrote it, or its metadata was edited. {REPAIR_HINT}",
            ) from error


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What one write added to a chain, which now ends at ``next_position``.

    ``adopted`` means that another writer had stored the segment at ``position``; nothing was added.
    ``reject_reason`` is why the first reject was rejected, empty if there is none.
    """

    position: int
    next_position: int
    records: int
    rejects: int
    objects: int
    bytes: int
    adopted: bool = False
    reject_reason: str = ""
