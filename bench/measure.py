"""Measures child processes from start to exit."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self


@dataclass(frozen=True)
class Run:
    """One run: records, wall seconds, the child's own CPU seconds, its peak memory in MB.

    If only a part of the child's life is measured, ``total_s`` covers all of it.
    """

    records: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    total_s: float | None = None


@dataclass(frozen=True)
class Result:
    """Medians over the rounds of one contender."""

    per_s: float
    cpu_us: float
    peak_mb: float
    total_s: float | None = None

    @classmethod
    def from_runs(cls, runs: Sequence[Run]) -> "Result":
        return cls(
            median(run.records / run.wall_s for run in runs),
            median(run.cpu_s / run.records * 1e6 for run in runs),
            max(run.peak_mb for run in runs),
            median(wholes) if (wholes := [run.total_s for run in runs if run.total_s]) else None,
        )


class PeakMemory:
    """Peak memory of a process; its resource usage would include what the parent held at the fork."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._status = Path(f"/proc/{pid}/status")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._done.wait(0.02):
            with suppress(OSError, StopIteration):
                line = next(
                    line for line in self._status.read_text().splitlines() if line.startswith("VmHWM")
                )
                self.mb = max(self.mb, int(line.split()[1]) / 1024)


def run_child(records: int, arguments: Sequence[object], log: Path) -> Run:
    """Run a command; its output goes to a file and is shown if it fails."""
    with log.open("wb") as out:
        began_s = time.perf_counter()
        process = subprocess.Popen([str(each) for each in arguments], stdout=out, stderr=subprocess.STDOUT)
        with PeakMemory(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}\nexit {process.returncode}\n{log.read_text()}")
    return Run(records, wall_s, usage.ru_utime + usage.ru_stime, peak.mb)


def run_interleaved(contenders: dict[str, Callable[[], Run]], rounds: int) -> dict[str, Result]:
    """Run every contender in turn, ``rounds`` times, and return the medians."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, run_contender in contenders.items():
            run = run_contender()
            runs[name].append(run)
            print(
                f"  round {number}  {name}: {run.records / run.wall_s:,.0f} records/s, "
                f"{run.cpu_s / run.records * 1e6:.2f} µs CPU per record, {run.peak_mb:.0f} MB",
                flush=True,
            )
    return {name: Result.from_runs(each) for name, each in runs.items()}
