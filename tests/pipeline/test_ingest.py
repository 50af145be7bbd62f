"""Any source can be ingested: here a feed of two channels that is neither a file nor CSV."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import polars as pl
import pytest

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.kafka.admin import Topic
from tickerlake.model.reject import Reject
from tickerlake.pipeline import ingest as module
from tickerlake.pipeline.ingest import PROGRESS_TOPIC, Ingest, IngestOptions
from tickerlake.sources.source import Counts, Fingerprint, Source, TimeShiftedSource

CHANNELS: Final = ("quotes", "trades")
EPOCH_NS: Final = 1_700_000_000_000_000_000
EVERY_ROW: Final = IngestOptions(batch_rows=3, transaction_rows=1)


@dataclass(frozen=True)
class Tick:
    """A row of the feed: its channel, and its sequence number there; multiples of 5 are invalid."""

    channel: int
    sequence: int

    @property
    def is_valid(self) -> bool:
        return self.sequence % 5 != 0

    @property
    def name(self) -> str:
        return f"{CHANNELS[self.channel]}-{self.sequence}"


@dataclass(frozen=True)
class TickBatch:
    ticks: Sequence[Tick]
    position: tuple[int, ...]

    @property
    def height(self) -> int:
        return len(self.ticks)

    @property
    def records(self) -> pl.DataFrame:
        valid = [tick for tick in self.ticks if tick.is_valid]
        return pl.DataFrame(
            {
                "instrument_id": [f"T{tick.channel}.XXXX" for tick in valid],
                "ts_event_ns": [EPOCH_NS + tick.sequence for tick in valid],
                "trade_id": [tick.name for tick in valid],
            },
            schema={"instrument_id": pl.String, "ts_event_ns": pl.Int64, "trade_id": pl.String},
        )

    @property
    def rejects(self) -> list[Reject]:
        return [
            Reject(CHANNELS[tick.channel], tick.sequence, "out_of_range", tick.name)
            for tick in self.ticks
            if not tick.is_valid
        ]

    @property
    def event_ns(self) -> pl.Series:
        times = [EPOCH_NS + tick.sequence if tick.is_valid else None for tick in self.ticks]
        return pl.Series("event_ns", times, pl.Int64)

    def counts(self) -> Mapping[int, Counts]:
        by_channel = Counter((tick.channel, tick.is_valid) for tick in self.ticks)
        return {n: Counts(by_channel[n, True], by_channel[n, False]) for n in range(len(CHANNELS))}

    def split(self, max_rows: int) -> Iterator["TickBatch"]:
        for start in range(0, self.height, max_rows):
            yield self.slice(start, max_rows)

    def slice(self, start: int, length: int) -> "TickBatch":
        after = Counter(tick.channel for tick in self.ticks[start + length :])
        position = tuple(count - after[number] for number, count in enumerate(self.position))
        return TickBatch(self.ticks[start : start + length], position)


@dataclass
class TickFeed:
    """A live feed: two channels in turn, with a poll that times out after every batch."""

    ticks_per_channel: int
    on_timeout: Callable[[int], None] = lambda _: None
    fingerprints: Sequence[Fingerprint] = tuple(Fingerprint(name, 0, "") for name in CHANNELS)
    rows: int = 0

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[TickBatch]:
        position = list(start_position) or [0] * len(CHANNELS)
        while min(position) < self.ticks_per_channel:
            ticks = []
            for _ in range(batch_rows):
                channel = position.index(min(position))
                position[channel] += 1
                ticks.append(Tick(channel, position[channel]))
            yield TickBatch(ticks, tuple(position))
            yield TickBatch([], tuple(position))
            self.on_timeout(sum(position))


@dataclass
class MemoryKafka:
    """Stands for Kafka's admin client, producer and reader: what has been committed."""

    committed: list[tuple[str, bytes | None, bytes]] = field(default_factory=list)
    transactions: int = 0
    topics: set[str] = field(default_factory=lambda: {"ticks", PROGRESS_TOPIC})
    _pending: list[tuple[str, bytes | None, bytes]] | None = None

    def describe_topic(self, topic: str) -> Topic | None:
        return Topic(topic, "id", "cluster", 1) if topic in self.topics else None

    def require_topic(self, topic: str) -> Topic:
        description = self.describe_topic(topic)
        assert description
        return description

    def create_topic(self, topic: str, *_: object) -> None:
        self.topics.add(topic)

    def begin(self) -> None:
        assert self._pending is None
        self._pending = []

    def send(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes]) -> None:
        assert self._pending is not None
        self._pending += [(topic, key, value) for key, value in zip(keys, values, strict=True)]

    def commit(self) -> None:
        assert self._pending is not None
        self.committed += self._pending
        self.transactions += 1
        self._pending = None

    def read_all(self, *_: object) -> Iterator[SimpleNamespace]:
        rows = [(key, value) for topic, key, value in self.committed if topic == PROGRESS_TOPIC]
        yield SimpleNamespace(frame=pl.DataFrame(rows, {"key": pl.Binary, "value": pl.Binary}, orient="row"))

    def values(self, topic: str, name: str) -> list[object]:
        return [json.loads(value)[name] for each, _, value in self.committed if each == topic]


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryKafka:
    kafka = MemoryKafka()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "Admin", lambda *_: kafka)
    monkeypatch.setattr(module, "Producer", lambda *_, **__: kafka)
    monkeypatch.setattr(module, "read_all", kafka.read_all)
    return kafka


