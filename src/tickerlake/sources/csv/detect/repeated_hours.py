"""The hour that clocks repeat in autumn: which local times come before the change, by the order of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from tickerlake.model.duration import DAY_NS, MINUTE_NS, SECOND_NS
from tickerlake.model.interval import DAILY_OR_LONGER, interval_ns
from tickerlake.sources.csv.detect.head import FileHead
from tickerlake.sources.csv.detect.lines.rows import LINE, ChunkRows
from tickerlake.sources.csv.detect.scan import FileScan, select_times
from tickerlake.sources.csv.detect.times.order import TimeOrder
from tickerlake.sources.csv.timeform import TimeFormat

_JITTER_NS: Final = MINUTE_NS
"""Trades may step back this far although clocks do not."""

_MIN_STEPS: Final = 2
_MAX_BORDERS: Final = 2
"""Rows enter an hour and leave it."""

_KEY: Final = ("symbol", "hour")
_CHANGES_SCHEMA: Final = {
    "symbol": pl.String(),
    "hour": pl.Int64(),
    "line": pl.Int64(),
    "ascending": pl.Boolean(),
}


class RepeatedHour(NamedTuple):
    """Local times that occur twice, and the offsets from UTC before and after the change, in nanoseconds."""

    start_ns: int
    end_ns: int
    offset_before_ns: int
    offset_after_ns: int

    @property
    def length_ns(self) -> int:
        """By how much clocks are set back."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True)
