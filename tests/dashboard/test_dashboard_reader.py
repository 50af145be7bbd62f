"""Records in the lake, in Kafka and arriving later: each bar is read once, wherever it is."""

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
    reader = DashboardReader(
        servers, {}, store, prefixes, lambda: MarketState(lambda _: ALWAYS_OPEN, max_rows, max_rows)
    )
    reader.poll_interval_s = 0.2
    stop = threading.Event()
    thread = threading.Thread(target=reader.run, args=[stop])
    thread.start()
    try:
        yield reader
    finally:
        stop.set()
        thread.join(30)


def is_loaded(reader: DashboardReader) -> Callable[[], bool]:
    return lambda: reader.status.loading is None


def bar_minutes(reader: DashboardReader, symbol: str) -> list[int]:
    number = reader.market.instruments.find(symbol)
    if number is None:
        return []
    rows, _ = reader.market.bars((number, "1m"), None, 100_000)
    return [(open_ns - START) // MINUTE for open_ns in rows.get_column("open_ns")]


def count_rows(reader: DashboardReader) -> int:
    """Return the number of rows, including duplicates of a bar."""
    return sum(frame.height for frame in reader.market._bars.frames("1m"))


@pytest.mark.parametrize("fmt", ["ndjson", "parquet", "json"])
def test_lake_and_kafka_form_one_history(kafka: str, prefix: str, fmt: Format) -> None:
    topic, store = f"{prefix}.bars", open_store(f"memory://{prefix}")
    produce(kafka, topic, [bar(symbol, n) for n in range(40) for symbol in ("A", "B")])
    store_all(kafka, topic, store, fmt)
    produce(kafka, topic, [bar(symbol, n) for n in range(40, 50) for symbol in ("A", "B")])
    with run_reader(kafka, store, prefix) as reader:
        wait_until(is_loaded(reader))
        assert bar_minutes(reader, "A") == bar_minutes(reader, "B") == list(range(50))
        assert count_rows(reader) == 100, "each is read only once"
        produce(kafka, topic, [b"{", b"\xff", b"[]", bar("A", 50), bar("C", 0)])
        wait_until(lambda: bar_minutes(reader, "C") == [0])
        wait_until(lambda: bar_minutes(reader, "A") == list(range(51)))
        assert reader.status.skipped == 3
        assert reader.status.kafka == "ok"


def test_trades_come_after_bars(kafka: str, prefix: str) -> None:
    Admin(kafka).create_topic(f"{prefix}.ticks", 1)
    produce(kafka, f"{prefix}.bars", [bar("A", n) for n in range(10)])
    produce(kafka, f"{prefix}.ticks", [trade("A", n, 10 + n) for n in range(12)])
    with run_reader(kafka, None, prefix) as reader:
        wait_until(is_loaded(reader))
        wait_until(lambda: reader.market.has_trades)
        assert [row[1] for row in reader.market.forming_bars((0, "1m"))] == [20, 21]
        assert reader.market.intervals_of(0)[0] == "1m"


def test_older_bars_are_found_in_the_lake(kafka: str, prefix: str) -> None:
    topic, store = f"{prefix}.bars", open_store(f"memory://{prefix}")
    produce(kafka, topic, [bar("A" if n % 2 else "B", n) for n in range(400)])
    store_all(kafka, topic, store)
    lake = LakeTopic(store, topic, "bars")
    infos, ends = lake.newest_segments(100)
    newest = pl.concat(lake.read(infos))
    assert 100 <= newest.height <= 140
    assert sum(ends.values()) == 400
    rows, more = lake.older_rows("A.XXXX", "1m", START + 51 * MINUTE, 1000, include_loaded=True)
    assert sorted(rows.get_column("open_ns")) == [START + n * MINUTE for n in range(1, 51, 2)]
    assert not more
    rows, more = lake.older_rows("A.XXXX", "1m", None, 10, include_loaded=False)
    assert rows.height >= 10
    assert not set(rows.get_column("open_ns")) & set(newest.get_column("open_ns")), (
        "those are already in memory"
    )
    assert more
    rows, more = lake.older_rows("Z.XXXX", "1m", None, 10, include_loaded=True)
    assert (rows.height, more) == (0, False)


def test_a_recreated_topic_restarts_the_market(kafka: str, prefix: str) -> None:
    topic = f"{prefix}.bars"
    produce(kafka, topic, [bar("OLD", n) for n in range(5)])
    with run_reader(kafka, None, prefix) as reader:
        wait_until(is_loaded(reader))
        epoch = reader.epoch
        delete_topic(kafka, topic)
        Admin(kafka).create_topic(topic, 1)
        produce(kafka, topic, [bar("NEW", 0)])
        wait_until(lambda: bar_minutes(reader, "NEW") == [0])
        assert reader.epoch != epoch
        assert reader.market.instruments.symbols == ["NEW"]


def test_without_a_broker_the_lake_is_shown(kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickerlake.kafka.admin._TIMEOUT_S", 0.5)
    store = open_store(f"memory://{prefix}")
    produce(kafka, f"{prefix}.bars", [bar("A", n) for n in range(5)])
    store_all(kafka, f"{prefix}.bars", store)
    with run_reader("127.0.0.1:9", store) as reader:
        wait_until(lambda: bar_minutes(reader, "A") == list(range(5)))
        wait_until(lambda: "127.0.0.1:9" in reader.status.message)
        assert reader.status.kafka == "connecting"


def test_memory_holds_the_newest_of_a_long_topic(kafka: str, prefix: str) -> None:
    topic, store = f"{prefix}.bars", open_store(f"memory://{prefix}")
    produce(kafka, topic, [bar("A", n) for n in range(2_000)])
    store_all(kafka, topic, store, records=100)
    with run_reader(kafka, store, prefix, max_rows=500) as reader:
        wait_until(is_loaded(reader))
        minutes = bar_minutes(reader, "A")
        assert minutes[-1] == 1_999
        assert 500 <= len(minutes) <= 800
