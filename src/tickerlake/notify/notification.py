"""A notification: one alert, or a group of similar alerts."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from tickerlake.model.alert import SEVERITIES, Alert, Severity
from tickerlake.notify.text import format_quantity, headline, sanitize_line

MAX_LISTED: Final = 20
"""How many alerts of a group are listed: what fits on a screen."""

MARKET_WIDE_SHARE: Final = 0.25
"""From this share of all tracked symbols, a group is called market-wide: more than a sector."""

_NAMESPACE: Final = UUID("5d3c7b9a-1f0e-5c64-8a35-7f7b1c0d9e42")
_MOVE_VERBS: Final = {"up": "rose", "down": "fell"}


@dataclass(frozen=True, slots=True)
class Notification:
    """One message for a target.

    Parameters
    ----------
    alerts
        One; or several of the same rule, kind, direction and state, the largest move first.
    tracked_count
        The number of tracked symbols, None if not known.
    """

    alerts: tuple[Alert, ...]
    tracked_count: int | None = None

    @property
    def first(self) -> Alert:
        """The only alert, or the one with the largest move."""
        return self.alerts[0]

    @property
    def is_group(self) -> bool:
        """Whether there are several alerts."""
        return len(self.alerts) > 1

    @property
    def id(self) -> str:
        """The ``alert_id``; for a group, a UUIDv5 of all of them."""
        if not self.is_group:
            return self.first.alert_id
        return str(uuid5(_NAMESPACE, "\0".join(sorted(alert.alert_id for alert in self.alerts))))

    @property
    def type(self) -> str:
        """``alert.fired``, ``alert.cleared``, ``alert.expired`` or ``alert.group``."""
        return "alert.group" if self.is_group else f"alert.{self.first.state}"

    @property
    def severity(self) -> Severity:
        """The highest severity of its alerts."""
        return max((alert.severity for alert in self.alerts), key=SEVERITIES.index)

    @property
    def ts_event_ns(self) -> int:
        """The latest event."""
        return max(alert.ts_event_ns for alert in self.alerts)

    @property
    def text(self) -> str:
        """A human-readable line."""
        return _group_summary(self.alerts, self.tracked_count) if self.is_group else headline(self.first)

    def data(self) -> Any:
        """Return its JSON content: the alert, or the group with its first alerts (`MAX_LISTED`)."""
        if not self.is_group:
            return msgspec.Raw(self.first.to_json())
        first = self.first
        listed = self.alerts[:MAX_LISTED]
        return {
            "group_id": self.id,
            "rule_id": first.rule_id,
            "kind": first.kind,
            "severity": self.severity,
            "state": first.state,
            "direction": first.direction,
            "ts_event_ns": self.ts_event_ns,
            "message": self.text,
            "count": len(self.alerts),
            "alerts": [msgspec.Raw(alert.to_json()) for alert in listed],
            "omitted": len(self.alerts) - len(listed),
        }


def _group_summary(alerts: tuple[Alert, ...], tracked_count: int | None) -> str:
    first = alerts[0]
    count = len({alert.instrument_id for alert in alerts})
    is_wide = tracked_count is not None and count >= MARKET_WIDE_SHARE * tracked_count
    symbols = (
        f"{count} of {tracked_count} symbols"
        if tracked_count is not None and tracked_count >= count
        else f"{count} symbols"
    )
    verb = _MOVE_VERBS.get(first.direction, "alerted")
    state = "" if first.state == "fired" else f"{first.state}: "
    wide = "market-wide: " if is_wide else ""
    return f"{state}{wide}{symbols} {verb} ({sanitize_line(first.kind)}){_value_summary(alerts)}"


def _value_summary(alerts: tuple[Alert, ...]) -> str:
    unit = alerts[0].unit
    # a median of the prices of different instruments means nothing
    if unit == "price" or any(alert.unit != unit for alert in alerts):
        return ""
    values = sorted(
        (alert.value, alert.symbol) for alert in alerts if alert.value is not None and alert.value.is_finite()
    )
    if not values:
        return ""
    low, high = ("worst", "best") if alerts[0].direction in _MOVE_VERBS else ("lowest", "highest")
    extremes = [
        f"{name} {sanitize_line(symbol)} {format_quantity(value, unit)}"
        for name, (value, symbol) in ((low, values[0]), (high, values[-1]))
    ]
    median = _median([value for value, _ in values])
    return f", median {format_quantity(median, unit)}, {', '.join(extremes)}"


def _median(ordered: list[Decimal]) -> Decimal:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
