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

from support.process import Child, status, tickerlake, wait_until
from support.topics import more_than
from tickerlake import clock
from tickerlake.kafka.embedded import EmbeddedBroker
from tickerlake.kafka.embedded_files import free_port

PREFIX = "soak"
KINDS = ("trades", "bars", "indicators", "alerts")
SAMPLE_S = 5.0
SYMBOLS = 100
# until the dashboard holds as many bars as it ever does
FIRST = 12_000_000
ROWS = 40
# what the allocator and caches may still take when all has been seen once
MOST_GROWTH, MOST_GROWTH_MB = 0.10, 10.0
MOST_MORE = 2


@dataclass(frozen=True)
class Sample:
    """What one process had at one time."""

    memory_mb: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Sample":
        """Look at a running process."""
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return cls(status(pid, "VmRSS") / 1024, descriptors, status(pid, "Threads"))


@dataclass(frozen=True)
class Course:
    """How one process fared: medians of the second quarter of the time, and of the last."""

    early: Sample
    late: Sample

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "Course":
        """Sum up; the first quarter is for caches to fill."""
        quarter = len(samples) // 4
        return cls(_median(samples[quarter : 2 * quarter]), _median(samples[-quarter:]))

    @property
    def grows(self) -> list[str]:
        """Name what has grown."""
        early, late = self.early, self.late
        most_mb = early.memory_mb * (1 + MOST_GROWTH) + MOST_GROWTH_MB
        found = ["memory"] if late.memory_mb > most_mb else []
        found += ["descriptors"] if late.descriptors > early.descriptors + MOST_MORE else []
        return found + (["threads"] if late.threads > early.threads + MOST_MORE else [])


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        statistics.median(each.memory_mb for each in samples),
        statistics.median_high(each.descriptors for each in samples),
        statistics.median_high(each.threads for each in samples),
    )


@contextmanager
def verbs(servers: str, folder: Path, rate: int, seconds: float, port: int) -> Iterator[dict[str, Child]]:
    """Run a market, and all that follow it, until the end of the block; each has a log in the folder."""
    topics = [f"{PREFIX}.{kind}" for kind in KINDS]
    common, lake = ("-b", servers), ("--lake", folder / "lake")
    # more than can be written in that time
    market = ("--symbols", SYMBOLS, "--days", 252, "--trades", 2 * FIRST + int(2 * rate * seconds))
    simulate = ("simulate", "-t", topics[0], *common, *market)
    with ExitStack() as stack:
        running: dict[str, Child] = {}

        def begin(verb: str, *command: object, said: str = "") -> None:
            path = folder / f"{verb}.log"
            log = stack.enter_context(path.open("w")).fileno()
            child = running[verb] = stack.enter_context(tickerlake(*command, stdout=log, stderr=log))
            wait_until(lambda: said in path.read_text(), child)

        begin("simulate", *simulate, said="created topic")
        begin(
            "track",
            *("track", "-t", topics[0], *common, "--calendar", "XNYS", "--state", folder / "state"),
            said=f"created topic {topics[-1]}",
        )
        begin("sink", "sink", *(part for topic in topics for part in ("-t", topic)), *common, *lake)
        begin(
            "serve", "serve", *common, *lake, "--prefix", PREFIX, "--port", port, said="the dashboard is at"
        )
        wait_until(lambda: more_than(servers, topics[0], FIRST), running["simulate"], 600)
        _end("simulate", running["simulate"])
        # it goes on where it stopped
        begin("simulate", *simulate, "--rate", f"{rate}/s")
        yield running
        for verb, child in running.items():
            _end(verb, child)


def _end(verb: str, child: Child) -> None:
    child.terminate()
    child.wait(60)
    assert child.returncode in {0, 130}, f"{verb} ended with {child.returncode}"


