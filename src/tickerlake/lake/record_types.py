"""The record type of each topic of a lake: that of its first record."""

import polars as pl

from tickerlake.lake.reader import partitions
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import TopicMeta
from tickerlake.lake.typed_records import chunks, read_object
from tickerlake.model.json import find_record_type
from tickerlake.model.schema import RECORD_TYPE_OF


class TopicRecordTypes:
    """The record types of a lake's topics, cached: detecting one reads a whole segment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cached: dict[str, str | None] = {}

    def find(self, topic: TopicMeta, registered: str | None = None) -> str | None:
        """Return a topic's record type; None if its records are not ours, or it has none yet.

        Parameters
        ----------
        registered
            The record type under which the topic was compacted, if it was: it saves the detection.
        """
        name = topic.topic
        if name not in self._cached:
            self._cached[name] = registered or _detect_record_type(self._store, topic)
        return self._cached[name]

    def refresh(self) -> None:
        """Forget which topics have no record type: they may have received records."""
        self._cached = {name: record_type for name, record_type in self._cached.items() if record_type}


def _detect_record_type(store: Store, topic: TopicMeta) -> str | None:
    for partition in partitions(store, topic.topic):
        for chunk in chunks(store, topic, partition, topic.first_position(partition)):
            if not chunk.keys:
                continue
            rows = read_object(store, chunk.keys[0])
            if isinstance(rows, pl.Series):
                return find_record_type(rows[0])
            schema = rows.get_column("schema")[0] if "schema" in rows.columns else None
            return RECORD_TYPE_OF.get(schema or "")
    return None
