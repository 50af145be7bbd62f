"""Local receivers of notifications, and clocks that tests control."""

import asyncio
import socket
import ssl
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from support.http_server import QuietHandler, ServerThread
from tickerlake.clock import Timing
from tickerlake.model.alert import Alert, alert_id
from tickerlake.notify.notification import Notification

EVENT_NS = 1_704_205_800_000_000_000
"""2024-01-02 14:30 UTC."""


def make_alert(symbol: str = "AAPL", **changes: Any) -> Alert:
    """Return an alert with default values for all fields but ``changes``."""
    fields: dict[str, Any] = {
        "rule_id": "fast-move",
        "rule_version": 1,
        "kind": "pct_change",
        "severity": "warning",
        "state": "fired",
        "instrument_id": f"{symbol}.XNAS",
        "symbol": symbol,
        "ts_event_ns": EVENT_NS,
        "ts_detected_ns": EVENT_NS + 1,
        "direction": "down",
        "unit": "pct",
        "suppressed_count": 0,
        "dedup_key": f"fast-move/{symbol}",
        "cause": "unknown",
        "message": f"{symbol} fell 3.1 % in a minute",
        "value": Decimal("-3.1"),
        **changes,
    }
    ids = alert_id(fields["rule_id"], fields["instrument_id"], "1m", fields["ts_event_ns"], fields["state"])
    return Alert(**{"alert_id": ids, **fields})


def make_notification(symbol: str = "AAPL", **changes: Any) -> Notification:
    """Return a notification of one alert."""
    return Notification((make_alert(symbol, **changes),))


class SkippingClock:
    """A clock that jumps to the end of each wait, and records the length of the waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []
        self.times = Timing(lambda: self.now_s, lambda delay_s: delay_s, self._wait)

    def _wait(self, condition: threading.Condition, until_s: float | None) -> None:
        if until_s is None:
            condition.wait()
            return
        self.waits.append(until_s - self.now_s)
        self.now_s = max(self.now_s, until_s)
        condition.wait(0)


class ManualClock:
    """A clock that moves only when a test advances it."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._lock = threading.Lock()
        self._conditions: set[threading.Condition] = set()
        self._arrived: SimpleQueue[float] = SimpleQueue()
        self.times = Timing(lambda: self._now_s, lambda delay_s: delay_s, self._wait)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds
            conditions = list(self._conditions)
        for condition in conditions:
            with condition:
                condition.notify_all()

    def next_deadline_s(self) -> float:
        """Block until a thread waits with a deadline, and return that deadline."""
        return self._arrived.get(timeout=30)

    def _wait(self, condition: threading.Condition, until_s: float | None) -> None:
        with self._lock:
            self._conditions.add(condition)
            if until_s is not None and self._now_s >= until_s:
                return
        if until_s is not None:
            self._arrived.put(until_s)
        condition.wait()


class Request(NamedTuple):
    """A request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """A receiver's reply; with status 0 it does not reply until it stops."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Receiver(ServerThread):
    """An HTTP server with scripted replies, and 204 after them."""

    def __init__(self, *replies: Reply, tls: ssl.SSLContext | None = None) -> None:
        self._replies = deque(replies)
        self.requests: SimpleQueue[Request] = SimpleQueue()
        super().__init__(type("Handler", (_Handler,), {"owner": self}), tls)
        self.url = f"{self.origin}/hook?room=1"

    def next_request(self) -> Request:
        """Block until the next request, and return it."""
        return self.requests.get(timeout=30)

    def next_reply(self) -> Reply:
        return self._replies.popleft() if self._replies else Reply(204)


class _Handler(QuietHandler):
    owner: Receiver

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.requests.put(Request(self.path, headers, body))
        reply = self.owner.next_reply()
        if reply.status == 0:
            self.owner.wait_for_stop()
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)


class TrickleServer:
    """Accepts one connection, and sends an endless line byte by byte."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            try:
                connection.sendall(self._prefix)
                while not self._stopped.wait(0.02):
                    connection.sendall(b"x")
            except OSError:
                return


class MailReceiver:
    """An SMTP server that collects mails.

    ``error_replies`` are replies to the next recipients or, with the prefix ``DATA:``, to the next mail.
    """

    def __init__(self, error_replies: Sequence[str] = (), **options: Any) -> None:
        self._error_replies = deque(error_replies)
        self.mails: SimpleQueue[Envelope] = SimpleQueue()
        self._controller = _Controller(self, hostname="127.0.0.1", **options)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    @property
    def port(self) -> int:
        return self._controller.port

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._error_replies and not self._error_replies[0].startswith("DATA:"):
            reply = self._error_replies.popleft()
            if reply:
                return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self._error_replies:
            return self._error_replies.popleft().removeprefix("DATA:")
        self.mails.put(envelope)
        return "250 OK"


class _Controller(Controller):
    def __init__(self, handler: object, **options: Any) -> None:
        super().__init__(handler, port=0, **options)

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]
