"""One look at the whole pipeline, every two seconds or so."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tickerlake import clock
from tickerlake.dashboard.health.cluster import Cluster
from tickerlake.dashboard.health.lake import Held, Holder, Holdings
from tickerlake.dashboard.health.state import (
    CostState,
    KafkaState,
    LakeState,
    PipelineState,
    StoredState,
)
from tickerlake.errors import TickerlakeError
from tickerlake.lake.cost import cost
from tickerlake.lake.store.base import Store

LAKE_S: Final = 10.0
_STEP_S: Final = 1.0
_WAIT_S: Final = 1.2
_SILENT_S: Final = 20.0
_OTHER_TOPIC: Final = "The topic in Kafka is not the one that the lake holds: it was created anew."


class Health:
    """Looks at Kafka and the lake; remembers what it saw, so that a look costs little.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    store
        The lake; None if there is none.
    lake_s
        How often it is looked at.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        store: Store | None,
        lake_s: float = LAKE_S,
    ) -> None:
        self._cluster = Cluster(bootstrap_servers, properties)
        self._store = store
        self._counter = Counter(store, lake_s) if store else None
        self._ids: dict[str, str] = {}
        self._ids_s = 0.0
        self._stored_ms: dict[str, int] = {}

    def look(self, prefixes: Sequence[str]) -> dict[str, Any]:
        """Return the state of the pipeline, as plain data; from one thread.

        It takes some tens of milliseconds, about three seconds where Kafka does not answer: then what was
        known before is told again. A store that does not answer is not waited for.

        Parameters
        ----------
        prefixes
            Topics whose name begins with one of these and a dot.
        """
        kafka = self._ask_kafka(prefixes)
        holdings = self._counter.look(prefixes, self._ends()) if self._counter else None
        if holdings and kafka.ok:
            self._want(holdings)
        if kafka.ok:
            kafka = self._ask_records() or kafka
        # the lake's gaps use what has been learnt of records, so it comes after them
        lake = self._lake(holdings) if holdings else None
        state = PipelineState(
            clock.now_ns() // 1_000_000,
            kafka,
            self._cluster.topics(),
            self._cluster.groups(),
            lake,
            list(holdings.audits) if holdings else [],
        )
        plain: dict[str, Any] = msgspec.to_builtins(state)
        return plain

    def _ask_kafka(self, prefixes: Sequence[str]) -> KafkaState:
        try:
            self._cluster.look(prefixes)
            now_s = clock.monotonic_s()
            if now_s >= self._ids_s:
                self._take_ids()
                self._ids_s = now_s + LAKE_S
        except TickerlakeError as error:
            self._cluster.lose()
            return KafkaState(ok=False, error=error.message)
        return KafkaState(ok=True, error=self._cluster.refused)

    def _take_ids(self) -> None:
        before, self._ids = (
            self._ids,
            self._cluster.topic_ids(sorted({place[0] for place in self._cluster.ends})),
        )
        for topic, known in before.items():
            if self._ids.get(topic) != known:
                self._cluster.firsts.forget(topic)
                self._stored_ms.pop(topic, None)

    def _ask_records(self) -> KafkaState | None:
        self._cluster.groups()  # says which records it wants
        try:
            self._cluster.ask()
        except TickerlakeError as error:
            return KafkaState(ok=False, error=error.message)
        return None

    def _ends(self) -> dict[tuple[str, int], int]:
        """Return where partitions end, without what is known to hold no record."""
        held = self._counter.holdings.topics if self._counter else {}
        ends = {}
        for place, (_, high) in self._cluster.ends.items():
            counts = held[place[0]].parts.get(place[1]) if place[0] in held else None
            done = counts is not None and self._cluster.left(place, counts.end, ask=False) == 0
            ends[place] = counts.end if counts and done else high
        return ends

    def _want(self, holdings: Holdings) -> None:
        """Say which records are wanted: the first that is not stored, and the last that is."""
        for topic, held in holdings.topics.items():
            if self._is_other(held) or any(counts.counting for counts in held.parts.values()):
                continue
            for number, end in _chain_ends(held, self._cluster.partitions(topic)).items():
                low, high = self._cluster.ends[topic, number]
                self._cluster.left((topic, number), max(end, low))
                if low < end <= high:
                    self._cluster.firsts.after((topic, number), end - 1, high)

    def _is_other(self, held: Held) -> bool:
        return self._ids.get(held.topic.topic, held.topic.topic_id) != held.topic.topic_id

    def _lake(self, holdings: Holdings) -> LakeState:
        assert self._store is not None
        assert self._counter is not None
        topics = [self._stored(held) for held in holdings.topics.values()]
        topics += [
            StoredState(name, 0, 0, 0, 0, 0.0, 0, 0, 0, counting=False, error=error)
            for name, error in holdings.errors.items()
            if name not in holdings.topics
        ]
        objects = sum(counts.objects for held in holdings.topics.values() for counts in held.parts.values())
        objects += sum(1 + (held.topic.format == "parquet") for held in holdings.topics.values())
        about = cost(objects, sum(topic.bytes for topic in topics))
        spent = CostState(
            about.operations_usd, about.storage_usd_per_month, about.objects, about.bytes, about.explained()
        )
        error = self._counter.error
        return LakeState(self._store.uri, not error, error, topics, spent)

    def _stored(self, held: Held) -> StoredState:
        topic = held.topic.topic
        parts = held.parts.values()
        errors = [counts.error for counts in parts if counts.error]
        counting = any(counts.counting for counts in parts)
        behind, oldest_ms, lost = 0, 0, 0
        if self._is_other(held):
            errors.insert(0, _OTHER_TOPIC)
        elif not counting:
            behind, oldest_ms, lost = self._compare(held)
        age_s = max(0.0, clock.now_ns() / 1e9 - oldest_ms / 1e3) if oldest_ms else 0.0
        return StoredState(
            topic,
            segments=sum(counts.segments for counts in parts),
            bytes=sum(counts.bytes for counts in parts),
            records=sum(counts.records for counts in parts),
            behind=behind,
            behind_s=round(age_s, 3),
            stored_ms=self._stored_ms.get(topic, 0),
            rejects=sum(counts.rejects for counts in parts),
            gaps=sum(counts.gaps for counts in parts) + lost,
            counting=counting,
            error=" ".join(errors[:3]),
        )

    def _compare(self, held: Held) -> tuple[int, int, int]:
        """Return what is not stored, Kafka's time of the oldest of it, and what was lost before it was."""
        topic, cluster = held.topic.topic, self._cluster
        behind, lost, oldest = 0, 0, []
        for number, end in _chain_ends(held, cluster.partitions(topic)).items():
            place = (topic, number)
            low, high = cluster.ends[place]
            # offsets that are known to have held no record are no loss
            lost += max(0, low - cluster.firsts.empty_until(place, end))
            left = cluster.left(place, max(end, low), ask=False)
            behind += left
            first = cluster.firsts.after(place, max(end, low), high, ask=False)
            if left and first and first.timestamp_ms:
                oldest.append(first.timestamp_ms)
            last = cluster.firsts.after(place, end - 1, high, ask=False)
            if last and not last.is_end and last.offset < end:
                self._stored_ms[topic] = max(self._stored_ms.get(topic, 0), last.timestamp_ms)
        return behind, min(oldest, default=0), lost

    def close(self) -> None:
        """Close the connections to Kafka."""
        self._cluster.close()


