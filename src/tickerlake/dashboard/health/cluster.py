"""What Kafka says about the topics of some prefixes and the groups that read them."""

from collections.abc import Mapping, Sequence
from typing import Final

from tickerlake import clock
from tickerlake.dashboard.health.firsts import Firsts
from tickerlake.dashboard.health.rates import Rates
from tickerlake.dashboard.health.state import GroupState, LagState, PartitionState, TopicState
from tickerlake.errors import BrokerUnreachable, KafkaError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import Partition
from tickerlake.kafka.peek import Peek

MOST_TOPICS: Final = 500
MOST_GROUPS: Final = 200
_TIMEOUT_S: Final = 3.0
_PEEK_S: Final = 1.0
_OTHERS_S: Final = 10.0
_SMALL_LAG: Final = 16

GroupPlace = tuple[str, str, int]
"""Group, topic and partition."""


class Cluster:
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
        self._peek: Peek | None = None
        self._committed: dict[GroupPlace, int] = {}
        self._others: dict[str, float] = {}  # groups that read something else, and when to ask again
        self._moved: set[Partition] = set()
        self._written: Rates[Partition] = Rates()
        self._read: Rates[GroupPlace] = Rates()
        self.refused = ""
        self.ends: dict[Partition, tuple[int, int]] = {}
        self.firsts = Firsts()

    def look(self, prefixes: Sequence[str]) -> None:
        """Ask Kafka.

        Raises
        ------
        TickerlakeError
            If it does not answer, or refuses: then nothing has changed.
        """
        admin = self._admin = self._admin or Admin(self._servers, self._properties, _TIMEOUT_S)
        wanted = tuple(f"{prefix}." for prefix in prefixes)
        topics = {name: count for name, count in sorted(admin.topics().items()) if name.startswith(wanted)}
        topics = dict(list(topics.items())[:MOST_TOPICS])
        ends = admin.ends(topics)
        committed = self._ask_groups(admin, topics)
        now_s = clock.monotonic_s()
        self._take_ends(ends, topics)
        self._committed = {
            (group, *place): offset
            for group, places in committed.items()
            for place, offset in places.items()
            if place in self.ends
        }
        self._written.mark(now_s, {place: high for place, (_, high) in self.ends.items()})
        self._read.mark(now_s, self._committed)

    def _take_ends(self, ends: dict[Partition, tuple[int, int]], topics: Mapping[str, int]) -> None:
        before = self.ends
        # a partition that has no leader for now is still there
        kept = {place: both for place, both in before.items() if place[1] < topics.get(place[0], 0)}
        self.ends = {**kept, **ends}
        self._moved = {
            place for place, (_, high) in ends.items() if place in before and before[place][1] < high
        }
        anew = {place[0] for place, (_, high) in before.items() if self.ends.get(place, (0, -1))[1] < high}
        for topic in anew:
            self.firsts.forget(topic)

    def _ask_groups(self, admin: Admin, topics: Mapping[str, int]) -> dict[str, dict[Partition, int]]:
        now_s = clock.monotonic_s()
        if set(topics) - {topic for topic, _ in self.ends}:
            self._others.clear()  # who read something else may read these
        if not topics:
            return {}
        try:
            names = admin.groups()
        except BrokerUnreachable:
            raise
        except KafkaError as error:
            self.refused = error.message
            return self._before()
        self.refused = ""
        known = {group for group, _, _ in self._committed}
        waiting = [name for name in names if self._others.get(name, 0.0) <= now_s]
        asked = sorted(waiting, key=lambda name: (name not in known, name))[:MOST_GROUPS]
        found = admin.committed(asked)
        ours = {group: places for group, places in found.items() if any(t in topics for t, _ in places)}
        self._others = {name: until_s for name, until_s in self._others.items() if until_s > now_s}
        self._others |= {name: now_s + _OTHERS_S for name in asked if name not in ours}
        return ours

    def _before(self) -> dict[str, dict[Partition, int]]:
        found: dict[str, dict[Partition, int]] = {}
        for (group, topic, number), offset in self._committed.items():
            found.setdefault(group, {})[topic, number] = offset
        return found

    def ask(self) -> None:
        """Fetch the records that `firsts` was asked for and did not know."""
        self._peek = self._peek or Peek(self._servers, self._properties)
        self.firsts.ask(self._peek, _PEEK_S)

    def lose(self) -> None:
        """Note that Kafka does not answer: nothing is known to come in."""
        self._written.clear()
        self._read.clear()

    def topics(self) -> list[TopicState]:
        """Return the topics."""
        states = []
        for topic in sorted({place[0] for place in self.ends}):
            parts = self.partitions(topic)
            states.append(
                TopicState(
                    topic,
                    sum(high - low for low, high in parts.values()),
                    round(sum(self._written.of((topic, number)) for number in parts), 2),
                    [PartitionState(number, low, high) for number, (low, high) in parts.items()],
                )
            )
        return states

    def partitions(self, topic: str) -> dict[int, tuple[int, int]]:
        """Return earliest offset and end of each partition of a topic."""
        return {place[1]: both for place, both in sorted(self.ends.items()) if place[0] == topic}

    def groups(self) -> list[GroupState]:
        """Return the groups, once for each topic that they read."""
        parts: dict[tuple[str, str], list[LagState]] = {}
        rates: dict[tuple[str, str], float] = {}
        for (group, topic, number), offset in sorted(self._committed.items()):
            state = LagState(number, offset, self._lag((topic, number), offset))
            parts.setdefault((group, topic), []).append(state)
            rates[group, topic] = rates.get((group, topic), 0.0) + self._read.of((group, topic, number))
        return [
            GroupState(group, topic, sum(each.lag for each in lags), round(rates[group, topic], 2), lags)
            for (group, topic), lags in parts.items()
        ]

    def _lag(self, place: Partition, offset: int) -> int:
        low, high = self.ends[place]
        # where records come in, a few offsets are no matter, unless they are all that is left
        worth = place not in self._moved or high - offset <= _SMALL_LAG
        return self.left(place, max(offset, low), ask=worth)

    def left(self, place: Partition, offset: int, *, ask: bool = True) -> int:
        """Return how many offsets there are from the first record at ``offset`` or after it to the end."""
        _, high = self.ends[place]
        if offset >= high:
            return 0
        first = self.firsts.after(place, offset, high, ask=ask)
        if first is None:
            return high - offset
        return 0 if first.is_end else high - first.offset

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the ids of topics that are there."""
        return self._admin.topic_ids(topics) if self._admin else {}

    def close(self) -> None:
        """Close the connections."""
        if self._peek:
            self._peek.close()
