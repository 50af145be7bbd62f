"""Webhooks to a real server, verified by the library of Standard Webhooks."""

import base64
import email.utils
import json
import socket
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from support.certificates import Authority
from support.receivers import MOMENT_NS, Receiver, Reply, TrickleServer, a_note, an_alert
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.target import Refused, Unreachable
from tickerlake.notify.targets.webhook import Webhook, signing_key

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


def _webhook(url: str, **options: object) -> Webhook:
    options.setdefault("keys", [signing_key(SECRET)])
    return Webhook("ops", Endpoint.parse(url, allow_private=True), **options)  # type: ignore[arg-type]


def test_an_alert_arrives_signed() -> None:
    alert = an_alert()
    with Receiver() as receiver:
        _webhook(receiver.url, dashboard_url="https://lake.example.com").deliver(Notification((alert,)))
        request = receiver.received()
    document = Verifier(SECRET).verify(request.body, request.headers)
    assert request.path == "/hook?room=1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == alert.alert_id
    assert request.headers["content-type"] == "application/json"
    assert document == {
        "type": "alert.fired",
        "timestamp": "2024-01-02T14:30:00.000000Z",
        "data": json.loads(alert.to_json()),
        "url": f"https://lake.example.com/?symbol=AAPL&t={MOMENT_NS // 1_000_000}",
    }


def test_a_repeat_has_the_same_id_and_a_new_time() -> None:
    with Receiver() as receiver:
        target = _webhook(receiver.url, now_ns=iter([10**18, 2 * 10**18]).__next__)
        for _ in range(2):
            target.deliver(a_note())
        first, second = receiver.received().headers, receiver.received().headers
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] == "1000000000"
    assert first["webhook-signature"] != second["webhook-signature"]


def test_while_a_secret_changes_both_signatures_are_sent() -> None:
    with Receiver() as receiver:
        _webhook(receiver.url, keys=[signing_key(SECRET), signing_key(OTHER_SECRET)]).deliver(a_note())
        request = receiver.received()
    for secret in (SECRET, OTHER_SECRET):
        Verifier(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + "A" * 32).verify(request.body, request.headers)


def test_without_a_secret_there_is_no_signature() -> None:
    with Receiver() as receiver:
        _webhook(receiver.url, keys=()).deliver(a_note())
        assert "webhook-signature" not in receiver.received().headers


@pytest.mark.parametrize("state", ["cleared", "expired"])
def test_the_type_says_the_state(state: str) -> None:
    with Receiver() as receiver:
        _webhook(receiver.url).deliver(a_note(state=state))
        assert json.loads(receiver.received().body)["type"] == f"alert.{state}"


def test_a_group_lists_its_first_twenty() -> None:
    alerts = tuple(an_alert(f"S{number}") for number in range(25))
    with Receiver() as receiver:
        _webhook(receiver.url).deliver(Notification(alerts))
        document = json.loads(receiver.received().body)
    assert document["type"] == "alert.group"
    data = document["data"]
    assert (data["count"], len(data["alerts"]), data["omitted"]) == (25, 20, 5)
    assert data["alerts"][0] == json.loads(alerts[0].to_json())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_success(status: int) -> None:
    with Receiver(Reply(status, body=b"" if status == 204 else b"x" * 1_000_000)) as receiver:
        _webhook(receiver.url).deliver(a_note())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_may_succeed_later(status: int) -> None:
    busy = Receiver(Reply(status, {"Retry-After": "7"}))
    with busy as receiver, pytest.raises(Unreachable, match=f"ops answers {status}") as caught:
        _webhook(receiver.url).deliver(a_note())
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_will_not_succeed(status: int) -> None:
    with Receiver(Reply(status)) as receiver, pytest.raises(Refused, match=f"ops answers {status}"):
        _webhook(receiver.url).deliver(a_note())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (email.utils.formatdate(1_000_000_030, usegmt=True), 30),
        (email.utils.formatdate(999_999_000, usegmt=True), 0),
        ("99999999999999999999", 3600),
        ("-5", 0),
        ("soon", 0),
        ("²", 0),
    ],
)
def test_retry_after_in_other_words(text: str, seconds: float) -> None:
    busy = Receiver(Reply(503, {"Retry-After": text}))
    with busy as receiver, pytest.raises(Unreachable) as caught:
        _webhook(receiver.url, now_ns=lambda: 10**18).deliver(a_note())
    assert caught.value.retry_after_s == pytest.approx(seconds)


