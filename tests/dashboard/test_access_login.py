"""The login: page, cookie, sessions, token, brute force."""

import logging
from collections.abc import Iterable
from html import escape
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dashboard.access_support import (
    HASH,
    ORIGIN,
    PASSWORD,
    TOKEN,
    Clock,
    cookie_header,
    send_password,
    send_request,
)
from tickerlake.dashboard.access.authenticator import Authenticator
from tickerlake.dashboard.access.login import login_routes
from tickerlake.dashboard.access.middleware import AccessMiddleware
from tickerlake.dashboard.access.password import Password
from tickerlake.dashboard.access.policy import Policy, login_path, safe_local_path
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.dashboard.access.rate_limiter import RateLimiter
from tickerlake.dashboard.access.sessions import MAX_AGE_S, MAX_IDLE_S, Sessions
from tickerlake.errors import UsageError

LOCAL_POLICY = Policy("127.0.0.1", 8080)


class LoginApp:
    """An app with one page behind the access middleware, and its clock."""

    def __init__(self, policy: Policy = LOCAL_POLICY, token: str = TOKEN) -> None:
        self.clock = Clock()
        self.authenticator = Authenticator(Password(HASH), policy, token, self.clock)
        app = Starlette(routes=[*login_routes(self.authenticator), Route("/", self._page)])
        self.app = AccessMiddleware(app, policy, self.authenticator, RateLimiter(1e6, 10**6))

    @staticmethod
    async def _page(request: Request) -> Response:
        return PlainTextResponse("prices")


@pytest.fixture
def login_app() -> LoginApp:
    return LoginApp()


def test_a_login_grants_access_until_logout(login_app: LoginApp) -> None:
    assert send_request(login_app.app, "/").status_code == 401
    response = send_password(login_app.app, target="/?symbol=AAPL&t=1")
    assert (response.status_code, response.headers["location"]) == (303, "/?symbol=AAPL&t=1")
    cookie = cookie_header(response)
    assert send_request(login_app.app, "/", cookie).text == "prices"
    assert send_request(login_app.app, "/login?next=/x", cookie).headers["location"] == "/x"

    assert send_request(login_app.app, "/logout", cookie, method="POST").status_code == 403
    assert send_request(login_app.app, "/", cookie).status_code == 200
    response = send_request(login_app.app, "/logout", cookie | {"origin": ORIGIN}, method="POST")
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert send_request(login_app.app, "/", cookie).status_code == 401


def test_a_new_login_ends_the_previous_session(login_app: LoginApp) -> None:
    first = cookie_header(send_password(login_app.app))
    form = {"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}
    second = send_request(
        login_app.app, "/login", first | form, method="POST", content=f"password={PASSWORD}"
    )
    assert cookie_header(second) != first
    assert send_request(login_app.app, "/", first).status_code == 401
    assert send_request(login_app.app, "/", cookie_header(second)).status_code == 200


@pytest.mark.parametrize(
    ("policy", "origin", "flags"),
    [
        (LOCAL_POLICY, ORIGIN, "tickerlake-8080=; Path=/; HttpOnly; SameSite=Strict"),
        (
            Policy("127.0.0.1", 8080, tls=True),
            "https://localhost:8080",
            "__Host-tickerlake-8080=; Path=/; HttpOnly; SameSite=Strict; Secure",
        ),
        (
            Policy("127.0.0.1", 8080, proxies=TrustedProxies(["127.0.0.1"])),
            "https://localhost",
            "__Host-tickerlake-8080=; Path=/; HttpOnly; SameSite=Strict; Secure",
        ),
    ],
)
def test_the_cookie_is_http_only_and_same_site(policy: Policy, origin: str, flags: str) -> None:
    login_app = LoginApp(policy)
    response = send_password(login_app.app, origin=origin)
    pair, *flags_sent = response.headers["set-cookie"].split("; ")
    name, _, secret = pair.partition("=")
    assert len(bytes.fromhex(secret)) == 32
    assert "; ".join([f"{name}=", *(flag for flag in flags_sent if not flag.startswith("Max-Age"))]) == flags
    assert send_request(login_app.app, "/", {"cookie": f"a=b; {pair}; c"}, base_url=origin).status_code == 200
    for forged in (
        f"x{pair}",
        f"{name}=",
        f"{name}={secret[:-1]}",
        f"{name}={secret}0",
        f"{name}*=",
        "=",
        ";;",
    ):
        assert send_request(login_app.app, "/", {"cookie": forged}, base_url=origin).status_code == 401


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        ("", "application/x-www-form-urlencoded"),
        ("password=wrong", "application/x-www-form-urlencoded"),
        (f"password=wrong&password={PASSWORD}", "application/x-www-form-urlencoded"),
        (f"password={PASSWORD}", "text/plain"),
        (
            "&".join(f"f{number}=1" for number in range(20)) + f"&password={PASSWORD}",
            "application/x-www-form-urlencoded",
        ),
        (b"password=\xff\xfe", "application/x-www-form-urlencoded"),
        ('{"password": "x"}', "application/json"),
    ],
)
def test_a_wrong_password_is_denied(login_app: LoginApp, content: str | bytes, media_type: str) -> None:
    response = send_request(
        login_app.app,
        "/login",
        {"origin": ORIGIN, "content-type": media_type},
        method="POST",
        content=content,
    )
    assert response.status_code == 403
    assert 'role="alert"' in response.text
    assert "set-cookie" not in response.headers


