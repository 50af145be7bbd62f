"""A move since the last close and its part at the open are one alert: gaps that another alert includes."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from tickerlake.alerts.message import gap_clause
from tickerlake.model.alert import SEVERITIES, Alert

GAP_KIND = "gap_open"


def find_move(gap: Alert, alerts: Sequence[Alert]) -> int | None:
    """Return which of the alerts of a bar is on the move that began with a gap; None if there is none.

    Such a move has the direction of the gap and is measured from the same price.
    """
    if gap.kind != GAP_KIND or gap.state != "fired":
        return None
    for number, alert in enumerate(alerts):
        is_move = alert.kind != GAP_KIND and alert.state == "fired" and alert.direction == gap.direction
        if is_move and gap.reference_price and alert.reference_price == gap.reference_price:
            return number
    return None


def include_gap(move: Alert, gap: Alert) -> Alert:
    """Return the alert on a move with the gap in its message; it has the higher of both severities."""
    severity = max(move.severity, gap.severity, key=SEVERITIES.index)
    clause = gap_clause(float(gap.value or Decimal()))
    return msgspec.structs.replace(move, message=f"{move.message}{clause}", severity=severity)
