"""The dashboard as it is served, with a real broker and a real lake."""

import json
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.routing import Mount, Route

from dashboard.access_support import PASSWORD, check_default_deny
from dashboard.hub_client import connect_client
from support import oracle
from support.certificates import CertificateAuthority
from support.process import run, tickerlake, wait_until
from tickerlake.analytics.calendars import MarketSessions
from tickerlake.cli import serve
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.login import login_routes
from tickerlake.dashboard.access.middleware import AccessMiddleware
from tickerlake.dashboard.access.password import Password
from tickerlake.dashboard.access.policy import Policy
from tickerlake.dashboard.access.rate_limiter import RateLimiter
from tickerlake.dashboard.app import Backend, create_app
from tickerlake.dashboard.health.monitor import HealthMonitor
from tickerlake.dashboard.hub import Hub
from tickerlake.dashboard.market.state import MarketState
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.dashboard.server import Dashboard, DashboardOptions
from tickerlake.errors import UsageError
from tickerlake.lake.store import open_store


@contextmanager
def serve_dashboard(
    servers: str, lake: Path | None, **options: Any
) -> Iterator[tuple[Dashboard, httpx.Client]]:
    store = open_store(str(lake)) if lake else None
    with (
        Dashboard(servers, {}, store, DashboardOptions(port=0, **options)) as dashboard,
        httpx.Client(base_url=dashboard.url, timeout=30) as client,
    ):
        yield dashboard, client


def stored_bars(rows: list[dict[str, Any]], symbol: str, interval: str) -> list[tuple[float, ...]]:
    """Return the bars of a symbol in the lake, the highest revision of each."""
    newest: dict[int, dict[str, Any]] = {}
    for row in rows:
        if (row["symbol"], row["interval"]) == (symbol, interval):
            current = newest.get(row["ts_open_ns"])
            if current is None or row["revision"] > current["revision"]:
                newest[row["ts_open_ns"]] = row
    names = ("open", "high", "low", "close", "volume")
    return [(open_ns / 1e6, *(float(newest[open_ns][name]) for name in names)) for open_ns in sorted(newest)]


