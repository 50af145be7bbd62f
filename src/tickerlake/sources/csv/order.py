"""In what order a file's rows stand, learned chunk by chunk."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

import polars as pl

from tickerlake.model.instrument import is_symbol
from tickerlake.sources.csv.timeform import DAY_NS

_GAPS: Final = 200_000
_EPOCH: Final = date(1970, 1, 1)
_FRIDAY: Final = 4
_LAST_DAYS: Final = 26
_FEW_DAYS: Final = 3
_MOST_OF_A_YEAR: Final = 300
ENOUGH_DAYS: Final = 20
"""On fewer days even a market that never closes may have no weekend."""


@dataclass
class Order:
    """What the rows seen so far say about the order of time within each symbol.

    ``rising`` and ``falling`` mean strictly for bars: such a file has no key twice. ``merged`` means that
    time never steps back from row to row, whatever the symbol.

    Parameters
    ----------
    strict
        True for bars: two rows of a symbol may not have one time.
    """

    strict: bool = True
    rising: bool = True
    falling: bool = True
    merged: bool = True
    merged_falling: bool = True
    rows: int = 0
    weekend_rows: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[pl.Series] = field(default_factory=list)
    _last: pl.DataFrame | None = None
    _days: set[int] = field(default_factory=set)
    _symbols: set[str] = field(default_factory=set)

    def see(self, rows: pl.DataFrame) -> None:
        """Take the next rows: columns ``symbol`` and ``ts`` (nanoseconds, no nulls)."""
        if rows.is_empty():
            return
        self.rows += len(rows)
        ts = rows.get_column("ts")
        if len(self._days) < ENOUGH_DAYS:
            self._days.update((ts // DAY_NS).unique().head(ENOUGH_DAYS))
        self.weekend_rows += int(((ts // DAY_NS + 3) % 7 >= 5).sum())
        first, last = _ends(ts)
        self.first_ns = first if self.first_ns is None else min(first, self.first_ns)
        self.last_ns = last if self.last_ns is None else max(last, self.last_ns)
        joined = rows if self._last is None else pl.concat([self._last, rows])
        self._symbols.update(rows["symbol"].unique())
        single = len(self._symbols) == 1
        # The row before these is the last of `_last`, which is in the order of the file.
        near = joined.tail(len(rows) + 1)
        all_steps = near["ts"].diff().drop_nulls()
        if len(all_steps):
            least, most = _ends(all_steps)
            self.merged = self.merged and least >= 0
            self.merged_falling = self.merged_falling and most <= 0
        if not (self.merged and self.rising and not self.falling and self._enough and self._ascends(near)):
            self._see_each(joined, single=single)
        self._last = rows.tail(1) if single else joined.unique("symbol", keep="last", maintain_order=True)

    @property
    def _enough(self) -> bool:
        return not self.strict or sum(map(len, self.gaps)) >= _GAPS

    def _ascends(self, rows: pl.DataFrame) -> bool:
        """Tell quickly whether each symbol's rows rise: sure of it, if time never falls back in the file."""
        if not self.strict:
            return True
        step = pl.col("ts").diff()
        after = (step > 0) | ((step == 0) & (pl.col("symbol") > pl.col("symbol").shift()))
        return bool(rows.select(after.all()).item())

    def _see_each(self, rows: pl.DataFrame, *, single: bool) -> None:
        """Take rows, with the one before them of each symbol."""
        gap = pl.col("ts").diff()
        steps = rows.select(gap=gap if single else gap.over("symbol")).to_series().drop_nulls()
        if not len(steps):
            return
        least, most = _ends(steps)
        self.rising = self.rising and least >= self.strict
        self.falling = self.falling and most <= -self.strict
        if not self._enough:
            if least < 0 < most:
                steps = rows.sort("symbol", "ts").select(gap=gap.over("symbol")).to_series().drop_nulls()
            self.gaps.append(steps.filter(steps != 0).abs())

    @property
    def keeps_weekends(self) -> bool:
        """True if there are days enough, and none of them is a Saturday or a Sunday."""
        return not self.weekend_rows and len(self._days) >= ENOUGH_DAYS

    def ends(self, interval: str) -> bool:
        """Tell whether dates are the last days of their weeks, months, quarters or years."""
        days = [_EPOCH + timedelta(day) for day in self._days]
        if len(days) < _FEW_DAYS:
            return False
        if interval == "1w":
            weekdays = [day.weekday() for day in days]
            # weeks that are counted from 1970 begin on Thursdays
            return set(weekdays) <= {_FRIDAY - 1, _FRIDAY} and 2 * weekdays.count(_FRIDAY) > len(days)
        months = {"1mo": 1, "3mo": 3, "1y": 12}.get(interval, 0)
        return bool(months) and all(day.day >= _LAST_DAYS and day.month % months == 0 for day in days)

    @property
    def yearly(self) -> bool:
        """True if there are some days, and all of them are about a year apart or more."""
        days = sorted(self._days)
        return len(days) >= _FEW_DAYS and all(b - a > _MOST_OF_A_YEAR for a, b in pairwise(days))

    @property
    def symbols(self) -> list[str]:
        """The symbols seen, in alphabetical order."""
        return sorted(filter(is_symbol, self._symbols))

    @property
    def gaps_ns(self) -> pl.Series:
        """The time between neighbouring rows of a symbol, in nanoseconds."""
        return pl.concat(self.gaps) if self.gaps else pl.Series("gap", [], dtype=pl.Int64)


def _ends(values: pl.Series) -> tuple[int, int]:
    least, most = values.min(), values.max()
    assert isinstance(least, int)
    assert isinstance(most, int)
    return least, most
