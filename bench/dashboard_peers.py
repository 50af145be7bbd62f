"""Streamlit and Dash with the same table: their CPU, on the server and in the browser."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import Browser, Page, WebSocket

from bench import peer_envs
from bench.dashboard_page import CpuShares, measure_cpu, open_page
from bench.dashboard_proc import tree_cpu_s
from bench.dashboard_stage import free_port, wait_until

_PEER_LIST: Final = "webpeers"
STREAMLIT: Final = f"Streamlit {peer_envs.pinned_version('streamlit', _PEER_LIST)}"
DASH: Final = f"Dash {peer_envs.pinned_version('dash', _PEER_LIST)}, AG Grid"
_HERE: Final = Path(__file__).parent
_WARM_MS: Final = 5_000


class Measurement(NamedTuple):
    """Core shares of a server and of its page, and updates per second."""

    server: float
    page_cpu: CpuShares
    updates_s: float


def measure(folder: Path, browser: Browser, seconds: float) -> dict[str, Measurement]:
    """Serve each peer and measure it."""
    python = peer_envs.peer_python(_PEER_LIST, 600)
    measurements = {}
    for name, (command, shown) in _peer_apps(python).items():
        port = free_port()
        arguments = [str(each).format(port=port) for each in command]
        with _serving(arguments, port, folder / "webpeer.log") as pid:
            measurements[name] = measure_page(
                browser, f"http://127.0.0.1:{port}/", pid, seconds, _wait_for_selector(shown)
            )
        print(f"  {name}: {measurements[name]}", flush=True)
    return measurements


def measure_page(
    browser: Browser, address: str, pid: int, seconds: float, wait_until_ready: Callable[[Page], object]
) -> Measurement:
    """Measure a server and its one page."""
    count = _UpdateCounter()
    # a socket opened before the listener is attached would not be counted
    with open_page(browser, address, count.attach) as page:
        wait_until_ready(page)
        page.wait_for_timeout(_WARM_MS)
        used_s, updates_before, began_s = tree_cpu_s(pid), count.updates, time.perf_counter()
        shares = measure_cpu(browser, page, seconds)
        took_s = time.perf_counter() - began_s
        assert count.updates > updates_before, f"nothing came from {address}"
        return Measurement(
            (tree_cpu_s(pid) - used_s) / took_s, shares, (count.updates - updates_before) / took_s
        )


class _UpdateCounter:
    """Counts what a page receives: WebSocket frames or responses."""

    def __init__(self) -> None:
        self.updates = 0

    def attach(self, page: Page) -> None:
        """Start counting."""
        page.on("websocket", self._follow)
        page.on("response", self._add)

    def _follow(self, socket_: WebSocket) -> None:
        socket_.on("framereceived", self._add)

    def _add(self, _: object) -> None:
        self.updates += 1


def _peer_apps(python: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    """Return each peer's command, and how to recognize a ready page."""
    headless = ("--server.headless=true", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none")
    app = _HERE / "peer_streamlit.py"
    local = ("--server.address=127.0.0.1", "--server.port={port}")
    streamlit = (python, "-m", "streamlit", "run", app, *headless, *local)
    bound = ("--bind", "127.0.0.1:{port}")
    dash = (python, "-m", "gunicorn", "--workers=1", "--threads=4", *bound, "bench.peer_dash:create()")
    return {STREAMLIT: (streamlit, "[data-testid=stDataFrame] canvas"), DASH: (dash, ".ag-row")}


def _wait_for_selector(selector: str) -> Callable[[Page], object]:
    return lambda page: page.locator(selector).first.wait_for(timeout=60_000)


@contextmanager
def _serving(command: list[str], port: int, log: Path) -> Iterator[int]:
    environment = {**os.environ, "PYTHONPATH": str(_HERE.parent)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            wait_until(lambda: process.poll() is not None or _accepts_connections(port))
            assert process.poll() is None, log.read_text()
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def _accepts_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
