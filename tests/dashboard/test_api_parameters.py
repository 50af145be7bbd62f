"""Parameters of the HTTP API: whatever they are, the answer is a result or names the parameter."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote_from_bytes

import httpx
import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from dashboard.test_market_state import DAY, START, bar, bars, create_market
from tickerlake.dashboard.api import Api
from tickerlake.dashboard.reading.reader import DashboardReader
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.rejects import store_rejects
from tickerlake.lake.store import open_store

CHART = "instrument=AAPL&interval=1d"
NUMBERS = {
    "bars?{}&" + CHART: ("limit", "end"),
    "bars?{}&instrument=NONE": ("limit", "end"),
    "indicators?{}&" + CHART: ("limit", "end"),
    "alerts?{}": ("limit", "end"),
    "rejects?topic=s.bars&{}": ("limit",),
}
MALFORMED = (
    *("--5", "-", "--", "-0x1", "5-", "+5", "", " ", " 5", "5 ", "5.0", "1e3", "0x10", "1_000", "1,000"),
    *("nan", "inf", "true", "null", "٣", "５", "²", "1\0", "9" * 19, "-" + "9" * 19, "9" * 20, "9" * 4000),
)
VALUES = (
    *(b"", b"0", b"1", b"-1", b"5", b"1000", b"5001", b"9000000000000", b"-9000000000000", b"--5", b"1e9"),
    *(
        b"AAPL",
        b"AAPL.XXXX",
        b"1d",
        b"1m",
        b"s.bars",
        b"high",
        b"info",
        b"..",
        b"../x",
        b"a/b",
        b"\0",
        b"\xff",
    ),
    *(
        b"\xed\xa0\x80",
        "ß²٣\u2028".encode(),
        b"9" * 19,
        b"9" * 400,
        b"%",
        b"%2",
        b"%zz",
        b"'",
        b'"',
        b"&",
        b"=",
    ),
)


class StubReader:
    """What the API uses of the reader, without Kafka: one instrument with three daily bars."""

    def __init__(self) -> None:
        self.market = create_market()
        self.lake_history: dict[str, Any] = {}
        days = [bar("AAPL", "1d", START - number * DAY, [1.0, 2.0, 0.5, 1.5, 10.0]) for number in (3, 2, 1)]
        self.market.add_bars(bars(*days))
        self.market.prepare()


@pytest.fixture
def api(tmp_path: Path) -> Starlette:
    store = open_store(str(tmp_path))
    value = base64.b64encode(b"no json").decode()
    store_rejects(store, "s.bars", 0, (7, 8), [RejectedRecord(7, 1, "not JSON: x", None, value)])
    routes = Api(cast(DashboardReader, StubReader()), store, lambda: b"{}").routes()
    return Starlette(routes=[Mount("/api/v1", routes=routes)])


Get = Callable[[bytes], Awaitable[httpx.Response]]


def with_client(app: Starlette, scenario: Callable[[Get], Awaitable[None]]) -> None:
    async def run() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        base = httpx.URL("http://localhost")
        async with httpx.AsyncClient(transport=transport) as client:
            await scenario(lambda path: client.get(base.copy_with(raw_path=b"/api/v1/" + path)))

    asyncio.run(run())


def test_malformed_numbers_are_named(api: Starlette) -> None:
    async def scenario(get: Get) -> None:
        for template, names in NUMBERS.items():
            for name in names:
                for text in MALFORMED:
                    value = f"{name}={quote_from_bytes(text.encode())}"
                    response = await get(template.format(value).encode())
                    assert response.status_code == 400, (template, name, text, response.text)
                    assert response.json()["error"].startswith(f"{name}={text[:32]}"), (text, response.text)
                    assert response.json()["hint"].startswith("Use an integer from ")
        for name, template in (("partition", "rejects/s.bars/{}/7"), ("offset", "rejects/s.bars/0/{}")):
            for text in (*MALFORMED, "-1"):
                if text:
                    response = await get(template.format(quote_from_bytes(text.encode())).encode())
                    assert response.status_code == 400, (name, text, response.text)
                    assert response.json()["error"].startswith(f"{name}={text[:32]}"), (text, response.text)

    with_client(api, scenario)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"bars?{CHART}&limit=2", 2),
        (f"bars?{CHART}&limit=0000000000000000002", 2),
        (f"bars?{CHART}&end=-9000000000000", 0),
        (f"bars?{CHART}&end={(START - 2 * DAY) // 10**6 + 1}", 2),
        (f"bars?{CHART}&end=9000000000000", 3),
    ],
)
def test_valid_numbers_are_understood(api: Starlette, path: str, count: int) -> None:
    async def scenario(get: Get) -> None:
        response = await get(path.encode())
        assert (response.status_code, len(response.json()["time"])) == (200, count)
        assert (await get(b"rejects/s.bars/0/7")).json()["value"] == "no json"

    with_client(api, scenario)


@pytest.mark.parametrize("requests", [1_500, pytest.param(30_000, marks=pytest.mark.full)])
def test_no_parameter_breaks_the_api(api: Starlette, requests: int) -> None:
    seed = 20_240_102
    source = random.Random(seed)
    names = (b"instrument", b"interval", b"limit", b"end", b"severity", b"topic", b"x", b"")
    paths = (b"instruments", b"bars", b"indicators", b"alerts", b"rejects", b"pipeline", b"openapi.json")

    def value() -> bytes:
        if source.random() < 0.3:
            return source.randbytes(source.randrange(12))
        return b"".join(source.choice(VALUES) for _ in range(source.choice((1, 1, 1, 2))))

    def request() -> bytes:
        if source.random() < 0.15:
            parts = (source.choice((b"s.bars", value())), source.choice((b"0", value())), value())
            return b"rejects/" + b"/".join(quote_from_bytes(part, safe="").encode() for part in parts)
        query = {b"instrument": b"AAPL", b"interval": b"1d", b"topic": b"s.bars"}
        items = [*query.items(), *((source.choice(names), value()) for _ in range(source.randrange(4)))]
        source.shuffle(items)
        pairs = (
            quote_from_bytes(name).encode() + b"=" + quote_from_bytes(text).encode() for name, text in items
        )
        return source.choice(paths) + b"?" + source.choice((b"&", b"&", b";", b"&&")).join(pairs)

    async def scenario(get: Get) -> None:
        statuses: Counter[int] = Counter()
        for number in range(requests):
            path = request()
            response = await get(path)
            statuses[response.status_code] += 1
            if response.status_code == 307:  # without the slash at its end
                assert response.headers["location"].startswith("http://localhost/"), (seed, number, path)
            else:
                assert response.status_code in {200, 400, 404}, (seed, number, path, response.text)
        assert min(statuses[status] for status in (200, 400, 404)) > requests / 20, statuses

    with_client(api, scenario)


def test_all_columns_of_the_stub_are_served(api: Starlette) -> None:
    async def scenario(get: Get) -> None:
        response = (await get(f"bars?{CHART}".encode())).json()
        frame = pl.DataFrame({name: response[name] for name in ("open", "high", "low", "close", "volume")})
        assert frame.rows() == [(1.0, 2.0, 0.5, 1.5, 10.0)] * 3

    with_client(api, scenario)
