"""Dates as numbers: days since 1970-01-01, as session dates are in arrays."""

from datetime import date, timedelta
from typing import Final

_EPOCH: Final = date(1970, 1, 1)


def to_days(day: date) -> int:
    """Return the number of days since 1970-01-01."""
    return (day - _EPOCH).days


def from_days(days: int) -> date:
    """Return the date that is this many days after 1970-01-01."""
    return _EPOCH + timedelta(days)
