"""The instant and the trading date of bars of a day or longer whose times are not all midnight.

Such a time may be the beginning of the bar's 24 hours (16:00 UTC is midnight in Singapore; 22:00 UTC in
winter is 17:00 in New York, when the day of currencies begins), the open or the close of a session, or the
end of the day.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import polars as pl

from tickerlake.model.duration import DAY_NS, HOUR_NS, MINUTE_NS
from tickerlake.sources.csv.detect.scan import FileScan, select_times
from tickerlake.sources.csv.detect.times.interval import share_true
from tickerlake.sources.csv.timeform import TimeFormat

_MAX_SAMPLE_ROWS: Final = 100_000
_MIN_SHARE: Final = 0.9
"""A last row may have the time of the latest trade instead."""

_MAX_CLOCK_CHANGE_NS: Final = HOUR_NS + MINUTE_NS
_LAST_MINUTE_NS: Final = DAY_NS - MINUTE_NS
_NOON_NS: Final = DAY_NS // 2
_EARLIEST_MIDNIGHT_NS: Final = 11 * HOUR_NS
"""In UTC, the time at which the next day begins in the east of New Zealand's summer."""

_LATE_CLOSE_NS: Final = 15 * HOUR_NS
_AFTERNOON_NS: Final = 16 * HOUR_NS
_EVENING_NS: Final = 17 * HOUR_NS
_MAX_AMERICAN_OFFSET_NS: Final = -4 * HOUR_NS
_AMERICAN_ZONES: Final = frozenset({"America/New_York", "America/Chicago"})
"""Here a session that begins at 17:00 or later, of currencies or futures, is that of the next day."""

_STOCK_OPEN_NS: Final = 9 * HOUR_NS + 30 * MINUTE_NS
_MIN_EVIDENCE_ROWS: Final = 5
_CERTAIN_ROWS: Final = 20
"""So many sessions without a weekend are not chance."""

_MIN_PERIOD_SHARE: Final = 0.8
_MIN_MONTH_END_DAY: Final = 26
_DECISIVE_RATIO: Final = 3
_MONDAY, _FRIDAY, _SATURDAY = 1, 5, 6


@dataclass(frozen=True, slots=True)
class DailyTimes:
    """How bars of a day or longer that keep their instant get their session date.

    Parameters
    ----------
    clock
        The clock on which days are counted: the name of a time zone, or ``written`` (as written, whatever the
        offset).
    anchor_ns
        The earliest time of day at which a bar begins on that clock, in nanoseconds.
    shift_days
        The days from that on which a bar begins to its session date: 0 or 1.
    has_period_ends
        True if session dates are the last days of their weeks, months, quarters or years.
    """

    clock: str
    anchor_ns: int
    shift_days: int
    has_period_ends: bool = False

    def session_ns(self, instant: pl.Expr, written: pl.Expr) -> pl.Expr:
        """Return session dates, in nanoseconds since 1970, of instants and the same times as written."""
        local = written if self.clock == "written" else to_local(instant, self.clock)
        return ((local - self.anchor_ns).floordiv(DAY_NS) + self.shift_days) * DAY_NS


class DailyChoice(NamedTuple):
    """How the times of daily or longer bars are read: as dates (``daily_times`` is None), or as instants.

    ``cuts_times`` is True if a time of day is dropped, ``is_certain`` is False if the session date is
    assumed, ``begins`` is the time of day of the bars.
    """

    time_format: TimeFormat
    daily_times: DailyTimes | None
    reason: str
    cuts_times: bool = False
    is_certain: bool = True
    begins: str = ""


class _TimesOfDay(NamedTuple):
    """The time of day that nearly all rows share, give or take the hour by which clocks change."""

    anchor_ns: int
    width_ns: int

    @property
    def middle_ns(self) -> int:
        return self.anchor_ns + self.width_ns // 2

    @property
    def text(self) -> str:
        ends = (self.anchor_ns, (self.anchor_ns + self.width_ns) % DAY_NS)
        return "–".join(dict.fromkeys(f"{ns // HOUR_NS:02}:{ns % HOUR_NS // MINUTE_NS:02}" for ns in ends))


