"""Reads the history of the topics and follows new records, with one consumer in one thread."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from tickerlake import clock
from tickerlake.dashboard.market.decode import decode_bars, decode_indicators
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.market.trades import aggregate_trades
from tickerlake.dashboard.reading.lake_history import LakeTopic
from tickerlake.dashboard.reading.topics import (
    DEFAULT_PREFIX,
    RecordType,
    find_prefixes,
    record_type_by_name,
    record_type_by_record,
    select_topics,
    shown_prefixes,
    suffix_record_type,
)
from tickerlake.errors import DataError, ObjectMissing, TickerlakeError
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.client import Partition
from tickerlake.kafka.reader import TopicTailer, read_all
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.formats import for_topic
from tickerlake.lake.reader import topics as lake_topics
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import read_topic
from tickerlake.model.alert import Alert, decode_alert
from tickerlake.model.json import decode_utf8

BATCH_S: Final = 0.1
"""Ten batches per second, as many as frames are sent to a client."""
POLL_INTERVAL_S: Final = 5.0
"""How soon new and recreated topics are noticed."""
_RETRY_S: Final = 2.0
_MAX_CLOCK_SKEW_NS: Final = 300 * 10**9
"""A trade further in the future is skipped: it would stay the last price for as long."""
_TRADE_LOOKBACK_MS: Final = 300_000
"""The history comes from bars; trades only have to reach back to the end of the last closed bar."""
_DEFAULT_RECORDS: Final = 50_000
"""Of a topic's alerts, more than `AlertBuffer` holds; also of trades, if there are no recent ones."""
_SAMPLE_RECORDS: Final = 50
"""Of each partition, to infer what a topic holds: a few records of other types must not hide it."""
_LAKE_LIST_INTERVAL_S: Final = 60.0
_MAX_HINTS: Final = 5
_MAX_TRADES: Final = 2_000_000
"""Trades of the look-back to read: some seconds of decoding at the start."""

ConnectionState = Literal["connecting", "ok", "lost"]


@dataclass(slots=True)
class ReaderStatus:
    """The progress of the reader.

    Attributes
    ----------
    loading
        The share of the history that has been loaded; None when all of it has.
    kafka, message
        The state of the connection, and a message about it or empty.
    last_record_ms
        Time at which the last record was read; 0 if none was.
    records, skipped
        Number of records read from Kafka, and of invalid ones among them.
    """

    loading: float | None = 0.0
    kafka: ConnectionState = "connecting"
    message: str = ""
    last_record_ms: float = 0.0
    records: int = 0
    skipped: int = 0


@dataclass(slots=True)
class _FollowedTopics:
    """The topics that the consumer follows.

    Attributes
    ----------
    ids, partitions
        Topic id and number of partitions by name.
    trade_starts
        Start offsets of trade topics that are not followed yet: an instrument's trades count from the end of
        its bars, so bars are read first.
    has_vanished
        Whether a followed topic was deleted or recreated.
    """

    ids: dict[str, str] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=dict)
    trade_starts: dict[Partition, int] = field(default_factory=dict)
    has_vanished: bool = False


