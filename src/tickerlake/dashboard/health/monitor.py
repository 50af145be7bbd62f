"""Polls the whole pipeline: Kafka, and the lake in the background."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tickerlake import clock
from tickerlake.dashboard.health.cluster import ClusterMonitor
from tickerlake.dashboard.health.cost import estimate_cost
from tickerlake.dashboard.health.lake_counter import LakeCounter, LakeCounts, TopicCounts
from tickerlake.dashboard.health.state import (
    CostState,
    KafkaState,
    LakeState,
    LakeTopicState,
    PipelineState,
)
from tickerlake.errors import TickerlakeError
from tickerlake.kafka.client import Partition
from tickerlake.lake.formats import for_topic
from tickerlake.lake.store.base import ReadableStore

LAKE_INTERVAL_S: Final = 10.0
"""How current the counts of the lake are; also how soon a recreated topic is noticed."""
_COUNT_TIMEOUT_S: Final = 1.0
_JOIN_TIMEOUT_S: Final = 1.2
"""Above the timeout of a count, so that a poll mostly gets the result of the count that it started."""
_RESPONSE_TIMEOUT_S: Final = 20.0
"""A count that takes this long against its timeout of a second waits for the store."""
_RECREATED_TOPIC: Final = (
    "The topic in Kafka is not the one stored in the lake: it was deleted and recreated."
)


class HealthMonitor:
    """Polls Kafka and the lake incrementally, so that a poll is cheap.

    Parameters
    ----------
    bootstrap_servers, properties
        How to connect to the cluster.
    store
        The lake; None if there is none.
    lake_interval_s
        Time between counts of the lake.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        store: ReadableStore | None,
        lake_interval_s: float = LAKE_INTERVAL_S,
    ) -> None:
        self._cluster = ClusterMonitor(bootstrap_servers, properties)
        self._store = store
        self._lake_counter = BackgroundLakeCounter(store, lake_interval_s) if store else None
        self._topic_ids: dict[str, str] = {}
        self._next_ids_s = 0.0
        self._stored_ms: dict[str, int] = {}

    def poll(self, prefixes: Sequence[str]) -> dict[str, Any]:
        """Return the state of the pipeline (`PipelineState`) as plain data; call it from one thread.

        It takes tens of milliseconds, or about three seconds if Kafka does not respond; the state of Kafka is
        then the previous one. It does not wait for an unresponsive store.

        Parameters
        ----------
        prefixes
            Prefixes of the topics, without the dot.
        """
        kafka = self._poll_kafka(prefixes)
        lake_counts = self._lake_counter.poll(prefixes, self._end_offsets()) if self._lake_counter else None
        if lake_counts and kafka.ok:
            self._request_next_records(lake_counts)
        if kafka.ok:
            kafka = self._fetch_next_records() or kafka
        # lost records are computed from the fetched records, so the lake's state comes after them
        lake = self._lake_state(lake_counts) if lake_counts else None
        state = PipelineState(
            clock.now_ns() // 1_000_000,
            kafka,
            self._cluster.topics(),
            self._cluster.groups(),
            lake,
            list(lake_counts.audits) if lake_counts else [],
        )
        plain: dict[str, Any] = msgspec.to_builtins(state)
        return plain

    def _poll_kafka(self, prefixes: Sequence[str]) -> KafkaState:
        try:
            self._cluster.poll(prefixes)
            now_s = clock.monotonic_s()
            if now_s >= self._next_ids_s:
                self._update_topic_ids()
                self._next_ids_s = now_s + LAKE_INTERVAL_S
        except TickerlakeError as error:
            self._cluster.clear_rates()
            return KafkaState(ok=False, error=error.message)
        return KafkaState(ok=True, error=self._cluster.groups_error)

    def _update_topic_ids(self) -> None:
        before, self._topic_ids = (
            self._topic_ids,
            self._cluster.topic_ids(sorted({topic for topic, _ in self._cluster.watermarks})),
        )
        for topic, previous_id in before.items():
            if self._topic_ids.get(topic) != previous_id:
                self._cluster.next_records.discard(topic)
                self._stored_ms.pop(topic, None)

    def _fetch_next_records(self) -> KafkaState | None:
        self._cluster.groups()  # requests records
        try:
            self._cluster.fetch_next_records()
        except TickerlakeError as error:
            return KafkaState(ok=False, error=error.message)
        return None

    def _end_offsets(self) -> dict[Partition, int]:
        """Return the end offsets of partitions, without trailing offsets that are known to hold no record."""
        topics = self._lake_counter.counts.topics if self._lake_counter else {}
        ends = {}
        for partition, (_, high) in self._cluster.watermarks.items():
            counts = topics[partition[0]].partitions.get(partition[1]) if partition[0] in topics else None
            is_stored = (
                counts is not None and self._cluster.count_remaining(partition, counts.end, fetch=False) == 0
            )
            ends[partition] = counts.end if counts and is_stored else high
        return ends

    def _request_next_records(self, lake_counts: LakeCounts) -> None:
        """Request the first record that is not stored, and the last that is."""
        for topic, topic_counts in lake_counts.topics.items():
            if self._is_recreated(topic_counts) or any(
                counts.counting for counts in topic_counts.partitions.values()
            ):
                continue
            for number, end in _chain_ends(topic_counts, self._cluster.topic_watermarks(topic)).items():
                low, high = self._cluster.watermarks[topic, number]
                self._cluster.count_remaining((topic, number), max(end, low))
                if low < end <= high:
                    self._cluster.next_records.find_after((topic, number), end - 1, high)

    def _is_recreated(self, topic_counts: TopicCounts) -> bool:
        return (
            self._topic_ids.get(topic_counts.metadata.topic, topic_counts.metadata.topic_id)
            != topic_counts.metadata.topic_id
        )

    def _lake_state(self, lake_counts: LakeCounts) -> LakeState:
        assert self._store is not None
        assert self._lake_counter is not None
        topics = [self._topic_state(topic_counts) for topic_counts in lake_counts.topics.values()]
        topics += [
            LakeTopicState(name, 0, 0, 0, 0, 0.0, 0, 0, 0, counting=False, error=error)
            for name, error in lake_counts.errors.items()
            if name not in lake_counts.topics
        ]
        objects = sum(
            counts.objects
            for topic_counts in lake_counts.topics.values()
            for counts in topic_counts.partitions.values()
        )
        # `_topic.json`, and the columns of a Parquet topic
        objects += sum(
            1 + for_topic(topic_counts.metadata.format).has_columns
            for topic_counts in lake_counts.topics.values()
        )
        estimate = estimate_cost(objects, sum(topic.bytes for topic in topics))
        cost_state = CostState(
            estimate.operations_usd,
            estimate.storage_usd_per_month,
            estimate.objects,
            estimate.bytes,
            estimate.summary(),
        )
        error = self._lake_counter.error
        return LakeState(self._store.uri, not error, error, topics, cost_state)

    def _topic_state(self, topic_counts: TopicCounts) -> LakeTopicState:
        topic = topic_counts.metadata.topic
        partitions = topic_counts.partitions.values()
        errors = [counts.error for counts in partitions if counts.error]
        counting = any(counts.counting for counts in partitions)
        behind, oldest_ms, lost = 0, 0, 0
        if self._is_recreated(topic_counts):
            errors.insert(0, _RECREATED_TOPIC)
        elif not counting:
            behind, oldest_ms, lost = self._compare_with_kafka(topic_counts)
        age_s = max(0.0, clock.now_ns() / 1e9 - oldest_ms / 1e3) if oldest_ms else 0.0
        return LakeTopicState(
            topic,
            segments=sum(counts.segments for counts in partitions),
            bytes=sum(counts.bytes for counts in partitions),
            records=sum(counts.records for counts in partitions),
            behind=behind,
            behind_s=round(age_s, 3),
            stored_ms=self._stored_ms.get(topic, 0),
            rejects=sum(counts.rejects for counts in partitions),
            gaps=sum(counts.gaps for counts in partitions) + lost,
            counting=counting,
            error=" ".join(errors[:3]),
        )

    def _compare_with_kafka(self, topic_counts: TopicCounts) -> tuple[int, int, int]:
        """Return the number of offsets not stored, the oldest timestamp among them, and the offsets lost."""
        topic, cluster = topic_counts.metadata.topic, self._cluster
        behind, lost, oldest = 0, 0, []
        for number, end in _chain_ends(topic_counts, cluster.topic_watermarks(topic)).items():
            partition = (topic, number)
            low, high = cluster.watermarks[partition]
            # offsets that are known to have held no record are not lost
            lost += max(0, low - cluster.next_records.empty_until(partition, end))
            remaining = cluster.count_remaining(partition, max(end, low), fetch=False)
            behind += remaining
            first = cluster.next_records.find_after(partition, max(end, low), high, fetch=False)
            if remaining and first and first.timestamp_ms:
                oldest.append(first.timestamp_ms)
            last = cluster.next_records.find_after(partition, end - 1, high, fetch=False)
            if last and not last.is_end and last.offset < end:
                self._stored_ms[topic] = max(self._stored_ms.get(topic, 0), last.timestamp_ms)
        return behind, min(oldest, default=0), lost

    def close(self) -> None:
        """Close the connections to Kafka."""
        self._cluster.close()


