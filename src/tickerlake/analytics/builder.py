"""Bars of one interval, built of trades or of finer bars. Prices, volumes and notional are exact.

What a bar is, and when it closes, follows from the records of its instrument alone, in their order:

- An instrument's *watermark* is the latest time that its records have told of.
- A bar closes, once, when the watermark has passed its end by ``grace``: at the record that moves it there.
- A record for a bar that is closed is late. Within ``lateness`` it restates the bar (same key, ``revision``
  + 1). Later than that it is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Flags, Ints
from tickerlake.model.interval import length_ns
from tickerlake.model.schema import DECIMAL

Lookup = Callable[[Ints, Ints], tuple[Ints, Ints, Ints]]
"""Instruments and times → session (days since 1970-01-01), and when it opens and closes (UTC nanoseconds)."""

_INT: Final = pl.Int64()
OPEN: Final = pl.Schema(
    [
        *((name, _INT) for name in ("row", "first_ns", "last_ns")),
        *((name, DECIMAL) for name in ("open", "high", "low", "close", "volume")),
        ("notional", pl.Int128()),
        *((name, _INT) for name in ("sized", "count", "recv_ns", "timestamp_ms", "bucket")),
    ]
)
"""Columns of open bars: ``bucket`` numbers the intervals since 1970-01-01, ``first_ns`` and ``last_ns`` are
the times of the records that gave open and close, ``sized`` counts those that had a volume, ``timestamp_ms``
is when Kafka took the last one."""

CLOSED: Final = pl.Schema([*OPEN.items(), ("revision", _INT), ("partial", pl.Boolean()), ("offset", _INT)])
"""Columns of closed bars: ``offset`` and ``timestamp_ms`` are of the record that closed or restated it, or -1
and the time, where the clock closed it."""

NONE_OPEN: Final = OPEN.to_frame()
NONE_CLOSED: Final = CLOSED.to_frame()
_NO_ROWS: Final[Ints] = np.empty(0, dtype=np.int64)
_SUMS: Final = [
    pl.col("high").max(),
    pl.col("low").min(),
    pl.col("volume", "notional", "sized", "count").sum(),
    pl.col("recv_ns", "timestamp_ms").max(),
]
_FIRST_TO_LAST: Final = [
    pl.col("first_ns", "open").first(),
    pl.col("last_ns", "close").last(),
    *_SUMS,
]
_BY_TIME: Final = [
    pl.col("first_ns").min(),
    pl.col("last_ns").max(),
    pl.col("open").sort_by("first_ns", maintain_order=True).first(),
    pl.col("close").sort_by("last_ns", maintain_order=True).last(),
    *_SUMS,
]
_FEW: Final = 500
"""Open bars that are quicker to go through than to choose from."""

_UNSEEN: Final = np.iinfo(np.int64).max
_WHOLE: Final = np.iinfo(np.int64).min
_TOLERANCE_NS: Final = 60_000_000_000
_TOLERANCE: Final = 20
_BITS: Final = 40


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a batch, sorted by instrument and offset, with what is known of their times.

    Parameters
    ----------
    frame
        The rows (`decode.ROWS`) with a column ``row``: the instrument's number.
    bars
        The same as bars of one row each, without a bucket.
    row, start_ns
        Instrument and time, as arrays.
    before_ns, mark_ns
        The instrument's watermark before and after each row.
    rises
        True if no row is older than its instrument's watermark.
    """

    frame: pl.DataFrame
    bars: pl.DataFrame
    row: Ints
    start_ns: Ints
    before_ns: Ints
    mark_ns: Ints
    rises: bool


@dataclass(frozen=True, slots=True)
class Built:
    """What became of rows.

    ``closed`` and ``restated`` bars have the columns `CLOSED`; ``too_late`` are the places of the rows that
    were refused; ``forming`` (columns `CLOSED`) is, where it was asked for, the bar after each row that lies
    ahead of its instrument's others.
    """

    closed: pl.DataFrame
    restated: pl.DataFrame
    too_late: Ints
    forming: pl.DataFrame


