"""Notification targets: each delivers in its own way, and knows nothing of queues and retries."""

from typing import Protocol

from tickerlake.errors import Terminal, TickerlakeError, Transient
from tickerlake.notify.notification import Notification


class TargetUnreachable(TickerlakeError, Transient):
    """The target does not answer, or asks to be retried after ``retry_after_s``."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DeliveryRefused(TickerlakeError, Terminal):
    """The target, or a security check before it, refuses this notification."""


class Target(Protocol):
    """A destination of notifications, used by one thread only."""

    name: str

    def deliver(self, notification: Notification) -> None:
        """Deliver one notification.

        Raises
        ------
        TargetUnreachable
            If a retry may succeed.
        DeliveryRefused
            If a retry will not succeed. Neither error shows a secret.
        """
        ...
