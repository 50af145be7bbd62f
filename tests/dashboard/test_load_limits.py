"""What the API reads and holds at once: turns, unsent bytes, size of a response."""

import asyncio
import threading
from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashboard.access_support import run_async, serve_app
from tickerlake.dashboard import load_limits
from tickerlake.dashboard.access.listener import Listener
from tickerlake.dashboard.load_limits import Busy, LoadLimits
from tickerlake.errors import UsageError

MEGABYTE = 1 << 20


def create_app(limits: LoadLimits, turns: int, handler: Callable[[Request], object]) -> Starlette:
    semaphore = asyncio.Semaphore(turns)

    async def endpoint(request: Request) -> Response:
        try:
            return await limits.respond(semaphore, handler, request)
        except (Busy, UsageError) as error:
            return PlainTextResponse(error.message, 503 if isinstance(error, Busy) else 400)

    return Starlette(routes=[Route("/", endpoint)])


def create_client(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def test_requests_wait_for_their_turn() -> None:
    running, most = 0, 0
    lock = threading.Lock()
    both_run = threading.Barrier(2)

    def handler(_: Request) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both_run.wait(10)
        with lock:
            running -= 1
        return 7

    async def scenario() -> None:
        limits = LoadLimits()
        async with create_client(create_app(limits, 2, handler)) as client:
            responses = await asyncio.gather(*(client.get("/") for _ in range(40)))
        assert {(each.status_code, each.text) for each in responses} == {(200, "7")}
        assert (most, limits.unsent_bytes) == (2, 0)

    run_async(scenario())


def test_a_request_that_waits_too_long_is_told_so() -> None:
    started, release = threading.Event(), threading.Event()

    def handler(_: Request) -> int:
        started.set()
        release.wait(10)
        return 7

    async def scenario() -> None:
        async with create_client(create_app(LoadLimits(max_wait_s=0), 1, handler)) as client:
            first = asyncio.create_task(client.get("/"))
            await asyncio.to_thread(started.wait, 10)
            second = await client.get("/")
            assert (second.status_code, second.text) == (503, "Too many requests are being answered.")
            release.set()
            assert (await first).status_code == 200
            assert (await client.get("/")).status_code == 200

    run_async(scenario())


def test_responses_that_clients_do_not_read_are_bounded() -> None:
    large = "x" * (8 * MEGABYTE)

    async def scenario() -> None:
        limits = LoadLimits(max_unsent_bytes=10 * MEGABYTE, max_wait_s=0)
        app = create_app(limits, 4, lambda _: large)
        async with serve_app(app, Listener()) as port, httpx.AsyncClient() as client:
            url = f"http://localhost:{port}/"
            _, stalled = await asyncio.open_connection("localhost", port, limit=1024)
            stalled.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            while not limits.unsent_bytes:
                await asyncio.sleep(0)
            assert (await client.get(url)).status_code == 503
            stalled.transport.abort()
            while limits.unsent_bytes:
                await asyncio.sleep(0)
            response = await client.get(url)
            assert (response.status_code, response.json()) == (200, large)

    run_async(scenario())


def test_a_failed_handler_returns_its_turn() -> None:
    def handler(_: Request) -> int:
        raise UsageError("no")

    async def scenario() -> None:
        limits = LoadLimits(max_wait_s=0)
        async with create_client(create_app(limits, 1, handler)) as client:
            assert [(await client.get("/")).text for _ in range(3)] == ["no"] * 3
        assert limits.unsent_bytes == 0

    run_async(scenario())


def test_a_response_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_limits, "MAX_RESPONSE_BYTES", 5)

    async def scenario() -> None:
        async with create_client(create_app(LoadLimits(), 1, lambda _: "four")) as client:
            response = await client.get("/")
            assert response.status_code == 400
            assert response.text == "The response would have 6 bytes, more than 5."

    run_async(scenario())