def get_json(client: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    response = client.get(f"/api/v1/{path}", params=parameters)
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def read_all_pages(client: httpx.Client, limit: int, **parameters: Any) -> list[tuple[float, ...]]:
    """Read all bars, from the newest backwards."""
    bars: list[tuple[float, ...]] = []
    while True:
        page = get_json(client, "bars", limit=limit, **parameters)
        names = ("time", "open", "high", "low", "close", "volume")
        rows = list(zip(*(page[name] for name in names), strict=True))
        bars = rows + bars
        if not page["more"]:
            return bars
        parameters["end"] = int(rows[0][0])


@pytest.fixture
def prefix() -> str:
    return f"v{secrets.token_hex(4)}"


def test_responses_match_the_lake(kafka: str, tmp_path: Path, prefix: str) -> None:
    trades = f"{prefix}.trades"
    run("simulate", "-t", trades, "-b", kafka, "--symbols", 3, "--trades", 9_000, "--days", 3)
    run("track", "-t", trades, "-b", kafka, "--until-end", "--calendar", "XNYS", cwd=tmp_path)
    for fmt in ("ndjson", "parquet"):
        _check_responses_equal_lake(kafka, tmp_path / fmt, prefix, fmt)


def _check_responses_equal_lake(kafka: str, lake: Path, prefix: str, fmt: str) -> None:
    topics = [each for name in ("bars", "indicators", "alerts") for each in ("-t", f"{prefix}.{name}")]
    sink_options = ("--format", fmt, "--flush-records", 400, "--group", f"{prefix}-{fmt}")
    run("sink", *topics, "--lake", lake, "-b", kafka, "--until-end", *sink_options)
    run("audit", "--lake", lake, "-b", kafka)
    stored = [row for (row,) in oracle.read_rows(lake, f"{prefix}.bars").values()]
    with serve_dashboard(kafka, lake, prefixes=[prefix], calendar="XNYS", max_bars=1_500) as (
        dashboard,
        client,
    ):
        wait_until(lambda: dashboard.reader.status.loading is None)
        symbols = sorted({row["symbol"] for row in stored})
        assert sorted(each["symbol"] for each in get_json(client, "instruments")["instruments"]) == symbols
        for symbol in symbols:
            for interval in ("1m", "1h", "1d"):
                closed = stored_bars(stored, symbol, interval)
                shown = read_all_pages(client, 250, instrument=symbol, interval=interval)
                assert shown[: len(closed)] == closed, (symbol, interval)
                assert all(row[0] > closed[-1][0] for row in shown[len(closed) :]), "forming bars come last"
        _check_indicators(client, oracle.read_rows(lake, f"{prefix}.indicators"), symbols[0])
        alerts = get_json(client, "alerts", limit=1000)["alerts"]
        stored_ids = {row["alert_id"] for (row,) in oracle.read_rows(lake, f"{prefix}.alerts").values()}
        assert {alert["alert_id"] for alert in alerts} == stored_ids
        _check_openapi(client, symbols[0])
        _check_pipeline(client, prefix)


def _check_indicators(client: httpx.Client, rows: dict[Any, list[dict[str, Any]]], symbol: str) -> None:
    response = get_json(client, "indicators", instrument=symbol, interval="1h", limit=5000)
    expected = {
        (time, name): value
        for name, column in response["values"].items()
        for time, value in zip(response["time"], column, strict=True)
        if value is not None
    }
    stored: dict[tuple[float, str], float] = {}
    for (row,) in rows.values():
        if (row["symbol"], row["interval"]) == (symbol, "1h"):
            values = json.loads(row["values"]) if isinstance(row["values"], str) else row["values"]
            stored |= {(row["ts_open_ns"] / 1e6, name): float(value) for name, value in values.items()}
    assert expected == stored


def _check_openapi(client: httpx.Client, symbol: str) -> None:
    document = get_json(client, "openapi.json")
    validate(document)
    chart = {"instrument": symbol, "interval": "1m", "limit": 5}
    for path, parameters in (("instruments", {}), ("bars", chart), ("indicators", chart), ("alerts", {})):
        schema = document["paths"][f"/{path}"]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        schema = schema | {"components": document["components"]}
        Draft202012Validator(schema).validate(get_json(client, path, **parameters))
    assert {route.path for route in api_routes()} == {*document["paths"], "/openapi.json"}


def api_routes() -> list[Route]:
    backend = create_backend("127.0.0.1:9")
    (mount,) = [
        each for each in create_app(backend).routes if isinstance(each, Mount) and each.path == "/api/v1"
    ]
    return [each for each in mount.routes if isinstance(each, Route)]


def _check_pipeline(client: httpx.Client, prefix: str) -> None:
    wait_until(lambda: bool(get_json(client, "pipeline").get("lake")))
    state = get_json(client, "pipeline")
    assert state["kafka"]["ok"]
    assert {f"{prefix}.bars", f"{prefix}.trades"} <= {topic["topic"] for topic in state["topics"]}
    (bars,) = [topic for topic in state["lake"]["topics"] if topic["topic"] == f"{prefix}.bars"]
    assert bars["behind"] == 0
    assert {audit["topic"] for audit in state["audits"]} >= {f"{prefix}.bars"}
    metrics = client.get("/metrics").text
    assert re.search(r"^tickerlake_dashboard_records_read_total [1-9]", metrics, re.MULTILINE)
    assert client.get("/healthz").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("bars?instrument=NONE&interval=1m", 404, "NONE"),
        ("bars?interval=1m", 404, ""),
        ("bars?instrument=AAPL&interval=7m", 404, "7m"),
        ("bars?instrument=AAPL&interval=1d&limit=0", 400, "limit=0"),
        ("bars?instrument=AAPL&interval=1d&limit=9e9", 400, "limit=9e9"),
        ("bars?instrument=AAPL&interval=1d&end=soon", 400, "end=soon"),
        ("alerts?severity=bad", 400, "severity=bad"),
        ("rejects?topic=../x", 400, "topic"),
        ("rejects/a/b/c", 400, ""),
        ("nothing", 404, ""),
    ],
)
def test_errors_explain_the_problem(aapl: httpx.Client, path: str, status: int, expected: str) -> None:
    response = aapl.get(f"/api/v1/{path}")
    assert response.status_code == status, response.text
    if status == 400 or expected:
        body = response.json()
        assert expected in body["error"]
        assert "Traceback" not in response.text
    assert "content-security-policy" in response.headers


