"""The first look: everything is there, from one place, and light."""

import re

from browser.stage import INDICATORS, Stage
from browser.visit import Visitor
from tickerlake.dashboard.server import Dashboard

MOST_BYTES = 400_000


def test_the_page_fills_by_itself_from_one_origin(visit: Visitor, dashboard: Dashboard) -> None:
    reader = visit(dashboard.url).show()
    page = reader.page
    assert reader.ask("() => __tickerlake.size()") == 40
    assert reader.rows.count() >= 20
    assert page.get_by_test_id("alert").count() >= 5
    shown = reader.shown()
    assert page.title() == f"{shown['instrument'].partition('.')[0]} · tickerlake"
    assert page.get_by_role("tab", name="Chart").get_attribute("aria-selected") == "true"
    sizes = reader.ask(
        """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
            .map((entry) => [new URL(entry.name).pathname, entry.decodedBodySize])"""
    )
    page_files = {path: size for path, size in sizes if path == "/" or path.startswith("/static/")}
    assert {"/", "/static/app.js", "/static/app.css"} <= page_files.keys()
    assert sum(page_files.values()) <= MOST_BYTES, page_files
    assert any("/live" in url for url in reader.requests)
    reader.picture("dark")


def test_every_part_has_figures(visit: Visitor, dashboard: Dashboard, stage: Stage) -> None:
    reader = visit(dashboard.url, color_scheme="light").show()
    page = reader.page
    reader.picture("light")
    page.get_by_role("tab", name="Overview").click()
    reader.until("() => document.querySelectorAll('#gainers tr').length > 3")
    breadth = " ".join(page.locator(f"#breadth-{way}").inner_text() for way in ("up", "flat", "down"))
    assert sum(map(int, re.findall(r"(\d+) (?:up|unchanged|down)", breadth))) == 40, breadth
    reader.picture("overview")
    page.get_by_role("tab", name="Pipeline").click()
    topics = page.locator("#topics tr")
    topics.first.wait_for()
    said = "\n".join(topics.all_inner_texts())
    for kind in ("trades", "bars", "indicators", "alerts"):
        assert f"{stage.prefix}.{kind}" in said
    page.locator("#lake tr").first.wait_for()
    reader.picture("pipeline")
    page.get_by_role("tab", name="Chart").click()
    page.get_by_test_id("indicators").locator("summary").click()
    offered = page.locator("#indicator-menu").inner_text()
    assert all(name in offered for name in INDICATORS)
