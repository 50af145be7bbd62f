"""Webhooks to a real server, verified by the library of Standard Webhooks."""

import base64
import email.utils
import json
import socket
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from support.certificates import CertificateAuthority
from support.receivers import EVENT_NS, Receiver, Reply, TrickleServer, make_alert, make_notification
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets import DeliveryRefused, TargetUnreachable
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.webhook import WebhookTarget, signing_key

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


def _webhook(url: str, **options: object) -> WebhookTarget:
    options.setdefault("keys", [signing_key(SECRET)])
    return WebhookTarget("ops", Endpoint.parse(url, allow_private=True), **options)  # type: ignore[arg-type]


def test_an_alert_arrives_signed() -> None:
    alert = make_alert()
    with Receiver() as receiver:
        _webhook(receiver.url, dashboard_url="https://lake.example.com").deliver(Notification((alert,)))
        request = receiver.next_request()
    document = Verifier(SECRET).verify(request.body, request.headers)
    assert request.path == "/hook?room=1"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == alert.alert_id
    assert request.headers["content-type"] == "application/json"
    assert document == {
        "type": "alert.fired",
        "timestamp": "2024-01-02T14:30:00.000000Z",
        "data": json.loads(alert.to_json()),
        "url": f"https://lake.example.com/?symbol=AAPL&t={EVENT_NS // 1_000_000}",
    }


def test_a_retry_has_the_same_id_and_a_new_timestamp() -> None:
    with Receiver() as receiver:
        target = _webhook(receiver.url, now_ns=iter([10**18, 2 * 10**18]).__next__)
        for _ in range(2):
            target.deliver(make_notification())
        first, second = receiver.next_request().headers, receiver.next_request().headers
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-timestamp"] == "1000000000"
    assert first["webhook-signature"] != second["webhook-signature"]


def test_both_signatures_are_sent_during_secret_rotation() -> None:
    with Receiver() as receiver:
        _webhook(receiver.url, keys=[signing_key(SECRET), signing_key(OTHER_SECRET)]).deliver(
            make_notification()
        )
        request = receiver.next_request()
    for secret in (SECRET, OTHER_SECRET):
        Verifier(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_" + "A" * 32).verify(request.body, request.headers)


def test_without_a_secret_there_is_no_signature() -> None:
    with Receiver() as receiver:
        _webhook(receiver.url, keys=()).deliver(make_notification())
        assert "webhook-signature" not in receiver.next_request().headers


@pytest.mark.parametrize("state", ["cleared", "expired"])
def test_the_event_type_contains_the_state(state: str) -> None:
    with Receiver() as receiver:
        _webhook(receiver.url).deliver(make_notification(state=state))
        assert json.loads(receiver.next_request().body)["type"] == f"alert.{state}"


def test_a_group_lists_its_first_twenty() -> None:
    alerts = tuple(make_alert(f"S{number}") for number in range(25))
    with Receiver() as receiver:
        _webhook(receiver.url).deliver(Notification(alerts))
        document = json.loads(receiver.next_request().body)
    assert document["type"] == "alert.group"
    data = document["data"]
    assert (data["count"], len(data["alerts"]), data["omitted"]) == (25, 20, 5)
    assert data["alerts"][0] == json.loads(alerts[0].to_json())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_success(status: int) -> None:
    with Receiver(Reply(status, body=b"" if status == 204 else b"x" * 1_000_000)) as receiver:
        _webhook(receiver.url).deliver(make_notification())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_retryable_responses(status: int) -> None:
    busy = Receiver(Reply(status, {"Retry-After": "7"}))
    with busy as receiver, pytest.raises(TargetUnreachable, match=f"ops returned {status}") as caught:
        _webhook(receiver.url).deliver(make_notification())
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_permanent_failures(status: int) -> None:
    with Receiver(Reply(status)) as receiver, pytest.raises(DeliveryRefused, match=f"ops returned {status}"):
        _webhook(receiver.url).deliver(make_notification())


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
def test_retry_after_formats(text: str, seconds: float) -> None:
    busy = Receiver(Reply(503, {"Retry-After": text}))
    with busy as receiver, pytest.raises(TargetUnreachable) as caught:
        _webhook(receiver.url, now_ns=lambda: 10**18).deliver(make_notification())
    assert caught.value.retry_after_s == pytest.approx(seconds)


def test_a_dead_host_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetUnreachable, match="Connection refused"):
        _webhook(f"http://127.0.0.1:{port}/").deliver(make_notification())


