"""Mail to a real SMTP server."""

import base64
import contextlib
import socket
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, Envelope

from support.certificates import CertificateAuthority
from support.receivers import MailReceiver, TrickleServer, make_alert, make_notification
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets import DeliveryRefused, TargetUnreachable
from tickerlake.notify.targets.mail import EmailTarget, SmtpServer, is_loopback
from tickerlake.notify.targets.network import Network

PASSWORD = "correct-horse-battery"


def _mail(port: int, **options: Any) -> EmailTarget:
    server = options.pop("server", SmtpServer("127.0.0.1", port, "none"))
    options.setdefault("recipients", ["ann@example.com"])
    return EmailTarget("desk", server, sender="lake@example.com", **options)


def _read(envelope: Envelope) -> EmailMessage:
    content = envelope.content
    assert isinstance(content, bytes)
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_an_alert_arrives_in_text_and_html() -> None:
    with MailReceiver() as receiver:
        alert = make_alert(message="AAPL fell <b>3.1 %</b>")
        target = _mail(
            receiver.port,
            recipients=["ann@example.com", "ben@example.com"],
            dashboard_url="https://lake.example.com",
            now_ns=lambda: 10**18,
        )
        target.deliver(Notification((alert,)))
        envelope = receiver.mails.get(timeout=30)
    message = _read(envelope)
    assert envelope.mail_from == "lake@example.com"
    assert envelope.rcpt_tos == ["ann@example.com", "ben@example.com"]
    assert message["Subject"] == "[WARNING] AAPL: pct_change down"
    assert message["To"] == "ann@example.com, ben@example.com"
    assert message["Date"] == "Sun, 09 Sep 2001 01:46:40 +0000"
    assert message["Message-ID"] == f"<{alert.alert_id}@tickerlake>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert _part(message, "plain").splitlines() == [
        "AAPL fell <b>3.1 %</b>",
        "",
        "warning · fired · 2024-01-02T14:30:00.000000Z",
        "rule fast-move",
        "https://lake.example.com/?symbol=AAPL&t=1704205800000",
    ]
    text = _part(message, "html")
    assert "AAPL fell &lt;b&gt;3.1 %&lt;/b&gt;<br>" in text
    assert 'href="https://lake.example.com/?symbol=AAPL&amp;t=1704205800000"' in text


def test_a_group_is_one_mail() -> None:
    with MailReceiver() as receiver:
        _mail(receiver.port).deliver(Notification(tuple(make_alert(f"S{number}") for number in range(25))))
        message = _read(receiver.mails.get(timeout=30))
        assert receiver.mails.empty()
    assert message["Subject"] == "[WARNING] 25 alerts: pct_change down"
    assert "… and 5 more" in _part(message, "plain")


@pytest.mark.parametrize("field", ["message", "symbol", "kind", "rule_id", "alert_id"])
def test_alert_text_cannot_inject_headers(field: str) -> None:
    evil = "x\r\nBcc: eve@example.com\r\n\r\n.\r\nMAIL FROM:<eve@example.com>"
    with MailReceiver() as receiver:
        # an error instead of a mail is fine, too
        with contextlib.suppress(ValueError):
            _mail(receiver.port).deliver(make_notification(**{"message": "AAPL moved", field: evil}))
            envelope = receiver.mails.get(timeout=30)
            assert envelope.rcpt_tos == ["ann@example.com"]
            assert _read(envelope)["Bcc"] is None
        assert receiver.mails.empty()


def test_a_symbol_with_a_line_break_stays_on_the_subject_line() -> None:
    with MailReceiver() as receiver:
        _mail(receiver.port).deliver(make_notification(symbol="A\nB", instrument_id="A"))
        message = _read(receiver.mails.get(timeout=30))
    assert message["Subject"] == "[WARNING] A B: pct_change down"


@pytest.mark.parametrize(
    ("refusals", "recipients", "error", "message"),
    [
        (["450 later"], 1, TargetUnreachable, "desk refuses all recipients (450)."),
        (["550 nobody"], 1, DeliveryRefused, "desk refuses all recipients (550)."),
        (["550 nobody", "450 later"], 2, TargetUnreachable, "desk refuses all recipients (450)."),
        (["550 nobody", ""], 2, DeliveryRefused, "desk accepts the mail, but not for 1 of its recipients."),
        (["DATA:451 later"], 1, TargetUnreachable, "desk refuses the mail (451)."),
        (["DATA:554 spam"], 1, DeliveryRefused, "desk refuses the mail (554)."),
    ],
)
def test_smtp_errors(refusals: list[str], recipients: int, error: type[Exception], message: str) -> None:
    with MailReceiver(refusals) as receiver:
        names = [f"user{number}@example.com" for number in range(recipients)]
        with pytest.raises(error) as caught:
            _mail(receiver.port, recipients=names).deliver(make_notification())
    assert isinstance(caught.value, TargetUnreachable | DeliveryRefused)
    assert caught.value.message == message


