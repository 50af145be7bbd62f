"""Records of some partitions → bars, indicators and what is watched for, in the order of the records.

The engine works on whole batches, and what comes out does not depend on where they are cut: each result
belongs to one record, the one that closed a bar or restated it, and results are ordered by it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from tickerlake.analytics.bar_builder import NO_CLOSED_BARS, BarBuilder, InputRows
from tickerlake.analytics.bar_series import BarSeries, split_into_rounds
from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.decode import (
    REJECT_SCHEMA,
    can_build,
    decode,
    reject,
)
from tickerlake.analytics.instruments import Instruments
from tickerlake.analytics.records import bar_records, indicator_records
from tickerlake.analytics.sessions import Sessions
from tickerlake.analytics.state_table import StateTable
from tickerlake.analytics.types import (
    CLOCK_OFFSET,
    TRADES,
    EngineOptions,
    Instrument,
    Output,
    RaisedAlert,
    Watcher,
)
from tickerlake.model.alert import Alert
from tickerlake.model.interval import interval_ns
from tickerlake.model.reject import RejectReason

_OFFSET_BITS: Final = 42
_LIVE_WINDOW_NS: Final = 4 * 86_400_000_000_000


class Engine:
    """Bars, indicators and alerts of the instruments of some partitions.

    Parameters
    ----------
    options
        What is computed.
    sessions_of
        The sessions of a market, by its ISO 10383 code.
    watcher
        What looks at the bars; None for nothing.
    """

    def __init__(
        self,
        options: EngineOptions,
        sessions_of: Callable[[str], Sessions],
        watcher: Watcher | None = None,
    ) -> None:
        self.options = options
        self.instruments = Instruments(sessions_of)
        self.watcher = watcher
        self.builders = {
            interval: BarBuilder(
                interval, self.instruments.sessions.lookup, options.grace_ns, options.lateness_ns
            )
            for interval in options.intervals
        }
        self.series: dict[str, BarSeries] = {}
        for interval in options.intervals:
            self.series_of(interval)

    def process(self, batch: pl.DataFrame) -> Output:
        """Take records.

        Parameters
        ----------
        batch
            Columns partition, offset, timestamp_ms and value; each partition in the order of its offsets.
        """
        before = len(self.instruments)
        decoded = decode(batch, source_tag=self.options.source_tag, max_ahead_ns=self.options.max_ahead_ns)
        rejects = [decoded.rejects] if decoded.rejects.height else []
        frame = self._assign_rows(decoded.rows, rejects)
        changes = self._build_bars(frame, rejects)
        output = self._to_output(changes)
        if not rejects:
            return replace(output, skipped=decoded.skipped, rows=frame.height)
        rejected = pl.concat(rejects).drop("value").sort("partition", "offset")
        values = batch.select("partition", "offset", "value")
        rejected = rejected.join(values, on=["partition", "offset"], maintain_order="left")
        alerts = [*output.alerts, *self._report_rejects(rejected, self._known_since(decoded.rows, before))]
        return replace(
            output,
            alerts=sorted(alerts, key=_record_key),
            rejects=rejected.select(REJECT_SCHEMA.names()),
            skipped=decoded.skipped,
            rows=frame.height,
        )

    def close_idle(self, partition: int, now_ns: int, idle_ns: int) -> Output:
        """Close the bars of a partition for which the clock says that nothing more will come.

        Parameters
        ----------
        now_ns
            The time by the clock.
        idle_ns
            How long a bar of which the end has passed waits for the record that closes it.
        """
        row = self.instruments.rows_of(partition)
        changes = _BarChanges()
        for interval, builder in self.builders.items():
            bars = builder.close_idle(row, self.instruments.watermark_ns[row], now_ns, idle_ns)
            if bars.height:
                changes.closed[interval] = self._with_edges(bars, interval)
        output = self._to_output(changes)
        return replace(output, alerts=[*output.alerts, *self._check_idle(partition, row, now_ns)])

    def _check_idle(self, partition: int, row: Ints, now_ns: int) -> list[RaisedAlert]:
        """Let the watcher look for live instruments that send nothing; the clock says nothing of history."""
        live = row[self.instruments.watermark_ns[row] > now_ns - _LIVE_WINDOW_NS]
        if self.watcher is None or not len(live):
            return []
        _, opens_ns, closes_ns = self.instruments.sessions.lookup(live, np.full(len(live), now_ns))
        fired = self.watcher.on_idle(live, self.instruments.watermark_ns[live], now_ns, opens_ns, closes_ns)
        return [RaisedAlert(partition, CLOCK_OFFSET, one.alert) for one in fired]

    def _known_since(self, rows: pl.DataFrame, before: int) -> pl.DataFrame:
        """Return the instruments' names, and since which record those are known that came with these rows."""
        names = ["partition", "instrument_id"]
        first = rows.group_by(names).agg(pl.col("offset").min().alias("since"))
        since = pl.when(pl.col("row") >= before).then("since").fill_null(-1)
        return self.instruments.index.join(first, on=names, how="left").select(*names, "row", since)

    def _report_rejects(self, rejects: pl.DataFrame, since: pl.DataFrame) -> list[RaisedAlert]:
        """Let the watcher count refused records of instruments that are known, in their order."""
        raised: list[RaisedAlert] = []
        if self.watcher is None or not self.watcher.counts_rejects or rejects.is_empty():
            return raised
        names = ["partition", "instrument_id"]
        of_known = rejects.join(since, on=names, how="inner", maintain_order="left")
        of_known = of_known.filter(pl.col("offset") > pl.col("since"))
        for row, partition, offset, ms in of_known.select(
            "row", "partition", "offset", "timestamp_ms"
        ).iter_rows():
            at_ns = np.array([ms * 1_000_000])
            fired = self.watcher.on_rejects(np.array([row]), np.array([1]), at_ns, at_ns)
            raised += [RaisedAlert(partition, offset, one.alert) for one in fired]
        return raised

    @property
    def open_bars(self) -> int:
        """How many bars are open."""
        return sum(builder.open_bars.height for builder in self.builders.values())

    def drop_partition(self, partition: int) -> None:
        """Forget a partition."""
        rows = np.setdiff1d(np.arange(len(self.instruments)), self.instruments.rows_of(partition))
        if len(rows) < len(self.instruments):
            self.instruments.retain(rows)
            for builder in self.builders.values():
                builder.retain(rows)
            for series in self.series.values():
                series.retain(rows)
            if self.watcher:
                self.watcher.retain(rows)

    def tables(self) -> dict[str, StateTable]:
        """Return what indicators and watcher keep, by the names of what keeps it."""
        tables = {name: table for series in self.series.values() for name, table in series.tables().items()}
        return tables | {f"alert {n}": t for n, t in (self.watcher.tables() if self.watcher else {}).items()}

    def add_instruments(self, instruments: Sequence[Instrument], watermark_ns: Ints) -> Ints:
        """Take further instruments with their watermarks, and return their numbers."""
        first = len(self.instruments)
        self.instruments.add(instruments, watermark_ns)
        self._grow(instruments)
        return np.arange(first, len(self.instruments))

    def series_of(self, interval: str) -> BarSeries:
        """Return the closed bars of an interval."""
        if interval not in self.series:
            needed = (
                self.watcher.required_indicators.get(interval, frozenset()) if self.watcher else frozenset()
            )
            self.series[interval] = BarSeries(interval, self.options.indicators, sorted(needed))
            self.series[interval].grow(len(self.instruments))
        return self.series[interval]

    def _assign_rows(self, rows: pl.DataFrame, rejects: list[pl.DataFrame]) -> pl.DataFrame:
        """Return the rows that can be used, with their instruments' numbers, by instrument and offset."""
        frame, new = self.instruments.resolve(rows)
        if new:
            self._grow(new)
        invalid = frame.get_column("row").is_null()
        is_other_interval = (frame.get_column("feed") != frame.get_column("own_feed")).fill_null(value=False)
        if not invalid.any() and not is_other_interval.any():
            return frame.sort("row", "offset")
        reason = (
            pl.when(pl.lit(invalid))
            .then(pl.lit(RejectReason.INSTRUMENT_INVALID))
            .when(pl.lit(is_other_interval))
            .then(pl.lit(RejectReason.INTERVAL_CHANGED))
        )
        rejects.append(reject(frame, reason))
        return frame.filter(~invalid & ~is_other_interval).sort("row", "offset")

    def _grow(self, new: Sequence[Instrument]) -> None:
        size = len(self.instruments)
        for builder in self.builders.values():
            builder.grow(size)
        for series in self.series.values():
            series.grow(size)
        if self.watcher:
            self.watcher.add_instruments(new)
            # a feed that it had not met before may be looked at in other ways
            for interval, series in self.series.items():
                series.add_indicators(sorted(self.watcher.required_indicators.get(interval, frozenset())))

    def _build_bars(self, frame: pl.DataFrame, rejects: list[pl.DataFrame]) -> "_BarChanges":
        """Return bars that closed, were restated, and are forming."""
        changes = _BarChanges()
        if frame.is_empty():
            return changes
        rows = self._with_watermarks(frame)
        if not rows.in_order:
            repeated = self._is_repeated(frame)
            if repeated.any():
                rejects.append(reject(frame.filter(repeated), RejectReason.LATE))
                frame = frame.filter(~repeated)
                if frame.is_empty():
                    return changes
                rows = self._with_watermarks(frame)
        late = []
        input_intervals = frame.get_column("feed").unique(maintain_order=True).to_list()
        for interval, builder in self.builders.items():
            usable = [feed for feed in input_intervals if can_build(interval, feed)]
            part = rows if len(usable) == len(input_intervals) else self._select_inputs(rows, usable)
            if not len(part.row):
                continue
            watched = self.watcher is not None and interval in self.watcher.tick_intervals
            built = builder.process(part, forming=watched)
            if built.closed.height:
                changes.closed[interval] = self._with_edges(built.closed, interval)
            if built.restated.height:
                changes.restated.append(self._with_edges(built.restated, interval))
            if built.forming.height:
                changes.forming[interval] = self._with_edges(built.forming, interval)
            if len(built.too_late):
                late.append(part.frame[built.too_late])
        if late:
            rejects.append(reject(pl.concat(late).unique(["partition", "offset"]), RejectReason.LATE))
        for feed in sorted(set(input_intervals) - {TRADES}):
            # one instrument may send the bars that are built of what another sends
            own = self._as_closed(frame, feed)
            changes.closed[feed] = pl.concat([changes.closed[feed], own]) if feed in changes.closed else own
        self.instruments.watermark_ns[rows.row] = np.maximum(
            self.instruments.watermark_ns[rows.row], rows.watermark_ns
        )
        return changes

    def _is_repeated(self, frame: pl.DataFrame) -> pl.Series:
        """Tell which bars are older than the last one that could be used.

        They are repetitions or corrections, which can't be added up.
        """
        repeated = np.zeros(frame.height, dtype=np.bool_)
        positions = np.flatnonzero((frame.get_column("feed") != TRADES).to_numpy())
        watermarks: dict[int, int] = {}
        entries = frame[positions].select("row", "start_ns", "mark_ns").iter_rows()
        for number, (row, start_ns, mark_ns) in zip(positions.tolist(), entries, strict=True):
            last_ns = watermarks.setdefault(row, int(self.instruments.watermark_ns[row]))
            repeated[number] = start_ns < last_ns
            watermarks[row] = last_ns if start_ns < last_ns else mark_ns
        return pl.Series(repeated)

    def _with_watermarks(self, frame: pl.DataFrame) -> InputRows:
        """Return rows with their instruments' watermarks before and after each."""
        row, row_end_ns = frame.get_column("row").to_numpy(), frame.get_column("mark_ns").to_numpy()
        start_ns = frame.get_column("start_ns").to_numpy()
        first = np.append(True, values=row[1:] != row[:-1])
        previous_ns = self.instruments.watermark_ns[row[first]]
        before_ns = np.empty_like(row_end_ns)
        before_ns[1:] = row_end_ns[:-1]
        before_ns[first] = previous_ns
        bars = frame.select(_BAR_COLUMNS)
        if (start_ns >= before_ns).all():
            return InputRows(frame, bars, row, start_ns, before_ns, row_end_ns, in_order=True)
        row_ends = pl.DataFrame({"row": row, "mark": row_end_ns})
        highest_ns = row_ends.select(pl.col("mark").cum_max().over("row")).to_series().to_numpy()
        sizes = np.diff(np.append(np.flatnonzero(first), len(row)))
        watermark_ns = np.maximum(highest_ns, np.repeat(previous_ns, sizes))
        before_ns[1:] = watermark_ns[:-1]
        before_ns[first] = previous_ns
        return InputRows(frame, bars, row, start_ns, before_ns, watermark_ns, in_order=False)

    def _select_inputs(self, rows: InputRows, input_intervals: list[str]) -> InputRows:
        selection = np.flatnonzero(rows.frame.get_column("feed").is_in(input_intervals).to_numpy())
        return InputRows(
            rows.frame[selection],
            rows.bars[selection],
            rows.row[selection],
            rows.start_ns[selection],
            rows.watermark_before_ns[selection],
            rows.watermark_ns[selection],
            rows.in_order,
        )

    def _with_edges(self, bars: pl.DataFrame, interval: str) -> pl.DataFrame:
        """Return built bars with their edges."""
        length_ns = self.builders[interval].length_ns
        row, bucket = bars.get_column("row").to_numpy(), bars.get_column("bucket").to_numpy()
        session = bucket if interval == "1d" else self.instruments.sessions.lookup(row, bucket * length_ns)[0]
        return bars.with_columns(
            interval=pl.lit(interval),
            ts_open_ns=pl.col("bucket") * length_ns,
            ts_close_ns=(pl.col("bucket") + 1) * length_ns,
            session=pl.Series(session, dtype=pl.Int64),
            built=pl.lit(value=True),
        )

    def _as_closed(self, frame: pl.DataFrame, input_interval: str) -> pl.DataFrame:
        """Return the bars of a feed of bars: each is closed as it is."""
        return frame.filter(pl.col("feed") == input_interval).select(
            *_BAR_COLUMNS,
            bucket=pl.col("start_ns"),
            revision=pl.lit(0, dtype=pl.Int64),
            partial=pl.lit(value=False),
            offset=pl.col("offset"),
            interval=pl.lit(input_interval),
            ts_open_ns=pl.col("start_ns"),
            ts_close_ns=pl.col("mark_ns"),
            session=pl.col("session"),
            built=pl.lit(value=False),
        )

    def _to_output(self, changes: "_BarChanges") -> Output:
        values, alerts = [], []
        # always in the same order, as what one record has raised is told in it
        for interval in sorted(
            {**changes.closed, **changes.forming}, key=lambda each: (interval_ns(each), each)
        ):
            closed = (
                changes.closed.get(interval, _NO_BARS_WITH_EDGES)
                .filter(~pl.col("partial"))
                .sort("row", "ts_open_ns")
            )
            forming = changes.forming.get(interval, _NO_BARS_WITH_EDGES).filter(~pl.col("partial"))
            if closed.height or forming.height:
                indicator_frame, raised = self._update_and_watch(self.series_of(interval), closed, forming)
                values.append(indicator_frame)
                alerts += raised
        built = [bars.filter("built") for bars in (*changes.closed.values(), *changes.restated)]
        bars = pl.concat(built) if built else _NO_BARS_WITH_EDGES
        return Output(
            bar_records(_sort_by_record(self.with_instruments(bars)), self.options.source_tag)
            if bars.height
            else _NO_BAR_RECORDS,
            _sort_by_record(pl.concat(values)) if values else _NO_INDICATOR_RECORDS,
            sorted(alerts, key=_record_key),
            _NO_REJECTS,
        )

    def _update_and_watch(
        self, series: BarSeries, closed: pl.DataFrame, forming: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[RaisedAlert]]:
        """Compute the indicators of closed bars, and let the watcher look at them, in rounds.

        What a forming bar is compared with is what the bars that closed before it have left.
        """
        unordered = self.to_arrays(closed)
        order, round_slices = split_into_rounds(unordered.rows)
        columns = unordered.select(order)
        detected_ns = closed.get_column("timestamp_ms").to_numpy()[order] * 1_000_000
        values = {name: np.empty(len(order)) for name in series.output_names}
        identified = self.with_instruments(closed)
        ticks = _FormingBars(self, series, closed, forming) if forming.height else None
        raised: list[RaisedAlert] = []
        for number, selection in enumerate(round_slices):
            if ticks:
                raised += ticks.watch_after(number)
            part = columns.select(selection)
            current = series.update(part)
            for name, result in current.items():
                values[name][selection] = result
            if self.watcher:
                fired = self.watcher.on_close(series.interval, part, current, detected_ns[selection])
                raised += _to_raised_alerts(
                    identified, [(int(order[selection.start + one.position]), one.alert) for one in fired]
                )
        if ticks:
            raised += ticks.watch_after(len(round_slices))
        inverse = np.argsort(order)
        table = pl.DataFrame({name: values[name][inverse] for name in series.published})
        return indicator_records(identified, table), raised

    def to_arrays(self, bars: pl.DataFrame) -> Bars:
        """Return bars as arrays."""
        row, session = bars.get_column("row").to_numpy(), bars.get_column("session").to_numpy()
        opens_ns, closes_ns = self.instruments.sessions.hours(row, session)
        high, low, close = (_floats(bars, name) for name in ("high", "low", "close"))
        volume = np.where(bars.get_column("sized").to_numpy() > 0, _floats(bars, "volume"), np.nan)
        notional = bars.get_column("notional").cast(pl.Float64).to_numpy() / 1e18
        with np.errstate(divide="ignore", invalid="ignore"):
            vwap = np.where(volume > 0, notional / volume, (high + low + close) / 3)
        return Bars(
            row,
            bars.get_column("ts_open_ns").to_numpy(),
            bars.get_column("ts_close_ns").to_numpy(),
            _floats(bars, "open"),
            high,
            low,
            close,
            volume,
            vwap,
            session,
            opens_ns,
            closes_ns,
            np.zeros(len(row), dtype=np.bool_),
        )

    def with_instruments(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return bars with the columns partition, instrument_id and symbol."""
        index = self.instruments.index
        return bars.with_columns(index[bars.get_column("row")].select("partition", "instrument_id", "symbol"))


@dataclass(slots=True)
class _BarChanges:
    """Bars of a batch, with their edges: by interval, and those that were restated."""

    closed: dict[str, pl.DataFrame] = field(default_factory=dict)
    forming: dict[str, pl.DataFrame] = field(default_factory=dict)
    restated: list[pl.DataFrame] = field(default_factory=list)


class _FormingBars:
    """Forming bars, by how many bars of their instrument have closed before them in the batch."""

    def __init__(
        self, engine: Engine, series: BarSeries, closed: pl.DataFrame, forming: pl.DataFrame
    ) -> None:
        self._engine, self._series = engine, series
        ends = _sort_key(closed)
        first = np.searchsorted(ends, forming.get_column("row").to_numpy() << _OFFSET_BITS)
        self._closed_before = np.searchsorted(ends, _sort_key(forming), side="right") - first
        self._bars = engine.to_arrays(forming)
        self._forming = engine.with_instruments(forming)
        self._event_ns = forming.get_column("last_ns").to_numpy()
        self._detected_ns = forming.get_column("timestamp_ms").to_numpy() * 1_000_000

    def watch_after(self, count: int) -> list[RaisedAlert]:
        """Let the watcher look at the bars that form after so many have closed."""
        selection = np.flatnonzero(self._closed_before == count)
        watcher, series = self._engine.watcher, self._series
        if not len(selection) or watcher is None:
            return []
        bars = self._bars.select(selection)
        series.mark_session_starts(bars)
        values = series.preview(bars, watcher.required_indicators.get(series.interval, frozenset()))
        fired = watcher.on_tick(
            series.interval, bars, values, self._event_ns[selection], self._detected_ns[selection]
        )
        return _to_raised_alerts(self._forming, [(int(selection[one.position]), one.alert) for one in fired])


def _sort_key(bars: pl.DataFrame) -> Ints:
    """Return one number that sorts by instrument and offset."""
    row: Ints = bars.get_column("row").to_numpy()
    offset: Ints = bars.get_column("offset").to_numpy()
    return (row << _OFFSET_BITS) + offset


def _to_raised_alerts(bars: pl.DataFrame, fired: Sequence[tuple[int, Alert]]) -> list[RaisedAlert]:
    return [RaisedAlert(bars.item(at, "partition"), bars.item(at, "offset"), alert) for at, alert in fired]


def _sort_by_record(bars: pl.DataFrame) -> pl.DataFrame:
    """Sort by the record that made them: an instrument's intervals end with the longest."""
    length = (pl.col("ts_close_ns") - pl.col("ts_open_ns")).alias("length")
    keys = ["partition", "offset", "ts_close_ns", "length", "instrument_id"]
    revision = ["revision"] if "revision" in bars.columns else []
    return bars.with_columns(length).sort(*keys, *revision).drop("length")


def _record_key(raised: RaisedAlert) -> tuple[int, int]:
    return raised.partition, raised.offset


def _floats(bars: pl.DataFrame, name: str) -> Floats:
    # the nearest double to each decimal: the whole number first, as a cast of decimals may be off by one bit
    return bars.get_column(name).to_physical().cast(pl.Float64).to_numpy() / 1e9


_BAR_COLUMNS: Final = [
    pl.col("row"),
    pl.col("start_ns").alias("first_ns"),
    pl.col("start_ns").alias("last_ns"),
    *(pl.col(name) for name in ("open", "high", "low", "close", "volume", "notional")),
    pl.col("volume").is_not_null().cast(pl.Int64).alias("sized"),
    *(pl.col(name) for name in ("count", "recv_ns", "timestamp_ms")),
]
_NO_BARS_WITH_EDGES: Final = NO_CLOSED_BARS.with_columns(
    *(pl.lit(None, dtype=pl.Int64).alias(name) for name in ("ts_open_ns", "ts_close_ns", "session")),
    interval=pl.lit(None, dtype=pl.String),
    built=pl.lit(value=True),
)
_NO_BARS_WITH_INSTRUMENTS: Final = _NO_BARS_WITH_EDGES.with_columns(
    pl.lit(None, dtype=pl.Int64).alias("partition"),
    *(pl.lit(None, dtype=pl.String).alias(name) for name in ("instrument_id", "symbol")),
)
_NO_BAR_RECORDS: Final = bar_records(_NO_BARS_WITH_INSTRUMENTS, "")
_NO_INDICATOR_RECORDS: Final = indicator_records(_NO_BARS_WITH_INSTRUMENTS, pl.DataFrame())
_NO_REJECTS: Final = REJECT_SCHEMA.to_frame()
