"""The rows of a batch with the watermarks of their instruments: what bars are built from."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Ints
from tickerlake.analytics.condition_codes import SETS_ALL, SETS_DAY_CLOSE, SETS_DAY_RANGE, SETS_PRICE
from tickerlake.analytics.types import TRADES

BAR_COLUMNS: Final = [
    pl.col("row"),
    pl.col("start_ns").alias("first_ns"),
    pl.col("start_ns").alias("last_ns"),
    *(pl.col(name) for name in ("open", "high", "low", "close", "volume", "notional")),
    pl.col("volume").is_not_null().cast(pl.Int64).alias("sized"),
    *(pl.col(name) for name in ("count", "recv_ns", "timestamp_ms")),
]
"""A row as a bar of its own (`bar_builder.OPEN_SCHEMA` without the bucket)."""


def bars_of_rows(frame: pl.DataFrame, *, daily: bool) -> pl.DataFrame:
    """Return rows as bars of one row each; a price that a trade may not set in bars of this kind is null.

    Parameters
    ----------
    frame
        The rows.
    daily
        True for bars of a day: high and low have wider rules there.
    """
    bars = frame.select(BAR_COLUMNS)
    sets = frame.get_column("sets")
    if (sets & SETS_ALL == SETS_ALL).all():
        return bars
    sets_last = sets & (SETS_DAY_CLOSE if daily else SETS_PRICE) != 0
    sets_range = sets & (SETS_DAY_RANGE if daily else SETS_PRICE) != 0
    return bars.with_columns(
        *(pl.when(sets_last).then(name).alias(name) for name in ("first_ns", "last_ns", "open", "close")),
        *(pl.when(sets_range).then(name).alias(name) for name in ("high", "low")),
    )


@dataclass(frozen=True, slots=True)
class InputRows:
    """Rows of a batch, sorted by instrument and offset; every array has the shape (n,).

    Parameters
    ----------
    frame
        The rows (`decode.ROW_SCHEMA`) with the column ``row``.
    bars, daily_bars
        The same rows as bars of one row each (`BAR_COLUMNS`), for intraday and for daily bars.
    row, start_ns
        Instrument and time.
    watermark_before_ns, watermark_ns
        The instrument's watermark before and after each row.
    in_order
        True if no row is older than its instrument's watermark.
    """

    frame: pl.DataFrame
    bars: pl.DataFrame
    daily_bars: pl.DataFrame
    row: Ints
    start_ns: Ints
    watermark_before_ns: Ints
    watermark_ns: Ints
    in_order: bool

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, instrument_watermark_ns: Ints) -> Self:
        """Compute the watermarks of rows from those of all instruments before the batch."""
        row, end_ns = frame.get_column("row").to_numpy(), frame.get_column("end_ns").to_numpy()
        start_ns = frame.get_column("start_ns").to_numpy()
        first = np.append(True, values=row[1:] != row[:-1])
        previous_ns = instrument_watermark_ns[row[first]]
        before_ns = np.empty_like(end_ns)
        before_ns[1:] = end_ns[:-1]
        before_ns[first] = previous_ns
        bars, daily_bars = (bars_of_rows(frame, daily=daily) for daily in (False, True))
        if (start_ns >= before_ns).all():
            return cls(frame, bars, daily_bars, row, start_ns, before_ns, end_ns, in_order=True)
        ends = pl.DataFrame({"row": row, "end_ns": end_ns})
        highest_ns = ends.select(pl.col("end_ns").cum_max().over("row")).to_series().to_numpy()
        sizes = np.diff(np.append(np.flatnonzero(first), len(row)))
        watermark_ns = np.maximum(highest_ns, np.repeat(previous_ns, sizes))
        before_ns[1:] = watermark_ns[:-1]
        before_ns[first] = previous_ns
        return cls(frame, bars, daily_bars, row, start_ns, before_ns, watermark_ns, in_order=False)

    def select_inputs(self, input_intervals: list[str]) -> Self:
        """Return the rows of instruments that send trades, or bars, of these intervals."""
        selection = np.flatnonzero(self.frame.get_column("input_interval").is_in(input_intervals).to_numpy())
        return type(self)(
            self.frame[selection],
            self.bars[selection],
            self.daily_bars[selection],
            self.row[selection],
            self.start_ns[selection],
            self.watermark_before_ns[selection],
            self.watermark_ns[selection],
            self.in_order,
        )


def repeated_bars(frame: pl.DataFrame, instrument_watermark_ns: Ints) -> pl.Series:
    """Return which bars start before the end of the last accepted one: repetitions or corrections.

    They cannot be added up. A trade is never repeated.
    """
    repeated = np.zeros(frame.height, dtype=np.bool_)
    positions = np.flatnonzero((frame.get_column("input_interval") != TRADES).to_numpy())
    watermarks: dict[int, int] = {}
    entries = frame[positions].select("row", "start_ns", "end_ns").iter_rows()
    for number, (row, start_ns, end_ns) in zip(positions.tolist(), entries, strict=True):
        last_ns = watermarks.setdefault(row, int(instrument_watermark_ns[row]))
        repeated[number] = start_ns < last_ns
        watermarks[row] = last_ns if start_ns < last_ns else end_ns
    return pl.Series(repeated)
