"""The chart shows the stored values, and an alert opens the chart at its time."""

import json
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from browser.stage import START_MS, Stage, bar
from browser.visit import Visit, VisitFactory
from support.tracker import read_results
from tickerlake.dashboard.server import Dashboard

BUSY = "S000.XXXX"


def stored_bars(stage: Stage, instrument: str, interval: str) -> dict[float, list[float]]:
    alert_id = (each for each in stage.read_lake("bars") if each["instrument_id"] == instrument)
    return {
        each["ts_open_ns"] / 1e6: [each[name] for name in ("open", "high", "low", "close", "volume")]
        for each in sorted(alert_id, key=lambda each: (each["ts_open_ns"], each["revision"]))
        if each["interval"] == interval
    }


def drawn_bars(reader: Visit) -> dict[float, list[float]]:
    columns = reader.bars()
    times = columns.pop("time")
    assert times == sorted(set(times))
    return dict(zip(times, map(list, zip(*columns.values(), strict=True)), strict=True))


@pytest.mark.parametrize(("key", "interval"), [("1", "1m"), ("3", "1h"), ("4", "1d")])
def test_bars_and_indicators_match_the_stored_records(
    visit: VisitFactory, dashboard: Dashboard, stage: Stage, key: str, interval: str
) -> None:
    reader = visit(dashboard.url).open_chart(f"?symbol={BUSY}")
    reader.page.keyboard.press(key)
    reader.wait_for(f"() => __tickerlake.chart().interval === '{interval}'")
    stored, drawn = stored_bars(stage, BUSY, interval), drawn_bars(reader)
    *closed, forming = sorted(drawn)
    assert forming not in stored
    assert closed == sorted(stored)[-len(closed) :]
    assert len(closed) == min(len(stored), len(closed))
    for time in closed:
        assert drawn[time] == pytest.approx(stored[time], rel=1e-12), time
    for name in ("SMA(20)", "MACD(12,26,9).signal", "VWAP"):
        expected = {
            row["ts_open_ns"] / 1e6: row["values"][name]
            for row in map(json.loads, _stored_indicators(stage))
            if row["instrument_id"] == BUSY and row["interval"] == interval and name in row["values"]
        }
        shown = {
            ms: value for ms, value in reader.evaluate("(name) => __tickerlake.values(name)", name) if value
        }
        assert shown == pytest.approx({ms: expected[ms] for ms in expected if ms >= closed[0]}, rel=1e-12), (
            name
        )


def _stored_indicators(stage: Stage) -> list[bytes]:
    results = read_results(stage.servers, stage.prefix)
    return [
        value for (topic, _), values in results.items() if topic == "indicators" for value in values if value
    ]


def test_a_missing_interval_is_reported_only_when_selected(visit: VisitFactory, kafka: str) -> None:
    small = Stage(kafka, f"i{secrets.token_hex(4)}")
    small.write("bars", [bar("DAILY.XXXX", START_MS, 11), bar("MINUTES.XXXX", START_MS, 11, "1m")])
    daily = {"instrument": "DAILY.XXXX", "interval": "1d"}
    shows = "(shown) => Object.entries(shown).every(([key, value]) => __tickerlake.chart()[key] === value)"
    with small.serve_dashboard() as running:
        reader = visit(running.url).open_chart(f"?symbol={daily['instrument']}")
        note = reader.page.get_by_test_id("chart-note")
        reader.wait_for(shows, daily)
        expect(note).to_be_hidden()
        reader.page.keyboard.press("1")
        expect(note).to_contain_text("No 1m bars; showing 1d instead")
        reader.wait_for(shows, daily)
    # the page requested the missing interval
    reader.ignore_problems("404")


def test_history_is_loaded_on_scrolling(visit: VisitFactory, dashboard: Dashboard, stage: Stage) -> None:
    reader = visit(dashboard.url).open_chart(f"?symbol={BUSY}")
    reader.page.keyboard.press("1")
    reader.wait_for("() => __tickerlake.chart().interval === '1m' && __tickerlake.bars().time.length > 500")
    stored = stored_bars(stage, BUSY, "1m")
    first = min(stored)
    assert reader.bars()["time"][0] > first, "history is not loaded at once"
    for _ in range(60):
        reader.page.keyboard.press("-")
        reader.page.keyboard.press("ArrowLeft")
        if reader.bars()["time"][0] == first:
            break
    reader.wait_for("(first) => __tickerlake.bars().time[0] === first", first)
    *closed, _ = sorted(drawn_bars(reader))
    assert closed == sorted(stored)


def test_an_alert_opens_its_details_and_the_chart_at_its_time(
    visit: VisitFactory, dashboard: Dashboard, stage: Stage
) -> None:
    reader = visit(dashboard.url).open_chart()
    page = reader.page
    item = page.locator("[data-testid=alert][data-direction=down]:not(:has(.tag))").first
    alert_id = item.get_attribute("data-id")
    alert = next(each for each in stage.read_lake("alerts") if each["alert_id"] == alert_id)
    item.locator(".open").click()
    _check_alert_details(reader, stage, alert)
    reader.save_screenshot("alert-details")
    query = parse_qs(urlsplit(page.url).query)
    assert query == {"symbol": [alert["instrument_id"]], "t": [str(alert["ts_event_ns"] // 10**6)]}
    expect(item).not_to_have_class(re.compile(r"\backnowledged\b"))
    page.keyboard.press("a")
    expect(item).to_have_class(re.compile(r"\backnowledged\b"))
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("alert-details")).to_be_hidden()
    # others can open the link
    other = visit(dashboard.url).open(urlsplit(page.url)._replace(scheme="", netloc="").geturl()[1:])
    _check_alert_details(other, stage, alert)


def _check_alert_details(reader: Visit, stage: Stage, alert: dict[str, Any]) -> None:
    """Check the details, and the bar that the chart shows."""
    card = reader.page.get_by_test_id("alert-details")
    expect(card).to_contain_text(alert["message"])
    facts = dict(zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True))
    for name, field in (("Value", "value"), ("Threshold", "threshold"), ("Price", "price")):
        shown = float(facts[name].split()[0].replace("−", "-").replace(",", ""))
        assert shown == pytest.approx(alert[field], abs=0.006), (name, facts)
    assert alert["rule_id"] in facts["Rule"]
    assert {"Reference price", "Baseline", "Volume", "Window"} & facts.keys()
    interval = alert["dedup_key"].rsplit(" ", 1)[1]
    reader.wait_for(
        "([instrument, interval]) => { const { chart, bars } = __tickerlake; const now = chart();"
        " return now.instrument === instrument && now.interval === interval && bars()?.time.length > 0 }",
        [alert["instrument_id"], interval],
    )
    stored = stored_bars(stage, alert["instrument_id"], interval)
    at = max(time for time in stored if time < alert["ts_event_ns"] / 1e6)
    close = f"{stored[at][3]:,.2f}" if stored[at][3] >= 10 else f"{stored[at][3]:.4f}"
    expect(reader.page.get_by_test_id("legend")).to_contain_text(f"C{close}")
