"""The dashboard: what its server and its page take, how soon a trade is painted, and what peers take.

The server is a process of its own over a real Kafka, into which another process trades at a steady rate;
clients are one light process, the browser a headless Chromium, all on this machine. Streamlit and Dash show a
random walk of 500 rows to one page, ten times a second, as their documentation recommends (see
``peer_streamlit.py``, ``peer_dash.py``). Ours is compared with 5,000 trades a second from Kafka, which move
each of 500 rows as often; 50,000 stand beside it.
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
from bench.bed import Bed
from bench.dashboard_page import Busy
from bench.dashboard_peers import Seen
from bench.dashboard_server import CLIENTS, RATE_S, Load, Memory
from bench.dashboard_stage import Stage, staged
from bench.latency import Times
from bench.peers import Missing
from tickerlake.kafka.embedded import EmbeddedBroker

OURS: Final = "tickerlake, {:,} trades/s from Kafka"
SYMBOLS: Final = (500, 5_000)
PACES: Final = (1_000, RATE_S)
# each of 500 rows moves ten times a second, as those of the peers do
PEER_RATE_S: Final = 5_000
# shares of a core by clients, of the page's main thread; ms; KB; times less CPU than Streamlit; MB
SERVER_GOALS: Final = {1: 0.10, 50: 0.40}
MAIN_GOAL: Final = 0.15
PAINTED_GOAL_MS: Final = 150
WEIGHT_GOAL_KB: Final = 400
PEER_GOAL: Final = 10
GROWTH_GOAL_MB: Final = 10


class Plan(NamedTuple):
    """Seconds of each measurement, and how many trades are seen painted."""

    cpu_s: float
    memory_s: int
    page_s: float
    peers_s: float
    samples: int


QUICK: Final = Plan(cpu_s=4, memory_s=15, page_s=5, peers_s=5, samples=60)
FULL: Final = Plan(cpu_s=15, memory_s=60, page_s=10, peers_s=15, samples=300)


def run(*, quick: bool) -> str:
    """Measure everything, and return the tables."""
    plan = QUICK if quick else FULL
    loads: list[Load] = []
    busy: dict[str, Busy] = {}
    times: dict[int, Times] = {}
    with _bed() as bed, _chromium() as browser:
        for symbols in SYMBOLS:
            with staged(bed, symbols) as stage:
                loads += _loads(stage, plan)
                if symbols == SYMBOLS[0]:
                    seen = _ours(stage, browser, plan)
                    continue
                memory = dashboard_server.memory(stage, plan.memory_s)
                for pace in PACES:
                    times[pace] = _painted(stage, browser, pace, plan.samples)
                for pace in (0, RATE_S):
                    busy[f"{symbols:,} symbols, {pace:,} trades/s"] = _busy(stage, browser, pace, plan.page_s)
        try:
            seen |= dashboard_peers.measure(bed.folder, browser, plan.peers_s)
        except Missing as why:
            print(f"without Streamlit and Dash: {why}", flush=True)
        about = _about(browser)
    return "\n\n".join([about, _server(loads), _memory(memory), _page(busy, times), _peers(seen)])


@contextmanager
def _bed() -> Iterator[Bed]:
    with (
        tempfile.TemporaryDirectory(prefix="tickerlake-bench-") as folder,
        EmbeddedBroker(Path(folder) / "kafka") as broker,
    ):
        yield Bed(Path(folder), broker)


@contextmanager
def _chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = dashboard_chromium.find().launch(playwright)
        yield browser
        browser.close()


def _loads(stage: Stage, plan: Plan) -> list[Load]:
    print(f"dashboard: {stage.symbols:,} symbols", flush=True)
    return [load for rate in (0, RATE_S) for load in dashboard_server.loads(stage, rate, plan.cpu_s)]


def _ours(stage: Stage, browser: Browser, plan: Plan) -> dict[str, Seen]:
    seen = {}
    for pace in (PEER_RATE_S, RATE_S):
        with stage.trading(pace):
            look = dashboard_peers.look(browser, stage.url, stage.pid, plan.peers_s, dashboard_page.ready)
        seen[OURS.format(pace)] = look
        print(f"  {OURS.format(pace)}: {look}", flush=True)
    return seen


def _busy(stage: Stage, browser: Browser, pace: int, seconds: float) -> Busy:
    with stage.trading(pace), dashboard_page.opened(browser, stage.url) as page:
        dashboard_page.ready(page)
        busy = dashboard_page.busy(browser, page, seconds)
    print(f"  page, {pace:,} trades/s: {busy}", flush=True)
    return busy


def _painted(stage: Stage, browser: Browser, pace: int, samples: int) -> Times:
    with stage.trading(pace), dashboard_page.opened(browser, stage.url) as page:
        dashboard_page.ready(page)
        times = dashboard_page.painted(stage, page, samples)
    print(f"  painted, {pace:,} trades/s: {times}", flush=True)
    return times


# the tables


def _about(browser: Browser) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}. {cpu_count()} cores shared by Kafka, who trades, server, clients and "
        f"browser; Chromium {browser.version}, uvicorn {version('uvicorn')}, "
        f"websockets {version('websockets')}."
    )


def _server(loads: list[Load]) -> str:
    lines = [
        "| Server, share of a core | trades/s | " + " | ".join(map(_pages, CLIENTS)) + " | bytes/s a page |",
        "|---|---|" + "---|" * (len(CLIENTS) + 1),
    ]
    cases = {(load.symbols, load.rate): load.rate for load in loads}
    for (symbols, rate), _ in cases.items():
        mine = [load for load in loads if (load.symbols, load.rate) == (symbols, rate)]
        cells = " | ".join(f"{load.cpu:.1%}" for load in mine)
        lines.append(f"| {symbols:,} symbols | {rate:,} | {cells} | {mine[1].bytes_s / 1e3:,.0f} kB |")
    goals = " | ".join(f"≤ {SERVER_GOALS[count]:.0%}" if count in SERVER_GOALS else "" for count in CLIENTS)
    return "\n".join([*lines, f"| goal | | {goals} | |"])


def _pages(count: int) -> str:
    return {0: "no page", 1: "1 page"}.get(count, f"{count} pages")


def _memory(memory: Memory) -> str:
    about = f"{dashboard_server.SILENT} pages that read nothing, {memory.seconds} s"
    held = (
        f"{memory.before:.0f} | {memory.most:.0f} | {memory.after:.0f} | {memory.after - memory.before:+.0f}"
    )
    return "\n".join(
        [
            "| Server, MB in memory | before | at the most | after | growth | goal | dropped |",
            "|---|---|---|---|---|---|---|",
            f"| {about} | {held} | ≤ {GROWTH_GOAL_MB} | {memory.dropped} |",
        ]
    )


def _page(busy: dict[str, Busy], times: dict[int, Times]) -> str:
    plain, packed = dashboard_page.weight()
    main, soon = f"≤ {MAIN_GOAL:.0%}", f"≤ {PAINTED_GOAL_MS} ms"
    size = f"{plain / 1e3:.0f} KB | {packed / 1e3:.0f} KB | ≤ {WEIGHT_GOAL_KB} KB"
    return "\n".join(
        [
            "| Page, share of a core | tasks of main thread | goal | CPU of that thread | of the renderer |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {each.tasks:.1%} | {main} | {each.thread:.1%} | {each.renderer:.1%} |"
                for name, each in busy.items()
            ),
            "",
            f"| {SYMBOLS[-1]:,} symbols: trade produced → painted | p50 | p99 | goal for p99 |",
            "|---|---|---|---|",
            *(
                f"| among {pace:,} trades/s | {each.p50_ms:.0f} ms | {each.p99_ms:.0f} ms | {soon} |"
                for pace, each in times.items()
            ),
            "",
            "| Page, all its files | plain | gzip | goal |",
            "|---|---|---|---|",
            f"| {', '.join(dashboard_page.FILES)} | {size} |",
        ]
    )


def _peers(seen: dict[str, Seen]) -> str:
    ours = seen[OURS.format(PEER_RATE_S)].server
    lines = [
        f"| {SYMBOLS[0]} rows, one page | server | × first | goal | main thread | renderer | messages/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in seen.items():
        goal = f"≥ {PEER_GOAL}" if name == dashboard_peers.STREAMLIT else ""
        page = f"{each.page.tasks:.1%} | {each.page.renderer:.1%} | {each.updates_s:.1f}"
        lines.append(f"| {name} | {each.server:.1%} | {each.server / ours:.1f} | {goal} | {page} |")
    return "\n".join(lines)
