"""What could not be delivered, kept on disk: one NDJSON file for each target."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tickerlake import clock
from tickerlake.notify.notification import Notification


class DeadLetters:
    """Appends alerts to ``<folder>/<target>.dead.ndjson``, each with the reason and the attempts.

    Parameters
    ----------
    folder
        Made when the first alert comes.
    target
        The target's name.
    now_ns
        The wall clock.
    """

    def __init__(self, folder: Path, target: str, now_ns: Callable[[], int] = clock.now_ns) -> None:
        self.path = folder / f"{target}.dead.ndjson"
        self._target = target
        self._now_ns = now_ns
        self._lock = threading.Lock()

    def keep(self, notifications: Sequence[Notification], reason: str, attempts: Sequence[int]) -> None:
        """Append all alerts of some notifications; they are on disk when this returns.

        Parameters
        ----------
        notifications
            A group's alerts become one line each.
        reason
            Why they were not delivered; holds no secret.
        attempts
            How often each notification was tried.

        Raises
        ------
        OSError
            If they can't be written.
        """
        now_ns = self._now_ns()
        lines = [
            msgspec.json.encode(
                {
                    "target": self._target,
                    "reason": reason,
                    "attempts": tried,
                    "ts_dead_ns": now_ns,
                    "group_id": notification.id if notification.is_group else None,
                    "alert": msgspec.Raw(alert.to_json()),
                }
            )
            for notification, tried in zip(notifications, attempts, strict=True)
            for alert in notification.alerts
        ]
        with self._lock:
            self._append(b"".join(line + b"\n" for line in lines))

    def _append(self, data: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                # a crash may have torn the last line
                data = data if file.read(1) == b"\n" else b"\n" + data
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            _sync_folder(self.path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
