"""Streamlit and Dash with the same table: what they take of a core, on the server and in the browser."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import Browser, Page, WebSocket

from bench import peers
from bench.dashboard_page import Busy, busy, opened
from bench.dashboard_proc import family_cpu_s
from bench.dashboard_stage import free_port, until

_LIST: Final = "webpeers"
STREAMLIT: Final = f"Streamlit {peers.pinned('streamlit', _LIST)}"
DASH: Final = f"Dash {peers.pinned('dash', _LIST)}, AG Grid"
_HERE: Final = Path(__file__).parent
_WARM_MS: Final = 5_000


class Seen(NamedTuple):
    """Shares of a core of a server and of a page that it feeds, and how often a second something came."""

    server: float
    page: Busy
    updates_s: float


def measure(folder: Path, browser: Browser, seconds: float) -> dict[str, Seen]:
    """Serve each, and look at it."""
    python = peers.python(_LIST, 600)
    found = {}
    for name, (command, shown) in _apps(python).items():
        port = free_port()
        arguments = [str(each).format(port=port) for each in command]
        with _served(arguments, port, folder / "webpeer.log") as pid:
            found[name] = look(browser, f"http://127.0.0.1:{port}/", pid, seconds, _until_shown(shown))
        print(f"  {name}: {found[name]}", flush=True)
    return found


def look(browser: Browser, address: str, pid: int, seconds: float, ready: Callable[[Page], object]) -> Seen:
    """Measure a server and the one page that it feeds."""
    count = _Count()
    # a socket that is opened before somebody listens would not be counted
    with opened(browser, address, count.begin) as page:
        ready(page)
        page.wait_for_timeout(_WARM_MS)
        used_s, came, began_s = family_cpu_s(pid), count.updates, time.perf_counter()
        its = busy(browser, page, seconds)
        took_s = time.perf_counter() - began_s
        assert count.updates > came, f"nothing came from {address}"
        return Seen((family_cpu_s(pid) - used_s) / took_s, its, (count.updates - came) / took_s)


class _Count:
    """Counts what comes to a page: frames of a WebSocket, or answers."""

    def __init__(self) -> None:
        self.updates = 0

    def begin(self, page: Page) -> None:
        """Count from now on."""
        page.on("websocket", self._follow)
        page.on("response", self._add)

    def _follow(self, socket_: WebSocket) -> None:
        socket_.on("framereceived", self._add)

    def _add(self, _: object) -> None:
        self.updates += 1


def _apps(python: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    """Return the command of each, and what a page must have to be ready."""
    quiet = ("--server.headless=true", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none")
    app = _HERE / "peer_streamlit.py"
    local = ("--server.address=127.0.0.1", "--server.port={port}")
    streamlit = (python, "-m", "streamlit", "run", app, *quiet, *local)
    bound = ("--bind", "127.0.0.1:{port}")
    dash = (python, "-m", "gunicorn", "--workers=1", "--threads=4", *bound, "bench.peer_dash:create()")
    return {STREAMLIT: (streamlit, "[data-testid=stDataFrame] canvas"), DASH: (dash, ".ag-row")}


def _until_shown(what: str) -> Callable[[Page], object]:
    return lambda page: page.locator(what).first.wait_for(timeout=60_000)


@contextmanager
def _served(command: list[str], port: int, log: Path) -> Iterator[int]:
    environment = {**os.environ, "PYTHONPATH": str(_HERE.parent)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            until(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, log.read_text()
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
