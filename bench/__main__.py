"""``make bench``: every figure of docs/performance.md, against named limits in the same run."""

import argparse
import platform
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

from bench import convert, flow, live
from bench.bed import Bed
from bench.measure import Result
from tickerlake.kafka.embedded import EmbeddedBroker

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN, END = "<!-- written by make bench: {} -->", "<!-- end -->"
# share of the limit's records/s, and of its CPU per record: none means that there is no goal
GOALS = {
    "documents ready, in transactions": (0.9, None),
    "tickerlake produce, CSV file": (0.65, None),
    "tickerlake sink, Parquet": (0.7, 0.75),
    "tickerlake sink, NDJSON": (0.65, 0.75),
    "tickerlake convert": (0.6, None),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer records, one round: a look, not a figure")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--only", choices=["kafka", "files"], help="leave the other part out")
    options = parser.parse_args()
    parts = {"kafka": _kafka, "files": _files}
    for name, part in parts.items():
        if options.only not in {None, name}:
            continue
        text = part(quick=options.quick)
        print(f"\n{text}\n", flush=True)
        if options.write:
            begin = BEGIN.format(name)
            before, _, rest = DOCS.read_text().partition(begin)
            DOCS.write_text(f"{before}{begin}\n{text}\n{END}{rest.partition(END)[2]}")


def _kafka(*, quick: bool) -> str:
    records, rounds = (400_000, 1) if quick else (4_000_000, 3)
    with tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder:
        with EmbeddedBroker(Path(folder) / "kafka") as broker:
            bed = Bed(Path(folder), broker)
            print(f"into Kafka: {records:,} bars", flush=True)
            into = flow.into_kafka(bed, records, rounds)
            print(f"out of Kafka: {records:,} trades", flush=True)
            out = flow.out_of_kafka(bed, records, rounds)
            print("live", flush=True)
            rate, first_s = live.objects_per_s(bed, records // 200), live.first_object_s(bed, rounds)
        help_s = live.help_s(rounds)
    return "\n".join(
        [
            *_about(records, rounds),
            *_table("Into Kafka", into),
            "",
            *_table("Out of Kafka into fsynced files", out),
            "",
            "| | measured | goal |",
            "|---|---|---|",
            f"| objects of one record a second, 50 ms a request | {rate:,.0f} | ≥ 1,000 |",
            f"| first record sent → first object, `--flush-age 1` | {first_s:.2f} s | ≤ 2 s |",
            f"| `tickerlake --help` | {help_s:.2f} s | < 0.3 s |",
        ]
    )


def _files(*, quick: bool) -> str:
    rows, rounds = (500_000, 1) if quick else (convert.ROWS, 3)
    lines = _about(rows, rounds)
    with tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder:
        print(f"files: {rows:,} rows", flush=True)
        for kind, results in convert.to_parquet(Path(folder), rows, rounds).items():
            lines += [*_table(f"CSV file of {kind} → Parquet", results), ""]
        sniffed_s = convert.sniff_s(Path(folder))
    return "\n".join(
        [
            *lines,
            f"Telling header and columns of the file of trades took {sniffed_s:.2f} s (goal < 0.5 s).",
        ]
    )


def _about(records: int, rounds: int) -> list[str]:
    return [
        f"{datetime.now(UTC):%Y-%m-%d}. {_machine()}.",
        f"{records:,} records a run, medians of {rounds} interleaved rounds.",
        "",
    ]


def _table(title: str, results: dict[str, Result]) -> list[str]:
    limit = next(iter(results.values()))
    lines = [
        f"| {title} | records/s | × limit | goal | µs CPU a record | × limit | goal | peak MB |",
        "|---|---|---|---|---|---|---|---|",
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
