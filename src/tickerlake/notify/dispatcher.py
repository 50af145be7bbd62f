"""Takes alerts from the stream, groups them, and hands them to the targets. The stream never waits."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tickerlake import clock
from tickerlake.clock import Timing
from tickerlake.model.alert import Alert
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.delivery import MAX_QUEUED, DeliveryStats, DeliveryWorker
from tickerlake.notify.grouping import GROUP_WINDOW_S, MIN_GROUP_SIZE, Grouper
from tickerlake.notify.notification import Notification
from tickerlake.notify.route import Route

CLOSE_TIMEOUT_S: Final = 10.0
_MAX_INBOX: Final = 100_000


@dataclass(eq=False, slots=True)
class _TargetRoute:
    """A target's way: filter, group, deliver."""

    route: Route
    grouper: Grouper | None
    delivery: DeliveryWorker

    def add(self, arrived_s: float, alert: Alert) -> list[Notification]:
        if not self.route.accepts(alert):
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
        dead_letter_folder: Path,
        *,
        window_s: float = GROUP_WINDOW_S,
        min_group_size: int = MIN_GROUP_SIZE,
        count_tracked: Callable[[], int | None] = lambda: None,
        max_queued: int = MAX_QUEUED,
        max_inbox: int = _MAX_INBOX,
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing or Timing()
        self._count_tracked = count_tracked
        self._max_inbox = max_inbox
        self._inbox: deque[tuple[float, Alert]] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._flushes_requested = self._flushes_done = 0
        self._lost = self._in_flight = 0
        self._target_routes = [
            _TargetRoute(
                route,
                Grouper(window_s, min_group_size) if route.group else None,
                DeliveryWorker(
                    route.target,
                    DeadLetters(dead_letter_folder, route.target.name),
                    give_up_after_s=route.give_up_after_s,
                    max_queued=max_queued,
                    timing=self._timing,
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
            if self._is_closing or len(self._inbox) >= self._max_inbox:
                self._lost += 1
                return False
            self._inbox.append((self._timing.monotonic_s(), alert))
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
            self._flushes_requested += 1
            mine = self._flushes_requested
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closing or self._flushes_done >= mine, timeout_s)
            waiting = len(self._inbox) + self._in_flight
        return waiting + sum(
            lane.delivery.wait_until_empty(_remaining_s(end_s)) for lane in self._target_routes
        )

    def in_flight_count(self) -> int:
        """Return how many alerts are not delivered or dead yet, counted for each target."""
        with self._changed:
            waiting = len(self._inbox) + self._in_flight
        return waiting + sum(lane.delivery.wait_until_empty(0.0) for lane in self._target_routes)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Deliver what is there within the time; the rest goes to the dead letters."""
        end_s = clock.monotonic_s() + timeout_s
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        # this thread waits for no target: it ends as soon as everything is queued
        self._thread.join()
        for lane in self._target_routes:
            lane.delivery.drain()
        for lane in self._target_routes:
            lane.delivery.close(_remaining_s(end_s) or 0.0)

    def stats(self) -> dict[str, DeliveryStats]:
        """Return the counts of each target; what was never taken counts as lost for all."""
        with self._changed:
            lost = self._lost
        counts = {lane.delivery.name: lane.delivery.stats() for lane in self._target_routes}
        return {name: replace(stats, lost=stats.lost + lost) for name, stats in counts.items()}

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, flush, is_last = self._next_batch()
            is_all = is_last or flush > self._flushes_done
            for lane in self._target_routes:
                lane.delivery.submit(self._notifications(lane, batch, is_all=is_all))
            with self._changed:
                self._in_flight = sum(
                    lane.grouper.pending_count for lane in self._target_routes if lane.grouper is not None
                )
                self._flushes_done = flush
                self._changed.notify_all()

    def _next_batch(self) -> tuple[list[tuple[float, Alert]], int, bool]:
        """Return new alerts, how many flushes were asked for, and whether this is the end."""
        with self._changed:
            while not (self._inbox or self._is_closing or self._flushes_requested > self._flushes_done):
                due_s = self._next_due_s()
                if due_s is not None and due_s <= self._timing.monotonic_s():
                    break
                self._timing.wait(self._changed, due_s)
            batch = list(self._inbox)
            self._inbox.clear()
            self._in_flight += len(batch)
            return batch, self._flushes_requested, self._is_closing

    def _next_due_s(self) -> float | None:
        due = [lane.grouper.due_s for lane in self._target_routes if lane.grouper is not None]
        return min((due_s for due_s in due if due_s is not None), default=None)

    def _notifications(
        self, target_route: _TargetRoute, batch: list[tuple[float, Alert]], *, is_all: bool
    ) -> list[Notification]:
        found = [note for arrived_s, alert in batch for note in target_route.add(arrived_s, alert)]
        if target_route.grouper is None:
            return found
        tracked = self._tracked_count_or_none()
        if is_all:
            return target_route.grouper.flush(tracked)
        return target_route.grouper.pop_due(self._timing.monotonic_s(), tracked)

    def _tracked_count_or_none(self) -> int | None:
        try:
            return self._count_tracked()
        except Exception:
            # a number that is only shown must not stop the alerts
            return None


def _remaining_s(end_s: float | None) -> float | None:
    return None if end_s is None else max(end_s - clock.monotonic_s(), 0.0)
