"""What a target is, and the two ways in which it fails."""

from typing import Protocol

from tickerlake.errors import Terminal, TickerlakeError, Transient
from tickerlake.notify.notification import Notification


class TargetUnreachable(TickerlakeError, Transient):
    """The target does not answer, or asks to be left alone for ``retry_after_s``."""

    exit_code = 3

    def __init__(self, message: str, hint: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DeliveryRefused(TickerlakeError, Terminal):
    """The target, or our own guard, refuses this notification."""


class Target(Protocol):
    """Somewhere to deliver to. Only one thread uses it."""

    name: str

    def deliver(self, notification: Notification) -> None:
        """Deliver one notification.

        Raises
        ------
        Unreachable
            If the same may succeed later.
        Refused
            If it will not. Neither error shows a secret.
        """
        ...
