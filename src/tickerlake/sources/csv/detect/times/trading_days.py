"""Dates that are trading days: a night session belongs to the next one, and took place on an earlier date.

Joined with a time of day, such a date is wrong by a night or a weekend. The order of the rows shows it: in
a date, times step back from the night to the morning. So does the day's volume so far, if rows are sorted
by such times. Pure.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tickerlake.model.duration import DAY_NS

_HOUR_NS: Final = DAY_NS // 24
MIN_STEP_BACK_NS: Final = 4 * _HOUR_NS
"""From a night session to the morning: late trades and repeated hours step back by less, or return."""

_MIN_PAUSE_NS: Final = 2 * _HOUR_NS
_MAX_MIDNIGHT_GAP_NS: Final = 4 * _HOUR_NS
_EVENING_NS: Final = 20 * _HOUR_NS
_EARLY_NS: Final = 4 * _HOUR_NS
_MAX_OTHER_SHARE: Final = 0.01
"""So many steps against the order of the rows are single rows out of place."""

_MIN_DAYS_SHARE: Final = 0.1
_MIN_RISES: Final = 3
_GIVE_UP_ROWS: Final = 10_000


@dataclass(frozen=True)
class StepBack:
    """Where times step back within a date.

    Parameters
    ----------
    symbol
        The symbol of the two rows.
    before_ns, after_ns
        Their times, in the order of the file.
    """

    symbol: str
    before_ns: int
    after_ns: int


@dataclass
class _Direction:
    """The steps back of rows that rise otherwise, or fall if `sign` is -1."""

    sign: int
    back: int = 0
    returned: int = 0
    against: int = 0
    first: StepBack | None = None
    peaks: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, rows: pl.DataFrame, known: int) -> None:
        days = rows.get_column("day")
        symbols = rows.get_column("symbol")
        signed = rows.get_column("ts") * self.sign
        start = [
            max(ts, self.peaks.get((symbol, day), ts))
            for symbol, day, ts in zip(symbols.head(known), days.head(known), signed.head(known), strict=True)
        ]
        key = ("symbol", "day")
        frame = (
            rows.with_columns(signed, peak=pl.concat([pl.Series(start, dtype=pl.Int64), signed.tail(-known)]))
            if known
            else rows.with_columns(signed, peak=signed)
        )
        frame = frame.with_columns(pl.col("peak").cum_max().over(*key)).with_columns(
            is_back=pl.col("ts") <= pl.col("peak") - MIN_STEP_BACK_NS
        )
        was_back = pl.col("is_back").shift().over(*key)
        steps = (
            frame.with_columns(
                was_back=was_back.fill_null(value=False), step=pl.col("ts").diff().over("symbol")
            )
            .slice(known)
            .with_columns(steps_back=pl.col("is_back") & ~pl.col("was_back"))
        )
        found = steps.filter("steps_back")
        if self.first is None and not found.is_empty():
            symbol, peak, ts = found.select("symbol", "peak", "ts").row(0)
            self.first = StepBack(symbol, peak * self.sign, ts * self.sign)
        self.back += found.height
        self.returned += steps.select((pl.col("was_back") & ~pl.col("is_back")).sum()).item()
        self.against += steps.select((pl.col("step") < 0).sum()).item()
        last = frame.unique("symbol", keep="last", maintain_order=True).filter("is_back")
        self.peaks = {(symbol, day): peak for symbol, day, peak in last.select(*key, "peak").iter_rows()}


@dataclass
class StepsBack:
    """Looks for times that step back once within a date, in rows that are in order otherwise."""

    rows: int = 0
    days: int = 0
    is_disordered: bool = False
    _rising: _Direction = field(default_factory=lambda: _Direction(1))
    _falling: _Direction = field(default_factory=lambda: _Direction(-1))

    @property
    def is_open(self) -> bool:
        """True if times may still return to those before a step back."""
        return bool(self._rising.peaks or self._falling.peaks)

    def add(self, rows: pl.DataFrame, known: int) -> None:
        """Add rows with the columns ``symbol`` and ``ts``, the first of which are known already."""
        if self.is_disordered:
            return
        rows = rows.select("symbol", "ts", day=pl.col("ts") // DAY_NS)
        changes = (pl.col("day") != pl.col("day").shift().over("symbol")).fill_null(value=True)
        self.rows += rows.height - known
        self.days += rows.select(changes.slice(known).sum()).item()
        for direction in (self._rising, self._falling):
            direction.add(rows, known)
        self.is_disordered = self.rows > _GIVE_UP_ROWS and not any(
            map(self._is_in_order, (self._rising, self._falling))
        )

    def find(self) -> StepBack | None:
        """Return the first step back, None if there is none, or the rows are in no order."""
        for each in (self._rising, self._falling):
            is_single = not each.returned and each.back >= _MIN_DAYS_SHARE * self.days
            if each.first is not None and is_single and self._is_in_order(each):
                return each.first
        return None

    def _is_in_order(self, direction: _Direction) -> bool:
        return direction.against <= direction.back + _MAX_OTHER_SHARE * self.rows


@dataclass
class NightSessions:
    """Looks for night sessions of the next trading day in rows that are sorted by their times of day.

    Parameters
    ----------
    is_trading_day
        True if the name of the dates says that they are trading days.
    """

    is_trading_day: bool
    has_nights: bool = False
    crosses_midnight: bool = False
    _falls: dict[str, int] = field(default_factory=dict)
    _rises: dict[str, int] = field(default_factory=dict)
    _others: dict[str, int] = field(default_factory=dict)
    _resets: dict[str, int] = field(default_factory=dict)
    _days: int = 0
    _last: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows with the columns ``symbol``, ``ts`` and those of totals, as text."""
        if rows.is_empty():
            return
        totals = [name for name in rows.columns if name not in {"symbol", "ts"}]
        joined = rows if self._last is None else pl.concat([self._last, rows])
        numbers = [
            pl.col(name)
            .str.replace_all(",", "")
            .cast(pl.Float64, strict=False)
            .diff()
            .over("symbol")
            .alias(name)
            for name in totals
        ]
        day = pl.col("ts") // DAY_NS
        steps = joined.select(
            *numbers,
            step=pl.col("ts").diff().over("symbol"),
            changes=day != day.shift().over("symbol"),
        ).drop_nulls("step")
        self._last = joined.unique("symbol", keep="last", maintain_order=True)
        clock = rows.get_column("ts") % DAY_NS
        self.has_nights |= bool(((clock >= _EVENING_NS) | (clock < _EARLY_NS)).any())
        is_midnight = pl.col("changes") & pl.col("step").is_between(1, _MAX_MIDNIGHT_GAP_NS)
        self.crosses_midnight |= bool(steps.select(is_midnight.any()).item())
        self._days += steps.select(pl.col("changes").sum()).item()
        same_day, pause = ~pl.col("changes"), pl.col("step") >= _MIN_PAUSE_NS
        for name in totals:
            falls = pl.col(name) < 0
            counts = steps.select(
                (falls & same_day & pause).sum().alias("falls"),
                (falls & same_day & ~pause).sum().alias("others"),
                ((pl.col(name) > 0) & same_day).sum().alias("rises"),
                (falls & ~same_day).sum().alias("resets"),
            ).row(0)
            for counter, count in zip(
                (self._falls, self._others, self._rises, self._resets), counts, strict=True
            ):
                counter[name] = counter.get(name, 0) + count

    def falling_total(self) -> str:
        """Return the column whose total of the day falls within dates, after a pause; empty if none does.

        Where the total never falls from one date to the next, it may begin anew at night, and dates are those
        of the calendar.
        """
        for name, falls in self._falls.items():
            is_total = (
                self._rises[name] >= _MIN_RISES and self._others[name] <= _MAX_OTHER_SHARE * self._rises[name]
            )
            if falls and is_total and (self._resets[name] or not self._days):
                return name
        return ""

    @property
    def may_be_trading_days(self) -> bool:
        """True if a column of trading days has rows at night, and none of them continue on the next date."""
        return self.is_trading_day and self.has_nights and not self.crosses_midnight
