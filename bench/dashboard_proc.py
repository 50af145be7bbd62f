"""CPU, memory and children of a process, from /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int, thread: int | None = None) -> float:
    """Return the CPU seconds that a process, or one of its threads, has used; 0 if it has ended."""
    path = f"{pid}/task/{thread}" if thread else str(pid)
    try:
        fields = Path(f"/proc/{path}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def process_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    pids = [pid]
    for each in pids:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            pids += map(int, children.read_text().split())
    return pids


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and all its descendants."""
    return sum(map(cpu_s, process_tree(pid)))


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def core_share(
    used_s: Callable[[], float], seconds: float, wait: Callable[[float], object] = time.sleep
) -> float:
    """Return the share of one core that a measurement uses over some seconds."""
    before_s, began_s = used_s(), time.perf_counter()
    wait(seconds)
    return (used_s() - before_s) / (time.perf_counter() - began_s)
