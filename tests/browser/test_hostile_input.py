"""Texts that would be executed if the page inserted them as markup."""

import secrets
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.stage import START_MS, Stage, alert, bar
from browser.visit import VisitFactory

HOSTILE_TEXTS = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "<svg/onload=alert(3)> ' onmouseover='alert(4)",
    "{{constructor.constructor('alert(5)')()}} ${alert(6)} javascript:alert(7)",
)


@pytest.fixture(scope="module")
def small(kafka: str) -> Stage:
    """Three instruments, one of them with an alert per text."""
    stage = Stage(kafka, f"h{secrets.token_hex(4)}")
    stage.write("bars", [bar(f"{name}.XXXX", START_MS, 11) for name in ("AAA", "BBB", "CCC")])
    names = {"rule_id": HOSTILE_TEXTS[0], "dedup_key": HOSTILE_TEXTS[1], "window": HOSTILE_TEXTS[2]}
    stage.write(
        "alerts",
        [
            alert("AAA.XXXX", START_MS + n, text, kind=HOSTILE_TEXTS[3], **names)
            for n, text in enumerate(HOSTILE_TEXTS)
        ],
    )
    return stage


def test_texts_of_alerts_are_shown_literally(visit: VisitFactory, small: Stage) -> None:
    with small.serve_dashboard() as dashboard:
        reader = visit(dashboard.url).open_chart()
        page = reader.page
        for text in HOSTILE_TEXTS:
            item = page.get_by_test_id("alert").filter(has_text=text)
            expect(item).to_have_count(1)
            item.locator(".open").click()
            card = page.get_by_test_id("alert-details")
            expect(card).to_contain_text(text)
            expect(card).to_contain_text(HOSTILE_TEXTS[0])
            expect(card).to_contain_text(HOSTILE_TEXTS[2])
        _check_clean(reader.evaluate(_FIND_INJECTED))
        reader.close()


def test_symbols_are_shown_literally_wherever_they_come_from(visit: VisitFactory, small: Stage) -> None:
    def rename(message: dict[str, Any]) -> None:
        if message["t"] == "instruments":
            message["symbol"][1:] = HOSTILE_TEXTS[:2]
            message["instrument"][1:] = [f"{text}.XXXX" for text in HOSTILE_TEXTS[:2]]
            message["zone"][1:] = HOSTILE_TEXTS[2:]

    with small.serve_dashboard() as dashboard:
        reader = visit(dashboard.url)
        reader.rewrite_messages(rename)
        reader.open_chart("?symbol=AAA.XXXX")
        for text in HOSTILE_TEXTS[:2]:
            row = reader.rows.filter(has_text=text)
            expect(row).to_have_count(1)
            row.click()
            expect(reader.page.get_by_test_id("chart-symbol")).to_have_text(text)
            # the server reports that there is no such instrument
            expect(reader.page.get_by_test_id("chart-note")).to_contain_text(text[:20])
        reader.page.get_by_role("tab", name="Overview").click()
        expect(reader.page.locator("#overview")).to_contain_text(HOSTILE_TEXTS[0])
        heat = reader.page.get_by_test_id("heatmap")
        heat.focus()
        for _ in range(3):
            reader.page.keyboard.press("ArrowRight")
        _check_clean(reader.evaluate(_FIND_INJECTED))
        reader.ignore_problems("404")
        reader.close()


_FIND_INJECTED = """() => ({
  scripts: [...document.scripts].map((each) => each.getAttribute("src")),
  images: document.images.length,
  handlers: [...document.querySelectorAll("*")]
    .filter((each) => each.getAttributeNames().some((name) => name.startsWith("on"))).length,
})"""


def _check_clean(result: dict[str, object]) -> None:
    assert result == {"scripts": ["/static/app.js"], "images": 0, "handlers": 0}
