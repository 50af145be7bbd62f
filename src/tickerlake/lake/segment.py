"""What a segment is: its name, what it says about itself, and the rules of the chain. Pure.

A segment holds consecutive records of one topic partition. It is named by the offset where the
segment before it ended, so the segments of a partition form a chain that can be checked, and
continued, from names and headers alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, Self, cast, get_args

import msgspec

from tickerlake.errors import LakeError, UsageError

Format = Literal["ndjson", "parquet", "json"]
EXTENSIONS: dict[Format, str] = {"ndjson": "ndjson.gz", "parquet": "parquet", "json": "json"}
TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_SEGMENT_NAME = re.compile(r"(?P<position>\d{20})\.(ndjson\.gz|parquet|json)")
_MARKER_NAME = re.compile(r"(?P<start>\d{20})-(?P<end>\d{20})\.(?P<kind>hole|gap)")


REPAIR_HINT = "`tickerlake audit --deep` names what is damaged; with --repair -b KAFKA it is made anew."
"""What to do about a segment that is damaged or out of place."""

TOP_LEVEL_PREFIXES = ("raw/", "rejects/", "curated/", "loads/", "state/", "damaged/")
"""What a lake holds at its top."""


def check_topic(topic: str) -> str:
    """Return ``topic`` if Kafka would accept it as a name; names of objects are made of it."""
    if not TOPIC_NAME.fullmatch(topic) or topic in {".", ".."}:
        raise UsageError(
            f"{topic!r} is not a Kafka topic name.", "Use letters, digits, '.', '_' and '-', at most 249."
        )
    return topic


def check_format(name: str) -> Format:
    """Return ``name`` as a segment format."""
    if name not in get_args(Format):
        raise UsageError(f"There is no format {name!r}.", f"Use one of {', '.join(get_args(Format))}.")
    return cast(Format, name)


def topic_key(topic: str) -> str:
    """Key of the object that says what a topic's chain is."""
    return f"raw/{topic}/_topic.json"


def columns_key(topic: str) -> str:
    """Key of the object that says what the columns of a topic's Parquet segments are."""
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


def reject_key(topic: str, partition: int, offset: int) -> str:
    """Key of the reject made of the record at ``offset``."""
    return f"{reject_prefix(topic, partition)}{offset:020d}.json"


def parse_position(key: str) -> int | None:
    """Chain position in a segment's key, or None if the key is not a segment's."""
    match = _SEGMENT_NAME.fullmatch(key.rpartition("/")[2])
    return int(match["position"]) if match else None


MarkerKind = Literal["hole", "gap"]


@dataclass(frozen=True, slots=True)
class Marker:
    """In the format ``json``: the offsets ``[start, end)`` hold no records, or their records are lost."""

    kind: MarkerKind
    start: int
    end: int


def marker_key(topic: str, partition: int, marker: Marker) -> str:
    """Key of a marker, which is all that it says: the object is empty."""
    return f"{partition_prefix(topic, partition)}{marker.start:020d}-{marker.end:020d}.{marker.kind}"


def parse_marker(key: str) -> Marker | None:
    """Marker in a key, or None if the key is not a marker's."""
    match = _MARKER_NAME.fullmatch(key.rpartition("/")[2])
    if not match:
        return None
    return Marker(cast(MarkerKind, match["kind"]), int(match["start"]), int(match["end"]))


@dataclass(frozen=True, slots=True)
class SegmentMeta:
    """What a segment says about itself.

    ``position`` is where it begins in the chain, ``next_position`` where the next one will.
    ``records`` counts rows, ``rejects`` the records kept under ``rejects/`` instead;
    ``rows_crc32c`` is the checksum of the uncompressed rows. ``gap`` marks a segment without
    records that stands for offsets which Kafka had deleted before they could be stored.
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

    def matches(self, topic: "TopicMeta", partition: int, key: str) -> bool:
        """Tell whether this is what the segment of a key says, if it belongs where it is."""
        expected = (topic.topic, topic.topic_id, partition, parse_position(key))
        return expected == (self.topic, self.topic_id, self.partition, self.position)

    def to_metadata(self) -> dict[str, str]:
        """As the text pairs that an object store keeps beside an object."""
        return {name: msgspec.json.encode(value).decode().strip('"') for name, value in asdict(self).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], key: str) -> Self:
        """Read what `to_text` wrote.

        Raises
        ------
        LakeError
            If a value is missing or has another type: ``key`` is not a segment of ours.
        """
        try:
            return msgspec.convert(dict(metadata), cls, strict=False)
        except msgspec.ValidationError as error:
            raise LakeError(
                f"{key} does not say which records it holds ({error}).",
                f"Something else wrote it, or its metadata was edited. {REPAIR_HINT}",
            ) from error


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What one write added to a chain, which now ends at ``next_position``.

    ``adopted`` means that another write had been first at ``position``; then nothing was added.
    """

    position: int
    next_position: int
    records: int
    rejects: int
    objects: int
    bytes: int
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class TopicMeta:
    """What a topic's chain is, written once by the first worker (``_topic.json``).

    ``first_positions`` maps each partition (as text) to the earliest offset that Kafka retained
    when the chain began; a partition added later begins at 0.
    """

    topic: str
    topic_id: str
    cluster_id: str
    format: Format
    first_positions: dict[str, int]
    created_ms: int
    version: int = 1

    def first_position(self, partition: int) -> int:
        """Chain position at which ``partition`` begins."""
        return self.first_positions.get(str(partition), 0)


@dataclass(frozen=True, slots=True)
class ChainBreak:
    """A place where a chain does not hold: offsets ``[start, end)`` are missing or doubled."""

    kind: Literal["missing", "overlap"]
    start: int
    end: int
    key: str


def find_breaks(first_position: int, chain: Iterable[tuple[str, SegmentMeta]]) -> list[ChainBreak]:
    """Compare where each segment begins with where the one before it ended.

    Parameters
    ----------
    first_position
        Where the chain begins.
    chain
        Key and metadata of each segment, by position.
    """
    chain_breaks = []
    end = first_position
    for key, meta in chain:
        if meta.position > end:
            chain_breaks.append(ChainBreak("missing", end, meta.position, key))
        elif meta.position < end:
            chain_breaks.append(ChainBreak("overlap", meta.position, min(end, meta.next_position), key))
        end = max(end, meta.next_position)
    return chain_breaks
