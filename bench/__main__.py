"""``make bench``: every measurement of docs/performance.md, against named limits in the same run."""

import argparse
import platform
import tempfile
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

from bench import (
    convert,
    curated,
    dashboard,
    detection,
    detection_days,
    flow,
    latency,
    live,
    many_symbols,
    stream,
)
from bench.kafka_env import KafkaEnv
from bench.measure import Result
from tickerlake.kafka.embedded.broker import EmbeddedBroker

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench: {} -->", "<!-- end -->"
# share of the limit's records/s, and of its CPU per record; None: no goal
GOALS = {
    "documents ready, in transactions": (0.9, None),
    "tickerlake produce, CSV file": (0.65, None),
    "tickerlake sink, Parquet": (0.7, 0.75),
    "tickerlake sink, NDJSON": (0.65, 0.75),
    "tickerlake convert": (0.6, None),
    stream.TRACK: (0.45, None),
}
# multiples of a peer's records/s
PEER_GOALS = {stream.SPARK: 4, stream.QUIX: 12}
# at 8 σ: precision, recall, false alarms per symbol and day
DETECTION_GOALS = (0.94, 0.96, 0.15)
DAYS_GOALS = (0.95, 0.96, 0.15)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records, one round: a first impression")
    parser.add_argument("--write", action="store_true", help="write the tables to docs/performance.md")
    parser.add_argument("--only", choices=list(PARTS), help="run this part only")
    options = parser.parse_args()
    for name, run_part in PARTS.items():
        if options.only not in {None, name}:
            continue
        tables = run_part(quick=options.quick)
        print(f"\n{tables}\n", flush=True)
        if options.write:
            begin = BEGIN.format(name)
            before, _, rest = DOCS.read_text().partition(begin)
            DOCS.write_text(f"{before}{begin}\n{tables}\n{END}{rest.partition(END)[2]}")


