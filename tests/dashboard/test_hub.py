"""What open pages get: all at first, then what is new; the slow, the many and the rude."""

import socket as sockets
import threading
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dashboard.pages import Page, page, served
from dashboard.test_market_state import FAR, MINUTE, START, alert, bar, bars, trade
from support.process import wait_until
from tickerlake.dashboard.live import hub as hub_module
from tickerlake.dashboard.market.market import Market
from tickerlake.dashboard.market.ticks import fold


def trades(market: Market, price: float, *symbols: str, at_ns: int = START) -> None:
    market.take_trades(fold([trade(symbol, at_ns, price) for symbol in symbols], FAR))


def until(one: Page, kind: str) -> dict[str, object]:
    while not one.of(kind):
        one.read()
    return one.of(kind)[-1]


def closed_with(one: Page) -> int:
    for _ in range(1_000):
        try:
            one.read()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
    raise AssertionError("the connection stays open")


def test_a_page_gets_all_and_then_what_is_new() -> None:
    with served() as about:
        about.market.take_bars(bars(bar("A", "1m", START - MINUTE, [4, 5, 3, 4, 10])))
        trades(about.market, 5.0, "A", "B")
        about.market.take_alerts([alert(1), alert(2)])
        with page(about.url) as one:
            hello = until(one, "hello")
            assert (hello["prefixes"], hello["intervals"], hello["trades"]) == (["x"], ["1m"], True)
            assert until(one, "instruments")["symbol"] == ["A", "B"]
            while len(one.rows) < 2:
                one.read()
            assert one.rows[0][0] == 5.0
            first = until(one, "alerts")
            assert first["reset"] is True
            assert [each["alert_id"] for each in first["alerts"]] == ["1", "2"]  # type: ignore[attr-defined]
            until(one, "status")
            one.ask(t="view", ids=[0])
            while not one.closes:
                one.read()
            assert one.closes[0][-1] == 4.0
            one.ask(t="chart", id=0, interval="1m")
            forming = until(one, "bar")
            assert (forming["bar"], forming["final"]) == ([START / 1e6, 5, 5, 5, 5, 100], False)
            trades(about.market, 6.0, "A", at_ns=START + 1)
            while one.rows[0][0] != 6.0:
                one.read()
            while one.of("bar")[-1]["bar"][4] != 6:
                one.read()
            about.market.take_bars(bars(bar("A", "1m", START, [5, 6, 5, 6, 200])))
            while not one.of("bar")[-1]["final"]:
                one.read()
            about.market.take_alerts([alert(3)])
            trades(about.market, 1.0, "C")
            while len(one.of("alerts")) < 2:
                one.read()
            assert one.of("alerts")[-1]["reset"] is False
            while len(one.of("instruments")) < 2:
                one.read()
            assert one.of("instruments")[-1]["from"] == 2
            assert one.of("instruments")[-1]["symbol"] == ["C"]


def test_rows_out_of_view_come_together() -> None:
    with served() as about:
        symbols = [f"S{n}" for n in range(50)]
        trades(about.market, 5.0, *symbols)
        with page(about.url) as one:
            while len(one.rows) < 50:
                one.read()
            one.ask(t="view", ids=[3])
            while one.frames[-1][1] != [3]:
                one.read()
            trades(about.market, 6.0, *symbols)
            while one.rows[3][0] != 6.0:
                one.read()
            assert one.frames[-1][1] == [3] or len(one.frames[-1][1]) == 50
            while one.rows[40][0] != 6.0:
                one.read()
            assert len(one.frames[-1][1]) == 50


def test_another_market_begins_anew() -> None:
    with served() as about:
        trades(about.market, 5.0, "OLD")
        with page(about.url) as one:
            until(one, "instruments")
            one.ask(t="chart", id=0, interval="1d")
            one.ask(t="view", ids=[0])
            before = until(one, "hello")["epoch"]
            about.feed._begin_anew()
            trades(about.market, 7.0, "NEW")
            while one.of("hello")[-1]["epoch"] == before:
                one.read()
            while one.of("instruments")[-1]["symbol"] != ["NEW"]:
                one.read()
            assert one.of("instruments")[-1]["from"] == 0


@pytest.mark.parametrize(
    "message",
    [
        "nonsense",
        "[" * 5_000,
        '{"t":"view","ids":[7]}',
        '{"t":"view","ids":[-1]}',
        '{"t":"view","ids":"all"}',
        '{"t":"chart","id":99,"interval":"1m"}',
        '{"t":"chart","id":0,"interval":"a very long one"}',
        '{"t":"drop"}',
        b"\x00",
    ],
)
def test_what_is_not_understood_ends_the_connection(message: str | bytes) -> None:
    with served() as about:
        trades(about.market, 5.0, "A")
        with page(about.url) as one:
            until(one, "instruments")
            one.socket.send(message)
            assert closed_with(one) == 1008


def test_a_flood_of_messages_ends_the_connection() -> None:
    with served() as about:
        trades(about.market, 5.0, "A")
        with page(about.url) as one:
            until(one, "instruments")
            with suppress(ConnectionClosed):
                for _ in range(100):
                    one.ask(t="view", ids=[0])
            # or cut off, if more came after that
            assert closed_with(one) in {1008, 1006}


def test_more_pages_than_allowed_are_turned_away() -> None:
    with served(most=1) as about, page(about.url) as one:
        until(one, "status")
        with page(about.url) as two:
            assert closed_with(two) == 1013
        assert about.hub.figures.refused == 1
    wait_until(lambda: about.hub.figures.clients == 0)


def test_a_login_that_ends_closes_the_page() -> None:
    with served() as about, page(about.url) as one:
        until(one, "status")
        about.login = False
        assert closed_with(one) == 4401


def test_a_page_that_takes_nothing_is_dropped_and_costs_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "SEND_S", 0.5)
    symbols = [f"S{n}" for n in range(5_000)]
    with served() as about, page(about.url) as good:
        trades(about.market, 1.0, *symbols)
        plain = sockets.socket()
        plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", int(about.url.split(":")[2].split("/")[0])))
        good.patience = 10_000
        with connect(about.url, sock=plain, max_size=None, max_queue=1) as stuck:
            wait_until(lambda: about.hub.figures.clients == 2)
            reading = threading.Thread(target=_follow, args=[good])
            reading.start()
            wait_until(lambda: len(good.rows) == len(symbols))
            price, pause = 2.0, threading.Event()
            while about.hub.figures.dropped == 0:
                trades(about.market, price, *symbols)
                price += 1
                pause.wait(0.05)
            seen = good.rows[0][0]
            trades(about.market, price, *symbols)
            wait_until(lambda: good.rows[0][0] > seen)
            stuck.close_socket()
        good.socket.close()
        reading.join(20)


def _follow(one: Page) -> None:
    try:
        while True:
            one.read()
    except (ConnectionClosed, TimeoutError):
        return
