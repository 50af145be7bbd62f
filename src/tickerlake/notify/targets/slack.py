"""Slack's incoming webhooks, and compatible services."""

from typing import Any, Final

import msgspec

from tickerlake.notify.notification import MAX_LISTED, Notification
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.post import post
from tickerlake.notify.text import dashboard_link, format_iso, headline, sanitize_line

_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MAX_TEXT_CHARS: Final = 2_900
"""Slack rejects blocks of more than 3,000 characters; this leaves room for the ellipsis."""


class SlackTarget:
    """Posts one message per notification.

    Parameters
    ----------
    name
        The name of the target.
    endpoint
        The URL of the incoming webhook, which is a secret.
    dashboard_url
        The base of links to the dashboard.
    network
        Name resolution, connections and timeouts.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        dashboard_url: str | None = None,
        network: Network | None = None,
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._dashboard_url = dashboard_url
        self._network = network or Network()

    def __repr__(self) -> str:
        """Show only the name: the URL is a secret."""
        return f"SlackTarget({self.name!r})"

    def deliver(self, notification: Notification) -> None:
        """Post one notification."""
        body = msgspec.json.encode(self._message(notification))
        post(self.name, self._endpoint, body, {}, self._network)

    def _message(self, notification: Notification) -> dict[str, Any]:
        title = f"{notification.severity.upper()} {notification.text}"
        if not notification.is_group and notification.first.state != "fired":
            title = f"{notification.first.state}: {notification.text}"
        lines = [title]
        if notification.is_group:
            lines += [f"• {headline(alert)}" for alert in notification.alerts[:MAX_LISTED]]
            lines += _more_line(notification)
        blocks: list[dict[str, Any]] = [
            {"type": "section", "text": _plain_text("\n".join(lines))},
            {"type": "context", "elements": self._context(notification)},
        ]
        # `text` is for push notifications and screen readers
        return {"text": _escape(title), "mrkdwn": False, "unfurl_links": False, "blocks": blocks}

    def _context(self, notification: Notification) -> list[dict[str, Any]]:
        context = [
            _plain_text(
                f"{format_iso(notification.ts_event_ns)} · {sanitize_line(notification.first.rule_id)}"
            )
        ]
        if link := dashboard_link(self._dashboard_url, notification.first):
            context.append({"type": "mrkdwn", "verbatim": True, "text": f"<{_escape(link)}|Dashboard>"})
        return context


def _more_line(notification: Notification) -> list[str]:
    more = len(notification.alerts) - MAX_LISTED
    return [f"… and {more} more"] if more > 0 else []


def _plain_text(text: str) -> dict[str, Any]:
    # plain text: no *bold*, no :emoji:, no <!channel>
    return {"type": "plain_text", "emoji": False, "text": _escape(text)}


def _escape(text: str) -> str:
    parts = [_ENTITIES.get(character, character) for character in text]
    length = 0
    for index, part in enumerate(parts):
        length += len(part)
        if length > _MAX_TEXT_CHARS:
            return "".join(parts[:index]) + "…"
    return "".join(parts)
