"""What the lake holds of the topics of some prefixes, and what its last audits found."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tickerlake import clock
from tickerlake.dashboard.health.chains import Chain, Counts, follow
from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.audits import AuditNote, newest
from tickerlake.lake.reader import topics
from tickerlake.lake.segment import TOPIC_NAME, TopicMeta
from tickerlake.lake.store.base import Store
from tickerlake.lake.writer import read_topic

_CHECK_S: Final = 60.0
_SCAN_S: Final = 300.0
_REMOTE_LIST_S: Final = 60.0
"""A listing in a bucket costs money: one a minute is 22 cents a month."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the lake holds of one topic: figures of its partitions."""

    topic: TopicMeta
    parts: Mapping[int, Counts]


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the lake held at one moment."""

    topics: Mapping[str, Held]
    errors: Mapping[str, str]
    audits: Sequence[AuditNote]


class Holder:
    """Counts a lake a bit at a time; each `step` goes on where the one before stopped.

    Parameters
    ----------
    store
        Where the lake is.
    every_s
        How often something is listed; in a bucket once a minute at most.
    """

    def __init__(self, store: Store, every_s: float) -> None:
        self._store = store
        self._list_s = max(every_s, _REMOTE_LIST_S) if store.uri.startswith("gs://") else every_s
        self._metas: dict[str, TopicMeta] = {}
        self._errors: dict[str, str] = {}
        self._chains: dict[tuple[str, int], Chain] = {}
        self._listed_s: dict[tuple[str, int], float] = {}
        self._audits: list[AuditNote] = []
        self._prefixes: tuple[str, ...] = ()
        self._due_s: dict[str, float] = {}
        self.holdings = Holdings({}, {}, [])
        self.busy = True

    def step(self, prefixes: Sequence[str], ends: Mapping[tuple[str, int], int], within_s: float) -> None:
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
        until_s = clock.monotonic_s() + within_s
        self._find(prefixes, {topic for topic, _ in ends})
        if self._due("audits", self._list_s):
            self._audits = newest(self._store)
        for topic, meta in self._metas.items():
            numbers = {int(text) for text in meta.first_positions} | {n for name, n in ends if name == topic}
            for number in sorted(numbers):
                self._follow(meta, number, ends.get((topic, number)), until_s)
        wanted = tuple(f"{prefix}." for prefix in prefixes)
        self.holdings = Holdings(
            {topic: Held(meta, self._counts(topic)) for topic, meta in sorted(self._metas.items())},
            dict(self._errors),
            [note for note in self._audits if note.topic.startswith(wanted)],
        )
        self.busy = any(chain.counts.counting for chain in self._chains.values())

    def _due(self, what: str, every_s: float) -> bool:
        now_s = clock.monotonic_s()
        if self._due_s.get(what, 0.0) > now_s:
            return False
        self._due_s[what] = now_s + every_s
        return True

    def _find(self, prefixes: Sequence[str], in_kafka: Collection[str]) -> None:
        """Find topics: those of Kafka by name; those that Kafka does not have by a listing, seldom."""
        names = set(in_kafka) - set(self._metas)
        if self._due("check", _CHECK_S):
            names |= set(self._metas)
        if tuple(prefixes) != self._prefixes:
            self._prefixes = tuple(prefixes)
            self._due_s.pop("scan", None)
        if self._due("scan", _SCAN_S):
            begins = [f"{prefix}." for prefix in prefixes if TOPIC_NAME.fullmatch(f"{prefix}.")]
            names |= {name for each in begins for name in topics(self._store, each)}
        wanted = tuple(f"{prefix}." for prefix in prefixes)
        for name in sorted(names):
            if name.startswith(wanted) and TOPIC_NAME.fullmatch(name):
                self._read(name)
        for name in [name for name in self._metas if not name.startswith(wanted)]:
            self._drop(name)

    def _read(self, name: str) -> None:
        try:
            meta = read_topic(self._store, name)
        except ObjectMissing:
            self._drop(name)
            return
        except LakeError as error:
            self._errors[name] = error.message
            return
        self._errors.pop(name, None)
        if self._metas.get(name) != meta:
            self._drop(name)  # another lake stands where the one was that we counted
            self._metas[name] = meta

    def _drop(self, name: str) -> None:
        self._metas.pop(name, None)
        self._errors.pop(name, None)
        for place in [place for place in self._chains if place[0] == name]:
            del self._chains[place]

    def _follow(self, meta: TopicMeta, number: int, end: int | None, until_s: float) -> None:
        place = (meta.topic, number)
        chain = self._chains.get(place)
        if chain is None:
            chain = self._chains[place] = follow(self._store, meta, number)
        counts, now_s = chain.counts, clock.monotonic_s()
        if now_s >= until_s:
            return
        if not counts.counting:
            if end is not None and counts.end >= end:
                return  # all that there is in Kafka is stored
            if meta.format == "json" and now_s < self._listed_s.get(place, 0.0) + self._list_s:
                return
        self._listed_s[place] = now_s
        chain.step(until_s)

    def _counts(self, topic: str) -> dict[int, Counts]:
        return {
            number: replace(chain.counts) for (name, number), chain in self._chains.items() if name == topic
        }
