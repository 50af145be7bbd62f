"""Records of some partitions → bars, indicators and alerts, in the order of the records.

The engine processes whole batches, and its results do not depend on batch boundaries: each result belongs to
one record, the one that closed or restated a bar, and results are ordered by it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from tickerlake.analytics.bar_builder import BarBuilder
from tickerlake.analytics.bar_frames import (
    NO_BARS,
    NO_IDENTIFIED_BARS,
    input_bars,
    sort_by_record,
    to_arrays,
    with_boundaries,
    with_instruments,
)
from tickerlake.analytics.bar_series import BarSeries, split_into_rounds
from tickerlake.analytics.bar_times import BarTimes
from tickerlake.analytics.bars import Ints
from tickerlake.analytics.decode import NO_REJECTS, REJECT_SCHEMA, can_build, decode, reject
from tickerlake.analytics.input_rows import InputRows, repeated_bars
from tickerlake.analytics.instrument_arrays import PerInstrument, sort_key
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
from tickerlake.model.duration import DAY_NS, MS_NS
from tickerlake.model.interval import interval_ns
from tickerlake.model.reject import RejectReason

_LIVE_WINDOW_NS: Final = 4 * DAY_NS
"""Only instruments with a record in this time can be idle, as the clock says nothing about replayed history.
It covers a weekend and a holiday."""


class Engine:
    """Computes bars, indicators and alerts of the instruments of some partitions.

    Parameters
    ----------
    options
        What to compute.
    sessions_of
        Returns the sessions of a market by its ISO 10383 code.
    watcher
        Raises alerts; None for none.
    """

    def __init__(
        self,
        options: EngineOptions,
        sessions_of: Callable[[str], Sessions],
        watcher: Watcher | None = None,
    ) -> None:
        self.options = options
        self.instruments = Instruments(sessions_of, options.splits)
        self.watcher = watcher
        self.builders = {
            interval: BarBuilder(
                BarTimes(interval, self.instruments.sessions, options.day, options.align),
                options.grace_ns,
                options.lateness_ns,
            )
            for interval in options.intervals
        }
        self.series: dict[str, BarSeries] = {}
        for interval in options.intervals:
            self.series_of(interval)

    def process(self, batch: pl.DataFrame) -> Output:
        """Process records.

        Parameters
        ----------
        batch
            Columns partition, offset, timestamp_ms and value; each partition in offset order.
        """
        known = len(self.instruments)
        decoded = decode(
            batch,
            source_tag=self.options.source_tag,
            max_ahead_ns=self.options.max_ahead_ns,
            use_conditions=self.options.conditions == "sip",
        )
        frame, unassigned = self._assign_rows(decoded.rows)
        self.instruments.count_unscheduled(frame)
        changes = self._build_bars(frame)
        output = replace(
            self._to_output(changes),
            skipped=decoded.skipped,
            rows=frame.height,
            left_out=decoded.conditions.left_out,
            unknown_conditions=decoded.conditions.unknown,
        )
        rejects = pl.concat([decoded.rejects, unassigned, *changes.rejects])
        if rejects.is_empty():
            return output
        rejects = rejects.sort("partition", "offset")
        alerts = [*output.alerts, *self._watch_rejects(rejects, self._known_since(decoded.rows, known))]
        originals = batch.select("partition", "offset", "timestamp_ms", "value")
        rejects = rejects.drop("timestamp_ms", "value")
        rejects = rejects.join(originals, on=["partition", "offset"], maintain_order="left")
        return replace(
            output,
            alerts=sorted(alerts, key=_record_key),
            rejects=rejects.select(REJECT_SCHEMA.names()),
        )

    def close_idle(self, partition: int, now_ns: int, idle_ns: int) -> Output:
        """Close the bars of a partition that are due by the clock.

        Parameters
        ----------
        partition
            Its number.
        now_ns
            The current time.
        idle_ns
            How long a bar waits after its end for the record that closes it.
        """
        row = self.instruments.rows_of(partition)
        changes = _BarChanges()
        for interval, builder in self.builders.items():
            bars = builder.close_idle(row, self.instruments.watermark_ns[row], now_ns, idle_ns)
            if bars.height:
                changes.closed[interval] = with_boundaries(bars, builder.times)
        output = self._to_output(changes)
        return replace(output, alerts=[*output.alerts, *self._watch_idle(partition, row, now_ns)])

    def _watch_idle(self, partition: int, row: Ints, now_ns: int) -> list[RaisedAlert]:
        live = row[self.instruments.watermark_ns[row] > now_ns - _LIVE_WINDOW_NS]
        if self.watcher is None or not len(live):
            return []
        session, _, _ = self.instruments.sessions.lookup(live, np.full(len(live), now_ns))
        hours = self.instruments.sessions.hours(live, session)
        fired = self.watcher.on_idle(live, self.instruments.watermark_ns[live], now_ns, hours)
        return [RaisedAlert(partition, CLOCK_OFFSET, each.alert) for each in fired]

    def _known_since(self, rows: pl.DataFrame, known: int) -> pl.DataFrame:
        """Return all instruments with the offset of their first record in this batch, -1 if known before."""
        key = ["partition", "instrument_id"]
        first = rows.group_by(key).agg(pl.col("offset").min().alias("since"))
        since = pl.when(pl.col("row") >= known).then("since").fill_null(-1)
        return self.instruments.index.join(first, on=key, how="left").select(*key, "row", since)

    def _watch_rejects(self, rejects: pl.DataFrame, known_since: pl.DataFrame) -> list[RaisedAlert]:
        """Evaluate rejected records of known instruments one by one, in order."""
        raised: list[RaisedAlert] = []
        if self.watcher is None or not self.watcher.counts_rejects:
            return raised
        key = ["partition", "instrument_id"]
        of_known = rejects.join(known_since, on=key, how="inner", maintain_order="left")
        of_known = of_known.filter(pl.col("offset") > pl.col("since"))
        columns = of_known.select("row", "partition", "offset", "timestamp_ms")
        for row, partition, offset, ms in columns.iter_rows():
            at_ns = np.array([max(ms, 0) * MS_NS])
            fired = self.watcher.on_rejects(np.array([row]), np.array([1]), at_ns, at_ns)
            raised += [RaisedAlert(partition, offset, each.alert) for each in fired]
        return raised

    @property
    def open_bars(self) -> int:
        """Number of open bars."""
        return sum(builder.open_bars.height for builder in self.builders.values())

    def drop_partition(self, partition: int) -> None:
        """Drop the instruments of a partition."""
        rows = np.setdiff1d(np.arange(len(self.instruments)), self.instruments.rows_of(partition))
        if len(rows) < len(self.instruments):
            for each in (self.instruments, *self.builders.values(), *self.series.values(), self.watcher):
                if each is not None:
                    each.retain(rows)

    def tables(self) -> dict[str, StateTable]:
        """Return the state of indicators and watcher, by names that are the same in every run."""
        tables = {name: table for series in self.series.values() for name, table in series.tables().items()}
        return tables | {f"alert {n}": t for n, t in (self.watcher.tables() if self.watcher else {}).items()}

    def add_instruments(self, instruments: Sequence[Instrument], watermark_ns: Ints) -> Ints:
        """Add instruments with their watermarks, and return their rows."""
        first = len(self.instruments)
        self.instruments.add(instruments, watermark_ns)
        self._grow(instruments)
        return np.arange(first, len(self.instruments))

    def series_of(self, interval: str) -> BarSeries:
        """Return the closed bars of an interval."""
        if interval not in self.series:
            needed = sorted(self._required_indicators(interval))
            self.series[interval] = BarSeries(
                interval, self.options.indicators, needed, self.instruments.splits
            )
            self.series[interval].grow(len(self.instruments))
        return self.series[interval]

    def _required_indicators(self, interval: str) -> frozenset[str]:
        return self.watcher.required_indicators.get(interval, frozenset()) if self.watcher else frozenset()

    def _assign_rows(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the usable rows with the column ``row``, by instrument and offset; and the rejects."""
        frame, new = self.instruments.resolve(rows)
        if new:
            self._grow(new)
        invalid = frame.get_column("row").is_null()
        has_changed = frame.get_column("input_interval") != frame.get_column("registered_interval")
        has_changed = has_changed.fill_null(value=False)
        if not invalid.any() and not has_changed.any():
            return frame.sort("row", "offset"), NO_REJECTS
        reason = (
            pl.when(pl.lit(invalid))
            .then(pl.lit(RejectReason.INSTRUMENT_INVALID))
            .when(pl.lit(has_changed))
            .then(pl.lit(RejectReason.INTERVAL_CHANGED))
        )
        return frame.filter(~invalid & ~has_changed).sort("row", "offset"), reject(frame, reason)

    def _grow(self, new: Sequence[Instrument]) -> None:
        size = len(self.instruments)
        parts: list[PerInstrument] = [*self.builders.values(), *self.series.values()]
        for part in parts:
            part.grow(size)
        if self.watcher:
            self.watcher.add_instruments(new)
            # rules can need further indicators of an input interval that was not there before
            for interval, series in self.series.items():
                series.add_indicators(sorted(self._required_indicators(interval)))

    def _build_bars(self, frame: pl.DataFrame) -> "_BarChanges":
        """Build the bars of all intervals from rows, and move the watermarks."""
        changes = _BarChanges()
        if frame.is_empty():
            return changes
        watermark_ns = self.instruments.watermark_ns
        rows = InputRows.from_frame(frame, watermark_ns)
        if not rows.in_order:
            repeated = repeated_bars(frame, watermark_ns)
            if repeated.any():
                changes.rejects.append(reject(frame.filter(repeated), RejectReason.LATE))
                frame = frame.filter(~repeated)
                if frame.is_empty():
                    return changes
                rows = InputRows.from_frame(frame, watermark_ns)
        input_intervals = frame.get_column("input_interval").unique(maintain_order=True).to_list()
        late = []
        for interval in self.builders:
            usable = [each for each in input_intervals if can_build(interval, each)]
            part = rows if len(usable) == len(input_intervals) else rows.select_inputs(usable)
            if len(part.row) and len(too_late := self._build_interval(interval, part, changes)):
                late.append(part.frame[too_late])
        if late:
            changes.rejects.append(reject(pl.concat(late).unique(["partition", "offset"]), RejectReason.LATE))
        for interval in sorted(set(input_intervals) - {TRADES}):
            # one instrument can send the bars that are built from another's records
            sent = input_bars(frame, interval)
            closed = changes.closed.get(interval)
            changes.closed[interval] = sent if closed is None else pl.concat([closed, sent])
        watermark_ns[rows.row] = np.maximum(watermark_ns[rows.row], rows.watermark_ns)
        return changes

    def _build_interval(self, interval: str, rows: InputRows, changes: "_BarChanges") -> Ints:
        """Add the bars of one interval to the changes; return the positions of rows that are too late."""
        builder = self.builders[interval]
        is_watched = self.watcher is not None and interval in self.watcher.tick_intervals
        built = builder.process(rows, forming=is_watched)
        if built.closed.height:
            changes.closed[interval] = with_boundaries(built.closed, builder.times)
        if built.restated.height:
            changes.restated.append(with_boundaries(built.restated, builder.times))
        if built.forming.height:
            changes.forming[interval] = with_boundaries(built.forming, builder.times)
        return built.too_late

    def _to_output(self, changes: "_BarChanges") -> Output:
        values, alerts = [], []
        # in a fixed order: alerts of one record are raised in it
        intervals = sorted({*changes.closed, *changes.forming}, key=lambda each: (interval_ns(each), each))
        for interval in intervals:
            closed, forming = (
                bars.get(interval, NO_BARS).filter(~pl.col("partial"))
                for bars in (changes.closed, changes.forming)
            )
            if closed.height or forming.height:
                indicators, raised = self._update_and_watch(
                    self.series_of(interval), closed.sort("row", "ts_open_ns"), forming
                )
                values.append(indicators)
                alerts += raised
        built = [bars.filter("built") for bars in (*changes.closed.values(), *changes.restated)]
        bars = pl.concat(built) if built else NO_BARS
        return Output(
            bar_records(sort_by_record(with_instruments(bars, self.instruments)), self.options.source_tag)
            if bars.height
            else _NO_BAR_RECORDS,
            sort_by_record(pl.concat(values)) if values else _NO_INDICATOR_RECORDS,
            sorted(alerts, key=_record_key),
            NO_REJECTS,
        )

    def _update_and_watch(
        self, series: BarSeries, closed: pl.DataFrame, forming: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[RaisedAlert]]:
        """Compute the indicators of closed bars and evaluate the bars, in rounds.

        A forming bar is evaluated against the state after the bars that closed before it.
        """
        unordered = to_arrays(closed, self.instruments)
        order, rounds = split_into_rounds(unordered.rows)
        columns = unordered.select(order)
        detected_ns = closed.get_column("timestamp_ms").to_numpy()[order] * MS_NS
        values = {name: np.empty(len(order)) for name in series.output_names}
        identified = with_instruments(closed, self.instruments)
        ticks = _FormingBars(self, series, closed, forming) if forming.height else None
        raised: list[RaisedAlert] = []
        for number, selection in enumerate(rounds):
            if ticks:
                raised += ticks.watch_after(number)
            part = columns.select(selection)
            current = series.update(part)
            for name, result in current.items():
                values[name][selection] = result
            if self.watcher:
                fired = self.watcher.on_close(series.interval, part, current, detected_ns[selection])
                raised += _to_raised_alerts(
                    identified, [(int(order[selection.start + each.position]), each.alert) for each in fired]
                )
        if ticks:
            raised += ticks.watch_after(len(rounds))
        inverse = np.argsort(order)
        table = pl.DataFrame({name: values[name][inverse] for name in series.published})
        return indicator_records(identified, table), raised


