"""The state of the cluster: topics of some prefixes, the groups that read them, their lag and rates."""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from tickerlake import clock
from tickerlake.dashboard.health.state import GroupState, PartitionLagState, PartitionState, TopicState
from tickerlake.errors import BrokerUnreachable, KafkaError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.probe import NextRecord, OffsetProbe

MAX_TOPICS: Final = 500
MAX_GROUPS: Final = 200
"""Topics and groups per poll: each adds to the requests of a poll and to the size of the state."""
_TIMEOUT_S: Final = 3.0
"""A poll of an unresponsive cluster takes this long."""
_PROBE_TIMEOUT_S: Final = 1.0
"""What is not fetched in time is fetched by the next poll."""
_OTHER_GROUPS_INTERVAL_S: Final = 10.0
"""How soon a group that read only other topics is queried again."""
_SMALL_LAG: Final = 16
"""A lag that may consist of transaction markers only, each of which is an offset."""
RATE_WINDOW_S: Final = 10.5
"""Ten seconds of polls every two seconds, each of which may be late."""
_MAX_CACHED_RECORDS: Final = 32
"""Per partition: about one for each group that reads it, and two for the lake."""
_MAX_FETCH_ROUNDS: Final = 3
"""Rounds per poll, of one offset per partition each; further offsets are fetched by the next polls."""
_FETCH_BATCH_SIZE: Final = 256
"""Partitions per round, which the probe assigns at once."""

GroupPartition = tuple[str, str, int]
"""Group, topic and partition."""
_Key = TypeVar("_Key", bound=Hashable)


