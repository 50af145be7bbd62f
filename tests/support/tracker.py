"""A tracking worker with small batches and frequent snapshots, also as a process, and its results."""

import os
import secrets
import sys
import threading
from collections import Counter, defaultdict
from pathlib import Path

from support.process import run
from tickerlake import failpoints
from tickerlake.alerts.engine import AlertEngine
from tickerlake.alerts.rules.ruleset import preset
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.analytics.types import EngineOptions
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.reader import read_all
from tickerlake.lake.store import open_store
from tickerlake.pipeline.track import Tracker, TrackOptions, TrackProgress

RESULT_TOPICS = ("bars", "indicators", "alerts", "rejects")
INTERVALS = ("1m", "5m")
TrackResults = dict[tuple[str, bytes | None], list[bytes | None]]


def make_tracker(
    servers: str,
    topic: str,
    group: str,
    prefix: str,
    state: Path | str,
    batch_records: int = 400,
    idle_ns: int = 10**15,
) -> Tracker:
    """Return a worker whose batches and snapshots are so small that faults hit between them."""
    engine = EngineOptions(
        intervals=INTERVALS,
        indicators=("EMA(5)", "RSI(3)", "VWAP"),
        lateness_ns=60 * 10**9,
        idle_ns=idle_ns,
        # the same for all groups whose results are compared
        source_tag="track",
    )
    return Tracker(
        servers,
        topic,
        open_store(str(state)),
        group,
        TrackOptions(engine, prefix, batch_records, snapshot_records=3 * batch_records),
        MarketSessions("24/7"),
        AlertEngine(preset("sensitive").rules, INTERVALS),
    )


def read_results(servers: str, prefix: str) -> TrackResults:
    """Return the results as consumers see them: the values per topic and key, in order."""
    results: TrackResults = defaultdict(list)
    admin = Admin(servers)
    for name in RESULT_TOPICS:
        description = admin.describe_topic(f"{prefix}.{name}")
        starts = dict.fromkeys(range(description.partitions), 0) if description else {}
        for batch in read_all(servers, {}, f"{prefix}.{name}", starts):
            for key, value in batch.frame.select("key", "value").iter_rows():
                results[name, key].append(value)
    return dict(results)


def simulate_trades(servers: str) -> str:
    """Produce simulated trades to a new topic, and return its name."""
    topic = f"t.{secrets.token_hex(6)}"
    options = ("--trades", 4000, "--symbols", 6, "--days", 1, "--jumps", 3)
    run("simulate", "-t", topic, "-b", servers, *options)
    return topic


def run_baseline(servers: str, topic: str, state: Path) -> TrackResults:
    """Return the results of a run without faults."""
    name = f"baseline.{secrets.token_hex(6)}"
    worker = make_tracker(servers, topic, name, name, state, batch_records=50_000)
    assert worker.run(threading.Event(), until_end=True).alerts
    return read_results(servers, name)


def count_values(results: TrackResults) -> Counter[bytes | None]:
    """Count the values of all topics."""
    return Counter(value for values in results.values() for value in values)


def main(
    servers: str, topic: str, group: str, prefix: str, state: str, batch_records: str, stop_mode: str
) -> None:
    """Track, and print the number of records read after each batch."""
    failpoints.arm(os.environ)

    def print_progress(progress: TrackProgress) -> None:
        print(progress.records, flush=True)

    worker = make_tracker(servers, topic, group, prefix, state, int(batch_records))
    worker.run(threading.Event(), until_end=stop_mode == "until-end", on_progress=print_progress)


if __name__ == "__main__":
    main(*sys.argv[1:])