def watch(port: int, stop: threading.Event) -> None:
    """Read what the dashboard sends to a page, and ask for its figures now and then, until told to stop."""
    with (
        suppress(ConnectionClosed),
        connect(f"ws://127.0.0.1:{port}/live", compression=None, max_size=None, proxy=None) as page,
    ):
        asked_s = clock.monotonic_s()
        while not stop.is_set():
            with suppress(TimeoutError):
                message = page.recv(1.0)
                if isinstance(message, str) and message.startswith('{"t":"instruments"'):
                    page.send(json.dumps({"t": "view", "ids": list(range(ROWS))}))
            if clock.monotonic_s() - asked_s > SAMPLE_S:
                asked_s = clock.monotonic_s()
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read()


def _looked_at(
    running: Mapping[str, Child], folder: Path, seconds: float, page: "Future[None]"
) -> Iterator[dict[str, Sample]]:
    """Look at each process every few seconds; all of them must go on."""
    pause = threading.Event()
    until_s = clock.monotonic_s() + seconds
    while (left_s := until_s - clock.monotonic_s()) > 0:
        for verb, child in running.items():
            log = (folder / f"{verb}.log").read_text()[-2000:] if child.poll() is not None else ""
            assert child.returncode is None, f"{verb} ended with {child.returncode}\n{log}"
        assert not page.done(), page.result()
        held = {verb: Sample.of(child.pid) for verb, child in running.items()}
        if sys.stderr.isatty():
            told = ", ".join(f"{verb} {each.memory_mb:.0f} MB" for verb, each in held.items())
            print(f"\r{left_s / 60:5.1f} minutes left: {told} ", end="", file=sys.stderr, flush=True)
        yield held
        pause.wait(SAMPLE_S)


def soak(folder: Path, minutes: float, rate: int) -> dict[str, Course]:
    """Let it run, then stop it, and let the lake be compared with Kafka."""
    samples: dict[str, list[Sample]] = {}
    port, stop = free_port(), threading.Event()
    with EmbeddedBroker(folder / "broker", free_port()) as broker:
        servers = broker.bootstrap_servers
        with verbs(servers, folder, rate, minutes * 60, port) as running, ThreadPoolExecutor(1) as pool:
            page = pool.submit(watch, port, stop)
            try:
                for held in _looked_at(running, folder, minutes * 60, page):
                    for verb, sample in held.items():
                        samples.setdefault(verb, []).append(sample)
            finally:
                stop.set()
            page.result()
        courses = {verb: Course.of(each) for verb, each in samples.items()}
        _tell(courses)
        options = ("-b", servers, "--lake", folder / "lake")
        _whole(
            "sink", *(part for kind in KINDS for part in ("-t", f"{PREFIX}.{kind}")), *options, "--until-end"
        )
        _whole("audit", *options, "--deep")
    return courses


def _whole(*command: object) -> None:
    """Run a verb to its end, however long that takes."""
    with tickerlake(*command, stderr=subprocess.STDOUT) as child:
        out, _ = child.communicate()
    print(out)
    assert child.returncode == 0, f"{command[0]} ended with {child.returncode}"


def _tell(courses: Mapping[str, Course]) -> None:
    print("| verb | memory, 2nd quarter | last quarter | descriptors | threads | grows |")
    print("|---|--:|--:|--:|--:|---|")
    for verb, course in courses.items():
        early, late = course.early, course.late
        print(
            f"| {verb} | {early.memory_mb:.0f} MB | {late.memory_mb:.0f} MB "
            f"| {early.descriptors} → {late.descriptors} | {early.threads} → {late.threads} "
            f"| {', '.join(course.grows) or 'no'} |",
            flush=True,
        )


def main(arguments: list[str]) -> int:
    """Soak, and say how each verb fared."""
    parser = argparse.ArgumentParser(description="Run the whole pipeline for long; nothing may grow.")
    parser.add_argument("--minutes", type=float, default=60, help="how long")
    parser.add_argument("--rate", type=int, default=1000, help="trades a second")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        courses = soak(Path(folder), given.minutes, given.rate)
    return 1 if any(course.grows for course in courses.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
