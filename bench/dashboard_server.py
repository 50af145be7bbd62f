"""What the server takes: CPU by symbols, trades and pages, and memory when pages take nothing."""

import time
from typing import NamedTuple

from bench.dashboard_proc import cpu_s, rss_mb, share
from bench.dashboard_stage import Stage

RATE_S = 50_000
CLIENTS = (0, 1, 10, 50)
SILENT = 10


class Load(NamedTuple):
    """A case: the share of one core, bytes a second of each page, trades a second that were read."""

    symbols: int
    rate: int
    clients: int
    cpu: float
    bytes_s: float
    read_s: float


class Memory(NamedTuple):
    """The server's memory in MB, before, at the most and after; how many pages it dropped, in how long."""

    before: float
    most: float
    after: float
    dropped: int
    seconds: float


def loads(stage: Stage, rate: int, seconds: float) -> list[Load]:
    """Measure with each number of pages."""
    with stage.trading(rate):
        return [_load(stage, rate, count, seconds) for count in CLIENTS]


def _load(stage: Stage, rate: int, count: int, seconds: float) -> Load:
    with stage.clients(count) as got:
        got()
        time.sleep(2)
        bytes_, read, began_s = got(), stage.figure("records_read"), time.perf_counter()
        cpu = share(lambda: cpu_s(stage.pid), seconds)
        took_s = time.perf_counter() - began_s
        bytes_s = (got() - bytes_) / took_s / max(1, count)
        load = Load(stage.symbols, rate, count, cpu, bytes_s, (stage.figure("records_read") - read) / took_s)
    print(
        f"  {load.symbols:,} symbols, {load.read_s:,.0f} trades/s, {count} clients: "
        f"{cpu:.1%} of a core, {bytes_s / 1e3:,.0f} kB/s each",
        flush=True,
    )
    return load


def memory(stage: Stage, seconds: int) -> Memory:
    """Let pages take nothing, and look at the server's memory each second."""
    with stage.trading(RATE_S):
        time.sleep(3)
        before, dropped = rss_mb(stage.pid), stage.figure("clients_dropped")
        held = []
        with stage.clients(SILENT, "stare") as got:
            got()
            for _ in range(seconds):
                time.sleep(1)
                held.append(rss_mb(stage.pid))
            dropped = stage.figure("clients_dropped") - dropped
    return Memory(before, max(held), held[-1], int(dropped), seconds)
