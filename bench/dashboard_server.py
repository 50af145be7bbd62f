"""The server's CPU by symbols, trades and clients, and its memory with stalled clients."""

import time
from typing import NamedTuple

from bench.dashboard_proc import core_share, cpu_s, rss_mb
from bench.dashboard_stage import Stage

RATE_S = 50_000
CLIENTS = (0, 1, 10, 50)
STALLED_CLIENTS = 10


class Load(NamedTuple):
    """One case: share of a core, bytes per second and client, trades read per second."""

    symbols: int
    rate: int
    clients: int
    cpu: float
    bytes_s: float
    read_s: float


class Memory(NamedTuple):
    """The server's memory in MB: before, peak, after; clients dropped; duration."""

    before: float
    peak: float
    after: float
    dropped: int
    seconds: float


def measure_loads(stage: Stage, rate: int, seconds: float) -> list[Load]:
    """Measure with each number of clients."""
    with stage.trading(rate):
        return [_measure_load(stage, rate, count, seconds) for count in CLIENTS]


def _measure_load(stage: Stage, rate: int, count: int, seconds: float) -> Load:
    with stage.clients(count) as received_bytes:
        received_bytes()
        time.sleep(2)
        bytes_before, records_before, began_s = (
            received_bytes(),
            stage.metric("records_read"),
            time.perf_counter(),
        )
        cpu = core_share(lambda: cpu_s(stage.pid), seconds)
        took_s = time.perf_counter() - began_s
        bytes_s = (received_bytes() - bytes_before) / took_s / max(1, count)
        load = Load(
            stage.symbols, rate, count, cpu, bytes_s, (stage.metric("records_read") - records_before) / took_s
        )
    print(
        f"  {load.symbols:,} symbols, {load.read_s:,.0f} trades/s, {count} clients: "
        f"{cpu:.1%} of a core, {bytes_s / 1e3:,.0f} kB/s each",
        flush=True,
    )
    return load


def measure_memory(stage: Stage, seconds: int) -> Memory:
    """Connect clients that read nothing, and sample the server's memory each second."""
    with stage.trading(RATE_S):
        time.sleep(3)
        before, dropped = rss_mb(stage.pid), stage.metric("clients_dropped")
        samples = []
        with stage.clients(STALLED_CLIENTS, "stall") as received_bytes:
            received_bytes()
            for _ in range(seconds):
                time.sleep(1)
                samples.append(rss_mb(stage.pid))
            dropped = stage.metric("clients_dropped") - dropped
    return Memory(before, max(samples), samples[-1], int(dropped), seconds)
