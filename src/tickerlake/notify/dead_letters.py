"""Dead letters: undelivered alerts on disk, one NDJSON file per target."""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tickerlake import clock
from tickerlake.durable import fsync_dir, make_folder
from tickerlake.errors import DataError
from tickerlake.model.alert import Alert, decode_alert
from tickerlake.notify.notification import Notification

_SUFFIX = ".dead.ndjson"


class _StoredDeadLetter(msgspec.Struct):
    alert: msgspec.Raw
    group_id: str | None = None


class _DeadLetter(NamedTuple):
    alert: Alert
    group_id: str | None


class DeadLetters:
    """Appends alerts to ``<folder>/<target>.dead.ndjson``, with the reason and the number of attempts.

    Parameters
    ----------
    folder
        Created with the first dead letter.
    target
        The target's name.
    now_ns
        The wall clock.
    """

    def __init__(self, folder: Path, target: str, now_ns: Callable[[], int] = clock.now_ns) -> None:
        self.path = folder / f"{target}{_SUFFIX}"
        self._target = target
        self._now_ns = now_ns
        self._is_durable = False  # the name of the file, as far as this process knows
        self._lock = threading.Lock()

    def append(self, notifications: Sequence[Notification], reason: str, attempts: Sequence[int]) -> None:
        """Append all alerts of notifications, one line per alert; they are on disk when this returns.

        Parameters
        ----------
        notifications
            The undelivered notifications.
        reason
            Why they were not delivered; contains no secret.
        attempts
            The number of attempts per notification.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        now_ns = self._now_ns()
        lines = [
            msgspec.json.encode(
                {
                    "target": self._target,
                    "reason": reason,
                    "attempts": count,
                    "ts_dead_ns": now_ns,
                    "group_id": notification.id if notification.is_group else None,
                    "alert": msgspec.Raw(alert.to_json()),
                }
            )
            for notification, count in zip(notifications, attempts, strict=True)
            for alert in notification.alerts
        ]
        self.append_raw(lines)

    def rotate(self) -> list[Path]:
        """Rename the file for a resend, and return all files that wait for a resend, oldest first."""
        if self.path.exists():
            paths = (
                self.path.with_name(f"{self._target}.resending-{n:06}.ndjson") for n in itertools.count()
            )
            self.path.rename(next(path for path in paths if not path.exists()))
            # before a new file gets the name: after a power cut it could replace the renamed one
            fsync_dir(self.path.parent)
        return sorted(self.path.parent.glob(f"{self._target}.resending-*.ndjson"))

    def append_raw(self, lines: Sequence[bytes]) -> None:
        """Append lines unchanged."""
        with self._lock:
            self._write(b"".join(line + b"\n" for line in lines))

    def _write(self, data: bytes) -> None:
        if not self._is_durable or not self.path.exists():
            make_folder(self.path.parent.absolute())
            self._is_durable = False
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                # a crash may have truncated the last line
                data = data if file.read(1) == b"\n" else b"\n" + data
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not self._is_durable:
            fsync_dir(self.path.parent)
            self._is_durable = True


def read_dead_letters(data: bytes) -> tuple[list[Notification], list[bytes]]:
    """Return the notifications, grouped as before, and the lines that are not dead letters."""
    letters: list[_DeadLetter] = []
    unreadable: list[bytes] = []
    decoder = msgspec.json.Decoder(_StoredDeadLetter)
    for line in filter(None, data.split(b"\n")):
        try:
            stored = decoder.decode(line)
            letters.append(_DeadLetter(decode_alert(bytes(stored.alert)), stored.group_id))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DataError):
            unreadable.append(line)
    grouped = itertools.groupby(letters, key=lambda letter: letter.group_id or letter.alert.alert_id)
    return [Notification(tuple(letter.alert for letter in each)) for _, each in grouped], unreadable


def dead_letter_targets(folder: Path) -> set[str]:
    """Return the names of the targets that have dead letters in a folder."""
    return {path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}")}
