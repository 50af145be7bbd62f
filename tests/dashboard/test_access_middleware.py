"""The access middleware in front of an app, without sockets: default deny, limits and headers."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from dashboard.access_support import (
    HASH,
    NAVIGATION,
    ORIGIN,
    PASSWORD,
    TOKEN,
    Clock,
    check_default_deny,
    handshake,
    run_async,
    send_request,
)
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.login import login_routes
from tickerlake.dashboard.access.middleware import AccessMiddleware
from tickerlake.dashboard.access.password import Password
from tickerlake.dashboard.access.policy import CSP, SECURITY_HEADERS, Policy
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.dashboard.access.rate_limiter import RateLimiter
from tickerlake.errors import UsageError

LOCAL_POLICY = Policy("127.0.0.1", 8080)
APP_HEADERS = {"content-security-policy": "default-src *", "cache-control": "public"}
PROXIED_POLICY = Policy(
    "127.0.0.1", 8080, proxies=TrustedProxies(["203.0.113.7,2001:db8:1::/48", "10.0.0.0/8"])
)


async def page(request: Request) -> Response:
    return PlainTextResponse("page", headers=APP_HEADERS)


async def whoami(request: Request) -> Response:
    assert request.client is not None
    return JSONResponse({"client": request.client.host, "scheme": request.url.scheme})


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def crash(request: Request) -> Response:
    raise RuntimeError("crash")


async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("open" if socket.scope["is_session_open"]() else "ended")
    await socket.close()


def routes() -> list[BaseRoute]:
    return [
        Route("/", page),
        Route("/healthz", page),
        Route("/metrics", page),
        Route("/logout", echo, methods=["POST"]),
        Route("/api/v1/whoami", whoami),
        Route("/api/v1/rejects/{topic}/{partition:int}", page),
        Route("/crash", crash),
        Route("/everything", page, methods=["GET", "POST", "DELETE", "PUT"]),
        WebSocketRoute("/live", live),
        Mount("/static", PlainTextResponse("page", headers=APP_HEADERS)),
        Mount("/more", routes=[Route("/inner", page), WebSocketRoute("/live", live)]),
    ]


def create_middleware(
    policy: Policy = LOCAL_POLICY, *, needs_login: bool = False, rate_limiter: RateLimiter | None = None
) -> AccessMiddleware:
    if not needs_login:
        return AccessMiddleware(Starlette(routes=routes()), policy, None, rate_limiter)
    authenticator = Authenticator(Password(HASH), policy, TOKEN)
    return AccessMiddleware(
        Starlette(routes=[*login_routes(authenticator), *routes()]), policy, authenticator, rate_limiter
    )


def test_every_route_requires_a_login() -> None:
    unlimited = RateLimiter(1e6, 10**6)
    assert check_default_deny(create_middleware(needs_login=True, rate_limiter=unlimited), routes()) == 11


@pytest.mark.parametrize("route", [Route("/", page), WebSocketRoute("/live", live)])
def test_the_default_deny_check_detects_an_open_route(route: BaseRoute) -> None:
    with pytest.raises(AssertionError):
        check_default_deny(create_middleware(), [route])


@pytest.mark.parametrize("path", ["/login", "/healthz", "/static/login.css", "/static/favicon.svg"])
def test_login_assets_are_public(path: str) -> None:
    assert send_request(create_middleware(needs_login=True), path).status_code == 200


@pytest.mark.parametrize(
    "path",
    "//login /login/ /Login /login/.. /healthz/../ /login;x /login%2f.. /./login /static/ /static/app.js "
    "/static/../login.css /static/login.css/ /static/login.css%00 /healthz%0a".split(),
)
def test_paths_resembling_login_assets_are_not_public(path: str) -> None:
    served: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        served.append(scope["path"])

    middleware = AccessMiddleware(app, LOCAL_POLICY, Authenticator(Password(HASH), LOCAL_POLICY))
    run_async(middleware(http_scope(path), receive_nothing, discard_message))
    assert served == []


def http_scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost:8080")],
    }


async def receive_nothing() -> dict[str, object]:
    return {"type": "http.request"}


async def discard_message(message: object) -> None:
    pass


@pytest.mark.parametrize(
    ("target", "headers", "status", "location"),
    [
        ("/", NAVIGATION, 303, "/login"),
        ("/?symbol=A%20B&t=1", NAVIGATION, 303, "/login?next=/%3Fsymbol%3DA%2520B%26t%3D1"),
        ("/", {"accept": "text/html,*/*"}, 303, "/login"),
        ("/logout", NAVIGATION, 405, None),
        ("//evil.example/", NAVIGATION, 303, "/login"),
        ("/", {}, 401, None),
        ("/", {"accept": "application/json"}, 401, None),
        ("/", {"sec-fetch-mode": "cors", "accept": "text/html"}, 401, None),
        ("/api/v1/whoami", NAVIGATION, 401, None),
        ("/metrics", {"accept": "text/html"}, 401, None),
    ],
)
def test_browsers_are_redirected_to_login_and_programs_get_401(
    target: str, headers: dict[str, str], status: int, location: str | None
) -> None:
    if target == "/logout":
        headers = headers | {"origin": ORIGIN}
        response = send_request(create_middleware(needs_login=True), target, headers, method="POST")
        assert (response.status_code, response.headers["location"]) == (303, "/login")
        return
    response = send_request(create_middleware(needs_login=True), ORIGIN + target, headers)
    assert (response.status_code, response.headers.get("location")) == (status, location)
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert set(response.json()) == {"error", "hint"}


def test_a_cross_site_link_is_reloaded_from_our_origin() -> None:
    middleware = create_middleware(needs_login=True)
    link = NAVIGATION | {"sec-fetch-site": "cross-site"}
    response = send_request(middleware, "/?symbol=%22%3E%3Cscript%3E", link)
    assert response.status_code == 403
    assert 'content="0; url=/login?next=/%3Fsymbol%3D%2522%253E%253Cscript%253E"' in response.text
    assert "<script" not in response.text
    assert send_request(middleware, "/", link | {"authorization": f"Bearer {TOKEN}"}).text == "page"


CASES: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/", {}, 200),
    ("GET", "/static/app.js", {}, 200),
    ("GET", "/missing", {}, 404),
    ("GET", "/crash", {}, 500),
    ("DELETE", "/everything", {}, 405),
    ("POST", "/everything", {"origin": ORIGIN}, 405),
    ("GET", "/", {"host": "evil.example"}, 421),
    ("GET", "/api/v1/whoami", {"origin": "http://evil.example"}, 403),
    ("POST", "/logout", {}, 403),
    ("POST", "/logout", {"origin": ORIGIN}, 200),
    ("GET", "/" + "x" * 4096, {}, 414),
    ("GET", "/?" + "x" * 4096, {}, 414),
    ("GET", "/", {f"x-{number}": "1" for number in range(64)}, 431),
    ("GET", "/", {"x": "y" * 16_384}, 431),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), CASES, ids=range(len(CASES)))
def test_every_response_has_security_headers(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = send_request(create_middleware(), path, headers, method=method)
    assert response.status_code == status
    assert response.headers["content-security-policy"] == CSP
    for name, value in SECURITY_HEADERS.items():
        assert response.headers.get_list(name) == [value]
    assert response.headers["cache-control"] == ("public" if path == "/static/app.js" else "no-store")


def test_error_responses_have_security_headers() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("no")

    response = send_request(AccessMiddleware(app, LOCAL_POLICY, None), "/")
    assert response.status_code == 500
    assert response.headers["content-security-policy"] == CSP
    assert "no" not in response.json()["hint"]


@pytest.mark.parametrize(("size", "status"), [(0, 200), (4096, 200), (4097, 413), (1_000_000, 413)])
def test_large_forms_are_rejected(size: int, status: int) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for start in range(0, size, 1024):
            sent += 1024
            yield b"x" * min(1024, size - start)

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(create_middleware())
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as session:
            return await session.post("/logout", content=chunks(), headers={"origin": ORIGIN})

    response = run_async(post())
    assert response.status_code == status
    assert sent <= 5 * 1024
    if status == 200:
        assert len(response.content) == size


def test_requests_are_rate_limited_per_client() -> None:
    clock = Clock()
    middleware = create_middleware(rate_limiter=RateLimiter(1, 3, monotonic_s=clock))
    assert [send_request(middleware, "/").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert send_request(middleware, "/").headers["retry-after"] == "1"
    assert handshake(middleware)[0]["status"] == 429
    assert send_request(middleware, "/", client="203.0.113.8").status_code == 200
    clock.now_s += 1
    assert send_request(middleware, "/").status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "198.51.100.1"),
        ("203.0.113.7", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("203.0.113.7", ["1.1.1.1", "2.2.2.2,198.51.100.1"], "198.51.100.1"),
        ("203.0.113.7", ["1.1.1.1, 198.51.100.1", "10.0.0.1,10.9.9.9"], "198.51.100.1"),
        ("203.0.113.7", ["10.0.0.1"], "10.0.0.1"),
        ("203.0.113.7", ["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
        ("203.0.113.7", [" \t198.51.100.1:52011 "], "198.51.100.1"),
        ("203.0.113.7", ["2001:db8::5"], "2001:db8::5"),
        ("203.0.113.7", ["2001:DB8:0::5"], "2001:db8::5"),
        ("203.0.113.7", ["[2001:db8::5]"], "2001:db8::5"),
        ("203.0.113.7", ["[2001:db8::5]:443"], "2001:db8::5"),
        ("203.0.113.7", ["198.51.100.1, [2001:db8:1:2::3]:443"], "198.51.100.1"),
        ("203.0.113.7", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.7", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1::9", ["198.51.100.1"], "198.51.100.1"),
        ("10.255.0.1", ["198.51.100.1"], "198.51.100.1"),
        # entries that are no addresses: the proxy counts
        ("203.0.113.7", ["198.51.100.1, evil"], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1, evil, 10.0.0.1"], "10.0.0.1"),
        ("203.0.113.7", [""], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1,"], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1", ""], "203.0.113.7"),
        ("203.0.113.7", ["unknown"], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.256"], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1:"], "203.0.113.7"),
        ("203.0.113.7", ["[198.51.100.1"], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1 198.51.100.2"], "203.0.113.7"),
        ("203.0.113.7", ['for="198.51.100.1"'], "203.0.113.7"),
        ("203.0.113.7", ["\u0661.1.1.1"], "203.0.113.7"),
        ("203.0.113.7", [", ".join(["1.1.1.1"] * 900)], "1.1.1.1"),
        ("203.0.113.7", [", ".join(["1.1.1.1", *["10.0.0.1"] * 900])], "10.0.0.1"),
        # from anybody else the header changes nothing
        ("203.0.113.8", ["198.51.100.1"], "203.0.113.8"),
        ("203.0.113.8", ["198.51.100.1, 203.0.113.7"], "203.0.113.8"),
        ("127.0.0.1", ["198.51.100.1"], "127.0.0.1"),
        ("2001:db8:2::9", ["198.51.100.1"], "2001:db8:2::9"),
    ],
)
def test_only_trusted_proxies_set_the_client_address(
    peer: str, forwarded: Sequence[str], client: str
) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    response = send_request(create_middleware(PROXIED_POLICY), "/api/v1/whoami", headers, client=peer)
    assert response.json() == {"client": client, "scheme": "https"}
    response = send_request(create_middleware(LOCAL_POLICY), "/api/v1/whoami", headers, client=peer)
    assert response.json() == {"client": peer, "scheme": "http"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an IP address"),
        ("true", "is not an IP address"),
        ("localhost", "is not an IP address"),
        ("127.0.0.1,", "is not an IP address"),
        ("127.0.0.1:8080", "is not an IP address"),
        ("10.0.0.0/33", "is not an IP address"),
        ("10.0.0.1/8", "sets bits behind its prefix"),
        ("0.0.0.0/0", "would trust every address"),
        ("10.0.0.1, ::/0", "would trust every address"),
        ("::ffff:0:0/96", "would trust every address"),
    ],
)
def test_invalid_proxies_are_rejected(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        TrustedProxies([text])


def test_networks_of_proxies_are_matched_in_either_notation() -> None:
    proxies = TrustedProxies(["::ffff:10.1.0.0/112", "fe80::/10"])
    assert [proxies.trusts(each) for each in ("10.1.2.3", "::ffff:10.1.2.3", "10.2.0.0")] == [
        True,
        True,
        False,
    ]
    assert proxies.trusts("fe80::1%eth0")
    assert not proxies.trusts("unknown")
    assert not TrustedProxies()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "websocket"}, 403),
    ],
)
@pytest.mark.parametrize("needs_login", [False, True])
def test_other_sites_cannot_open_a_websocket(headers: dict[str, str], status: int, needs_login: bool) -> None:
    headers = headers | {"authorization": f"Bearer {TOKEN}"}
    sent = handshake(create_middleware(needs_login=needs_login), headers=headers)
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert sent[0]["status"] == status


@pytest.mark.parametrize("headers", [{}, {"origin": ORIGIN}])
def test_websockets_require_a_login(headers: dict[str, str]) -> None:
    token = {"authorization": f"Bearer {TOKEN}"}
    assert handshake(create_middleware(), headers=headers)[1]["text"] == "open"
    assert handshake(create_middleware(needs_login=True), headers=headers | token)[1]["text"] == "open"
    sent = handshake(create_middleware(needs_login=True), headers=headers)
    assert not any("text" in message for message in sent)
    # the page then goes to the login
    assert sent[-1].get("code") == (4401 if headers else None)


def test_without_the_http_response_extension_the_websocket_is_closed() -> None:
    sent = []

    async def run() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "websocket.connect"}

        async def send(message: object) -> None:
            sent.append(message)

        scope = http_scope("/live") | {"type": "websocket", "headers": [(b"host", b"evil.example")]}
        await create_middleware()(scope, receive, send)

    run_async(run())
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_same_origin_pages_can_request_everything() -> None:
    same_origin = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": ORIGIN}
    app: ASGIApp = create_middleware()
    for path in ("/", "/metrics", "/api/v1/whoami", "/static/app.js"):
        assert send_request(app, path, same_origin).status_code == 200
    assert PASSWORD not in repr(app)