def _chain_ends(topic_counts: TopicCounts, partitions: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """Return the end of the lake's chain for each of Kafka's partitions."""
    return {
        number: topic_counts.partitions[number].end
        if number in topic_counts.partitions
        else topic_counts.metadata.first_position(number)
        for number in partitions
    }


class BackgroundLakeCounter:
    """Counts the lake in a separate thread, as a store may be slow.

    Attributes
    ----------
    error
        Why the last count failed, or empty.
    """

    def __init__(self, store: ReadableStore, interval_s: float) -> None:
        self._counter = LakeCounter(store, interval_s)
        self._interval_s = interval_s
        self._prefixes: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None
        self._started_s = self._next_s = 0.0
        self._last_error = ""
        self.error = ""

    @property
    def counts(self) -> LakeCounts:
        """The last counts."""
        return self._counter.counts

    def poll(self, prefixes: Sequence[str], end_offsets: Mapping[Partition, int]) -> LakeCounts:
        """Continue counting if it is due; return the last counts after about a second at the latest."""
        now_s = clock.monotonic_s()
        due = now_s >= self._next_s or self._counter.is_counting or tuple(prefixes) != self._prefixes
        if self._thread is None and due:
            self._started_s, self._next_s, self._prefixes = now_s, now_s + self._interval_s, tuple(prefixes)
            # a daemon: a thread that waits for an unresponsive store must not keep the process from exiting
            self._thread = threading.Thread(
                target=self._count, args=(self._prefixes, dict(end_offsets)), name="lake", daemon=True
            )
            self._thread.start()
        if self._thread is not None:
            self._thread.join(_JOIN_TIMEOUT_S)
            if not self._thread.is_alive():
                self._thread = None
                self.error = self._last_error
            elif clock.monotonic_s() > self._started_s + _RESPONSE_TIMEOUT_S:
                self.error = "The lake is not responding."
        return self._counter.counts

    def _count(self, prefixes: Sequence[str], end_offsets: Mapping[Partition, int]) -> None:
        try:
            self._counter.count_new(prefixes, end_offsets, _COUNT_TIMEOUT_S)
            self._last_error = ""
        except TickerlakeError as error:
            self._last_error = error.message
        except Exception as error:
            # a bug here must be visible, and must not stop the dashboard
            self._last_error = f"The dashboard failed to count the lake: {error!r}."
