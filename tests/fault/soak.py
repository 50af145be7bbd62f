"""Hours of load: memory, descriptors and threads of each command must not grow, and no record may be lost.

A simulated market is produced, tracked, stored and displayed by the real commands, each in its own process. A
trading day passes in a minute or two, so that an hour covers about a month of sessions, bars and alerts.
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
from tickerlake.ports import free_port

PREFIX = "soak"
RECORD_TYPES = ("trades", "bars", "indicators", "alerts")
# sampling reads a few files of /proc: often enough for medians, too rare to be load
SAMPLE_S = 5.0
SYMBOLS = 100
# after these the dashboard holds its maximum number of bars
INITIAL_TRADES = 12_000_000
# about what one screen shows
VIEWED_ROWS = 40
# what allocators and caches can still take after the warm-up
MAX_GROWTH, MAX_GROWTH_MB = 0.10, 10.0
# connections and their threads that are open only at the time of a sample
MAX_EXTRA_HANDLES = 2


@dataclass(frozen=True)
class Sample:
    """Resources of a process at one time."""

    memory_mb: float
    descriptors: int
    threads: int

    @classmethod
    def measure(cls, pid: int) -> "Sample":
        """Measure a running process."""
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return cls(proc_status(pid, "VmRSS") / 1024, descriptors, proc_status(pid, "Threads"))


@dataclass(frozen=True)
class ResourceTrend:
    """Medians of a process's resources in the second and in the last quarter of the time."""

    early: Sample
    late: Sample

    @classmethod
    def from_samples(cls, samples: Sequence[Sample]) -> "ResourceTrend":
        """Summarize samples; the first quarter is the warm-up."""
        quarter = len(samples) // 4
        return cls(_median(samples[quarter : 2 * quarter]), _median(samples[-quarter:]))

    @property
    def growing_resources(self) -> list[str]:
        """Names of the resources that have grown."""
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
    """Run a market and its consumers within the block; each process logs into the folder."""
    topics = [f"{PREFIX}.{kind}" for kind in RECORD_TYPES]
    common, lake = ("-b", servers), ("--lake", folder / "lake")
    # more trades than can be produced in that time
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
        serve = ("serve", *common, *lake, "--prefix", PREFIX, "--port", port)
        start("serve", *serve, ready_text="dashboard at")
        wait_until(lambda: has_more_than(servers, topics[0], INITIAL_TRADES), running["simulate"], 600)
        _stop_child("simulate", running["simulate"])
        # continues where it stopped
        start("simulate", *simulate, "--rate", f"{rate}/s")
        yield running
        for name, child in running.items():
            _stop_child(name, child)


def _stop_child(command_name: str, child: Child) -> None:
    child.terminate()
    child.wait(60)
    assert child.returncode in {0, 143}, f"{command_name} exited with {child.returncode}"


def view_dashboard(port: int, stop: threading.Event) -> None:
    """Read the dashboard as a browser does, and request its metrics periodically, until ``stop`` is set."""
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
    """Measure each process periodically; all of them must keep running."""
    pause = threading.Event()
    until_s = clock.monotonic_s() + seconds
    while (left_s := until_s - clock.monotonic_s()) > 0:
        for name, child in running.items():
            log = (folder / f"{name}.log").read_text()[-2000:] if child.poll() is not None else ""
            assert child.returncode is None, f"{name} exited with {child.returncode}\n{log}"
        assert not viewer.done(), viewer.result()
        current = {name: Sample.measure(child.pid) for name, child in running.items()}
        if sys.stderr.isatty():
            summary = ", ".join(f"{name} {each.memory_mb:.0f} MB" for name, each in current.items())
            print(f"\r{left_s / 60:5.1f} minutes left: {summary} ", end="", file=sys.stderr, flush=True)
        yield current
        pause.wait(SAMPLE_S)


def soak(folder: Path, minutes: float, rate: int) -> dict[str, ResourceTrend]:
    """Run the pipeline, stop it, and audit the lake against Kafka."""
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
                    for name, sample in current.items():
                        samples.setdefault(name, []).append(sample)
            finally:
                stop.set()
            viewer.result()
        trends = {name: ResourceTrend.from_samples(each) for name, each in samples.items()}
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
    """Run a command to its end, without a timeout."""
    with tickerlake(*command, stderr=subprocess.STDOUT) as child:
        out, _ = child.communicate()
    print(out)
    assert child.returncode == 0, f"{command[0]} exited with {child.returncode}"


def _print_trends(trends: Mapping[str, ResourceTrend]) -> None:
    print("| command | memory, 2nd quarter | last quarter | descriptors | threads | growing |")
    print("|---|--:|--:|--:|--:|---|")
    for name, trend in trends.items():
        early, late = trend.early, trend.late
        print(
            f"| {name} | {early.memory_mb:.0f} MB | {late.memory_mb:.0f} MB "
            f"| {early.descriptors} → {late.descriptors} | {early.threads} → {late.threads} "
            f"| {', '.join(trend.growing_resources) or 'no'} |",
            flush=True,
        )


def main(arguments: list[str]) -> int:
    """Run the soak test, and print the resources of each command."""
    parser = argparse.ArgumentParser(
        description="Run the whole pipeline under load; fail if a resource grows."
    )
    parser.add_argument("--minutes", type=float, default=60, help="duration")
    parser.add_argument("--rate", type=int, default=1000, help="trades per second")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        trends = soak(Path(folder), options.minutes, options.rate)
    return 1 if any(trend.growing_resources for trend in trends.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
