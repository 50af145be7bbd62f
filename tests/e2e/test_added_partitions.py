"""Partitions that are added to a topic while it is read are found, and nothing of them is missed."""

import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from support import hostile
from support.process import tickerlake, wait_until
from support.topics import total_high_watermark
from tickerlake.analytics.sessions import ALWAYS_OPEN
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.kafka import client
from tickerlake.kafka.admin import Admin
from tickerlake.model.schema import BAR, TRADE

FAST = ("-X", f"topic.metadata.refresh.interval.ms={500}")


@pytest.fixture
def topic(kafka: str) -> str:
    """A topic of one partition with a record."""
    name = f"p{secrets.token_hex(4)}.trades"
    Admin(kafka).create_topic(name, 1, hostile.TOPIC_CONFIG)
    assert not hostile.send(kafka, name, [hostile.good(TRADE, 0)])
    return name


def add_partition(kafka: str, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka})
    client.create_partitions([NewPartitions(topic, 2)])[topic].result()
    assert not hostile.send(kafka, topic, [hostile.good(TRADE, n, "LATER") for n in range(3)], partition=1)


@pytest.mark.parametrize("options", [FAST, pytest.param((), marks=pytest.mark.full)])
def test_sink_and_track_find_them(kafka: str, topic: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    prefix, lake = f"{topic}.results", tmp_path / "lake"
    with (
        tickerlake("sink", "-t", topic, "-b", kafka, "--lake", lake, "--flush-age", 1, *options) as sink,
        tickerlake(
            "track", "-t", topic, "-b", kafka, "--state", lake, "--prefix", prefix, "--bars", "1m", *options
        ) as track,
    ):
        wait_until(lambda: any((lake / "raw" / topic / "partition=0").glob("*.gz")), sink)
        wait_until(lambda: Admin(kafka).describe_topic(f"{prefix}.bars") is not None, track)
        add_partition(kafka, topic)
        wait_until(lambda: any((lake / "raw" / topic / "partition=1").glob("*.gz")), sink)
        # three trades of three minutes close two bars
        wait_until(lambda: total_high_watermark(kafka, f"{prefix}.bars") >= 2, track)
        for child in (sink, track):
            child.send_signal(signal.SIGINT)
            assert child.wait(60) == 130, child.communicate()


@contextmanager
def running(reader: DashboardReader) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=reader.run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def test_the_dashboard_finds_them(kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix, bars = topic.partition(".")[0], topic.replace("trades", "bars")
    Admin(kafka).create_topic(bars, 1, hostile.TOPIC_CONFIG)
    assert not hostile.send(kafka, bars, [hostile.good(BAR, 0)])
    monkeypatch.setattr(client, "METADATA_REFRESH_MS", 500)
    reader = DashboardReader(kafka, {}, None, [prefix], lambda: MarketState(lambda _: ALWAYS_OPEN))
    reader.poll_interval_s = 0.2
    with running(reader):
        wait_until(lambda: reader.status.loading is None)
        for name, schema, symbol in ((topic, TRADE, "LATER"), (bars, BAR, "NEXT")):
            add_partition(kafka, name)
            assert not hostile.send(
                kafka, name, [hostile.good(schema, n, symbol) for n in range(3)], partition=1
            )
        for symbol in ("GOOD", "LATER", "NEXT"):
            wait_until(lambda symbol=symbol: reader.market.instruments.find(symbol) is not None)  # type: ignore[misc]
        assert reader.status.kafka == "ok"


def test_they_are_looked_for_often_enough() -> None:
    settings = client.client_settings("localhost:9092", {})
    assert settings["topic.metadata.refresh.interval.ms"] <= 15_000