def test_a_dead_host_may_come_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="Connection refused"):
        _webhook(f"http://127.0.0.1:{port}/").deliver(a_note())


def test_a_name_that_nobody_knows_may_come_back() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Unreachable, match="The host of ops is not known"):
        _webhook("https://example.com/", network=Network(resolve=resolve)).deliver(a_note())


def test_a_server_that_never_answers_is_left() -> None:
    with Receiver(Reply(0)) as receiver:
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            _webhook(receiver.url, network=Network(total_s=0.2)).deliver(a_note())
        receiver.received()


def test_a_server_that_never_stops_answering_is_left() -> None:
    endless = TrickleServer(b"HTTP/1.1 200 OK\r\nX-Long: ")
    with endless as server, pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
        _webhook(f"http://127.0.0.1:{server.port}/", network=Network(total_s=0.3)).deliver(a_note())


def test_a_server_that_never_speaks_tls_is_left() -> None:
    # the byte after byte of this one is no handshake; a plain listener never begins one
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            _webhook(url, network=Network(total_s=0.2)).deliver(a_note())


def test_the_next_address_is_tried() -> None:
    def connect(address: str, port: int, timeout_s: float) -> socket.socket:
        if address == "::1":
            raise OSError(101, "Network is unreachable")
        return socket.create_connection((address, port), timeout_s)

    with Receiver() as receiver:
        network = Network(resolve=lambda host, port: ["::1", "127.0.0.1"], connect=connect)
        url = f"http://example.com:{receiver.port}/"
        _webhook(url, network=network).deliver(a_note())
        assert receiver.received().headers["host"] == f"example.com:{receiver.port}"


def test_tls_verifies_the_name_though_the_address_is_connected_to(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    network = Network(resolve=lambda host, port: ["127.0.0.1"], tls=authority.client)
    with Receiver(tls=authority.server("hooks.example.com")) as receiver:
        _webhook(f"https://hooks.example.com:{receiver.port}/", network=network).deliver(a_note())
        receiver.received()
        with pytest.raises(Refused, match="The certificate of ops is not valid: Hostname mismatch"):
            _webhook(f"https://other.example.com:{receiver.port}/", network=network).deliver(a_note())
        with pytest.raises(Refused, match="The certificate of ops is not valid: unable to get local issuer"):
            _webhook(
                f"https://hooks.example.com:{receiver.port}/",
                network=Network(resolve=lambda host, port: ["127.0.0.1"]),
            ).deliver(a_note())
        assert receiver.requests.empty()


def test_a_plain_server_behind_https_gets_nothing() -> None:
    with Receiver() as receiver:
        with pytest.raises(Unreachable):
            _webhook(receiver.url.replace("http:", "https:")).deliver(a_note())
        assert receiver.requests.empty()


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("abc", "does not begin with whsec_"),
        ("whsec_!!!!", "is not base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "holds 23 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "holds 65 bytes"),
        ("whsec_", "holds 0 bytes"),
    ],
)
def test_a_bad_secret_is_refused(secret: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        signing_key(secret)
    assert len(secret) <= len("whsec_") or secret not in str(caught.value)


def test_a_secret_without_padding_is_the_same() -> None:
    assert signing_key(SECRET.rstrip("=")) == signing_key(SECRET) == bytes(range(32))


def test_an_id_that_is_no_header_is_not_sent() -> None:
    with Receiver() as receiver:
        with pytest.raises(ValueError, match="Invalid header value"):
            _webhook(receiver.url).deliver(a_note(alert_id="x\r\nX-Evil: 1"))
        assert receiver.requests.empty()
