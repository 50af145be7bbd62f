"""Routes alerts to targets: filter, group, deliver. The caller never waits for a target."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tickerlake.clock import Timing
from tickerlake.model.alert import SEVERITIES, Alert, AlertState, Severity
from tickerlake.notify.dead_letters import DeadLetters
from tickerlake.notify.delivery import DEFAULT_GIVE_UP_AFTER_S, MAX_QUEUED, DeliveryStats, DeliveryWorker
from tickerlake.notify.grouping import GROUP_WINDOW_S, MIN_GROUP_SIZE, Grouper
from tickerlake.notify.notification import Notification
from tickerlake.notify.targets import Target

CLOSE_TIMEOUT_S: Final = 10.0
"""Long enough for an attempt (`network.TOTAL_TIMEOUT_S`); Ctrl-C must not take longer."""

_MAX_INBOX: Final = 100_000
"""Bounds memory; the dispatcher's thread empties the inbox at once, so this many mean that it hangs."""


@dataclass(frozen=True, slots=True)
class Route:
    """A target and the alerts it gets.

    Parameters
    ----------
    target
        The target.
    min_severity
        The lowest severity.
    symbols, rules
        Patterns such as ``AAPL`` or ``BRK*``, for symbols or instrument ids, and for rule ids; empty for all.
    states
        The states of alerts.
    group
        Whether similar alerts are grouped into one notification.
    give_up_after_s
        How long a notification is retried.
    """

    target: Target
    min_severity: Severity = "info"
    symbols: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    states: tuple[AlertState, ...] = ("fired",)
    group: bool = True
    give_up_after_s: float = DEFAULT_GIVE_UP_AFTER_S

    def accepts(self, alert: Alert) -> bool:
        """Return whether the target gets this alert."""
        return (
            alert.state in self.states
            and SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.min_severity)
            and (_matches_any(alert.symbol, self.symbols) or _matches_any(alert.instrument_id, self.symbols))
            and _matches_any(alert.rule_id, self.rules)
        )


def _matches_any(text: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


@dataclass(eq=False, slots=True)
class _TargetRoute:
    """A route with its grouper and delivery."""

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
        Targets with distinct names.
    dead_letter_folder
        Where alerts are written that cannot be delivered.
    window_s, min_group_size
        How long alerts wait for similar ones, and how many instruments make a group.
    count_tracked
        Returns the number of tracked symbols, None if not known.
    max_queued, max_inbox
        How many alerts can wait for one target, and before they are routed.
    timing
        Clock, jitter and waiting.
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
        """Accept an alert; returns at once.

        Returns
        -------
        bool
            False if it was not accepted, because of a full inbox or after `close`. It is counted as lost.
        """
        with self._changed:
            if self._is_closing or len(self._inbox) >= self._max_inbox:
                self._lost += 1
                return False
            self._inbox.append((self._timing.monotonic_s(), alert))
            self._changed.notify_all()
            return True

    def flush(self, timeout_s: float | None = None) -> int:
        """Send groups now, and wait until every alert is delivered or a dead letter.

        Returns
        -------
        int
            The number of alerts still in flight when the timeout is over, counted per target.
        """
        deadline_s = None if timeout_s is None else self._timing.monotonic_s() + timeout_s
        with self._changed:
            self._flushes_requested += 1
            number = self._flushes_requested
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closing or self._flushes_done >= number, timeout_s)
            unrouted = len(self._inbox) + self._in_flight
        return unrouted + sum(
            each.delivery.wait_until_empty(self._remaining_s(deadline_s)) for each in self._target_routes
        )

    def in_flight_count(self) -> int:
        """Return how many alerts are neither delivered nor dead letters, counted per target."""
        with self._changed:
            unrouted = len(self._inbox) + self._in_flight
        return unrouted + sum(each.delivery.wait_until_empty(0.0) for each in self._target_routes)

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Deliver what was accepted within the timeout; the rest becomes dead letters."""
        deadline_s = self._timing.monotonic_s() + timeout_s
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        # the thread does not wait for targets: it ends once everything is queued
        self._thread.join()
        for each in self._target_routes:
            each.delivery.drain()
        for each in self._target_routes:
            each.delivery.close(self._remaining_s(deadline_s) or 0.0)

    def stats(self) -> dict[str, DeliveryStats]:
        """Return the counts per target; an alert that was not accepted counts as lost for each."""
        with self._changed:
            lost = self._lost
        counts = {each.delivery.name: each.delivery.stats() for each in self._target_routes}
        return {name: replace(stats, lost=stats.lost + lost) for name, stats in counts.items()}

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, flushes_requested, is_last = self._next_batch()
            flush = is_last or flushes_requested > self._flushes_done
            for each in self._target_routes:
                each.delivery.submit(self._notifications(each, batch, flush=flush))
            with self._changed:
                self._in_flight = sum(
                    each.grouper.pending_count for each in self._target_routes if each.grouper is not None
                )
                self._flushes_done = flushes_requested
                self._changed.notify_all()

    def _next_batch(self) -> tuple[list[tuple[float, Alert]], int, bool]:
        """Wait for work; return new alerts, the number of requested flushes, and whether it is the last."""
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
        due_times = [each.grouper.due_s for each in self._target_routes if each.grouper is not None]
        return min((due_s for due_s in due_times if due_s is not None), default=None)

    def _notifications(
        self, target_route: _TargetRoute, batch: list[tuple[float, Alert]], *, flush: bool
    ) -> list[Notification]:
        notifications = [each for arrived_s, alert in batch for each in target_route.add(arrived_s, alert)]
        if target_route.grouper is None:
            return notifications
        tracked_count = self._tracked_count_or_none()
        if flush:
            return target_route.grouper.flush(tracked_count)
        return target_route.grouper.pop_due(self._timing.monotonic_s(), tracked_count)

    def _tracked_count_or_none(self) -> int | None:
        try:
            return self._count_tracked()
        except Exception:
            # the number is only shown: a failure must not stop alerts
            return None

    def _remaining_s(self, deadline_s: float | None) -> float | None:
        return None if deadline_s is None else max(deadline_s - self._timing.monotonic_s(), 0.0)
