"""Whatever topics and lake hold, the dashboard shows the good records, and says when it cannot."""

import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from support import hostile
from support.hostile import Message
from support.process import wait_until
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.dashboard import service_thread
from tickerlake.dashboard.hub import Client, ClientState, Hub
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.dashboard.server import Dashboard, DashboardOptions
from tickerlake.dashboard.service_thread import ServiceThread
from tickerlake.kafka.admin import Admin
from tickerlake.lake.store import Store, open_store
from tickerlake.lake.topic import Format
from tickerlake.model.alert import Alert, decode_alert
from tickerlake.model.schema import ALERT, BAR, INDICATOR, TRADE
from tickerlake.pipeline.sink import Sink, SinkOptions

SCHEMAS = {"trades": TRADE, "bars": BAR, "indicators": INDICATOR, "alerts": ALERT}
SYMBOLS = ("GOODA", "GOODB")


def new_reader(store: Store | None = None, *prefixes: str, servers: str = "x") -> DashboardReader:
    sessions = MarketSessions("24/7")
    reader = DashboardReader(servers, {}, store, prefixes, lambda: MarketState(sessions))
    reader.poll_interval_s = 0.2
    return reader


def good_messages(record_type: str, count: int) -> list[Message]:
    messages = []
    for number in range(count):
        for symbol in SYMBOLS:
            members = hostile.sound(SCHEMAS[record_type], number, symbol)
            texts = {"alert_id": f'"{symbol} {number}"'}
            value = hostile.encode([(name, texts.get(name, text)) for name, text in members])
            messages.append(Message("", f"{symbol}.XXXX".encode(), value))
    return messages


def shown(market: MarketState, symbol: str) -> dict[str, Any]:
    """Return what a market shows of an instrument."""
    number = market.instruments.find(symbol)
    assert number is not None
    # hostile but valid bars can add intervals to the charts of all instruments
    chart = (number, "1m")
    values, _ = market.indicator_values(chart, None, 10_000)
    return {
        "bars": market.bars(chart, None, 10_000)[0].rows(),
        "forming": market.forming_bars(chart),
        "indicators": values.select("open_ns", "sma_20").rows() if "sma_20" in values.columns else [],
        "latest": market.latest.values[:, number].tobytes(),
        "alerts": [
            msgspec.structs.asdict(each.alert)
            for each in market.alerts.search(number, "info", None, 10_000)[0]
        ],
    }


def assert_frames_are_json(reader: DashboardReader) -> None:
    """Send everything to a client, with the charts of some instruments."""
    hub, client = Hub(reader), Client(ClientState(reader.market))
    client.state.view_ids = np.arange(reader.market.ready_count)
    for number in range(min(5, reader.market.ready_count)):
        for interval in reader.market.intervals_of(number):
            hub._select_chart(client.state, (number, interval))
            for frame in hub._new_frames(client):
                if isinstance(frame, str):
                    msgspec.json.decode(frame)


def add(reader: DashboardReader, record_type: Any, messages: Sequence[Message], rng: random.Random) -> None:
    rest = [message.value for message in messages]
    while rest:
        size = rng.randrange(1, 300)
        reader._add_messages(record_type, rest[:size])
        rest = rest[size:]


@pytest.mark.parametrize("record_type", SCHEMAS)
@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 1_500), *(pytest.param(seed, 10_000, marks=pytest.mark.full) for seed in (2, 3))],
)
def test_good_records_are_shown_alike_among_hostile_ones(record_type: str, seed: int, count: int) -> None:
    good = good_messages(record_type, 100)
    alone, among = new_reader(), new_reader()
    add(alone, record_type, good, random.Random(seed))
    add(among, record_type, hostile.mixed(good, seed, count), random.Random(seed))
    assert_frames_are_json(among)
    for symbol in SYMBOLS:
        assert shown(among.market, symbol) == shown(alone.market, symbol)
    assert alone.status.skipped == 0
    assert among.status.skipped > count / 2


def test_alerts_that_cannot_be_written_again_are_none() -> None:
    members = hostile.sound(ALERT)

    def alert_with(name: str, value: str) -> bytes:
        return hostile.encode([(each, value if each == name else text) for each, text in members])

    for value in ("1e28", '"1e28"', "0.000000001", "-5", "0"):
        msgspec.json.decode(decode_alert(alert_with("price", value)).to_json())
    for value in ('"1e999999999"', '"NaN"', '"Infinity"', "1e400", "1e41", '"1e-41"', "[1]"):
        with pytest.raises(Exception, match="not an alert"):
            decode_alert(alert_with("price", value))
    for name, value in (
        ("ts_event_ns", "9223372036854775808"),
        ("schema", '"trade.v1"'),
        ("message", '"\udcff"'),
    ):
        with pytest.raises(Exception, match="not an alert"):
            decode_alert(alert_with(name, value))
    with pytest.raises(Exception, match="not an alert"):
        decode_alert(alert_with("message", f'"{"x" * 70_000}"'))


