"""The newest alerts, each once."""

from collections import deque
from typing import Final

import msgspec

from tickerlake.model.alert import SEVERITIES, Alert, Severity

MAX_ALERTS: Final = 20_000


class NumberedAlert(msgspec.Struct, frozen=True):
    """An alert, the number of its instrument (-1: unknown), and how many came before it."""

    alert: Alert
    instrument_number: int
    sequence: int

    def to_json(self) -> bytes:
        """Return the record with the fields ``id``, ``event_ms`` and ``detected_ms``."""
        times = (self.alert.ts_event_ns / 1e6, self.alert.ts_detected_ns / 1e6)
        extra = msgspec.json.encode(
            {"id": self.instrument_number, "event_ms": times[0], "detected_ms": times[1]}
        )
        return self.alert.to_json()[:-1] + b"," + extra[1:]


class AlertBuffer:
    """Alerts in the order in which they were fired; the oldest go when there are too many."""

    def __init__(self, max_alerts: int = MAX_ALERTS) -> None:
        self.count = 0
        self._alerts: deque[NumberedAlert] = deque()
        self._ids: set[str] = set()
        self._max_alerts = max_alerts

    def add(self, alert: Alert, number: int) -> None:
        """Add an alert, unless it is there."""
        if alert.alert_id in self._ids:
            return
        self._ids.add(alert.alert_id)
        self._alerts.append(NumberedAlert(alert, number, self.count))
        self.count += 1
        if len(self._alerts) > self._max_alerts:
            self._ids.discard(self._alerts.popleft().alert.alert_id)

    def since(self, sequence: int, limit: int) -> list[NumberedAlert]:
        """Return the alerts from the one of a number on, the newest ``limit`` of them, oldest first."""
        newest: list[NumberedAlert] = []
        for numbered in reversed(self._alerts):
            if numbered.sequence < sequence or len(newest) == limit:
                break
            newest.append(numbered)
        return newest[::-1]

    def search(
        self, number: int | None, severity: Severity, end_ns: int | None, limit: int
    ) -> tuple[list[NumberedAlert], bool]:
        """Return alerts by instrument, least severity and event time, newest event first.

        Returns
        -------
        alerts, more
            At most ``limit``, and whether there were more.
        """
        min_rank = SEVERITIES.index(severity)
        matches = [
            told
            for told in self._alerts
            if (number is None or told.instrument_number == number)
            and SEVERITIES.index(told.alert.severity) >= min_rank
            and (end_ns is None or told.alert.ts_event_ns < end_ns)
        ]
        matches.sort(key=lambda told: (told.alert.ts_event_ns, told.sequence), reverse=True)
        return matches[:limit], len(matches) > limit or self.count > len(self._alerts)
