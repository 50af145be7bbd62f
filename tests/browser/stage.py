"""The data of the tests: a market in a real broker and a lake, and the server of the dashboard."""

import gzip
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import Producer

from support.process import wait_until
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.types import EngineOptions
from tickerlake.dashboard.server import Dashboard, DashboardOptions
from tickerlake.kafka.admin import Admin
from tickerlake.lake.store import open_store
from tickerlake.pipeline.ingest import Ingest
from tickerlake.pipeline.sink import Sink, SinkOptions
from tickerlake.pipeline.track import Tracker, TrackOptions
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions
from tickerlake.tools.simulate import write_topic

INTERVALS = ("1m", "5m", "1h", "1d")
INDICATORS = ("SMA(20)", "EMA(20)", "RSI(14)", "MACD(12,26,9)", "BBANDS(20,2,2)", "VWAP")
NEVER_STOP = threading.Event()
MINUTE_MS = 60_000
START_MS = 1_704_153_600_000
"""The midnight (UTC) before the market opens for the first time."""


@dataclass(frozen=True)
class Stage:
    """Topics ``<prefix>.*`` and, optionally, a lake with all of them but the trades."""

    servers: str
    prefix: str
    lake: Path | None = None

    def write(self, record_type: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Write records to one of the topics, which is created if it is missing."""
        Admin(self.servers).create_topic(f"{self.prefix}.{record_type}", 1)
        producer = Producer({"bootstrap.servers": self.servers})
        for record in records:
            producer.produce(f"{self.prefix}.{record_type}", json.dumps(record), str(record["instrument_id"]))
        assert producer.flush(30) == 0

    @contextmanager
    def serve_dashboard(self, **options: Any) -> Iterator[Dashboard]:
        """Serve the dashboard on a free port, once it has loaded everything."""
        store = open_store(str(self.lake)) if self.lake else None
        serving = DashboardOptions(port=0, prefixes=[self.prefix], calendar="XNYS", **options)
        with Dashboard(self.servers, {}, store, serving) as dashboard:
            wait_until(lambda: dashboard.reader.status.loading is None)
            yield dashboard
        if store:
            store.close()

    def read_lake(self, topic: str) -> Iterator[dict[str, Any]]:
        """Read the records of a topic in the lake without code of the project."""
        assert self.lake
        for file in sorted((self.lake / "raw" / f"{self.prefix}.{topic}").glob("*/*.ndjson.gz")):
            yield from map(json.loads, gzip.decompress(file.read_bytes()).splitlines())


def create_stage(servers: str, prefix: str, folder: Path) -> Stage:
    """Simulate three days of a small market, track it, and store the results."""
    trades = f"{prefix}.trades"
    ingest = Ingest(servers, trades)
    ingest.prepare()
    market = Market(MarketOptions(symbols=40, trades=40_000, days=3, jumps=1, halts=0, splits=0))
    write_topic(market, ingest, NEVER_STOP)
    lake = open_store(str(folder / "lake"))
    Tracker(
        servers,
        trades,
        open_store(str(folder / "state")),
        prefix,
        TrackOptions(EngineOptions(INTERVALS, INDICATORS), prefix),
        MarketSessions("XNYS"),
        AlertEngine(preset("sensitive").rules, INTERVALS),
    ).run(NEVER_STOP, until_end=True)
    topics = [f"{prefix}.{record_type}" for record_type in ("bars", "indicators", "alerts")]
    Sink(servers, topics, lake, f"{prefix}-sink", SinkOptions()).run(NEVER_STOP, until_end=True)
    lake.close()
    return Stage(servers, prefix, folder / "lake")


def trade(instrument: str, at_ms: int, price: float, size: float = 100) -> dict[str, Any]:
    """Return a trade as a record."""
    return {
        "schema": "trade.v1",
        "instrument_id": instrument,
        "symbol": instrument.rpartition(".")[0],
        "ts_event_ns": at_ms * 1_000_000,
        "ts_recv_ns": at_ms * 1_000_000,
        "price": price,
        "size": size,
        "aggressor_side": "none",
    }


def bar(instrument: str, open_ms: int, close: float, interval: str = "1d") -> dict[str, Any]:
    """Return a closed bar as a record, with an open of 10."""
    length_ms = {"1m": MINUTE_MS, "1d": 1440 * MINUTE_MS}[interval]
    return {
        "schema": "bar.v1",
        "instrument_id": instrument,
        "symbol": instrument.rpartition(".")[0],
        "interval": interval,
        "ts_open_ns": open_ms * 1_000_000,
        "ts_close_ns": (open_ms + length_ms) * 1_000_000,
        "session_date": f"{datetime.fromtimestamp(open_ms / 1000, UTC):%Y-%m-%d}",
        "open": 10,
        "high": max(10, close),
        "low": min(10, close),
        "close": close,
        "volume": 1000,
        "price_type": "last",
        "is_final": True,
        "is_partial": False,
        "revision": 0,
        "ts_recv_ns": open_ms * 1_000_000,
        "source": "test",
        "quality": [],
    }


def alert(instrument: str, at_ms: int, message: str, **more: Any) -> dict[str, Any]:
    """Return an alert as a record."""
    return {
        "schema": "alert.v1",
        "alert_id": str(uuid4()),
        "rule_id": "jump",
        "rule_version": 1,
        "kind": "jump",
        "severity": "critical",
        "state": "fired",
        "instrument_id": instrument,
        "symbol": instrument.rpartition(".")[0],
        "ts_event_ns": at_ms * 1_000_000,
        "ts_detected_ns": at_ms * 1_000_000,
        "direction": "up",
        "value": 9.5,
        "threshold": 5,
        "unit": "sigma",
        "suppressed_count": 0,
        "dedup_key": f"jump {instrument} 1m",
        "cause": "market",
        "message": message,
        **more,
    }
