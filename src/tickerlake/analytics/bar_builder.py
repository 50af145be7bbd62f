"""Bars of one interval, built from trades or finer bars. Prices, volumes and notional are exact.

A bar and its close follow from the records of its instrument alone, in their order:

- An instrument's *watermark* is the latest event time of its records.
- A bar closes once, when the watermark has passed its end by ``grace``: at the record that moves it there.
- A record for a closed bar is late. Within ``lateness`` it restates the bar (same key, ``revision`` + 1);
  after that it is rejected.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import polars as pl

from tickerlake.analytics.bar_times import BarTimes
from tickerlake.analytics.bars import Flags, Ints
from tickerlake.analytics.input_rows import InputRows
from tickerlake.analytics.instrument_arrays import InstrumentArrays, sort_key
from tickerlake.model.duration import MINUTE_NS
from tickerlake.model.schema import DECIMAL

_INT: Final = pl.Int64()
OPEN_SCHEMA: Final = pl.Schema(
    [
        *((name, _INT) for name in ("row", "first_ns", "last_ns")),
        *((name, DECIMAL) for name in ("open", "high", "low", "close", "volume")),
        ("notional", pl.Int128()),
        *((name, _INT) for name in ("sized", "count", "recv_ns", "timestamp_ms", "bucket")),
    ]
)
"""Columns of open bars: ``bucket`` numbers them (`bar_times`), ``first_ns`` and ``last_ns`` are
the times of the records that set open and close, ``sized`` counts records with a volume, ``timestamp_ms`` is
the Kafka timestamp of the last record. Prices that no record has set yet are null."""

CLOSED_SCHEMA: Final = pl.Schema(
    [*OPEN_SCHEMA.items(), ("revision", _INT), ("partial", pl.Boolean()), ("offset", _INT)]
)
"""Columns of closed bars: ``offset`` and ``timestamp_ms`` are those of the record that closed or restated the
bar, or -1 and the time if the clock closed it."""

NO_OPEN_BARS: Final = OPEN_SCHEMA.to_frame()
NO_CLOSED_BARS: Final = CLOSED_SCHEMA.to_frame()
_NO_ROWS: Final[Ints] = np.empty(0, dtype=np.int64)
_COMMON_AGGREGATES: Final = [
    pl.col("high").max(),
    pl.col("low").min(),
    pl.col("volume", "notional", "sized", "count").sum(),
    pl.col("recv_ns", "timestamp_ms").max(),
]
_ORDERED_AGGREGATES: Final = [
    pl.col("first_ns", "open").first(ignore_nulls=True),
    pl.col("last_ns", "close").last(ignore_nulls=True),
    *_COMMON_AGGREGATES,
]
_BY_TIME_AGGREGATES: Final = [
    pl.col("first_ns").min(),
    pl.col("last_ns").max(),
    pl.col("open").sort_by("first_ns", maintain_order=True, nulls_last=True).first(),
    pl.col("close").sort_by("last_ns", maintain_order=True).last(),
    *_COMMON_AGGREGATES,
]
_MAX_BARS_TO_POP_ALL: Final = 500
"""Up to this number, merging all open bars costs less than selecting those of the batch's instruments."""

_UNSEEN: Final = int(np.iinfo(np.int64).max)
_MIN_BUCKET: Final = int(np.iinfo(np.int64).min)
_MAX_START_DELAY_NS: Final = MINUTE_NS
_START_DELAY_DIVISOR: Final = 20
"""An instrument's first bar counts as complete if its first record is within 1/20 of it, at most a minute."""


