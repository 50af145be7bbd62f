"""Lakes with generated records, for tests of compaction, queries and load jobs."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import Format, TopicMeta, open_topic
from tickerlake.lake.writer import open_writer
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

DAY_NS = 86_400 * 10**9
FIRST_DAY = 19_723  # 2024-01-01
_UPLOAD_POOL = ThreadPoolExecutor(2)


def utc_dates(_: pl.Series, ts_ns: pl.Series) -> pl.Series:
    """Session dates without a calendar: UTC dates."""
    return (ts_ns // DAY_NS).cast(pl.Int32).cast(pl.Date)


def bar(symbol: str, minute: int, *, day: int = 0, revision: int = 0, **fields: Any) -> dict[str, Any]:
    """A one-minute bar, `minute` minutes into a day."""
    open_ns = (FIRST_DAY + day) * DAY_NS + minute * 60 * 10**9
    date = str(pl.Series([FIRST_DAY + day]).cast(pl.Int32).cast(pl.Date)[0])
    price = 100 + minute % 50 + revision / 4
    return {
        "schema": "bar.v1",
        "instrument_id": f"{symbol}.XXXX",
        "symbol": symbol,
        "interval": "1m",
        "ts_open_ns": open_ns,
        "ts_close_ns": open_ns + 60 * 10**9,
        "session_date": date,
        "open": price,
        "high": price + 1,
        "low": price - 1,
        "close": price + 0.5,
        "volume": 10 + minute,
        "price_type": "last",
        "is_final": True,
        "is_partial": False,
        "revision": revision,
        "ts_recv_ns": open_ns + 61 * 10**9,
        "source": "test",
        "quality": [],
        **fields,
    }


def trade(symbol: str, second: int, *, day: int = 0, **fields: Any) -> dict[str, Any]:
    """A trade, `second` seconds into a day."""
    ts_ns = (FIRST_DAY + day) * DAY_NS + second * 10**9
    return {
        "schema": "trade.v1",
        "instrument_id": f"{symbol}.XXXX",
        "symbol": symbol,
        "ts_event_ns": ts_ns,
        "ts_recv_ns": ts_ns,
        "price": 50 + second % 7 / 4,
        "size": 1 + second % 3,
        "aggressor_side": "none",
        "sequence": second,
        "conditions": [],
        "correction": "new",
        "source": "test",
        "quality": [],
        **fields,
    }


class LakeTopic:
    """A topic of one partition in a lake."""

    def __init__(self, store: Store, name: str, fmt: Format = "ndjson") -> None:
        self.store, self.name = store, name
        topic = open_topic(store, TopicMeta(name, f"id-{name}", "cluster", fmt, {"0": 0}, 0))
        self._writer = open_writer(store, topic, 0, None, _UPLOAD_POOL)

    def add_segment(self, values: Sequence[dict[str, Any] | bytes | None], timestamp_ms: int = 1) -> None:
        """Store records as one segment."""
        data = [json.dumps(each).encode() if isinstance(each, dict) else each for each in values]
        keys = [each["instrument_id"].encode() if isinstance(each, dict) else b"k" for each in values]
        self.add_messages([(timestamp_ms, key, value) for key, value in zip(keys, data, strict=True)])

    def add_messages(self, messages: Sequence[tuple[int, bytes | None, bytes | None]]) -> None:
        """Store messages as one segment: timestamps in milliseconds, keys and values."""
        start = self._writer.position
        self._writer.put(
            pl.DataFrame(
                [(start + number, *message, None) for number, message in enumerate(messages)],
                schema=KAFKA_RECORD_SCHEMA,
                orient="row",
            )
        )
