"""What the page takes in a browser, and how soon a trade is painted."""

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
from bench.dashboard_trades import FIRST, Trades, instrument
from bench.latency import Times
from tickerlake.dashboard.app import STATIC

FILES: Final = ("index.html", "app.js", "app.css", "favicon.svg")
_GAP_S: Final = (0.06, 0.14)
_FIRST_CENTS: Final = 20_000
# a frame after the one that changed the cell, so that this one is on the screen for certain
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


class Busy(NamedTuple):
    """Shares of a core: of the tasks on a page's main thread, of that thread, of the whole renderer."""

    tasks: float
    thread: float
    renderer: float


@contextmanager
def opened(
    browser: Browser, address: str, before: Callable[[Page], object] = lambda _: None
) -> Iterator[Page]:
    """Open an address in a window of the usual size; ``before`` gets the page while it is empty."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page = context.new_page()
    before(page)
    page.goto(address)
    try:
        yield page
    finally:
        context.close()


def busy(browser: Browser, page: Page, seconds: float) -> Busy:
    """Measure a page that nobody touches."""
    browser_session = browser.new_browser_cdp_session()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def used() -> dict[str, float]:
        found = browser_session.send("SystemInfo.getProcessInfo")["processInfo"]
        renderers = [int(each["id"]) for each in found if each["type"] == "renderer"]
        return {f"{pid}": cpu_s(pid) for pid in renderers} | {
            f"{pid} main": cpu_s(pid, pid) for pid in renderers
        }

    before, tasks_s, began_s = used(), _tasks_s(session), time.perf_counter()
    page.wait_for_timeout(seconds * 1000)
    took_s = time.perf_counter() - began_s
    tasks = (_tasks_s(session) - tasks_s) / took_s
    grown = {name: (now_s - before.get(name, now_s)) / took_s for name, now_s in used().items()}
    # the browser keeps a spare one, which does nothing
    pid = max((name for name in grown if name.isdigit()), key=grown.__getitem__)
    return Busy(tasks, grown[f"{pid} main"], grown[pid])


def _tasks_s(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def ready(page: Page) -> None:
    """Wait until the list of the dashboard has rows, and the chart has been drawn."""
    page.locator(f'[data-id="{instrument(FIRST)}"]').wait_for()
    page.wait_for_timeout(3000)


def painted(stage: Stage, page: Page, samples: int) -> Times:
    """Trade the first symbol of the list at random moments, and see when its price, or a later one, shows."""
    page.evaluate(_WATCH, instrument(FIRST))
    trades = Trades(stage.servers, stage.topic, 0)
    sent = []
    rng = random.Random(7)
    # the prices rise, from above what the last call has sent
    first = _FIRST_CENTS + int(time.time()) % 100_000 * 100
    for cents in range(first, first + samples):
        sent.append((cents, trades.one(FIRST, cents)))
        page.wait_for_timeout(rng.uniform(*_GAP_S) * 1000)
    trades.flush()
    page.wait_for_timeout(2000)
    shown = [(round(price * 100), at_ms) for price, at_ms in page.evaluate("window.benchPainted")]
    delays = []
    for cents, at_ms in sent:
        later = [painted_ms for price, painted_ms in shown if price >= cents]
        assert later, f"{cents} cents were never shown; the last was {shown[-1:]}"
        delays.append(int((min(later) - at_ms) * 1e6))
    return Times.of(delays)


def weight(folder: Path = STATIC) -> tuple[int, int]:
    """Return the bytes of the page's files, plain and by gzip."""
    contents = [(folder / name).read_bytes() for name in FILES]
    return sum(map(len, contents)), sum(len(gzip.compress(each, 9)) for each in contents)