def test_an_unresolvable_name_is_retryable() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(TargetUnreachable, match="The host of ops cannot be resolved"):
        _webhook("https://example.com/", network=Network(resolve=resolve)).deliver(make_notification())


def test_a_server_that_never_answers_times_out() -> None:
    with Receiver(Reply(0)) as receiver:
        with pytest.raises(TargetUnreachable, match=r"no answer within 0\.2 s"):
            _webhook(receiver.url, network=Network(total_timeout_s=0.2)).deliver(make_notification())
        receiver.next_request()


def test_an_endless_response_times_out() -> None:
    endless = TrickleServer(b"HTTP/1.1 200 OK\r\nX-Long: ")
    with endless as server, pytest.raises(TargetUnreachable, match=r"no answer within 0\.3 s"):
        _webhook(f"http://127.0.0.1:{server.port}/", network=Network(total_timeout_s=0.3)).deliver(
            make_notification()
        )


def test_a_stalled_tls_handshake_times_out() -> None:
    # a plain listener never answers the handshake
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(TargetUnreachable, match=r"no answer within 0\.2 s"):
            _webhook(url, network=Network(total_timeout_s=0.2)).deliver(make_notification())


def test_the_next_address_is_tried() -> None:
    def connect(address: str, port: int, timeout_s: float) -> socket.socket:
        if address == "::1":
            raise OSError(101, "Network is unreachable")
        return socket.create_connection((address, port), timeout_s)

    with Receiver() as receiver:
        network = Network(resolve=lambda host, port: ["::1", "127.0.0.1"], connect=connect)
        url = f"http://example.com:{receiver.port}/"
        _webhook(url, network=network).deliver(make_notification())
        assert receiver.next_request().headers["host"] == f"example.com:{receiver.port}"


def test_tls_verifies_the_host_name_of_a_pinned_address(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    network = Network(resolve=lambda host, port: ["127.0.0.1"], tls_context=authority.client_context)
    with Receiver(tls=authority.server_context("hooks.example.com")) as receiver:
        _webhook(f"https://hooks.example.com:{receiver.port}/", network=network).deliver(make_notification())
        receiver.next_request()
        with pytest.raises(DeliveryRefused, match="The certificate of ops is not valid: Hostname mismatch"):
            _webhook(f"https://other.example.com:{receiver.port}/", network=network).deliver(
                make_notification()
            )
        with pytest.raises(
            DeliveryRefused, match="The certificate of ops is not valid: unable to get local issuer"
        ):
            _webhook(
                f"https://hooks.example.com:{receiver.port}/",
                network=Network(resolve=lambda host, port: ["127.0.0.1"]),
            ).deliver(make_notification())
        assert receiver.requests.empty()


def test_a_plain_server_behind_https_gets_nothing() -> None:
    with Receiver() as receiver:
        with pytest.raises(TargetUnreachable):
            _webhook(receiver.url.replace("http:", "https:")).deliver(make_notification())
        assert receiver.requests.empty()


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("abc", "does not begin with whsec_"),
        ("whsec_!!!!", "is not base64"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "has 23 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "has 65 bytes"),
        ("whsec_", "has 0 bytes"),
    ],
)
def test_an_invalid_secret_is_rejected(secret: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        signing_key(secret)
    assert len(secret) <= len("whsec_") or secret not in str(caught.value)


def test_a_secret_without_padding_is_the_same() -> None:
    assert signing_key(SECRET.rstrip("=")) == signing_key(SECRET) == bytes(range(32))


def test_an_id_that_is_not_a_valid_header_is_not_sent() -> None:
    with Receiver() as receiver:
        with pytest.raises(ValueError, match="Invalid header value"):
            _webhook(receiver.url).deliver(make_notification(alert_id="x\r\nX-Evil: 1"))
        assert receiver.requests.empty()