def test_other_sites_cannot_log_in(login_app: LoginApp) -> None:
    content, media_type = f"password={PASSWORD}", {"content-type": "application/x-www-form-urlencoded"}
    for origin in ({}, {"origin": "null"}, {"origin": "http://evil.example"}):
        assert (
            send_request(
                login_app.app, "/login", origin | media_type, method="POST", content=content
            ).status_code
            == 403
        )
    assert len(login_app.authenticator._sessions) == 0


def test_brute_force_is_slowed_down(login_app: LoginApp) -> None:
    responses = [send_password(login_app.app, f"guess {number}") for number in range(7)]
    assert [response.status_code for response in responses] == [403] * 5 + [429] * 2
    assert responses[-1].headers["retry-after"] == "12"
    assert "Try again in 12 seconds" in responses[-1].text
    # the correct one is not checked either, but other clients can log in
    assert send_password(login_app.app).status_code == 429
    assert send_password(login_app.app, client="203.0.113.8").status_code == 303
    login_app.clock.now_s += 12
    assert send_password(login_app.app).status_code == 303


@pytest.fixture
def cheap_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare passwords without hashing them: it takes long, and is not tested here."""

    async def matches(self: Password, text: str) -> bool:
        return text == PASSWORD

    monkeypatch.setattr(Password, "matches", matches)


def guess(login_app: LoginApp, clients: Iterable[str]) -> list[int]:
    return [send_password(login_app.app, "guess", client=client).status_code for client in clients]


@pytest.mark.usefixtures("cheap_hash")
def test_distributed_brute_force_is_slowed_down(login_app: LoginApp) -> None:
    assert guess(login_app, (f"10.0.0.{number}" for number in range(35))) == [403] * 30 + [429] * 5
    login_app.clock.now_s += 2
    assert send_password(login_app.app, client="10.0.1.1").status_code == 303


@pytest.mark.usefixtures("cheap_hash")
@pytest.mark.parametrize(
    ("owner", "neighbor", "other_network"),
    [
        ("203.0.113.7", "203.0.113.8", "203.0.114.7"),
        ("2001:db8:1:2::7", "2001:db8:1:2::8", "2001:db8:1:3::7"),
        ("::ffff:203.0.113.7", "203.0.113.8", "203.0.114.7"),
    ],
)
def test_attackers_cannot_lock_out_who_logged_in_before(
    login_app: LoginApp, owner: str, neighbor: str, other_network: str
) -> None:
    assert send_password(login_app.app, client=owner).status_code == 303
    for _ in range(10):
        assert 429 in guess(login_app, (f"10.0.{number}.1" for number in range(60)))
        assert send_password(login_app.app, client=other_network).status_code == 429
        assert send_password(login_app.app, client=owner).status_code == 303
        assert send_password(login_app.app, client=neighbor).status_code == 303
        login_app.clock.now_s += 30


@pytest.mark.usefixtures("cheap_hash")
def test_neighbors_cannot_lock_out_who_logged_in_before(login_app: LoginApp) -> None:
    assert send_password(login_app.app, client="203.0.113.7").status_code == 303
    neighbors = [f"203.0.113.{number}" for number in range(100, 160)]
    assert guess(login_app, neighbors) == [403] * 34 + [429] * 26
    assert send_password(login_app.app, client="203.0.113.8").status_code == 429
    assert send_password(login_app.app, client="203.0.113.7").status_code == 303
    # their own attempts remain limited
    assert guess(login_app, ["203.0.113.7"] * 5) == [403] * 3 + [429] * 2


@pytest.mark.usefixtures("cheap_hash")
def test_clients_that_logged_in_are_remembered_in_bounded_memory(login_app: LoginApp) -> None:
    for number in range(300):
        client = f"10.0.{number // 250}.{number % 250}"
        assert send_password(login_app.app, client=client).status_code == 303
        login_app.clock.now_s += 60
    assert len(login_app.authenticator._known_clients) == 256


@pytest.mark.usefixtures("cheap_hash")
def test_forged_addresses_do_not_multiply_attempts() -> None:
    login_app = LoginApp(Policy("127.0.0.1", 8080, proxies=TrustedProxies(["127.0.0.1"])))
    origin = "https://localhost"

    def attempt(client: str, password: str, forged: str) -> int:
        content = str(httpx.QueryParams({"password": password}))
        headers = {"origin": origin, "content-type": "application/x-www-form-urlencoded"}
        headers["x-forwarded-for"] = forged if client != "127.0.0.1" else f"{forged}, 203.0.113.9"
        return send_request(
            login_app.app, "/login", headers, method="POST", content=content, client=client, base_url=origin
        ).status_code

    for client in ("198.51.100.1", "127.0.0.1"):
        statuses = [attempt(client, "guess", f"10.0.0.{number}") for number in range(60)]
        assert statuses == [403] * 5 + [429] * 55
    assert attempt("198.51.100.2", PASSWORD, "10.0.0.1") == 303


def test_a_token_authenticates_programs() -> None:
    login_app = LoginApp()
    assert send_request(login_app.app, "/", {"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert send_request(login_app.app, "/", {"authorization": f"bearer  {TOKEN}"}).status_code == 200
    for wrong in (TOKEN, f"Bearer {TOKEN}0", f"Bearer {TOKEN[:-1]}", "Bearer ", "Bearer", f"Basic {TOKEN}"):
        assert send_request(login_app.app, "/", {"authorization": wrong}).status_code == 401
    assert login_app.authenticator.identify(Headers({"authorization": "Bearer é\xff"})) is None
    assert send_request(LoginApp(token="").app, "/", {"authorization": "Bearer "}).status_code == 401


@pytest.mark.parametrize("token", ["short", "x" * 31, "é" * 40, "x" * 40 + "\n"])
def test_weak_tokens_are_rejected(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        Authenticator(Password(HASH), LOCAL_POLICY, token)
    assert token not in str(caught.value)


def test_sessions_expire() -> None:
    clock = Clock()
    sessions = Sessions(monotonic_s=clock)
    idle, used = sessions.open(), sessions.open()
    for _ in range(MAX_AGE_S // (MAX_IDLE_S // 2) - 1):
        clock.now_s += MAX_IDLE_S // 2
        assert sessions.is_open(used)
    assert not sessions.is_open(idle)
    clock.now_s += MAX_IDLE_S // 2
    assert not sessions.is_open(used)
    assert len(sessions) == 0


def test_sessions_are_bounded_and_stored_as_hashes() -> None:
    sessions = Sessions(max_sessions=3, monotonic_s=Clock())
    secrets = [sessions.open() for _ in range(3)]
    assert sessions.is_open(secrets[0])
    secrets.append(sessions.open())
    assert [sessions.is_open(secret) for secret in secrets] == [True, False, True, True]
    assert len(sessions) == 3
    assert not any(secret in repr(vars(sessions)) for secret in secrets)
    assert len(set(secrets)) == 4


def test_an_open_connection_ends_with_its_session(login_app: LoginApp) -> None:
    cookie = cookie_header(send_password(login_app.app))
    is_open = login_app.authenticator.identify(Headers(cookie))
    assert is_open is not None
    assert is_open()
    login_app.authenticator.log_out(Headers(cookie))
    assert not is_open()


def test_the_page_escapes_hostile_addresses(login_app: LoginApp) -> None:
    hostile = '/?x="><script>alert(1)</script>'
    for response in (
        send_request(login_app.app, "/login", method="GET"),
        send_password(login_app.app, "wrong", target=hostile),
    ):
        assert "<script" not in response.text
        assert "style=" not in response.text
        assert '<label for="password">' in response.text
        assert "autofocus" in response.text
    assert f'<input name="next" type="hidden" value="{escape(hostile)}">' in response.text
    assert send_request(login_app.app, "/static/login.css").headers["content-type"].startswith("text/css")


def test_secrets_are_never_exposed(login_app: LoginApp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "almost the password"
    send_password(login_app.app, wrong)
    response = send_password(login_app.app)
    cookie = cookie_header(response)
    send_request(login_app.app, "/", cookie)
    send_request(login_app.app, "/", {"authorization": f"Bearer {TOKEN}"})
    exposed = (
        caplog.text
        + repr(login_app.authenticator)
        + repr(vars(login_app.authenticator))
        + repr(vars(login_app.app))
    )
    for secret in (PASSWORD, wrong, TOKEN, HASH, HASH.rpartition("$")[2], cookie["cookie"].partition("=")[2]):
        assert secret not in exposed
    assert "203.0.113.7" in caplog.text


UNSAFE_TARGETS = [
    *(
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "http://evil.example",
        "https:evil.example",
        "evil",
    ),
    *(
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/%0d\r\nx: y",
        "javascript:alert(1)",
    ),
    *(
        "",
        "/login",
        "/login?next=/",
        "/logout",
        "/é",
        "/" + "x" * 3000,
        "///evil.example",
        "/x\\..\\evil",
        "/ /evil",
    ),
]


@pytest.mark.parametrize("text", UNSAFE_TARGETS)
def test_the_login_never_redirects_to_another_site(text: str, login_app: LoginApp) -> None:
    assert safe_local_path(text) == "/"
    assert login_path(text) == "/login"
    response = send_password(login_app.app, target=text)
    assert response.headers["location"] == "/"
    again = send_request(login_app.app, f"/login?{urlencode({'next': text})}", cookie_header(response))
    assert (again.status_code, again.headers["location"]) == (303, "/")


@pytest.mark.parametrize("text", ["/", "/?symbol=AAPL&t=1704205860000", "/a//b", "/a?u=http://x/", "/#x"])
def test_the_login_redirects_to_the_requested_page(text: str) -> None:
    assert safe_local_path(text) == text


@given(st.text(max_size=60) | st.text(alphabet="/\\.:@?#%\t\r\n aevil0", max_size=20).map("/".__add__))
@example("/.//evil.example")
@example("/..//evil.example")
def test_the_next_page_is_always_local(text: str) -> None:
    path = safe_local_path(text)
    assert path.startswith("/")
    assert path.isascii()
    assert path.isprintable()
    assert "\\" not in path
    assert not path.startswith("//")
    resolved = urlsplit(urljoin("https://dash.example.com/login", path))
    assert (resolved.scheme, resolved.netloc) == ("https", "dash.example.com")
