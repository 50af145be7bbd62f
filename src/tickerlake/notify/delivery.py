"""Delivery to one target, with a queue and a thread per target: a slow or dead target delays no other.

A notification is retried until ``give_up_after_s`` after it was queued. The backoff is per target, so that a
target that is down gets one attempt a minute, however many notifications wait. A notification that fails
alone lets others pass, except those with the same ``dedup_key``: a cleared alert never overtakes the fired
one.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from tickerlake.clock import Timing
from tickerlake.errors import TickerlakeError, Transient
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets import Target

DEFAULT_GIVE_UP_AFTER_S: Final = 600.0
"""Covers a restart of the receiver; an alert that is ten minutes late no longer helps a trader."""

MAX_QUEUED: Final = 10_000
"""Bounds memory: beyond it, alerts wait on disk, as dead letters."""

_INITIAL_BACKOFF_S: Final = 1.0
_MAX_BACKOFF_S: Final = 60.0
_MAX_DOUBLINGS: Final = 16
"""Far beyond `_MAX_BACKOFF_S`; prevents an overflow after a thousand failures."""

_WRITE_TIMEOUT_S: Final = 5.0
"""How long `DeliveryWorker.close` waits for dead letters that the thread is writing."""

_DOWN_AFTER_FAILURES: Final = 3
"""After this many failures in a row the target is down; before that, it may be one bad message."""


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """What happened to a target's alerts.

    Parameters
    ----------
    delivered, dead_lettered, queued
        Alerts that were delivered, were written to the dead letters, or wait.
    retried
        Failed attempts that were followed by another one.
    lost
        Alerts that could not be written to the dead letters either.
    last_error
        The last failure.
    """

    delivered: int = 0
    retried: int = 0
    dead_lettered: int = 0
    queued: int = 0
    lost: int = 0
    last_error: str | None = None


@dataclass(eq=False, slots=True)
class _QueuedNotification:
    notification: Notification
    deadline_s: float
    not_before_s: float = 0.0
    attempts: int = 0

    @property
    def alert_count(self) -> int:
        return len(self.notification.alerts)


class _Phase(Enum):
    RUNNING = auto()
    DRAINING = auto()
    """New notifications go to the dead letters; the queued ones are still delivered."""
    CLOSED = auto()


class _Backoff:
    """When the target can be tried again: exponential backoff with jitter."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.consecutive_failures = 0
        self.not_before_s = 0.0

    @property
    def is_down(self) -> bool:
        return self.consecutive_failures >= _DOWN_AFTER_FAILURES

    def record_success(self) -> None:
        self.consecutive_failures = 0

    def record_failure(self, now_s: float, min_delay_s: float) -> None:
        self.consecutive_failures += 1
        self.not_before_s = now_s + max(self.delay_s(self.consecutive_failures), min_delay_s)

    def delay_s(self, failures: int) -> float:
        doublings = min(failures - 1, _MAX_DOUBLINGS)
        return self._timing.jitter(min(_INITIAL_BACKOFF_S * 2.0**doublings, _MAX_BACKOFF_S))


