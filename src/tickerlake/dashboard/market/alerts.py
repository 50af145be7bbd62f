"""The newest alerts in memory, without duplicates."""

from collections import deque
from typing import Final

import msgspec

from tickerlake.model.alert import SEVERITIES, Alert, Severity

MAX_ALERTS: Final = 20_000
"""At a kilobyte each, tens of megabytes."""
MAX_ALERT_BYTES: Final = 64 << 20
"""Of all alerts as JSON: their texts are as long as whoever writes to the topic likes."""


class NumberedAlert(msgspec.Struct, frozen=True):
    """An alert, the number of its instrument (-1 if unknown), its position in order of arrival, its size."""

    alert: Alert
    instrument_number: int
    sequence: int
    json_bytes: int

    def to_json(self) -> bytes:
        """Return the alert as JSON, with the additional fields ``id``, ``event_ms`` and ``detected_ms``."""
        times = (self.alert.ts_event_ns / 1e6, self.alert.ts_detected_ns / 1e6)
        extra = msgspec.json.encode(
            {"id": self.instrument_number, "event_ms": times[0], "detected_ms": times[1]}
        )
        return self.alert.to_json()[:-1] + b"," + extra[1:]


class AlertBuffer:
    """Alerts in the order of arrival; the oldest are evicted when there are too many, or too large ones."""

    def __init__(self, max_alerts: int = MAX_ALERTS, max_bytes: int = MAX_ALERT_BYTES) -> None:
        self.count = 0
        self._alerts: deque[NumberedAlert] = deque()
        self._ids: set[str] = set()
        self._max_alerts = max_alerts
        self._max_bytes = max_bytes
        self._bytes = 0

    def add(self, alert: Alert, number: int) -> None:
        """Add an alert, unless it is a duplicate."""
        if alert.alert_id in self._ids:
            return
        self._ids.add(alert.alert_id)
        size = len(alert.to_json())
        self._alerts.append(NumberedAlert(alert, number, self.count, size))
        self._bytes += size
        self.count += 1
        while len(self._alerts) > self._max_alerts or self._bytes > self._max_bytes:
            evicted = self._alerts.popleft()
            self._ids.discard(evicted.alert.alert_id)
            self._bytes -= evicted.json_bytes

    def since(self, sequence: int, limit: int, max_bytes: int = MAX_ALERT_BYTES) -> list[NumberedAlert]:
        """Return the alerts from a sequence number on, at most the newest ``limit``, oldest first."""
        newest: list[NumberedAlert] = []
        size = 0
        for numbered in reversed(self._alerts):
            size += numbered.json_bytes
            if numbered.sequence < sequence or len(newest) == limit or size > max_bytes:
                break
            newest.append(numbered)
        return newest[::-1]

    def search(
        self, number: int | None, severity: Severity, end_ns: int | None, limit: int
    ) -> tuple[list[NumberedAlert], bool]:
        """Return alerts by instrument, minimum severity and event time, newest event first.

        Returns
        -------
        alerts, more
            At most ``limit`` alerts, and whether there may be older ones.
        """
        min_rank = SEVERITIES.index(severity)
        matches = [
            numbered
            for numbered in self._alerts
            if (number is None or numbered.instrument_number == number)
            and SEVERITIES.index(numbered.alert.severity) >= min_rank
            and (end_ns is None or numbered.alert.ts_event_ns < end_ns)
        ]
        matches.sort(key=lambda numbered: (numbered.alert.ts_event_ns, numbered.sequence), reverse=True)
        return matches[:limit], len(matches) > limit or self.count > len(self._alerts)
