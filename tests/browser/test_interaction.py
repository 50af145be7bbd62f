"""Usability: thousands of symbols, keyboard only, accessible names, a phone."""

import re
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from browser.stage import START_MS, Stage, bar
from browser.visit import VisitFactory
from tickerlake.dashboard.server import Dashboard

SYMBOLS = 5_000


@pytest.fixture(scope="module")
def many_symbols(kafka: str) -> Iterator[Dashboard]:
    """Five thousand instruments, the most expensive in the middle."""
    stage = Stage(kafka, f"c{secrets.token_hex(4)}")
    closes = {f"S{number:04}.XXXX": 10 + number * 2017 % SYMBOLS / 100 for number in range(SYMBOLS)}
    stage.write("bars", (bar(name, START_MS, close) for name, close in closes.items()))
    with stage.serve_dashboard() as dashboard:
        yield dashboard


def test_thousands_of_symbols_take_few_rows(visit: VisitFactory, many_symbols: Dashboard) -> None:
    reader = visit(many_symbols.url).open_chart()
    page = reader.page
    reader.wait_for(f"() => __tickerlake.size() === {SYMBOLS}")
    grid = page.get_by_role("grid", name="Watch list")
    assert grid.get_attribute("aria-rowcount") == str(SYMBOLS + 1)
    grid.hover()
    for _ in range(200):
        page.mouse.wheel(0, 4_000)
        if reader.row("S4999.XXXX").is_visible():
            break
    expect(reader.row("S4999.XXXX")).to_be_visible()
    grid.focus()
    page.keyboard.press("Home")
    expect(reader.row("S0000.XXXX")).to_be_visible()
    page.keyboard.press("PageDown")
    page.keyboard.press("End")
    expect(reader.row("S4999.XXXX")).to_be_visible()
    active = grid.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("data-id") == "S4999.XXXX"
    assert page.locator("[data-testid=row]").count() <= 60
    last = page.get_by_role("columnheader", name="Last price", exact=True)
    last.click()
    highest = max(range(SYMBOLS), key=lambda number: number * 2017 % SYMBOLS)
    expect(reader.rows.first).to_be_visible()
    reader.row(f"S{highest:04}.XXXX").wait_for()
    assert reader.row(f"S{highest:04}.XXXX").get_attribute("aria-rowindex") == "2"
    assert (
        page.get_by_role("columnheader", name="Last price", exact=True).get_attribute("aria-sort")
        == "descending"
    )
    page.get_by_role("searchbox", name="Search symbols").fill("s432")
    expect(reader.rows).to_have_count(10)
    expect(page.locator("#watch-count")).to_have_text("10 of 5,000")


def test_the_keyboard_is_enough(visit: VisitFactory, dashboard: Dashboard) -> None:
    reader = visit(dashboard.url).open_chart()
    page, keys = reader.page, reader.page.keyboard
    search = page.get_by_role("searchbox", name="Search symbols")
    keys.press("/")
    expect(search).to_be_focused()
    keys.type("s01")
    expect(reader.rows).to_have_count(10)
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("Enter")
    reader.wait_for("() => __tickerlake.chart().instrument === 'S011.XXXX'")
    expect(page.get_by_test_id("chart-symbol")).to_have_text("S011")
    keys.press("/")
    keys.press("Escape")
    expect(search).to_have_value("")
    expect(search).not_to_be_focused()
    for number, interval in enumerate(("1m", "5m", "1h", "1d"), 1):
        keys.press(str(number))
        reader.wait_for("(name) => __tickerlake.chart().interval === name", interval)
        expect(page.get_by_role("button", name=interval, exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )
    for key, name in (("o", "Overview"), ("p", "Pipeline"), ("c", "Chart")):
        keys.press(key)
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    keys.press("ArrowDown")
    keys.press("Enter")
    reader.wait_for("() => __tickerlake.chart().instrument === 'S012.XXXX'")
    keys.press("f")
    expect(reader.row("S012.XXXX")).to_have_class(re.compile(r"\bfavorite\b"))
    keys.press("?")
    help_ = page.get_by_role("dialog", name="Keyboard shortcuts and symbols")
    expect(help_).to_be_visible()
    keys.press("Escape")
    expect(help_).to_be_hidden()


def test_everything_has_an_accessible_name(visit: VisitFactory, dashboard: Dashboard) -> None:
    reader = visit(dashboard.url).open_chart()
    page = reader.page
    for role, name in (
        ("grid", "Watch list"),
        ("searchbox", "Search symbols"),
        ("tablist", "Views"),
        ("region", "Chart"),
        ("region", "Alerts"),
        ("button", "Toggle dark mode"),
        ("button", "Help and keyboard shortcuts"),
        ("list", "Alerts, newest first"),
        ("status", ""),
        ("heading", "S000"),
    ):
        expect(page.get_by_role(role, name=name).first).to_be_visible()  # type: ignore[arg-type]
    nameless = reader.evaluate(
        """() => [...document.querySelectorAll("button, a[href], input, select, summary")]
            .filter((each) => each.checkVisibility())
            .filter((each) => !(each.ariaLabel || each.textContent.trim()))
            .filter((each) => !(each.labels?.length || each.title))
            .map((each) => each.outerHTML)"""
    )
    assert nameless == []


def test_everything_fits_on_a_phone(visit: VisitFactory, dashboard: Dashboard) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    reader = visit(dashboard.url, device_scale_factor=2, **phone)
    page = reader.page
    page.goto(reader.url)
    for name, panel in (
        ("Watch", "watchlist"),
        ("Alerts", "alerts"),
        ("Overview", "overview"),
        ("Pipeline", "pipeline"),
        ("Chart", "chart"),
    ):
        page.get_by_role("tab", name=name).tap()
        expect(page.get_by_test_id(panel)).to_be_visible()
        wide = reader.evaluate(
            """() => [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]"""
        )
        assert wide == [390, 390, 390], name
        reader.save_screenshot(f"phone-{name.lower()}")
    page.get_by_role("tab", name="Watch").tap()
    reader.row("S003.XXXX").tap()
    expect(page.get_by_test_id("chart")).to_be_visible()
    reader.wait_for("() => __tickerlake.chart().instrument === 'S003.XXXX'")
    page.get_by_role("tab", name="Alerts").tap()
    page.get_by_test_id("alert").first.locator(".open").tap()
    expect(page.get_by_test_id("alert-details")).to_be_visible()
    reader.save_screenshot("phone-alert-details")
