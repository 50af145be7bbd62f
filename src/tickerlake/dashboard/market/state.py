"""The state of the market: updated by batches, queried for latest values, bars, indicators and alerts."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import polars as pl

from tickerlake.analytics.bar_times import Alignment, BarTimes
from tickerlake.analytics.bars import Floats, Ints
from tickerlake.analytics.sessions import InstrumentSessions, Sessions
from tickerlake.dashboard.market.alerts import AlertBuffer
from tickerlake.dashboard.market.forming import NO_BUCKET, FormingBars
from tickerlake.dashboard.market.instruments import InstrumentIndex
from tickerlake.dashboard.market.latest import AVERAGE_SESSIONS, SPARKLINE_POINTS, LatestValues
from tickerlake.dashboard.market.row_history import RowHistory, newest_rows
from tickerlake.dashboard.market.trades import MINUTE_NS, AggregatedTrades
from tickerlake.model.alert import Alert
from tickerlake.model.duration import DAY_NS
from tickerlake.model.interval import interval_ns

ChartKey = tuple[int, str]
"""An instrument's number and an interval."""

MAX_BARS: Final = 2_000_000
MAX_INDICATORS: Final = 1_000_000
"""120 MB each, at about 60 and 120 bytes per row; 2,000,000 bars are a year of 1m bars of 20 instruments."""
DAILY: Final = "1d"
_PRICES: Final = ("open", "high", "low", "close", "volume")
_BAR_COLUMNS: Final = pl.Schema({"open_ns": pl.Int64, **dict.fromkeys(_PRICES, pl.Float64)})
_MAX_EVENTS: Final = 1_000
"""Per chart: far more than can close between two frames of a client."""
_NEVER: Final = np.iinfo(np.int64).min
_NOMINAL_NS: Final = {"mo": 30 * DAY_NS, "y": 365 * DAY_NS}


