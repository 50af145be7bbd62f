"""Bars, indicators and alerts from a topic, against named limits and peers."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench import peer_envs
from bench.child_report import with_report
from bench.kafka_env import KafkaEnv
from bench.measure import Result, Run, run_child, run_interleaved
from tickerlake.kafka.admin import Admin
from tickerlake.kafka.reader import read_all
from tickerlake.sources.simulator.market import Market
from tickerlake.sources.simulator.plan import MarketOptions

INDICATORS = "SMA(20),EMA(20),RSI(14),BBANDS(20,2,2),ATR(14)"
RULES = """\
[[rule]]
id = "big-move"
kind = "zscore"
interval = "1m"
"""
QUIX_RECORDS = 100_000
"""It does not stop at the topic's full count, and is too slow for all of it."""
LIMIT, TRACK = "kafka-consumer-perf-test (limit)", "tickerlake track"
QUIX, SPARK = "Quix Streams", "Spark Structured Streaming, warm"
_SUMMARY = re.compile(
    r"read ([\d,]+) records .*: ([\d,]+) bars.*, ([\d,]+) indicator records, ([\d,]+) alerts"
)


@dataclass(frozen=True)
class TrackSummary:
    """What a run of track reports that it read and wrote."""

    records: int
    bars: int
    indicators: int
    alerts: int

    @classmethod
    def from_log(cls, log: Path) -> "TrackSummary":
        log_text = log.read_text()
        match = _SUMMARY.search(log_text)
        assert match, log_text
        return cls(*(int(number.replace(",", "")) for number in match.groups()))


def measure_speeds(bed: KafkaEnv, records: int, rounds: int) -> tuple[dict[str, Result], TrackSummary]:
    """Topic → one-minute bars, indicators, alerts, committed; also track's summary, equal in every round."""
    market = Market(MarketOptions(trades=records, days=5))
    topic, written = bed.topic_with_trades(market), set[TrackSummary]()
    expected = closed_bars(market)
    rules = bed.folder / "rules.toml"
    rules.write_text(RULES)

    def perf_test() -> Run:
        run = bed.run_tool(
            records,
            "ConsumerPerformance",
            *("--topic", topic, "--group", bed.new_group(), "--num-records", records, "--hide-header"),
        )
        # column 7 is the fetch time in milliseconds
        cells = [
            line.split(", ")
            for line in bed.log_path("tool").read_text().splitlines()
            if line.count(", ") == 9
        ]
        return Run(records, int(cells[-1][7]) / 1000, run.cpu_s, run.peak_mb, run.wall_s)

    def track() -> Run:
        prefix = bed.new_group()
        # keep the last bars open: the clock would close them in some rounds only
        bars = ("--bars", "1m", "--calendar", "XNYS", "--idle", "1w")
        run = run_track(
            bed, records, topic, prefix, bed.empty_lake(), *bars, "--indicators", INDICATORS, "--rules", rules
        )
        summary = TrackSummary.from_log(bed.log_path("script"))
        assert summary.records == records, summary
        assert (summary.bars, count_trades(bed.servers, f"{prefix}.bars")) == expected, (summary, expected)
        written.add(summary)
        assert len(written) == 1, written
        return run

    contenders = {
        LIMIT: perf_test,
        "consume, decode, group, drop": _module_runner(bed, records, "polars_group", topic),
        TRACK: track,
        "a dictionary, message by message": _module_runner(bed, records, "python_loop", topic, target=True),
        **_peer_runners(bed, records, topic),
    }
    results = run_interleaved(contenders, rounds)
    return results, written.pop()


def run_track(bed: KafkaEnv, records: int, topic: str, prefix: str, state: Path, *options: object) -> Run:
    """Run track to the end of a topic, timed from its first partition to its last transaction."""
    run = bed.run_module(
        records,
        "bench.track_child",
        *("track", "-t", topic, "-b", bed.servers, "--prefix", prefix, "--group", prefix),
        *("--state", state, "--until-end", *options),
    )
    return with_report(run, bed.log_path("script"))


def closed_bars(market: Market) -> tuple[int, int]:
    """Return how many one-minute bars a market closes, and their trades; each symbol's last stays open."""
    minute = pl.col("ts_event_ns") // 60_000_000_000
    counts = pl.concat(
        batch.records.group_by("symbol", minute).agg(pl.len().alias("trades")) for batch in market.batches()
    )
    counts = counts.group_by("symbol", "ts_event_ns").agg(pl.col("trades").sum())
    finished = counts.filter(pl.col("ts_event_ns") < pl.col("ts_event_ns").max().over("symbol"))
    return finished.height, int(finished.get_column("trades").sum())


def count_trades(servers: str, topic: str) -> int:
    """Return the number of trades in the bars of a topic."""
    description = Admin(servers).require_topic(topic)
    count = pl.col("value").cast(pl.String).str.extract(r'"trade_count":(\d+)').cast(pl.Int64)
    batches = read_all(servers, {}, topic, dict.fromkeys(range(description.partitions), 0))
    return sum(batch.frame.select(count.sum()).item() for batch in batches)


def _module_runner(
    bed: KafkaEnv, records: int, name: str, topic: str, *, target: bool = False
) -> Callable[[], Run]:
    def run() -> Run:
        target_args = (bed.create_topic(),) if target else ()
        return with_report(
            bed.run_module(records, f"bench.{name}", bed.servers, topic, *target_args, records),
            bed.log_path("script"),
        )

    return run


def _peer_runners(bed: KafkaEnv, records: int, topic: str) -> dict[str, Callable[[], Run]]:
    try:
        python, jars = peer_envs.peer_python(), ",".join(map(str, peer_envs.spark_jars()))
    except peer_envs.PeerUnavailable as error:
        print(f"  skipping the peers: {error}", flush=True)
        return {}

    def run(count: int, name: str, *extra_args: object) -> Run:
        script, folder = Path(__file__).with_name(f"{name}.py"), bed.folder / secrets.token_hex(4)
        log = bed.folder / "peer.log"
        command = (python, script, bed.servers, topic, bed.create_topic(), count, folder, *extra_args)
        return with_report(run_child(count, command, log), log)

    return {
        QUIX: lambda: run(min(records // 2, QUIX_RECORDS), "peer_quix"),
        SPARK: lambda: run(records, "peer_spark", jars),
    }
