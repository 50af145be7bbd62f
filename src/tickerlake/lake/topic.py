"""A topic in the lake: its metadata (``_topic.json``), its name and its storage format."""

import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

import msgspec

from tickerlake.errors import LakeError, ObjectExists, UsageError
from tickerlake.lake.format_version import ensure_format_version
from tickerlake.lake.store.base import ReadableStore, Store

Format = Literal["ndjson", "parquet", "json"]
TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def check_topic(topic: str) -> str:
    """Return ``topic`` if Kafka would accept it as a name; object names contain it."""
    if not TOPIC_NAME.fullmatch(topic) or topic in {".", ".."}:
        raise UsageError(
            f"{topic!r} is not a Kafka topic name.", "Use letters, digits, '.', '_' and '-', at most 249."
        )
    return topic


def check_format(name: str) -> Format:
    """Return ``name`` as a storage format."""
    if name not in get_args(Format):
        raise UsageError(f"There is no format {name!r}.", f"Use one of {', '.join(get_args(Format))}.")
    return cast(Format, name)


def topic_key(topic: str) -> str:
    """Key of the object that holds a topic's metadata."""
    return f"raw/{topic}/_topic.json"


@dataclass(frozen=True, slots=True)
class TopicMeta:
    """Metadata of a topic, written once by the first worker (``_topic.json``).

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


def open_topic(store: Store, expected: TopicMeta) -> TopicMeta:
    """Create a topic's metadata, and the lake if it is new, or check that the stored topic is the same.

    Returns
    -------
    TopicMeta
        The stored metadata: ``first_positions`` and ``created_ms`` are those of the first worker.

    Raises
    ------
    LakeError
        The topic was recreated, or is of another cluster; or this version cannot read the lake.
    UsageError
        The topic is stored in another format, or the store holds something that is not a lake.
    """
    key = topic_key(check_topic(expected.topic))
    ensure_format_version(store)
    try:
        store.create(key, msgspec.json.encode(expected), metadata={}, content_type="application/json")
    except ObjectExists:
        return check_same_topic(read_topic(store, expected.topic), expected, store.uri)
    return expected


def read_topic(store: ReadableStore, topic: str) -> TopicMeta:
    """Read a topic's metadata; ObjectMissing if the lake does not have the topic."""
    key = topic_key(topic)
    try:
        return msgspec.json.decode(store.read(key), type=TopicMeta)
    except msgspec.MsgspecError as error:
        raise LakeError(f"{store.uri}/{key} is damaged: {error}.", "Restore it from a backup.") from error


def check_same_topic(stored: TopicMeta, expected: TopicMeta, uri: str) -> TopicMeta:
    """Return ``stored`` if it is of the same topic and format as ``expected``; raises as `open_topic`."""
    if (stored.cluster_id, stored.topic_id) != (expected.cluster_id, expected.topic_id):
        is_same_cluster = stored.cluster_id == expected.cluster_id
        reason = "was deleted and recreated" if is_same_cluster else "is of another cluster"
        raise LakeError(
            f"The topic {expected.topic} {reason} since {uri} began to store it (topic id "
            f"{stored.topic_id} on cluster {stored.cluster_id} in the lake, {expected.topic_id} on "
            f"{expected.cluster_id} in Kafka).",
            "Its offsets now mean other records. Store the new topic in another lake (--lake).",
        )
    if stored.format != expected.format:
        raise UsageError(
            f"{uri} stores the topic {expected.topic} as {stored.format}, not {expected.format}.",
            f"Use --format {stored.format}, or another lake.",
        )
    return stored
