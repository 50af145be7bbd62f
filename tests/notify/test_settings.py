"""``[[notify]]`` tables: all problems are reported at once, and no secret is shown."""

import base64
import socket
import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest

from support.receivers import Receiver, Reply, SkippingClock, make_alert, make_notification
from tickerlake.errors import UsageError
from tickerlake.notify.dispatcher import Dispatcher
from tickerlake.notify.settings import KEYS_BY_KIND, read_routes
from tickerlake.notify.targets.network import Network

SECRET = "whsec_" + base64.b64encode(b"sesame-" * 4).decode()
ENVIRONMENT = {
    "HOOK": "https://example.com/hook",
    "SLACK": "https://hooks.slack.com/services/T0/B0/sesame",
    "SECRET": SECRET,
    "PASSWORD": "sesame",
    "EMPTY": "",
}
SLACK = {"kind": "slack", "url_env": "SLACK"}
MAIL = {"kind": "email", "host": "mail.example.com", "from": "a@example.com", "to": ["b@example.com"]}


def _problems(*tables: dict[str, Any]) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read_routes([(10 * (n + 1), table) for n, table in enumerate(tables)], ENVIRONMENT)
    return caught.value.message.split("\n")


def test_targets_of_each_kind() -> None:
    webhook, slack, mail = read_routes(
        [
            (1, {"kind": "webhook", "name": "ops", "url_env": "HOOK", "secret_env": "SECRET"}),
            (2, {"kind": "slack", "url_env": "SLACK", "severity": "critical", "group": False}),
            (
                3,
                {
                    **MAIL,
                    "user": "lake",
                    "password_env": "PASSWORD",
                    "symbols": ["A*"],
                    "rules": "fast-*",
                    "states": ["cleared", "fired"],
                    "give_up_after_s": 60,
                },
            ),
        ],
        ENVIRONMENT,
        dashboard_url="https://lake.example.com",
    )
    assert (webhook.target.name, webhook.min_severity, webhook.states) == ("ops", "info", ("fired",))
    assert (slack.target.name, slack.min_severity, slack.group) == ("slack", "critical", False)
    assert (mail.target.name, mail.symbols, mail.rules) == ("email", ("A*",), ("fast-*",))
    assert (mail.states, mail.give_up_after_s) == (("fired", "cleared"), 60)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "kind is missing."),
        ({"kind": "slak"}, "there is no kind 'slak'. Did you mean slack?"),
        ({"kind": "webhook"}, "a webhook needs either url or url_env."),
        ({"kind": "webhook", "url_env": "HOME"}, "the environment variable HOME (from url_env) is not"),
        (
            {"kind": "webhook", "url_env": "EMPTY"},
            "the environment variable EMPTY (from url_env) is",
        ),
        ({"kind": "webhook", "url": "http://example.com"}, "url: the value does not begin with https://."),
        ({"kind": "webhook", "url": "https://10.0.0.1/"}, "url: the value has an address that is not"),
        ({"kind": "webhook", "url": 5}, "url is not a string."),
        ({"kind": "webhook", "url_env": "HOOK", "secret_env": "PASSWORD"}, "secret_env: the value does not"),
        ({"kind": "slack"}, "url_env is missing."),
        ({**SLACK, "severty": "info"}, "there is no setting 'severty'. Did you mean severity?"),
        (
            {**SLACK, "severity": "crit"},
            "severity is not one of info, warning, critical. Did you mean critical?",
        ),
        ({**SLACK, "states": ["fire"]}, "states: there is no 'fire'. Did you mean fired?"),
        ({**SLACK, "symbols": [1]}, "symbols is not a list of strings."),
        ({**SLACK, "group": "no"}, "group is neither true nor false."),
        ({**SLACK, "name": "../x"}, "name is not 1 to 41"),
        ({**SLACK, "give_up_after_s": -1}, "give_up_after_s is not a number from 0 to 86400."),
        ({**SLACK, "dashboard_url": "javascript:x"}, "dashboard_url: the value is not a URL"),
        ({**SLACK, "dashboard_url": "https://a/?b"}, "dashboard_url: the value has more than"),
        ({**MAIL, "tls": "none"}, "mail to a remote host needs TLS. Set tls to starttls or tls."),
        ({**MAIL, "tls": "ssl"}, "tls is not one of starttls, tls, none."),
        ({**MAIL, "user": "a"}, "user and password_env must be set together."),
        ({**MAIL, "port": 70_000}, "port is not a number from 1 to 65535."),
        ({**MAIL, "host": "a b"}, "'a b' is not a host."),
        ({**MAIL, "to": "a@b.c\r\nBcc: x@y.z"}, "'a@b.c\\r\\nBcc: x@y.z' is not an address"),
        ({key: MAIL[key] for key in ("kind", "host", "from")}, "to is missing."),
    ],
)
def test_errors_are_reported(table: dict[str, Any], problem: str) -> None:
    (message,) = _problems(table)
    assert message.startswith(f"Line 10: {problem}")


def test_all_errors_are_reported_at_once() -> None:
    problems = _problems(
        {"kind": "webhook", "sevrity": "x"}, SLACK, {**SLACK, "name": "Slack"}, {"kind": "email"}
    )
    assert [line.split(":")[0] for line in problems] == ["Line 10"] * 2 + ["Line 30"] + ["Line 40"] * 3
    assert problems[2] == "Line 30: there are two targets named Slack. Use distinct names."


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "slack", "url": ENVIRONMENT["SLACK"]},
        {"kind": "slack", "url_env": ENVIRONMENT["SLACK"]},
        {"kind": "webhook", "url": "https://example.com", "secret": SECRET},
        {"kind": "webhook", "url": "https://example.com", "secret_env": SECRET},
        {"kind": "webhook", "url": "https://ann:sesame@example.com"},
        {"kind": "webhook", "url": "https://example.com", "token": "sesame"},
        {**MAIL, "user": "lake", "password": "sesame", "password_env": "PASSWORD"},
        {**MAIL, "user": "lake", "password_env": "open sesame"},
    ],
)
def test_a_secret_in_the_file_is_rejected_and_not_shown(table: dict[str, Any]) -> None:
    problems = "\n".join(_problems(table))
    assert "sesame" not in problems
    assert SECRET not in problems


