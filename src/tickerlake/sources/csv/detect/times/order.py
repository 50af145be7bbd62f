"""The order in time of a file's rows, collected chunk by chunk."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import polars as pl

from tickerlake.model.dates import from_days
from tickerlake.model.duration import DAY_NS
from tickerlake.model.instrument import is_symbol_expr
from tickerlake.sources.csv.detect.times.trading_days import MIN_STEP_BACK_NS, StepsBack

_MAX_GAPS: Final = 200_000
"""The gaps between rows that are stored to infer the interval: more would only cost memory and time."""

_FRIDAY: Final = 4
_MIN_MONTH_END_DAY: Final = 26
"""The last weekday of a February that ends on a Sunday is the 26th."""

_MIN_DAYS: Final = 3
_MIN_YEARLY_GAP_DAYS: Final = 300
"""Where the day is read as the year, consecutive days are about a year apart."""

MIN_WEEKEND_CHECK_DAYS: Final = 20
"""On fewer days, a wrong order of day and month may have no weekend by chance."""


@dataclass
class TimeOrder:
    """The order in time of the rows so far.

    Parameters
    ----------
    strict
        True for bars: two rows of a symbol must not have the same time.
    rising, falling
        True if the times of each symbol rise, or fall; strictly for bars, so that no key occurs twice.
    is_rising_overall, is_falling_overall
        True if time never steps back, or forward, from row to row, whatever the symbol.
    rows, weekend_rows
        The number of rows, and of those on a Saturday or Sunday.
    first_ns, last_ns
        The earliest and the latest time.
    gaps
        Times between neighboring rows of a symbol, in nanoseconds, up to a maximum number.
    ties
        Among the same rows, how many have the time of the row before.
    steps_back
        Where times step back within a date; not looked for if `has_dates` is false.
    has_dates
        True if times have a date and a time of day as written, without an offset.
    """

    strict: bool = True
    has_dates: bool = False
    rising: bool = True
    falling: bool = True
    is_rising_overall: bool = True
    is_falling_overall: bool = True
    rows: int = 0
    weekend_rows: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[pl.Series] = field(default_factory=list)
    ties: int = 0
    steps_back: StepsBack = field(default_factory=StepsBack)
    _last_rows: pl.DataFrame | None = None
    _days: set[int] = field(default_factory=set)
    _symbols: set[str] = field(default_factory=set)

    def add(self, rows: pl.DataFrame) -> None:
        """Add the next rows, with the columns ``symbol`` and ``ts`` (nanoseconds, no nulls)."""
        if rows.is_empty():
            return
        self.rows += len(rows)
        ts = rows.get_column("ts")
        if len(self._days) < MIN_WEEKEND_CHECK_DAYS:
            self._days.update((ts // DAY_NS).unique().head(MIN_WEEKEND_CHECK_DAYS))
        self.weekend_rows += int(((ts // DAY_NS + 3) % 7 >= 5).sum())
        first, last = _min_max(ts)
        self.first_ns = first if self.first_ns is None else min(first, self.first_ns)
        self.last_ns = last if self.last_ns is None else max(last, self.last_ns)
        joined = rows if self._last_rows is None else pl.concat([self._last_rows, rows])
        self._symbols.update(rows["symbol"].unique())
        single = len(self._symbols) == 1
        # the row before these is the last one of `_last_rows`, which is in the order of the file
        consecutive = joined.tail(len(rows) + 1)
        all_steps = consecutive["ts"].diff().drop_nulls()
        if len(all_steps):
            min_step, max_step = _min_max(all_steps)
            self.is_rising_overall = self.is_rising_overall and min_step >= 0
            self.is_falling_overall = self.is_falling_overall and max_step <= 0
        if not (
            self.is_rising_overall
            and self.rising
            and not self.falling
            and self._has_enough_gaps
            and self._rises_per_symbol(consecutive)
        ):
            self._add_steps(joined, len(joined) - len(rows), single=single)
        self._last_rows = (
            rows.tail(1) if single else joined.unique("symbol", keep="last", maintain_order=True)
        )

    @property
    def _has_enough_gaps(self) -> bool:
        return not self.strict or sum(map(len, self.gaps)) >= _MAX_GAPS

    def _rises_per_symbol(self, rows: pl.DataFrame) -> bool:
        """Return whether each symbol's rows rise, by a fast test: sufficient if time never steps back."""
        if not self.strict:
            return True
        step = pl.col("ts").diff()
        is_ascending = (step > 0) | ((step == 0) & (pl.col("symbol") > pl.col("symbol").shift()))
        return bool(rows.select(is_ascending.all()).item())

    def _add_steps(self, rows: pl.DataFrame, known: int, *, single: bool) -> None:
        """Add the steps between rows, the first of which are the last earlier one of each symbol."""
        gap = pl.col("ts").diff()
        steps = rows.select(gap=gap if single else gap.over("symbol")).to_series().drop_nulls()
        if not len(steps):
            return
        min_step, max_step = _min_max(steps)
        self.rising = self.rising and min_step >= self.strict
        self.falling = self.falling and max_step <= -self.strict
        is_far = min_step < 0 < max_step and max(-min_step, max_step) >= MIN_STEP_BACK_NS
        if self.has_dates and (is_far or self.steps_back.is_open):
            self.steps_back.add(rows, known)
        if not self._has_enough_gaps:
            if min_step < 0 < max_step:
                steps = rows.sort("symbol", "ts").select(gap=gap.over("symbol")).to_series().drop_nulls()
            self.gaps.append(steps.filter(steps != 0).abs())
            self.ties += int((steps == 0).sum())

    @property
    def has_no_weekend_rows(self) -> bool:
        """True if there are enough days, and none of them is a Saturday or a Sunday."""
        return not self.weekend_rows and len(self._days) >= MIN_WEEKEND_CHECK_DAYS

    def has_period_end_dates(self, interval: str) -> bool:
        """Return whether dates are the last days of their weeks, months, quarters or years."""
        days = [from_days(day) for day in self._days]
        if len(days) < _MIN_DAYS:
            return False
        if interval == "1w":
            weekdays = [day.weekday() for day in days]
            # not weeks counted from 1970: these begin on Thursdays
            return set(weekdays) <= {_FRIDAY - 1, _FRIDAY} and 2 * weekdays.count(_FRIDAY) > len(days)
        months = {"1mo": 1, "3mo": 3, "1y": 12}.get(interval, 0)
        return bool(months) and all(day.day >= _MIN_MONTH_END_DAY and day.month % months == 0 for day in days)

    @property
    def is_yearly(self) -> bool:
        """True if there are several days, and all of them are about a year apart or more."""
        days = sorted(self._days)
        return len(days) >= _MIN_DAYS and all(b - a > _MIN_YEARLY_GAP_DAYS for a, b in pairwise(days))

    @property
    def symbols(self) -> list[str]:
        """The symbols so far, in alphabetical order."""
        symbols = pl.DataFrame({"symbol": sorted(self._symbols)}, schema={"symbol": pl.String})
        return symbols.filter(is_symbol_expr("symbol")).get_column("symbol").to_list()

    @property
    def gaps_ns(self) -> pl.Series:
        """The times between neighboring rows of a symbol, in nanoseconds."""
        return pl.concat(self.gaps) if self.gaps else pl.Series("gap", [], dtype=pl.Int64)


def _min_max(values: pl.Series) -> tuple[int, int]:
    minimum, maximum = values.min(), values.max()
    assert isinstance(minimum, int)
    assert isinstance(maximum, int)
    return minimum, maximum
