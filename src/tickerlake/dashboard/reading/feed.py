"""Reads what there is and follows what comes: one thread, one consumer, into one `Market`."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from tickerlake import clock
from tickerlake.dashboard.market.decode import read_bars, read_indicators
from tickerlake.dashboard.market.market import Market
from tickerlake.dashboard.market.ticks import fold
from tickerlake.dashboard.reading.lake import LakeTopic
from tickerlake.dashboard.reading.topics import Kind, kind_by_name, kind_by_record, prefixes, shown
from tickerlake.errors import DataError, ObjectMissing, TickerlakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import Partition, Tail, read_all
from tickerlake.lake.reader import topics as lake_topics
from tickerlake.lake.store.base import Store
from tickerlake.lake.writer import read_topic
from tickerlake.model.alert import Alert
from tickerlake.model.json import to_text
from tickerlake.pipeline.announce import read_alert

BATCH_S: Final = 0.1
_RETRY_S: Final = 2.0
LOOK_S: Final = 5.0
_AHEAD_NS: Final = 300 * 10**9
_LOOK_BACK_MS: Final = 300_000
_SOME: Final = 50_000
_MOST_TRADES: Final = 2_000_000

Connection = Literal["connecting", "ok", "lost"]


@dataclass(slots=True)
class Status:
    """How reading goes.

    Attributes
    ----------
    loading
        The share of the history that has been read, None when all has.
    kafka, message
        The connection, and what is to be said about it.
    last_record_ms
        When a record was read last, by the clock; 0 if none was.
    records, skipped
        How many were read, and how many of them are no sound record.
    """

    loading: float | None = 0.0
    kafka: Connection = "connecting"
    message: str = ""
    last_record_ms: float = 0.0
    records: int = 0
    skipped: int = 0


class Feed:
    """Fills markets from the topics of some prefixes.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    store
        The lake, for the history; None: only what Kafka retains.
    wanted
        Prefixes of topics; empty for all that look like ours.
    new_market
        Makes an empty market.
    on_batch
        Called after each batch, from the reading thread.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        store: Store | None,
        wanted: Sequence[str],
        new_market: Callable[[], Market],
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.status = Status()
        self.market = new_market()
        self.epoch = clock.nonce()
        self.prefixes = list(wanted)
        self.older: dict[str, LakeTopic] = {}
        self.look_s = LOOK_S
        self._servers, self._properties = bootstrap_servers, dict(properties)
        self._store = store
        self._wanted = tuple(wanted)
        self._new_market = new_market
        self.on_batch = on_batch
        self._kinds: dict[str, Kind] = {}
        self._ends: dict[str, dict[int, int]] = {}

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set; what goes wrong is said in `status`, and tried again."""
        loaded = False
        while not stop.is_set():
            try:
                if not loaded:
                    self._load_lake(stop)
                    loaded = True
                self._follow(stop)
                loaded = False
                self._begin_anew()
            except TickerlakeError as error:
                self._lost(error)
                stop.wait(_RETRY_S)

    def _lost(self, error: TickerlakeError) -> None:
        if self.status.kafka != "connecting":
            self.status.kafka = "lost"
        self.status.message = error.message
        self.on_batch()

    def _begin_anew(self) -> None:
        """Forget everything: a topic is not the one that it was."""
        self.market, self.epoch = self._new_market(), clock.nonce()
        self.older, self._kinds, self._ends = {}, {}, {}
        self.status = Status(kafka="ok")
        self.on_batch()

    # the lake

    def _load_lake(self, stop: threading.Event) -> None:
        if self._store is None:
            return
        names = lake_topics(self._store)
        for name in shown(names, self._wanted or prefixes(names)):
            kind = kind_by_name(name)
            if kind:
                self._load_topic(name, kind, stop)

    def _load_topic(self, name: str, kind: Kind, stop: threading.Event) -> None:
        """Read the newest of what the lake has of a topic, once."""
        if self._store is None or name in self._ends or kind == "trades":
            return
        try:
            about = read_topic(self._store, name)
        except ObjectMissing:
            return
        if about.format == "json":
            return  # an object a record: Kafka is the quicker source
        topic = LakeTopic(self._store, name, kind)
        infos, self._ends[name] = topic.newest(self._most(kind))
        self.older[name] = topic
        for count, content in enumerate(topic.read(infos)):
            if stop.is_set():
                return
            self._take(kind, content)
            self.status.loading = (count + 1) / (len(infos) + 1)
            self.on_batch()

    def _most(self, kind: Kind) -> int:
        most = {"bars": self.market.most_bars, "indicators": self.market.most_indicators}
        return most.get(kind, _SOME)

    def _take(self, kind: Kind, content: "pl.DataFrame | list[Alert]") -> None:
        if isinstance(content, list):
            self.market.take_alerts(content)
        elif kind == "bars":
            self.market.take_bars(content)
        else:
            self.market.take_indicators(content)
        self.market.prepare()

    # Kafka

    def _follow(self, stop: threading.Event) -> None:
        """Follow the topics until ``stop``, or until one of them is not the one that it was."""
        admin, tail = Admin(self._servers, self._properties), Tail(self._servers, self._properties)
        ids: dict[str, str] = {}
        trades: dict[Partition, int] = {}
        look_s = clock.monotonic_s()
        try:
            while not stop.is_set():
                if clock.monotonic_s() >= look_s:
                    answered = self._look(admin, tail, ids, trades, stop)
                    look_s = clock.monotonic_s() + (self.look_s if answered and ids else _RETRY_S)
                    if "" in ids.values():
                        return
                self._turn(tail)
                if not tail.open_ends and not stop.is_set():
                    # not before bars: a trade counts from where an instrument's bars end
                    if trades:
                        tail.follow(trades)
                    elif self.status.loading is not None:
                        self.status.loading = None
                        self.on_batch()
                    trades.clear()
        finally:
            tail.close()

    def _look(
        self,
        admin: Admin,
        tail: Tail,
        ids: dict[str, str],
        trades: dict[Partition, int],
        stop: threading.Event,
    ) -> bool:
        """Look for topics that are new; the id of one that is gone, or not the same, becomes empty."""
        try:
            topics = admin.topics()
            self.prefixes = list(self._wanted or prefixes(topics))
            now = admin.topic_ids(shown(topics, self.prefixes))
            ids |= dict.fromkeys((name for name, known in ids.items() if now.get(name) != known), "")
            for name in now.keys() - ids.keys():
                starts = self._open(tail, name, topics[name], stop)
                if starts is None:
                    continue
                ids[name] = now[name]
                if self._kinds[name] == "trades":
                    trades |= starts
                else:
                    tail.follow(starts)
        except TickerlakeError as error:
            if not ids:
                raise
            self._lost(error)
            return False
        self.status.kafka = "ok"
        self.status.message = "" if ids else self._nothing()
        return True

    def _nothing(self) -> str:
        wanted = ", ".join(f"{prefix}.*" for prefix in self._wanted) or "stocks.bars"
        return f"There is no topic such as {wanted} with records yet."

    def _open(
        self, tail: Tail, name: str, partitions: int, stop: threading.Event
    ) -> dict[Partition, int] | None:
        """Return where to begin in each partition of a topic; None if there is nothing to show in it yet."""
        places = [(name, number) for number in range(partitions)]
        limits = {place: tail.watermarks(place) for place in places}
        kind = kind_by_name(name) or self._peek(name, limits)
        if kind is None:
            return None
        self._kinds[name] = kind
        if kind == "trades":
            return {place: self._recent(tail, place, *limits[place], partitions) for place in places}
        self._load_topic(name, kind, stop)
        most = self._most(kind) // partitions
        ends = self._ends.get(name, {})
        return {
            place: min(high, max(low, high - most, ends.get(place[1], low)))
            for place, (low, high) in limits.items()
        }

    def _recent(self, tail: Tail, place: Partition, low: int, high: int, partitions: int) -> int:
        """Return where the last minutes of a partition begin or, if they are empty, its last trades."""
        start = tail.offset_at(place, clock.now_ns() // 1_000_000 - _LOOK_BACK_MS)
        if start < 0:
            start = high - _SOME // partitions
        return max(low, start, high - _MOST_TRADES // partitions)

    def _peek(self, name: str, limits: Mapping[Partition, tuple[int, int]]) -> Kind | None:
        """Return what a topic of another name holds, by one of its last records."""
        starts = {number: max(low, high - 3) for (_, number), (low, high) in limits.items() if high > low}
        for batch in read_all(self._servers, self._properties, name, starts) if starts else ():
            for value in batch.frame.get_column("value"):
                if kind := kind_by_record(value):
                    return kind
        return None

    def _turn(self, tail: Tail) -> None:
        """Gather what comes up to the next tenth of a second, and take it."""
        now_s = clock.monotonic_s()
        for topic, values in tail.take(BATCH_S - now_s % BATCH_S).items():
            self._take_values(self._kinds[topic], values)
            self.status.records += len(values)
            self.status.last_record_ms = clock.now_ns() // 1_000_000
        self.on_batch()

    def _take_values(self, kind: Kind, values: list[bytes | None]) -> None:
        if kind == "trades":
            folded = fold(values, clock.now_ns() + _AHEAD_NS)
            self.status.skipped += folded.skipped
            self.market.take_trades(folded)
            self.market.prepare()
        elif kind == "alerts":
            self._take(kind, list(self._alerts(values)))
        else:
            lines = to_text(pl.Series(values, dtype=pl.Binary)).drop_nulls()
            rows = (read_bars if kind == "bars" else read_indicators)(lines)
            self.status.skipped += len(values) - rows.height
            self._take(kind, rows)

    def _alerts(self, values: list[bytes | None]) -> Iterator[Alert]:
        for value in values:
            try:
                yield read_alert(value)
            except DataError:
                self.status.skipped += 1