class DashboardReader:
    """Reads the topics of some prefixes into a market.

    Parameters
    ----------
    bootstrap_servers, properties
        How to connect to the cluster.
    store
        The lake, for the history; None to read only what Kafka retains.
    requested_prefixes
        Prefixes of topics; empty for those of the topics in the lake, or `DEFAULT_PREFIX` without a lake.
    new_market
        Creates an empty market.
    on_batch
        Called after each batch, from the reader's thread.

    Attributes
    ----------
    market, epoch
        The current market, and an identifier of it: a recreated topic restarts with an empty market.
    prefixes
        The prefixes that are read.
    lake_history
        Older history by topic.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        store: ReadableStore | None,
        requested_prefixes: Sequence[str],
        new_market: Callable[[], MarketState],
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self.status = ReaderStatus()
        self.market = new_market()
        self.epoch = clock.nonce()
        if not requested_prefixes and store is None:
            # never all topics of the broker: they can be of other users
            requested_prefixes = [DEFAULT_PREFIX]
        self.prefixes = list(requested_prefixes)
        self.lake_history: dict[str, LakeTopic] = {}
        self.poll_interval_s = POLL_INTERVAL_S
        self._servers, self._properties = bootstrap_servers, dict(properties)
        self._store = store
        self._requested_prefixes = tuple(requested_prefixes)
        self._lake_listed_s = 0.0
        self._new_market = new_market
        self.on_batch = on_batch
        self._record_types: dict[str, RecordType] = {}
        self._lake_ends: dict[str, dict[int, int]] = {}

    def run(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set; errors are reported in `status` and retried.

        Any other exception leaves an empty market, so it can be called again.
        """
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
            except BaseException:
                # what was added in part must not be added again by the next run
                self._reset()
                raise

    def _report_failure(self, error: TickerlakeError) -> None:
        if self.status.kafka != "connecting":
            self.status.kafka = "lost"
        self.status.message = error.message
        self.on_batch()

    def _reset(self) -> None:
        """Restart with an empty market."""
        self.market, self.epoch = self._new_market(), clock.nonce()
        self.lake_history, self._record_types, self._lake_ends = {}, {}, {}
        self.status = ReaderStatus(kafka="ok")
        self.on_batch()

    # lake

    def _load_lake(self, stop: threading.Event) -> None:
        if self._store is None:
            return
        check_format_version(self._store)
        names = lake_topics(self._store)
        self._find_prefixes(names)
        for name in select_topics(names, self.prefixes):
            record_type = record_type_by_name(name)
            if record_type:
                self._load_topic(name, record_type, stop)

    def _load_topic(self, name: str, record_type: RecordType, stop: threading.Event) -> None:
        """Read the newest records of a topic in the lake, once."""
        if self._store is None or name in self._lake_ends or record_type == "trades":
            return
        try:
            metadata = read_topic(self._store, name)
        except ObjectMissing:
            return
        if for_topic(metadata.format).one_object_per_record:
            return  # one object per record: Kafka is faster
        topic = LakeTopic(self._store, name, record_type)
        segments, self._lake_ends[name] = topic.newest_segments(self._max_records(record_type))
        self.lake_history[name] = topic
        for count, content in enumerate(topic.read(segments)):
            if stop.is_set():
                return
            self._add_records(record_type, content)
            self.status.loading = (count + 1) / (len(segments) + 1)
            self.on_batch()
        self.status.skipped += topic.skipped

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
        """Follow the topics until ``stop`` is set, or a topic is deleted or recreated."""
        admin, tailer = Admin(self._servers, self._properties), TopicTailer(self._servers, self._properties)
        followed = _FollowedTopics()
        next_poll_s = clock.monotonic_s()
        try:
            while not stop.is_set():
                if clock.monotonic_s() >= next_poll_s:
                    has_response = self._discover_topics(admin, tailer, followed, stop)
                    next_poll_s = clock.monotonic_s() + (
                        self.poll_interval_s if has_response and followed.ids else _RETRY_S
                    )
                    if followed.has_vanished:
                        return
                self._poll_batch(tailer)
                if not tailer.catching_up and not stop.is_set():
                    if followed.trade_starts:
                        tailer.follow(followed.trade_starts)
                    elif self.status.loading is not None:
                        self.status.loading = None
                        self.on_batch()
                    followed.trade_starts.clear()
        finally:
            tailer.close()

    def _discover_topics(
        self, admin: Admin, tailer: TopicTailer, followed: _FollowedTopics, stop: threading.Event
    ) -> bool:
        """Follow new topics, and check those that are followed; return whether Kafka responded."""
        ids = followed.ids
        try:
            topics = admin.topics()
            self._refresh_prefixes()
            current_ids = admin.topic_ids(select_topics(topics, self.prefixes))
            followed.has_vanished |= any(current_ids.get(name) != topic_id for name, topic_id in ids.items())
            for name in current_ids.keys() - ids.keys():
                starts = self._open_topic(tailer, name, topics[name], stop)
                if starts is None:
                    continue
                ids[name], followed.partitions[name] = current_ids[name], topics[name]
                if self._record_types[name] == "trades":
                    followed.trade_starts |= starts
                else:
                    tailer.follow(starts)
            self._follow_new_partitions(tailer, followed, topics)
        except TickerlakeError as error:
            if not ids:
                raise
            self._report_failure(error)
            return False
        self.status.kafka = "ok"
        self.status.message = "" if ids else self._no_topics_message(topics)
        return True

    @staticmethod
    def _follow_new_partitions(
        tailer: TopicTailer, followed: _FollowedTopics, topics: Mapping[str, int]
    ) -> None:
        """Follow the partitions that were added to topics since they were opened."""
        for name, count in followed.partitions.items():
            if (new_count := topics.get(name, 0)) > count:
                added = [(name, number) for number in range(count, new_count)]
                tailer.follow({partition: tailer.watermarks(partition)[0] for partition in added})
                followed.partitions[name] = new_count

    def _refresh_prefixes(self) -> None:
        """Find the prefixes of topics that the lake holds by now."""
        if self._store is None or self._requested_prefixes:
            return
        # a listing of a bucket costs money
        interval_s = _LAKE_LIST_INTERVAL_S if self.prefixes else 0.0
        if clock.monotonic_s() >= self._lake_listed_s + interval_s:
            self._find_prefixes(lake_topics(self._store))

    def _find_prefixes(self, names: Iterable[str]) -> None:
        if not self._requested_prefixes:
            self.prefixes = find_prefixes(names)
            self._lake_listed_s = clock.monotonic_s()

    def _no_topics_message(self, topics: Iterable[str]) -> str:
        patterns = ", ".join(f"{prefix}.*" for prefix in self.prefixes) or "the lake's first topic"
        others = [prefix for prefix in shown_prefixes(topics) if prefix not in self.prefixes]
        hint = f" --prefix shows others: {', '.join(others[:_MAX_HINTS])}." if others else ""
        return f"No topics with records yet (waiting for {patterns}).{hint}"

    def _open_topic(
        self, tailer: TopicTailer, name: str, partitions: int, stop: threading.Event
    ) -> dict[Partition, int] | None:
        """Return the start offset of each partition of a topic; None if it has no records to show yet."""
        watermarks = {(name, number): tailer.watermarks((name, number)) for number in range(partitions)}
        record_type = record_type_by_name(name) or self._infer_record_type(name, watermarks)
        if record_type is None:
            return None
        self._record_types[name] = record_type
        if record_type == "trades":
            return {
                partition: self._recent_offset(tailer, partition, low, high, partitions)
                for partition, (low, high) in watermarks.items()
            }
        self._load_topic(name, record_type, stop)
        max_records = self._max_records(record_type) // partitions
        ends = self._lake_ends.get(name, {})
        return {
            (name, number): min(high, max(low, high - max_records, ends.get(number, low)))
            for (_, number), (low, high) in watermarks.items()
        }

    def _recent_offset(
        self, tailer: TopicTailer, partition: Partition, low: int, high: int, partitions: int
    ) -> int:
        """Return the offset at which the last minutes of a partition begin; if empty, its last trades."""
        start = tailer.offset_at(partition, clock.now_ns() // 1_000_000 - _TRADE_LOOKBACK_MS)
        if start < 0:
            start = high - _DEFAULT_RECORDS // partitions
        return max(low, start, high - _MAX_TRADES // partitions)

    def _infer_record_type(
        self, name: str, watermarks: Mapping[Partition, tuple[int, int]]
    ) -> RecordType | None:
        """Infer the record type of a topic from its last records; None if it has none."""
        starts = {
            number: max(low, high - _SAMPLE_RECORDS)
            for (_, number), (low, high) in watermarks.items()
            if high > low
        }
        if not starts:
            return None
        found = Counter(
            record_type_by_record(value)
            for batch in read_all(self._servers, self._properties, name, starts)
            for value in batch.frame.get_column("value")
        )
        found.pop(None, None)
        return found.most_common(1)[0][0] if found else suffix_record_type(name)

    def _poll_batch(self, tailer: TopicTailer) -> None:
        """Add the records that arrive until the next tenth of a second."""
        now_s = clock.monotonic_s()
        for topic, values in tailer.poll(BATCH_S - now_s % BATCH_S).items():
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
