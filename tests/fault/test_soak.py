"""36: what counts as growth in hours of load; the load itself is `make soak`."""

import subprocess
import sys

import pytest

from fault.soak import Course, Sample

QUARTER = 50


def course(memory_mb: float, descriptors: int = 20, threads: int = 20) -> list[str]:
    """Judge a process that starts small, and ends with these figures."""
    at_first, usual = Sample(50, 10, 10), Sample(100, 20, 20)
    late = Sample(memory_mb, descriptors, threads)
    # a moment in which it holds more is no growth
    peak = Sample(1000, 500, 500)
    samples = [at_first] * QUARTER + [usual] * (2 * QUARTER) + [late, late, peak] * (QUARTER // 3 + 1)
    return Course.of(samples).grows


def test_what_fills_and_stays_does_not_grow() -> None:
    assert course(100) == []
    assert course(119, 22, 22) == []


@pytest.mark.parametrize(
    ("figures", "grown"),
    [((121,), "memory"), ((100, 23), "descriptors"), ((100, 20, 23), "threads")],
)
def test_what_still_rises_at_the_end_grows(figures: tuple[int, ...], grown: str) -> None:
    assert course(*figures) == [grown]


GROWING = """
import os, threading
print(flush=True)
input()
kept = os.urandom(64 << 20), os.pipe()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
input()
"""


def test_a_process_is_looked_at() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", GROWING], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        before = Sample.of(child.pid)
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        now = Sample.of(child.pid)
        child.kill()
    assert now.memory_mb - before.memory_mb == pytest.approx(64, abs=16)
    assert now.descriptors == before.descriptors + 2
    assert now.threads == before.threads + 1
