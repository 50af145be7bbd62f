"""Rejects: input that cannot become a record, stored with its reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from tickerlake.model.instrument import SYMBOL_RULES


class RejectReason(StrEnum):
    """Why a CSV row is not a record, or why a record cannot be used to build bars."""

    FIELD_COUNT = "field_count"
    SYMBOL_MISSING = "symbol_missing"
    SYMBOL_INVALID = "symbol_invalid"
    NOT_EXECUTED = "not_executed"
    """An order that was not executed, or a row of an account that is not an execution: a deposit, a fee."""
    NOT_A_TRADE = "not_a_trade"
    """A quote, a change of an order book or a cancellation, in a file of trades."""
    UNPARSABLE_DATE = "unparsable_date"
    NO_LOCAL_TIME = "no_local_time"
    """A time of day that the zone's clocks skip or repeat on that date."""
    UNPARSABLE_NUMBER = "unparsable_number"
    DUPLICATE_KEY = "duplicate_key"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    """The key of an earlier bar, with other values."""

    NOT_JSON = "not_json"
    INSTRUMENT_INVALID = "instrument_invalid"
    TIME_MISSING = "time_missing"
    FUTURE_TIMESTAMP = "future_timestamp"
    CORRECTION = "correction"
    TIMESTAMP_OFF_GRID = "timestamp_off_grid"
    OUT_OF_RANGE = "out_of_range"
    INTERVAL_UNKNOWN = "interval_unknown"
    INTERVAL_CHANGED = "interval_changed"
    LATE = "late"

    PRICE_MISSING = "price_missing"
    PRICE_NONPOSITIVE = "price_nonpositive"
    SENTINEL_VALUE = "sentinel_value"
    """A number by which the vendor means that there is no value, such as 9223372036854775807."""
    SIZE_MISSING = "size_missing"
    SIZE_ZERO = "size_zero"
    VOLUME_NEGATIVE = "volume_negative"
    OHLC_HIGH_LT_LOW = "ohlc_high_lt_low"
    OHLC_OPEN_CLOSE_OUTSIDE_RANGE = "ohlc_open_close_outside_range"


_REMEDIES: Final = {
    RejectReason.SYMBOL_INVALID: SYMBOL_RULES,
    RejectReason.PRICE_NONPOSITIVE: "If prices of 0 and below are real (spreads, futures): "
    "--allow-negative-prices",
    RejectReason.SIZE_ZERO: "A trade has a size. If that column holds none, name the columns without it: "
    "--columns time,price",
}


def reject_remedy(reasons: Iterable[str]) -> str:
    """Return what a user can do about rejected rows of a file; empty if the rows themselves are wrong."""
    remedies = {str(reason): remedy for reason, remedy in _REMEDIES.items()}
    return next((remedies[reason] for reason in reasons if reason in remedies), "")


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row.

    Parameters
    ----------
    file
        Name of the file or stream that it comes from.
    line
        Physical line number; the first line is 1, a header counts.
    reason
        A `RejectReason`.
    raw
        The row as it was read.
    """

    file: str
    line: int
    reason: str
    raw: str

    def to_json(self) -> str:
        """Return one line of JSON."""
        return msgspec.json.encode(self).decode()
