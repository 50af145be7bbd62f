"""Pushes updates to connected clients. The next frame of a client is encoded when its connection is ready.

So a slow client gets fewer frames, never older ones, and costs no memory; one that stops reading is dropped.
"""

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from tickerlake import clock
from tickerlake.analytics.bars import Ints
from tickerlake.dashboard.access.policy import CLOSE_LOGIN_REQUIRED
from tickerlake.dashboard.market.latest import SPARKLINE_POINTS, LatestValues
from tickerlake.dashboard.market.state import ChartKey, MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.version import VERSION

FRAME_S: Final = 0.1
"""Ten updates per second look continuous; it is also the reader's batch interval."""
SEND_TIMEOUT_S: Final = 10.0
"""A client that reads nothing for this long is dropped; its page then reconnects by itself."""
MAX_VIEW_ROWS: Final = 300
"""More rows than fit on a screen; web/src/main.ts sends no more than these."""
MAX_MESSAGES_PER_S: Final = 20
"""The page sends at most 15 (MAX_SENDS_PER_S in web/src/data/connection.ts)."""
INITIAL_ALERTS: Final = 200
"""Alerts sent to a new client, a few screens of its list; the API returns older ones."""
MAX_INTERVAL_CHARS: Final = 8
"""Above the longest interval, five digits and a unit of two letters."""
_CLOSE_TIMEOUT_S: Final = 1.0
CLOSE_TRY_AGAIN_LATER: Final = 1013
CLOSE_POLICY_VIOLATION: Final = 1008
_MAX_ALERTS_PER_FRAME: Final = 100
"""After a burst a client gets the newest of them; the API returns the others."""
_MAX_ALERT_BYTES_PER_FRAME: Final = 2 << 20
"""Ten times what is usual, as each client has a frame of its own."""
_MAX_SHARED_FRAMES: Final = 4
"""Clients differ by the tick they have seen: most of them have seen the last one or the one before."""
_STATUS_INTERVAL_S: Final = 2.0
"""A client reconnects after ten seconds without a message, so one may be late."""
_NO_IDS: Final[Ints] = np.empty(0, dtype=np.int64)

# binary frames: columns of numbers, little-endian, aligned so that a browser reads them as typed arrays
ROWS_FRAME: Final = 1
SPARKLINES_FRAME: Final = 2
_HEADER: Final = struct.Struct("<BBHId")

Frame = bytes | str


class ViewRequest(msgspec.Struct, tag_field="t", tag="view", forbid_unknown_fields=True):
    """The instruments that a client shows on its screen."""

    ids: list[int]


class ChartRequest(msgspec.Struct, tag_field="t", tag="chart", forbid_unknown_fields=True):
    """The chart that a client shows; no chart if there is no id."""

    id: int | None = None
    interval: str = ""


_REQUEST_DECODER: Final = msgspec.json.Decoder(ViewRequest | ChartRequest)


@dataclass(slots=True)
class HubStats:
    """Counts of clients, and of the frames and bytes sent to them."""

    clients: int = 0
    dropped_clients: int = 0
    refused_clients: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0


@dataclass(slots=True, eq=False)
class ClientState:
    """What a client shows of one market, and how much of it it has been sent."""

    market: MarketState
    hello: bytes = b""
    instruments_sent: int = 0
    view_ids: Ints = field(default_factory=lambda: _NO_IDS)
    view_tick: int = 0
    sparkline_tick: int = 0
    rows_tick: int = 0
    last_second: int = 0
    chart: ChartKey | None = None
    chart_tick: int = 0
    forming: list[list[float | None]] = field(default_factory=list)
    alerts_sent: int = 0
    pipeline_json: bytes = b""
    status: bytes = b""
    status_s: float = 0.0


@dataclass(slots=True, eq=False)
class Client:
    """A connected client; a new market replaces its state, so that it is sent everything again."""

    state: ClientState
    wakeup: asyncio.Event = field(default_factory=asyncio.Event)


