"""What counts as growth under long load; the load itself is `make soak`."""

import subprocess
import sys

import pytest

from fault.soak import ResourceTrend, Sample

SAMPLES_PER_QUARTER = 50


def growing_resources(memory_mb: float, descriptors: int = 20, threads: int = 20) -> list[str]:
    """Return what grows in a process that warms up, runs steadily, and ends with these values."""
    startup, steady = Sample(50, 10, 10), Sample(100, 20, 20)
    late = Sample(memory_mb, descriptors, threads)
    # a short peak is not growth
    peak = Sample(1000, 500, 500)
    samples = (
        [startup] * SAMPLES_PER_QUARTER
        + [steady] * (2 * SAMPLES_PER_QUARTER)
        + [late, late, peak] * (SAMPLES_PER_QUARTER // 3 + 1)
    )
    return ResourceTrend.from_samples(samples).growing_resources


def test_usage_that_levels_off_is_not_growth() -> None:
    assert growing_resources(100) == []
    assert growing_resources(119, 22, 22) == []


@pytest.mark.parametrize(
    ("measurements", "growing"),
    [((121,), "memory"), ((100, 23), "descriptors"), ((100, 20, 23), "threads")],
)
def test_usage_that_still_rises_is_growth(measurements: tuple[int, ...], growing: str) -> None:
    assert growing_resources(*measurements) == [growing]


GROWING = """
import os, threading
print(flush=True)
input()
held = os.urandom(64 << 20), os.pipe()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
input()
"""


def test_a_process_is_sampled() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", GROWING], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        before = Sample.measure(child.pid)
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        after = Sample.measure(child.pid)
        child.kill()
    assert after.memory_mb - before.memory_mb == pytest.approx(64, abs=16)
    assert after.descriptors == before.descriptors + 2
    assert after.threads == before.threads + 1
