"""One target's queue and thread: what is slow or down here is so for nobody else.

A notification is tried until its time is over (``give_up_after_s`` from when it was queued), quickly at first
and then ever more rarely; the pause is the target's, so a target that is down is tried once a minute,
however many wait. What fails alone steps aside for the others, except for what is told
of the same thing: a cleared alert never overtakes the fired one.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tickerlake.clock import Timing
from tickerlake.errors import TickerlakeError, Transient
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.target import Target

DEFAULT_GIVE_UP_AFTER_S: Final = 600.0
MAX_QUEUED: Final = 10_000
_INITIAL_BACKOFF_S: Final = 1.0
_MAX_BACKOFF_S: Final = 60.0
_WRITE_TIMEOUT_S: Final = 5.0
_DOWN_AFTER_FAILURES: Final = 3
"""So many failures one after the other mean that the target is down, not that one message is bad."""


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """What became of a target's alerts.

    Parameters
    ----------
    delivered, dead, queued
        Alerts that arrived, that stand in the dead letters, that wait.
    retried
        Attempts after which another one was due.
    lost
        Alerts that could not even be written to the dead letters.
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


class DeliveryWorker:
    """Delivers to one target, in a thread of its own.

    Parameters
    ----------
    target
        Where to.
    dead
        Takes what can't be delivered.
    give_up_after_s
        How long a notification is tried.
    queue_max
        How many alerts may wait; what comes on top goes to the dead letters.
    times
        Clock and waiting.
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
        self._consecutive_failures = 0
        self._not_before_s = 0.0
        self._is_draining = False
        self._is_closed = False
        self._queued_count = self._delivered_count = self._retried_count = self._dead_lettered_count = (
            self._lost_count
        ) = 0
        self._last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"notify-{target.name}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The target's."""
        return self._target.name

    def submit(self, notifications: Sequence[Notification]) -> None:
        """Queue notifications; never waits for the target."""
        overflow = []
        with self._changed:
            dead_at_s = self._timing.monotonic_s() + self._give_up_after_s
            for note in notifications:
                is_full = self._queued_count > 0 and self._queued_count + len(note.alerts) > self._max_queued
                if is_full or self._is_draining:
                    overflow.append(_QueuedNotification(note, dead_at_s))
                else:
                    self._queue[_QueuedNotification(note, dead_at_s)] = None
                self._queued_count += len(note.alerts)
            reason = "It was closed." if self._is_draining else "The queue is full."
            self._changed.notify_all()
        self._dead_letter(overflow, reason)

    def stats(self) -> DeliveryStats:
        """Return the counts."""
        with self._changed:
            return DeliveryStats(
                self._delivered_count,
                self._retried_count,
                self._dead_lettered_count,
                self._queued_count,
                self._lost_count,
                self._last_error,
            )

    def wait_until_empty(self, timeout_s: float | None) -> int:
        """Wait until nothing is queued, or the time is over, and return how many alerts still are."""
        with self._changed:
            self._changed.wait_for(lambda: self._queued_count == 0, timeout_s)
            return self._queued_count

    def drain(self) -> None:
        """Take nothing more, and end when everything is delivered."""
        with self._changed:
            self._is_draining = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Deliver what is queued within the time; the rest goes to the dead letters."""
        self.drain()
        self._thread.join(timeout_s)
        with self._changed:
            self._is_closed = True
            in_flight, rest = self._in_flight, list(self._queue)
            self._queue.clear()
            self._in_flight = None
            self._changed.notify_all()
        self._dead_letter(
            [parcel for parcel in rest if parcel is not in_flight], "It was closed before its turn."
        )
        self._dead_letter(
            [in_flight] if in_flight else [], "It was closed during the attempt: it may have arrived."
        )
        # the thread may be writing the last dead letters just now
        self.wait_until_empty(_WRITE_TIMEOUT_S)

    def _run(self) -> None:
        while (parcel := self._next_ready()) is not None:
            self._attempt(parcel)

    def _next_ready(self) -> _QueuedNotification | None:
        with self._changed:
            while not self._is_closed:
                if not self._queue and self._is_draining:
                    return None
                parcel, ready_at_s = self._select(self._timing.monotonic_s())
                if parcel is not None:
                    self._in_flight = parcel
                    return parcel
                self._timing.wait(self._changed, ready_at_s)
            return None

    def _select(self, now_s: float) -> tuple[_QueuedNotification | None, float | None]:
        """Return what may be tried now, or when to look again."""
        if not self._queue:
            return None, None
        if self._not_before_s > now_s:
            return None, self._not_before_s
        blocked_keys: set[str] = set()
        ready: list[_QueuedNotification] = []
        retry_times_s: list[float] = []
        for parcel in self._queue:
            keys = {alert.dedup_key for alert in parcel.notification.alerts}
            if parcel.not_before_s > now_s:
                retry_times_s.append(parcel.not_before_s)
            elif blocked_keys.isdisjoint(keys):
                # after a failure, another one shows whether it was the message or the target
                if not self._consecutive_failures or not parcel.attempts:
                    return parcel, None
                ready.append(parcel)
            blocked_keys |= keys
        return (ready[0], None) if ready else (None, min(retry_times_s))

    def _attempt(self, queued: _QueuedNotification) -> None:
        queued.attempts += 1
        try:
            self._target.deliver(queued.notification)
        except TickerlakeError as error:
            self._on_failure(queued, error.message, error if isinstance(error, Transient) else None)
        except Exception as error:
            # a fault in a target must not end its thread; its text may hold anything, secrets too
            self._on_failure(queued, f"{type(error).__name__} in the target {self.name}.", None)
        else:
            self._on_delivered(queued)

    def _on_delivered(self, queued: _QueuedNotification) -> None:
        with self._changed:
            if self._remove([queued]):
                self._queued_count -= len(queued.notification.alerts)
                self._delivered_count += len(queued.notification.alerts)
            self._consecutive_failures = 0
            self._in_flight = None
            self._changed.notify_all()

    def _on_failure(self, queued: _QueuedNotification, message: str, transient: Transient | None) -> None:
        with self._changed:
            self._in_flight = None
            self._last_error = message
            self._consecutive_failures += 1
            now_s = self._timing.monotonic_s()
            retry_after_s = transient.retry_after_s if transient is not None else 0.0
            self._not_before_s = now_s + max(self._backoff_s(self._consecutive_failures), retry_after_s)
            queued.not_before_s = now_s + max(self._backoff_s(queued.attempts), retry_after_s)
            again_at_s = max(queued.not_before_s, self._not_before_s)
            if transient is not None and again_at_s <= queued.deadline_s:
                expired = self._expired(now_s)
                self._retried_count += 1
            else:
                expired = [queued, *(other for other in self._expired(now_s) if other is not queued)]
            expired = self._remove(expired)
        self._dead_letter(expired, message)

    def _expired(self, now_s: float) -> list[_QueuedNotification]:
        """Return what has waited too long for a target that is down."""
        if self._consecutive_failures < _DOWN_AFTER_FAILURES:
            return []
        return [parcel for parcel in self._queue if parcel.deadline_s <= now_s]

    def _backoff_s(self, failures: int) -> float:
        return self._timing.jitter(min(_INITIAL_BACKOFF_S * 2.0 ** min(failures - 1, 16), _MAX_BACKOFF_S))

    def _remove(self, queued: Sequence[_QueuedNotification]) -> list[_QueuedNotification]:
        """Take parcels off the queue; those that `close` took before are not among them."""
        found = [parcel for parcel in queued if parcel in self._queue]
        for parcel in found:
            del self._queue[parcel]
        return found

    def _dead_letter(self, queued: Sequence[_QueuedNotification], reason: str) -> None:
        if not queued:
            return
        count = sum(len(parcel.notification.alerts) for parcel in queued)
        notes = [parcel.notification for parcel in queued]
        failure = None
        try:
            self._dead_letters.append(notes, reason, [parcel.attempts for parcel in queued])
        except Exception as error:
            # the thread must go on, and what is lost must be counted
            failure = f"The dead letters of {self.name} can't be written: {type(error).__name__}."
        with self._changed:
            self._queued_count -= count
            if failure is None:
                self._dead_lettered_count += count
            else:
                self._lost_count += count
                self._last_error = failure
            self._changed.notify_all()