class BuilderArrays(InstrumentArrays):
    """Buckets per instrument that bound which bars can be opened, closed and restated.

    Attributes
    ----------
    first_bucket
        The bucket of the first record, if it came too late for a complete bar: bars up to it are partial.
    watermark_bucket
        The bucket of the watermark less the grace period.
    closed_before
        Bars before this bucket are closed whatever the watermark is: by the clock, or by a shorter grace
        period.
    restatable_from
        Bars before this bucket cannot be restated: their state is no longer available.
    """

    first_bucket: Ints
    watermark_bucket: Ints
    closed_before: Ints
    restatable_from: Ints
    initial: ClassVar = {
        "first_bucket": _UNSEEN,
        "watermark_bucket": _MIN_BUCKET,
        "closed_before": _MIN_BUCKET,
        "restatable_from": _MIN_BUCKET,
    }


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The bars of a batch.

    Parameters
    ----------
    closed, restated
        Bars that closed or were restated (`CLOSED_SCHEMA`).
    too_late
        Positions of the rows that are too late, int64 of the shape (k,).
    forming
        If requested: the bar after each row that is not older than rows before it (`CLOSED_SCHEMA`).
    """

    closed: pl.DataFrame
    restated: pl.DataFrame
    too_late: Ints
    forming: pl.DataFrame


class BarBuilder:
    """Builds the bars of one interval for all instruments.

    Parameters
    ----------
    times
        When its bars start and end.
    grace_ns, lateness_ns
        How long a bar waits for records after its end, and how long after that it can be restated.
    """

    def __init__(self, times: BarTimes, grace_ns: int, lateness_ns: int) -> None:
        self.times = times
        self.interval, self.length_ns = times.interval, times.length_ns
        self.open_bars = NO_OPEN_BARS
        self.recent_bars = NO_CLOSED_BARS
        self.arrays = BuilderArrays()
        self._grace_ns = grace_ns
        self._lateness_ns = lateness_ns

    def grow(self, size: int) -> None:
        """Add instruments up to ``size``."""
        self.arrays.grow(size)

    def retain(self, rows: Ints) -> None:
        """Keep only these instruments and renumber them in this order."""
        self.arrays.retain(rows)
        self.open_bars = renumber_rows(self.open_bars, rows)
        self.recent_bars = renumber_rows(self.recent_bars, rows)

    def resume(self, row: Ints, watermark_ns: Ints, grace_ns: int, lateness_ns: int) -> None:
        """Continue with restored instruments, whose bars were closed with this grace period and lateness."""
        arrays = self.arrays
        closed = np.maximum(arrays.closed_before[row], self.times.bucket(row, watermark_ns - grace_ns))
        restatable_from = (
            self.times.bucket(row, watermark_ns - grace_ns - lateness_ns) if lateness_ns else closed
        )
        arrays.closed_before[row] = closed
        arrays.restatable_from[row] = np.maximum(arrays.restatable_from[row], restatable_from)

    def process(self, rows: InputRows, *, forming: bool = False) -> BuildResult:
        """Process the rows of a batch; with ``forming``, also return the bar after each row."""
        end_ns = _ints(rows.frame, "end_ns")
        is_trades = np.array_equal(rows.start_ns, end_ns)
        entry_ns = rows.start_ns if is_trades else self.times.entry_ns(rows.row, rows.start_ns, end_ns)
        bucket = self.times.bucket(rows.row, entry_ns)
        # looking up sessions costs as much as everything else here: trades in order are their own watermarks
        is_watermark = is_trades and rows.in_order and not self._grace_ns
        watermark_ns = rows.watermark_ns - self._grace_ns
        watermark_bucket = bucket if is_watermark else self.times.bucket(rows.row, watermark_ns)
        self._record_first_buckets(rows, bucket)
        last = np.flatnonzero(np.append(rows.row[1:] != rows.row[:-1], values=True))
        self.arrays.watermark_bucket[rows.row[last]] = watermark_bucket[last]
        bars = rows.daily_bars if self.interval == "1d" else rows.bars
        bars = bars.hstack([pl.Series("bucket", bucket)])
        enters = self.times.enters(rows.row, rows.start_ns, end_ns, _ints(rows.frame, "sets"))
        if rows.in_order and not (bucket < self.arrays.closed_before[rows.row]).any():
            bars = bars if enters is None else bars[np.flatnonzero(enters)]
            after_each = self._forming_bars(bars, rows, enters) if forming else NO_CLOSED_BARS
            closed = self._close_passed(self._merge(bars), rows, watermark_bucket)
            if self._lateness_ns:
                self._add_recent(closed, rows, last)
            return BuildResult(_priced(closed), NO_CLOSED_BARS, _NO_ROWS, after_each)
        if enters is None:
            enters = np.ones(len(bucket), dtype=np.bool_)
        return self._process_unordered(bars, rows, bucket, watermark_bucket, last, enters, forming=forming)

    def _process_unordered(
        self,
        bars: pl.DataFrame,
        rows: InputRows,
        bucket: Ints,
        watermark_bucket: Ints,
        last: Ints,
        enters: Flags,
        *,
        forming: bool,
    ) -> BuildResult:
        bucket_before = self.times.bucket(rows.row, rows.watermark_before_ns - self._grace_ns)
        late = np.maximum(bucket_before, self.arrays.closed_before[rows.row]) > bucket
        restatable_from = self.times.bucket(
            rows.row, rows.watermark_before_ns - self._grace_ns - self._lateness_ns
        )
        too_late = late & (np.maximum(restatable_from, self.arrays.restatable_from[rows.row]) > bucket)
        if not self._lateness_ns:
            too_late = late
        in_time = enters & ~late
        on_time = bars[np.flatnonzero(in_time)]
        after_each = self._forming_bars(on_time, rows, in_time) if forming else NO_CLOSED_BARS
        closed = self._close_passed(self._merge_unordered(on_time), rows, watermark_bucket)
        restated = NO_CLOSED_BARS
        if self._lateness_ns:
            self._add_recent(closed, rows, last, prune=False)
            restatable = np.flatnonzero(enters & late & ~too_late)
            if len(restatable):
                offsets = rows.frame.get_column("offset")
                restated = self._restate(bars.hstack([offsets])[restatable])
            self._prune_recent(rows.row[last], rows.watermark_ns[last])
        too_late &= enters
        return BuildResult(_priced(closed), _priced(restated), np.flatnonzero(too_late), after_each)

    def close_idle(self, row: Ints, watermark_ns: Ints, now_ns: int, idle_ns: int) -> pl.DataFrame:
        """Close bars by the clock.

        A bar expires when its instrument has sent nothing for the time that was left of the bar at its last
        record, plus grace period and ``idle_ns``. So this works for live data and for data replayed at its
        original pace, and bars close in order.

        Parameters
        ----------
        row, watermark_ns
            Instruments, and their watermarks.
        now_ns
            The current time.
        idle_ns
            How long a bar waits after its end for the record that closes it.
        """
        open_bars = self.open_bars.filter(pl.col("row").is_in(row.tolist()))
        order = np.argsort(row)
        bar_watermark_ns = watermark_ns[order][np.searchsorted(row[order], _ints(open_bars, "row"))]
        _, end_ns = self.times.boundaries(_ints(open_bars, "row"), _ints(open_bars, "bucket"))
        left_ns = np.maximum(end_ns - bar_watermark_ns, 0)
        last_ms = open_bars.select(pl.col("timestamp_ms").max().over("row"))
        expired = _ints(last_ms, "timestamp_ms") * 1_000_000 + left_ns + self._grace_ns + idle_ns <= now_ns
        if not expired.any():
            return NO_CLOSED_BARS
        closed = self._finalize(
            open_bars[np.flatnonzero(expired)],
            offset=pl.lit(-1, dtype=pl.Int64),
            timestamp_ms=pl.lit(now_ns // 1_000_000, dtype=pl.Int64),
        )
        self.open_bars = self.open_bars.join(closed, on=["row", "bucket"], how="anti")
        self.arrays.closed_before[_ints(closed, "row")] = _ints(closed, "bucket") + 1
        if self._lateness_ns:
            self.recent_bars = pl.concat([self.recent_bars, closed])
        return _priced(closed)

    def _record_first_buckets(self, rows: InputRows, bucket: Ints) -> None:
        first = np.flatnonzero(np.append(True, values=rows.row[1:] != rows.row[:-1]))
        first = first[self.arrays.first_bucket[rows.row[first]] == _UNSEEN]
        if not len(first):
            return
        row, at_ns = rows.row[first], rows.start_ns[first]
        begin_ns = self.times.trading_start_ns(row, at_ns, bucket[first])
        complete = at_ns - begin_ns <= min(_MAX_START_DELAY_NS, self.length_ns // _START_DELAY_DIVISOR)
        self.arrays.first_bucket[row] = np.where(complete, _MIN_BUCKET, bucket[first])

    def _merge(self, fresh: pl.DataFrame) -> pl.DataFrame:
        """Add rows, in order of time, to the open bars; return the open bars of their instruments."""
        open_bars = self._pop_open_bars(fresh)
        return (
            pl.concat([open_bars, fresh])
            .group_by("row", "bucket")
            .agg(_ORDERED_AGGREGATES)
            .select(OPEN_SCHEMA.names())
        )

    def _merge_unordered(self, fresh: pl.DataFrame) -> pl.DataFrame:
        """Do the same for rows out of order: the times decide on open and close."""
        open_bars = self._pop_open_bars(fresh)
        by_time = fresh.sort("row", "bucket", "first_ns", maintain_order=True)
        bars = by_time.group_by("row", "bucket").agg(_ORDERED_AGGREGATES).select(OPEN_SCHEMA.names())
        return (
            pl.concat([open_bars, bars])
            .group_by("row", "bucket")
            .agg(_BY_TIME_AGGREGATES)
            .select(OPEN_SCHEMA.names())
        )

    def _pop_open_bars(self, fresh: pl.DataFrame) -> pl.DataFrame:
        """Remove and return the open bars of the rows' instruments, or all if there are few."""
        if self.open_bars.height <= _MAX_BARS_TO_POP_ALL:
            open_bars, self.open_bars = self.open_bars, NO_OPEN_BARS
            return open_bars
        touched = np.zeros(len(self.arrays.first_bucket), dtype=np.bool_)
        touched[_ints(fresh, "row")] = True
        is_touched = touched[_ints(self.open_bars, "row")]
        open_bars = self.open_bars[np.flatnonzero(is_touched)]
        self.open_bars = self.open_bars[np.flatnonzero(~is_touched)]
        return open_bars

    def _forming_bars(
        self, bars: pl.DataFrame, rows: InputRows, on_time: Flags | None = None
    ) -> pl.DataFrame:
        """Return the bar after each row, except for rows that are older than rows before them."""
        offsets = rows.frame.get_column("offset")
        is_newest = rows.start_ns >= rows.watermark_before_ns
        if on_time is not None:
            offsets, is_newest = offsets.filter(on_time), is_newest[on_time]
        fresh = bars.hstack([offsets, pl.Series("ahead", is_newest)])
        open_bars = self.open_bars.with_columns(offset=pl.lit(-1, dtype=pl.Int64), ahead=pl.lit(value=False))
        touched = np.zeros(len(self.arrays.first_bucket), dtype=np.bool_)
        touched[rows.row] = True
        open_bars = open_bars[np.flatnonzero(touched[_ints(open_bars, "row")])]
        key = ["row", "bucket"]
        after = (
            pl.concat([open_bars, fresh])
            .sort("row", "offset", maintain_order=True)
            .with_columns(
                pl.col("first_ns").cum_min().forward_fill().fill_null(_UNSEEN).over(key).alias("earliest_ns")
            )
            .with_columns(
                pl.when(pl.col("earliest_ns") < pl.col("earliest_ns").shift(fill_value=_UNSEEN).over(key))
                .then("open")
                .forward_fill()
                .over(key),
                pl.col("high").cum_max().over(key),
                pl.col("low").cum_min().over(key),
                pl.col("volume").fill_null(0).cum_sum().over(key),
                pl.col("notional", "sized", "count").cum_sum().over(key),
            )
            .filter(pl.col("ahead") & pl.col("close").is_not_null())
        )
        return after.with_columns(
            revision=pl.lit(0, dtype=pl.Int64), partial=pl.Series(self._is_partial(after))
        ).select(CLOSED_SCHEMA.names())

    def _close_passed(self, bars: pl.DataFrame, rows: InputRows, watermark_bucket: Ints) -> pl.DataFrame:
        """Close the bars that the watermarks have passed; keep the others open."""
        row, bucket = _ints(bars, "row"), _ints(bars, "bucket")
        passed = self.arrays.watermark_bucket[row] > bucket
        if not passed.any():
            self.open_bars = pl.concat([self.open_bars, bars]) if self.open_bars.height else bars
            return NO_CLOSED_BARS
        still_open = bars[np.flatnonzero(~passed)]
        self.open_bars = pl.concat([self.open_bars, still_open]) if self.open_bars.height else still_open
        # the first row of the instrument whose watermark is beyond the bar: rows are sorted by both
        min_bucket = int(watermark_bucket.min())
        row_keys = sort_key(rows.row, watermark_bucket - min_bucket)
        bar_keys = sort_key(row[passed], bucket[passed] + 1 - min_bucket)
        closing_row = np.searchsorted(row_keys, bar_keys)
        return self._finalize(
            bars[np.flatnonzero(passed)],
            offset=pl.Series(_ints(rows.frame, "offset")[closing_row]),
            timestamp_ms=pl.Series(_ints(rows.frame, "timestamp_ms")[closing_row]),
        )

    def _is_partial(self, bars: pl.DataFrame) -> Flags:
        first_bucket: Ints = self.arrays.first_bucket[_ints(bars, "row")]
        partial: Flags = (first_bucket != _UNSEEN) & (_ints(bars, "bucket") <= first_bucket)
        return partial

    def _finalize(self, bars: pl.DataFrame, **closed_by: pl.Series | pl.Expr) -> pl.DataFrame:
        partial = pl.Series(self._is_partial(bars))
        return (
            bars.with_columns(revision=pl.lit(0, dtype=pl.Int64), partial=partial, **closed_by)
            .select(CLOSED_SCHEMA.names())
            .sort("row", "bucket")
        )

    def _restate(self, late: pl.DataFrame) -> pl.DataFrame:
        """Add late rows to closed bars, one by one: each is a separate restatement."""
        keys = late.select("row", "bucket").unique()
        bars = {
            (bar["row"], bar["bucket"]): bar
            for bar in self.recent_bars.join(keys, on=["row", "bucket"], how="semi").iter_rows(named=True)
        }
        self.recent_bars = self.recent_bars.join(keys, on=["row", "bucket"], how="anti")
        restated = []
        for row in late.iter_rows(named=True):
            key = (row["row"], row["bucket"])
            bars[key] = _apply_late_row(bars[key], row) if key in bars else self._new_late_bar(row)
            restated.append(bars[key])
        self.recent_bars = pl.concat(
            [self.recent_bars, pl.DataFrame(list(bars.values()), schema=CLOSED_SCHEMA)]
        )
        return pl.DataFrame(restated, schema=CLOSED_SCHEMA)

    def _new_late_bar(self, row: dict[str, Any]) -> dict[str, Any]:
        first_bucket = self.arrays.first_bucket[row["row"]]
        return {
            **row,
            "volume": row["volume"] or 0,
            "revision": 0,
            "partial": bool(first_bucket != _UNSEEN and row["bucket"] <= first_bucket),
        }

    def _add_recent(self, closed: pl.DataFrame, rows: InputRows, last: Ints, *, prune: bool = True) -> None:
        """Retain closed bars as long as they can be restated."""
        if closed.height:
            self.recent_bars = pl.concat([self.recent_bars, closed])
            if prune:
                self._prune_recent(rows.row[last], rows.watermark_ns[last])

    def _prune_recent(self, row: Ints, watermark_ns: Ints) -> None:
        """Drop the bars that can no longer be restated."""
        if self.recent_bars.is_empty():
            return
        at = np.searchsorted(row, recent_rows := _ints(self.recent_bars, "row"))
        is_affected = (at < len(row)) & (row[np.minimum(at, len(row) - 1)] == recent_rows)
        watermark_ns = np.where(is_affected, watermark_ns[np.minimum(at, len(row) - 1)], 0)
        passed = self.times.bucket(recent_rows, watermark_ns - self._grace_ns - self._lateness_ns) > _ints(
            self.recent_bars, "bucket"
        )
        self.recent_bars = self.recent_bars[np.flatnonzero(~(is_affected & passed))]


