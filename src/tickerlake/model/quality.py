"""Quality codes: what may be odd about a record, and why a row is not one."""

from typing import Final

OHLC_HIGH_LT_LOW: Final = "ohlc_high_lt_low"
OHLC_OPEN_CLOSE_OUTSIDE_RANGE: Final = "ohlc_open_close_outside_range"
PRICE_NONPOSITIVE: Final = "price_nonpositive"
PRICE_MISSING: Final = "price_missing"
VOLUME_NEGATIVE: Final = "volume_negative"
DUPLICATE_KEY: Final = "duplicate_key"
CONFLICTING_DUPLICATE: Final = "conflicting_duplicate"
CROSSED_QUOTE: Final = "crossed_quote"
SENTINEL_VALUE: Final = "sentinel_value"

QUALITY_CODES: Final = frozenset(
    {
        "ohlc_high_lt_low",
        "ohlc_open_close_outside_range",
        "price_nonpositive",
        "volume_negative",
        "price_missing",
        "duplicate_key",
        "conflicting_duplicate",
        "out_of_order",
        "late",
        "future_timestamp",
        "timestamp_off_grid",
        "gap_in_session",
        "bar_outside_session",
        "holiday_bar",
        "stale_price",
        "zero_volume_move",
        "spike_reverting",
        "scale_100x",
        "probable_split",
        "crossed_quote",
        "sentinel_value",
        "sequence_gap",
    }
)
"""Codes that a record may carry, or that a row may be rejected with."""

FIELD_COUNT: Final = "field_count"
UNPARSABLE_DATE: Final = "unparsable_date"
UNPARSABLE_NUMBER: Final = "unparsable_number"
SYMBOL_MISSING: Final = "symbol_missing"
SYMBOL_INVALID: Final = "symbol_invalid"
SIZE_MISSING: Final = "size_missing"
NO_LOCAL_TIME: Final = "no_local_time"
"""A time of day that the clocks of the zone skip, or show twice, on that day."""

REJECT_CODES: Final = frozenset(
    {
        FIELD_COUNT,
        UNPARSABLE_DATE,
        UNPARSABLE_NUMBER,
        SYMBOL_MISSING,
        SYMBOL_INVALID,
        SIZE_MISSING,
        NO_LOCAL_TIME,
    }
)
"""Reasons, besides the quality codes, for which a row can't be a record."""