def run(
    source: Source, options: IngestOptions = EVERY_ROW, stop: threading.Event | None = None
) -> list[tuple[int, int, bool]]:
    progress = Ingest("memory", "ticks", options).run(source, stop or threading.Event())
    return [(part.records, part.rejects, part.finished) for part in progress]


def test_each_row_of_both_channels_is_written_once_and_counted(kafka: MemoryKafka) -> None:
    assert run(TickFeed(12)) == [(10, 2, True), (10, 2, True)]
    expected = [f"{channel}-{n}" for n in range(1, 13) for channel in CHANNELS]
    assert kafka.values("ticks", "trade_id") == [name for name in expected if not name.endswith(("5", "10"))]
    assert kafka.values("ticks.rejects", "raw") == ["quotes-5", "trades-5", "quotes-10", "trades-10"]
    assert run(TickFeed(12)) == [(10, 2, True), (10, 2, True)], "nothing new"
    assert len(kafka.values("ticks", "trade_id")) == 20


def test_a_stopped_feed_resumes_at_the_checkpoint_of_each_channel(kafka: MemoryKafka) -> None:
    stop = threading.Event()
    feed = TickFeed(12, on_timeout=lambda done: stop.set() if done >= 9 else None)
    first = run(feed, stop=stop)
    assert [finished for _, _, finished in first] == [False, False]
    assert 0 < sum(records for records, _, _ in first) < 20
    assert run(TickFeed(12)) == [(10, 2, True), (10, 2, True)]
    names = kafka.values("ticks", "trade_id")
    assert len(names) == len(set(names)) == 20


def test_a_poll_without_rows_commits_what_is_due(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    # every reading of the clock takes a second: a transaction is old enough one poll after its batch
    seconds = iter(range(10_000))
    monkeypatch.setattr(clock, "monotonic_s", lambda: float(next(seconds)))
    run(TickFeed(6), IngestOptions(batch_rows=3, commit_interval_s=2.0))
    assert kafka.transactions == 5, "four batches of three rows, and the end of the feed"


def test_a_repetition_of_any_source_has_later_times_and_distinct_ids(kafka: MemoryKafka) -> None:
    assert run(TimeShiftedSource(TickFeed(3), cycle=2, period_ns=1_000)) == [(3, 0, True), (3, 0, True)]
    assert kafka.values("ticks", "trade_id")[:2] == ["quotes-1#2", "trades-1#2"]
    assert kafka.values("ticks", "ts_event_ns")[:2] == [EPOCH_NS + 2_001] * 2


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"[]", b'{"fingerprint":"\xff"}', b"[" * 5_000, b"{}"])
def test_a_checkpoint_that_cannot_be_read_ends_in_a_sentence(value: bytes) -> None:
    with pytest.raises(DataError, match="checkpoint of this file in the topic"):
        module._decode_checkpoint(value)
