"""Groups alerts of many symbols that move together into one notification. The caller passes the time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from tickerlake.model.alert import Alert
from tickerlake.model.duration import MINUTE_NS
from tickerlake.notify.notification import Notification

GROUP_WINDOW_S: Final = 2.0
"""Alerts of one market move arrive within a second or two; a longer window would only delay them."""

MIN_GROUP_SIZE: Final = 5
"""Up to four alerts are faster to read one by one."""

_MAX_SPREAD_NS: Final = MINUTE_NS
"""Closing bars of one minute raise alerts for the same minute."""

_MAX_PENDING: Final = 10_000
"""Bounds memory: more alerts than this do not wait for the window."""

_Key = tuple[str, str, str, str]


@dataclass(eq=False, slots=True)
class _Bucket:
    """Alerts of one key whose events are within a minute of the first event."""

    key: _Key
    opened_s: float
    alerts: list[Alert] = field(default_factory=list)

    def accepts(self, alert: Alert) -> bool:
        return abs(alert.ts_event_ns - self.alerts[0].ts_event_ns) < _MAX_SPREAD_NS


class Grouper:
    """Holds alerts until it is clear whether they belong together.

    Alerts are grouped if they have the same rule, kind, direction and state, their events are less than a
    minute apart, and they arrive within ``window_s`` of the first. No alert waits longer than that.

    Parameters
    ----------
    window_s
        How long the first alert waits for others.
    min_group_size
        How many instruments make a group; fewer alerts become a notification each.
    """

    def __init__(self, window_s: float = GROUP_WINDOW_S, min_group_size: int = MIN_GROUP_SIZE) -> None:
        self._window_s = window_s
        self._min_group_size = max(min_group_size, 2)
        self._open_buckets: dict[_Bucket, None] = {}
        self._buckets_by_key: dict[_Key, list[_Bucket]] = {}
        self._bucket_by_dedup_key: dict[str, _Bucket] = {}
        self._closed_buckets: list[_Bucket] = []
        self._pending_count = 0

    @property
    def pending_count(self) -> int:
        """The number of alerts that wait."""
        return self._pending_count

    @property
    def due_s(self) -> float | None:
        """When the next alerts are due; None if none wait."""
        if self._closed_buckets:
            return self._closed_buckets[0].opened_s
        return next(iter(self._open_buckets)).opened_s + self._window_s if self._open_buckets else None

    def add(self, alert: Alert, now_s: float) -> None:
        """Add an alert that arrived at ``now_s`` (monotonic)."""
        bucket = self._bucket_for(alert, now_s)
        other = self._bucket_by_dedup_key.get(alert.dedup_key)
        if other is not None and other is not bucket:
            # a cleared alert must not be sent before its fired alert
            self._close(other)
        bucket.alerts.append(alert)
        self._bucket_by_dedup_key[alert.dedup_key] = bucket
        self._pending_count += 1
        if self._pending_count >= _MAX_PENDING:
            self._close_all()

    def pop_due(self, now_s: float, tracked_count: int | None = None) -> list[Notification]:
        """Return the notifications that are due, in the order of arrival.

        Parameters
        ----------
        now_s
            The time now (monotonic).
        tracked_count
            The number of tracked symbols, None if not known.
        """
        while (
            self._open_buckets
            and (first := next(iter(self._open_buckets))).opened_s + self._window_s <= now_s
        ):
            self._close(first)
        return self._drain_closed(tracked_count)

    def flush(self, tracked_count: int | None = None) -> list[Notification]:
        """Return all notifications now."""
        self._close_all()
        return self._drain_closed(tracked_count)

    def _bucket_for(self, alert: Alert, now_s: float) -> _Bucket:
        key = (alert.rule_id, alert.kind, alert.direction, alert.state)
        for bucket in self._buckets_by_key.get(key, ()):
            if now_s - bucket.opened_s < self._window_s and bucket.accepts(alert):
                return bucket
        bucket = _Bucket(key, now_s)
        self._open_buckets[bucket] = None
        self._buckets_by_key.setdefault(key, []).append(bucket)
        return bucket

    def _close_all(self) -> None:
        for bucket in list(self._open_buckets):
            self._close(bucket)

    def _close(self, bucket: _Bucket) -> None:
        del self._open_buckets[bucket]
        others = self._buckets_by_key[bucket.key]
        others.remove(bucket)
        if not others:
            del self._buckets_by_key[bucket.key]
        for alert in bucket.alerts:
            if self._bucket_by_dedup_key.get(alert.dedup_key) is bucket:
                del self._bucket_by_dedup_key[alert.dedup_key]
        self._closed_buckets.append(bucket)

    def _drain_closed(self, tracked_count: int | None) -> list[Notification]:
        notifications = [
            notification
            for bucket in self._closed_buckets
            for notification in self._notifications(bucket.alerts, tracked_count)
        ]
        self._closed_buckets.clear()
        self._pending_count = sum(len(bucket.alerts) for bucket in self._open_buckets)
        return notifications

    def _notifications(self, alerts: list[Alert], tracked_count: int | None) -> Iterable[Notification]:
        if len({alert.instrument_id for alert in alerts}) < self._min_group_size:
            return [Notification((alert,)) for alert in alerts]
        return [Notification(tuple(sorted(alerts, key=_largest_first)), tracked_count)]


def _largest_first(alert: Alert) -> tuple[float, str]:
    return (-abs(float(alert.value)) if alert.value is not None else 0.0, alert.symbol)