@pytest.fixture(scope="module")
def aapl(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A dashboard with one daily bar."""
    folder = tmp_path_factory.mktemp("aapl")
    name = f"w{secrets.token_hex(4)}"
    (folder / "AAPL.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-01-02,10,12,9,11,1000\n")
    run("produce", folder / "AAPL.csv", "-t", f"{name}.bars", "-b", kafka)
    run("sink", "-t", f"{name}.bars", "--lake", folder / "lake", "-b", kafka, "--until-end")
    with serve_dashboard(kafka, folder / "lake", prefixes=[name]) as (dashboard, client):
        wait_until(lambda: dashboard.reader.status.loading is None)
        yield client


def create_backend(servers: str) -> Backend:
    reader = DashboardReader(servers, {}, None, ["x"], lambda: MarketState(MarketSessions("24/7")))
    return Backend(reader, HealthMonitor(servers, {}, None), Hub(reader), None)


def test_every_route_requires_a_login() -> None:
    policy = Policy("127.0.0.1", 8080)
    authenticator = Authenticator(Password(PASSWORD), policy)
    app = create_app(create_backend("127.0.0.1:9"), login_routes(authenticator))
    middleware = AccessMiddleware(app, policy, authenticator, RateLimiter(1e6, 10**6))
    assert check_default_deny(middleware, app.routes) > 10


def test_a_password_and_tls_allow_remote_hosts(kafka: str, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    authority.server_context("localhost")
    pem_file = tmp_path / "localhost.pem"
    store = open_store(f"memory://{secrets.token_hex(4)}")
    options = DashboardOptions(
        host="0.0.0.0",  # noqa: S104
        port=0,
        tls_cert=pem_file,
        tls_key=pem_file,
        password=PASSWORD,
        token="t" * 40,
    )
    with Dashboard(kafka, {}, store, options) as dashboard:
        url = f"https://localhost:{dashboard.port}"
        with httpx.Client(base_url=url, verify=authority.client_context()) as client:
            assert client.get("/api/v1/instruments").status_code == 401
            client.headers["Authorization"] = f"Bearer {'t' * 40}"
            assert client.get("/api/v1/instruments").status_code == 200
            assert client.get("/", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"host": "0.0.0.0"}, "no password"),  # noqa: S104
        ({"host": "0.0.0.0", "password": "p" * 12}, "unencrypted"),  # noqa: S104
        ({"token": "t" * 40}, "token"),
        ({"tls_cert": Path("a.pem")}, "key"),
        ({"tls_cert": Path("a.pem"), "tls_key": Path("b.pem")}, "a.pem"),
        ({"password": "short"}, "shorter"),
        ({"calendar": "MOON"}, "MOON"),
    ],
)
def test_unsafe_settings_do_not_start(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(expected)):
        Dashboard("127.0.0.1:9", {}, None, DashboardOptions(port=0, **options))


def test_a_port_in_use_is_reported() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} is in use by process {os.getpid()} \("):
            Dashboard("127.0.0.1:9", {}, None, DashboardOptions(port=port))


def test_the_default_port_is_replaced_if_only_this_machine_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        monkeypatch.setattr("tickerlake.dashboard.server.DEFAULT_PORT", port)
        with Dashboard("127.0.0.1:9", {}, None, DashboardOptions()) as dashboard:
            assert dashboard.port not in (0, port)
        with pytest.raises(UsageError, match=f"Port {port} is in use"):
            Dashboard("127.0.0.1:9", {}, None, DashboardOptions(behind_proxy=("127.0.0.1",)))


def test_the_command_prints_its_url_and_exits_promptly(kafka: str) -> None:
    with tickerlake("serve", "-b", kafka, "--port", 0) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert match, line
        with connect_client(f"ws://127.0.0.1:{match[1]}/live") as one:
            while not one.messages_of("status"):
                one.receive()
            child.send_signal(signal.SIGINT)
            assert child.wait(timeout=30) == 130


def test_an_absent_broker_is_reported_in_the_terminal() -> None:
    with tickerlake("serve", "-b", "127.0.0.1:9", "--port", 0) as child:
        assert child.stderr is not None
        lines = iter(child.stderr.readline, "")
        warning = next(line for line in lines if line.startswith("warning: "))
        assert re.fullmatch(
            r"warning: No Kafka broker answers at 127\.0\.0\.1:9 \(.*\)\. The dashboard keeps trying\.\n",
            warning,
        )
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130


def test_an_outage_is_reported_once_and_so_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Each character of the script is a check: whether Kafka is unavailable then."""
    script = "-xx-xxx--xx---x-" + "xxx" + "---" + "-"

    class Stop(threading.Event):
        checks = -1

        def wait(self, timeout: float | None = None) -> bool:
            self.checks += 1
            return self.checks == len(script)

    stop = Stop()

    class StubDashboard:
        def check(self) -> None:
            pass

        def take_notes(self) -> list[str]:
            return [] if stop.checks else ["no calendar is known for ZZZZ"]

        @property
        def unavailable(self) -> str:
            return f"Kafka is away {stop.checks}." if script[stop.checks] == "x" else ""

    serve._watch(cast(Dashboard, StubDashboard()), stop)
    assert capsys.readouterr().err.splitlines() == [
        "note: no calendar is known for ZZZZ",
        "warning: Kafka is away 6. The dashboard keeps trying.",
        "Kafka and lake answer again",
        "warning: Kafka is away 18. The dashboard keeps trying.",
        "Kafka and lake answer again",
    ]
