"""The delay from a trade to its alert, next to the delay to reading the trade itself."""

import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.kafka_env import TICKERLAKE, KafkaEnv

RATE_S = 1_000
_SYMBOLS = 100
_CROSSING_SYMBOLS = 10
"""Symbols whose price crosses the level with every fifth trade: twenty alerts per second in total."""

_CROSSING_PERIOD = 5
_RULES = """\
[[rule]]
id = "level"
kind = "cross"
level = 100
direction = "up"
symbols = ["S00*"]
interval = "1m"
when = "tick"
repeat = "every"
warmup = 0
"""
_TRADE = (
    '{{"schema":"trade.v1","instrument_id":"{0}.XNAS","symbol":"{0}","ts_event_ns":{1},"ts_recv_ns":{1},'
    '"price":{2}.0,"size":100,"aggressor_side":"none"}}'
)


class LatencyQuantiles(NamedTuple):
    """Median and 99th percentile, in milliseconds."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def from_delays(cls, delays_ns: list[int]) -> "LatencyQuantiles":
        cuts = quantiles(delays_ns, n=100)
        return cls(cuts[49] / 1e6, cuts[98] / 1e6)


class LatencyResult(NamedTuple):
    """Delays of the trades themselves and of alerts."""

    trades: LatencyQuantiles
    alerts: LatencyQuantiles
    fired: int


class _Event(msgspec.Struct):
    symbol: str
    ts_event_ns: int
    state: str = "fired"


def measure(bed: KafkaEnv, seconds: int, warm_s: int) -> LatencyResult:
    """Send trades in real time, and wait for the results of those after the first ``warm_s`` seconds."""
    topic, prefix = bed.create_topic(), bed.new_group()
    rules = bed.folder / "level.toml"
    rules.write_text(_RULES)
    with _tracking(bed, topic, prefix, rules):
        sender = _Sender(bed, topic)
        sender.prepare()
        with _Reader(bed, f"{prefix}.bars", "read_committed", from_beginning=True) as bars:
            bars.wait(_SYMBOLS)
        with (
            _Reader(bed, topic, "read_uncommitted") as trades,
            _Reader(bed, f"{prefix}.alerts", "read_committed") as alerts,
        ):
            # a broker is slower just after its start
            warm = sender.send(warm_s * RATE_S)
            crossed = sender.send(seconds * RATE_S)
            trades.wait((warm_s + seconds) * RATE_S)
            alerts.wait(len(warm | crossed))
    fired = {
        (event.symbol, event.ts_event_ns): at_ns for at_ns, event in alerts.events() if event.state == "fired"
    }
    assert set(fired) == warm | crossed, f"{len(fired)} alerts of {len(warm | crossed)} crossings"
    return LatencyResult(
        LatencyQuantiles.from_delays(
            [at_ns - event.ts_event_ns for at_ns, event in trades.events()[warm_s * RATE_S :]]
        ),
        LatencyQuantiles.from_delays([fired[trade] - trade[1] for trade in crossed]),
        len(crossed),
    )


@contextmanager
def _tracking(bed: KafkaEnv, topic: str, prefix: str, rules: object) -> Iterator[None]:
    options = ("--bars", "1m", "--indicators", "none", "--rules", rules, "--state", bed.empty_lake())
    command = ("track", "-t", topic, "-b", bed.servers, "--prefix", prefix, "--group", prefix, *options)
    with bed.log_path("live").open("wb") as log:
        process = subprocess.Popen([TICKERLAKE, *map(str, command)], stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    assert process.returncode == 0, bed.log_path("live").read_text()


class _Sender:
    def __init__(self, bed: KafkaEnv, topic: str) -> None:
        self._topic = topic
        self._client = Producer({"bootstrap.servers": bed.servers, "linger.ms": 0})

    def prepare(self) -> None:
        """Close one bar of every symbol, below the level."""
        for minutes in (2, 1):
            for number in range(_SYMBOLS):
                self._trade(number, time.time_ns() - minutes * 60_000_000_000, 99)
        self._client.flush()

    def send(self, count: int) -> set[tuple[str, int]]:
        """Send trades at the rate, and return those that cross the level."""
        crossed, began_s = set(), time.perf_counter()
        for n in range(count):
            while (wait_s := began_s + n / RATE_S - time.perf_counter()) > 0:
                time.sleep(wait_s)
            number, cycle_number = n % _SYMBOLS, n // _SYMBOLS
            now_ns = time.time_ns()
            # before a minute ends the price is below the level, so that the next bar can cross it again
            high = (
                number < _CROSSING_SYMBOLS
                and (cycle_number + number) % _CROSSING_PERIOD == 0
                and now_ns // 1_000_000_000 % 60 < 58
            )
            symbol = self._trade(number, now_ns, 101 if high else 99)
            if high:
                crossed.add((symbol, now_ns))
            self._client.poll(0)
        self._client.flush()
        return crossed

    def _trade(self, number: int, ts_event_ns: int, price: int) -> str:
        symbol = f"S{number:03}"
        self._client.produce(self._topic, _TRADE.format(symbol, ts_event_ns, price), f"{symbol}.XNAS")
        return symbol


class _Reader:
    """Records when each record of a topic arrives."""

    def __init__(self, bed: KafkaEnv, topic: str, isolation: str, *, from_beginning: bool = False) -> None:
        for _ in range(600):
            if bed.admin.describe_topic(topic):
                break
            time.sleep(0.1)
        self._client = Consumer(
            {"bootstrap.servers": bed.servers, "group.id": bed.new_group(), "isolation.level": isolation}
        )
        watermarks = bed.admin.watermarks(bed.admin.require_topic(topic))
        self._client.assign(
            [TopicPartition(topic, n, 0 if from_beginning else end) for n, (_, end) in watermarks.items()]
        )
        self.arrivals: list[tuple[int, bytes]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "_Reader":
        self._thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()
        self._client.close()

    def wait(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait for ``count`` records."""
        for _ in itertools.takewhile(lambda _: len(self.arrivals) < count, range(int(timeout_s / 0.02))):
            time.sleep(0.02)
        assert len(self.arrivals) >= count, f"{len(self.arrivals):,} of {count:,} records arrived"

    def events(self) -> list[tuple[int, _Event]]:
        """Return the arrival time and content of each record."""
        return [(at_ns, msgspec.json.decode(value, type=_Event)) for at_ns, value in self.arrivals]

    def _read(self) -> None:
        while not self._done.is_set():
            message = self._client.poll(0.05)
            if message is not None and not message.error():
                self.arrivals.append((time.time_ns(), message.value() or b""))
