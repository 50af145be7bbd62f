"""A child in the peers' environment: one-minute bars by Quix Streams, exactly once, its state on disk."""

import importlib
import json
import sys
import time
from typing import Any

started_s: list[float] = []


def event_ms(value: Any, headers: Any, timestamp: Any, timestamp_type: Any) -> int:
    if not started_s:
        started_s.append(time.perf_counter())
    return int(value["ts_event_ns"] // 1_000_000)


def first_bar(trade: Any) -> dict[str, float]:
    price, size = trade["price"], trade["size"]
    return {
        "open": price,
        "high": price,
        "low": price,
        "close": price,
        "volume": size,
        "notional": price * size,
    }


def update_bar(bar: dict[str, float], trade: Any) -> dict[str, float]:
    price, size = trade["price"], trade["size"]
    return {
        "open": bar["open"],
        "high": max(bar["high"], price),
        "low": min(bar["low"], price),
        "close": price,
        "volume": bar["volume"] + size,
        "notional": bar["notional"] + price * size,
    }


def finish_bar(window: Any) -> dict[str, float]:
    bar = window["value"]
    return {**bar, "start_ms": window["start"], "vwap": bar["notional"] / bar["volume"]}


def main(servers: str, topic: str, target: str, records: str, folder: str) -> None:
    quix: Any = importlib.import_module("quixstreams")
    app = quix.Application(
        broker_address=servers,
        consumer_group=target,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=folder,
        use_changelog_topics=False,
        loglevel="WARNING",
    )
    trades = app.topic(topic, value_deserializer="json", timestamp_extractor=event_ms)
    frame = (
        app.dataframe(trades).tumbling_window(60_000).reduce(update_bar, first_bar).final().apply(finish_bar)
    )
    frame.to_topic(app.topic(target, value_serializer="json"))
    app.run(count=int(records))
    report = {"elapsed_s": time.perf_counter() - started_s[0]}
    print(f"\n{json.dumps(report)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
