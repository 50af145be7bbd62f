"""Takes alerts from the stream, groups them, and hands them to the targets. The stream never waits."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tickerlake import clock
from tickerlake.model.alert import Alert
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.delivery import QUEUE_MAX, Delivery, Stats
from tickerlake.notify.grouping import GROUP_MIN, WINDOW_S, Grouper
from tickerlake.notify.notification import Notification
from tickerlake.notify.route import Route
from tickerlake.notify.times import Times

CLOSE_S: Final = 10.0
_INBOX_MAX: Final = 100_000


@dataclass(eq=False, slots=True)
class _Lane:
    """A target's way: filter, group, deliver."""

    route: Route
    grouper: Grouper | None
    delivery: Delivery

    def take(self, arrived_s: float, alert: Alert) -> list[Notification]:
        if not self.route.wants(alert):
            return []
        if self.grouper is None:
            return [Notification((alert,))]
        self.grouper.add(alert, arrived_s)
        return []


class Dispatcher:
    """Fans alerts out to targets.

    Parameters
    ----------
    routes
        The targets; their names differ.
    dead_folder
        Where dead letters are kept.
    window_s, group_min
        How long alerts wait for others, and how many instruments make a group.
    tracked
        Says how many symbols are tracked in all.
    queue_max, inbox_max
        How many alerts may wait for one target, and before that.
    times
        Clock and waiting.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        dead_folder: Path,
        *,
        window_s: float = WINDOW_S,
        group_min: int = GROUP_MIN,
        tracked: Callable[[], int | None] = lambda: None,
        queue_max: int = QUEUE_MAX,
        inbox_max: int = _INBOX_MAX,
        times: Times | None = None,
    ) -> None:
        self._times = times or Times()
        self._tracked = tracked
        self._inbox_max = inbox_max
        self._inbox: deque[tuple[float, Alert]] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._flushes_asked = self._flushes_done = 0
        self._lost = self._in_hand = 0
        self._lanes = [
            _Lane(
                route,
                Grouper(window_s, group_min) if route.group else None,
                Delivery(
                    route.target,
                    DeadLetters(dead_folder, route.target.name),
                    give_up_after_s=route.give_up_after_s,
                    queue_max=queue_max,
                    times=self._times,
                ),
            )
            for route in routes
        ]
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def offer(self, alert: Alert) -> bool:
        """Take an alert; returns at once.

        Returns
        -------
        bool
            False if it could not be taken: closed, or far too much waits. It is counted as lost.
        """
        with self._changed:
            if self._is_closing or len(self._inbox) >= self._inbox_max:
                self._lost += 1
                return False
            self._inbox.append((self._times.monotonic_s(), alert))
            self._changed.notify_all()
            return True

    def flush(self, timeout_s: float | None = None) -> int:
        """Send groups now, and wait until everything is delivered or dead.

        Returns
        -------
        int
            How many alerts are still under way when the time is over, counted for each target.
        """
        end_s = None if timeout_s is None else clock.monotonic_s() + timeout_s
        with self._changed:
            self._flushes_asked += 1
            mine = self._flushes_asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closing or self._flushes_done >= mine, timeout_s)
            waiting = len(self._inbox) + self._in_hand
        return waiting + sum(lane.delivery.wait_until_empty(_left_s(end_s)) for lane in self._lanes)

    def under_way(self) -> int:
        """Return how many alerts are not delivered or dead yet, counted for each target."""
        with self._changed:
            waiting = len(self._inbox) + self._in_hand
        return waiting + sum(lane.delivery.wait_until_empty(0.0) for lane in self._lanes)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Deliver what is there within the time; the rest goes to the dead letters."""
        end_s = clock.monotonic_s() + timeout_s
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        # this thread waits for no target: it ends as soon as everything is queued
        self._thread.join()
        for lane in self._lanes:
            lane.delivery.drain()
        for lane in self._lanes:
            lane.delivery.close(_left_s(end_s) or 0.0)

    def stats(self) -> dict[str, Stats]:
        """Return the counts of each target; what was never taken counts as lost for all."""
        with self._changed:
            lost = self._lost
        counts = {lane.delivery.name: lane.delivery.stats() for lane in self._lanes}
        return {name: replace(stats, lost=stats.lost + lost) for name, stats in counts.items()}

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, flush, is_last = self._next()
            is_all = is_last or flush > self._flushes_done
            for lane in self._lanes:
                lane.delivery.submit(self._notifications(lane, batch, is_all=is_all))
            with self._changed:
                self._in_hand = sum(lane.grouper.held for lane in self._lanes if lane.grouper is not None)
                self._flushes_done = flush
                self._changed.notify_all()

    def _next(self) -> tuple[list[tuple[float, Alert]], int, bool]:
        """Return new alerts, how many flushes were asked for, and whether this is the end."""
        with self._changed:
            while not (self._inbox or self._is_closing or self._flushes_asked > self._flushes_done):
                due_s = self._due_s()
                if due_s is not None and due_s <= self._times.monotonic_s():
                    break
                self._times.wait(self._changed, due_s)
            batch = list(self._inbox)
            self._inbox.clear()
            self._in_hand += len(batch)
            return batch, self._flushes_asked, self._is_closing

    def _due_s(self) -> float | None:
        due = [lane.grouper.due_s for lane in self._lanes if lane.grouper is not None]
        return min((due_s for due_s in due if due_s is not None), default=None)

    def _notifications(
        self, lane: _Lane, batch: list[tuple[float, Alert]], *, is_all: bool
    ) -> list[Notification]:
        found = [note for arrived_s, alert in batch for note in lane.take(arrived_s, alert)]
        if lane.grouper is None:
            return found
        tracked = self._tracked_or_none()
        if is_all:
            return lane.grouper.flush(tracked)
        return lane.grouper.due(self._times.monotonic_s(), tracked)

    def _tracked_or_none(self) -> int | None:
        try:
            return self._tracked()
        except Exception:
            # a number that is only shown must not stop the alerts
            return None


def _left_s(end_s: float | None) -> float | None:
    return None if end_s is None else max(end_s - clock.monotonic_s(), 0.0)
