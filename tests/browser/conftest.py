"""One browser for all tests of the page, and the dashboard that it opens."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.dashboard_chromium import find_chromium
from playwright.sync_api import Browser, sync_playwright

from browser.stage import Stage, create_stage
from browser.visit import Visit, VisitFactory
from tickerlake.dashboard.server import Dashboard


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """A headless Chromium, and the event loop that controls it."""
    program = find_chromium()
    with sync_playwright() as playwright:
        browser = program.launch(playwright)
        loop = asyncio.get_running_loop()
        # Playwright leaves its loop marked as running, so that no other could run in this thread
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture
def browser(chromium: tuple[Browser, asyncio.AbstractEventLoop]) -> Iterator[Browser]:
    """A headless Chromium."""
    asyncio._set_running_loop(chromium[1])
    yield chromium[0]
    asyncio._set_running_loop(None)


@pytest.fixture
def visit(browser: Browser) -> Iterator[VisitFactory]:
    """Opens visits; at the end of the test none of them may have had problems."""
    visits: list[Visit] = []

    def open_visit(url: str, **options: object) -> Visit:
        visits.append(Visit(browser, url, **options))
        return visits[-1]

    yield open_visit
    for each in visits:
        each.close()


@pytest.fixture(scope="session")
def stage(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A market that has been tracked and stored; tests that write to it use separate instruments."""
    folder: Path = tmp_path_factory.mktemp("browser")
    return create_stage(kafka, f"b{secrets.token_hex(4)}", folder)


@pytest.fixture(scope="session")
def dashboard(stage: Stage) -> Iterator[Dashboard]:
    """The dashboard of the stage."""
    with stage.serve_dashboard() as running:
        yield running
