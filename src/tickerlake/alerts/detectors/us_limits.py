"""The price limits of US exchanges and the days they came into force.

Sources
-------
- "Plan to Address Extraordinary Market Volatility" (Limit Up-Limit Down), SEC Release 34-67091 (31 May 2012),
  in force from 8 April 2013; Appendix A (percentages), section V (reference price). Amendment 18, SEC Release
  34-85623 (11 April 2019), implemented on 24 February 2020, removed the doubling at the open, and that at
  the close for Tier 2 above 3 dollars.
- Market-wide circuit breakers: SEC Release 34-67090 (31 May 2012), in force from 8 April 2013;
  NYSE Rule 7.12.

Earlier limits (the single-stock pilot of 2010, breakers at 10, 20 and 30% of the Dow Jones) are not
included.
"""

from datetime import date
from typing import Final, NamedTuple

from tickerlake.model.dates import to_days


class LimitBandRules(NamedTuple):
    """Limit bands from a day onward.

    Parameters
    ----------
    since
        The first day, in days since 1970-01-01.
    above_3, from_075
        Percentages of Tier 1 and Tier 2 above 3 dollars, and from 0.75 to 3 dollars.
    below_075, below_075_dollars
        Below 0.75 dollars: the smaller of a percentage and an amount.
    doubled_at_open
        Whether bands double until 9:45.
    doubled_at_close
        Whether bands double from 15:35 on, for each tier above 3 dollars; at or below 3 dollars they do.
    """

    since: int
    above_3: tuple[float, float]
    from_075: float
    below_075: float
    below_075_dollars: float
    doubled_at_open: bool
    doubled_at_close: tuple[bool, bool]


class BreakerRules(NamedTuple):
    """Market-wide circuit breakers from a day onward: falls of the S&P 500 from its last close, in percent.

    Parameters
    ----------
    since
        The first day, in days since 1970-01-01.
    levels
        Levels 1, 2 and 3.
    final_minutes
        In the last minutes of the session, only Level 3 halts trading.
    """

    since: int
    levels: tuple[float, float, float]
    final_minutes: int


def _epoch_day(year: int, month: int, day: int) -> int:
    return to_days(date(year, month, day))


LIMIT_BANDS: Final = (
    LimitBandRules(_epoch_day(2013, 4, 8), (5.0, 10.0), 20.0, 75.0, 0.15, True, (True, True)),
    LimitBandRules(_epoch_day(2020, 2, 24), (5.0, 10.0), 20.0, 75.0, 0.15, False, (True, False)),
)
"""Oldest first."""

BREAKERS: Final = (BreakerRules(_epoch_day(2013, 4, 8), (7.0, 13.0, 20.0), 35),)

DOUBLED_OPEN_MINUTES: Final = 15
DOUBLED_CLOSE_MINUTES: Final = 25
REFERENCE_MINUTES: Final = 5
MIN_REFERENCE_MOVE: Final = 0.01
"""The reference price follows the mean price only when that differs by this share (section V.A)."""
