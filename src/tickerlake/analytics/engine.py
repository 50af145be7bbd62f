"""Records of some partitions → bars, indicators and what is watched for, in the order of the records.

The engine works on whole batches, and what comes out does not depend on where they are cut: each result
belongs to one record, the one that closed a bar or restated it, and results are ordered by it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Bars, Floats, Ints
from tickerlake.analytics.builder import NONE_CLOSED, Builder, Rows
from tickerlake.analytics.columnar import Table
from tickerlake.analytics.decode import (
    INSTRUMENT_INVALID,
    INTERVAL_CHANGED,
    LATE,
    REFUSED,
    TRADES,
    decode,
    is_longer,
    refuse,
)
from tickerlake.analytics.instruments import Instrument, Instruments
from tickerlake.analytics.publish import bar_records, indicator_records
from tickerlake.analytics.series import Series, rounds
from tickerlake.analytics.sessions import Sessions
from tickerlake.model.alert import Alert
from tickerlake.model.interval import length_ns

_SECOND_NS: Final = 1_000_000_000
_OFFSET_BITS: Final = 42
_LIVE_NS: Final = 4 * 86_400 * _SECOND_NS
BY_THE_CLOCK: Final = -1
"""The offset of what no record has raised."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What is computed.

    Parameters
    ----------
    intervals
        Bars to build, for example ``("1m", "1d")``; of an instrument that sends bars, only longer ones are.
    indicators
        Indicators of every closed bar, as :func:`tickerlake.analytics.indicators.registry.parse` reads them.
    grace_ns, lateness_ns
        How long a bar waits for records after its end, and for how long after that it can be restated.
    idle_ns
        How long a bar of which the end has passed by the clock waits for the record that closes it.
    ahead_ns
        By how much a record's time may be ahead of the time at which Kafka took it.
    own
        The ``source`` of bars that this job writes.
    """

    intervals: tuple[str, ...] = ("1m",)
    indicators: tuple[str, ...] = ()
    grace_ns: int = 0
    lateness_ns: int = 60 * _SECOND_NS
    idle_ns: int = 30 * _SECOND_NS
    ahead_ns: int | None = 300 * _SECOND_NS
    own: str = "track"


class Fired(Protocol):
    """An alert and the place of its bar among those that were given."""

    @property
    def at(self) -> int:
        """Index of the bar."""
        ...

    @property
    def alert(self) -> Alert:
        """The alert."""
        ...


class Watcher(Protocol):
    """What looks at bars as they close: see :class:`tickerlake.alerts.engine.AlertEngine`."""

    needs: dict[str, frozenset[str]]
    tick_intervals: frozenset[str]
    counts_refused: bool

    def grow(self, instruments: Sequence[Any]) -> None:
        """Take further instruments."""
        ...

    def keep(self, rows: Ints) -> None:
        """Drop all instruments but some, which are numbered anew."""
        ...

    def on_close(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], detected_ns: Ints
    ) -> Sequence[Fired]:
        """Look at closed bars, one of an instrument at most."""
        ...

    def on_tick(
        self, interval: str, bars: Bars, values: Mapping[str, Floats], event_ns: Ints, detected_ns: Ints
    ) -> Sequence[Fired]:
        """Look at forming bars, one after each trade."""
        ...

    def on_silence(
        self, rows: Ints, last_event_ns: Ints, now_ns: int, session_open_ns: Ints, session_close_ns: Ints
    ) -> Sequence[Fired]:
        """Look at instruments by the clock, each once."""
        ...

    def on_quality(self, rows: Ints, counts: Ints, event_ns: Ints, detected_ns: Ints) -> Sequence[Fired]:
        """Take how many records of instruments were refused."""
        ...

    def components(self) -> dict[str, Table]:
        """Return everything that is kept for each instrument."""
        ...


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert, and the record that raised it (`BY_THE_CLOCK` for none)."""

    partition: int
    offset: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class Output:
    """What a batch gave.

    Parameters
    ----------
    bars
        Bars that closed or were restated, as records of the kind ``bar.v1``, after the columns partition and
        offset of the record that made them so.
    indicators
        Values of closed bars, as records of the kind ``indicator.v1``, likewise.
    alerts
        Alerts, likewise in the order of the records.
    refused
        Records that can't be used (`decode.REFUSED`).
    ignored
        How many records are none of our business, by what they are.
    rows
        How many records were used.
    """

    bars: pl.DataFrame
    indicators: pl.DataFrame
    alerts: list[Raised]
    refused: pl.DataFrame
    ignored: Counter[str] = field(default_factory=Counter)
    rows: int = 0


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
            interval: Builder(
                interval, self.instruments.sessions.lookup, options.grace_ns, options.lateness_ns
            )
            for interval in options.intervals
        }
        self.series: dict[str, Series] = {}
        for interval in options.intervals:
            self.series_of(interval)

    def take(self, batch: pl.DataFrame) -> Output:
        """Take records.

        Parameters
        ----------
        batch
            Columns partition, offset, timestamp_ms and value; each partition in the order of its offsets.
        """
        before = len(self.instruments)
        decoded = decode(batch, own=self.options.own, ahead_ns=self.options.ahead_ns)
        refused = [decoded.refused] if decoded.refused.height else []
        frame = self._numbered(decoded.rows, refused)
        found = self._built(frame, refused)
        output = self._results(found)
        if not refused:
            return replace(output, ignored=decoded.ignored, rows=frame.height)
        missing = pl.concat(refused).drop("value").sort("partition", "offset")
        values = batch.select("partition", "offset", "value")
        missing = missing.join(values, on=["partition", "offset"], maintain_order="left")
        alerts = [*output.alerts, *self._counted(missing, self._since(decoded.rows, before))]
        return replace(
            output,
            alerts=sorted(alerts, key=_by_record),
            refused=missing.select(REFUSED.names()),
            ignored=decoded.ignored,
            rows=frame.height,
        )

    def idle(self, partition: int, now_ns: int, idle_ns: int) -> Output:
        """Close the bars of a partition for which the clock says that nothing more will come.

        Parameters
        ----------
        now_ns
            The time by the clock.
        idle_ns
            How long a bar of which the end has passed waits for the record that closes it.
        """
        row = self.instruments.of(partition)
        found = _Found()
        for interval, builder in self.builders.items():
            bars = builder.close_idle(row, self.instruments.mark_ns[row], now_ns, idle_ns)
            if bars.height:
                found.closed[interval] = self._named(bars, interval)
        output = self._results(found)
        return replace(output, alerts=[*output.alerts, *self._silent(partition, row, now_ns)])

    def _silent(self, partition: int, row: Ints, now_ns: int) -> list[Raised]:
        """Let the watcher look for live instruments that send nothing; the clock says nothing of history."""
        live = row[self.instruments.mark_ns[row] > now_ns - _LIVE_NS]
        if self.watcher is None or not len(live):
            return []
        _, opens_ns, closes_ns = self.instruments.sessions.lookup(live, np.full(len(live), now_ns))
        fired = self.watcher.on_silence(live, self.instruments.mark_ns[live], now_ns, opens_ns, closes_ns)
        return [Raised(partition, BY_THE_CLOCK, one.alert) for one in fired]

    def _since(self, rows: pl.DataFrame, before: int) -> pl.DataFrame:
        """Return the instruments' names, and since which record those are known that came with these rows."""
        names = ["partition", "instrument_id"]
        first = rows.group_by(names).agg(pl.col("offset").min().alias("since"))
        since = pl.when(pl.col("row") >= before).then("since").fill_null(-1)
        return self.instruments.names.join(first, on=names, how="left").select(*names, "row", since)

    def _counted(self, refused: pl.DataFrame, since: pl.DataFrame) -> list[Raised]:
        """Let the watcher count refused records of instruments that are known, in their order."""
        raised: list[Raised] = []
        if self.watcher is None or not self.watcher.counts_refused or refused.is_empty():
            return raised
        names = ["partition", "instrument_id"]
        known = refused.join(since, on=names, how="inner", maintain_order="left")
        known = known.filter(pl.col("offset") > pl.col("since"))
        for row, partition, offset, ms in known.select(
            "row", "partition", "offset", "timestamp_ms"
        ).iter_rows():
            at_ns = np.array([ms * 1_000_000])
            fired = self.watcher.on_quality(np.array([row]), np.array([1]), at_ns, at_ns)
            raised += [Raised(partition, offset, one.alert) for one in fired]
        return raised

    @property
    def open_bars(self) -> int:
        """How many bars are open."""
        return sum(builder.open.height for builder in self.builders.values())

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        rows = np.setdiff1d(np.arange(len(self.instruments)), self.instruments.of(partition))
        if len(rows) < len(self.instruments):
            self.instruments.keep(rows)
            for builder in self.builders.values():
                builder.keep(rows)
            for series in self.series.values():
                series.keep(rows)
            if self.watcher:
                self.watcher.keep(rows)

    def tables(self) -> dict[str, Table]:
        """Return what indicators and watcher keep, by the names of what keeps it."""
        tables = {name: table for series in self.series.values() for name, table in series.tables().items()}
        return tables | {
            f"alert {n}": t for n, t in (self.watcher.components() if self.watcher else {}).items()
        }

    def admit(self, found: Sequence[Instrument], mark_ns: Ints) -> Ints:
        """Take further instruments with their watermarks, and return their numbers."""
        first = len(self.instruments)
        self.instruments.add(found, mark_ns)
        self._grow(found)
        return np.arange(first, len(self.instruments))

    def series_of(self, interval: str) -> Series:
        """Return the closed bars of an interval."""
        if interval not in self.series:
            needed = self.watcher.needs.get(interval, frozenset()) if self.watcher else frozenset()
            self.series[interval] = Series(interval, self.options.indicators, sorted(needed))
            self.series[interval].grow(len(self.instruments))
        return self.series[interval]

    def _numbered(self, rows: pl.DataFrame, refused: list[pl.DataFrame]) -> pl.DataFrame:
        """Return the rows that can be used, with their instruments' numbers, by instrument and offset."""
        frame, found = self.instruments.number(rows)
        if found:
            self._grow(found)
        invalid = frame.get_column("row").is_null()
        other = (frame.get_column("feed") != frame.get_column("own_feed")).fill_null(value=False)
        if not invalid.any() and not other.any():
            return frame.sort("row", "offset")
        reason = (
            pl.when(pl.lit(invalid))
            .then(pl.lit(INSTRUMENT_INVALID))
            .when(pl.lit(other))
            .then(pl.lit(INTERVAL_CHANGED))
        )
        refused.append(refuse(frame, reason))
        return frame.filter(~invalid & ~other).sort("row", "offset")

    def _grow(self, found: Sequence[Instrument]) -> None:
        size = len(self.instruments)
        for builder in self.builders.values():
            builder.grow(size)
        for series in self.series.values():
            series.grow(size)
        if self.watcher:
            self.watcher.grow(found)
            # a feed that it had not met before may be looked at in other ways
            for interval, series in self.series.items():
                series.want(sorted(self.watcher.needs.get(interval, frozenset())))

    def _built(self, frame: pl.DataFrame, refused: list[pl.DataFrame]) -> "_Found":
        """Return bars that closed, were restated, and are forming."""
        found = _Found()
        if frame.is_empty():
            return found
        rows = self._rows(frame)
        if not rows.rises:
            repeated = self._repeated(frame)
            if repeated.any():
                refused.append(refuse(frame.filter(repeated), LATE))
                frame = frame.filter(~repeated)
                if frame.is_empty():
                    return found
                rows = self._rows(frame)
        late = []
        feeds = frame.get_column("feed").unique(maintain_order=True).to_list()
        for interval, builder in self.builders.items():
            usable = [feed for feed in feeds if is_longer(interval, feed)]
            part = rows if len(usable) == len(feeds) else self._part(rows, usable)
            if not len(part.row):
                continue
            watched = self.watcher is not None and interval in self.watcher.tick_intervals
            built = builder.take(part, forming=watched)
            if built.closed.height:
                found.closed[interval] = self._named(built.closed, interval)
            if built.restated.height:
                found.restated.append(self._named(built.restated, interval))
            if built.forming.height:
                found.forming[interval] = self._named(built.forming, interval)
            if len(built.too_late):
                late.append(part.frame[built.too_late])
        if late:
            refused.append(refuse(pl.concat(late).unique(["partition", "offset"]), LATE))
        for feed in sorted(set(feeds) - {TRADES}):
            # one instrument may send the bars that are built of what another sends
            own = self._as_closed(frame, feed)
            found.closed[feed] = pl.concat([found.closed[feed], own]) if feed in found.closed else own
        self.instruments.mark_ns[rows.row] = np.maximum(self.instruments.mark_ns[rows.row], rows.mark_ns)
        return found

    def _repeated(self, frame: pl.DataFrame) -> pl.Series:
        """Tell which bars are older than the last one that could be used.

        They are repetitions or corrections, which can't be added up.
        """
        repeated = np.zeros(frame.height, dtype=np.bool_)
        at = np.flatnonzero((frame.get_column("feed") != TRADES).to_numpy())
        reached: dict[int, int] = {}
        places = frame[at].select("row", "start_ns", "mark_ns").iter_rows()
        for number, (row, start_ns, mark_ns) in zip(at.tolist(), places, strict=True):
            last_ns = reached.setdefault(row, int(self.instruments.mark_ns[row]))
            repeated[number] = start_ns < last_ns
            reached[row] = last_ns if start_ns < last_ns else mark_ns
        return pl.Series(repeated)

    def _rows(self, frame: pl.DataFrame) -> Rows:
        """Return rows with their instruments' watermarks before and after each."""
        row, told_ns = frame.get_column("row").to_numpy(), frame.get_column("mark_ns").to_numpy()
        start_ns = frame.get_column("start_ns").to_numpy()
        first = np.append(True, values=row[1:] != row[:-1])
        known_ns = self.instruments.mark_ns[row[first]]
        before_ns = np.empty_like(told_ns)
        before_ns[1:] = told_ns[:-1]
        before_ns[first] = known_ns
        bars = frame.select(_AS_BARS)
        if (start_ns >= before_ns).all():
            return Rows(frame, bars, row, start_ns, before_ns, told_ns, rises=True)
        told = pl.DataFrame({"row": row, "mark": told_ns})
        highest_ns = told.select(pl.col("mark").cum_max().over("row")).to_series().to_numpy()
        sizes = np.diff(np.append(np.flatnonzero(first), len(row)))
        mark_ns = np.maximum(highest_ns, np.repeat(known_ns, sizes))
        before_ns[1:] = mark_ns[:-1]
        before_ns[first] = known_ns
        return Rows(frame, bars, row, start_ns, before_ns, mark_ns, rises=False)

    def _part(self, rows: Rows, feeds: list[str]) -> Rows:
        chosen = np.flatnonzero(rows.frame.get_column("feed").is_in(feeds).to_numpy())
        return Rows(
            rows.frame[chosen],
            rows.bars[chosen],
            rows.row[chosen],
            rows.start_ns[chosen],
            rows.before_ns[chosen],
            rows.mark_ns[chosen],
            rows.rises,
        )

    def _named(self, bars: pl.DataFrame, interval: str) -> pl.DataFrame:
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

    def _as_closed(self, frame: pl.DataFrame, feed: str) -> pl.DataFrame:
        """Return the bars of a feed of bars: each is closed as it is."""
        return frame.filter(pl.col("feed") == feed).select(
            *_AS_BARS,
            bucket=pl.col("start_ns"),
            revision=pl.lit(0, dtype=pl.Int64),
            partial=pl.lit(value=False),
            offset=pl.col("offset"),
            interval=pl.lit(feed),
            ts_open_ns=pl.col("start_ns"),
            ts_close_ns=pl.col("mark_ns"),
            session=pl.col("session"),
            built=pl.lit(value=False),
        )

    def _results(self, found: "_Found") -> Output:
        values, alerts = [], []
        # always in the same order, as what one record has raised is told in it
        for interval in sorted({**found.closed, **found.forming}, key=lambda each: (length_ns(each), each)):
            closed = (
                found.closed.get(interval, _NONE_NAMED).filter(~pl.col("partial")).sort("row", "ts_open_ns")
            )
            forming = found.forming.get(interval, _NONE_NAMED).filter(~pl.col("partial"))
            if closed.height or forming.height:
                told, raised = self._watched(self.series_of(interval), closed, forming)
                values.append(told)
                alerts += raised
        built = [bars.filter("built") for bars in (*found.closed.values(), *found.restated)]
        bars = pl.concat(built) if built else _NONE_NAMED
        return Output(
            bar_records(_in_order(self.identified(bars)), self.options.own) if bars.height else _NO_BARS,
            _in_order(pl.concat(values)) if values else _NO_INDICATORS,
            sorted(alerts, key=_by_record),
            _NO_REFUSED,
        )

    def _watched(
        self, series: Series, closed: pl.DataFrame, forming: pl.DataFrame
    ) -> tuple[pl.DataFrame, list[Raised]]:
        """Compute the indicators of closed bars, and let the watcher look at them, in rounds.

        What a forming bar is compared with is what the bars that closed before it have left.
        """
        unordered = self.columns(closed)
        order, each = rounds(unordered.rows)
        columns = unordered.take(order)
        seen_ns = closed.get_column("timestamp_ms").to_numpy()[order] * 1_000_000
        values = {name: np.empty(len(order)) for name in series.names}
        identified = self.identified(closed)
        ticks = _Ticks(self, series, closed, forming) if forming.height else None
        raised: list[Raised] = []
        for number, place in enumerate(each):
            if ticks:
                raised += ticks.after(number)
            part = columns.take(place)
            now = series.update(part)
            for name, told in now.items():
                values[name][place] = told
            if self.watcher:
                fired = self.watcher.on_close(series.interval, part, now, seen_ns[place])
                raised += _raised(
                    identified, [(int(order[place.start + one.at]), one.alert) for one in fired]
                )
        if ticks:
            raised += ticks.after(len(each))
        back = np.argsort(order)
        table = pl.DataFrame({name: values[name][back] for name in series.published})
        return indicator_records(identified, table), raised

    def columns(self, bars: pl.DataFrame) -> Bars:
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

    def identified(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return bars with the columns partition, instrument_id and symbol."""
        known = self.instruments.names
        return bars.with_columns(known[bars.get_column("row")].select("partition", "instrument_id", "symbol"))


@dataclass(slots=True)
class _Found:
    """Bars of a batch, with their edges: by interval, and those that were restated."""

    closed: dict[str, pl.DataFrame] = field(default_factory=dict)
    forming: dict[str, pl.DataFrame] = field(default_factory=dict)
    restated: list[pl.DataFrame] = field(default_factory=list)


class _Ticks:
    """Forming bars, by how many bars of their instrument have closed before them in the batch."""

    def __init__(self, engine: Engine, series: Series, closed: pl.DataFrame, forming: pl.DataFrame) -> None:
        self._engine, self._series = engine, series
        ends = _place(closed)
        first = np.searchsorted(ends, forming.get_column("row").to_numpy() << _OFFSET_BITS)
        self._count = np.searchsorted(ends, _place(forming), side="right") - first
        self._bars = engine.columns(forming)
        self._forming = engine.identified(forming)
        self._event_ns = forming.get_column("last_ns").to_numpy()
        self._seen_ns = forming.get_column("timestamp_ms").to_numpy() * 1_000_000

    def after(self, count: int) -> list[Raised]:
        """Let the watcher look at the bars that form after so many have closed."""
        which = np.flatnonzero(self._count == count)
        watcher, series = self._engine.watcher, self._series
        if not len(which) or watcher is None:
            return []
        bars = self._bars.take(which)
        series.mark_first(bars)
        values = series.peek(bars, watcher.needs.get(series.interval, frozenset()))
        fired = watcher.on_tick(series.interval, bars, values, self._event_ns[which], self._seen_ns[which])
        return _raised(self._forming, [(int(which[one.at]), one.alert) for one in fired])


def _place(bars: pl.DataFrame) -> Ints:
    """Return one number that sorts by instrument and offset."""
    row: Ints = bars.get_column("row").to_numpy()
    offset: Ints = bars.get_column("offset").to_numpy()
    return (row << _OFFSET_BITS) + offset


def _raised(bars: pl.DataFrame, fired: Sequence[tuple[int, Alert]]) -> list[Raised]:
    return [Raised(bars.item(at, "partition"), bars.item(at, "offset"), alert) for at, alert in fired]


def _in_order(bars: pl.DataFrame) -> pl.DataFrame:
    """Sort by the record that made them: an instrument's intervals end with the longest."""
    length = (pl.col("ts_close_ns") - pl.col("ts_open_ns")).alias("length")
    keys = ["partition", "offset", "ts_close_ns", "length", "instrument_id"]
    revision = ["revision"] if "revision" in bars.columns else []
    return bars.with_columns(length).sort(*keys, *revision).drop("length")


def _by_record(raised: Raised) -> tuple[int, int]:
    return raised.partition, raised.offset


def _floats(bars: pl.DataFrame, name: str) -> Floats:
    # the nearest double to each decimal: the whole number first, as a cast of decimals may be off by one bit
    return bars.get_column(name).to_physical().cast(pl.Float64).to_numpy() / 1e9


_AS_BARS: Final = [
    pl.col("row"),
    pl.col("start_ns").alias("first_ns"),
    pl.col("start_ns").alias("last_ns"),
    *(pl.col(name) for name in ("open", "high", "low", "close", "volume", "notional")),
    pl.col("volume").is_not_null().cast(pl.Int64).alias("sized"),
    *(pl.col(name) for name in ("count", "recv_ns", "timestamp_ms")),
]
_NONE_NAMED: Final = NONE_CLOSED.with_columns(
    *(pl.lit(None, dtype=pl.Int64).alias(name) for name in ("ts_open_ns", "ts_close_ns", "session")),
    interval=pl.lit(None, dtype=pl.String),
    built=pl.lit(value=True),
)
_NONE_IDENTIFIED: Final = _NONE_NAMED.with_columns(
    pl.lit(None, dtype=pl.Int64).alias("partition"),
    *(pl.lit(None, dtype=pl.String).alias(name) for name in ("instrument_id", "symbol")),
)
_NO_BARS: Final = bar_records(_NONE_IDENTIFIED, "")
_NO_INDICATORS: Final = indicator_records(_NONE_IDENTIFIED, pl.DataFrame())
_NO_REFUSED: Final = REFUSED.to_frame()