class RepeatedHours:
    """Where in the file the clocks of a time zone were set back.

    Parameters
    ----------
    hours
        The repeated hours, in order.
    changes
        Columns ``symbol``, ``hour`` (an index), ``line`` (the first one on the other side of the change) and
        ``ascending`` (the rows before it are the earlier ones).
    """

    hours: Sequence[RepeatedHour]
    changes: pl.DataFrame

    def resolve(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the lines with local times in repeated hours whose instant is known, and the instants.

        Parameters
        ----------
        rows
            Columns ``line``, ``symbol`` and ``local``.
        """
        rows = rows.with_columns(_find_hours(rows["local"], self.hours).alias("hour")).drop_nulls("hour")
        change = self.changes.rename({"line": "change"})
        is_before = (pl.col("line") < pl.col("change")) == pl.col("ascending")
        offset = pl.when(is_before).then("offset_before_ns").otherwise("offset_after_ns")
        return (
            rows.join(change, on=_KEY)
            .join(_hours_frame(self.hours), on="hour")
            .select("line", instant=pl.col("local") - offset)
        )


def _hours_frame(hours: Sequence[RepeatedHour]) -> pl.DataFrame:
    """Return repeated hours as a table, with their index as ``hour``."""
    table = pl.DataFrame(hours, schema=dict.fromkeys(RepeatedHour._fields, pl.Int64), orient="row")
    return table.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("hour"))


def list_repeated_hours(zone: str, first_ns: int, last_ns: int) -> list[RepeatedHour]:
    """Return the local times between two that a zone's clocks repeat."""
    hours: list[RepeatedHour] = []
    epoch, info = datetime(1970, 1, 1, tzinfo=UTC), ZoneInfo(zone)

    def offset(second: int) -> timedelta:
        return (epoch + timedelta(seconds=second)).astimezone(info).utcoffset() or timedelta()

    day_s = DAY_NS // SECOND_NS
    start, end = first_ns // SECOND_NS - 2 * day_s, last_ns // SECOND_NS + 2 * day_s
    for low in range(start, end, day_s):
        before, after = offset(low), offset(low + day_s)
        if after >= before:
            continue
        early, late = low, low + day_s
        while late - early > 1:
            middle = (early + late) // 2
            early, late = (middle, late) if offset(middle) == before else (early, middle)
        offsets_ns = [int(each.total_seconds()) * SECOND_NS for each in (before, after)]
        hours.append(
            RepeatedHour(late * SECOND_NS + offsets_ns[1], late * SECOND_NS + offsets_ns[0], *offsets_ns)
        )
    return hours


def find_repeated_hours(
    scan: FileScan, time_format: TimeFormat, order: TimeOrder, interval: str
) -> RepeatedHours | None:
    """Find where rows step back by the hour that clocks repeat; None if there is no such place.

    Only where rows are otherwise in order, forward or backward, and step back once. It takes another pass,
    but only if rows are not in order and dates reach across such a change.

    Parameters
    ----------
    interval
        The length of the bars; empty for trades and quotes.
    """
    if not time_format.is_local or order.rising or order.falling or order.first_ns is None:
        return None
    if interval in DAILY_OR_LONGER:
        return None
    assert order.last_ns is not None
    hours = list_repeated_hours(time_format.zone, order.first_ns, order.last_ns)
    if not hours:
        return None
    steps = _Steps(hours, interval_ns(interval) if interval else 0)
    for chunk in scan.head.text_file.chunks():
        steps.add(read_local_times(scan.head, scan.head.read_rows(chunk), time_format))
    changes = steps.changes()
    return None if changes.is_empty() else RepeatedHours(hours, changes)


def read_local_times(head: FileHead, rows: ChunkRows, time_format: TimeFormat) -> pl.DataFrame:
    """Return ``line``, ``symbol`` and ``local``, the time as written, of rows with all fields."""
    times = select_times(head, rows)
    local = head.timestamp_ns(time_format.as_written, pl.col("time"))
    return times.select("symbol", line=LINE, local=local).drop_nulls("local")


def _find_hours(local: pl.Series, hours: Sequence[RepeatedHour]) -> pl.Series:
    """Return the index of the repeated hour of each local time; null for other times."""
    starts = pl.Series([hour.start_ns for hour in hours], dtype=pl.Int64)
    ends = pl.Series([hour.end_ns for hour in hours], dtype=pl.Int64)
    index = starts.search_sorted(local.fill_null(hours[0].start_ns - 1), side="right").cast(pl.Int64) - 1
    is_inside = (index >= 0) & (local < ends.gather(index.clip(0)))
    return pl.select(pl.when(is_inside).then(index)).to_series()


class _Steps:
    """Counts the steps from row to row for each symbol and repeated hour: memory does not grow with rows."""

    def __init__(self, hours: Sequence[RepeatedHour], bar_ns: int) -> None:
        self._hours = hours
        self._bounds = _hours_frame(hours).select("hour", "start_ns", "end_ns")
        self._bar_ns = bar_ns
        self._last: pl.DataFrame | None = None
        self._counts: pl.DataFrame | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Add the next rows: ``symbol``, ``line`` and ``local``."""
        rows = rows.with_columns(_find_hours(rows["local"], self._hours).alias("hour"))
        joined = rows if self._last is None else pl.concat([self._last, rows])
        self._last = joined.unique("symbol", keep="last", maintain_order=True)
        if joined["hour"].null_count() == len(joined):
            return
        pairs = joined.with_columns(
            pl.col("local", "hour").shift().over("symbol").name.prefix("previous_")
        ).filter(pl.col("previous_local").is_not_null())
        inside = self._count_inside(pairs.filter(pl.col("hour") == pl.col("previous_hour")))
        entries = self._count_borders(pairs.filter(pl.col("hour").ne_missing(pl.col("previous_hour"))))
        parts = [inside, entries] if self._counts is None else [self._counts, inside, entries]
        self._counts = (
            pl.concat(parts, how="diagonal")
            .group_by(_KEY)
            .agg(pl.col("^n_.*$").sum(), pl.col("back_line", "up_line").max())
        )

    def _count_inside(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Count the steps within an hour, and those by which clocks may have been set back."""
        step, length = pl.col("local") - pl.col("previous_local"), pl.col("end_ns") - pl.col("start_ns")
        tolerance = 0 if self._bar_ns else _JITTER_NS
        is_back = step <= 0 if self._bar_ns else step < -tolerance
        is_up = step >= 0 if self._bar_ns else step > tolerance
        is_change = (2 * step.abs() >= length) | (length - step.abs() == self._bar_ns)
        return (
            pairs.join(self._bounds, on="hour")
            .group_by(_KEY)
            .agg(
                n_back=is_back.sum(),
                n_up=is_up.sum(),
                n_back_change=(is_back & is_change).sum(),
                n_up_change=(is_up & is_change).sum(),
                back_line=pl.col("line").filter(is_back & is_change).max(),
                up_line=pl.col("line").filter(is_up & is_change).max(),
            )
        )

    def _count_borders(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Count how often rows enter or leave an hour forward and backward, and by more than jitter."""
        step = pl.col("local") - pl.col("previous_local")
        is_far = step.abs() > (0 if self._bar_ns else _JITTER_NS)
        sides = [
            pairs.filter(pl.col(hour).is_not_null()).select(
                "symbol", pl.col(hour).alias("hour"), forward=step > 0, far=is_far
            )
            for hour in ("hour", "previous_hour")
        ]
        forward, far = pl.col("forward"), pl.col("far")
        return (
            pl.concat(sides)
            .group_by(_KEY)
            .agg(
                n_forward=forward.sum(),
                n_backward=(~forward).sum(),
                n_far_forward=(forward & far).sum(),
                n_far_backward=(~forward & far).sum(),
            )
        )

    def changes(self) -> pl.DataFrame:
        """Return the changes that the order of the rows shows, see `RepeatedHours`."""
        if self._counts is None:
            return pl.DataFrame(schema=_CHANGES_SCHEMA)
        counts = self._counts.with_columns(pl.col("^n_.*$").fill_null(0).cast(pl.Int64))
        ascending = _is_one_change("back", "up", "forward", "backward")
        descending = _is_one_change("up", "back", "backward", "forward")
        return counts.filter(ascending != descending).select(
            "symbol",
            "hour",
            line=pl.when(ascending).then("back_line").otherwise("up_line"),
            ascending=ascending,
        )


def _is_one_change(turn: str, other: str, along: str, against: str) -> pl.Expr:
    """Return whether rows in one direction turn back once, by the change of clocks.

    Without rows outside the hour, several steps in that direction must show it.
    """
    borders = pl.col(f"n_{along}") - pl.col(f"n_{against}")
    return (
        (pl.col(f"n_{turn}") == 1)
        & (pl.col(f"n_{turn}_change") == 1)
        & (pl.col(f"n_far_{against}") == 0)
        & borders.is_between(0, _MAX_BORDERS)
        & ((borders > 0) | (pl.col(f"n_{other}") >= _MIN_STEPS))
    )
