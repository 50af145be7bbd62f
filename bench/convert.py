"""CSV files to Parquet without Kafka: whole processes, against the limit and a peer."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import datasets
from bench.kafka_env import TICKERLAKE
from bench.measure import Result, Run, run_child, run_interleaved
from tickerlake.sources.csv.detect.head import read_head
from tickerlake.sources.csv.detect.options import Options

ROWS = 5_000_000


def to_parquet(folder: Path, rows: int, rounds: int) -> dict[str, dict[str, Result]]:
    """Return the results of each contender, for minute bars and for trades."""
    results = {}
    for kind, write_csv in (("minute bars", datasets.bars_csv), ("trades", datasets.trades_csv)):
        source = write_csv(folder / f"{kind}.csv", rows)
        contenders = {
            "Polars, schema known (limit)": _library_runner("polars", source, rows, folder),
            "pandas": _library_runner("pandas", source, rows, folder),
            "tickerlake convert": _convert_runner(source, rows, folder),
        }
        results[kind] = run_interleaved(contenders, rounds)
    return results


def detection_s(folder: Path) -> float:
    """Return how long it takes to detect compression, delimiter, header and columns of the largest file."""
    began_s = time.perf_counter()
    read_head(folder / "trades.csv", Options())
    return time.perf_counter() - began_s


def _library_runner(library: str, source: Path, rows: int, folder: Path) -> Callable[[], Run]:
    command = (sys.executable, "-m", "bench.csv_libraries", library, source, folder / f"{library}.parquet")
    return lambda: run_child(rows, command, folder / "log")


def _convert_runner(source: Path, rows: int, folder: Path) -> Callable[[], Run]:
    options = ("--to", "parquet", "-o", folder / "converted.parquet", "--force")
    return lambda: run_child(rows, (TICKERLAKE, "convert", source, *options), folder / "log")