def _kafka(*, quick: bool) -> str:
    records, rounds = (400_000, 1) if quick else (4_000_000, 3)
    with tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder:
        with EmbeddedBroker(Path(folder) / "kafka") as broker:
            bed = KafkaEnv(Path(folder), broker)
            print(f"into Kafka: {records:,} bars", flush=True)
            into = flow.into_kafka(bed, records, rounds)
            print(f"out of Kafka: {records:,} trades", flush=True)
            out = flow.out_of_kafka(bed, records, rounds)
            print("live", flush=True)
            rate, first_s = live.objects_per_s(bed, records // 200), live.first_object_s(bed, rounds)
        help_s = live.help_s(rounds)
    return "\n".join(
        [
            *_run_conditions(records, rounds),
            *_table("Into Kafka", into),
            "",
            *_table("Out of Kafka into fsynced files", out),
            "",
            "| | measured | goal |",
            "|---|---|---|",
            f"| objects of one record per second, 50 ms per request | {rate:,.0f} | ≥ 1,000 |",
            f"| first record sent → first object, `--flush-age 1` | {first_s:.2f} s | ≤ 2 s |",
            f"| `tickerlake --help` | {help_s:.2f} s | < 0.3 s |",
        ]
    )


def _files(*, quick: bool) -> str:
    rows, rounds = (500_000, 1) if quick else (convert.ROWS, 3)
    lines = _run_conditions(rows, rounds)
    with tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder:
        print(f"files: {rows:,} rows", flush=True)
        for kind, results in convert.to_parquet(Path(folder), rows, rounds).items():
            lines += [*_table(f"CSV file of {kind} → Parquet", results), ""]
        detection_s = convert.detection_s(Path(folder))
    return "\n".join(
        [
            *lines,
            f"Detecting header and columns of the trades file took {detection_s:.2f} s (goal < 0.5 s).",
        ]
    )


def _stream(*, quick: bool) -> str:
    records, rounds, seconds, warm_s = (100_000, 1, 5, 5) if quick else (1_000_000, 3, 30, 10)
    with (
        tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder,
        EmbeddedBroker(Path(folder) / "kafka") as broker,
    ):
        bed = KafkaEnv(Path(folder), broker)
        print(f"stream: {records:,} trades", flush=True)
        results, written = stream.measure_speeds(bed, records, rounds)
        print("latency", flush=True)
        delays = latency.measure(bed, seconds, warm_s)
        print(f"{many_symbols.SYMBOLS:,} symbols", flush=True)
        crowded = many_symbols.measure(bed, 2 * records)
    track, first = results[stream.TRACK].per_s, crowded.first
    against = [
        f"| {name} | {track / results[name].per_s:.1f} | ≥ {latency_ratio} |"
        for name, latency_ratio in PEER_GOALS.items()
        if name in results
    ]
    times = f"{delays.alerts.p99_ms / delays.trades.p99_ms:.1f}"
    return "\n".join(
        [
            *_run_conditions(records, rounds),
            *_table("Topic → bars, indicators, alerts", results),
            "",
            f"`track` wrote {_format_written(written)}, the same in every round.",
            "",
            "| `track` against | × its records/s | goal |",
            "|---|---|---|",
            *against,
            "",
            f"| {latency.RATE_S:,} trades/s, {delays.fired:,} alerts | p50 | p99 | × baseline | goal |",
            "|---|---|---|---|---|",
            f"| trade produced → read (baseline) | {_format_ms(delays.trades)} | 1.0 | |",
            f"| trade produced → alert read | {_format_ms(delays.alerts)} | {times} | ≤ 30 ms, ≤ 2 × |",
            "",
            f"| {first.records:,} trades of {many_symbols.SYMBOLS:,} symbols, all defaults | |",
            "|---|---|",
            f"| written | {_format_written(crowded.written)} |",
            f"| trades/s | {first.records / first.wall_s:,.0f} |",
            f"| peak memory | {first.peak_mb:,.0f} MB |",
            f"| snapshots | {crowded.snapshots_mb:,.1f} MB |",
            f"| second run: assignment → one more trade committed | {crowded.restarted.wall_s:.1f} s |",
            f"| whole process | {crowded.restarted.total_s:.1f} s |",
        ]
    )


def _format_written(written: stream.TrackSummary) -> str:
    return f"{written.bars:,} bars, {written.indicators:,} indicator records, {written.alerts:,} alerts"


def _format_ms(times: latency.LatencyQuantiles) -> str:
    return f"{times.p50_ms:.1f} ms | {times.p99_ms:.1f} ms"


def _alerts(*, quick: bool) -> str:
    days = 2 if quick else 10
    print(f"alerts: {days} days of {detection.SYMBOLS} symbols", flush=True)
    quality = detection.measure(days)
    sizes = " | ".join(f"{size:g} σ" for size in detection.SIZES)
    rows = []
    for name, scores in quality.scores.items():
        pairs = " | ".join(f"{score.precision:.2f} / {score.recall:.2f}" for score in scores.values())
        at_8 = scores[8]
        rows.append(
            f"| {name} | {pairs} | {at_8.false_alarms_per_day:.2f} | {at_8.late / max(1, at_8.found):.2f} |"
        )
    precision, recall, false = DETECTION_GOALS
    missing = detection.misclassified(quality.daily)
    daily = Counter(alert.rule_id for alert in quality.daily)
    return "\n".join(
        [
            f"{datetime.now(UTC):%Y-%m-%d}. {_machine()}.",
            f"{quality.days:,} symbol-days, two jumps in each.",
            "",
            f"| Precision / recall for jumps of | {sizes} | false alarms per day, 8 σ | delay in bars, 8 σ |",
            "|---|" + "---|" * (len(detection.SIZES) + 2),
            *rows,
            f"| goal for the default |  | ≥ {precision} / ≥ {recall} |  | ≤ {false} |  |",
            "",
            "| Alerts of the default preset | total | by rule |",
            "|---|---|---|",
            f"| per symbol and day with two jumps of 8 σ | {_alert_rates(quality.preset, quality.days)} |",
            f"| per symbol and year of built-in daily bars | {_alert_rates(daily, quality.daily_years)} |",
            "",
            f"Misclassified: {missing}."
            if missing
            else "The three splits and the crash in the built-in bars are classified correctly.",
        ]
    )


def _days(*, quick: bool) -> str:
    symbols, days = (10, 5) if quick else (20, 10)
    print(f"days: {days} whole days of {symbols} symbols", flush=True)
    market = detection_days.market_days(symbols, days, 4_000)
    scores = detection_days.jump_scores(market)
    print("days: gaps, splits, reversals", flush=True)
    event_symbols = detection_days.EVENT_SYMBOLS // (3 if quick else 1)
    events = detection_days.market_days(
        event_symbols, detection_days.EVENT_DAYS, 400, gaps=0.04, splits=0.05, reversals=0.1
    )
    told = detection_days.event_quality(events)
    print("days: lunch breaks", flush=True)
    lunch = detection_days.halts_at_lunch(10, 3 if quick else 8)
    precision, recall, false = DAYS_GOALS
    sizes = " | ".join(f"{size:g} σ" for size in detection.SIZES)
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}. {_machine()}.",
        f"{market.count:,} symbol-days.",
        "",
        f"| Preset, feed, phase | {sizes} | false alarms per day, 8 σ | median delay, 8 σ | by rule, 8 σ |",
        "|---|" + "---|" * (len(detection.SIZES) + 3),
    ]
    for name, feed, phase in dict.fromkeys(key[:3] for key in scores if scores[key].jumps):
        row = [scores[name, feed, phase, size] for size in detection.SIZES]
        at_8 = scores[name, feed, phase, 8.0]
        if not any(each.delays_s or each.false_alarms for each in row):
            lines.append(f"| {name}, {feed}, {phase} | none told |" + " |" * (len(row) + 2))
            continue
        pairs = " | ".join(f"{each.precision:.2f} / {each.recall:.2f}" for each in row)
        rules = ", ".join(f"{rule} {count}" for rule, count in at_8.false_alarms.most_common())
        lines.append(
            f"| {name}, {feed}, {phase} | {pairs} | {at_8.false_alarms.total() / market.count:.2f} "
            f"| {at_8.delay_s:.0f} s | {rules} |"
        )
    lines += [
        f"| goal for the default, full |  | ≥ {precision} / ≥ {recall} |  | ≤ {false} |  |  |",
        "",
        "| Default preset | number | told, equal |",
        "|---|---|---|",
    ]
    for feed, (big, found, small) in told.gaps.items():
        lines.append(f"| gaps of 10% or more, {feed} feed | {big} | {found}, and {small} smaller ones |")
    official, opens, closes = detection_days.official_prices(market)
    lines += [
        f"| daily bars with the official open, full feed | {official} | {opens} |",
        f"| daily bars with the official close, full feed | {official} | {closes} |",
    ]
    ratios = sorted(told.splits.items(), key=_ratio_order)
    total = [sum(counts) for counts in zip(*told.splits.values(), strict=True)]
    by_ratio = ", ".join(f"{ratio} {called} of {count}" for ratio, (count, called) in ratios)
    lines.append(f"| splits, called splits | {total[0]} | {total[1]}: {by_ratio} |")
    lines += [
        f"| falls of 15% or more at the open, called splits | {told.crashes[0]} | {told.crashes[1]} |",
        f"| jumps back within 12 minutes | {told.reversals[0]} | {told.reversals[1]} |",
        *(
            f"| halts in {market}, where nothing halts but for lunch | 0 | {count} |"
            for market, count in lunch.items()
        ),
    ]
    return "\n".join(lines)


