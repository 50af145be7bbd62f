"""What clients receive: everything at first, then updates; slow, excess and hostile clients."""

import socket as sockets
import threading
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from dashboard.hub_client import HubClient, connect_client, serve_hub
from dashboard.test_market_state import MINUTE, NO_TIME_LIMIT_NS, START, alert, bar, bars, trade
from support.process import wait_until
from tickerlake.dashboard import hub as hub_module
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.market.trades import aggregate_trades


def add_trades(market: MarketState, price: float, *symbols: str, at_ns: int = START) -> None:
    market.add_trades(aggregate_trades([trade(symbol, at_ns, price) for symbol in symbols], NO_TIME_LIMIT_NS))


def receive_until(client: HubClient, message_type: str) -> dict[str, object]:
    while not client.messages_of(message_type):
        client.receive()
    return client.messages_of(message_type)[-1]


def close_code(client: HubClient) -> int:
    for _ in range(1_000):
        try:
            client.receive()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
    raise AssertionError("the connection is still open")


def test_a_client_gets_a_snapshot_and_then_updates() -> None:
    with serve_hub() as server:
        server.market.add_bars(bars(bar("A", "1m", START - MINUTE, [4, 5, 3, 4, 10])))
        add_trades(server.market, 5.0, "A", "B")
        server.market.add_alerts([alert(1), alert(2)])
        server.market.prepare()
        with connect_client(server.url) as one:
            hello = receive_until(one, "hello")
            assert (hello["prefixes"], hello["intervals"], hello["trades"]) == (["x"], ["1m"], True)
            assert receive_until(one, "instruments")["symbol"] == ["A", "B"]
            while len(one.rows) < 2:
                one.receive()
            assert one.rows[0][0] == 5.0
            first = receive_until(one, "alerts")
            assert first["reset"] is True
            assert [each["alert_id"] for each in first["alerts"]] == ["1", "2"]  # type: ignore[attr-defined]
            receive_until(one, "status")
            one.send(t="view", ids=[0])
            while not one.closes:
                one.receive()
            assert one.closes[0][-1] == 4.0
            one.send(t="chart", id=0, interval="1m")
            forming = receive_until(one, "bar")
            assert (forming["bar"], forming["final"]) == ([START / 1e6, 5, 5, 5, 5, 100], False)
            add_trades(server.market, 6.0, "A", at_ns=START + 1)
            while one.rows[0][0] != 6.0:
                one.receive()
            while one.messages_of("bar")[-1]["bar"][4] != 6:
                one.receive()
            server.market.add_bars(bars(bar("A", "1m", START, [5, 6, 5, 6, 200])))
            while not one.messages_of("bar")[-1]["final"]:
                one.receive()
            server.market.add_alerts([alert(3)])
            add_trades(server.market, 1.0, "C")
            while len(one.messages_of("alerts")) < 2:
                one.receive()
            assert one.messages_of("alerts")[-1]["reset"] is False
            while len(one.messages_of("instruments")) < 2:
                one.receive()
            assert one.messages_of("instruments")[-1]["from"] == 2
            assert one.messages_of("instruments")[-1]["symbol"] == ["C"]


def test_rows_out_of_view_are_batched() -> None:
    with serve_hub() as server:
        symbols = [f"S{n}" for n in range(50)]
        add_trades(server.market, 5.0, *symbols)
        with connect_client(server.url) as one:
            while len(one.rows) < 50:
                one.receive()
            one.send(t="view", ids=[3])
            while one.frames[-1][1] != [3]:
                one.receive()
            add_trades(server.market, 6.0, *symbols)
            while one.rows[3][0] != 6.0:
                one.receive()
            assert one.frames[-1][1] == [3] or len(one.frames[-1][1]) == 50
            while one.rows[40][0] != 6.0:
                one.receive()
            assert len(one.frames[-1][1]) == 50


def test_a_replaced_market_resends_everything() -> None:
    with serve_hub() as server:
        add_trades(server.market, 5.0, "OLD")
        with connect_client(server.url) as one:
            receive_until(one, "instruments")
            one.send(t="chart", id=0, interval="1d")
            one.send(t="view", ids=[0])
            before = receive_until(one, "hello")["epoch"]
            server.reader._reset()
            add_trades(server.market, 7.0, "NEW")
            while one.messages_of("hello")[-1]["epoch"] == before:
                one.receive()
            while one.messages_of("instruments")[-1]["symbol"] != ["NEW"]:
                one.receive()
            assert one.messages_of("instruments")[-1]["from"] == 0


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
def test_an_invalid_message_ends_the_connection(message: str | bytes) -> None:
    with serve_hub() as server:
        add_trades(server.market, 5.0, "A")
        with connect_client(server.url) as one:
            receive_until(one, "instruments")
            one.socket.send(message)
            assert close_code(one) == 1008


def test_a_flood_of_messages_ends_the_connection() -> None:
    with serve_hub() as server:
        add_trades(server.market, 5.0, "A")
        with connect_client(server.url) as one:
            receive_until(one, "instruments")
            with suppress(ConnectionClosed):
                for _ in range(100):
                    one.send(t="view", ids=[0])
            # or reset, if messages arrived after that
            assert close_code(one) in {1008, 1006}


def test_clients_over_the_limit_are_refused() -> None:
    with serve_hub(max_clients=1) as server, connect_client(server.url) as one:
        receive_until(one, "status")
        with connect_client(server.url) as two:
            assert close_code(two) == 1013
        assert server.hub.stats.refused_clients == 1
    wait_until(lambda: server.hub.stats.clients == 0)


def test_an_ended_session_closes_the_connection() -> None:
    with serve_hub() as server, connect_client(server.url) as one:
        receive_until(one, "status")
        server.is_logged_in = False
        assert close_code(one) == 4401


def test_a_stalled_client_is_dropped_without_affecting_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "SEND_TIMEOUT_S", 0.5)
    symbols = [f"S{n}" for n in range(5_000)]
    with serve_hub() as server, connect_client(server.url) as good:
        add_trades(server.market, 1.0, *symbols)
        socket = sockets.socket()
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        socket.connect(("127.0.0.1", int(server.url.split(":")[2].split("/")[0])))
        good.remaining_reads = 10_000
        with connect(server.url, sock=socket, max_size=None, max_queue=1) as stuck:
            wait_until(lambda: server.hub.stats.clients == 2)
            reading = threading.Thread(target=_receive_all, args=[good])
            reading.start()
            wait_until(lambda: len(good.rows) == len(symbols))
            price, event = 2.0, threading.Event()
            while server.hub.stats.dropped_clients == 0:
                add_trades(server.market, price, *symbols)
                price += 1
                event.wait(0.05)
            seen = good.rows[0][0]
            add_trades(server.market, price, *symbols)
            wait_until(lambda: good.rows[0][0] > seen)
            stuck.close_socket()
        good.socket.close()
        reading.join(20)


def _receive_all(client: HubClient) -> None:
    try:
        while True:
            client.receive()
    except (ConnectionClosed, TimeoutError):
        return
