"""Reads what there is and follows what comes: one thread, one consumer, into one `Market`."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from tickerlake import clock
from tickerlake.dashboard.market.decode import decode_bars, decode_indicators
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.market.trades import aggregate_trades
from tickerlake.dashboard.reading.lake_history import LakeTopic
from tickerlake.dashboard.reading.topics import (
    RecordType,
    find_prefixes,
    record_type_by_name,
    record_type_by_record,
    select_topics,
)
from tickerlake.errors import DataError, ObjectMissing, TickerlakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.reader import TopicTailer, read_all
from tickerlake.lake.reader import topics as lake_topics
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import read_topic
from tickerlake.model.alert import Alert, decode_alert
from tickerlake.model.json import decode_utf8

BATCH_S: Final = 0.1
_RETRY_S: Final = 2.0
POLL_INTERVAL_S: Final = 5.0
_MAX_CLOCK_SKEW_NS: Final = 300 * 10**9
_TRADE_LOOKBACK_MS: Final = 300_000
_DEFAULT_RECORDS: Final = 50_000
_MAX_TRADES: Final = 2_000_000

ConnectionState = Literal["connecting", "ok", "lost"]


@dataclass(slots=True)
class ReaderStatus:
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
    kafka: ConnectionState = "connecting"
    message: str = ""
    last_record_ms: float = 0.0
    records: int = 0
    skipped: int = 0


class DashboardReader:
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
        requested_prefixes: Sequence[str],
        new_market: Callable[[], MarketState],
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.status = ReaderStatus()
        self.market = new_market()
        self.epoch = clock.nonce()
        self.prefixes = list(requested_prefixes)
        self.lake_history: dict[str, LakeTopic] = {}
        self.poll_interval_s = POLL_INTERVAL_S
        self._servers, self._properties = bootstrap_servers, dict(properties)
        self._store = store
        self._requested_prefixes = tuple(requested_prefixes)
        self._new_market = new_market
        self.on_batch = on_batch
        self._record_types: dict[str, RecordType] = {}
        self._lake_ends: dict[str, dict[int, int]] = {}

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set; what goes wrong is said in `status`, and tried again."""
        loaded = False
        while not stop.is_set():
            try:
                if not loaded:
                    self._load_lake(stop)
                    loaded = True
                self._follow_topics(stop)
                loaded = False
                self._reset()
            except TickerlakeError as error:
                self._report_failure(error)
                stop.wait(_RETRY_S)

    def _report_failure(self, error: TickerlakeError) -> None:
        if self.status.kafka != "connecting":
            self.status.kafka = "lost"
        self.status.message = error.message
        self.on_batch()

    def _reset(self) -> None:
        """Forget everything: a topic is not the one that it was."""
        self.market, self.epoch = self._new_market(), clock.nonce()
        self.lake_history, self._record_types, self._lake_ends = {}, {}, {}
        self.status = ReaderStatus(kafka="ok")
        self.on_batch()

    # the lake

    def _load_lake(self, stop: threading.Event) -> None:
        if self._store is None:
            return
        names = lake_topics(self._store)
        for name in select_topics(names, self._requested_prefixes or find_prefixes(names)):
            record_type = record_type_by_name(name)
            if record_type:
                self._load_topic(name, record_type, stop)

    def _load_topic(self, name: str, record_type: RecordType, stop: threading.Event) -> None:
        """Read the newest of what the lake has of a topic, once."""
        if self._store is None or name in self._lake_ends or record_type == "trades":
            return
        try:
            metadata = read_topic(self._store, name)
        except ObjectMissing:
            return
        if metadata.format == "json":
            return  # an object a record: Kafka is the quicker source
        topic = LakeTopic(self._store, name, record_type)
        segments, self._lake_ends[name] = topic.newest_segments(self._max_records(record_type))
        self.lake_history[name] = topic
        for count, content in enumerate(topic.read(segments)):
            if stop.is_set():
                return
            self._add_records(record_type, content)
            self.status.loading = (count + 1) / (len(segments) + 1)
            self.on_batch()

    def _max_records(self, record_type: RecordType) -> int:
        limits = {"bars": self.market.max_bars, "indicators": self.market.max_indicators}
        return limits.get(record_type, _DEFAULT_RECORDS)

    def _add_records(self, record_type: RecordType, records: "pl.DataFrame | list[Alert]") -> None:
        if isinstance(records, list):
            self.market.add_alerts(records)
        elif record_type == "bars":
            self.market.add_bars(records)
        else:
            self.market.add_indicators(records)
        self.market.prepare()

    # Kafka

    def _follow_topics(self, stop: threading.Event) -> None:
        """Follow the topics until ``stop``, or until one of them is not the one that it was."""
        admin, tail = Admin(self._servers, self._properties), TopicTailer(self._servers, self._properties)
        ids: dict[str, str] = {}
        trades: dict[Partition, int] = {}
        next_poll_s = clock.monotonic_s()
        try:
            while not stop.is_set():
                if clock.monotonic_s() >= next_poll_s:
                    answered = self._discover_topics(admin, tail, ids, trades, stop)
                    next_poll_s = clock.monotonic_s() + (
                        self.poll_interval_s if answered and ids else _RETRY_S
                    )
                    if "" in ids.values():
                        return
                self._poll_batch(tail)
                if not tail.catching_up and not stop.is_set():
                    # not before bars: a trade counts from where an instrument's bars end
                    if trades:
                        tail.follow(trades)
                    elif self.status.loading is not None:
                        self.status.loading = None
                        self.on_batch()
                    trades.clear()
        finally:
            tail.close()

    def _discover_topics(
        self,
        admin: Admin,
        tail: TopicTailer,
        ids: dict[str, str],
        trades: dict[Partition, int],
        stop: threading.Event,
    ) -> bool:
        """Look for topics that are new; the id of one that is gone, or not the same, becomes empty."""
        try:
            topics = admin.topics()
            self.prefixes = list(self._requested_prefixes or find_prefixes(topics))
            current_ids = admin.topic_ids(select_topics(topics, self.prefixes))
            ids |= dict.fromkeys((name for name, known in ids.items() if current_ids.get(name) != known), "")
            for name in current_ids.keys() - ids.keys():
                starts = self._open_topic(tail, name, topics[name], stop)
                if starts is None:
                    continue
                ids[name] = current_ids[name]
                if self._record_types[name] == "trades":
                    trades |= starts
                else:
                    tail.follow(starts)
        except TickerlakeError as error:
            if not ids:
                raise
            self._report_failure(error)
            return False
        self.status.kafka = "ok"
        self.status.message = "" if ids else self._no_topics_message()
        return True

    def _no_topics_message(self) -> str:
        patterns = ", ".join(f"{prefix}.*" for prefix in self._requested_prefixes) or "stocks.bars"
        return f"There is no topic such as {patterns} with records yet."

    def _open_topic(
        self, tail: TopicTailer, name: str, partitions: int, stop: threading.Event
    ) -> dict[Partition, int] | None:
        """Return where to begin in each partition of a topic; None if there is nothing to show in it yet."""
        topic_partitions = [(name, number) for number in range(partitions)]
        watermarks = {place: tail.watermarks(place) for place in topic_partitions}
        record_type = record_type_by_name(name) or self._infer_record_type(name, watermarks)
        if record_type is None:
            return None
        self._record_types[name] = record_type
        if record_type == "trades":
            return {
                place: self._recent_offset(tail, place, *watermarks[place], partitions)
                for place in topic_partitions
            }
        self._load_topic(name, record_type, stop)
        max_records = self._max_records(record_type) // partitions
        ends = self._lake_ends.get(name, {})
        return {
            place: min(high, max(low, high - max_records, ends.get(place[1], low)))
            for place, (low, high) in watermarks.items()
        }

    def _recent_offset(
        self, tail: TopicTailer, partition: Partition, low: int, high: int, partitions: int
    ) -> int:
        """Return where the last minutes of a partition begin or, if they are empty, its last trades."""
        start = tail.offset_at(partition, clock.now_ns() // 1_000_000 - _TRADE_LOOKBACK_MS)
        if start < 0:
            start = high - _DEFAULT_RECORDS // partitions
        return max(low, start, high - _MAX_TRADES // partitions)

    def _infer_record_type(
        self, name: str, watermarks: Mapping[Partition, tuple[int, int]]
    ) -> RecordType | None:
        """Return what a topic of another name holds, by one of its last records."""
        starts = {number: max(low, high - 3) for (_, number), (low, high) in watermarks.items() if high > low}
        for batch in read_all(self._servers, self._properties, name, starts) if starts else ():
            for value in batch.frame.get_column("value"):
                if record_type := record_type_by_record(value):
                    return record_type
        return None

    def _poll_batch(self, tail: TopicTailer) -> None:
        """Gather what comes up to the next tenth of a second, and take it."""
        now_s = clock.monotonic_s()
        for topic, values in tail.poll(BATCH_S - now_s % BATCH_S).items():
            self._add_messages(self._record_types[topic], values)
            self.status.records += len(values)
            self.status.last_record_ms = clock.now_ns() // 1_000_000
        self.on_batch()

    def _add_messages(self, record_type: RecordType, values: list[bytes | None]) -> None:
        if record_type == "trades":
            trades = aggregate_trades(values, clock.now_ns() + _MAX_CLOCK_SKEW_NS)
            self.status.skipped += trades.skipped
            self.market.add_trades(trades)
            self.market.prepare()
        elif record_type == "alerts":
            self._add_records(record_type, list(self._decode_alerts(values)))
        else:
            lines = decode_utf8(pl.Series(values, dtype=pl.Binary)).drop_nulls()
            rows = (decode_bars if record_type == "bars" else decode_indicators)(lines)
            self.status.skipped += len(values) - rows.height
            self._add_records(record_type, rows)

    def _decode_alerts(self, values: list[bytes | None]) -> Iterator[Alert]:
        for value in values:
            try:
                yield decode_alert(value)
            except DataError:
                self.status.skipped += 1
