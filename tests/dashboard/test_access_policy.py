"""Which addresses may be bound, and which requests are allowed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from dashboard.access_support import NAVIGATION
from tickerlake.dashboard.access.authority import Authority, is_loopback, parse_origin
from tickerlake.dashboard.access.policy import Policy, allowed_hosts, check_binding
from tickerlake.dashboard.access.proxies import TrustedProxies
from tickerlake.errors import UsageError

WILDCARD = str(ipaddress.IPv4Address(0))
LOCAL_POLICY = Policy("127.0.0.1", 8080)
PROXIED_POLICY = Policy(
    "127.0.0.1", 8080, proxies=TrustedProxies(["127.0.0.1"]), allow_hosts=("dash.example.com",)
)


def status(
    policy: Policy, headers: dict[str, str], *, is_page: bool = False, changes_state: bool = False
) -> int:
    refusal = policy.find_refusal(Headers(headers), is_page=is_page, changes_state=changes_state)
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_loopback_can_always_be_bound(host: str) -> None:
    check_binding(host, password=False, tls=False, behind_proxy=False)


@pytest.mark.parametrize(
    "host",
    [
        WILDCARD,
        "::",
        "",
        "192.168.1.5",
        "10.0.0.1",
        "localhost.example.com",
        "127.1",
        "2130706433",
        "box",
    ],
)
@pytest.mark.parametrize("behind_proxy", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("password", [False, True])
def test_remote_hosts_require_a_password_and_tls(
    host: str, password: bool, tls: bool, behind_proxy: bool
) -> None:
    if password and (tls or behind_proxy):
        check_binding(host, password=password, tls=tls, behind_proxy=behind_proxy)
        return
    with pytest.raises(UsageError) as caught:
        check_binding(host, password=password, tls=tls, behind_proxy=behind_proxy)
    assert ("TLS" if password else "TICKERLAKE_SERVE__PASSWORD") in caught.value.hint


@given(st.ip_addresses())
def test_only_loopback_addresses_are_loopback(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    assert is_loopback(str(address)) == (mapped or address).is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8080", 200),
        ("LocalHost:8080", 200),
        ("localhost.:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("[0:0:0:0:0:0:0:1]:8080", 200),
        ("localhost", 421),
        ("localhost:8081", 421),
        ("evil.example:8080", 421),
        ("localhost.evil.example:8080", 421),
        ("127.0.0.1.nip.io:8080", 421),
        ("0.0.0.0:8080", 421),
        ("192.168.1.5:8080", 421),
        ("", 400),
        ("localhost:8080@evil.example", 400),
        ("localhost:8080, evil.example", 400),
        ("localhost:99999", 400),
        ("localhost:", 400),
        ("localhost:8080\n", 400),
        ("::1", 400),
        ("[::1", 400),
        ("[evil]:8080", 400),
    ],
)
def test_foreign_host_names_are_denied(host: str, expected: int) -> None:
    assert status(LOCAL_POLICY, {"host": host}) == expected


def test_a_request_has_one_host() -> None:
    doubled = Headers(raw=[(b"host", b"localhost:8080"), (b"host", b"evil.example")])
    for headers in (doubled, Headers({})):
        refusal = LOCAL_POLICY.find_refusal(headers, is_page=False, changes_state=False)
        assert refusal is not None
        assert refusal.status == 400


@pytest.mark.parametrize(
    ("policy", "host", "expected"),
    [
        (Policy("192.168.1.5", 8080, tls=True), "192.168.1.5:8080", 200),
        (Policy("192.168.1.5", 8080, tls=True), "dash.example.com:8080", 421),
        (
            Policy(WILDCARD, 8080, tls=True, allow_hosts=("dash.example.com",)),
            "dash.example.com:8080",
            200,
        ),
        (Policy(WILDCARD, 8080, tls=True, allow_hosts=("dash.example.com",)), "dash.example.com", 421),
        (
            Policy(WILDCARD, 8080, tls=True, allow_hosts=("dash.example.com:443",)),
            "dash.example.com",
            200,
        ),
        (Policy("::", 443, tls=True, allow_hosts=("2001:db8::5",)), "[2001:db8::5]", 200),
        (PROXIED_POLICY, "dash.example.com", 200),
        (PROXIED_POLICY, "dash.example.com:8443", 200),
        (PROXIED_POLICY, "localhost:1", 200),
        (PROXIED_POLICY, "evil.example", 421),
    ],
)
def test_allowed_host_names_are_served(policy: Policy, host: str, expected: int) -> None:
    assert status(policy, {"host": host}) == expected


@pytest.mark.parametrize(
    "name", ["", "https://dash.example.com", "a b", "*", "dash.example.com/", "-x", "x:y"]
)
def test_an_invalid_host_name_prevents_startup(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host name"):
        Policy("127.0.0.1", 8080, allow_hosts=(name,))
    with pytest.raises(UsageError):
        allowed_hosts("127.0.0.1", 8080, [name])


@pytest.mark.parametrize(
    ("policy", "host", "origin", "expected"),
    [
        (LOCAL_POLICY, "localhost:8080", "http://localhost:8080", 200),
        (LOCAL_POLICY, "localhost:8080", "https://localhost:8080", 403),
        (LOCAL_POLICY, "localhost:8080", "http://localhost:3000", 403),
        (LOCAL_POLICY, "localhost:8080", "http://127.0.0.1:8080", 403),
        (LOCAL_POLICY, "localhost:8080", "http://evil.example", 403),
        (LOCAL_POLICY, "localhost:8080", "http://localhost:8080.evil.example", 403),
        (LOCAL_POLICY, "localhost:8080", "http://evil.example@localhost:8080", 403),
        (LOCAL_POLICY, "localhost:8080", "http://localhost:8080/", 403),
        (LOCAL_POLICY, "localhost:8080", "null", 403),
        (LOCAL_POLICY, "localhost:8080", "", 403),
        (LOCAL_POLICY, "localhost:8080", "file://", 403),
        (LOCAL_POLICY, "localhost:8080", "chrome-extension://abcdef", 403),
        (PROXIED_POLICY, "dash.example.com", "https://dash.example.com", 200),
        (PROXIED_POLICY, "dash.example.com", "https://dash.example.com:443", 200),
        (PROXIED_POLICY, "dash.example.com", "http://dash.example.com", 403),
        (PROXIED_POLICY, "dash.example.com", "https://dash.example.com:8443", 403),
        (PROXIED_POLICY, "127.0.0.1:8080", "https://dash.example.com", 403),
    ],
)
@pytest.mark.parametrize("changes", [False, True])
def test_foreign_origins_are_denied(
    policy: Policy, host: str, origin: str, expected: int, changes: bool
) -> None:
    assert status(policy, {"host": host, "origin": origin}, changes_state=changes) == expected


def test_unsafe_methods_require_an_origin() -> None:
    assert status(LOCAL_POLICY, {"host": "localhost:8080"}) == 200
    assert status(LOCAL_POLICY, {"host": "localhost:8080"}, changes_state=True) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_can_only_link_to_pages(site: str) -> None:
    link = {"host": "localhost:8080"} | NAVIGATION | {"sec-fetch-site": site}
    assert status(LOCAL_POLICY, link, is_page=True) == 200
    assert status(LOCAL_POLICY, link) == 403
    assert status(LOCAL_POLICY, link | {"sec-fetch-dest": "iframe"}, is_page=True) == 403
    assert status(LOCAL_POLICY, link | {"sec-fetch-mode": "no-cors"}, is_page=True) == 403
    for allowed in ("same-origin", "none"):
        assert status(LOCAL_POLICY, {"host": "localhost:8080", "sec-fetch-site": allowed}) == 200


def test_forms_keep_their_origin() -> None:
    # with no-referrer, browsers send "Origin: null" with the login form
    assert LOCAL_POLICY.security_headers["referrer-policy"] == "same-origin"


def test_hsts_lasts_a_day_for_a_configured_name_with_a_certificate() -> None:
    name = "strict-transport-security"
    assert Policy(WILDCARD, 443, tls=True).security_headers[name] == "max-age=86400"
    assert name not in Policy("127.0.0.1", 443, tls=True).security_headers
    assert name not in PROXIED_POLICY.security_headers


@given(st.text(max_size=40) | st.from_regex(r"\A[\[\]a-z0-9.:@/-]{0,30}\Z"))
def test_a_parsed_host_contains_nothing_else(text: str) -> None:
    authority = Authority.parse(text)
    if authority is not None:
        assert not set(authority.name) & set("@/\\#?[] \t\r\n%")
        assert authority.name == authority.name.lower()
        rest = f"[{authority.name}]" if ":" in authority.name else authority.name
        assert Authority.parse(rest if authority.port is None else f"{rest}:{authority.port}") == authority


@given(st.text(max_size=40))
def test_parsing_origins_never_fails(text: str) -> None:
    for origin in (text, f"http://{text}", f"https://{text}"):
        parsed = parse_origin(origin)
        assert parsed is None or parsed[1].port is not None