class Hub:
    """Sends updates to clients.

    Parameters
    ----------
    reader
        Source of the updates.
    max_clients
        Further clients are refused.
    login
        Whether clients had to log in, and so can log out.
    """

    def __init__(self, reader: DashboardReader, max_clients: int = 200, *, login: bool = False) -> None:
        self.stats = HubStats()
        self.pipeline_json = b""
        self.is_kafka_up = True
        self.problem: Callable[[], str] = lambda: ""
        self._reader = reader
        self._max_clients = max_clients
        self._login = login
        self._clients: set[Client] = set()
        self._shared_frames: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()

    def notify_clients(self) -> None:
        """Wake all clients, as there may be updates; call it in the event loop."""
        for client in self._clients:
            client.wakeup.set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve a client until it disconnects."""
        await socket.accept()
        if len(self._clients) >= self._max_clients:
            self.stats.refused_clients += 1
            await _close(socket, CLOSE_TRY_AGAIN_LATER, "too many clients")
            return
        client = Client(ClientState(self._reader.market))
        client.wakeup.set()
        self._clients.add(client)
        self.stats.clients = len(self._clients)
        sending = asyncio.create_task(self._send(socket, client))
        receiving = asyncio.create_task(self._receive(socket, client))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            self.stats.clients = len(self._clients)
            self._select_chart(client.state, None)
            for task in (sending, receiving):
                task.cancel()
            outcomes = await asyncio.gather(sending, receiving, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _receive(self, socket: WebSocket, client: Client) -> None:
        allowance, last_s = float(MAX_MESSAGES_PER_S), clock.monotonic_s()
        try:
            while True:
                text = await socket.receive_text()
                now_s = clock.monotonic_s()
                allowance = min(MAX_MESSAGES_PER_S, allowance + (now_s - last_s) * MAX_MESSAGES_PER_S) - 1
                last_s = now_s
                request = _REQUEST_DECODER.decode(text)
                if allowance < 0:
                    raise ValueError("too many messages")
                self._handle_request(client, request)
        except (WebSocketDisconnect, WebSocketDisconnected):
            return
        except (ValueError, KeyError, RecursionError):
            # KeyError: a binary message
            await _close(socket, CLOSE_POLICY_VIOLATION, "invalid message")

    def _handle_request(self, client: Client, request: ViewRequest | ChartRequest) -> None:
        state = client.state
        ready_count = state.market.ready_count
        if isinstance(request, ViewRequest):
            if len(request.ids) > MAX_VIEW_ROWS or any(not 0 <= each < ready_count for each in request.ids):
                raise ValueError("too many or unknown ids")
            state.view_ids = np.array(request.ids, dtype=np.int64)
            state.view_tick = state.sparkline_tick = 0
        elif request.id is None:
            self._select_chart(state, None)
        else:
            if not 0 <= request.id < ready_count or len(request.interval) > MAX_INTERVAL_CHARS:
                raise ValueError("unknown chart")
            self._select_chart(state, (request.id, request.interval))
        client.wakeup.set()

    def _select_chart(self, state: ClientState, chart: ChartKey | None) -> None:
        if state.chart is not None:
            state.market.unwatch(state.chart)
        state.chart, state.forming = chart, []
        if chart is not None:
            state.market.watch(chart)
            state.chart_tick = state.market.latest.tick

    async def _send(self, socket: WebSocket, client: Client) -> None:
        while True:
            await client.wakeup.wait()
            client.wakeup.clear()
            started_s = clock.monotonic_s()
            if not socket.scope["is_session_open"]():
                await _close(socket, CLOSE_LOGIN_REQUIRED, "log in")
                return
            for frame in self._new_frames(client):
                sending = socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_text(frame)
                try:
                    await asyncio.wait_for(sending, SEND_TIMEOUT_S)
                except TimeoutError:
                    self.stats.dropped_clients += 1
                    await _close(socket, CLOSE_TRY_AGAIN_LATER, "too slow")
                    return
                except (WebSocketDisconnect, RuntimeError, OSError):
                    return
                self.stats.frames_sent += 1
                self.stats.bytes_sent += len(frame)
            # with a full frame the client would fall behind the batches, which come just as often
            rest_s = FRAME_S / 2 - (clock.monotonic_s() - started_s)
            if rest_s > 0:
                await asyncio.sleep(rest_s)

    def _new_frames(self, client: Client) -> list[Frame]:
        """Return the updates for a client."""
        frames: list[Frame] = []
        reader, now_ms = self._reader, clock.now_ns() / 1e6
        market = reader.market
        if client.state.market is not market:
            self._select_chart(client.state, None)
            client.state = ClientState(market)
        state = client.state
        second = int(now_ms // 1000)
        with market.lock:
            full = second != state.last_second
            if full:
                self._add_hello(state, frames)
            self._add_rows(state, frames, now_ms, full=full)
            self._add_chart(state, frames)
            self._add_alerts(state, frames)
        state.last_second = second
        self._add_status(state, frames)
        return frames

    def _add_hello(self, state: ClientState, frames: list[Frame]) -> None:
        market = state.market
        hello_fields = {
            "t": "hello",
            "epoch": self._reader.epoch,
            "version": VERSION,
            "prefixes": self._reader.prefixes,
            "intervals": market.intervals(),
            "indicators": market.indicators(),
            "trades": market.has_trades,
            "login": self._login,
        }
        hello = msgspec.json.encode(hello_fields)
        if hello != state.hello:
            state.hello = hello
            frames.append(_encode_text(hello_fields | {"now_ms": clock.now_ns() / 1e6}))
        names, ready = market.instruments, market.ready_count
        if state.instruments_sent < ready:
            since = state.instruments_sent
            frames.append(
                _encode_text(
                    {
                        "t": "instruments",
                        "from": since,
                        "instrument": names.instrument_ids[since:ready],
                        "symbol": names.symbols[since:ready],
                        "zone": [market.zone(each) for each in names.markets[since:ready]],
                    }
                )
            )
            state.instruments_sent = ready
            # their earlier changes may lie before `rows_tick`
            added = np.arange(since, ready)
            frames.append(encode_rows(market.latest, added, clock.now_ns() / 1e6))

    def _add_rows(self, state: ClientState, frames: list[Frame], now_ms: float, *, full: bool) -> None:
        latest = state.market.latest
        sent_count = state.instruments_sent
        if full and latest.tick > state.rows_tick:
            frame = self._shared_rows(state.rows_tick, sent_count, now_ms)
            if frame:
                frames.append(frame)
            state.rows_tick = state.view_tick = latest.tick
        view = state.view_ids[state.view_ids < sent_count]
        for tick, changed_tick, encode in (
            (state.view_tick, latest.changed_tick, encode_rows),
            (state.sparkline_tick, latest.sparkline_tick, encode_sparklines),
        ):
            ids = changed_since(changed_tick, view, tick)
            if len(ids):
                frames.append(encode(latest, ids, now_ms))
        state.view_tick = state.sparkline_tick = latest.tick

    def _shared_rows(self, since: int, sent_count: int, now_ms: float) -> bytes:
        """Return all rows that changed since a tick; clients that have seen the same tick share the bytes."""
        latest = self._reader.market.latest
        key = (self._reader.epoch, sent_count, since, latest.tick)
        if key not in self._shared_frames:
            ids = changed_since(latest.changed_tick[:sent_count], None, since)
            self._shared_frames[key] = encode_rows(latest, ids, now_ms) if len(ids) else b""
            while len(self._shared_frames) > _MAX_SHARED_FRAMES:
                self._shared_frames.popitem(last=False)
        return self._shared_frames[key]

    def _add_chart(self, state: ClientState, frames: list[Frame]) -> None:
        if state.chart is None:
            return
        market = state.market
        frames += map(_encode_text, market.events(state.chart, state.chart_tick))
        state.chart_tick = market.latest.tick
        forming = market.forming_bars(state.chart)
        number, interval = state.chart
        for bar in forming:
            if bar not in state.forming:
                frames.append(
                    _encode_text({"t": "bar", "id": number, "interval": interval, "bar": bar, "final": False})
                )
        state.forming = forming

    def _add_alerts(self, state: ClientState, frames: list[Frame]) -> None:
        alerts = state.market.alerts
        first = state.alerts_sent == 0
        if alerts.count == state.alerts_sent and not (first and state.last_second == 0):
            return
        limit = INITIAL_ALERTS if first else _MAX_ALERTS_PER_FRAME
        new_alerts = alerts.since(state.alerts_sent, limit, _MAX_ALERT_BYTES_PER_FRAME)
        documents = b",".join(each.to_json() for each in new_alerts)
        reset = b"true" if first else b"false"
        frames.append((b'{"t":"alerts","reset":' + reset + b',"alerts":[' + documents + b"]}").decode())
        state.alerts_sent = alerts.count

    def _add_status(self, state: ClientState, frames: list[Frame]) -> None:
        if self.pipeline_json is not state.pipeline_json:
            state.pipeline_json = self.pipeline_json
            frames.append(self.pipeline_json.decode())
        status = self._reader.status
        fields = {
            "t": "status",
            "loading": status.loading,
            "kafka": "lost" if status.kafka == "ok" and not self.is_kafka_up else status.kafka,
            "message": self.problem() or status.message,
        }
        encoded = msgspec.json.encode(fields)
        now_s = clock.monotonic_s()
        if encoded != state.status or now_s - state.status_s >= _STATUS_INTERVAL_S:
            state.status, state.status_s = encoded, now_s
            frames.append(_encode_text(fields | {"last_record_ms": status.last_record_ms}))


def encode_rows(latest: LatestValues, ids: Ints, now_ms: float) -> bytes:
    """Encode the latest values of instruments.

    Returns
    -------
    frame
        1, 0, 0, n and the time; `latest.COLUMNS`, float64 (8, n); the ids, uint32 (n,).
    """
    header = _HEADER.pack(ROWS_FRAME, 0, 0, len(ids), now_ms)
    return header + latest.values[:, ids].astype("<f8").tobytes() + ids.astype("<u4").tobytes()


def encode_sparklines(latest: LatestValues, ids: Ints, now_ms: float) -> bytes:
    """Encode the sparklines of instruments.

    Returns
    -------
    frame
        2, 0, the number of points m, n and the time; closes, float32 (n, m); the ids, uint32 (n,).
    """
    header = _HEADER.pack(SPARKLINES_FRAME, 0, SPARKLINE_POINTS, len(ids), now_ms)
    return header + latest.sparklines[ids].astype("<f4").tobytes() + ids.astype("<u4").tobytes()


def changed_since(changed_tick: Ints, ids: Ints | None, tick: int) -> Ints:
    """Return which of some instruments, or of all, changed after a tick."""
    if ids is None:
        return np.flatnonzero(changed_tick > tick)
    return ids[changed_tick[ids] > tick]


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Close a connection, unless the client or the server has closed it already."""
    # a client that stopped reading learns why if it reads again
    with suppress(TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
        await asyncio.wait_for(socket.close(code, reason), _CLOSE_TIMEOUT_S)


def _encode_text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