class ClusterMonitor:
    """Polls Kafka; while Kafka does not respond, the last state remains.

    Parameters
    ----------
    bootstrap_servers, properties
        How to connect to the cluster.

    Attributes
    ----------
    groups_error
        Why groups could not be listed, or empty.
    watermarks
        Earliest retained offset and end of the committed records, by partition.
    next_records
        The first record at or after an offset, as far as it was fetched.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self._servers, self._properties = bootstrap_servers, dict(properties)
        self._admin: Admin | None = None
        self._probe: OffsetProbe | None = None
        self._committed: dict[GroupPartition, int] = {}
        self._other_groups: dict[
            str, float
        ] = {}  # groups that read other topics, and when to query them again
        self._advanced: set[Partition] = set()
        self._write_rates: Rates[Partition] = Rates()
        self._read_rates: Rates[GroupPartition] = Rates()
        self.groups_error = ""
        self.watermarks: dict[Partition, tuple[int, int]] = {}
        self.next_records = NextRecordCache()

    def poll(self, prefixes: Sequence[str]) -> None:
        """Query Kafka.

        Raises
        ------
        TickerlakeError
            If Kafka does not respond, or denies the request; the state is then unchanged.
        """
        admin = self._admin = self._admin or Admin(self._servers, self._properties, _TIMEOUT_S)
        name_prefixes = tuple(f"{prefix}." for prefix in prefixes)
        topics = {
            name: count for name, count in sorted(admin.topics().items()) if name.startswith(name_prefixes)
        }
        topics = dict(list(topics.items())[:MAX_TOPICS])
        watermarks = admin.offset_ranges(topics)
        committed = self._fetch_committed(admin, topics)
        now_s = clock.monotonic_s()
        self._update_watermarks(watermarks, topics)
        self._committed = {
            (group, *partition): offset
            for group, offsets in committed.items()
            for partition, offset in offsets.items()
            if partition in self.watermarks
        }
        self._write_rates.add(now_s, {partition: high for partition, (_, high) in self.watermarks.items()})
        self._read_rates.add(now_s, self._committed)

    def _update_watermarks(
        self, watermarks: dict[Partition, tuple[int, int]], topics: Mapping[str, int]
    ) -> None:
        before = self.watermarks
        # partitions without a leader are missing from the response, but still exist
        leaderless = {
            (topic, number): offsets
            for (topic, number), offsets in before.items()
            if number < topics.get(topic, 0)
        }
        self.watermarks = {**leaderless, **watermarks}
        self._advanced = {
            partition
            for partition, (_, high) in watermarks.items()
            if partition in before and before[partition][1] < high
        }
        recreated = {
            partition[0]
            for partition, (_, high) in before.items()
            if self.watermarks.get(partition, (0, -1))[1] < high
        }
        for topic in recreated:
            self.next_records.discard(topic)

    def _fetch_committed(self, admin: Admin, topics: Mapping[str, int]) -> dict[str, dict[Partition, int]]:
        now_s = clock.monotonic_s()
        if set(topics) - {topic for topic, _ in self.watermarks}:
            self._other_groups.clear()  # groups of other topics may read a new topic
        if not topics:
            return {}
        try:
            names = admin.groups()
        except BrokerUnreachable:
            raise
        except KafkaError as error:
            self.groups_error = error.message
            return self._last_committed()
        self.groups_error = ""
        previous = {group for group, _, _ in self._committed}
        due = [name for name in names if self._other_groups.get(name, 0.0) <= now_s]
        requested = sorted(due, key=lambda name: (name not in previous, name))[:MAX_GROUPS]
        committed = admin.committed_offsets(requested)
        relevant = {
            group: offsets
            for group, offsets in committed.items()
            if any(topic in topics for topic, _ in offsets)
        }
        self._other_groups = {
            name: until_s for name, until_s in self._other_groups.items() if until_s > now_s
        }
        self._other_groups |= {
            name: now_s + _OTHER_GROUPS_INTERVAL_S for name in requested if name not in relevant
        }
        return relevant

    def _last_committed(self) -> dict[str, dict[Partition, int]]:
        committed: dict[str, dict[Partition, int]] = {}
        for (group, topic, number), offset in self._committed.items():
            committed.setdefault(group, {})[topic, number] = offset
        return committed

    def fetch_next_records(self) -> None:
        """Fetch the records that were requested from `next_records` and were not cached."""
        self._probe = self._probe or OffsetProbe(self._servers, self._properties)
        self.next_records.fetch_pending(self._probe, _PROBE_TIMEOUT_S)

    def clear_rates(self) -> None:
        """Reset the rates, as Kafka does not respond."""
        self._write_rates.clear()
        self._read_rates.clear()

    def topics(self) -> list[TopicState]:
        """Return the topics."""
        states = []
        for topic in sorted({topic for topic, _ in self.watermarks}):
            watermarks = self.topic_watermarks(topic)
            states.append(
                TopicState(
                    topic,
                    sum(high - low for low, high in watermarks.values()),
                    round(sum(self._write_rates.rate((topic, number)) for number in watermarks), 2),
                    [PartitionState(number, low, high) for number, (low, high) in watermarks.items()],
                )
            )
        return states

    def topic_watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return earliest offset and end of each partition of a topic."""
        return {
            number: offsets for (name, number), offsets in sorted(self.watermarks.items()) if name == topic
        }

    def groups(self) -> list[GroupState]:
        """Return the groups, one state per topic that a group reads."""
        lags: dict[tuple[str, str], list[PartitionLagState]] = {}
        rates: dict[tuple[str, str], float] = {}
        for (group, topic, number), offset in sorted(self._committed.items()):
            state = PartitionLagState(number, offset, self._lag((topic, number), offset))
            lags.setdefault((group, topic), []).append(state)
            rates[group, topic] = rates.get((group, topic), 0.0) + self._read_rates.rate(
                (group, topic, number)
            )
        return [
            GroupState(group, topic, sum(each.lag for each in states), round(rates[group, topic], 2), states)
            for (group, topic), states in lags.items()
        ]

    def _lag(self, partition: Partition, offset: int) -> int:
        low, high = self.watermarks[partition]
        # while records arrive, a few markers do not matter, unless they may be the whole lag
        should_fetch = partition not in self._advanced or high - offset <= _SMALL_LAG
        return self.count_remaining(partition, max(offset, low), fetch=should_fetch)

    def count_remaining(self, partition: Partition, offset: int, *, fetch: bool = True) -> int:
        """Return the number of offsets from the first record at or after ``offset`` to the end."""
        _, high = self.watermarks[partition]
        if offset >= high:
            return 0
        record = self.next_records.find_after(partition, offset, high, fetch=fetch)
        if record is None:
            return high - offset
        return 0 if record.is_end else high - record.offset

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the ids of the topics that exist."""
        return self._admin.topic_ids(topics) if self._admin else {}

    def close(self) -> None:
        """Close the connections."""
        if self._probe:
            self._probe.close()


class NextRecordCache:
    """The first record at or after an offset, cached so that Kafka is rarely queried.

    Between an offset and the end of a partition there may be no record at all: transaction markers and
    aborted records have offsets, too. So the end minus an offset is not the number of records left to read.
    """

    def __init__(self) -> None:
        self._cached: dict[Partition, dict[int, NextRecord]] = {}  # oldest first
        self._pending: dict[Partition, set[int]] = {}

    def find_after(
        self, partition: Partition, offset: int, end: int, *, fetch: bool = True
    ) -> NextRecord | None:
        """Return the first record at or after ``offset``, or None if it is not cached.

        Parameters
        ----------
        end
            The current end of the partition: that there was no record before an earlier end is outdated.
        fetch
            Whether the next `fetch_pending` fetches a record that is not cached.
        """
        cached = self._cached.get(partition) or {}
        for start, record in cached.items():
            # the first record after a start is also the first after every offset between them
            if start <= offset <= record.offset and (not record.is_end or record.offset >= end):
                return record
        if fetch:
            self._pending.setdefault(partition, set()).add(offset)
        return None

    def empty_until(self, partition: Partition, offset: int) -> int:
        """Return the offset up to which, from ``offset`` on, there is known to be no record."""
        cached = self._cached.get(partition) or {}
        return max(
            (record.offset for start, record in cached.items() if start <= offset <= record.offset),
            default=offset,
        )

    def fetch_pending(self, probe: OffsetProbe, timeout_s: float) -> None:
        """Fetch what is pending, as far as the time allows; the next poll requests the rest again."""
        deadline_s = clock.monotonic_s() + timeout_s
        for _ in range(_MAX_FETCH_ROUNDS):
            remaining_s = deadline_s - clock.monotonic_s()
            if not self._pending or remaining_s <= 0:
                break
            # the highest offset first: if a record follows it, the lower ones lag in any case
            starts = {
                partition: max(offsets)
                for partition, offsets in list(self._pending.items())[:_FETCH_BATCH_SIZE]
            }
            self._update(starts, probe.next_records(starts, remaining_s))
        self._pending.clear()

    def _update(self, starts: Mapping[Partition, int], records: Mapping[Partition, NextRecord]) -> None:
        for partition, start in starts.items():
            self._pending[partition].discard(start)
            if not self._pending[partition]:
                del self._pending[partition]
            if partition in records:
                cached = self._cached.setdefault(partition, {})
                cached.pop(start, None)
                cached[start] = records[partition]
                while len(cached) > _MAX_CACHED_RECORDS:
                    del cached[next(iter(cached))]

    def discard(self, topic: str) -> None:
        """Discard a topic that was deleted or recreated."""
        for partition in [partition for partition in self._cached if partition[0] == topic]:
            del self._cached[partition]


class Rates(Generic[_Key]):
    """How fast offsets advance, over about ten seconds. Pure."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[_Key, int]]] = deque()

    def add(self, now_s: float, offsets: Mapping[_Key, int]) -> None:
        """Add a sample of offsets."""
        while self._samples and now_s - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()
        self._samples.append((now_s, offsets))

    def clear(self) -> None:
        """Discard all samples."""
        self._samples.clear()

    def rate(self, key: _Key) -> float:
        """Return offsets per second; 0 for a key that is new or whose offsets went back."""
        if len(self._samples) < 2:
            return 0.0
        now_s, offsets = self._samples[-1]
        samples = [(then_s, then[key]) for then_s, then in self._samples if key in then]
        if len(samples) < 2 or key not in offsets or samples[0][0] >= now_s:
            return 0.0
        return max(0, offsets[key] - samples[0][1]) / (now_s - samples[0][0])