def _ratio_order(entry: tuple[str, tuple[int, int]]) -> float:
    new, old = entry[0].split(":")
    return -int(new) / int(old)


def _alert_rates(counts: Counter[str], over: float) -> str:
    rates = ", ".join(f"{name} {count / over:.2f}" for name, count in counts.most_common() if count)
    return f"{counts.total() / over:.2f} | {rates}"


def _curated(*, quick: bool) -> str:
    rounds, count, symbols = (1, 500_000, 500) if quick else (3, 4_000_000, 2_000)
    records, lines = curated.measure(count, symbols, rounds)
    return "\n".join([*_run_conditions(records, rounds), *lines])


PARTS = {
    "kafka": _kafka,
    "files": _files,
    "stream": _stream,
    "alerts": _alerts,
    "days": _days,
    "dashboard": dashboard.run,
    "curated": _curated,
}


def _run_conditions(records: int, rounds: int) -> list[str]:
    return [
        f"{datetime.now(UTC):%Y-%m-%d}. {_machine()}.",
        f"{records:,} records per run, medians of {rounds} interleaved rounds.",
        "",
    ]


def _table(title: str, results: dict[str, Result]) -> list[str]:
    limit = next(iter(results.values()))
    measures_part = limit.total_s is not None
    lines = [
        f"| {title} | records/s | × limit | goal | µs CPU per record | × limit | goal | peak MB |"
        + (" whole process |" if measures_part else ""),
        "|---|---|---|---|---|---|---|---|" + ("---|" if measures_part else ""),
    ]
    for name, result in results.items():
        speed, cpu = GOALS.get(name, (None, None))
        cells = [
            name,
            f"{result.per_s:,.0f}",
            f"{result.per_s / limit.per_s:.2f}",
            f"≥ {speed}" if speed else "",
            f"{result.cpu_us:.2f}",
            f"{result.cpu_us / limit.cpu_us:.2f}",
            f"≤ {cpu}" if cpu else "",
            f"{result.peak_mb:.0f}",
            *([f"{result.total_s:.1f} s"] if result.total_s else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _machine() -> str:
    return (
        f"{cpu_count()} cores ({platform.machine()}) shared by client and broker, "
        f"Python {platform.python_version()}, confluent-kafka {version('confluent-kafka')}, "
        f"Polars {version('polars')}"
    )


if __name__ == "__main__":
    main()
