"""CPU of the page in a browser, and paint latency."""

import gzip
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from playwright.sync_api import Browser, Page

from bench.dashboard_proc import cpu_s
from bench.dashboard_stage import Stage
from bench.dashboard_trades import PROBE_SYMBOL, TradeSender, instrument_id
from bench.latency import LatencyQuantiles
from tickerlake.dashboard.app import STATIC

FILES: Final = ("index.html", "app.js", "app.css", "favicon.svg")
_GAP_S: Final = (0.06, 0.14)
_START_CENTS: Final = 20_000
# one frame after the change, so that the changed cell is certainly on the screen
_WATCH: Final = """
(instrument) => {
  const cell = document.querySelector(`[data-id="${instrument}"] .last`);
  window.benchPainted = [];
  new MutationObserver(() => {
    const price = Number(cell.textContent.replaceAll(",", ""));
    requestAnimationFrame(() => {
      window.benchPainted.push([price, performance.timeOrigin + performance.now()]);
    });
  }).observe(cell, { characterData: true, childList: true, subtree: true });
}
"""


class CpuShares(NamedTuple):
    """Core shares: tasks of a page's main thread, that thread, the whole renderer."""

    tasks: float
    thread: float
    renderer: float


@contextmanager
def open_page(
    browser: Browser, address: str, on_new_page: Callable[[Page], object] = lambda _: None
) -> Iterator[Page]:
    """Open a URL in a window of default size; ``before`` receives the empty page."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page = context.new_page()
    on_new_page(page)
    page.goto(address)
    try:
        yield page
    finally:
        context.close()


def measure_cpu(browser: Browser, page: Page, seconds: float) -> CpuShares:
    """Measure an idle page."""
    browser_session = browser.new_browser_cdp_session()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def cpu_by_thread() -> dict[str, float]:
        processes = browser_session.send("SystemInfo.getProcessInfo")["processInfo"]
        renderers = [int(each["id"]) for each in processes if each["type"] == "renderer"]
        return {f"{pid}": cpu_s(pid) for pid in renderers} | {
            f"{pid} main": cpu_s(pid, pid) for pid in renderers
        }

    before, tasks_s, began_s = cpu_by_thread(), _tasks_s(session), time.perf_counter()
    page.wait_for_timeout(seconds * 1000)
    took_s = time.perf_counter() - began_s
    tasks = (_tasks_s(session) - tasks_s) / took_s
    shares = {name: (now_s - before.get(name, now_s)) / took_s for name, now_s in cpu_by_thread().items()}
    # the browser keeps a spare renderer, which is idle
    pid = max((name for name in shares if name.isdigit()), key=shares.__getitem__)
    return CpuShares(tasks, shares[f"{pid} main"], shares[pid])


def _tasks_s(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def wait_until_ready(page: Page) -> None:
    """Wait until the watch list has rows and the chart is drawn."""
    page.locator(f'[data-id="{instrument_id(PROBE_SYMBOL)}"]').wait_for()
    page.wait_for_timeout(3000)


def measure_paint_latency(stage: Stage, page: Page, samples: int) -> LatencyQuantiles:
    """Trade the first symbol at random times, and measure when its price, or a later one, is painted."""
    page.evaluate(_WATCH, instrument_id(PROBE_SYMBOL))
    trades = TradeSender(stage.servers, stage.topic, 0)
    sent = []
    rng = random.Random(7)
    # prices rise, starting above those of the last call
    first = _START_CENTS + int(time.time()) % 100_000 * 100
    for cents in range(first, first + samples):
        sent.append((cents, trades.send_one(PROBE_SYMBOL, cents)))
        page.wait_for_timeout(rng.uniform(*_GAP_S) * 1000)
    trades.flush()
    page.wait_for_timeout(2000)
    shown = [(round(price * 100), at_ms) for price, at_ms in page.evaluate("window.benchPainted")]
    delays = []
    for cents, at_ms in sent:
        later = [painted_ms for price, painted_ms in shown if price >= cents]
        assert later, f"{cents} cents were never shown; the last was {shown[-1:]}"
        delays.append(int((min(later) - at_ms) * 1e6))
    return LatencyQuantiles.from_delays(delays)


def page_bytes(folder: Path = STATIC) -> tuple[int, int]:
    """Return the size of the page's files in bytes, uncompressed and gzipped."""
    contents = [(folder / name).read_bytes() for name in FILES]
    return sum(map(len, contents)), sum(len(gzip.compress(each, 9)) for each in contents)
