"""What the lake holds of the topics of some prefixes, and what its last audits found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tickerlake import clock
from tickerlake.dashboard.health.chain_counters import ChainCounter, PartitionCounts, create_counter
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.audit.history import AuditRecord, read_latest
from tickerlake.lake.reader import topics
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import TOPIC_NAME, TopicMeta, read_topic

_RECHECK_INTERVAL_S: Final = 60.0
_SCAN_INTERVAL_S: Final = 300.0
_REMOTE_LIST_INTERVAL_S: Final = 60.0
"""A listing in a bucket costs money: one a minute is 22 cents a month."""


@dataclass(frozen=True, slots=True)
class TopicCounts:
    """What the lake holds of one topic: figures of its partitions."""

    metadata: TopicMeta
    partitions: Mapping[int, PartitionCounts]


@dataclass(frozen=True, slots=True)
class LakeCounts:
    """What the lake held at one moment."""

    topics: Mapping[str, TopicCounts]
    errors: Mapping[str, str]
    audits: Sequence[AuditRecord]


class LakeCounter:
    """Counts a lake a bit at a time; each `step` goes on where the one before stopped.

    Parameters
    ----------
    store
        Where the lake is.
    every_s
        How often something is listed; in a bucket once a minute at most.
    """

    def __init__(self, store: Store, interval_s: float) -> None:
        self._store = store
        self._list_interval_s = (
            max(interval_s, _REMOTE_LIST_INTERVAL_S) if store.uri.startswith("gs://") else interval_s
        )
        self._topics: dict[str, TopicMeta] = {}
        self._errors: dict[str, str] = {}
        self._chain_counters: dict[tuple[str, int], ChainCounter] = {}
        self._listed_s: dict[tuple[str, int], float] = {}
        self._audits: list[AuditRecord] = []
        self._prefixes: tuple[str, ...] = ()
        self._due_s: dict[str, float] = {}
        self.counts = LakeCounts({}, {}, [])
        self.is_counting = True

    def count_new(
        self, prefixes: Sequence[str], end_offsets: Mapping[tuple[str, int], int], timeout_s: float
    ) -> None:
        """Count what is new.

        Parameters
        ----------
        prefixes
            Of the topics that count.
        ends
            Where Kafka's partitions end, or where they did when it last answered.
        within_s
            How long it may take, about.
        """
        deadline_s = clock.monotonic_s() + timeout_s
        self._find_topics(prefixes, {topic for topic, _ in end_offsets})
        if self._due("audits", self._list_interval_s):
            self._audits = read_latest(self._store)
        for topic, meta in self._topics.items():
            numbers = {int(text) for text in meta.first_positions} | {
                n for name, n in end_offsets if name == topic
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
            [note for note in self._audits if note.topic.startswith(name_prefixes)],
        )
        self.is_counting = any(chain.counts.counting for chain in self._chain_counters.values())

    def _due(self, task: str, interval_s: float) -> bool:
        now_s = clock.monotonic_s()
        if self._due_s.get(task, 0.0) > now_s:
            return False
        self._due_s[task] = now_s + interval_s
        return True

    def _find_topics(self, prefixes: Sequence[str], in_kafka: Collection[str]) -> None:
        """Find topics: those of Kafka by name; those that Kafka does not have by a listing, seldom."""
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
            self._discard_topic(name)  # another lake stands where the one was that we counted
            self._topics[name] = meta

    def _discard_topic(self, name: str) -> None:
        self._topics.pop(name, None)
        self._errors.pop(name, None)
        for place in [place for place in self._chain_counters if place[0] == name]:
            del self._chain_counters[place]

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
                return  # all that there is in Kafka is stored
            if meta.format == "json" and now_s < self._listed_s.get(partition, 0.0) + self._list_interval_s:
                return
        self._listed_s[partition] = now_s
        chain.count_new(deadline_s)

    def _partition_counts(self, topic: str) -> dict[int, PartitionCounts]:
        return {
            number: replace(chain.counts)
            for (name, number), chain in self._chain_counters.items()
            if name == topic
        }
