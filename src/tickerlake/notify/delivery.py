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

from tickerlake.errors import TickerlakeError, Transient
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets.target import Target
from tickerlake.notify.times import Times

GIVE_UP_AFTER_S: Final = 600.0
QUEUE_MAX: Final = 10_000
_FIRST_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 60.0
_WRITE_S: Final = 5.0
_DOWN_AFTER: Final = 3
"""So many failures one after the other mean that the target is down, not that one message is bad."""


@dataclass(frozen=True, slots=True)
class Stats:
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
    dead: int = 0
    queued: int = 0
    lost: int = 0
    last_error: str | None = None


@dataclass(eq=False, slots=True)
class _Parcel:
    note: Notification
    dead_at_s: float
    not_before_s: float = 0.0
    attempts: int = 0


class Delivery:
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
        dead: DeadLetters,
        *,
        give_up_after_s: float = GIVE_UP_AFTER_S,
        queue_max: int = QUEUE_MAX,
        times: Times | None = None,
    ) -> None:
        self._target = target
        self._dead_letters = dead
        self._give_up_after_s = give_up_after_s
        self._queue_max = queue_max
        self._times = times or Times()
        self._changed = threading.Condition()
        self._parcels: OrderedDict[_Parcel, None] = OrderedDict()
        self._in_flight: _Parcel | None = None
        self._failures = 0
        self._not_before_s = 0.0
        self._is_draining = False
        self._is_closed = False
        self._queued = self._delivered = self._retried = self._dead = self._lost = 0
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
            dead_at_s = self._times.monotonic_s() + self._give_up_after_s
            for note in notifications:
                is_full = self._queued > 0 and self._queued + len(note.alerts) > self._queue_max
                if is_full or self._is_draining:
                    overflow.append(_Parcel(note, dead_at_s))
                else:
                    self._parcels[_Parcel(note, dead_at_s)] = None
                self._queued += len(note.alerts)
            reason = "It was closed." if self._is_draining else "The queue is full."
            self._changed.notify_all()
        self._bury(overflow, reason)

    def stats(self) -> Stats:
        """Return the counts."""
        with self._changed:
            return Stats(
                self._delivered, self._retried, self._dead, self._queued, self._lost, self._last_error
            )

    def wait_until_empty(self, timeout_s: float | None) -> int:
        """Wait until nothing is queued, or the time is over, and return how many alerts still are."""
        with self._changed:
            self._changed.wait_for(lambda: self._queued == 0, timeout_s)
            return self._queued

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
            flying, rest = self._in_flight, list(self._parcels)
            self._parcels.clear()
            self._in_flight = None
            self._changed.notify_all()
        self._bury([parcel for parcel in rest if parcel is not flying], "It was closed before its turn.")
        self._bury([flying] if flying else [], "It was closed during the attempt: it may have arrived.")
        # the thread may be writing the last dead letters just now
        self.wait_until_empty(_WRITE_S)

    def _run(self) -> None:
        while (parcel := self._next()) is not None:
            self._attempt(parcel)

    def _next(self) -> _Parcel | None:
        with self._changed:
            while not self._is_closed:
                if not self._parcels and self._is_draining:
                    return None
                parcel, ready_at_s = self._pick(self._times.monotonic_s())
                if parcel is not None:
                    self._in_flight = parcel
                    return parcel
                self._times.wait(self._changed, ready_at_s)
            return None

    def _pick(self, now_s: float) -> tuple[_Parcel | None, float | None]:
        """Return what may be tried now, or when to look again."""
        if not self._parcels:
            return None, None
        if self._not_before_s > now_s:
            return None, self._not_before_s
        held: set[str] = set()
        ready: list[_Parcel] = []
        later_s: list[float] = []
        for parcel in self._parcels:
            keys = {alert.dedup_key for alert in parcel.note.alerts}
            if parcel.not_before_s > now_s:
                later_s.append(parcel.not_before_s)
            elif held.isdisjoint(keys):
                # after a failure, another one shows whether it was the message or the target
                if not self._failures or not parcel.attempts:
                    return parcel, None
                ready.append(parcel)
            held |= keys
        return (ready[0], None) if ready else (None, min(later_s))

    def _attempt(self, parcel: _Parcel) -> None:
        parcel.attempts += 1
        try:
            self._target.deliver(parcel.note)
        except TickerlakeError as error:
            self._failed(parcel, error.message, error if isinstance(error, Transient) else None)
        except Exception as error:
            # a fault in a target must not end its thread; its text may hold anything, secrets too
            self._failed(parcel, f"{type(error).__name__} in the target {self.name}.", None)
        else:
            self._arrived(parcel)

    def _arrived(self, parcel: _Parcel) -> None:
        with self._changed:
            if self._remove([parcel]):
                self._queued -= len(parcel.note.alerts)
                self._delivered += len(parcel.note.alerts)
            self._failures = 0
            self._in_flight = None
            self._changed.notify_all()

    def _failed(self, parcel: _Parcel, message: str, transient: Transient | None) -> None:
        with self._changed:
            self._in_flight = None
            self._last_error = message
            self._failures += 1
            now_s = self._times.monotonic_s()
            asked_s = transient.retry_after_s if transient is not None else 0.0
            self._not_before_s = now_s + max(self._pause_s(self._failures), asked_s)
            parcel.not_before_s = now_s + max(self._pause_s(parcel.attempts), asked_s)
            again_at_s = max(parcel.not_before_s, self._not_before_s)
            if transient is not None and again_at_s <= parcel.dead_at_s:
                over = self._over(now_s)
                self._retried += 1
            else:
                over = [parcel, *(other for other in self._over(now_s) if other is not parcel)]
            over = self._remove(over)
        self._bury(over, message)

    def _over(self, now_s: float) -> list[_Parcel]:
        """Return what has waited too long for a target that is down."""
        if self._failures < _DOWN_AFTER:
            return []
        return [parcel for parcel in self._parcels if parcel.dead_at_s <= now_s]

    def _pause_s(self, failures: int) -> float:
        return self._times.jitter(min(_FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16), _MAX_PAUSE_S))

    def _remove(self, parcels: Sequence[_Parcel]) -> list[_Parcel]:
        """Take parcels off the queue; those that `close` took before are not among them."""
        found = [parcel for parcel in parcels if parcel in self._parcels]
        for parcel in found:
            del self._parcels[parcel]
        return found

    def _bury(self, parcels: Sequence[_Parcel], reason: str) -> None:
        if not parcels:
            return
        count = sum(len(parcel.note.alerts) for parcel in parcels)
        notes = [parcel.note for parcel in parcels]
        told = None
        try:
            self._dead_letters.keep(notes, reason, [parcel.attempts for parcel in parcels])
        except Exception as error:
            # the thread must go on, and what is lost must be counted
            told = f"The dead letters of {self.name} can't be written: {type(error).__name__}."
        with self._changed:
            self._queued -= count
            if told is None:
                self._dead += count
            else:
                self._lost += count
                self._last_error = told
            self._changed.notify_all()