def to_local(instant: pl.Expr, zone: str) -> pl.Expr:
    """Return the local time in a time zone, in nanoseconds since 1970."""
    if zone in {"", "UTC"}:
        return instant
    utc = instant.cast(pl.Datetime("ns", "UTC"))
    return utc.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_physical()


def choose_daily_times(scan: FileScan, time_format: TimeFormat, interval: str, zone: str) -> DailyChoice:
    """Choose between dates and instants, and the rule for session dates, by the first rows.

    Parameters
    ----------
    interval
        ``1d`` or longer.
    zone
        The exchange's time zone, empty if it is not known.
    """
    times = _sample_times(scan, time_format)
    if times.is_empty():
        return DailyChoice(time_format.as_written, None, "not needed: dates only", cuts_times=True)
    instant, written = times.get_column("instant"), times.get_column("written")
    is_utc = not time_format.is_naive and bool((instant == written).all())
    utc_dates = replace(time_format, zone="UTC") if time_format.is_epoch else time_format.as_written
    if is_utc and share_true(instant % DAY_NS == 0) >= _MIN_SHARE:
        return DailyChoice(
            utc_dates, None, "not needed: midnight UTC", cuts_times=not (instant % DAY_NS == 0).all()
        )
    if share_true(written % DAY_NS == 0) >= _MIN_SHARE:
        return DailyChoice(time_format.as_written, None, "not needed: dates, and midnight", cuts_times=True)
    if share_true(written % DAY_NS >= _LAST_MINUTE_NS) >= _MIN_SHARE:
        return DailyChoice(
            utc_dates, None, "not needed: dates, and the last minute of the day", cuts_times=True
        )
    clock = "written" if time_format.is_naive or not (zone or is_utc) else zone or "UTC"
    local = written if clock == "written" else times.select(to_local(pl.col("instant"), clock)).to_series()
    shared, shift, is_certain = _find_times_of_day(local), 0, True
    if shared is not None:
        shifts = _possible_shifts(instant, written, clock, shared, is_naive=time_format.is_naive)
        begun = (local - shared.anchor_ns) // DAY_NS
        shift, is_certain = _choose_shift(begun, interval, shifts)
    if shared is None or (time_format.is_naive and not shift):
        what = f"dates; {shared.text if shared else 'the time of day, which varies,'} is not used"
        as_dates = (
            replace(time_format, zone=zone or "UTC") if time_format.is_epoch else time_format.as_written
        )
        return DailyChoice(as_dates, None, what, cuts_times=True)
    if is_utc and shift and shared.middle_ns < _LATE_CLOSE_NS:
        # midnight in Sydney, or a close in the Middle East, where Sunday is a trading day
        is_certain = False
    what = "the date after that" if shift else "that date"
    return DailyChoice(
        replace(time_format, zone=zone or "UTC") if time_format.is_naive else time_format,
        DailyTimes(clock, shared.anchor_ns, shift, _are_period_ends(begun + shift, interval)),
        f"bars begin at {shared.text}{' UTC' if clock == 'UTC' else ''}; their session has {what}",
        is_certain=bool(zone) or ((is_certain or not is_utc) and not time_format.is_naive),
        begins=shared.text,
    )


def _sample_times(scan: FileScan, time_format: TimeFormat) -> pl.DataFrame:
    """Return the first times that can be read, as instants and as written, in nanoseconds since 1970."""
    parts: list[pl.DataFrame] = []
    rows = 0
    for chunk in scan.head.text_file.chunks():
        texts = select_times(scan.head, scan.head.read_rows(chunk)).get_column("time")
        texts = texts.head(_MAX_SAMPLE_ROWS - rows)
        rows += len(texts)
        parts.append(
            texts.alias("t")
            .to_frame()
            .select(instant=time_format.to_ns(pl.col("t")), written=time_format.as_written.to_ns(pl.col("t")))
            .drop_nulls()
        )
        if rows >= _MAX_SAMPLE_ROWS:
            break
    return pl.concat(parts)