def test_a_dead_server_is_retryable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TargetUnreachable, match="Connection refused"):
        _mail(port).deliver(make_notification())


def test_a_server_that_never_greets_times_out() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, pytest.raises(TargetUnreachable, match=r"no answer within 0\.2 s"):
        _mail(listener.getsockname()[1], network=Network(total_timeout_s=0.2)).deliver(make_notification())


def test_an_endless_response_times_out() -> None:
    with TrickleServer(b"220 ") as server, pytest.raises(TargetUnreachable, match=r"no answer within 0\.3 s"):
        _mail(server.port, network=Network(total_timeout_s=0.3)).deliver(make_notification())


def test_a_web_server_is_not_a_mail_server() -> None:
    web = TrickleServer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with web as server, pytest.raises(TargetUnreachable, match="desk does not speak SMTP"):
        _mail(server.port).deliver(make_notification())


def _authenticate(
    server: object, session: object, envelope: object, mechanism: str, credentials: Any
) -> AuthResult:
    is_valid = (credentials.login, credentials.password) == (b"lake", PASSWORD.encode())
    return AuthResult(success=is_valid, handled=False)


def _secure_options(tmp_path: Path, port: int, **server: Any) -> dict[str, Any]:
    settings = {"host": "mail.example.com", "port": port, "user": "lake", "password": PASSWORD, **server}
    return {
        "server": SmtpServer(**settings),
        "network": Network(
            connect=lambda host, at, timeout_s: socket.create_connection(("127.0.0.1", at), timeout_s),
            tls_context=_authority(tmp_path).client_context,
        ),
    }


_AUTHORITIES: dict[Path, CertificateAuthority] = {}


def _authority(tmp_path: Path) -> CertificateAuthority:
    return _AUTHORITIES.setdefault(tmp_path, CertificateAuthority(tmp_path))


def test_starttls_and_login(tmp_path: Path) -> None:
    context = _authority(tmp_path).server_context("mail.example.com")
    options: dict[str, Any] = {
        "tls_context": context,
        "require_starttls": True,
        "authenticator": _authenticate,
    }
    with MailReceiver(**options, auth_required=True) as receiver:
        _mail(receiver.port, **_secure_options(tmp_path, receiver.port)).deliver(make_notification())
        assert receiver.mails.get(timeout=30).rcpt_tos == ["ann@example.com"]
        with pytest.raises(DeliveryRefused, match=r"refuses the login \(535\)"):
            _mail(receiver.port, **_secure_options(tmp_path, receiver.port, password="wrong")).deliver(
                make_notification()
            )
        with pytest.raises(DeliveryRefused, match="The certificate of desk is not valid: Hostname mismatch"):
            _mail(receiver.port, **_secure_options(tmp_path, receiver.port, host="evil.example.com")).deliver(
                make_notification()
            )
        assert receiver.mails.empty()


def test_implicit_tls(tmp_path: Path) -> None:
    with MailReceiver(
        ssl_context=_authority(tmp_path).server_context("mail.example.com"),
        server_hostname="mail.example.com",
    ) as receiver:
        options = _secure_options(tmp_path, receiver.port, encryption="tls", user=None, password=None)
        _mail(receiver.port, **options).deliver(make_notification())
        assert receiver.mails.get(timeout=30).rcpt_tos == ["ann@example.com"]


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    with MailReceiver(authenticator=_authenticate, auth_require_tls=False) as receiver:
        with pytest.raises(DeliveryRefused, match="does not support these settings"):
            _mail(receiver.port, **_secure_options(tmp_path, receiver.port)).deliver(make_notification())
        assert receiver.mails.empty()


def test_server_responses_are_not_exposed(tmp_path: Path) -> None:
    echo = base64.b64encode(PASSWORD.encode()).decode()
    with MailReceiver([f"DATA:554 {PASSWORD} {echo}"]) as receiver, pytest.raises(DeliveryRefused) as caught:
        _mail(receiver.port).deliver(make_notification())
    text = f"{caught.value} {caught.value.__cause__!r}"
    assert PASSWORD not in text
    assert echo not in text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