class MarketState:
    """The state of the market in memory. All methods are thread-safe.

    Parameters
    ----------
    sessions
        Returns the sessions of a market by its ISO 10383 code.
    max_bars, max_indicators
        Rows of history in memory.

    Attributes
    ----------
    ready_count
        Number of instruments that can be shown.
    """

    def __init__(
        self,
        sessions: Callable[[str], Sessions],
        max_bars: int = MAX_BARS,
        max_indicators: int = MAX_INDICATORS,
    ) -> None:
        self.lock = threading.RLock()
        self.instruments = InstrumentIndex()
        self.latest = LatestValues()
        self.alerts = AlertBuffer()
        self.has_trades = False
        self.ready_count = 0
        self.max_bars, self.max_indicators = max_bars, max_indicators
        self._sessions = sessions
        self._zones: dict[str, str] = {}
        self._bars = RowHistory(max_bars)
        self._indicators = RowHistory(max_indicators)
        self._forming: dict[str, FormingBars] = {DAILY: FormingBars()}
        self._sessions_by_row = InstrumentSessions(sessions)
        self._times = {DAILY: BarTimes(DAILY, self._sessions_by_row)}
        # the opening time of the last closed bar of each instrument, by interval
        self._last_closed_ns: dict[str, Ints] = {}
        self._has_traded = np.empty(0, dtype=np.bool_)
        # up to this time an instrument's session was built from bars, not from trades
        self._bars_end_ns: Ints = np.empty(0, dtype=np.int64)
        self._finest_interval_ns: Ints = np.empty(0, dtype=np.int64)
        self._watchers: dict[ChartKey, int] = {}
        self._events: dict[ChartKey, deque[tuple[int, dict[str, Any]]]] = {}

    # updates

    def add_trades(self, trades: AggregatedTrades) -> None:
        """Add trades: they update last prices, sessions and forming bars."""
        with self.lock:
            ids = self._numbers(trades.instruments)
        self._load_sessions()
        with self.lock:
            is_valid = ids >= 0
            self.has_trades |= bool(is_valid.any())
            for part in _unique_passes(ids, is_valid):
                self._add_trades(ids[part], trades.last_ns[part], trades.prices[:, part])

    def add_bars(self, bars: pl.DataFrame) -> None:
        """Add closed bars (`decode.BAR_SCHEMA`), oldest first."""
        with self.lock:
            bars = self._with_ids(bars)
        self._load_sessions()
        with self.lock:
            self._add_sessions()
            for interval in sorted(bars.get_column("interval").unique(), key=nominal_length_ns):
                self._add_interval(interval)
            for (interval,), interval_bars in bars.partition_by(
                "interval", as_dict=True, maintain_order=True
            ).items():
                self._add_interval_bars(str(interval), interval_bars.drop("interval"))

    def add_indicators(self, values: pl.DataFrame) -> None:
        """Add the indicators of closed bars (columns of `decode.decode_indicators`)."""
        with self.lock:
            values = self._with_ids(values)
            for (interval,), interval_values in values.partition_by(
                "interval", as_dict=True, maintain_order=True
            ).items():
                rows = interval_values.drop("interval")
                rows = rows[
                    [name for name in rows.columns if rows.get_column(name).null_count() < rows.height]
                ]
                self._indicators.add(str(interval), rows)
                self._append_events(str(interval), rows, _values_event)

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        """Add alerts, oldest first."""
        with self.lock:
            for alert in alerts:
                (number,) = self._numbers([alert.instrument_id]).tolist()
                self.alerts.add(alert, number)

    def prepare(self) -> None:
        """Load the sessions of new markets, so that their instruments can be shown; may take seconds."""
        self.ready_count = self._load_sessions()

    def _load_sessions(self) -> int:
        """Load the sessions of new markets without the lock; return how many instruments they cover."""
        with self.lock:
            markets = list(self.instruments.markets)
        self._zones |= {name: self._sessions(name).zone for name in {*markets} - self._zones.keys()}
        return len(markets)

    # queries

    def zone(self, market: str) -> str:
        """Return the IANA time zone of a market whose sessions `prepare` has loaded."""
        return self._zones[market]

    def intervals(self) -> list[str]:
        """Return the intervals that have bars, shortest first."""
        with self.lock:
            return sorted({*self._bars.intervals(), *self._last_closed_ns}, key=nominal_length_ns)

    def intervals_of(self, number: int) -> list[str]:
        """Return the intervals in which an instrument has bars, shortest first."""
        with self.lock:
            intervals = {name for name, opens in self._last_closed_ns.items() if opens[number] != _NEVER}
            intervals |= {
                name for name, forming in self._forming.items() if forming.buckets[0, number] != NO_BUCKET
            }
            return sorted(intervals, key=nominal_length_ns)

    def indicators(self) -> list[str]:
        """Return the names of all indicators."""
        with self.lock:
            frames = [
                frame for name in self._indicators.intervals() for frame in self._indicators.frames(name)
            ]
        return sorted({name for frame in frames for name in frame.columns} - {"id", "open_ns"})

    def bars(self, chart: ChartKey, end_ns: int | None, limit: int) -> tuple[pl.DataFrame, bool]:
        """Return the last closed bars of an instrument that open before a time, oldest first.

        Returns
        -------
        frame, dropped
            Columns open_ns, open, high, low, close, volume; and whether older rows were dropped.
        """
        number, interval = chart
        with self.lock:
            frames, dropped = self._bars.frames(interval), self._bars.has_dropped_rows(interval)
        rows = newest_rows(frames, number, end_ns, limit)
        if not rows.width:
            rows = pl.DataFrame(schema=_BAR_COLUMNS)
        return rows.select(_BAR_COLUMNS.names()), dropped

    def indicator_values(self, chart: ChartKey, end_ns: int | None, limit: int) -> tuple[pl.DataFrame, bool]:
        """Return the indicators of an instrument's bars as `bars` does: open_ns and one column each."""
        number, interval = chart
        with self.lock:
            frames, dropped = self._indicators.frames(interval), self._indicators.has_dropped_rows(interval)
        rows = newest_rows(frames, number, end_ns, limit)
        if not rows.width:
            rows = pl.DataFrame(schema={"open_ns": pl.Int64})
        return rows.drop("id", strict=False), dropped

    def forming_bars(self, chart: ChartKey) -> list[list[float | None]]:
        """Return the forming bars of an instrument: open_ms, open, high, low, close, volume; oldest first.

        Prices that are not known are None.
        """
        number, interval = chart
        with self.lock:
            forming = self._forming.get(interval)
            if forming is None:
                return []
            closed_ns = self._last_closed_ns[interval][number] if interval in self._last_closed_ns else _NEVER
            self._add_sessions()
            times, row = self._times[interval], np.array([number])
            after = _NEVER if closed_ns == _NEVER else int(times.bucket_of(row, np.array([closed_ns]))[0])
            return [
                [
                    int(times.boundaries(row, np.array([bucket]))[0][0]) / 1e6,
                    *(None if price != price else price for price in prices.tolist()),  # noqa: PLR0124
                ]
                for bucket, prices in forming.bars_after(number, after)
            ]

    def watch(self, chart: ChartKey) -> None:
        """Collect what closes in a chart for `events`, until `unwatch`."""
        with self.lock:
            self._watchers[chart] = self._watchers.get(chart, 0) + 1
            self._events.setdefault(chart, deque(maxlen=_MAX_EVENTS))

    def unwatch(self, chart: ChartKey) -> None:
        """Undo one `watch`."""
        with self.lock:
            self._watchers[chart] -= 1
            if not self._watchers[chart]:
                del self._watchers[chart], self._events[chart]

    def events(self, chart: ChartKey, after: int) -> list[dict[str, Any]]:
        """Return what has closed in a watched chart since a tick, as messages."""
        with self.lock:
            return [event for tick, event in self._events.get(chart, ()) if tick > after]

    # internals

    def _numbers(self, names: Iterable[str]) -> Ints:
        """Return the numbers of instruments, and extend the columns for new ones."""
        numbers = self.instruments.numbers(names)
        if len(self.instruments) > len(self._has_traded):
            self._grow(max(256, 2 * len(self.instruments)))
        return numbers

    def _grow(self, size: int) -> None:
        more = size - len(self._has_traded)
        self.latest.grow(size)
        self._has_traded = np.concatenate([self._has_traded, np.zeros(more, dtype=np.bool_)])
        self._bars_end_ns = np.concatenate([self._bars_end_ns, np.full(more, _NEVER)])
        self._finest_interval_ns = np.concatenate(
            [self._finest_interval_ns, np.full(more, np.iinfo(np.int64).max)]
        )
        for name, opens in self._last_closed_ns.items():
            self._last_closed_ns[name] = np.concatenate([opens, np.full(more, _NEVER)])
        for forming in self._forming.values():
            forming.grow(size)

    def _with_ids(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Replace instruments by their numbers; rows with an invalid instrument are skipped."""
        names = frame.get_column("instrument").unique(maintain_order=True)
        numbers = pl.DataFrame({"instrument": names, "id": self._numbers(names.to_list())})
        joined = frame.join(numbers, on="instrument", how="left", maintain_order="left")
        return joined.filter(pl.col("id") >= 0).drop("instrument")

    def _add_interval_bars(self, interval: str, bars: pl.DataFrame) -> None:
        ids = _ints(bars, "id")
        if not len(ids):
            return
        np.maximum.at(self._last_closed_ns[interval], ids, _ints(bars, "open_ns"))
        self._follow_alignment(interval, ids[-1:], _ints(bars, "open_ns")[-1:])
        length = nominal_length_ns(interval)
        self._finest_interval_ns[ids] = np.minimum(self._finest_interval_ns[ids], length)
        rows = bars.select("id", *_BAR_COLUMNS.names(), "revision")
        self._bars.add(interval, rows)
        self._append_events(interval, rows, _bar_event)
        if interval == DAILY:
            self._add_daily_volumes(bars)
        finest = bars.filter(pl.Series(self._finest_interval_ns[ids] == length))
        if finest.height:
            self._add_sparklines(finest)
            self._add_session_bars(finest, intraday=interval != DAILY)

    def _add_interval(self, interval: str) -> None:
        """Add an interval; its forming bars are initialized from those of a shorter interval."""
        if interval in self._last_closed_ns:
            return
        self._last_closed_ns[interval] = np.full(len(self._has_traded), _NEVER)
        if interval[-1] not in "smh" or interval_ns(interval) % MINUTE_NS or interval in self._forming:
            return
        self._start_forming(interval)
        forming, times = self._forming[interval], self._times[interval]
        shorter = [
            name for name in self._forming if name != DAILY and interval_ns(name) < interval_ns(interval)
        ]
        if shorter:
            finest = min(shorter, key=interval_ns)
            for bucket, prices in self._forming[finest].oldest_first():
                ids = np.flatnonzero(bucket != NO_BUCKET)
                start_ns, _ = self._times[finest].boundaries(ids, bucket[ids])
                forming.add(ids, times.bucket(ids, start_ns), prices[:, ids])

    def _follow_alignment(self, interval: str, number: Ints, open_ns: Ints) -> None:
        """Align forming bars to UTC if closed bars are: the job that builds them decides."""
        times = self._times.get(interval)
        if times is None or interval == DAILY or times.align == "utc":
            return
        start_ns, _ = times.boundaries(number, times.bucket_of(number, open_ns))
        if start_ns[0] != open_ns[0] and open_ns[0] % times.length_ns == 0:
            self._start_forming(interval, align="utc")

    def _start_forming(self, interval: str, align: Alignment = "session") -> None:
        """Begin with the forming bars of an interval, without any."""
        self._times[interval] = BarTimes(interval, self._sessions_by_row, align=align)
        self._forming[interval] = FormingBars()
        self._forming[interval].grow(len(self._has_traded))

    def _add_daily_volumes(self, bars: pl.DataFrame) -> None:
        last = bars.group_by("id", maintain_order=True).tail(AVERAGE_SESSIONS)
        ids, session = _ints(last, "id"), _ints(last, "session")
        volume = last.get_column("volume").fill_null(float("nan")).to_numpy()
        for part in _unique_passes(ids):
            self.latest.add_daily_volume(ids[part], session[part], volume[part])

    def _add_sparklines(self, bars: pl.DataFrame) -> None:
        last = bars.filter(pl.col("revision") == 0).group_by("id", maintain_order=True).tail(SPARKLINE_POINTS)
        ids, close = _ints(last, "id"), last.get_column("close").to_numpy()
        for part in _unique_passes(ids):
            self.latest.add_close(ids[part], close[part])

    def _add_session_bars(self, bars: pl.DataFrame, *, intraday: bool) -> None:
        """Update the sessions and forming bars of instruments without trades from their bars."""
        ids = _ints(bars, "id")
        untraded = bars.filter(pl.Series(~self._has_traded[ids]) & (pl.col("revision") == 0))
        if not untraded.height:
            return
        ends = untraded.group_by("id").agg(pl.col("close_ns").max())
        self._bars_end_ns[_ints(ends, "id")] = _ints(ends, "close_ns")
        for ids, session, last_ns, prices in _merge_bars(untraded, pl.col("session")):
            self.latest.add(ids, session, last_ns, prices)
        if not intraday:
            return
        ids, open_ns, close_ns = (_ints(untraded, name) for name in ("id", "open_ns", "close_ns"))
        for interval, forming in self._forming.items():
            times = self._times[interval]
            numbered = untraded.with_columns(bucket=times.bucket(ids, times.entry_ns(ids, open_ns, close_ns)))
            enters = times.enters(ids, open_ns, close_ns)
            if enters is not None:
                numbered = numbered.filter(pl.Series(enters))
            for row, number, _, prices in _merge_bars(numbered, pl.col("bucket")):
                forming.add(row, number, prices)

    def _add_trades(self, ids: Ints, last_ns: Ints, prices: Floats) -> None:
        self._has_traded[ids] = True
        late = last_ns < self._bars_end_ns[ids]
        if late.any():
            ids, last_ns, prices = ids[~late], last_ns[~late], prices[:, ~late]
        self._add_sessions()
        session = self._sessions_by_row.lookup(ids, last_ns)[0]
        self.latest.add(ids, session, last_ns, prices)
        for interval, forming in self._forming.items():
            times = self._times[interval]
            enters = times.enters(ids, last_ns, last_ns)
            if enters is None:
                forming.add(ids, times.bucket(ids, last_ns), prices)
            else:
                forming.add(ids[enters], times.bucket(ids[enters], last_ns[enters]), prices[:, enters])

    def _add_sessions(self) -> None:
        """Give new instruments the sessions of their markets, which `_load_sessions` has loaded."""
        self._sessions_by_row.add(self.instruments.markets[len(self._sessions_by_row) :])

    def _append_events(
        self, interval: str, rows: pl.DataFrame, create_event: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        watched = [number for number, name in self._watchers if name == interval]
        if not watched:
            return
        watched_rows = rows.filter(pl.col("id").is_in(watched))
        if watched_rows.height:
            self.latest.tick += 1
        for row in watched_rows.iter_rows(named=True):
            event = {"id": row["id"], "interval": interval, **create_event(row)}
            self._events[row["id"], interval].append((self.latest.tick, event))


def nominal_length_ns(interval: str) -> int:
    """Return a length to sort intervals by; months have 30 days, years 365."""
    for unit, length in _NOMINAL_NS.items():
        if interval.endswith(unit):
            return int(interval.removesuffix(unit)) * length
    return interval_ns(interval)


def _merge_bars(bars: pl.DataFrame, bucket: pl.Expr) -> Iterator[tuple[Ints, Ints, Ints, Floats]]:
    """Merge consecutive bars of the same longer bar or session; yield the last two per instrument.

    Yields
    ------
    ids, numbers, last_ns, prices
        Distinct instruments, the numbers of the longer bars, their ends, and prices (5, k).
    """
    merged = (
        bars.group_by("id", bucket.alias("number"), maintain_order=True)
        .agg(
            # a part of which only the close is known leaves the range of the whole unknown
            pl.when(pl.col("high").is_not_null().all()).then(pl.col("open").first()),
            pl.when(pl.col("high").is_not_null().all()).then(pl.col("high").max()),
            pl.when(pl.col("high").is_not_null().all()).then(pl.col("low").min()),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("close_ns").max(),
        )
        .group_by("id", maintain_order=True)
        .tail(2)
    )
    ids, numbers, last_ns = (_ints(merged, name) for name in ("id", "number", "close_ns"))
    prices = merged.select(_PRICES).to_numpy().T
    for part in _unique_passes(ids):
        yield ids[part], numbers[part], last_ns[part], prices[:, part]


def _unique_passes(ids: Ints, mask: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None) -> Iterator[Ints]:
    """Yield row indices with distinct instruments each, in the order of an instrument's rows."""
    indices = np.arange(len(ids)) if mask is None else np.flatnonzero(mask)
    while len(indices):
        _, first = np.unique(ids[indices], return_index=True)
        yield indices[first]
        if len(first) == len(indices):
            return
        rest = np.ones(len(indices), dtype=np.bool_)
        rest[first] = False
        indices = indices[rest]


def _bar_event(row: dict[str, Any]) -> dict[str, Any]:
    return {"t": "bar", "bar": [row["open_ns"] / 1e6, *(row[name] for name in _PRICES)], "final": True}


def _values_event(row: dict[str, Any]) -> dict[str, Any]:
    values = {
        name: value for name, value in row.items() if name not in {"id", "open_ns"} and value is not None
    }
    return {"t": "values", "ms": row["open_ns"] / 1e6, "values": values}


def _ints(frame: pl.DataFrame, name: str) -> Ints:
    return frame.get_column(name).cast(pl.Int64).to_numpy()
