"""What Kafka says about the topics of some prefixes and the groups that read them."""

from collections.abc import Mapping, Sequence
from typing import Final

from tickerlake import clock
from tickerlake.dashboard.health.firsts import NextRecordCache
from tickerlake.dashboard.health.rates import Rates
from tickerlake.dashboard.health.state import GroupState, PartitionLagState, PartitionState, TopicState
from tickerlake.errors import BrokerUnreachable, KafkaError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.probe import OffsetProbe

MAX_TOPICS: Final = 500
MAX_GROUPS: Final = 200
_TIMEOUT_S: Final = 3.0
_PROBE_TIMEOUT_S: Final = 1.0
_OTHER_GROUPS_INTERVAL_S: Final = 10.0
_SMALL_LAG: Final = 16

GroupPartition = tuple[str, str, int]
"""Group, topic and partition."""


class ClusterMonitor:
    """Looks at Kafka; keeps what it saw last while Kafka does not answer.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.

    Attributes
    ----------
    refused
        What Kafka did not let us see, else empty.
    ends
        Earliest retained offset and end of the committed records, by partition.
    firsts
        What follows an offset.
    """

    def __init__(self, bootstrap_servers: str, properties: Mapping[str, str]) -> None:
        self._servers, self._properties = bootstrap_servers, dict(properties)
        self._admin: Admin | None = None
        self._probe: OffsetProbe | None = None
        self._committed: dict[GroupPartition, int] = {}
        self._other_groups: dict[str, float] = {}  # groups that read something else, and when to ask again
        self._advanced: set[Partition] = set()
        self._write_rates: Rates[Partition] = Rates()
        self._read_rates: Rates[GroupPartition] = Rates()
        self.groups_error = ""
        self.watermarks: dict[Partition, tuple[int, int]] = {}
        self.next_records = NextRecordCache()

    def poll(self, prefixes: Sequence[str]) -> None:
        """Ask Kafka.

        Raises
        ------
        TickerlakeError
            If it does not answer, or refuses: then nothing has changed.
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
            (group, *place): offset
            for group, places in committed.items()
            for place, offset in places.items()
            if place in self.watermarks
        }
        self._write_rates.add(now_s, {place: high for place, (_, high) in self.watermarks.items()})
        self._read_rates.add(now_s, self._committed)

    def _update_watermarks(
        self, watermarks: dict[Partition, tuple[int, int]], topics: Mapping[str, int]
    ) -> None:
        before = self.watermarks
        # a partition that has no leader for now is still there
        retained = {place: both for place, both in before.items() if place[1] < topics.get(place[0], 0)}
        self.watermarks = {**retained, **watermarks}
        self._advanced = {
            place for place, (_, high) in watermarks.items() if place in before and before[place][1] < high
        }
        recreated = {
            place[0] for place, (_, high) in before.items() if self.watermarks.get(place, (0, -1))[1] < high
        }
        for topic in recreated:
            self.next_records.discard(topic)

    def _fetch_committed(self, admin: Admin, topics: Mapping[str, int]) -> dict[str, dict[Partition, int]]:
        now_s = clock.monotonic_s()
        if set(topics) - {topic for topic, _ in self.watermarks}:
            self._other_groups.clear()  # who read something else may read these
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
        ours = {group: places for group, places in committed.items() if any(t in topics for t, _ in places)}
        self._other_groups = {
            name: until_s for name, until_s in self._other_groups.items() if until_s > now_s
        }
        self._other_groups |= {
            name: now_s + _OTHER_GROUPS_INTERVAL_S for name in requested if name not in ours
        }
        return ours

    def _last_committed(self) -> dict[str, dict[Partition, int]]:
        committed: dict[str, dict[Partition, int]] = {}
        for (group, topic, number), offset in self._committed.items():
            committed.setdefault(group, {})[topic, number] = offset
        return committed

    def fetch_next_records(self) -> None:
        """Fetch the records that `firsts` was asked for and did not know."""
        self._probe = self._probe or OffsetProbe(self._servers, self._properties)
        self.next_records.fetch_pending(self._probe, _PROBE_TIMEOUT_S)

    def clear_rates(self) -> None:
        """Note that Kafka does not answer: nothing is known to come in."""
        self._write_rates.clear()
        self._read_rates.clear()

    def topics(self) -> list[TopicState]:
        """Return the topics."""
        states = []
        for topic in sorted({place[0] for place in self.watermarks}):
            parts = self.topic_watermarks(topic)
            states.append(
                TopicState(
                    topic,
                    sum(high - low for low, high in parts.values()),
                    round(sum(self._write_rates.rate((topic, number)) for number in parts), 2),
                    [PartitionState(number, low, high) for number, (low, high) in parts.items()],
                )
            )
        return states

    def topic_watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return earliest offset and end of each partition of a topic."""
        return {place[1]: both for place, both in sorted(self.watermarks.items()) if place[0] == topic}

    def groups(self) -> list[GroupState]:
        """Return the groups, once for each topic that they read."""
        parts: dict[tuple[str, str], list[PartitionLagState]] = {}
        rates: dict[tuple[str, str], float] = {}
        for (group, topic, number), offset in sorted(self._committed.items()):
            state = PartitionLagState(number, offset, self._lag((topic, number), offset))
            parts.setdefault((group, topic), []).append(state)
            rates[group, topic] = rates.get((group, topic), 0.0) + self._read_rates.rate(
                (group, topic, number)
            )
        return [
            GroupState(group, topic, sum(each.lag for each in lags), round(rates[group, topic], 2), lags)
            for (group, topic), lags in parts.items()
        ]

    def _lag(self, partition: Partition, offset: int) -> int:
        low, high = self.watermarks[partition]
        # where records come in, a few offsets are no matter, unless they are all that is left
        should_fetch = partition not in self._advanced or high - offset <= _SMALL_LAG
        return self.count_remaining(partition, max(offset, low), fetch=should_fetch)

    def count_remaining(self, partition: Partition, offset: int, *, fetch: bool = True) -> int:
        """Return how many offsets there are from the first record at ``offset`` or after it to the end."""
        _, high = self.watermarks[partition]
        if offset >= high:
            return 0
        first = self.next_records.find_after(partition, offset, high, fetch=fetch)
        if first is None:
            return high - offset
        return 0 if first.is_end else high - first.offset

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the ids of topics that are there."""
        return self._admin.topic_ids(topics) if self._admin else {}

    def close(self) -> None:
        """Close the connections."""
        if self._probe:
            self._probe.close()
