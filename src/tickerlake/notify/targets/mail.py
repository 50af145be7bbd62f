"""E-mail over SMTP: one message per notification, as plain text and simple HTML."""

import contextlib
import html
import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Literal

from tickerlake import clock
from tickerlake.notify.notification import MAX_LISTED, Notification
from tickerlake.notify.targets import DeliveryRefused, TargetUnreachable
from tickerlake.notify.targets.network import Deadline, Network
from tickerlake.notify.text import (
    dashboard_link,
    format_iso,
    headline,
    sanitize_line,
    truncate,
    utc_datetime,
)

Encryption = Literal["starttls", "tls", "none"]

_MAX_SUBJECT_CHARS: Final = 150
"""More than mail clients show; long symbols and kinds must not make it endless."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """How to reach an SMTP server.

    Parameters
    ----------
    host, port
        Its address.
    encryption
        ``starttls`` upgrades the connection, ``tls`` is implicit TLS; ``none`` is for loopback only.
    user, password
        The login, if the server requires one.
    """

    host: str
    port: int = 587
    encryption: Encryption = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def is_loopback(host: str) -> bool:
    """Return whether a host is certainly loopback; names are not resolved."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class EmailTarget:
    """Sends one mail per notification.

    Parameters
    ----------
    name
        The name of the target.
    server
        The SMTP server.
    sender, recipients
        E-mail addresses.
    dashboard_url
        The base of links to the dashboard.
    network
        Connections and timeouts.
    now_ns
        The wall clock, for the date of the mail.
    """

    def __init__(
        self,
        name: str,
        server: SmtpServer,
        *,
        sender: str,
        recipients: Sequence[str],
        dashboard_url: str | None = None,
        network: Network | None = None,
        now_ns: Callable[[], int] = clock.now_ns,
    ) -> None:
        self.name = name
        self._server = server
        self._sender = sender
        self._recipients = tuple(recipients)
        self._dashboard_url = dashboard_url
        self._network = network or Network()
        self._now_ns = now_ns

    def __repr__(self) -> str:
        """Show only the name: the rest helps to log in."""
        return f"EmailTarget({self.name!r})"

    def deliver(self, notification: Notification) -> None:
        """Send one notification to all recipients."""
        message = self._message(notification)
        with Deadline(self._network.total_timeout_s) as deadline:
            try:
                refused = self._send(message, deadline)
            except smtplib.SMTPException as error:
                raise self._delivery_error(error, deadline) from None
            except ssl.SSLCertVerificationError as error:
                raise DeliveryRefused(
                    f"The certificate of {self.name} is not valid: {error.verify_message}.", "Check its host."
                ) from None
            except OSError as error:
                raise self._unreachable_error(error.strerror or type(error).__name__, deadline) from None
        if refused:
            raise DeliveryRefused(
                f"{self.name} accepts the mail, but not for {len(refused)} of its recipients.", "Check `to`."
            )

    def _send(self, message: EmailMessage, deadline: Deadline) -> dict[str, tuple[int, bytes]]:
        connection = _SmtpConnection(self._server, self._network, deadline)
        with contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            connection.secure()
            if self._server.user is not None:
                connection.login(self._server.user, self._server.password or "")
            refused = connection.send_message(message, self._sender, self._recipients)
            # the mail was accepted: an error after that must not send it again
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.quit()
            return refused

    def _delivery_error(
        self, error: smtplib.SMTPException, deadline: Deadline
    ) -> TargetUnreachable | DeliveryRefused:
        # the server's text is not passed on: servers echo what they receive, secrets included
        if deadline.has_passed or isinstance(error, smtplib.SMTPServerDisconnected):
            return self._unreachable_error("the connection was closed", deadline)
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
            return self._response_error("refuses all recipients", min(codes), "Check `to`.")
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return self._response_error(
                "refuses the login", error.smtp_code, "Check `user` and `password_env`."
            )
        if isinstance(error, smtplib.SMTPResponseException):
            return self._response_error("refuses the mail", error.smtp_code, "Check `host`, `from` and `to`.")
        return DeliveryRefused(
            f"{self.name} does not support these settings ({type(error).__name__}).",
            "Check `tls` and `user`.",
        )

    def _response_error(self, what: str, code: int, hint: str) -> TargetUnreachable | DeliveryRefused:
        message = f"{self.name} {what} ({code})."
        if 500 <= code < 600:
            return DeliveryRefused(message, hint)
        # smtplib reports -1 for a response that is not SMTP
        return TargetUnreachable(message if code > 0 else f"{self.name} does not speak SMTP.", hint)

    def _unreachable_error(self, what: str, deadline: Deadline) -> TargetUnreachable:
        reason = f"no answer within {self._network.total_timeout_s:g} s" if deadline.has_passed else what
        return TargetUnreachable(f"{self.name} cannot be reached: {reason}.", "Check `host` and `port`.")

    def _message(self, notification: Notification) -> EmailMessage:
        lines = self._body_lines(notification)
        link = dashboard_link(self._dashboard_url, notification.first)
        message = EmailMessage(SMTP)
        message["Subject"] = subject_line(notification)
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Date"] = format_datetime(utc_datetime(self._now_ns()))
        message["Message-ID"] = f"<{sanitize_line(notification.id)}@tickerlake>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content("\n".join([*lines, *([link] if link else [])]) + "\n", cte="quoted-printable")
        message.add_alternative(_render_html(lines, link), subtype="html", cte="quoted-printable")
        return message

    def _body_lines(self, notification: Notification) -> list[str]:
        first = notification.first
        lines = [notification.text, ""]
        if notification.is_group:
            lines += [headline(alert) for alert in notification.alerts[:MAX_LISTED]]
            more = len(notification.alerts) - MAX_LISTED
            lines += [f"… and {more} more"] if more > 0 else []
            lines.append("")
        lines.append(f"{notification.severity} · {first.state} · {format_iso(notification.ts_event_ns)}")
        lines.append(f"rule {sanitize_line(first.rule_id)}")
        return lines


def subject_line(notification: Notification) -> str:
    """Return the subject line: severity or state, symbol, kind and direction."""
    first = notification.first
    word = notification.severity.upper() if first.state == "fired" else first.state
    name = f"{len(notification.alerts)} alerts" if notification.is_group else first.symbol
    direction = f" {first.direction}" if first.direction != "none" else ""
    return truncate(sanitize_line(f"[{word}] {name}: {first.kind}{direction}"), _MAX_SUBJECT_CHARS)


def _render_html(lines: Sequence[str], link: str | None) -> str:
    body = "<br>\n".join(html.escape(line) for line in lines)
    anchor = f'\n<p><a href="{html.escape(link)}">Dashboard</a></p>' if link else ""
    return f"<!doctype html>\n<p>{body}</p>{anchor}\n"


class _SmtpConnection(smtplib.SMTP):
    """An SMTP connection with a deadline, over verified TLS unless it is turned off."""

    def __init__(self, server: SmtpServer, network: Network, deadline: Deadline) -> None:
        self._settings = server
        self._network = network
        self._deadline = deadline
        # this connects
        super().__init__(server.host, server.port, socket.gethostname(), timeout=network.connect_timeout_s)

    def secure(self) -> None:
        """Upgrade the connection if the encryption is STARTTLS; fail if the server does not support it."""
        if self._settings.encryption == "starttls":
            self.starttls(context=self._network.tls_context())

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = self._network.connect(host, port, timeout)
        self._deadline.add(plain)
        # a fallback: the deadline is earlier
        plain.settimeout(self._deadline.remaining_s() + 1)
        if self._settings.encryption != "tls":
            return plain
        try:
            return self._network.tls_context().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
