"""What Linux says of a process: its CPU, its memory, its children."""

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
    """Return a process and all that came of it."""
    pids = [pid]
    for each in pids:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            pids += map(int, children.read_text().split())
    return pids


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and of all that came of it."""
    return sum(map(cpu_s, process_tree(pid)))


def rss_mb(pid: int) -> float:
    """Return what a process holds in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def core_share(
    used_s: Callable[[], float], seconds: float, wait: Callable[[float], object] = time.sleep
) -> float:
    """Return how much of one core something takes, over some seconds."""
    before_s, began_s = used_s(), time.perf_counter()
    wait(seconds)
    return (used_s() - before_s) / (time.perf_counter() - began_s)