def _find_times_of_day(local: pl.Series) -> _TimesOfDay | None:
    time_of_day = local % DAY_NS
    common = time_of_day.value_counts(sort=True).sort("count", local.name, descending=[True, False])
    most_common = int(common[local.name][0])
    from_common = (time_of_day - most_common + _NOON_NS) % DAY_NS - _NOON_NS
    near = from_common.filter(from_common.abs() <= _MAX_CLOCK_CHANGE_NS)
    if len(near) < _MIN_SHARE * len(local):
        return None
    low, high = near.min(), near.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    return _TimesOfDay((most_common + low) % DAY_NS, high - low)


def _possible_shifts(
    instant: pl.Series, written: pl.Series, clock: str, shared: _TimesOfDay, *, is_naive: bool
) -> tuple[int, ...]:
    """Return the days to the session date that are possible, the likelier first.

    Weekends settle it only where a session may begin on the day before: in some countries Sunday is a trading
    day, and Friday is none.
    """
    middle_ns = shared.middle_ns
    if is_naive:
        return (0, 1) if middle_ns >= _AFTERNOON_NS and not middle_ns % HOUR_NS else (0,)
    if clock == "UTC":
        new_york = instant.to_frame("t").select(to_local(pl.col("t"), "America/New_York")).to_series()
        if middle_ns < _EARLIEST_MIDNIGHT_NS or _find_times_of_day(new_york) == _TimesOfDay(
            _STOCK_OPEN_NS, 0
        ):
            return (0,)
        # the date on which most of the bar's 24 hours fall
        return (0, 1) if middle_ns < _NOON_NS else (1, 0)
    is_american = clock in _AMERICAN_ZONES or (
        clock == "written" and bool(((written - instant) <= _MAX_AMERICAN_OFFSET_NS).all())
    )
    return (1, 0) if is_american and middle_ns >= _EVENING_NS else (0,)


def _choose_shift(begun: pl.Series, interval: str, shifts: tuple[int, ...]) -> tuple[int, bool]:
    """Return the shift with which sessions are trading days, or begin their periods; and if it is certain."""
    is_certain = len(begun) >= _CERTAIN_ROWS
    for test in _PERIOD_TESTS.get(interval, ()):
        for shift in shifts:
            if share_true(test(begun + shift)) >= _MIN_PERIOD_SHARE:
                return shift, is_certain
    weekends = {shift: share_true(_weekday(begun + shift) >= _SATURDAY) for shift in shifts}
    default, other = shifts[0], shifts[-1]
    if len(begun) >= _MIN_EVIDENCE_ROWS and weekends[default] > _DECISIVE_RATIO * weekends[other]:
        return other, is_certain and not weekends[other]
    return default, is_certain and not weekends[default]


def _weekday(days: pl.Series) -> pl.Series:
    """Return the days of the week of days since 1970; Monday is 1."""
    return days.cast(pl.Int32).cast(pl.Date).dt.weekday()


def _day_of_month(days: pl.Series) -> pl.Series:
    return days.cast(pl.Int32).cast(pl.Date).dt.day()


_PeriodTests = tuple[Callable[[pl.Series], pl.Series], ...]
_MONTH_TESTS: Final[_PeriodTests] = (
    lambda days: _day_of_month(days) == 1,
    lambda days: _day_of_month(days) >= _MIN_MONTH_END_DAY,
)
_PERIOD_TESTS: Final[dict[str, _PeriodTests]] = {
    "1w": (lambda days: _weekday(days) == _MONDAY, lambda days: _weekday(days) == _FRIDAY),
    **dict.fromkeys(("1mo", "3mo", "1y"), _MONTH_TESTS),
}
"""What the first, or else the last days of weeks and months have in common."""


def _are_period_ends(days: pl.Series, interval: str) -> bool:
    tests = _PERIOD_TESTS.get(interval)
    return tests is not None and share_true(tests[1](days)) >= _MIN_PERIOD_SHARE
