"""Quality flags: what is unusual about a valid record."""

from typing import Final

OHLC_OPEN_CLOSE_OUTSIDE_RANGE: Final = "ohlc_open_close_outside_range"
"""A bar whose open or close is above its high or below its low."""

CROSSED_QUOTE: Final = "crossed_quote"
"""A quote whose bid is above its ask."""

SENTINEL_VALUE: Final = "sentinel_value"
"""A quote with a price of 0, -1 or another number by which the vendor means that there is none."""