@contextmanager
def running(reader: DashboardReader) -> Iterator[None]:
    stop = threading.Event()
    thread = ServiceThread("reading of records", reader.run)
    thread.start(stop)
    try:
        wait_until(lambda: reader.status.loading is None or bool(thread.problem))
        assert not thread.problem
        yield
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize("fmt", ["ndjson", "parquet"])
def test_hostile_records_in_topics_and_lake_are_skipped(kafka: str, fmt: Format) -> None:
    prefix, store = f"h{secrets.token_hex(4)}", open_store(f"memory://{secrets.token_hex(4)}")
    alone, no_records = new_reader(), [Message("no record", None, b"{}")] * 200
    for record_type in SCHEMAS:
        topic = f"{prefix}.{record_type}"
        Admin(kafka).create_topic(topic, 1, hostile.TOPIC_CONFIG)
        good = good_messages(record_type, 20)
        # half of them are in the lake, and half only in Kafka
        assert not hostile.send(kafka, topic, hostile.mixed(good[:20], 1, 300))
        Sink(kafka, [topic], store, topic, SinkOptions(format=fmt)).run(threading.Event(), until_end=True)
        assert not hostile.send(kafka, topic, [*hostile.mixed(good[20:], 2, 300), *no_records])
        add(alone, record_type, good, random.Random(1))
    # without a prefix, it shows what the lake holds
    reader = new_reader(store, servers=kafka)
    with running(reader):
        assert reader.prefixes == [prefix]
        for symbol in SYMBOLS:
            expected, actual = shown(alone.market, symbol), shown(reader.market, symbol)
            assert actual["alerts"] == expected["alerts"]
            assert actual["bars"] == expected["bars"]
            assert actual["indicators"] == expected["indicators"]
        assert reader.status.skipped > 500


def test_without_lake_and_prefix_other_topics_are_named_and_not_read(kafka: str) -> None:
    prefix = f"h{secrets.token_hex(4)}"
    Admin(kafka).create_topic(f"{prefix}.bars", 1)
    reader = new_reader(None, servers=kafka)
    assert reader.prefixes == ["stocks"]
    assert prefix in reader._no_topics_message([f"{prefix}.bars", "stocks.bars", "other"])
    lake_reader = new_reader(open_store(f"memory://{prefix}"), servers=kafka)
    with running(lake_reader):
        assert lake_reader.prefixes == []
        assert lake_reader.status.records == 0


def fail_once(
    method: Callable[..., Any], error: BaseException, is_meant: Callable[[Any], bool]
) -> Callable[..., Any]:
    """Return a method that fails once; dashboards of other tests may run in the same process."""
    errors = [error]

    def wrapper(instance: Any, *arguments: Any) -> Any:
        if errors and is_meant(instance):
            raise errors.pop()
        return method(instance, *arguments)

    return wrapper


def test_a_thread_that_ends_is_reported_and_restarted(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"h{secrets.token_hex(4)}"
    Admin(kafka).create_topic(f"{prefix}.bars", 1, hostile.TOPIC_CONFIG)
    assert not hostile.send(kafka, f"{prefix}.bars", hostile.mixed(good_messages("bars", 5), 3, 200))
    failing = fail_once(
        DashboardReader._poll_batch, KeyError("a bug"), lambda reader: reader.prefixes == [prefix]
    )
    monkeypatch.setattr(DashboardReader, "_poll_batch", failing)
    monkeypatch.setattr(service_thread, "_RECOVERED_AFTER_S", float("inf"))
    dashboard = Dashboard(kafka, {}, None, DashboardOptions(port=0, prefixes=[prefix]))
    with dashboard, httpx.Client(base_url=dashboard.url) as client:
        wait_until(lambda: client.get("/healthz").status_code == 503)
        health = client.get("/healthz").json()
        assert health["status"] == "failed"
        assert "reading of records stopped" in health["problem"]
        assert "KeyError: 'a bug'" in health["problem"]
        # it is restarted with an empty market and reads everything once
        reader = dashboard.reader
        wait_until(lambda: reader.market.instruments.find("GOODA") is not None)
        assert shown(reader.market, "GOODA")["bars"][-1][0] == hostile.EVENT_NS + 4 * hostile.MINUTE_NS
        assert len(shown(reader.market, "GOODA")["bars"]) == 5
        assert "tickerlake_dashboard_thread_restarts_total 1.0" in client.get("/metrics").text
        wait_until(lambda: client.get("/api/v1/pipeline").json()["reader"]["skipped"] > 100)
        assert client.get("/api/v1/pipeline").json()["kafka"]["ok"]
        hub = dashboard._backend.hub
        assert "KeyError" in hub.problem()
        monkeypatch.setattr(service_thread, "_RECOVERED_AFTER_S", 0.0)
        assert client.get("/healthz").status_code == 200
        assert hub.problem() == ""


def test_a_thread_is_restarted_with_backoff_until_it_is_stopped() -> None:
    stop, runs = threading.Event(), []

    def run(stop: threading.Event) -> None:
        runs.append(1)
        if len(runs) < 4:
            raise RuntimeError
        stop.wait()

    thread = ServiceThread("test", run, first_backoff_s=0.001)
    thread.start(stop)
    wait_until(lambda: len(runs) == 4)
    assert thread.restarts == 3
    assert "RuntimeError" in thread.problem
    stop.set()
    thread.join(10)


def test_alert_fields_are_those_that_can_be_written() -> None:
    alert = decode_alert(hostile.encode(hostile.sound(ALERT)))
    assert isinstance(alert, Alert)
    assert decode_alert(alert.to_json()) == alert
