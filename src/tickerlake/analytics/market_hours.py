"""When a market trades outside the hours of its calendar, and the phases of a session that follow.

A calendar has opens and closes of continuous trading. The auction at the close prints after it, and in some
markets the one at the open before it; both belong to the regular session, as in everybody's daily bars.
"""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

import numpy as np

from tickerlake.analytics.bars import Flags, Ints, Phase
from tickerlake.model.duration import parse_duration_ns


class MarketHours(NamedTuple):
    """Hours around those of a calendar, in nanoseconds.

    Parameters
    ----------
    before_ns, after_ns
        How long pre-market trading lasts until the open, and after-hours trading from the close.
    auction_before_ns, auction_after_ns
        How long before the open and after the close a trade without a sale condition is an auction's.
    ends_after_hours
        True if the next session begins where after-hours trading ends: what trades overnight belongs to it.
    """

    before_ns: int
    after_ns: int
    auction_before_ns: int = 0
    auction_after_ns: int = 0
    ends_after_hours: bool = False


_FILE: Final = "market_hours.toml"


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    return {name: entry for entry in tomllib.loads(text)["hours"] for name in entry.pop("calendars")}


def market_hours(calendar: str) -> MarketHours:
    """Return the hours around those of a calendar, given its name in `exchange_calendars`."""
    entry = _table().get(calendar, {})
    before, after = (entry.get(name) for name in ("before", "after"))
    auction_before, auction_after = (entry.get(f"auction_{name}") for name in ("before", "after"))
    return MarketHours(
        DEFAULT_HOURS.before_ns if before is None else parse_duration_ns(before),
        DEFAULT_HOURS.after_ns if after is None else parse_duration_ns(after),
        0 if auction_before is None else parse_duration_ns(auction_before),
        0 if auction_after is None else parse_duration_ns(auction_after),
        ends_after_hours=bool(entry.get("overnight", False)),
    )


DEFAULT_HOURS: Final = MarketHours(parse_duration_ns("4h"), parse_duration_ns("6h"))
"""Of markets that the table does not have: most have less, and none of their trades is regular."""


def phase_of(start_ns: Ints, end_ns: Ints, open_ns: Ints, close_ns: Ints, hours: MarketHours) -> Ints:
    """Return the phase of trades or bars.

    A bar that overlaps the regular hours is regular, as it can have their prices; so is a bar within the
    auctions.

    Parameters
    ----------
    start_ns, end_ns
        Start and end, UTC nanoseconds of the shape (k,); both the time of a trade.
    open_ns, close_ns
        Open and close of their sessions.
    hours
        The hours of the market.

    Returns
    -------
    int64 array
        `Phase` numbers, of the shape (k,).
    """
    before, after = start_ns < open_ns, start_ns >= close_ns
    if not (np.count_nonzero(before) or np.count_nonzero(after)):
        return np.full(len(start_ns), int(Phase.REGULAR))
    last_ns = np.maximum(start_ns, end_ns - 1)
    regular: Flags = ~before & ~after | before & (last_ns >= open_ns)
    regular |= before & (start_ns >= open_ns - hours.auction_before_ns)
    regular |= after & (last_ns < close_ns + hours.auction_after_ns)
    extended = np.where(before, int(Phase.PRE_MARKET), int(Phase.AFTER_HOURS))
    closed = (start_ns < open_ns - hours.before_ns) | (start_ns >= close_ns + hours.after_ns)
    return np.where(regular, int(Phase.REGULAR), np.where(closed, int(Phase.CLOSED), extended))
