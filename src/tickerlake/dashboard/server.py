"""The dashboard as a whole: what it reads, what guards it, and the server around both."""

import asyncio
import gc
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp

from tickerlake.analytics.calendars import ROUND_THE_CLOCK, sessions_by_market
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.listener import Listener
from tickerlake.dashboard.access.login import login_routes
from tickerlake.dashboard.access.middleware import AccessMiddleware
from tickerlake.dashboard.access.password import MIN_PASSWORD_LENGTH, Password
from tickerlake.dashboard.access.policy import Policy, check_binding
from tickerlake.dashboard.app import Backend, create_app
from tickerlake.dashboard.health.monitor import HealthMonitor
from tickerlake.dashboard.live.hub import Hub
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.errors import SetupError, UsageError
from tickerlake.lake.store.base import Store

MAX_BARS: Final = 2_000_000
MAX_INDICATORS: Final = 1_000_000
SEND_BUFFER_BYTES: Final = 1 << 18
"""What the kernel keeps for a client that does not read; without a bound it is megabytes."""

_GC_THRESHOLDS: Final = (100_000, 50, 100)
_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """How the dashboard is served, and of what.

    Parameters
    ----------
    host, port
        What is bound; port 0 is any that is free.
    prefixes
        Of which topics; none for all that look like ours.
    calendar
        Of instruments whose market is not known: a code such as ``XNYS``, or ``24/7``.
    tls_cert, tls_key
        Files of a certificate, with its chain, and of its key.
    behind_proxy
        A proxy in front speaks TLS with the browsers.
    allow_hosts
        More names under which browsers may call it.
    password, token
        What people log in with, and what programs send; empty for none.
    most_bars, most_indicators
        Rows of history that are kept in memory: about 60 and 120 bytes each.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    prefixes: Sequence[str] = ()
    calendar: str = ROUND_THE_CLOCK
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    allow_hosts: tuple[str, ...] = ()
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    max_bars: int = MAX_BARS
    max_indicators: int = MAX_INDICATORS


class Dashboard:
    """Serves from a thread of its own, from `start` to `stop`.

    Parameters
    ----------
    bootstrap_servers, properties
        How to reach the cluster.
    store
        The lake; None: only what Kafka has.

    Raises
    ------
    UsageError
        If it can't be served so: an address that others reach without a password, a port that is taken.
    SetupError
        If the page has not been built.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        store: Store | None,
        options: DashboardOptions | None = None,
    ) -> None:
        options = options or DashboardOptions()
        tls = options.tls_cert is not None
        if bool(options.tls_cert) != bool(options.tls_key):
            raise UsageError("A certificate needs its key, and a key its certificate.", "Give both.")
        check_binding(
            options.host, password=bool(options.password), tls=tls, behind_proxy=options.behind_proxy
        )
        if options.token and not options.password:
            raise UsageError(
                "A token is of no use without a password: everything is open.",
                "Set TICKERLAKE_SERVE__PASSWORD, too, or no token.",
            )
        sessions = sessions_by_market(options.calendar)
        self.reader = DashboardReader(
            bootstrap_servers,
            properties,
            store,
            options.prefixes,
            lambda: MarketState(sessions, options.max_bars, options.max_indicators),
        )
        hub = Hub(self.reader, login=bool(options.password))
        self._backend = Backend(self.reader, HealthMonitor(bootstrap_servers, properties, store), hub, store)
        self._listener = Listener()
        self._socket = self._listener.bind(options.host, options.port)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.port = int(self._socket.getsockname()[1])
        try:
            self._server = uvicorn.Server(self._uvicorn_config(options))
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="serving")
        scheme = "https" if tls else "http"
        name = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"{scheme}://{name}:{self.port}/"

    def _uvicorn_config(self, options: DashboardOptions) -> uvicorn.Config:
        policy = Policy(
            options.host, self.port, bool(options.tls_cert), options.behind_proxy, options.allow_hosts
        )
        authenticator = None
        if options.password:
            authenticator = Authenticator(
                Password(options.password, min_length=MIN_PASSWORD_LENGTH), policy, options.token
            )
        app: ASGIApp = create_app(self._backend, login_routes(authenticator) if authenticator else [])
        config = uvicorn.Config(
            AccessMiddleware(app, policy, authenticator),
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
            **self._listener.uvicorn_options(),
        )
        try:
            config.load()
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                f"The certificate {options.tls_cert} and its key can't be used: {error}.",
                "Give files in PEM: the certificate with its chain, and the key without a password.",
            ) from error
        return config

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        await self._listener.close()

    def start(self) -> Self:
        """Serve; return when the page can be opened."""
        # a message is an object that the collector looks at: by default it took a quarter of the server's CPU
        gc.set_threshold(*_GC_THRESHOLDS)
        self._thread.start()
        ready = threading.Event()
        for _ in range(int(_START_TIMEOUT_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            ready.wait(0.02)
        if not self._server.started:
            raise SetupError("The server of the dashboard did not start.", "See the messages above.")
        return self

    def stop(self) -> None:
        """End all connections, and wait until everything has ended."""
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
