"""Random tables of bars, which are written to files and read back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from zoneinfo import ZoneInfo

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several options."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ROLES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Bar:
    """One bar; ``local_time`` is in the table's time zone, and midnight for bars of days or months."""

    symbol: str
    local_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None


@dataclass(frozen=True)
class BarTable:
    """Bars, oldest first within each symbol."""

    bars: list[Bar]
    interval: str
    zone: str
    tick: Decimal
    has_volume: bool

    @property
    def is_daily(self) -> bool:
        """Whether the bars are those of days or months, which have no time of day."""
        return self.interval in {"1d", "1mo"}

    def open_ns(self, bar: Bar) -> int:
        """Return the time at which a bar opens, in nanoseconds since the epoch."""
        instant = bar.local_time.replace(tzinfo=UTC if self.is_daily else ZoneInfo(self.zone))
        seconds = (instant - EPOCH) // timedelta(seconds=1)
        return seconds * 10**9


SYMBOLS: Final = (
    "AAPL", "MSFT", "BRK-B", "F", "RELIANCE.NS", "BTC-USD", "NA", "MAR", "7203", "^GSPC", "BTC/USD", "BRK B",
    "NSE:INFY", "$SPX", "NIFTY 50", "ГАЗПРОМ", "日経 225", "BTC", "EUR", "DE",
)  # fmt: skip
STARTS: Final = (
    date(2024, 1, 2), date(2023, 12, 20), date(2012, 1, 31), date(2024, 5, 1), date(1999, 11, 29),
    date(2025, 6, 13),
)  # fmt: skip
INTERVAL_SECONDS: Final = {"1d": 86_400, "1m": 60, "5m": 300, "1h": 3600}


def random_table(
    pick: Pick, *, rows: Sequence[int], symbols: Sequence[int], intervals: Sequence[str]
) -> BarTable:
    """Return the bars of random walks."""
    interval = pick(intervals)
    count = pick(symbols)
    around_the_clock = pick([False, True])
    zone = pick(["UTC", "Asia/Kolkata"] if around_the_clock else ["America/New_York", "UTC", "Europe/Berlin"])
    tick = pick([Decimal("0.01"), Decimal("0.0001"), Decimal(1), Decimal("0.05"), Decimal("0.001")])
    level = pick([Decimal(100), Decimal("0.5"), Decimal(7), Decimal(990), Decimal(4200), Decimal(250_000)])
    volumes = pick(["integers", "none", "some missing", "fractions", "small", "large", "zeros"])
    length, start = pick(rows), pick(STARTS)
    random = Random(pick(range(1000)))
    offset = pick(range(len(SYMBOLS)))
    names = [SYMBOLS[(offset + k) % len(SYMBOLS)] for k in range(count)]
    bars = []
    times = _times(interval, start, length, around_the_clock=around_the_clock)
    for name in names:
        bars += _walk(name, times, random, max(level, 20 * tick), tick, volumes)
    return BarTable(bars, interval, zone, tick, volumes != "none")


def _times(interval: str, start: date, length: int, *, around_the_clock: bool) -> list[datetime]:
    if interval == "1mo":
        months = range(start.month - 1, start.month - 1 + length)
        return [datetime(start.year + month // 12, month % 12 + 1, 1) for month in months]  # noqa: DTZ001
    # not from midnight: minute bars that are all at 00:00 look like daily ones to any reader
    begin = time(0) if interval == "1d" else time(22, 15) if around_the_clock else time(9, 30)
    at = datetime.combine(start, begin)
    step = timedelta(seconds=INTERVAL_SECONDS[interval])
    times: list[datetime] = []
    while len(times) < length:
        if around_the_clock or at.weekday() < 5:
            times.append(at)
        at += step
        if interval != "1d" and not around_the_clock and at.time() >= time(16):
            at = datetime.combine(at.date() + timedelta(1), time(9, 30))
    return times


def _walk(
    symbol: str, times: list[datetime], random: Random, level: Decimal, tick: Decimal, volumes: str
) -> list[Bar]:
    price, bars = int(level / tick), []
    size = max(2, price // 80)
    for at in times:
        opens = max(2, price + random.randint(-size // 8, size // 8))
        close = max(2, opens + random.randint(-size, size))
        high = max(opens, close) + random.randint(0, size // 2)
        low = max(1, min(opens, close) - random.randint(0, size // 2))
        price = close
        shares = Decimal(random.randint(800, 90_000_000))
        volume: Decimal | None = shares
        if volumes == "none" or (volumes == "some missing" and random.random() < 0.3):
            volume = None
        elif volumes == "fractions":
            volume = Decimal(random.randint(1, 10**9)) / 10 ** random.choice([2, 3, 8])
        elif volumes == "small":
            volume = Decimal(random.randint(0, 999))
        elif volumes == "large":
            volume = shares * 1000
        elif volumes == "zeros" and random.random() < 0.5:
            volume = Decimal(0)
        bars.append(Bar(symbol, at, opens * tick, high * tick, low * tick, close * tick, volume))
    return bars
