"""The newest alerts, each once."""

from collections import deque
from typing import Final

import msgspec

from tickerlake.model.alert import SEVERITIES, Alert, Severity

MOST: Final = 20_000


class Told(msgspec.Struct, frozen=True):
    """An alert, the number of its instrument (-1: unknown), and how many came before it."""

    alert: Alert
    id: int
    number: int

    def to_json(self) -> bytes:
        """Return the record with the fields ``id``, ``event_ms`` and ``detected_ms``."""
        times = (self.alert.ts_event_ns / 1e6, self.alert.ts_detected_ns / 1e6)
        more = msgspec.json.encode({"id": self.id, "event_ms": times[0], "detected_ms": times[1]})
        return self.alert.to_json()[:-1] + b"," + more[1:]


class Alerts:
    """Alerts in the order in which they were fired; the oldest go when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self.count = 0
        self._told: deque[Told] = deque()
        self._known: set[str] = set()
        self._most = most

    def add(self, alert: Alert, number: int) -> None:
        """Add an alert, unless it is there."""
        if alert.alert_id in self._known:
            return
        self._known.add(alert.alert_id)
        self._told.append(Told(alert, number, self.count))
        self.count += 1
        if len(self._told) > self._most:
            self._known.discard(self._told.popleft().alert.alert_id)

    def since(self, number: int, limit: int) -> list[Told]:
        """Return the alerts from the one of a number on, the newest ``limit`` of them, oldest first."""
        found: list[Told] = []
        for told in reversed(self._told):
            if told.number < number or len(found) == limit:
                break
            found.append(told)
        return found[::-1]

    def find(
        self, number: int | None, severity: Severity, end_ns: int | None, limit: int
    ) -> tuple[list[Told], bool]:
        """Return alerts by instrument, least severity and event time, newest event first.

        Returns
        -------
        alerts, more
            At most ``limit``, and whether there were more.
        """
        least = SEVERITIES.index(severity)
        fitting = [
            told
            for told in self._told
            if (number is None or told.id == number)
            and SEVERITIES.index(told.alert.severity) >= least
            and (end_ns is None or told.alert.ts_event_ns < end_ns)
        ]
        fitting.sort(key=lambda told: (told.alert.ts_event_ns, told.number), reverse=True)
        return fitting[:limit], len(fitting) > limit or self.count > len(self._told)
