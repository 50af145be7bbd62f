"""Data frames of bars with their boundaries, session and instrument; and the same bars as arrays."""

from typing import Final

import numpy as np
import polars as pl

from tickerlake.analytics.bar_builder import NO_CLOSED_BARS
from tickerlake.analytics.bar_times import BarTimes
from tickerlake.analytics.bars import Bars, Floats, Phase
from tickerlake.analytics.decode import UNBOUNDED
from tickerlake.analytics.input_rows import BAR_COLUMNS
from tickerlake.analytics.instruments import Instruments
from tickerlake.model.duration import DAY_NS

NO_BARS: Final = NO_CLOSED_BARS.with_columns(
    *(pl.lit(None, dtype=pl.Int64).alias(name) for name in ("ts_open_ns", "ts_close_ns", "session")),
    interval=pl.lit(None, dtype=pl.String),
    built=pl.lit(value=True),
)
"""Columns of bars with boundaries; ``built`` is False for a bar that was sent as it is."""

NO_IDENTIFIED_BARS: Final = NO_BARS.with_columns(
    pl.lit(None, dtype=pl.Int64).alias("partition"),
    *(pl.lit(None, dtype=pl.String).alias(name) for name in ("instrument_id", "symbol")),
)
"""Columns of bars with boundaries and instrument."""


def with_boundaries(bars: pl.DataFrame, times: BarTimes) -> pl.DataFrame:
    """Return built bars (`bar_builder.CLOSED_SCHEMA`) with interval, open time, close time and session."""
    row, bucket = bars.get_column("row").to_numpy(), bars.get_column("bucket").to_numpy()
    start_ns, end_ns = times.boundaries(row, bucket)
    return bars.with_columns(
        interval=pl.lit(times.interval),
        ts_open_ns=pl.Series(start_ns, dtype=pl.Int64),
        ts_close_ns=pl.Series(end_ns, dtype=pl.Int64),
        session=pl.Series(times.sessions(row, bucket), dtype=pl.Int64),
        built=pl.lit(value=True),
    )


def input_bars(frame: pl.DataFrame, input_interval: str) -> pl.DataFrame:
    """Return the bars that instruments sent, with boundaries: each is closed as it is."""
    return frame.filter(pl.col("input_interval") == input_interval).select(
        *BAR_COLUMNS,
        bucket=pl.col("start_ns"),
        revision=pl.lit(0, dtype=pl.Int64),
        partial=pl.lit(value=False),
        offset=pl.col("offset"),
        interval=pl.lit(input_interval),
        ts_open_ns=pl.col("start_ns"),
        ts_close_ns=pl.col("end_ns"),
        session=pl.col("session"),
        built=pl.lit(value=False),
    )


def with_instruments(bars: pl.DataFrame, instruments: Instruments) -> pl.DataFrame:
    """Return bars with the columns partition, instrument_id and symbol."""
    index = instruments.index
    return bars.with_columns(index[bars.get_column("row")].select("partition", "instrument_id", "symbol"))


def sort_by_record(bars: pl.DataFrame) -> pl.DataFrame:
    """Sort by the record that caused the bars; of one instrument the longest interval comes last."""
    length = (pl.col("ts_close_ns") - pl.col("ts_open_ns")).alias("length")
    keys = ["partition", "offset", "ts_close_ns", "length", "instrument_id"]
    revision = ["revision"] if "revision" in bars.columns else []
    return bars.with_columns(length).sort(*keys, *revision).drop("length")


def to_arrays(bars: pl.DataFrame, instruments: Instruments) -> Bars:
    """Return bars with boundaries as arrays; ``first_of_…`` and ``split_factor`` are not set yet."""
    row, session = bars.get_column("row").to_numpy(), bars.get_column("session").to_numpy()
    start_ns, end_ns = bars.get_column("ts_open_ns").to_numpy(), bars.get_column("ts_close_ns").to_numpy()
    hours = instruments.sessions.hours(row, session)
    phase = instruments.sessions.phases(row, start_ns, end_ns)
    # the UTC day of a session date need not overlap the session
    phase[end_ns - start_ns >= DAY_NS] = Phase.REGULAR
    open_, high, low, close = (_floats(bars, name) for name in ("open", "high", "low", "close"))
    typical = (high + low + close) / 3
    unknown = high >= UNBOUNDED
    if np.count_nonzero(unknown):
        np.copyto(typical, close, where=unknown)
        for prices in (open_, high, low):
            np.copyto(prices, np.nan, where=unknown)
    volume = np.where(bars.get_column("sized").to_numpy() > 0, _floats(bars, "volume"), np.nan)
    notional = bars.get_column("notional").cast(pl.Float64).to_numpy() / 1e18
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = np.where(volume > 0, notional / volume, typical)
    return Bars(
        row,
        start_ns,
        end_ns,
        open_,
        high,
        low,
        close,
        volume,
        vwap,
        session,
        *hours,
        phase,
        np.zeros(len(row), dtype=np.bool_),
        np.zeros(len(row), dtype=np.bool_),
        np.full(len(row), np.nan),
    )


def _floats(bars: pl.DataFrame, name: str) -> Floats:
    # the nearest double to each decimal: divided as integers, as a cast of decimals can be off by one bit
    return bars.get_column(name).to_physical().cast(pl.Float64).to_numpy() / 1e9