def _chain_ends(held: Held, parts: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """Return where the lake's chain of each of Kafka's partitions ends."""
    return {
        number: held.parts[number].end if number in held.parts else held.topic.first_position(number)
        for number in parts
    }


class Counter:
    """Counts the lake in a thread of its own, as a store may take its time.

    Attributes
    ----------
    error
        Why the last count failed, else empty.
    """

    def __init__(self, store: Store, every_s: float) -> None:
        self._holder = Holder(store, every_s)
        self._every_s = every_s
        self._prefixes: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None
        self._started_s = self._next_s = 0.0
        self._told = ""
        self.error = ""

    @property
    def holdings(self) -> Holdings:
        """What the lake held when it was last counted."""
        return self._holder.holdings

    def look(self, prefixes: Sequence[str], ends: Mapping[tuple[str, int], int]) -> Holdings:
        """Count on if it is time to; return what is known, without waiting longer than about a second."""
        now_s = clock.monotonic_s()
        due = now_s >= self._next_s or self._holder.busy or tuple(prefixes) != self._prefixes
        if self._thread is None and due:
            self._started_s, self._next_s, self._prefixes = now_s, now_s + self._every_s, tuple(prefixes)
            # a daemon: what waits for a store that does not answer must not keep the process from ending
            self._thread = threading.Thread(
                target=self._step, args=(self._prefixes, dict(ends)), name="lake", daemon=True
            )
            self._thread.start()
        if self._thread is not None:
            self._thread.join(_WAIT_S)
            if not self._thread.is_alive():
                self._thread = None
                self.error = self._told
            elif clock.monotonic_s() > self._started_s + _SILENT_S:
                self.error = "The lake does not answer."
        return self._holder.holdings

    def _step(self, prefixes: Sequence[str], ends: Mapping[tuple[str, int], int]) -> None:
        try:
            self._holder.step(prefixes, ends, _STEP_S)
            self._told = ""
        except TickerlakeError as error:
            self._told = error.message
        except Exception as error:
            # a fault of ours must be seen, and must not end the page
            self._told = f"The dashboard failed to count the lake: {error!r}."