def renumber_rows(frame: pl.DataFrame, rows: Ints) -> pl.DataFrame:
    """Return the bars of some instruments, renumbered from 0 in this order."""
    numbers = pl.DataFrame({"row": rows, "new": np.arange(len(rows))})
    retained = frame.join(numbers, on="row", how="inner", maintain_order="left")
    return retained.with_columns(row=pl.col("new")).drop("new")


def _priced(bars: pl.DataFrame) -> pl.DataFrame:
    """Return the bars of which a record has set the price."""
    close = bars.get_column("close")
    return bars.filter(close.is_not_null()) if close.null_count() else bars


def _apply_late_row(bar: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    if row["close"] is None or bar["close"] is None:
        ends = row if bar["close"] is None else bar
        prices = {name: ends[name] for name in ("first_ns", "last_ns", "open", "close")}
    else:
        earlier, later = row["first_ns"] < bar["first_ns"], row["last_ns"] >= bar["last_ns"]
        prices = {
            "first_ns": min(bar["first_ns"], row["first_ns"]),
            "last_ns": max(bar["last_ns"], row["last_ns"]),
            "open": row["open"] if earlier else bar["open"],
            "close": row["close"] if later else bar["close"],
        }
    highs = [each["high"] for each in (bar, row) if each["high"] is not None]
    lows = [each["low"] for each in (bar, row) if each["low"] is not None]
    return {
        **bar,
        **prices,
        "high": max(highs, default=None),
        "low": min(lows, default=None),
        "volume": bar["volume"] + (row["volume"] or 0),
        "notional": bar["notional"] + row["notional"],
        "sized": bar["sized"] + row["sized"],
        "count": bar["count"] + row["count"],
        "recv_ns": max(bar["recv_ns"], row["recv_ns"]),
        "timestamp_ms": row["timestamp_ms"],
        "offset": row["offset"],
        # a bar without a price has not been published
        "revision": bar["revision"] + (bar["close"] is not None),
    }


def _ints(frame: pl.DataFrame, name: str) -> Ints:
    return frame.get_column(name).to_numpy()