class Builder:
    """Builds the bars of one interval for all instruments.

    Parameters
    ----------
    interval
        ``1s`` to ``12h``, aligned to the UTC day, or ``1d``: the exchange's session.
    lookup
        The sessions of instruments.
    grace_ns, lateness_ns
        How long a bar waits for records after its end, and for how long after that it can be restated.
    """

    def __init__(self, interval: str, lookup: Lookup, grace_ns: int, lateness_ns: int) -> None:
        self.interval = interval
        self.length_ns = length_ns(interval)
        self.open = NONE_OPEN
        self.recent = NONE_CLOSED
        # the bucket in which an instrument's first record lies, where that was not the bar's beginning
        self.began: Ints = np.empty(0, dtype=np.int64)
        # the bucket of the watermark, less the grace
        self.reached: Ints = np.empty(0, dtype=np.int64)
        # bars before this bucket are closed, whatever the watermark says: by the clock, or with less grace
        self.floor: Ints = np.empty(0, dtype=np.int64)
        # bars before this bucket can't be restated, as nobody knows them any more
        self.forgotten: Ints = np.empty(0, dtype=np.int64)
        self._lookup = lookup
        self._grace_ns = grace_ns
        self._lateness_ns = lateness_ns

    def grow(self, size: int) -> None:
        """Make room for instruments up to ``size``."""
        more = size - len(self.began)
        self.began = np.concatenate([self.began, np.full(more, _UNSEEN)])
        self.floor = np.concatenate([self.floor, np.full(more, _WHOLE)])
        self.forgotten = np.concatenate([self.forgotten, np.full(more, _WHOLE)])
        self.reached = np.concatenate([self.reached, np.full(more, _WHOLE)])

    def keep(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew in the given order."""
        self.began, self.reached = self.began[rows], self.reached[rows]
        self.floor, self.forgotten = self.floor[rows], self.forgotten[rows]
        self.open, self.recent = renumbered(self.open, rows), renumbered(self.recent, rows)

    def go_on(self, row: Ints, mark_ns: Ints, grace_ns: int, lateness_ns: int) -> None:
        """Take over instruments whose bars were closed with a grace and a lateness that may be others."""
        closed = np.maximum(self.floor[row], self.bucket(row, mark_ns - grace_ns))
        kept = self.bucket(row, mark_ns - grace_ns - lateness_ns) if lateness_ns else closed
        self.floor[row], self.forgotten[row] = closed, np.maximum(self.forgotten[row], kept)

    def bucket(self, row: Ints, ts_ns: Ints) -> Ints:
        """Return the numbers of the bars in which times lie."""
        return self._lookup(row, ts_ns)[0] if self.interval == "1d" else ts_ns // self.length_ns

    def take(self, rows: Rows, *, forming: bool = False) -> Built:
        """Take the rows of a batch; with ``forming`` also tell of the bar after each of them."""
        bucket = self.bucket(rows.row, rows.start_ns)
        reached = self.bucket(rows.row, rows.mark_ns - self._grace_ns)
        self._begin(rows, bucket)
        last = np.flatnonzero(np.append(rows.row[1:] != rows.row[:-1], values=True))
        self.reached[rows.row[last]] = reached[last]
        bars = rows.bars.hstack([pl.Series("bucket", bucket)])
        if rows.rises and not (bucket < self.floor[rows.row]).any():
            after_each = self._forming(bars, rows) if forming else NONE_CLOSED
            closed = self._close(self._merge(bars), rows, reached)
            if self._lateness_ns:
                self._remember(closed, rows, last)
            return Built(closed, NONE_CLOSED, _NO_ROWS, after_each)
        return self._take_unordered(bars, rows, bucket, reached, last, forming=forming)

    def _take_unordered(
        self, bars: pl.DataFrame, rows: Rows, bucket: Ints, reached: Ints, last: Ints, *, forming: bool
    ) -> Built:
        before = self.bucket(rows.row, rows.before_ns - self._grace_ns)
        late = np.maximum(before, self.floor[rows.row]) > bucket
        kept = self.bucket(rows.row, rows.before_ns - self._grace_ns - self._lateness_ns)
        too_late = late & (np.maximum(kept, self.forgotten[rows.row]) > bucket)
        if not self._lateness_ns:
            too_late = late
        on_time = bars[np.flatnonzero(~late)]
        after_each = self._forming(on_time, rows, ~late) if forming else NONE_CLOSED
        closed = self._close(self._merge_unordered(on_time), rows, reached)
        restated = NONE_CLOSED
        if self._lateness_ns:
            self._remember(closed, rows, last, forget=False)
            which = np.flatnonzero(late & ~too_late)
            if len(which):
                offsets = rows.frame.get_column("offset")
                restated = self._restate(bars.hstack([offsets])[which])
            self._forget(rows.row[last], rows.mark_ns[last])
        return Built(closed, restated, np.flatnonzero(too_late), after_each)

    def close_idle(self, row: Ints, mark_ns: Ints, now_ns: int, idle_ns: int) -> pl.DataFrame:
        """Close bars for which the clock says that nothing more will come.

        That is when its instrument's last record is older than what was left of the bar then, ``grace`` and
        ``idle``: so it holds for live data and for data replayed at their own pace, and bars close in order.

        Parameters
        ----------
        row, mark_ns
            Instruments, and their watermarks.
        now_ns
            The time by the clock.
        """
        mine = self.open.filter(pl.col("row").is_in(row.tolist()))
        order = np.argsort(row)
        mark = mark_ns[order][np.searchsorted(row[order], _ints(mine, "row"))]
        left_ns = np.maximum(self.end_ns(mine) - mark, 0)
        last_ms = mine.select(pl.col("timestamp_ms").max().over("row"))
        over = _ints(last_ms, "timestamp_ms") * 1_000_000 + left_ns + self._grace_ns + idle_ns <= now_ns
        if not over.any():
            return NONE_CLOSED
        closed = self._finish(
            mine[np.flatnonzero(over)],
            offset=pl.lit(-1, dtype=pl.Int64),
            timestamp_ms=pl.lit(now_ns // 1_000_000, dtype=pl.Int64),
        )
        self.open = self.open.join(closed, on=["row", "bucket"], how="anti")
        self.floor[_ints(closed, "row")] = _ints(closed, "bucket") + 1
        if self._lateness_ns:
            self.recent = pl.concat([self.recent, closed])
        return closed

    def end_ns(self, bars: pl.DataFrame) -> Ints:
        """Return when bars end, by their names (a day: at midnight UTC after the session's date)."""
        return (_ints(bars, "bucket") + 1) * self.length_ns

    def _begin(self, rows: Rows, bucket: Ints) -> None:
        first = np.flatnonzero(np.append(True, values=rows.row[1:] != rows.row[:-1]))
        first = first[self.began[rows.row[first]] == _UNSEEN]
        if not len(first):
            return
        row, at_ns = rows.row[first], rows.start_ns[first]
        _, open_ns, _ = self._lookup(row, at_ns)
        start_ns = bucket[first] * self.length_ns
        inside = (start_ns <= open_ns) & (open_ns < start_ns + self.length_ns)
        begin_ns = np.where(inside | (self.interval == "1d"), open_ns, start_ns)
        whole = at_ns - begin_ns <= min(_TOLERANCE_NS, self.length_ns // _TOLERANCE)
        self.began[row] = np.where(whole, _WHOLE, bucket[first])

    def _merge(self, fresh: pl.DataFrame) -> pl.DataFrame:
        """Add rows, in the order of their times, to the open bars; return those of their instruments."""
        waiting = self._waiting(fresh)
        return pl.concat([waiting, fresh]).group_by("row", "bucket").agg(_FIRST_TO_LAST).select(OPEN.names())

    def _merge_unordered(self, fresh: pl.DataFrame) -> pl.DataFrame:
        """Do the same where rows are older than others before them: the times decide on open and close."""
        waiting = self._waiting(fresh)
        by_time = fresh.sort("row", "bucket", "first_ns", maintain_order=True)
        bars = by_time.group_by("row", "bucket").agg(_FIRST_TO_LAST).select(OPEN.names())
        return pl.concat([waiting, bars]).group_by("row", "bucket").agg(_BY_TIME).select(OPEN.names())

    def _waiting(self, fresh: pl.DataFrame) -> pl.DataFrame:
        """Take the open bars of the rows' instruments out of the others, where these are many."""
        if self.open.height <= _FEW:
            waiting, self.open = self.open, NONE_OPEN
            return waiting
        touched = np.zeros(len(self.began), dtype=np.bool_)
        touched[_ints(fresh, "row")] = True
        here = touched[_ints(self.open, "row")]
        waiting = self.open[np.flatnonzero(here)]
        self.open = self.open[np.flatnonzero(~here)]
        return waiting

    def _forming(self, bars: pl.DataFrame, rows: Rows, on_time: Flags | None = None) -> pl.DataFrame:
        """Return the bar after each row, but for rows that are older than others before them."""
        offsets = rows.frame.get_column("offset")
        ahead = rows.start_ns >= rows.before_ns
        if on_time is not None:
            offsets, ahead = offsets.filter(on_time), ahead[on_time]
        fresh = bars.hstack([offsets, pl.Series("ahead", ahead)])
        waiting = self.open.with_columns(offset=pl.lit(-1, dtype=pl.Int64), ahead=pl.lit(value=False))
        touched = np.zeros(len(self.began), dtype=np.bool_)
        touched[rows.row] = True
        waiting = waiting[np.flatnonzero(touched[_ints(waiting, "row")])]
        bar = ["row", "bucket"]
        after = (
            pl.concat([waiting, fresh])
            .sort("row", "offset", maintain_order=True)
            .with_columns(pl.col("first_ns").cum_min().over(bar).alias("earliest_ns"))
            .with_columns(
                pl.when(pl.col("earliest_ns") < pl.col("earliest_ns").shift(fill_value=_UNSEEN).over(bar))
                .then("open")
                .forward_fill()
                .over(bar),
                pl.col("high").cum_max().over(bar),
                pl.col("low").cum_min().over(bar),
                pl.col("volume").fill_null(0).cum_sum().over(bar),
                pl.col("notional", "sized", "count").cum_sum().over(bar),
            )
            .filter("ahead")
        )
        return after.with_columns(
            revision=pl.lit(0, dtype=pl.Int64), partial=pl.Series(self._is_partial(after))
        ).select(CLOSED.names())

    def _close(self, bars: pl.DataFrame, rows: Rows, reached: Ints) -> pl.DataFrame:
        """Close the bars that the watermarks have passed; the others stay open."""
        row, bucket = _ints(bars, "row"), _ints(bars, "bucket")
        over = self.reached[row] > bucket
        if not over.any():
            self.open = pl.concat([self.open, bars]) if self.open.height else bars
            return NONE_CLOSED
        still = bars[np.flatnonzero(~over)]
        self.open = pl.concat([self.open, still]) if self.open.height else still
        # the first row of the instrument whose watermark lies beyond the bar: rows are sorted by both
        least = int(reached.min())
        place = _key(rows.row, reached - least)
        wanted = _key(row[over], np.maximum(bucket[over] + 1 - least, 0))
        by = np.searchsorted(place, wanted)
        return self._finish(
            bars[np.flatnonzero(over)],
            offset=pl.Series(_ints(rows.frame, "offset")[by]),
            timestamp_ms=pl.Series(_ints(rows.frame, "timestamp_ms")[by]),
        )

    def _is_partial(self, bars: pl.DataFrame) -> Flags:
        began: Ints = self.began[_ints(bars, "row")]
        partial: Flags = (began != _UNSEEN) & (_ints(bars, "bucket") <= began)
        return partial

    def _finish(self, bars: pl.DataFrame, **by: pl.Series | pl.Expr) -> pl.DataFrame:
        partial = pl.Series(self._is_partial(bars))
        return (
            bars.with_columns(revision=pl.lit(0, dtype=pl.Int64), partial=partial, **by)
            .select(CLOSED.names())
            .sort("row", "bucket")
        )

    def _restate(self, late: pl.DataFrame) -> pl.DataFrame:
        """Take late rows into closed bars, one by one: each is a restatement of its own."""
        names = late.select("row", "bucket").unique()
        known = {
            (bar["row"], bar["bucket"]): bar
            for bar in self.recent.join(names, on=["row", "bucket"], how="semi").iter_rows(named=True)
        }
        self.recent = self.recent.join(names, on=["row", "bucket"], how="anti")
        restated = []
        for row in late.iter_rows(named=True):
            place = (row["row"], row["bucket"])
            known[place] = _restated(known[place], row) if place in known else self._begun_late(row)
            restated.append(known[place])
        self.recent = pl.concat([self.recent, pl.DataFrame(list(known.values()), schema=CLOSED)])
        return pl.DataFrame(restated, schema=CLOSED)

    def _begun_late(self, row: dict[str, Any]) -> dict[str, Any]:
        began = self.began[row["row"]]
        return {
            **row,
            "volume": row["volume"] or 0,
            "revision": 0,
            "partial": bool(began != _UNSEEN and row["bucket"] <= began),
        }

    def _remember(self, closed: pl.DataFrame, rows: Rows, last: Ints, *, forget: bool = True) -> None:
        """Keep closed bars for as long as they can be restated."""
        if closed.height:
            self.recent = pl.concat([self.recent, closed])
            if forget:
                self._forget(rows.row[last], rows.mark_ns[last])

    def _forget(self, row: Ints, mark_ns: Ints) -> None:
        """Drop the bars that can't be restated any more."""
        if self.recent.is_empty():
            return
        at = np.searchsorted(row, mine := _ints(self.recent, "row"))
        here = (at < len(row)) & (row[np.minimum(at, len(row) - 1)] == mine)
        mark = np.where(here, mark_ns[np.minimum(at, len(row) - 1)], 0)
        passed = self.bucket(mine, mark - self._grace_ns - self._lateness_ns) > _ints(self.recent, "bucket")
        self.recent = self.recent[np.flatnonzero(~(here & passed))]


def renumbered(frame: pl.DataFrame, rows: Ints) -> pl.DataFrame:
    """Return the lines of some instruments, which are numbered from 0 in the given order."""
    numbers = pl.DataFrame({"row": rows, "new": np.arange(len(rows))})
    kept = frame.join(numbers, on="row", how="inner", maintain_order="left")
    return kept.with_columns(row=pl.col("new")).drop("new")


def _restated(bar: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    earlier, later = row["first_ns"] < bar["first_ns"], row["last_ns"] >= bar["last_ns"]
    return {
        **bar,
        "first_ns": min(bar["first_ns"], row["first_ns"]),
        "last_ns": max(bar["last_ns"], row["last_ns"]),
        "open": row["open"] if earlier else bar["open"],
        "high": max(bar["high"], row["high"]),
        "low": min(bar["low"], row["low"]),
        "close": row["close"] if later else bar["close"],
        "volume": bar["volume"] + (row["volume"] or 0),
        "notional": bar["notional"] + row["notional"],
        "sized": bar["sized"] + row["sized"],
        "count": bar["count"] + row["count"],
        "recv_ns": max(bar["recv_ns"], row["recv_ns"]),
        "timestamp_ms": row["timestamp_ms"],
        "offset": row["offset"],
        "revision": bar["revision"] + 1,
    }


def _key(row: Ints, number: Ints) -> Ints:
    """Return one number that sorts like both."""
    return (row << _BITS) + np.minimum(number, (1 << _BITS) - 1)


def _ints(frame: pl.DataFrame, name: str) -> Ints:
    return frame.get_column(name).to_numpy()
