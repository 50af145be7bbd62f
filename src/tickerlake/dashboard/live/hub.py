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
from tickerlake.dashboard.live.frames import changed_since, pack_rows, pack_sparklines
from tickerlake.dashboard.market.market import Chart, Market
from tickerlake.dashboard.reading.feed import Feed
from tickerlake.version import VERSION

FRAME_S: Final = 0.1
SEND_S: Final = 10.0
MOST_VIEW: Final = 300
MESSAGES_S: Final = 20
FIRST_ALERTS: Final = 200
TOO_MANY: Final = 1013
BROKEN_RULES: Final = 1008
LOGIN_ENDED: Final = 4401
_MOST_ALERTS: Final = 100
_NO_IDS: Final[Ints] = np.empty(0, dtype=np.int64)
_STATUS_S: Final = 2.0

Frame = bytes | str


class View(msgspec.Struct, tag_field="t", tag="view", forbid_unknown_fields=True):
    """The rows that a page has on its screen."""

    ids: list[int]


class Selected(msgspec.Struct, tag_field="t", tag="chart", forbid_unknown_fields=True):
    """The chart that a page shows; without an id none."""

    id: int | None = None
    interval: str = ""


_REQUEST: Final = msgspec.json.Decoder(View | Selected)


@dataclass(slots=True)
class Figures:
    """What has been sent, and to how many."""

    clients: int = 0
    dropped: int = 0
    refused: int = 0
    frames: int = 0
    bytes: int = 0