class DeliveryWorker:
    """Delivers to one target in a thread.

    Parameters
    ----------
    target
        The target.
    dead_letters
        Where alerts go that cannot be delivered.
    give_up_after_s
        How long a notification is retried.
    max_queued
        How many alerts can wait; further ones become dead letters.
    timing
        Clock, jitter and waiting.
    """

    def __init__(
        self,
        target: Target,
        dead_letters: DeadLetters,
        *,
        give_up_after_s: float = DEFAULT_GIVE_UP_AFTER_S,
        max_queued: int = MAX_QUEUED,
        timing: Timing | None = None,
    ) -> None:
        self._target = target
        self._dead_letters = dead_letters
        self._give_up_after_s = give_up_after_s
        self._max_queued = max_queued
        self._timing = timing or Timing()
        self._changed = threading.Condition()
        self._queue: OrderedDict[_QueuedNotification, None] = OrderedDict()
        self._in_flight: _QueuedNotification | None = None
        self._backoff = _Backoff(self._timing)
        self._phase = _Phase.RUNNING
        self._stats = DeliveryStats()
        self._thread = threading.Thread(target=self._run, name=f"notify-{target.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The name of the target."""
        return self._target.name

    def submit(self, notifications: Sequence[Notification]) -> None:
        """Queue notifications; never waits for the target."""
        overflow = []
        with self._changed:
            deadline_s = self._timing.monotonic_s() + self._give_up_after_s
            queued_count = self._stats.queued
            for notification in notifications:
                queued = _QueuedNotification(notification, deadline_s)
                is_full = queued_count > 0 and queued_count + queued.alert_count > self._max_queued
                if is_full or self._phase is not _Phase.RUNNING:
                    overflow.append(queued)
                else:
                    self._queue[queued] = None
                queued_count += queued.alert_count
            self._stats = replace(self._stats, queued=queued_count)
            reason = "The queue is full." if self._phase is _Phase.RUNNING else "It was closed."
            self._changed.notify_all()
        self._dead_letter(overflow, reason)

    def stats(self) -> DeliveryStats:
        """Return the current counts."""
        with self._changed:
            return self._stats

    def wait_until_empty(self, timeout_s: float | None) -> int:
        """Wait until nothing is queued or the timeout is over, and return how many alerts still are."""
        with self._changed:
            self._changed.wait_for(lambda: self._stats.queued == 0, timeout_s)
            return self._stats.queued

    def drain(self) -> None:
        """Accept nothing more, and end when everything is delivered."""
        with self._changed:
            if self._phase is _Phase.RUNNING:
                self._phase = _Phase.DRAINING
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Deliver what is queued within the timeout; the rest becomes dead letters."""
        self.drain()
        self._thread.join(timeout_s)
        with self._changed:
            self._phase = _Phase.CLOSED
            in_flight, rest = self._in_flight, list(self._queue)
            self._queue.clear()
            self._in_flight = None
            self._changed.notify_all()
        self._dead_letter(
            [queued for queued in rest if queued is not in_flight], "It was closed before its turn."
        )
        self._dead_letter(
            [in_flight] if in_flight else [], "It was closed during the attempt: it may have arrived."
        )
        # the thread may still be writing its last dead letters
        self.wait_until_empty(_WRITE_TIMEOUT_S)

    def _run(self) -> None:
        while (queued := self._next_ready()) is not None:
            self._attempt(queued)

    def _next_ready(self) -> _QueuedNotification | None:
        with self._changed:
            while self._phase is not _Phase.CLOSED:
                if not self._queue and self._phase is _Phase.DRAINING:
                    return None
                queued, ready_at_s = self._select(self._timing.monotonic_s())
                if queued is not None:
                    self._in_flight = queued
                    return queued
                self._timing.wait(self._changed, ready_at_s)
            return None

    def _select(self, now_s: float) -> tuple[_QueuedNotification | None, float | None]:
        """Return a notification to try now, or when to check again (None: when something changes)."""
        if not self._queue:
            return None, None
        if self._backoff.not_before_s > now_s:
            return None, self._backoff.not_before_s
        blocked_keys: set[str] = set()
        ready: list[_QueuedNotification] = []
        retry_times_s: list[float] = []
        for queued in self._queue:
            keys = {alert.dedup_key for alert in queued.notification.alerts}
            if queued.not_before_s > now_s:
                retry_times_s.append(queued.not_before_s)
            elif blocked_keys.isdisjoint(keys):
                # after a failure, another notification shows whether the message or the target is at fault
                if not self._backoff.consecutive_failures or not queued.attempts:
                    return queued, None
                ready.append(queued)
            blocked_keys |= keys
        return (ready[0], None) if ready else (None, min(retry_times_s))

    def _attempt(self, queued: _QueuedNotification) -> None:
        queued.attempts += 1
        try:
            self._target.deliver(queued.notification)
        except TickerlakeError as error:
            self._on_failure(queued, error.message, error if isinstance(error, Transient) else None)
        except Exception as error:
            # a bug in a target must not end its thread; the exception's text may contain secrets
            self._on_failure(queued, f"{type(error).__name__} in the target {self.name}.", None)
        else:
            self._on_delivered(queued)

    def _on_delivered(self, queued: _QueuedNotification) -> None:
        with self._changed:
            if self._remove([queued]):
                self._stats = replace(
                    self._stats,
                    queued=self._stats.queued - queued.alert_count,
                    delivered=self._stats.delivered + queued.alert_count,
                )
            self._backoff.record_success()
            self._in_flight = None
            self._changed.notify_all()

    def _on_failure(self, queued: _QueuedNotification, message: str, transient: Transient | None) -> None:
        with self._changed:
            self._in_flight = None
            now_s = self._timing.monotonic_s()
            retry_after_s = transient.retry_after_s if transient is not None else 0.0
            self._backoff.record_failure(now_s, retry_after_s)
            queued.not_before_s = now_s + max(self._backoff.delay_s(queued.attempts), retry_after_s)
            retry_at_s = max(queued.not_before_s, self._backoff.not_before_s)
            will_retry = transient is not None and retry_at_s <= queued.deadline_s
            expired = self._expired(now_s)
            if not will_retry:
                expired = [queued, *(other for other in expired if other is not queued)]
            expired = self._remove(expired)
            self._stats = replace(self._stats, last_error=message, retried=self._stats.retried + will_retry)
        self._dead_letter(expired, message)

    def _expired(self, now_s: float) -> list[_QueuedNotification]:
        """Return what has waited too long for a target that is down."""
        return (
            [queued for queued in self._queue if queued.deadline_s <= now_s] if self._backoff.is_down else []
        )

    def _remove(self, notifications: Sequence[_QueuedNotification]) -> list[_QueuedNotification]:
        """Remove notifications from the queue; return those that `close` has not already removed."""
        removed = [queued for queued in notifications if queued in self._queue]
        for queued in removed:
            del self._queue[queued]
        return removed

    def _dead_letter(self, notifications: Sequence[_QueuedNotification], reason: str) -> None:
        if not notifications:
            return
        count = sum(queued.alert_count for queued in notifications)
        failure = None
        try:
            self._dead_letters.append(
                [queued.notification for queued in notifications],
                reason,
                [queued.attempts for queued in notifications],
            )
        except Exception as error:
            # the thread must continue, and lost alerts must be counted
            failure = f"The dead letters of {self.name} cannot be written: {type(error).__name__}."
        with self._changed:
            stats = replace(self._stats, queued=self._stats.queued - count)
            if failure is None:
                self._stats = replace(stats, dead_lettered=stats.dead_lettered + count)
            else:
                self._stats = replace(stats, lost=stats.lost + count, last_error=failure)
            self._changed.notify_all()
