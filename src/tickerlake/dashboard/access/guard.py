"""What stands in front of every request: default deny."""

import ipaddress
import math
from collections.abc import MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tickerlake.dashboard.access import paths
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.policy import Policy, Refusal
from tickerlake.dashboard.access.rate import Buckets, network_of

TARGET_BYTES_MAX: Final = 4096
HEADER_BYTES_MAX: Final = 16 * 1024
HEADERS_MAX: Final = 64
BODY_BYTES_MAX: Final = 4096
LOGIN_ENDED: Final = 4401
_READS: Final = ("GET", "HEAD")


class Guard:
    """Middleware around the whole app, outside its own handling of errors.

    Each scope that passes carries ``login_open``: a function that tells whether the login still is open, for
    connections that last. ``client`` and ``scheme`` are those of the browser, also behind a proxy.

    Parameters
    ----------
    app
        What is guarded.
    policy
        How it is served.
    authenticator
        None if no login is needed.
    requests
        How often a client may ask: 50 times a second, and 200 times at once.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: Policy,
        authenticator: Authenticator | None,
        requests: Buckets | None = None,
    ) -> None:
        self._app = app
        self._policy = policy
        self._authenticator = authenticator
        self._requests = Buckets(50, 200) if requests is None else requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it pass."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        assert scope["type"] in {"http", "websocket"}
        headers = Headers(raw=scope["headers"])
        scope = {**scope, "client": (_client_address(scope, headers, self._policy), 0)}
        if self._policy.secure:
            scope["scheme"] = "https" if scope["type"] == "http" else "wss"
        sealed = _Sealed(self._policy, scope["path"], send)
        refused = self._refused(scope, headers)
        if refused is not None:
            await _refuse(refused, scope, receive, sealed)
        elif not self._admitted(scope, headers):
            await self._ask_for_login(scope, headers, receive, sealed)
        else:
            await self._pass(scope, receive, sealed)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        too_large = _too_large(scope)
        if too_large is not None:
            return _problem(too_large)
        method, path = scope.get("method", "GET"), scope["path"]
        allowed = (*_READS, "POST") if path in paths.WITH_POST else _READS
        if method not in allowed:
            return _problem(Refusal(405, "The dashboard can only be read."), {"allow": ", ".join(allowed)})
        is_page = scope["type"] == "http" and method in _READS and not paths.is_api(path)
        refusal = self._policy.refusal(headers, is_page=is_page, changes=method not in _READS)
        if refusal is not None:
            return _problem(refusal)
        wait_s = self._requests.take(network_of(scope["client"][0]))
        if wait_s > 0:
            return _problem(
                Refusal(429, "Too many requests.", "Ask less often."), {"retry-after": _seconds(wait_s)}
            )
        return None

    def _admitted(self, scope: Scope, headers: Headers) -> bool:
        if self._authenticator is None:
            scope["login_open"] = lambda: True
            return True
        login_open = self._authenticator.identify(headers)
        scope["login_open"] = login_open or (lambda: False)
        return login_open is not None or (scope["type"] == "http" and scope["path"] in paths.PUBLIC)

    async def _ask_for_login(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and "origin" in headers:
            # a page is not told why its handshake was refused, so it would try for ever
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": LOGIN_ENDED, "reason": "log in"})
            return
        await _refuse(_login_needed(scope, headers), scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: "_Sealed") -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            body = await _read_body(receive)
            if body is None:
                refusal = Refusal(413, f"The body is larger than {BODY_BYTES_MAX} bytes.")
                await _problem(refusal, {"connection": "close"})(scope, receive, send)
                return
            receive = _replay(body, receive)
        try:
            await self._app(scope, receive, send)
        except Exception:
            if scope["type"] == "http" and not send.started:
                await _problem(Refusal(500, "The dashboard failed to answer."))(scope, receive, send)
            raise


class _Sealed:
    """Sends messages, with the security headers on each answer."""

    def __init__(self, policy: Policy, path: str, send: Send) -> None:
        self._security_headers = policy.security_headers
        self._is_static = path.startswith("/static/")
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            self.started = True
            message = {**message, "headers": list(message.get("headers", ()))}
            self._seal(message)
        await self._send(message)

    def _seal(self, message: MutableMapping[str, Any]) -> None:
        headers = MutableHeaders(raw=message["headers"])
        headers.update(self._security_headers)
        if not self._is_static or message["status"] >= 400:
            headers["cache-control"] = "no-store"
        else:
            headers.setdefault("cache-control", "no-cache")


def _client_address(scope: Scope, headers: Headers, policy: Policy) -> str:
    client = scope.get("client")
    socket_address = str(client[0]) if client else "unknown"
    forwarded = headers.getlist("x-forwarded-for")
    if not policy.behind_proxy or not forwarded:
        return socket_address
    # only the last entry is the proxy's own; the ones before are the client's words
    try:
        return str(ipaddress.ip_address(forwarded[-1].rpartition(",")[2].strip()))
    except ValueError:
        return socket_address


def _too_large(scope: Scope) -> Refusal | None:
    raw_path = scope.get("raw_path") or scope["path"].encode()
    if len(raw_path) + len(scope["query_string"]) > TARGET_BYTES_MAX:
        return Refusal(414, f"The address is longer than {TARGET_BYTES_MAX} bytes.")
    headers = scope["headers"]
    if len(headers) > HEADERS_MAX or sum(len(k) + len(v) for k, v in headers) > HEADER_BYTES_MAX:
        return Refusal(431, "The request has too many headers.")
    return None


def _login_needed(scope: Scope, headers: Headers) -> Response:
    mode = headers.get("sec-fetch-mode") or ("navigate" if "text/html" in headers.get("accept", "") else "")
    if scope["type"] == "websocket" or mode != "navigate" or paths.is_api(scope["path"]):
        hint = "Log in at /login, or send Authorization: Bearer with the token."
        return _problem(Refusal(401, "A login is needed.", hint), {"www-authenticate": "Bearer"})
    target = (scope.get("raw_path") or b"/").decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    address = paths.login_path(f"{target}?{query}" if query else target)
    if headers.get("sec-fetch-site") == "cross-site":
        return _same_site_start(address)
    return RedirectResponse(address, 303)


def _same_site_start(address: str) -> Response:
    """Send a page that goes to the login by itself.

    With a link from another site, and all redirects after it, browsers keep a strict cookie back. What this
    page asks for is of our own site, so that a reader who is logged in gets on to where the link leads.
    """
    assert not set(address) & set("\"'<>")
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta http-equiv="refresh" content="0; url={address}">'
        f'<title>tickerlake</title><p><a href="{address}">Continue</a></p></html>',
        status_code=403,
    )


def _problem(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": refusal.error, "hint": refusal.hint}, refusal.status, headers)


def _seconds(wait_s: float) -> str:
    return str(math.ceil(wait_s))


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
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
        if len(body) > BODY_BYTES_MAX or message["type"] == "http.disconnect":
            return None
        if not message.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