@pytest.mark.parametrize(
    ("table", "encryption", "port"),
    [
        (MAIL, "starttls", 587),
        ({**MAIL, "port": 465}, "tls", 465),
        ({**MAIL, "host": "localhost"}, "none", 25),
        ({**MAIL, "host": "127.0.0.1", "tls": "starttls"}, "starttls", 25),
    ],
)
def test_mail_is_encrypted_except_on_loopback(table: dict[str, Any], encryption: str, port: int) -> None:
    (route,) = read_routes([(1, table)], {})
    server = vars(route.target)["_server"]
    assert (server.encryption, server.port) == (encryption, port)


@pytest.mark.parametrize(
    ("table", "key", "env_key"),
    [
        ({**SLACK, "url": "x"}, "url", "url_env"),
        ({"kind": "webhook", "url_env": "HOOK", "secret": "x"}, "secret", "secret_env"),
        ({**MAIL, "password": "x"}, "password", "password_env"),
    ],
)
def test_the_error_says_where_a_secret_belongs(table: dict[str, Any], key: str, env_key: str) -> None:
    expected = (
        f"Line 10: {key} is a secret, which must not be in the file. "
        f"Set {env_key} to the name of an environment variable."
    )
    assert _problems(table) == [expected]


def test_secrets_appear_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    statuses = (400, 302, 404)
    echo = {"X-Echo": "sesame", "Location": "https://sesame.example.com"}
    with Receiver(*(Reply(status, echo, b"sesame") for status in statuses)) as receiver:
        environment = {
            **ENVIRONMENT,
            "HOOK": f"{receiver.url}&token=sesame",
            "SLACK": f"{receiver.url}/services/sesame",
        }
        routes = read_routes(
            [
                (1, {"kind": "webhook", "url_env": "HOOK", "secret_env": "SECRET", "allow_private": True}),
                (2, {"kind": "slack", "url_env": "SLACK", "allow_private": True, "group": False}),
                (3, {"kind": "slack", "name": "gone", "url_env": "GONE"}),
                (4, {**MAIL, "host": "mail.invalid", "user": "lake", "password_env": "PASSWORD"}),
            ],
            {**environment, "GONE": "https://sesame.invalid/sesame"},
            network=_OFFLINE,
        )
        with Dispatcher(routes, tmp_path, timing=SkippingClock().times) as dispatcher:
            for symbol in "ABC":
                dispatcher.offer(make_alert(symbol))
                # more than the clock skips while it retries
                assert dispatcher.flush(3_600) == 0
            stats = dispatcher.stats()
    files = [path.read_text() for path in tmp_path.iterdir()]
    assert len(files) == 4
    out, err = capfd.readouterr()
    for text in (*files, repr(routes), repr(stats), caplog.text, out, err):
        assert "sesame" not in text
        assert SECRET.removeprefix("whsec_") not in text


def test_errors_show_no_secret_with_their_causes() -> None:
    (route,) = read_routes(
        [(1, {"kind": "slack", "url_env": "X"})], {"X": "https://sesame.invalid/sesame"}, network=_OFFLINE
    )
    with pytest.raises(Exception, match="slack") as caught:
        route.target.deliver(make_notification())
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


def test_the_guide_names_every_setting() -> None:
    for keys in KEYS_BY_KIND.values():
        for key in keys:
            assert f"`{key}`" in _GUIDE_TEXT, key


def test_the_example_of_the_guide_is_read() -> None:
    tables = tomllib.loads(_guide_code_block("toml"))["notify"]
    environment = {
        "SLACK_WEBHOOK_URL": ENVIRONMENT["SLACK"],
        "OPS_WEBHOOK_SECRET": SECRET,
        "SMTP_PASSWORD": "sesame",
    }
    routes = read_routes([(1, table) for table in tables], environment)
    assert [route.target.name for route in routes] == ["trading-desk", "ops", "email"]


def test_the_guides_receiver_verifies_our_signature() -> None:
    names: dict[str, Any] = {}
    exec(_guide_code_block("python"), names)  # noqa: S102 - the guide's code
    with Receiver() as receiver:
        table = {"kind": "webhook", "url": receiver.url, "secret_env": "SECRET", "allow_private": True}
        read_routes([(1, table)], ENVIRONMENT)[0].target.deliver(make_notification())
        request = receiver.next_request()
    assert names["is_genuine"](SECRET, request.headers, request.body)
    assert not names["is_genuine"](SECRET, request.headers, request.body + b" ")


_GUIDE_TEXT = (Path(__file__).parents[2] / "docs" / "notify.md").read_text(encoding="utf-8")


def _guide_code_block(language: str) -> str:
    return _GUIDE_TEXT.split(f"```{language}\n")[1].split("```")[0]


def _resolve(host: str, port: int) -> list[str]:
    if host != "127.0.0.1":
        raise socket.gaierror(-2, f"{host} is not known")
    return [host]


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    return socket.create_connection((_resolve(address, port)[0], port), timeout_s)


_OFFLINE = Network(resolve=_resolve, connect=_connect)
