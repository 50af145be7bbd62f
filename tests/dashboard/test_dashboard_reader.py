"""What was in the lake, what is in Kafka and what comes later: each bar once, whatever is where."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import pytest
from confluent_kafka import Producer

from support.process import wait_until
from support.topics import delete_topic
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.reading.lake_history import LakeTopic
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.kafka.admin import Admin
from tickerlake.lake.store import Store, open_store
from tickerlake.lake.topic import Format
from tickerlake.pipeline.sink import Sink, SinkOptions

MINUTE = 60 * 10**9
START = 28_401_120 * MINUTE


def bar(symbol: str, number: int, **more: object) -> bytes:
    fields = {
        "schema": "bar.v1",
        "instrument_id": f"{symbol}.XXXX",
        "symbol": symbol,
        "interval": "1m",
        "ts_open_ns": START + number * MINUTE,
        "ts_close_ns": START + (number + 1) * MINUTE,
        "session_date": "2024-01-01",
        "open": 10 + number,
        "high": 12 + number,
        "low": 9 + number,
        "close": 11.25 + number,
        "volume": 100,
        "price_type": "last",
        "is_final": True,
        "is_partial": False,
        "revision": 0,
        "ts_recv_ns": 1,
        "source": "test",
        "quality": [],
    }
    return json.dumps({**fields, **more}).encode()


def trade(symbol: str, number: int, price: float) -> bytes:
    at_ns = START + number * MINUTE + 1
    fields = {"schema": "trade.v1", "instrument_id": f"{symbol}.XXXX", "ts_event_ns": at_ns}
    return json.dumps({**fields, "price": price, "size": 1}).encode()


def produce(servers: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for number, value in enumerate(values):
        producer.produce(topic, value, str(number % 7).encode())
    assert producer.flush(30) == 0


def store_all(servers: str, topic: str, store: Store, fmt: Format = "ndjson", records: int = 10) -> None:
    sink = Sink(servers, [topic], store, f"sink-{topic}", SinkOptions(format=fmt, flush_records=records))
    sink.run(threading.Event(), until_end=True)


@pytest.fixture
def prefix(kafka: str) -> str:
    name = f"d{secrets.token_hex(4)}"
    Admin(kafka).create_topic(f"{name}.bars", 2)
    return name


@contextmanager
def run_reader(
    servers: str, store: Store | None, *prefixes: str, max_rows: int = 10_000
) -> Iterator[DashboardReader]:
    feed = DashboardReader(
        servers, {}, store, prefixes, lambda: MarketState(lambda _: ALWAYS_OPEN, max_rows, max_rows)
    )
    feed.poll_interval_s = 0.2
    stop = threading.Event()
    thread = threading.Thread(target=feed.run, args=[stop])
    thread.start()
    try:
        yield feed
    finally:
        stop.set()
        thread.join(30)


def is_loaded(feed: DashboardReader) -> Callable[[], bool]:
    return lambda: feed.status.loading is None


def bar_minutes(feed: DashboardReader, symbol: str) -> list[int]:
    number = feed.market.instruments.find(symbol)
    if number is None:
        return []
    rows, _ = feed.market.bars((number, "1m"), None, 100_000)
    return [(open_ns - START) // MINUTE for open_ns in rows.get_column("open_ns")]


def count_rows(feed: DashboardReader) -> int:
    """Return how many rows there are, also of the same bar."""
    return sum(frame.height for frame in feed.market._bars.frames("1m"))


@pytest.mark.parametrize("fmt", ["ndjson", "parquet", "json"])
def test_lake_and_kafka_form_one_history(kafka: str, prefix: str, fmt: Format) -> None:
    topic, store = f"{prefix}.bars", open_store(f"memory://{prefix}")
    produce(kafka, topic, [bar(symbol, n) for n in range(40) for symbol in ("A", "B")])
    store_all(kafka, topic, store, fmt)
    produce(kafka, topic, [bar(symbol, n) for n in range(40, 50) for symbol in ("A", "B")])
    with run_reader(kafka, store, prefix) as feed:
        wait_until(is_loaded(feed))
        assert bar_minutes(feed, "A") == bar_minutes(feed, "B") == list(range(50))
        assert count_rows(feed) == 100, "each is read from one place"
        produce(kafka, topic, [b"{", b"\xff", b"[]", bar("A", 50), bar("C", 0)])
        wait_until(lambda: bar_minutes(feed, "C") == [0])
        wait_until(lambda: bar_minutes(feed, "A") == list(range(51)))
        assert feed.status.skipped == 3
        assert feed.status.kafka == "ok"


def test_trades_come_after_bars(kafka: str, prefix: str) -> None:
    Admin(kafka).create_topic(f"{prefix}.ticks", 1)
    produce(kafka, f"{prefix}.bars", [bar("A", n) for n in range(10)])
    produce(kafka, f"{prefix}.ticks", [trade("A", n, 10 + n) for n in range(12)])
    with run_reader(kafka, None, prefix) as feed:
        wait_until(is_loaded(feed))
        wait_until(lambda: feed.market.has_trades)
        assert [row[1] for row in feed.market.forming_bars((0, "1m"))] == [20, 21]
        assert feed.market.intervals_of(0)[0] == "1m"


def test_older_bars_are_found_in_the_lake(kafka: str, prefix: str) -> None:
    topic, store = f"{prefix}.bars", open_store(f"memory://{prefix}")
    produce(kafka, topic, [bar("A" if n % 2 else "B", n) for n in range(400)])
    store_all(kafka, topic, store)
    lake = LakeTopic(store, topic, "bars")
    infos, ends = lake.newest_segments(100)
    read = pl.concat(lake.read(infos))
    assert 100 <= read.height <= 140
    assert sum(ends.values()) == 400
    found, more = lake.older_rows("A.XXXX", "1m", START + 51 * MINUTE, 1000, include_loaded=True)
    assert sorted(found.get_column("open_ns")) == [START + n * MINUTE for n in range(1, 51, 2)]
    assert not more
    found, more = lake.older_rows("A.XXXX", "1m", None, 10, include_loaded=False)
    assert found.height >= 10
    assert not set(found.get_column("open_ns")) & set(read.get_column("open_ns")), "those are in memory"
    assert more
    found, more = lake.older_rows("Z.XXXX", "1m", None, 10, include_loaded=True)
    assert (found.height, more) == (0, False)


def test_a_recreated_topic_restarts_the_market(kafka: str, prefix: str) -> None:
    topic = f"{prefix}.bars"
    produce(kafka, topic, [bar("OLD", n) for n in range(5)])
    with run_reader(kafka, None, prefix) as feed:
        wait_until(is_loaded(feed))
        epoch = feed.epoch
        delete_topic(kafka, topic)
        Admin(kafka).create_topic(topic, 1)
        produce(kafka, topic, [bar("NEW", 0)])
        wait_until(lambda: bar_minutes(feed, "NEW") == [0])
        assert feed.epoch != epoch
        assert feed.market.instruments.symbols == ["NEW"]


def test_without_a_broker_the_lake_is_shown(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerlake.kafka.admin._TIMEOUT_S", 0.5)
    store = open_store(f"memory://{prefix}")
    produce(kafka, f"{prefix}.bars", [bar("A", n) for n in range(5)])
    store_all(kafka, f"{prefix}.bars", store)
    with run_reader("127.0.0.1:9", store) as feed:
        wait_until(lambda: bar_minutes(feed, "A") == list(range(5)))
        wait_until(lambda: "127.0.0.1:9" in feed.status.message)
        assert feed.status.kafka == "connecting"


def test_memory_holds_the_newest_of_a_long_topic(kafka: str, prefix: str) -> None:
    topic, store = f"{prefix}.bars", open_store(f"memory://{prefix}")
    produce(kafka, topic, [bar("A", n) for n in range(2_000)])
    store_all(kafka, topic, store, records=100)
    with run_reader(kafka, store, prefix, max_rows=500) as feed:
        wait_until(is_loaded(feed))
        found = bar_minutes(feed, "A")
        assert found[-1] == 1_999
        assert 500 <= len(found) <= 800
