"""36: hours of load; memory, descriptors and threads of each verb stay what they are, and nothing is lost.

A market is written, tracked, stored and watched by the real verbs, each in a process of its own. It trades
a day in a minute or two, so that each hour is a month of sessions, bars and alerts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.process import Child, proc_status, tickerlake, wait_until
from support.topics import has_more_than
from tickerlake import clock
from tickerlake.kafka.embedded.broker import EmbeddedBroker
from tickerlake.kafka.embedded.files import free_port

PREFIX = "soak"
RECORD_TYPES = ("trades", "bars", "indicators", "alerts")
SAMPLE_S = 5.0
SYMBOLS = 100
# until the dashboard holds as many bars as it ever does
INITIAL_TRADES = 12_000_000
VIEWED_ROWS = 40
# what the allocator and caches may still take when all has been seen once
MAX_GROWTH, MAX_GROWTH_MB = 0.10, 10.0
MAX_EXTRA_HANDLES = 2


@dataclass(frozen=True)
class Sample:
    """What one process had at one time."""

    memory_mb: float
    descriptors: int
    threads: int

    @classmethod
    def measure(cls, pid: int) -> "Sample":
        """Look at a running process."""
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return cls(proc_status(pid, "VmRSS") / 1024, descriptors, proc_status(pid, "Threads"))


@dataclass(frozen=True)
class ResourceTrend:
    """How one process fared: medians of the second quarter of the time, and of the last."""

    early: Sample
    late: Sample

    @classmethod
    def from_samples(cls, samples: Sequence[Sample]) -> "ResourceTrend":
        """Sum up; the first quarter is for caches to fill."""
        quarter = len(samples) // 4
        return cls(_median(samples[quarter : 2 * quarter]), _median(samples[-quarter:]))

    @property
    def growing_resources(self) -> list[str]:
        """Name what has grown."""
        early, late = self.early, self.late
        max_mb = early.memory_mb * (1 + MAX_GROWTH) + MAX_GROWTH_MB
        growing = ["memory"] if late.memory_mb > max_mb else []
        growing += ["descriptors"] if late.descriptors > early.descriptors + MAX_EXTRA_HANDLES else []
        return growing + (["threads"] if late.threads > early.threads + MAX_EXTRA_HANDLES else [])


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        statistics.median(each.memory_mb for each in samples),
        statistics.median_high(each.descriptors for each in samples),
        statistics.median_high(each.threads for each in samples),
    )


@contextmanager
def running_pipeline(
    servers: str, folder: Path, rate: int, seconds: float, port: int
) -> Iterator[dict[str, Child]]:
    """Run a market, and all that follow it, until the end of the block; each has a log in the folder."""
    topics = [f"{PREFIX}.{kind}" for kind in RECORD_TYPES]
    common, lake = ("-b", servers), ("--lake", folder / "lake")
    # more than can be written in that time
    market = ("--symbols", SYMBOLS, "--days", 252, "--trades", 2 * INITIAL_TRADES + int(2 * rate * seconds))
    simulate = ("simulate", "-t", topics[0], *common, *market)
    with ExitStack() as stack:
        running: dict[str, Child] = {}

        def start(command_name: str, *command: object, ready_text: str = "") -> None:
            path = folder / f"{command_name}.log"
            log = stack.enter_context(path.open("w")).fileno()
            child = running[command_name] = stack.enter_context(tickerlake(*command, stdout=log, stderr=log))
            wait_until(lambda: ready_text in path.read_text(), child)

        start("simulate", *simulate, ready_text="created topic")
        start(
            "track",
            *("track", "-t", topics[0], *common, "--calendar", "XNYS", "--state", folder / "state"),
            ready_text=f"created topic {topics[-1]}",
        )
        start("sink", "sink", *(part for topic in topics for part in ("-t", topic)), *common, *lake)
        start(
            "serve",
            "serve",
            *common,
            *lake,
            "--prefix",
            PREFIX,
            "--port",
            port,
            ready_text="dashboard at",
        )
        wait_until(lambda: has_more_than(servers, topics[0], INITIAL_TRADES), running["simulate"], 600)
        _stop_child("simulate", running["simulate"])
        # it goes on where it stopped
        start("simulate", *simulate, "--rate", f"{rate}/s")
        yield running
        for verb, child in running.items():
            _stop_child(verb, child)


def _stop_child(command_name: str, child: Child) -> None:
    child.terminate()
    child.wait(60)
    assert child.returncode in {0, 130}, f"{command_name} ended with {child.returncode}"


def view_dashboard(port: int, stop: threading.Event) -> None:
    """Read what the dashboard sends to a page, and ask for its figures now and then, until told to stop."""
    with (
        suppress(ConnectionClosed),
        connect(f"ws://127.0.0.1:{port}/live", compression=None, max_size=None, proxy=None) as connection,
    ):
        last_scrape_s = clock.monotonic_s()
        while not stop.is_set():
            with suppress(TimeoutError):
                message = connection.recv(1.0)
                if isinstance(message, str) and message.startswith('{"t":"instruments"'):
                    connection.send(json.dumps({"t": "view", "ids": list(range(VIEWED_ROWS))}))
            if clock.monotonic_s() - last_scrape_s > SAMPLE_S:
                last_scrape_s = clock.monotonic_s()
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read()


def _sample_processes(
    running: Mapping[str, Child], folder: Path, seconds: float, viewer: "Future[None]"
) -> Iterator[dict[str, Sample]]:
    """Look at each process every few seconds; all of them must go on."""
    pause = threading.Event()
    until_s = clock.monotonic_s() + seconds
    while (left_s := until_s - clock.monotonic_s()) > 0:
        for verb, child in running.items():
            log = (folder / f"{verb}.log").read_text()[-2000:] if child.poll() is not None else ""
            assert child.returncode is None, f"{verb} ended with {child.returncode}\n{log}"
        assert not viewer.done(), viewer.result()
        current = {verb: Sample.measure(child.pid) for verb, child in running.items()}
        if sys.stderr.isatty():
            summary = ", ".join(f"{verb} {each.memory_mb:.0f} MB" for verb, each in current.items())
            print(f"\r{left_s / 60:5.1f} minutes left: {summary} ", end="", file=sys.stderr, flush=True)
        yield current
        pause.wait(SAMPLE_S)


def soak(folder: Path, minutes: float, rate: int) -> dict[str, ResourceTrend]:
    """Let it run, then stop it, and let the lake be compared with Kafka."""
    samples: dict[str, list[Sample]] = {}
    port, stop = free_port(), threading.Event()
    with EmbeddedBroker(folder / "broker", free_port()) as broker:
        servers = broker.bootstrap_servers
        with (
            running_pipeline(servers, folder, rate, minutes * 60, port) as running,
            ThreadPoolExecutor(1) as pool,
        ):
            viewer = pool.submit(view_dashboard, port, stop)
            try:
                for current in _sample_processes(running, folder, minutes * 60, viewer):
                    for verb, sample in current.items():
                        samples.setdefault(verb, []).append(sample)
            finally:
                stop.set()
            viewer.result()
        trends = {verb: ResourceTrend.from_samples(each) for verb, each in samples.items()}
        _print_trends(trends)
        options = ("-b", servers, "--lake", folder / "lake")
        _run_to_end(
            "sink",
            *(part for kind in RECORD_TYPES for part in ("-t", f"{PREFIX}.{kind}")),
            *options,
            "--until-end",
        )
        _run_to_end("audit", *options, "--deep")
    return trends


def _run_to_end(*command: object) -> None:
    """Run a verb to its end, however long that takes."""
    with tickerlake(*command, stderr=subprocess.STDOUT) as child:
        out, _ = child.communicate()
    print(out)
    assert child.returncode == 0, f"{command[0]} ended with {child.returncode}"


def _print_trends(trends: Mapping[str, ResourceTrend]) -> None:
    print("| verb | memory, 2nd quarter | last quarter | descriptors | threads | grows |")
    print("|---|--:|--:|--:|--:|---|")
    for verb, trend in trends.items():
        early, late = trend.early, trend.late
        print(
            f"| {verb} | {early.memory_mb:.0f} MB | {late.memory_mb:.0f} MB "
            f"| {early.descriptors} → {late.descriptors} | {early.threads} → {late.threads} "
            f"| {', '.join(trend.growing_resources) or 'no'} |",
            flush=True,
        )


def main(arguments: list[str]) -> int:
    """Soak, and say how each verb fared."""
    parser = argparse.ArgumentParser(description="Run the whole pipeline for long; nothing may grow.")
    parser.add_argument("--minutes", type=float, default=60, help="how long")
    parser.add_argument("--rate", type=int, default=1000, help="trades a second")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        trends = soak(Path(folder), options.minutes, options.rate)
    return 1 if any(course.growing_resources for course in trends.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
