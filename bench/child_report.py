"""What a child reports when it ends: its last line of output is JSON."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.measure import Run


class Stopwatch:
    """Times a child from its first partition or record to its last commit."""

    def __init__(self) -> None:
        self._started_s = 0.0
        self._stopped_s = 0.0

    def start(self) -> None:
        """Start; later calls change nothing."""
        self._started_s = self._started_s or time.perf_counter()

    def stop(self) -> None:
        """Stop; the last call counts."""
        self._stopped_s = time.perf_counter()

    def report(self, **fields: Any) -> None:
        """Print the report."""
        measurements = {"elapsed_s": self._stopped_s - self._started_s, **fields}
        print(f"\n{json.dumps(measurements)}", file=sys.stderr, flush=True)


def read_report(log: Path) -> dict[str, Any]:
    """Return the report of a child."""
    report: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return report


def with_report(run: Run, log: Path) -> Run:
    """Return a run with the child's own measurements."""
    report = read_report(log)
    assert report.get("records", run.records) == run.records, f"{report} of {run.records:,} records"
    return replace(
        run,
        wall_s=report["elapsed_s"],
        total_s=run.wall_s,
        cpu_s=report.get("cpu_s", run.cpu_s),
        peak_mb=report.get("peak_mb", run.peak_mb),
    )
