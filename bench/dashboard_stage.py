"""A topic of trades on a real Kafka, the server that shows it, a trader and clients."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final
from urllib.error import URLError
from urllib.request import urlopen

from bench.dashboard_trades import TradeSender
from bench.kafka_env import TICKERLAKE, KafkaEnv

_START_S: Final = 60.0
_METRIC: Final = r"^tickerlake_dashboard_{}(?:_total)? (\S+)$"


class Stage:
    """A server over a number of symbols, each of which has traded once.

    Attributes
    ----------
    pid, url
        The server's.
    """

    def __init__(self, bed: KafkaEnv, symbols: int) -> None:
        self.symbols = symbols
        self.servers = bed.servers
        self.prefix = f"b{symbols}x{time.time_ns() % 10**9}"
        self.topic = f"{self.prefix}.trades"
        bed.admin.create_topic(self.topic, 4)
        TradeSender(self.servers, self.topic, 5).send_each(symbols)
        self._log = bed.log_path(self.prefix).open("wb")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        command = [TICKERLAKE, "serve", "-b", self.servers, "--prefix", self.prefix, "--port", port]
        self._process = subprocess.Popen([*map(str, command)], stdout=self._log, stderr=self._log)
        self.pid = self._process.pid

    def wait(self) -> None:
        """Wait until the server has all symbols."""
        wait_until(lambda: self.metric("instruments") >= self.symbols and self.metric("loading_ratio") == 1)

    def metric(self, name: str) -> float:
        """Return one of the server's metrics; 0 if it does not answer yet."""
        assert self._process.poll() is None, "the server has ended"
        try:
            with urlopen(f"{self.url}metrics", timeout=10) as answer:  # noqa: S310
                body = answer.read().decode()
        except URLError:
            return 0.0
        match = re.search(_METRIC.format(name), body, re.MULTILINE)
        return float(match[1]) if match else 0.0

    def close(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    @contextmanager
    def trading(self, rate: int) -> Iterator[None]:
        """Send trades at a total rate."""
        if not rate:
            yield
            return
        module = "bench.dashboard_trades"
        with _child(module, self.servers, self.topic, self.symbols, rate):
            time.sleep(2)
            yield

    @contextmanager
    def clients(self, count: int, mode: str = "receive") -> Iterator[Callable[[], int]]:
        """Connect clients without a browser; yield a function that returns the bytes received."""
        if not count:
            yield lambda: 0
            return
        with _child("bench.dashboard_clients", self.url, count, mode) as process:
            yield lambda: _request_count(process)


@contextmanager
def serve_new_topic(bed: KafkaEnv, symbols: int) -> Iterator[Stage]:
    """Serve a new topic."""
    stage = Stage(bed, symbols)
    try:
        stage.wait()
        yield stage
    finally:
        stage.close()


def wait_until(condition: Callable[[], bool], timeout_s: float = _START_S) -> None:
    """Wait until a condition holds."""
    end_s = time.perf_counter() + timeout_s
    while not condition():
        assert time.perf_counter() < end_s, "waited too long"
        time.sleep(0.1)


@contextmanager
def _child(module: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
        assert process.poll() is None, f"{module} has ended"
    finally:
        process.terminate()
        process.communicate()


def _request_count(process: "subprocess.Popen[str]") -> int:
    stdin, stdout = _pipes(process)
    stdin.write("\n")
    stdin.flush()
    return int(stdout.readline())


def _pipes(process: "subprocess.Popen[str]") -> tuple[IO[str], IO[str]]:
    assert process.stdin
    assert process.stdout
    return process.stdin, process.stdout


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
