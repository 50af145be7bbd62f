"""When a market trades on each day, and how its trades and its volatility are spread over the minutes.

Without a market the days are weekdays, 09:30 to 16:00 in New York, without holidays and auctions.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Final

import polars as pl

from tickerlake.errors import UsageError
from tickerlake.model.duration import MINUTE_NS

SESSION_MINUTES: Final = 390
"""The minutes of a US session, which is the measure of all others."""

_SPARE_DAYS: Final = 40
"""Calendar days beyond twice the sessions: enough for any holidays."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """The sale conditions of a market's prints.

    Parameters
    ----------
    opening, closing
        Of the prints of the auctions.
    extended
        Of trades outside the session.
    odd_lot
        Of fewer than 100 shares.
    late, extended_late
        Of trades that are reported late and out of sequence, in the session and outside.
    average_price, derivative
        Of trades at the average of a period, and at a price that derives from another instrument's.
    """

    opening: str = "O"
    closing: str = "6"
    extended: str = "T"
    odd_lot: str = "I"
    late: str = "Z"
    extended_late: str = "U"
    average_price: str = "B"
    derivative: str = "4"


@dataclass(frozen=True, slots=True)
class MarketRules:
    """How a market trades.

    Parameters
    ----------
    calendar
        Its name in `exchange_calendars`.
    before, after
        The minutes of pre-market and after-hours trading; 0 for none.
    closing_delay
        The minutes from the close to the print of the closing auction.
    conditions
        Its sale conditions; None if its prints have none.
    """

    calendar: str
    before: int = 0
    after: int = 0
    closing_delay: int = 0
    conditions: Conditions | None = None


MARKETS: Final = {
    # the Consolidated Tape Association's codes, and those of the UTP plan
    "XNYS": MarketRules("XNYS", 330, 240, conditions=Conditions()),
    "XNAS": MarketRules("XNYS", 330, 240, conditions=Conditions(average_price="W")),
    "XTKS": MarketRules("XTKS"),
    "XHKG": MarketRules("XHKG", closing_delay=8),
    "XLON": MarketRules("XLON", closing_delay=5),
    "XETR": MarketRules("XETR", closing_delay=5),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The minutes of a day, from its first.

    Parameters
    ----------
    open, close
        The minutes in which the session opens and closes.
    break_start, break_end
        The minutes in which the lunch break begins and ends; both 0 without one.
    volume, variance
        The relative share of each minute in the trades, and in the variance of the price.
    auction_close
        The minute of the print of the closing auction; 0 without auctions.
    """

    open: int
    close: int
    break_start: int
    break_end: int
    volume: tuple[int, ...]
    variance: tuple[int, ...]
    auction_close: int = 0

    @property
    def minutes(self) -> int:
        """The number of minutes."""
        return len(self.volume)

    @property
    def has_auctions(self) -> bool:
        """True if the session opens and closes with an auction."""
        return self.auction_close > 0

    @property
    def session_variance(self) -> int:
        """The sum of ``variance`` over the session: the measure of a day's sigma."""
        return sum(self.variance[self.open : self.close])

    @property
    def traded_minutes(self) -> int:
        """The minutes of the session without its lunch break."""
        return self.close - self.open - (self.break_end - self.break_start)

    def part(self, minute: pl.Expr) -> pl.Expr:
        """Return the part of the day that each minute is in: 0 before the open, 1 and 2 in the session."""
        break_end = self.break_end or self.close
        return (
            (minute >= self.open).cast(pl.Int8) + (minute >= break_end).cast(pl.Int8) + (minute >= self.close)
        )

    def is_break(self, minute: pl.Expr) -> pl.Expr:
        """Return which minutes are in the lunch break."""
        return minute.is_between(self.break_start, self.break_end, closed="left")


@dataclass(frozen=True, slots=True)
class Day:
    """A day on which the market is open.

    Parameters
    ----------
    date
        The date in the market's time zone.
    start_ns
        When its first minute begins, in nanoseconds since 1970.
    shape
        Its minutes.
    """

    date: date
    start_ns: int
    shape: Shape


def weekday(start: date, number: int) -> Day:
    """Return the weekday that is ``number`` weekdays after the first one from ``start`` on, in New York."""
    day = nth_weekday(start, number)
    # Polars has its own time zones: those of the machine have no influence
    opening = pl.datetime(day.year, day.month, day.day, 9, 30, time_zone="America/New_York")
    return Day(day, int(pl.select(opening.dt.epoch("ns")).item()), _shape(SESSION_MINUTES, 0, 0))