@dataclass(slots=True, eq=False)
class Page:
    """What one page has got already, and what it looks at."""

    wakeup: asyncio.Event = field(default_factory=asyncio.Event)
    market: Market | None = None
    hello: bytes = b""
    instruments: int = 0
    view: Ints = field(default_factory=lambda: _NO_IDS)
    view_tick: int = 0
    spark_tick: int = 0
    all_tick: int = 0
    second: int = 0
    chart: Chart | None = None
    chart_tick: int = 0
    forming: list[list[float]] = field(default_factory=list)
    alerts: int = 0
    pipeline: bytes = b""
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

    def __init__(self, feed: Feed, most: int = 200, *, login: bool = False) -> None:
        self.figures = Figures()
        self.pipeline = b""
        self.kafka_answers = True
        self._feed = feed
        self._most = most
        self._login = login
        self._pages: set[Page] = set()
        self._shared: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()

    def wake(self) -> None:
        """Say that there may be something new; to be called in the event loop."""
        for page in self._pages:
            page.wakeup.set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve a page until it leaves."""
        await socket.accept()
        if len(self._pages) >= self._most:
            self.figures.refused += 1
            await socket.close(TOO_MANY, "too many pages")
            return
        page = Page()
        page.wakeup.set()
        self._pages.add(page)
        self.figures.clients = len(self._pages)
        sending = asyncio.create_task(self._send(socket, page))
        receiving = asyncio.create_task(self._receive(socket, page))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pages.discard(page)
            self.figures.clients = len(self._pages)
            self._watch(page, None)
            for task in (sending, receiving):
                task.cancel()
            ended = await asyncio.gather(sending, receiving, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def _receive(self, socket: WebSocket, page: Page) -> None:
        allowance, at_s = float(MESSAGES_S), clock.monotonic_s()
        try:
            while True:
                text = await socket.receive_text()
                now_s = clock.monotonic_s()
                allowance = min(MESSAGES_S, allowance + (now_s - at_s) * MESSAGES_S) - 1
                at_s = now_s
                request = _REQUEST.decode(text)
                if allowance < 0:
                    raise ValueError("too many messages")
                self._ask(page, request)
        except WebSocketDisconnect:
            return
        except (ValueError, KeyError, RecursionError):
            # KeyError: a binary message
            await socket.close(BROKEN_RULES, "not understood")

    def _ask(self, page: Page, request: View | Selected) -> None:
        market = page.market
        if market is None:
            return
        known = market.ready
        if isinstance(request, View):
            if len(request.ids) > MOST_VIEW or any(not 0 <= each < known for each in request.ids):
                raise ValueError("too many rows, or unknown ones")
            page.view = np.array(request.ids, dtype=np.int64)
            page.view_tick = page.spark_tick = 0
        elif request.id is None:
            self._watch(page, None)
        else:
            if not 0 <= request.id < known or len(request.interval) > MOST_INTERVAL:
                raise ValueError("no such chart")
            self._watch(page, (request.id, request.interval))
        page.wakeup.set()

    def _watch(self, page: Page, chart: Chart | None) -> None:
        market = page.market
        if market is None:
            return
        if page.chart is not None:
            market.unwatch(page.chart)
        page.chart, page.forming = chart, []
        if chart is not None:
            market.watch(chart)
            page.chart_tick = market.latest.tick

    async def _send(self, socket: WebSocket, page: Page) -> None:
        while True:
            await page.wakeup.wait()
            page.wakeup.clear()
            began_s = clock.monotonic_s()
            if not socket.scope["login_open"]():
                await socket.close(LOGIN_ENDED, "log in")
                return
            for frame in self._frames(page):
                sending = socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_text(frame)
                try:
                    await asyncio.wait_for(sending, SEND_S)
                except TimeoutError:
                    self.figures.dropped += 1
                    await _drop(socket)
                    return
                except (WebSocketDisconnect, RuntimeError, OSError):
                    return
                self.figures.frames += 1
                self.figures.bytes += len(frame)
            # a whole frame would let a page fall behind the batches, which come as often
            rest_s = FRAME_S / 2 - (clock.monotonic_s() - began_s)
            if rest_s > 0:
                await asyncio.sleep(rest_s)

    def _frames(self, page: Page) -> list[Frame]:
        """Return what is new for a page."""
        frames: list[Frame] = []
        feed, now_ms = self._feed, clock.now_ns() / 1e6
        market = feed.market
        if page.market is not market:
            self._watch(page, None)
            fresh = Page(wakeup=page.wakeup, market=market)
            for name in Page.__slots__:
                setattr(page, name, getattr(fresh, name))
        second = int(now_ms // 1000)
        with market.lock:
            whole = second != page.second
            if whole:
                self._greet(page, frames)
            self._rows(page, frames, now_ms, whole=whole)
            self._chart(page, frames)
            self._alerts(page, frames)
        page.second = second
        self._state(page, frames)
        return frames

    def _greet(self, page: Page, frames: list[Frame]) -> None:
        market = self._feed.market
        about = {
            "t": "hello",
            "epoch": self._feed.epoch,
            "version": VERSION,
            "prefixes": self._feed.prefixes,
            "intervals": market.intervals(),
            "indicators": market.indicators(),
            "trades": market.has_trades,
            "login": self._login,
        }
        hello = msgspec.json.encode(about)
        if hello != page.hello:
            page.hello = hello
            frames.append(_text(about | {"now_ms": clock.now_ns() / 1e6}))
        names, ready = market.names, market.ready
        if page.instruments < ready:
            since = page.instruments
            frames.append(
                _text(
                    {
                        "t": "instruments",
                        "from": since,
                        "instrument": names.instruments[since:ready],
                        "symbol": names.symbols[since:ready],
                        "zone": [market.zone(each) for each in names.markets[since:ready]],
                    }
                )
            )
            page.instruments = ready
            # what they have changed before they could be shown is behind `all_tick`
            fresh = np.arange(since, ready)
            frames.append(pack_rows(market.latest, fresh, clock.now_ns() / 1e6))

    def _rows(self, page: Page, frames: list[Frame], now_ms: float, *, whole: bool) -> None:
        latest = self._feed.market.latest
        known = page.instruments
        if whole and latest.tick > page.all_tick:
            frame = self._shared_rows(page.all_tick, known, now_ms)
            if frame:
                frames.append(frame)
            page.all_tick = page.view_tick = latest.tick
        view = page.view[page.view < known]
        for tick, changed, pack in (
            (page.view_tick, latest.changed, pack_rows),
            (page.spark_tick, latest.moved, pack_sparklines),
        ):
            ids = changed_since(changed, view, tick)
            if len(ids):
                frames.append(pack(latest, ids, now_ms))
        page.view_tick = page.spark_tick = latest.tick

    def _shared_rows(self, since: int, known: int, now_ms: float) -> bytes:
        """Return all rows that changed since a tick; pages that have seen the same share the bytes."""
        latest = self._feed.market.latest
        key = (self._feed.epoch, known, since, latest.tick)
        if key not in self._shared:
            ids = changed_since(latest.changed[:known], None, since)
            self._shared[key] = pack_rows(latest, ids, now_ms) if len(ids) else b""
            while len(self._shared) > 4:
                self._shared.popitem(last=False)
        return self._shared[key]

    def _chart(self, page: Page, frames: list[Frame]) -> None:
        market = self._feed.market
        if page.chart is None:
            return
        frames += map(_text, market.events(page.chart, page.chart_tick))
        page.chart_tick = market.latest.tick
        forming = market.forming(page.chart)
        number, interval = page.chart
        for bar in forming:
            if bar not in page.forming:
                frames.append(
                    _text({"t": "bar", "id": number, "interval": interval, "bar": bar, "final": False})
                )
        page.forming = forming

    def _alerts(self, page: Page, frames: list[Frame]) -> None:
        alerts = self._feed.market.alerts
        first = page.alerts == 0
        if alerts.count == page.alerts and not (first and page.second == 0):
            return
        told = alerts.since(page.alerts, FIRST_ALERTS if first else _MOST_ALERTS)
        documents = b",".join(each.to_json() for each in told)
        reset = b"true" if first else b"false"
        frames.append((b'{"t":"alerts","reset":' + reset + b',"alerts":[' + documents + b"]}").decode())
        page.alerts = alerts.count

    def _state(self, page: Page, frames: list[Frame]) -> None:
        if self.pipeline is not page.pipeline:
            page.pipeline = self.pipeline
            frames.append(self.pipeline.decode())
        status = self._feed.status
        about = {
            "t": "status",
            "loading": status.loading,
            "kafka": "lost" if status.kafka == "ok" and not self.kafka_answers else status.kafka,
            "message": status.message,
        }
        said = msgspec.json.encode(about)
        now_s = clock.monotonic_s()
        if said != page.status or now_s - page.status_s >= _STATUS_S:
            page.status, page.status_s = said, now_s
            frames.append(_text(about | {"last_record_ms": status.last_record_ms}))


MOST_INTERVAL: Final = 8


async def _drop(socket: WebSocket) -> None:
    """Close the connection of a page that takes nothing; it gets to know it if it ever reads again."""
    with suppress(TimeoutError, RuntimeError, OSError):
        await asyncio.wait_for(socket.close(TOO_MANY, "too slow"), 1.0)


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
