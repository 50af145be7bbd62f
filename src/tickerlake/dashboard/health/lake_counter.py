"""Counts what the lake holds of the topics of some prefixes, and reads its last audits."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tickerlake import clock
from tickerlake.dashboard.health.chain_counters import ChainCounter, PartitionCounts, create_counter
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.kafka.client import Partition
from tickerlake.lake.audit.history import AuditRecord, read_latest
from tickerlake.lake.formats import for_topic
from tickerlake.lake.reader import topics
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import TOPIC_NAME, TopicMeta, read_topic

_RECHECK_INTERVAL_S: Final = 60.0
"""How soon a topic that was deleted from the lake, or replaced in it, is noticed: one read per topic."""
_SCAN_INTERVAL_S: Final = 300.0
"""How soon a topic that exists only in the lake is found; topics of Kafka are found by name."""
_REMOTE_LIST_INTERVAL_S: Final = 60.0
"""Listings of a bucket cost money: one per minute is 22 cents per month."""


@dataclass(frozen=True, slots=True)
class TopicCounts:
    """The counts of one topic in the lake, by partition."""

    metadata: TopicMeta
    partitions: Mapping[int, PartitionCounts]


@dataclass(frozen=True, slots=True)
class LakeCounts:
    """The counts of a lake at one point in time."""

    topics: Mapping[str, TopicCounts]
    errors: Mapping[str, str]
    audits: Sequence[AuditRecord]


class LakeCounter:
    """Counts a lake incrementally: each `count_new` continues where the previous one stopped.

    Parameters
    ----------
    store
        The store of the lake.
    interval_s
        Time between listings; in a bucket at least a minute.
    """

    def __init__(self, store: ReadableStore, interval_s: float) -> None:
        self._store = store
        self._list_interval_s = (
            max(interval_s, _REMOTE_LIST_INTERVAL_S) if store.listing_costs else interval_s
        )
        self._topics: dict[str, TopicMeta] = {}
        self._errors: dict[str, str] = {}
        self._chain_counters: dict[Partition, ChainCounter] = {}
        self._listed_s: dict[Partition, float] = {}
        self._audits: list[AuditRecord] = []
        self._prefixes: tuple[str, ...] = ()
        self._due_s: dict[str, float] = {}
        self.counts = LakeCounts({}, {}, [])
        self.is_counting = True

    def count_new(
        self, prefixes: Sequence[str], end_offsets: Mapping[Partition, int], timeout_s: float
    ) -> None:
        """Count what is new.

        Parameters
        ----------
        prefixes
            Prefixes of the topics to count.
        end_offsets
            End offsets of Kafka's partitions, as of its last response.
        timeout_s
            Approximate time limit.
        """
        deadline_s = clock.monotonic_s() + timeout_s
        self._find_topics(prefixes, {topic for topic, _ in end_offsets})
        if self._due("audits", self._list_interval_s):
            self._audits = read_latest(self._store)
        for topic, meta in self._topics.items():
            numbers = {int(text) for text in meta.first_positions} | {
                number for name, number in end_offsets if name == topic
            }
            for number in sorted(numbers):
                self._count_partition(meta, number, end_offsets.get((topic, number)), deadline_s)
        name_prefixes = tuple(f"{prefix}." for prefix in prefixes)
        self.counts = LakeCounts(
            {
                topic: TopicCounts(meta, self._partition_counts(topic))
                for topic, meta in sorted(self._topics.items())
            },
            dict(self._errors),
            [record for record in self._audits if record.topic.startswith(name_prefixes)],
        )
        self.is_counting = any(chain.counts.counting for chain in self._chain_counters.values())

    def _due(self, task: str, interval_s: float) -> bool:
        now_s = clock.monotonic_s()
        if self._due_s.get(task, 0.0) > now_s:
            return False
        self._due_s[task] = now_s + interval_s
        return True

    def _find_topics(self, prefixes: Sequence[str], in_kafka: Collection[str]) -> None:
        """Find topics: those of Kafka by name, others by a listing, rarely."""
        names = set(in_kafka) - set(self._topics)
        if self._due("check", _RECHECK_INTERVAL_S):
            names |= set(self._topics)
        if tuple(prefixes) != self._prefixes:
            self._prefixes = tuple(prefixes)
            self._due_s.pop("scan", None)
        if self._due("scan", _SCAN_INTERVAL_S):
            scan_prefixes = [f"{prefix}." for prefix in prefixes if TOPIC_NAME.fullmatch(f"{prefix}.")]
            names |= {name for each in scan_prefixes for name in topics(self._store, each)}
        name_prefixes = tuple(f"{prefix}." for prefix in prefixes)
        for name in sorted(names):
            if name.startswith(name_prefixes) and TOPIC_NAME.fullmatch(name):
                self._refresh_topic(name)
        for name in [name for name in self._topics if not name.startswith(name_prefixes)]:
            self._discard_topic(name)

    def _refresh_topic(self, name: str) -> None:
        try:
            meta = read_topic(self._store, name)
        except ObjectMissing:
            self._discard_topic(name)
            return
        except LakeError as error:
            self._errors[name] = error.message
            return
        self._errors.pop(name, None)
        if self._topics.get(name) != meta:
            self._discard_topic(name)  # the lake was replaced
            self._topics[name] = meta

    def _discard_topic(self, name: str) -> None:
        self._topics.pop(name, None)
        self._errors.pop(name, None)
        for partition in [partition for partition in self._chain_counters if partition[0] == name]:
            del self._chain_counters[partition]

    def _count_partition(self, meta: TopicMeta, number: int, end: int | None, deadline_s: float) -> None:
        partition = (meta.topic, number)
        chain = self._chain_counters.get(partition)
        if chain is None:
            chain = self._chain_counters[partition] = create_counter(self._store, meta, number)
        counts, now_s = chain.counts, clock.monotonic_s()
        if now_s >= deadline_s:
            return
        if not counts.counting:
            if end is not None and counts.end >= end:
                return  # everything in Kafka is stored
            is_listed = for_topic(meta.format).one_object_per_record
            if is_listed and now_s < self._listed_s.get(partition, 0.0) + self._list_interval_s:
                return
        self._listed_s[partition] = now_s
        chain.count_new(deadline_s)

    def _partition_counts(self, topic: str) -> dict[int, PartitionCounts]:
        return {
            number: replace(chain.counts)
            for (name, number), chain in self._chain_counters.items()
            if name == topic
        }