def nth_weekday(start: date, number: int) -> date:
    """Return the weekday that is ``number`` weekdays after the first one from ``start`` on."""
    monday = start - timedelta(days=start.weekday())
    weeks, day = divmod(min(start.weekday(), 5) + number, 5)
    return monday + timedelta(weeks=weeks, days=day)


@cache
def market_days(market: str, start: date, count: int, *, extended: bool) -> tuple[Day, ...]:
    """Return the first sessions of a market from a date on: its holidays, half days and lunch breaks.

    Parameters
    ----------
    market
        Its ISO 10383 code, one of `MARKETS`.
    start, count
        The first date, and the number of sessions.
    extended
        True to include pre-market and after-hours trading.

    Raises
    ------
    UsageError
        If the calendar does not reach that far.
    """
    import exchange_calendars

    rules = MARKETS[market]
    end = start + timedelta(days=2 * count + _SPARE_DAYS)
    # exchange_calendars uses deprecated functions of pandas, which a user cannot change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            calendar = exchange_calendars.get_calendar(rules.calendar, start=str(start), end=str(end))
        except ValueError as error:
            raise UsageError(
                f"The calendar of {market} does not cover {start} to {end}.", "Specify another --start."
            ) from error
        columns = (
            calendar.opens_nanos,
            calendar.closes_nanos,
            calendar.break_starts_nanos,
            calendar.break_ends_nanos,
        )
        dates = [each.date() for each in calendar.sessions[:count]]
    if len(dates) < count:
        raise UsageError(f"{market} has fewer than {count:,} sessions from {start} on.", "Reduce --days.")
    days = []
    for day, *times in zip(dates, *(column[:count].tolist() for column in columns), strict=True):
        open_ns, close_ns, break_start_ns, break_end_ns = times
        length = (close_ns - open_ns) // MINUTE_NS
        # a session without a break has NaT, the smallest integer
        pause = [(at - open_ns) // MINUTE_NS if at > 0 else 0 for at in (break_start_ns, break_end_ns)]
        shape = _shape(length, *pause, rules, extended=extended)
        days.append(Day(day, open_ns - shape.open * MINUTE_NS, shape))
    return tuple(days)


@cache
def _shape(
    length: int,
    break_start: int,
    break_end: int,
    rules: MarketRules | None = None,
    *,
    extended: bool = False,
) -> Shape:
    """Return the shape of a session of some minutes, with a break counted from its open."""
    traded = length - (break_end - break_start)

    def spread(weight: Callable[[int, int], int]) -> list[int]:
        weights = [weight(minute, traded) for minute in range(traded)]
        return [*weights[:break_start], *[0] * (break_end - break_start), *weights[break_start:]]

    volume, variance, first, auction_close = spread(_volume_weight), spread(_variance_weight), 0, 0
    if rules:
        auction_close = length + rules.closing_delay
        after = [0] * (rules.closing_delay + 1)
        volume, variance = volume + after, variance + after
    if rules and extended:
        first = rules.before
        auction_close += first
        volume = [*_rising(first, 10, 100), *volume[:length], *_falling(rules.after, 15, 250)]
        variance = [*_rising(first, 60, 400), *variance[:length], *_falling(rules.after, 60, 720)]
    pause = (first + break_start, first + break_end) if break_end else (0, 0)
    return Shape(first, first + length, *pause, tuple(volume), tuple(variance), auction_close)


def _volume_weight(minute: int, minutes: int) -> int:
    """Return the relative share of a minute in the day's trades: a U shape."""
    distance = abs(2 * minute + 1 - minutes) / minutes  # from noon, 0 to 1
    return round(1000 * (1 + 3 * distance * distance + 2 * distance**8))


def _variance_weight(minute: int, minutes: int) -> int:
    """Return the relative share of a minute in the day's variance: a U shape, higher at the open."""
    elapsed = (2 * minute + 1) / (2 * minutes)  # of the session, 0 to 1
    return round(1000 * (1 + 5 * (1 - elapsed) ** 8 + 1.5 * elapsed**8))


def _rising(minutes: int, base: int, rise: int) -> list[int]:
    """Return weights before the open, a hundredth of the session's in all."""
    return [base + round(rise * ((minute + 0.5) / minutes) ** 3) for minute in range(minutes)]


def _falling(minutes: int, base: int, rise: int) -> list[int]:
    """Return weights after the close, also a hundredth."""
    return [base + round(rise * (1 - (minute + 0.5) / minutes) ** 8) for minute in range(minutes)]
