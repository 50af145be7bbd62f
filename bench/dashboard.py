"""The dashboard: CPU and memory of server and page, paint latency, and peers.

The server runs as a separate process over a real Kafka; another one sends trades at a steady rate, one light
process runs the clients, and the browser is a headless Chromium, all on this machine. Streamlit and Dash
show a random walk of 500 rows to one client, ten times per second, as their documentation recommends (see
``peer_streamlit.py``, ``peer_dash.py``). For the comparison, ours reads 5,000 trades per second from Kafka,
which move each of the 500 rows as often; 50,000 are listed too.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import Browser, sync_playwright

from bench import dashboard_chromium, dashboard_page, dashboard_peers, dashboard_server
from bench.dashboard_page import CpuShares
from bench.dashboard_peers import Measurement
from bench.dashboard_server import CLIENTS, RATE_S, Load, Memory
from bench.dashboard_stage import Stage, serve_new_topic
from bench.kafka_env import KafkaEnv
from bench.latency import LatencyQuantiles
from bench.peer_envs import PeerUnavailable
from tickerlake.kafka.embedded.broker import EmbeddedBroker

OURS: Final = "tickerlake, {:,} trades/s from Kafka"
SYMBOLS: Final = (500, 5_000)
RATES: Final = (1_000, RATE_S)
# each of 500 rows moves ten times per second, as for the peers
PEER_RATE_S: Final = 5_000
# core shares by number of clients and of the page's main thread; ms; KB; multiple of Streamlit's CPU; MB
SERVER_GOALS: Final = {1: 0.10, 50: 0.40}
MAIN_GOAL: Final = 0.15
PAINTED_GOAL_MS: Final = 150
WEIGHT_GOAL_KB: Final = 400
PEER_GOAL: Final = 10
GROWTH_GOAL_MB: Final = 10


class Durations(NamedTuple):
    """Seconds per measurement, and the number of paint samples."""

    cpu_s: float
    memory_s: int
    page_s: float
    peers_s: float
    samples: int


QUICK: Final = Durations(cpu_s=4, memory_s=15, page_s=5, peers_s=5, samples=60)
FULL: Final = Durations(cpu_s=15, memory_s=60, page_s=10, peers_s=15, samples=300)


def run(*, quick: bool) -> str:
    """Run all measurements and return the tables."""
    plan = QUICK if quick else FULL
    loads: list[Load] = []
    cpu_shares: dict[str, CpuShares] = {}
    paint_latencies: dict[int, LatencyQuantiles] = {}
    with _kafka_env() as bed, _chromium() as browser:
        for symbols in SYMBOLS:
            with serve_new_topic(bed, symbols) as stage:
                loads += _loads(stage, plan)
                if symbols == SYMBOLS[0]:
                    measurements = _measure_tickerlake(stage, browser, plan)
                    continue
                memory = dashboard_server.measure_memory(stage, plan.memory_s)
                for rate in RATES:
                    paint_latencies[rate] = _measure_paint_latency(stage, browser, rate, plan.samples)
                for rate in (0, RATE_S):
                    cpu_shares[f"{symbols:,} symbols, {rate:,} trades/s"] = _measure_page_cpu(
                        stage, browser, rate, plan.page_s
                    )
        try:
            measurements |= dashboard_peers.measure(bed.folder, browser, plan.peers_s)
        except PeerUnavailable as why:
            print(f"skipping Streamlit and Dash: {why}", flush=True)
        conditions = _run_conditions(browser)
    return "\n\n".join(
        [
            conditions,
            _server_table(loads),
            _memory_table(memory),
            _page_table(cpu_shares, paint_latencies),
            _peer_table(measurements),
        ]
    )


@contextmanager
def _kafka_env() -> Iterator[KafkaEnv]:
    with (
        tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder,
        EmbeddedBroker(Path(folder) / "kafka") as broker,
    ):
        yield KafkaEnv(Path(folder), broker)


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = dashboard_chromium.find_chromium().launch(playwright)
        yield browser
        browser.close()


def _loads(stage: Stage, plan: Durations) -> list[Load]:
    print(f"dashboard: {stage.symbols:,} symbols", flush=True)
    return [load for rate in (0, RATE_S) for load in dashboard_server.measure_loads(stage, rate, plan.cpu_s)]


def _measure_tickerlake(stage: Stage, browser: Browser, plan: Durations) -> dict[str, Measurement]:
    measurements = {}
    for rate in (PEER_RATE_S, RATE_S):
        with stage.trading(rate):
            measurement = dashboard_peers.measure_page(
                browser, stage.url, stage.pid, plan.peers_s, dashboard_page.wait_until_ready
            )
        measurements[OURS.format(rate)] = measurement
        print(f"  {OURS.format(rate)}: {measurement}", flush=True)
    return measurements


def _measure_page_cpu(stage: Stage, browser: Browser, rate: int, seconds: float) -> CpuShares:
    with stage.trading(rate), dashboard_page.open_page(browser, stage.url) as page:
        dashboard_page.wait_until_ready(page)
        shares = dashboard_page.measure_cpu(browser, page, seconds)
    print(f"  page, {rate:,} trades/s: {shares}", flush=True)
    return shares


def _measure_paint_latency(stage: Stage, browser: Browser, rate: int, samples: int) -> LatencyQuantiles:
    with stage.trading(rate), dashboard_page.open_page(browser, stage.url) as page:
        dashboard_page.wait_until_ready(page)
        times = dashboard_page.measure_paint_latency(stage, page, samples)
    print(f"  painted, {rate:,} trades/s: {times}", flush=True)
    return times


# the tables


def _run_conditions(chromium: Browser) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}. {cpu_count()} cores shared by Kafka, trader, server, clients and "
        f"browser; Chromium {chromium.version}, uvicorn {version('uvicorn')}, "
        f"websockets {version('websockets')}."
    )


def _server_table(loads: list[Load]) -> str:
    lines = [
        "| Server, share of a core | trades/s | "
        + " | ".join(map(_clients_label, CLIENTS))
        + " | bytes/s per client |",
        "|---|---|" + "---|" * (len(CLIENTS) + 1),
    ]
    cases = {(load.symbols, load.rate): load.rate for load in loads}
    for (symbols, rate), _ in cases.items():
        same_case = [load for load in loads if (load.symbols, load.rate) == (symbols, rate)]
        cells = " | ".join(f"{load.cpu:.1%}" for load in same_case)
        lines.append(f"| {symbols:,} symbols | {rate:,} | {cells} | {same_case[1].bytes_s / 1e3:,.0f} kB |")
    goals = " | ".join(f"≤ {SERVER_GOALS[count]:.0%}" if count in SERVER_GOALS else "" for count in CLIENTS)
    return "\n".join([*lines, f"| goal | | {goals} | |"])


def _clients_label(count: int) -> str:
    return {0: "no client", 1: "1 client"}.get(count, f"{count} clients")


def _memory_table(memory: Memory) -> str:
    description = f"{dashboard_server.STALLED_CLIENTS} clients that read nothing, {memory.seconds} s"
    cells = (
        f"{memory.before:.0f} | {memory.peak:.0f} | {memory.after:.0f} | {memory.after - memory.before:+.0f}"
    )
    return "\n".join(
        [
            "| Server memory, MB | before | peak | after | growth | goal | dropped |",
            "|---|---|---|---|---|---|---|",
            f"| {description} | {cells} | ≤ {GROWTH_GOAL_MB} | {memory.dropped} |",
        ]
    )


def _page_table(cpu_shares: dict[str, CpuShares], times: dict[int, LatencyQuantiles]) -> str:
    plain, compressed = dashboard_page.page_bytes()
    thread_goal, paint_goal = f"≤ {MAIN_GOAL:.0%}", f"≤ {PAINTED_GOAL_MS} ms"
    size = f"{plain / 1e3:.0f} KB | {compressed / 1e3:.0f} KB | ≤ {WEIGHT_GOAL_KB} KB"
    return "\n".join(
        [
            "| Page, share of a core | main-thread tasks | goal | main-thread CPU | renderer |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {each.tasks:.1%} | {thread_goal} | {each.thread:.1%} | {each.renderer:.1%} |"
                for name, each in cpu_shares.items()
            ),
            "",
            f"| {SYMBOLS[-1]:,} symbols: trade produced → painted | p50 | p99 | goal for p99 |",
            "|---|---|---|---|",
            *(
                f"| at {pace:,} trades/s | {each.p50_ms:.0f} ms | {each.p99_ms:.0f} ms | {paint_goal} |"
                for pace, each in times.items()
            ),
            "",
            "| Page, all files | uncompressed | gzip | goal |",
            "|---|---|---|---|",
            f"| {', '.join(dashboard_page.FILES)} | {size} |",
        ]
    )


def _peer_table(measurements: dict[str, Measurement]) -> str:
    ours = measurements[OURS.format(PEER_RATE_S)].server
    lines = [
        f"| {SYMBOLS[0]} rows, one client | server | × first | goal | main thread | renderer | messages/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in measurements.items():
        goal = f"≥ {PEER_GOAL}" if name == dashboard_peers.STREAMLIT else ""
        page = f"{each.page_cpu.tasks:.1%} | {each.page_cpu.renderer:.1%} | {each.updates_s:.1f}"
        lines.append(f"| {name} | {each.server:.1%} | {each.server / ours:.1f} | {goal} | {page} |")
    return "\n".join(lines)
