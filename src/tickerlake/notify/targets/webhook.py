"""Webhooks, signed according to Standard Webhooks 1.0 (standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from tickerlake import clock
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.address import Endpoint
from tickerlake.notify.targets.network import Network
from tickerlake.notify.targets.post import post
from tickerlake.notify.text import dashboard_link, format_iso

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the specification's prefix of secrets
_KEY_LENGTHS: Final = range(24, 65)
"""The specification's lengths of keys, in bytes."""


class WebhookTarget:
    """Posts JSON ``{"type", "timestamp", "data"}``, and ``url`` if there is a dashboard.

    Parameters
    ----------
    name
        The name of the target.
    endpoint
        The URL.
    keys
        Keys to sign with (`signing_key`); several during the rotation of a secret.
    dashboard_url
        The base of links to the dashboard.
    network
        Name resolution, connections and timeouts.
    now_ns
        The wall clock, for the signature.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        *,
        keys: Sequence[bytes] = (),
        dashboard_url: str | None = None,
        network: Network | None = None,
        now_ns: Callable[[], int] = clock.now_ns,
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._keys = tuple(keys)
        self._dashboard_url = dashboard_url
        self._network = network or Network()
        self._now_ns = now_ns

    def __repr__(self) -> str:
        """Show only the name: URL and keys are secrets."""
        return f"WebhookTarget({self.name!r})"

    def deliver(self, notification: Notification) -> None:
        """Post one notification; ``webhook-id`` is the same in every attempt."""
        body = self._body(notification)
        sent_s = str(self._now_ns() // 1_000_000_000)
        headers = {"webhook-id": notification.id, "webhook-timestamp": sent_s}
        if self._keys:
            signed = f"{notification.id}.{sent_s}.".encode() + body
            headers["webhook-signature"] = " ".join(signature(key, signed) for key in self._keys)
        post(self.name, self._endpoint, body, headers, self._network, self._now_ns)

    def _body(self, notification: Notification) -> bytes:
        document: dict[str, Any] = {
            "type": notification.type,
            "timestamp": format_iso(notification.ts_event_ns),
            "data": notification.data(),
        }
        if link := dashboard_link(self._dashboard_url, notification.first):
            document["url"] = link
        return msgspec.json.encode(document)


def signature(key: bytes, signed_content: bytes) -> str:
    """Return ``v1,`` and the HMAC-SHA256 in base64."""
    return "v1," + base64.b64encode(hmac.new(key, signed_content, hashlib.sha256).digest()).decode()


def signing_key(secret: str) -> bytes:
    """Return the key in a secret ``whsec_…``.

    Raises
    ------
    ValueError
        Says what is invalid, without showing the secret.
    """
    if not secret.startswith(_SECRET_PREFIX):
        raise ValueError(f"does not begin with {_SECRET_PREFIX}")
    text = secret.removeprefix(_SECRET_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"is not base64 after {_SECRET_PREFIX}") from None
    if len(key) not in _KEY_LENGTHS:
        raise ValueError(f"has {len(key)} bytes, not 24 to 64")
    return key
