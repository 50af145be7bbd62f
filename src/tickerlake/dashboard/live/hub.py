"""Open pages. Each has a queue of one: what it gets next is made when it can take it, of what is newest then.

So a slow page gets fewer frames, not older ones, and costs no memory; one that takes none is dropped.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from tickerlake import clock
from tickerlake.analytics.bars import Ints
from tickerlake.dashboard.live.frames import changed_since, encode_rows, encode_sparklines
from tickerlake.dashboard.market.state import ChartKey, MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.version import VERSION

FRAME_S: Final = 0.1
SEND_TIMEOUT_S: Final = 10.0
MAX_VIEW_ROWS: Final = 300
MAX_MESSAGES_PER_S: Final = 20
INITIAL_ALERTS: Final = 200
CLOSE_TRY_AGAIN_LATER: Final = 1013
CLOSE_POLICY_VIOLATION: Final = 1008
CLOSE_LOGIN_REQUIRED: Final = 4401
_MAX_ALERTS_PER_FRAME: Final = 100
_NO_IDS: Final[Ints] = np.empty(0, dtype=np.int64)
_STATUS_INTERVAL_S: Final = 2.0

Frame = bytes | str


class ViewRequest(msgspec.Struct, tag_field="t", tag="view", forbid_unknown_fields=True):
    """The rows that a page has on its screen."""

    ids: list[int]


class ChartRequest(msgspec.Struct, tag_field="t", tag="chart", forbid_unknown_fields=True):
    """The chart that a page shows; without an id none."""

    id: int | None = None
    interval: str = ""


_REQUEST_DECODER: Final = msgspec.json.Decoder(ViewRequest | ChartRequest)


@dataclass(slots=True)
class HubStats:
    """What has been sent, and to how many."""

    clients: int = 0
    dropped_clients: int = 0
    refused_clients: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0


@dataclass(slots=True, eq=False)
class Client:
    """What one page has got already, and what it looks at."""

    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    market: MarketState | None = None
    hello: bytes = b""
    instruments_sent: int = 0
    view_ids: Ints = field(default_factory=lambda: _NO_IDS)
    view_tick: int = 0
    sparkline_tick: int = 0
    rows_tick: int = 0
    last_second: int = 0
    chart: ChartKey | None = None
    chart_tick: int = 0
    forming: list[list[float]] = field(default_factory=list)
    alerts_sent: int = 0
    pipeline_json: bytes = b""
    status: bytes = b""
    status_s: float = 0.0


class Hub:
    """Sends pages what is new.

    Parameters
    ----------
    feed
        Where it comes from.
    most
        More pages than these are turned away.
    login
        Whether pages had to log in, and so can log out.
    """

    def __init__(self, reader: DashboardReader, max_clients: int = 200, *, login: bool = False) -> None:
        self.stats = HubStats()
        self.pipeline_json = b""
        self.is_kafka_up = True
        self._reader = reader
        self._max_clients = max_clients
        self._login = login
        self._clients: set[Client] = set()
        self._shared_frames: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()

    def notify_clients(self) -> None:
        """Say that there may be something new; to be called in the event loop."""
        for page in self._clients:
            page.wakeup.set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve a page until it leaves."""
        await socket.accept()
        if len(self._clients) >= self._max_clients:
            self.stats.refused_clients += 1
            await socket.close(CLOSE_TRY_AGAIN_LATER, "too many pages")
            return
        client = Client()
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
            self._select_chart(client, None)
            for task in (sending, receiving):
                task.cancel()
            ended = await asyncio.gather(sending, receiving, return_exceptions=True)
        for outcome in ended:
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
        except WebSocketDisconnect:
            return
        except (ValueError, KeyError, RecursionError):
            # KeyError: a binary message
            await socket.close(CLOSE_POLICY_VIOLATION, "not understood")

    def _handle_request(self, client: Client, request: ViewRequest | ChartRequest) -> None:
        market = client.market
        if market is None:
            return
        ready_count = market.ready_count
        if isinstance(request, ViewRequest):
            if len(request.ids) > MAX_VIEW_ROWS or any(not 0 <= each < ready_count for each in request.ids):
                raise ValueError("too many rows, or unknown ones")
            client.view_ids = np.array(request.ids, dtype=np.int64)
            client.view_tick = client.sparkline_tick = 0
        elif request.id is None:
            self._select_chart(client, None)
        else:
            if not 0 <= request.id < ready_count or len(request.interval) > MAX_INTERVAL_CHARS:
                raise ValueError("no such chart")
            self._select_chart(client, (request.id, request.interval))
        client.wakeup.set()

    def _select_chart(self, client: Client, chart: ChartKey | None) -> None:
        market = client.market
        if market is None:
            return
        if client.chart is not None:
            market.unwatch(client.chart)
        client.chart, client.forming = chart, []
        if chart is not None:
            market.watch(chart)
            client.chart_tick = market.latest.tick

    async def _send(self, socket: WebSocket, client: Client) -> None:
        while True:
            await client.wakeup.wait()
            client.wakeup.clear()
            started_s = clock.monotonic_s()
            if not socket.scope["is_session_open"]():
                await socket.close(CLOSE_LOGIN_REQUIRED, "log in")
                return
            for frame in self._new_frames(client):
                sending = socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_text(frame)
                try:
                    await asyncio.wait_for(sending, SEND_TIMEOUT_S)
                except TimeoutError:
                    self.stats.dropped_clients += 1
                    await _close_slow(socket)
                    return
                except (WebSocketDisconnect, RuntimeError, OSError):
                    return
                self.stats.frames_sent += 1
                self.stats.bytes_sent += len(frame)
            # a whole frame would let a page fall behind the batches, which come as often
            rest_s = FRAME_S / 2 - (clock.monotonic_s() - started_s)
            if rest_s > 0:
                await asyncio.sleep(rest_s)

    def _new_frames(self, client: Client) -> list[Frame]:
        """Return what is new for a page."""
        frames: list[Frame] = []
        reader, now_ms = self._reader, clock.now_ns() / 1e6
        market = reader.market
        if client.market is not market:
            self._select_chart(client, None)
            fresh = Client(wakeup=client.wakeup, market=market)
            for name in Client.__slots__:
                setattr(client, name, getattr(fresh, name))
        second = int(now_ms // 1000)
        with market.lock:
            full = second != client.last_second
            if full:
                self._add_hello(client, frames)
            self._add_rows(client, frames, now_ms, full=full)
            self._add_chart(client, frames)
            self._add_alerts(client, frames)
        client.last_second = second
        self._add_state(client, frames)
        return frames

    def _add_hello(self, client: Client, frames: list[Frame]) -> None:
        market = self._reader.market
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
        if hello != client.hello:
            client.hello = hello
            frames.append(_encode_text(hello_fields | {"now_ms": clock.now_ns() / 1e6}))
        names, ready = market.instruments, market.ready_count
        if client.instruments_sent < ready:
            since = client.instruments_sent
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
            client.instruments_sent = ready
            # what they have changed before they could be shown is behind `all_tick`
            fresh = np.arange(since, ready)
            frames.append(encode_rows(market.latest, fresh, clock.now_ns() / 1e6))

    def _add_rows(self, client: Client, frames: list[Frame], now_ms: float, *, full: bool) -> None:
        latest = self._reader.market.latest
        sent_count = client.instruments_sent
        if full and latest.tick > client.rows_tick:
            frame = self._shared_rows(client.rows_tick, sent_count, now_ms)
            if frame:
                frames.append(frame)
            client.rows_tick = client.view_tick = latest.tick
        view = client.view_ids[client.view_ids < sent_count]
        for tick, changed, pack in (
            (client.view_tick, latest.changed_tick, encode_rows),
            (client.sparkline_tick, latest.sparkline_tick, encode_sparklines),
        ):
            ids = changed_since(changed, view, tick)
            if len(ids):
                frames.append(pack(latest, ids, now_ms))
        client.view_tick = client.sparkline_tick = latest.tick

    def _shared_rows(self, since: int, sent_count: int, now_ms: float) -> bytes:
        """Return all rows that changed since a tick; pages that have seen the same share the bytes."""
        latest = self._reader.market.latest
        key = (self._reader.epoch, sent_count, since, latest.tick)
        if key not in self._shared_frames:
            ids = changed_since(latest.changed_tick[:sent_count], None, since)
            self._shared_frames[key] = encode_rows(latest, ids, now_ms) if len(ids) else b""
            while len(self._shared_frames) > 4:
                self._shared_frames.popitem(last=False)
        return self._shared_frames[key]

    def _add_chart(self, client: Client, frames: list[Frame]) -> None:
        market = self._reader.market
        if client.chart is None:
            return
        frames += map(_encode_text, market.events(client.chart, client.chart_tick))
        client.chart_tick = market.latest.tick
        forming = market.forming_bars(client.chart)
        number, interval = client.chart
        for bar in forming:
            if bar not in client.forming:
                frames.append(
                    _encode_text({"t": "bar", "id": number, "interval": interval, "bar": bar, "final": False})
                )
        client.forming = forming

    def _add_alerts(self, client: Client, frames: list[Frame]) -> None:
        alerts = self._reader.market.alerts
        first = client.alerts_sent == 0
        if alerts.count == client.alerts_sent and not (first and client.last_second == 0):
            return
        new_alerts = alerts.since(client.alerts_sent, INITIAL_ALERTS if first else _MAX_ALERTS_PER_FRAME)
        documents = b",".join(each.to_json() for each in new_alerts)
        reset = b"true" if first else b"false"
        frames.append((b'{"t":"alerts","reset":' + reset + b',"alerts":[' + documents + b"]}").decode())
        client.alerts_sent = alerts.count

    def _add_state(self, client: Client, frames: list[Frame]) -> None:
        if self.pipeline_json is not client.pipeline_json:
            client.pipeline_json = self.pipeline_json
            frames.append(self.pipeline_json.decode())
        status = self._reader.status
        fields = {
            "t": "status",
            "loading": status.loading,
            "kafka": "lost" if status.kafka == "ok" and not self.is_kafka_up else status.kafka,
            "message": status.message,
        }
        encoded = msgspec.json.encode(fields)
        now_s = clock.monotonic_s()
        if encoded != client.status or now_s - client.status_s >= _STATUS_INTERVAL_S:
            client.status, client.status_s = encoded, now_s
            frames.append(_encode_text(fields | {"last_record_ms": status.last_record_ms}))


MAX_INTERVAL_CHARS: Final = 8


async def _close_slow(socket: WebSocket) -> None:
    """Close the connection of a page that takes nothing; it gets to know it if it ever reads again."""
    with suppress(TimeoutError, RuntimeError, OSError):
        await asyncio.wait_for(socket.close(CLOSE_TRY_AGAIN_LATER, "too slow"), 1.0)


def _encode_text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