@dataclass(slots=True)
class _BarChanges:
    """Bars of a batch with boundaries, by interval; restated bars; rejected rows."""

    closed: dict[str, pl.DataFrame] = field(default_factory=dict)
    forming: dict[str, pl.DataFrame] = field(default_factory=dict)
    restated: list[pl.DataFrame] = field(default_factory=list)
    rejects: list[pl.DataFrame] = field(default_factory=list)


class _FormingBars:
    """Forming bars by the number of bars of their instrument that closed before them in the batch."""

    def __init__(
        self, engine: Engine, series: BarSeries, closed: pl.DataFrame, forming: pl.DataFrame
    ) -> None:
        self._engine, self._series = engine, series
        row, offset = forming.get_column("row").to_numpy(), forming.get_column("offset").to_numpy()
        closed_row, closed_offset = (
            closed.get_column("row").to_numpy(),
            closed.get_column("offset").to_numpy(),
        )
        first_offset = int(offset.min())
        closes = sort_key(closed_row, closed_offset - first_offset)
        before_instrument = np.searchsorted(closes, sort_key(row, 0))
        self._closed_before = (
            np.searchsorted(closes, sort_key(row, offset - first_offset), side="right") - before_instrument
        )
        self._bars = to_arrays(forming, engine.instruments)
        self._forming = with_instruments(forming, engine.instruments)
        self._event_ns = forming.get_column("last_ns").to_numpy()
        self._detected_ns = forming.get_column("timestamp_ms").to_numpy() * MS_NS

    def watch_after(self, count: int) -> list[RaisedAlert]:
        """Evaluate the bars that form after this many bars have closed."""
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
        return _to_raised_alerts(
            self._forming, [(int(selection[each.position]), each.alert) for each in fired]
        )


def _to_raised_alerts(bars: pl.DataFrame, fired: Sequence[tuple[int, Alert]]) -> list[RaisedAlert]:
    return [RaisedAlert(bars.item(at, "partition"), bars.item(at, "offset"), alert) for at, alert in fired]


def _record_key(raised: RaisedAlert) -> tuple[int, int]:
    return raised.partition, raised.offset


_NO_BAR_RECORDS: Final = bar_records(NO_IDENTIFIED_BARS, "")
_NO_INDICATOR_RECORDS: Final = indicator_records(NO_IDENTIFIED_BARS, pl.DataFrame())
