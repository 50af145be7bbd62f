"""Access control in front of every request: default deny."""

import math
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.policy import (
    CLOSE_LOGIN_REQUIRED,
    POST_PATHS,
    PUBLIC_PATHS,
    Policy,
    Refusal,
    is_api_path,
    login_path,
)
from tickerlake.dashboard.access.rate_limiter import MAX_CONNECTIONS_PER_CLIENT, RateLimiter, client_key

# what is parsed of a request before it is authenticated; browsers need a fraction of each
MAX_TARGET_BYTES: Final = 4096
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 64
MAX_BODY_BYTES: Final = 4096
"""The only bodies are those of the login form."""
_REQUESTS_PER_S: Final = 50
_REQUEST_BURST: Final = 200
"""Opening the page takes some dozens of requests: several tabs at once pass, also from one address."""
_READ_METHODS: Final = ("GET", "HEAD")


class AccessMiddleware:
    """ASGI middleware around the application and its error handling.

    The scope of each allowed request has ``is_session_open``: a function that returns whether the session is
    still open, for long-lived connections. ``client`` and ``scheme`` are those of the browser, also behind a
    proxy.

    Parameters
    ----------
    app
        The protected application.
    policy
        How the dashboard is served.
    authenticator
        None if no login is required.
    rate_limiter
        Limits the requests of a client; by default to 50 per second with a burst of 200.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: Policy,
        authenticator: Authenticator | None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self._app = app
        self._policy = policy
        self._authenticator = authenticator
        self._rate_limiter = (
            RateLimiter(_REQUESTS_PER_S, _REQUEST_BURST) if rate_limiter is None else rate_limiter
        )
        self._open_requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Deny a request, or pass it to the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] in {"http", "websocket"}
        headers = Headers(raw=scope["headers"])
        scope = {**scope, "client": (_client_address(scope, headers, self._policy), 0)}
        if self._policy.is_secure:
            scope["scheme"] = "https" if scope["type"] == "http" else "wss"
        secure_send = _SecureSender(self._policy, scope["path"], send)
        with self._count_open(client_key(scope["client"][0])) as count:
            refusal = self._refusal_response(scope, headers, count)
            if refusal is not None:
                await _send_refusal(refusal, scope, receive, secure_send)
            elif not self._authenticate(scope, headers):
                await self._require_login(scope, headers, receive, secure_send)
            else:
                await self._forward(scope, receive, secure_send)

    @contextmanager
    def _count_open(self, client: str) -> Iterator[int]:
        """Count a request of a client while it is open; yield how many are."""
        self._open_requests[client] += 1
        try:
            yield self._open_requests[client]
        finally:
            self._open_requests[client] -= 1
            if not self._open_requests[client]:
                del self._open_requests[client]

    def _refusal_response(self, scope: Scope, headers: Headers, open_requests: int) -> Response | None:
        too_large = _size_refusal(scope)
        if too_large is not None:
            return _error_response(too_large)
        method, path = scope.get("method", "GET"), scope["path"]
        allowed = (*_READ_METHODS, "POST") if path in POST_PATHS else _READ_METHODS
        if method not in allowed:
            return _error_response(Refusal(405, "The dashboard is read-only."), {"allow": ", ".join(allowed)})
        is_page = scope["type"] == "http" and method in _READ_METHODS and not is_api_path(path)
        refusal = self._policy.find_refusal(
            headers, is_page=is_page, changes_state=method not in _READ_METHODS
        )
        if refusal is not None:
            return _error_response(refusal)
        client = scope["client"][0]
        if open_requests > MAX_CONNECTIONS_PER_CLIENT:
            hint = "Close some of them."
            if self._policy.proxies.trusts(client):
                hint = "The proxy must set X-Forwarded-For: without it all its clients count as one."
            return _error_response(Refusal(429, "Too many open connections.", hint), {"retry-after": "1"})
        wait_s = self._rate_limiter.acquire(client_key(client))
        if wait_s > 0:
            return _error_response(
                Refusal(429, "Too many requests.", "Send fewer requests per second."),
                {"retry-after": _retry_after(wait_s)},
            )
        return None

    def _authenticate(self, scope: Scope, headers: Headers) -> bool:
        if self._authenticator is None:
            scope["is_session_open"] = lambda: True
            return True
        is_session_open = self._authenticator.identify(headers)
        scope["is_session_open"] = is_session_open or (lambda: False)
        return is_session_open is not None or (scope["type"] == "http" and scope["path"] in PUBLIC_PATHS)

    async def _require_login(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and "origin" in headers:
            # browsers hide why a handshake failed: the page would retry forever
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": CLOSE_LOGIN_REQUIRED, "reason": "log in"})
            return
        await _send_refusal(_login_response(scope, headers), scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: "_SecureSender") -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            body = await _read_body(receive)
            if body is None:
                refusal = Refusal(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
                await _error_response(refusal, {"connection": "close"})(scope, receive, send)
                return
            receive = _replay_body(body, receive)
        try:
            await self._app(scope, receive, send)
        except Exception:
            if scope["type"] == "http" and not send.has_started:
                await _error_response(Refusal(500, "Internal error of the dashboard."))(scope, receive, send)
            raise


class _SecureSender:
    """Sends messages, with the security headers on each response."""

    def __init__(self, policy: Policy, path: str, send: Send) -> None:
        self._security_headers = policy.security_headers
        self._is_static = path.startswith("/static/")
        self._send = send
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            self.has_started = True
            message = {**message, "headers": list(message.get("headers", ()))}
            self._add_security_headers(message)
        await self._send(message)

    def _add_security_headers(self, message: MutableMapping[str, Any]) -> None:
        headers = MutableHeaders(raw=message["headers"])
        headers.update(self._security_headers)
        if not self._is_static or message["status"] >= 400:
            headers["cache-control"] = "no-store"
        else:
            headers.setdefault("cache-control", "no-cache")


def _client_address(scope: Scope, headers: Headers, policy: Policy) -> str:
    client = scope.get("client")
    peer = str(client[0]) if client else "unknown"
    return policy.proxies.find_client(peer, headers.getlist("x-forwarded-for"))


def _size_refusal(scope: Scope) -> Refusal | None:
    raw_path = scope.get("raw_path") or scope["path"].encode()
    if len(raw_path) + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return Refusal(414, f"The URL is longer than {MAX_TARGET_BYTES} bytes.")
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(k) + len(v) for k, v in headers) > MAX_HEADER_BYTES:
        return Refusal(431, "The request's headers are too many or too large.")
    return None


def _login_response(scope: Scope, headers: Headers) -> Response:
    mode = headers.get("sec-fetch-mode") or ("navigate" if "text/html" in headers.get("accept", "") else "")
    if scope["type"] == "websocket" or mode != "navigate" or is_api_path(scope["path"]):
        hint = "Log in at /login, or send Authorization: Bearer with the token."
        return _error_response(
            Refusal(401, "Authentication is required.", hint), {"www-authenticate": "Bearer"}
        )
    target = (scope.get("raw_path") or b"/").decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    address = login_path(f"{target}?{query}" if query else target)
    if headers.get("sec-fetch-site") == "cross-site":
        return _same_site_redirect(address)
    return RedirectResponse(address, 303)


def _same_site_redirect(address: str) -> Response:
    """Return a page that redirects to the login.

    Browsers withhold a strict cookie when a link on another site is followed, also from its redirects. The
    request that this page makes comes from our site, so that a logged-in user reaches the link's target.
    """
    assert not set(address) & set("\"'<>")
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta http-equiv="refresh" content="0; url={address}">'
        f'<title>tickerlake</title><p><a href="{address}">Continue</a></p></html>',
        status_code=403,
    )


def _error_response(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": refusal.error, "hint": refusal.hint}, refusal.status, headers)


def _retry_after(wait_s: float) -> str:
    return str(math.ceil(wait_s))


async def _send_refusal(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
    await response(scope, receive, send)


async def _read_body(receive: Receive) -> bytes | None:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES or message["type"] == "http.disconnect":
            return None
        if not message.get("more_body", False):
            return body


def _replay_body(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_replayed() -> Message:
        return messages.pop() if messages else await receive()

    return receive_replayed
