"""In what order a file's rows stand, learned chunk by chunk."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from tickerlake.model.instrument import is_symbol

_GAPS: Final = 200_000


@dataclass
class Order:
    """What the rows seen so far say about the order of time within each symbol.

    ``rising`` and ``falling`` mean strictly: such a file has no key twice. ``merged`` means that time never
    steps back from row to row, whatever the symbol.
    """

    rising: bool = True
    falling: bool = True
    merged: bool = True
    rows: int = 0
    weekend_rows: int = 0
    gaps: list[pl.Series] = field(default_factory=list)
    _last: pl.DataFrame | None = None
    _symbols: set[str] = field(default_factory=set)

    def see(self, rows: pl.DataFrame) -> None:
        """Take the next rows: columns ``symbol`` and ``ts`` (nanoseconds, no nulls)."""
        if rows.is_empty():
            return
        self.rows += len(rows)
        day = pl.col("ts") // 86_400_000_000_000
        self.weekend_rows += rows.select(((day + 3) % 7 >= 5).sum()).item()
        joined = rows if self._last is None else pl.concat([self._last, rows])
        self._symbols.update(rows["symbol"].unique())
        single = len(self._symbols) == 1
        gap = pl.col("ts").diff()
        steps = joined.select(gap=gap if single else gap.over("symbol")).to_series().drop_nulls()
        if len(steps):
            self.rising = self.rising and bool((steps > 0).all())
            self.falling = self.falling and bool((steps < 0).all())
        if sum(map(len, self.gaps)) < _GAPS:
            self.gaps.append(steps.filter(steps != 0).abs())
        # The row before these is the last of `_last`: `see` keeps them in the order of the file.
        self.merged = self.merged and bool((joined["ts"].tail(len(rows) + 1).diff().drop_nulls() >= 0).all())
        if single:
            self._last = rows.tail(1)
        else:
            self._last = joined.unique("symbol", keep="last", maintain_order=True)

    @property
    def symbols(self) -> list[str]:
        """The symbols seen, in alphabetical order."""
        return sorted(filter(is_symbol, self._symbols))

    @property
    def median_gap(self) -> int | None:
        """The median time between neighbouring rows of a symbol, in nanoseconds."""
        gaps = pl.concat(self.gaps) if self.gaps else pl.Series([], dtype=pl.Int64)
        return None if gaps.is_empty() else int(gaps.quantile(0.5, "lower") or 0)
