"""Live updates of an open page, and its status when there can be none."""

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from browser.stage import START_MS, Stage, bar, trade
from browser.visit import Visit, VisitFactory
from support.process import Child, tickerlake
from tickerlake.dashboard.server import Dashboard
from tickerlake.kafka.embedded.broker import EmbeddedBroker

DAY_MS = 86_400_000


def last_bar(reader: Visit) -> list[float]:
    return [values[-1] for values in reader.bars().values()]


def test_a_trade_moves_the_row_and_the_bar(visit: VisitFactory, dashboard: Dashboard, stage: Stage) -> None:
    name = "S005.XXXX"
    reader = visit(dashboard.url).open_chart(f"?symbol={name}")
    reader.page.keyboard.press("1")
    reader.wait_for("() => __tickerlake.chart().interval === '1m'")
    before = last_bar(reader)
    number = dashboard.reader.market.instruments.find(name)
    last_ms = int(dashboard.reader.market.latest.values[1, number])
    stage.write("trades", [trade(name, last_ms + 1, 7.77, 300)])
    expect(reader.row(name).locator(".last")).to_have_text("7.7700")
    reader.wait_for("() => __tickerlake.bars().close.at(-1) === 7.77")
    now = last_bar(reader)
    assert (now[0], now[1], now[2]) == (before[0], before[1], 7.77)
    assert now[5] == before[5] + 300
    stage.write("trades", [trade(name, last_ms + 60_000, 8.5)])
    reader.wait_for("(before) => __tickerlake.bars().time.at(-1) > before", before[0])
    assert last_bar(reader) == [before[0] + 60_000, 8.5, 8.5, 8.5, 8.5, 100]
    assert reader.page.get_by_test_id("chart-price").inner_text() == "8.5000"


def test_after_a_restart_the_page_reconnects_by_itself(visit: VisitFactory, kafka: str) -> None:
    small = Stage(kafka, "restart")
    small.write("bars", [bar("OLD.XXXX", START_MS, 11)])
    first = _serve(small, 0)
    url = _url(first)
    reader = visit(url)
    epochs: list[str] = []
    reader.rewrite_messages(
        lambda message: epochs.append(message["epoch"]) if message["t"] == "hello" else None
    )
    reader.open_chart()
    reader.evaluate("() => { window.sameDocument = true }")
    with first:
        first.kill()
    expect(reader.status()).to_contain_text("Connection lost")
    expect(reader.page.get_by_test_id("banner")).to_contain_text("updates when the connection is back")
    assert reader.rows.count() == 1, "the last data is still shown"
    small.write("bars", [bar("NEW.XXXX", START_MS, 12), bar("OLD.XXXX", START_MS + DAY_MS, 13)])
    with _serve(small, int(url.rsplit(":", 1)[1].strip("/"))) as second:
        reader.row("NEW.XXXX").wait_for()
        expect(reader.row("OLD.XXXX").locator(".last")).to_have_text("13.00")
        reader.wait_for("() => __tickerlake.bars()?.close.at(-1) === 13")
        expect(reader.status()).not_to_contain_text("lost")
        expect(reader.page.get_by_test_id("banner")).to_be_hidden()
        assert reader.evaluate("() => window.sameDocument")
        assert len(set(epochs)) == 2
        second.terminate()
        second.wait(20)
    reader.ignore_problems("ERR_CONNECTION_REFUSED")


def _serve(stage: Stage, port: int) -> Child:
    return tickerlake("serve", "-b", stage.servers, "--prefix", stage.prefix, "--port", port)


def _url(server: Child) -> str:
    assert server.stderr
    line = next(line for line in server.stderr if "http://" in line)
    return next(word for word in line.split() if word.startswith("http://"))


def test_a_lost_kafka_connection_and_its_recovery_are_shown(visit: VisitFactory, tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        small = Stage(broker.bootstrap_servers, "lost")
        small.write("bars", [bar("ONE.XXXX", START_MS, 11)])
        with small.serve_dashboard() as dashboard:
            reader = visit(dashboard.url).open_chart()
            expect(reader.status()).to_have_text("Live")
            broker.kill()
            expect(reader.status()).to_have_text("Kafka is not responding", timeout=30_000)
            expect(reader.page.get_by_test_id("banner")).to_contain_text("Kafka is not responding")
            assert reader.rows.count() == 1, "the last data is still shown"
            broker.start()
            small.write("bars", [bar("TWO.XXXX", START_MS, 12)])
            reader.row("TWO.XXXX").wait_for()
            expect(reader.status()).to_have_text("Live")
            reader.close()


def test_old_data_is_marked_stale(visit: VisitFactory, dashboard: Dashboard) -> None:
    def age(message: dict[str, Any]) -> None:
        if message["t"] == "status":
            message["last_record_ms"] -= 7_200_000

    reader = visit(dashboard.url)
    reader.rewrite_messages(age)
    reader.open_chart()
    expect(reader.status()).to_contain_text("No new data for 2 h")
