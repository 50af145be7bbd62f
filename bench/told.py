"""What a child tells at its end, beside what can be seen from outside: a last line of JSON on its output."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.measure import Run


class Clock:
    """A child's stop watch: from its first partition, or record, to its last commit."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._ended_s = 0.0

    def begin(self) -> None:
        """Begin, the first time that it is called."""
        self._began_s = self._began_s or time.perf_counter()

    def end(self) -> None:
        """End, the last time that it is called."""
        self._ended_s = time.perf_counter()

    def tell(self, **more: Any) -> None:
        """Write the line."""
        said = {"reading_s": self._ended_s - self._began_s, **more}
        print(f"\n{json.dumps(said)}", file=sys.stderr, flush=True)


def told(log: Path) -> dict[str, Any]:
    """Return what the last line of a child's output says."""
    said: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return said


def reading(run: Run, log: Path) -> Run:
    """Return a run by what the child says: how long it read, and of how many records."""
    said = told(log)
    assert said.get("records", run.records) == run.records, f"{said} of {run.records:,} records"
    return replace(
        run,
        wall_s=said["reading_s"],
        whole_s=run.wall_s,
        cpu_s=said.get("cpu_s", run.cpu_s),
        peak_mb=said.get("peak_mb", run.peak_mb),
    )
