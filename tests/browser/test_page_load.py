"""Loading the page: complete, from one origin, and small."""

import re

from browser.stage import INDICATORS, Stage
from browser.visit import VisitFactory
from tickerlake.dashboard.server import Dashboard

MAX_PAGE_BYTES = 400_000


def test_the_page_fills_by_itself_from_one_origin(visit: VisitFactory, dashboard: Dashboard) -> None:
    reader = visit(dashboard.url).open_chart()
    page = reader.page
    assert reader.evaluate("() => __tickerlake.size()") == 40
    assert reader.rows.count() >= 20
    assert page.get_by_test_id("alert").count() >= 5
    shown = reader.chart_state()
    assert page.title() == f"{shown['instrument'].partition('.')[0]} · tickerlake"
    assert page.get_by_role("tab", name="Chart").get_attribute("aria-selected") == "true"
    sizes = reader.evaluate(
        """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
            .map((entry) => [new URL(entry.name).pathname, entry.decodedBodySize])"""
    )
    page_files = {path: size for path, size in sizes if path == "/" or path.startswith("/static/")}
    assert {"/", "/static/app.js", "/static/app.css"} <= page_files.keys()
    assert sum(page_files.values()) <= MAX_PAGE_BYTES, page_files
    assert any("/live" in url for url in reader.requests)
    reader.save_screenshot("dark")


def test_every_panel_has_values(visit: VisitFactory, dashboard: Dashboard, stage: Stage) -> None:
    reader = visit(dashboard.url, color_scheme="light").open_chart()
    page = reader.page
    reader.save_screenshot("light")
    page.get_by_role("tab", name="Overview").click()
    reader.wait_for("() => document.querySelectorAll('#gainers tr').length > 3")
    breadth = " ".join(
        page.locator(f"#breadth-{direction}").inner_text() for direction in ("up", "flat", "down")
    )
    assert sum(map(int, re.findall(r"(\d+) (?:up|unchanged|down)", breadth))) == 40, breadth
    reader.save_screenshot("overview")
    page.get_by_role("tab", name="Pipeline").click()
    topics = page.locator("#topics tr")
    topics.first.wait_for()
    text = "\n".join(topics.all_inner_texts())
    for record_type in ("trades", "bars", "indicators", "alerts"):
        assert f"{stage.prefix}.{record_type}" in text
    page.locator("#lake tr").first.wait_for()
    reader.save_screenshot("pipeline")
    page.get_by_role("tab", name="Chart").click()
    page.get_by_test_id("indicators").locator("summary").click()
    menu = page.locator("#indicator-menu").inner_text()
    assert all(name in menu for name in INDICATORS)
