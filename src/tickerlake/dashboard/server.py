"""The dashboard server: reader, health monitor and hub behind access control, in a thread."""

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

from tickerlake.analytics.calendars import ROUND_THE_CLOCK, MarketSessions
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.listener import Listener, PortInUse
from tickerlake.dashboard.access.login import login_routes
from tickerlake.dashboard.access.middleware import AccessMiddleware
from tickerlake.dashboard.access.password import MIN_PASSWORD_LENGTH, Password
from tickerlake.dashboard.access.policy import Policy, check_binding
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.dashboard.app import Backend, create_app
from tickerlake.dashboard.health.monitor import HealthMonitor
from tickerlake.dashboard.hub import Hub
from tickerlake.dashboard.market.state import MAX_BARS, MAX_INDICATORS, MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.errors import SetupError, UsageError
from tickerlake.lake.store.base import ReadableStore
from tickerlake.session_changes import SessionChanges

DEFAULT_PORT: Final = 8787
_LOCAL_HOSTS: Final = {"127.0.0.1", "localhost", "::1"}
SEND_BUFFER_BYTES: Final = 1 << 18
"""What the kernel buffers for a client that does not read; by default it grows to megabytes."""
_GC_THRESHOLDS: Final = (100_000, 50, 100)
"""Every message is an object that the collector traverses: with the default thresholds it used a quarter of
the server's CPU time."""
_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 20.0
"""Above the 15 s in which the application joins its threads, and uvicorn's 3 s of graceful shutdown."""


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """What the dashboard shows and how it is served.

    Parameters
    ----------
    host, port
        Address to bind. Port 0 is any free port. None is 8787; if that is in use, and the page is only for
        this machine, any free port.
    prefixes
        Prefixes of the topics to show; empty for all known prefixes.
    calendar
        Calendar of instruments whose market is unknown: a code such as ``XNYS``, or ``24/7``.
    calendar_changes
        What differs from the calendars, by the code of a market or calendar.
    tls_cert, tls_key
        PEM files of the certificate, with its chain, and of its key.
    behind_proxy
        Addresses and networks of the reverse proxies that terminate TLS.
    allow_hosts
        Additional host names that browsers may send requests to.
    password, token
        The password of people and the bearer token of programs; empty for none.
    max_bars, max_indicators
        Rows of history in memory: about 60 and 120 bytes each.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    prefixes: Sequence[str] = ()
    calendar: str = ROUND_THE_CLOCK
    calendar_changes: Mapping[str, SessionChanges] = field(default_factory=dict)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    max_bars: int = MAX_BARS
    max_indicators: int = MAX_INDICATORS


class Dashboard:
    """Serves the dashboard in a separate thread, from `start` to `stop`.

    Parameters
    ----------
    bootstrap_servers, properties
        How to connect to the cluster.
    store
        The lake; None to read only Kafka.

    Raises
    ------
    UsageError
        If the options are unsafe or cannot be served: remote hosts without a password, a port in use.
    SetupError
        If the page has not been built.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        properties: Mapping[str, str],
        store: ReadableStore | None,
        options: DashboardOptions | None = None,
    ) -> None:
        options = options or DashboardOptions()
        tls = options.tls_cert is not None
        if bool(options.tls_cert) != bool(options.tls_key):
            raise UsageError("TLS requires both a certificate and its key.", "Set --tls-cert and --tls-key.")
        proxies = TrustedProxies(options.behind_proxy)
        check_binding(options.host, password=bool(options.password), tls=tls, behind_proxy=bool(proxies))
        if options.token and not options.password:
            raise UsageError(
                "A token has no effect without a password: no login is required.",
                "Also set TICKERLAKE_SERVE__PASSWORD, or unset TICKERLAKE_SERVE__TOKEN.",
            )
        sessions = MarketSessions(options.calendar, options.calendar_changes)
        self._sessions = sessions
        self.reader = DashboardReader(
            bootstrap_servers,
            properties,
            store,
            options.prefixes,
            lambda: MarketState(sessions, options.max_bars, options.max_indicators),
        )
        hub = Hub(self.reader, login=bool(options.password))
        self._backend = Backend(self.reader, HealthMonitor(bootstrap_servers, properties, store), hub, store)
        self._listener = Listener(proxies=proxies)
        self._socket = _bind(self._listener, options)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.port = int(self._socket.getsockname()[1])
        try:
            self._server = uvicorn.Server(self._uvicorn_config(options, proxies))
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="dashboard-server")
        scheme = "https" if tls else "http"
        name = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"{scheme}://{name}:{self.port}/"

    def _uvicorn_config(self, options: DashboardOptions, proxies: TrustedProxies) -> uvicorn.Config:
        policy = Policy(options.host, self.port, bool(options.tls_cert), proxies, options.allow_hosts)
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
            for path in filter(None, (options.tls_cert, options.tls_key)):
                if not Path(path).is_file():
                    raise FileNotFoundError(f"{path} is not a file")  # a pipe may never end
            config.load()
        except (ssl.SSLError, OSError) as error:
            raise UsageError(
                f"Cannot load the certificate {options.tls_cert} and its key: {error}.",
                "Use PEM files: the certificate with its chain, and the unencrypted key.",
            ) from error
        return config

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        await self._listener.close()

    def start(self) -> Self:
        """Start the thread; return when the server accepts connections."""
        gc.set_threshold(*_GC_THRESHOLDS)
        self._thread.start()
        ready = threading.Event()
        for _ in range(int(_START_TIMEOUT_S / 0.02)):
            if self._server.started or not self._thread.is_alive():
                break
            ready.wait(0.02)
        if not self._server.started:
            raise SetupError("The dashboard server did not start.", "See the messages above.")
        return self

    @property
    def unavailable(self) -> str:
        """Why Kafka or the lake cannot be read, in a sentence; empty if they can."""
        return self._backend.unavailable

    def take_notes(self) -> list[str]:
        """Return what the user should know of markets that are new since the last call."""
        return self._sessions.take_notes()

    def check(self) -> None:
        """Raise an error if the server no longer runs.

        Raises
        ------
        SetupError
            It ended without `stop`.
        """
        if not self._thread.is_alive():
            raise SetupError("The dashboard server has stopped.", "See the messages above; run it again.")

    def stop(self) -> None:
        """Close all connections, and wait until the server has stopped."""
        self._server.should_exit = True
        self._thread.join(_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _bind(listener: Listener, options: DashboardOptions) -> socket.socket:
    try:
        return listener.bind(options.host, DEFAULT_PORT if options.port is None else options.port)
    except PortInUse:
        is_local = options.host in _LOCAL_HOSTS and not options.behind_proxy
        if options.port is not None or not is_local:
            raise
        return listener.bind(options.host, 0)
