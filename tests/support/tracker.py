"""A tracking worker in a process of its own, with small batches and many snapshots, and what it wrote."""

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
from tickerlake.analytics.engine import EngineOptions
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.consumer import read_all
from tickerlake.lake.store import open_store
from tickerlake.pipeline.markets import sessions_by_market
from tickerlake.pipeline.track import Track, TrackOptions, TrackProgress

RESULTS = ("bars", "indicators", "alerts", "refused")
INTERVALS = ("1m", "5m")
Written = dict[tuple[str, bytes | None], list[bytes | None]]


def tracker(
    servers: str,
    topic: str,
    group: str,
    prefix: str,
    state: Path | str,
    batch_records: int = 400,
    idle_ns: int = 10**15,
) -> Track:
    """Return a worker that is quick to be somewhere in between."""
    engine = EngineOptions(
        intervals=INTERVALS,
        indicators=("EMA(5)", "RSI(3)", "VWAP"),
        lateness_ns=60 * 10**9,
        idle_ns=idle_ns,
        # the same for all groups that are compared
        own="track",
    )
    return Track(
        servers,
        topic,
        open_store(str(state)),
        group,
        TrackOptions(engine, prefix, batch_records, snapshot_records=3 * batch_records),
        sessions_by_market("24/7"),
        AlertEngine(preset("sensitive").rules, INTERVALS),
    )


def written(servers: str, prefix: str) -> Written:
    """Return what consumers see of the results: the values of each key of each topic, in order."""
    found: Written = defaultdict(list)
    admin = Admin(servers)
    for name in RESULTS:
        about = admin.describe(f"{prefix}.{name}")
        starts = dict.fromkeys(range(about.partitions), 0) if about else {}
        for batch in read_all(servers, {}, f"{prefix}.{name}", starts):
            for key, value in batch.frame.select("key", "value").iter_rows():
                found[name, key].append(value)
    return dict(found)


def simulated(servers: str) -> str:
    """Return a topic of trades."""
    topic = f"t.{secrets.token_hex(6)}"
    options = ("--trades", 4000, "--symbols", 6, "--days", 1, "--jumps", 3)
    run("simulate", "-t", topic, "-b", servers, *options)
    return topic


def undisturbed(servers: str, topic: str, state: Path) -> Written:
    """Return what a run writes to which nothing happens."""
    name = f"quiet.{secrets.token_hex(6)}"
    subject = tracker(servers, topic, name, name, state, batch_records=50_000)
    assert subject.run(threading.Event(), until_end=True).alerts
    return written(servers, name)


def amounts(found: Written) -> Counter[bytes | None]:
    """Count each value."""
    return Counter(value for values in found.values() for value in values)


def main(servers: str, topic: str, group: str, prefix: str, state: str, batch_records: str, end: str) -> None:
    """Track, and say after each batch how many records were read."""

    failpoints.arm(os.environ)

    def show(now: TrackProgress) -> None:
        print(now.records, flush=True)

    worker = tracker(servers, topic, group, prefix, state, int(batch_records))
    worker.run(threading.Event(), until_end=end == "until-end", on_progress=show)


if __name__ == "__main__":
    main(*sys.argv[1:])
