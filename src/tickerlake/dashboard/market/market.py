"""All that the page shows of instruments: fed with batches, asked for rows, bars, indicators and alerts."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
import polars as pl

from tickerlake.analytics.bars import Floats, Ints
from tickerlake.analytics.sessions import Sessions, SessionsByRow
from tickerlake.dashboard.market.alerts import Alerts
from tickerlake.dashboard.market.forming import Forming
from tickerlake.dashboard.market.latest import POINTS, Latest
from tickerlake.dashboard.market.names import Names
from tickerlake.dashboard.market.series import Series, newest
from tickerlake.dashboard.market.ticks import MINUTE_NS, Folded
from tickerlake.model.alert import Alert
from tickerlake.model.interval import DAY_NS, length_ns

Chart = tuple[int, str]
"""An instrument's number and an interval."""

DAILY: Final = "1d"
_PRICES: Final = ("open", "high", "low", "close", "volume")
_EVENTS: Final = 1_000
_NEVER: Final = np.iinfo(np.int64).min
_LONG_NS: Final = {"mo": 30 * DAY_NS, "y": 365 * DAY_NS}


class Market:
    """What is known of the market. Every method may be called from any thread.

    Parameters
    ----------
    sessions
        The sessions of a market, by its ISO 10383 code.
    most_bars, most_indicators
        How many rows of history are kept in memory.

    Attributes
    ----------
    ready
        How many instruments can be shown.
    """

    def __init__(
        self,
        sessions: Callable[[str], Sessions],
        most_bars: int = 2_000_000,
        most_indicators: int = 1_000_000,
    ) -> None:
        self.lock = threading.RLock()
        self.names = Names()
        self.latest = Latest()
        self.alerts = Alerts()
        self.has_trades = False
        self.ready = 0
        self.most_bars, self.most_indicators = most_bars, most_indicators
        self._sessions = sessions
        self._zones: dict[str, str] = {}
        self._bars = Series(most_bars)
        self._indicators = Series(most_indicators)
        self._forming: dict[str, Forming] = {DAILY: Forming()}
        # the opening of the last closed bar of each instrument, by interval
        self._closed: dict[str, Ints] = {}
        self._traded = np.empty(0, dtype=np.bool_)
        # up to here an instrument's session was built of bars, not of trades
        self._from_ns: Ints = np.empty(0, dtype=np.int64)
        self._finest_ns: Ints = np.empty(0, dtype=np.int64)
        self._sessions_by_row = SessionsByRow(sessions)
        self._watched: dict[Chart, int] = {}
        self._events: dict[Chart, deque[tuple[int, dict[str, Any]]]] = {}

    # what comes in

    def take_trades(self, folded: Folded) -> None:
        """Take trades: they move last prices, the sessions and the forming bars."""
        with self.lock:
            ids = self._numbers(folded.instruments)
        self._load_sessions()
        with self.lock:
            known = ids >= 0
            self.has_trades |= bool(known.any())
            for part in _passes(ids, known):
                self._trade(ids[part], folded.last_ns[part], folded.prices[:, part])

    def take_bars(self, bars: pl.DataFrame) -> None:
        """Take closed bars (columns `decode.BARS`), older ones before newer ones."""
        with self.lock:
            bars = self._with_ids(bars)
            for interval in sorted(bars.get_column("interval").unique(), key=order_ns):
                self._know(interval)
            for (interval,), mine in bars.partition_by("interval", as_dict=True, maintain_order=True).items():
                self._take_interval(str(interval), mine.drop("interval"))

    def take_indicators(self, values: pl.DataFrame) -> None:
        """Take the values of closed bars (columns of `decode.read_indicators`)."""
        with self.lock:
            values = self._with_ids(values)
            for (interval,), mine in values.partition_by(
                "interval", as_dict=True, maintain_order=True
            ).items():
                rows = mine.drop("interval")
                rows = rows[
                    [name for name in rows.columns if rows.get_column(name).null_count() < rows.height]
                ]
                self._indicators.add(str(interval), rows)
                self._tell(str(interval), rows, _values_event)

    def take_alerts(self, alerts: Iterable[Alert]) -> None:
        """Take alerts, oldest first."""
        with self.lock:
            for alert in alerts:
                (number,) = self._numbers([alert.instrument_id]).tolist()
                self.alerts.add(alert, number)

    def prepare(self) -> None:
        """Load what is to be known of new markets before their instruments are shown; may take seconds."""
        self.ready = self._load_sessions()

    def _load_sessions(self) -> int:
        """Load the sessions of new markets, without the lock; return how many instruments they cover."""
        with self.lock:
            markets = list(self.names.markets)
        self._zones |= {name: self._sessions(name).zone for name in {*markets} - self._zones.keys()}
        return len(markets)

    # what is asked

    def zone(self, market: str) -> str:
        """Return the time zone of a market that `prepare` has seen, as IANA names it."""
        return self._zones[market]

    def intervals(self) -> list[str]:
        """Return the intervals of which there are bars, shortest first."""
        with self.lock:
            return sorted({*self._bars.intervals(), *self._closed}, key=order_ns)

    def intervals_of(self, number: int) -> list[str]:
        """Return the intervals of which an instrument has bars, shortest first."""
        with self.lock:
            found = {name for name, opens in self._closed.items() if opens[number] != _NEVER}
            found |= {name for name, forming in self._forming.items() if forming.bucket[0, number] != _NEVER}
            return sorted(found, key=order_ns)

    def indicators(self) -> list[str]:
        """Return the names of all indicators that there are values of."""
        with self.lock:
            frames = [
                frame for name in self._indicators.intervals() for frame in self._indicators.frames(name)
            ]
        return sorted({name for frame in frames for name in frame.columns} - {"id", "open_ns"})

    def bars(self, chart: Chart, end_ns: int | None, limit: int) -> tuple[pl.DataFrame, bool]:
        """Return the closed bars of an instrument that open before a time, ascending.

        Returns
        -------
        frame, more
            Columns open_ns, open, high, low, close, volume; and whether older ones had to be dropped.
        """
        number, interval = chart
        with self.lock:
            frames, full = self._bars.frames(interval), self._bars.is_full(interval)
        rows = newest(frames, number, end_ns, limit)
        if not rows.width:
            rows = pl.DataFrame(schema=_ROWS)
        return rows.select(_ROWS.names()), full

    def values(self, chart: Chart, end_ns: int | None, limit: int) -> tuple[pl.DataFrame, bool]:
        """Return the indicators of an instrument's bars, as `bars` does: open_ns and a column for each."""
        number, interval = chart
        with self.lock:
            frames, full = self._indicators.frames(interval), self._indicators.is_full(interval)
        rows = newest(frames, number, end_ns, limit)
        if not rows.width:
            rows = pl.DataFrame(schema={"open_ns": pl.Int64})
        return rows.drop("id", strict=False), full

    def forming(self, chart: Chart) -> list[list[float]]:
        """Return the bars that are not closed: open_ms, open, high, low, close, volume; oldest first."""
        number, interval = chart
        with self.lock:
            forming = self._forming.get(interval)
            if forming is None:
                return []
            closed_ns = self._closed[interval][number] if interval in self._closed else _NEVER
            length = length_ns(interval)
            after = closed_ns // length if closed_ns != _NEVER else _NEVER
            return [
                [bucket * length / 1e6, *prices.tolist()] for bucket, prices in forming.of(number, int(after))
            ]

    def watch(self, chart: Chart) -> None:
        """Keep what closes of a chart for `events`, until `unwatch`."""
        with self.lock:
            self._watched[chart] = self._watched.get(chart, 0) + 1
            self._events.setdefault(chart, deque(maxlen=_EVENTS))

    def unwatch(self, chart: Chart) -> None:
        """Undo one `watch`."""
        with self.lock:
            self._watched[chart] -= 1
            if not self._watched[chart]:
                del self._watched[chart], self._events[chart]

    def events(self, chart: Chart, after: int) -> list[dict[str, Any]]:
        """Return what has closed of a watched chart since a tick, as messages."""
        with self.lock:
            return [event for tick, event in self._events.get(chart, ()) if tick > after]

    # how it is kept

    def _numbers(self, names: Iterable[str]) -> Ints:
        """Return the numbers of instruments, and make room for new ones."""
        numbers = self.names.numbers(names)
        if len(self.names) > len(self._traded):
            self._grow(max(256, 2 * len(self.names)))
        return numbers

    def _grow(self, size: int) -> None:
        more = size - len(self._traded)
        self.latest.grow(size)
        self._traded = np.concatenate([self._traded, np.zeros(more, dtype=np.bool_)])
        self._from_ns = np.concatenate([self._from_ns, np.full(more, _NEVER)])
        self._finest_ns = np.concatenate([self._finest_ns, np.full(more, np.iinfo(np.int64).max)])
        for name, opens in self._closed.items():
            self._closed[name] = np.concatenate([opens, np.full(more, _NEVER)])
        for forming in self._forming.values():
            forming.grow(size)

    def _with_ids(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Replace instruments by their numbers; rows of none are left out."""
        names = frame.get_column("instrument").unique(maintain_order=True)
        known = pl.DataFrame({"instrument": names, "id": self._numbers(names.to_list())})
        joined = frame.join(known, on="instrument", how="left", maintain_order="left")
        return joined.filter(pl.col("id") >= 0).drop("instrument")

    def _take_interval(self, interval: str, bars: pl.DataFrame) -> None:
        ids = _ints(bars, "id")
        if not len(ids):
            return
        np.maximum.at(self._closed[interval], ids, _ints(bars, "open_ns"))
        length = order_ns(interval)
        self._finest_ns[ids] = np.minimum(self._finest_ns[ids], length)
        rows = bars.select("id", *_ROWS.names(), "revision")
        self._bars.add(interval, rows)
        self._tell(interval, rows, _bar_event)
        if interval == DAILY:
            self._daily(bars)
        finest = bars.filter(pl.Series(self._finest_ns[ids] == length))
        if finest.height:
            self._sparkle(finest)
            self._session(finest, intraday=interval != DAILY)

    def _know(self, interval: str) -> None:
        """Begin to keep an interval; its forming bars begin with what is known of shorter ones."""
        if interval in self._closed:
            return
        size = len(self._traded)
        self._closed[interval] = np.full(size, _NEVER)
        if interval[-1] not in "smh" or length_ns(interval) % MINUTE_NS or interval in self._forming:
            return
        forming = self._forming[interval] = Forming()
        forming.grow(size)
        shorter = [name for name in self._forming if name != DAILY and length_ns(name) < length_ns(interval)]
        if shorter:
            finest = min(shorter, key=length_ns)
            for bucket, prices in self._forming[finest].oldest_first():
                ids = np.flatnonzero(bucket != _NEVER)
                forming.add(ids, bucket[ids] * length_ns(finest) // length_ns(interval), prices[:, ids])

    def _daily(self, bars: pl.DataFrame) -> None:
        last = bars.group_by("id", maintain_order=True).tail(20)
        ids, session = _ints(last, "id"), _ints(last, "session")
        volume = last.get_column("volume").fill_null(float("nan")).to_numpy()
        for part in _passes(ids):
            self.latest.add_daily(ids[part], session[part], volume[part])

    def _sparkle(self, bars: pl.DataFrame) -> None:
        last = bars.filter(pl.col("revision") == 0).group_by("id", maintain_order=True).tail(POINTS)
        ids, close = _ints(last, "id"), last.get_column("close").to_numpy()
        for part in _passes(ids):
            self.latest.add_close(ids[part], close[part])

    def _session(self, bars: pl.DataFrame, *, intraday: bool) -> None:
        """Let bars move what trades do not move, as there are none yet."""
        ids = _ints(bars, "id")
        untraded = bars.filter(pl.Series(~self._traded[ids]) & (pl.col("revision") == 0))
        if not untraded.height:
            return
        ends = untraded.group_by("id").agg(pl.col("close_ns").max())
        self._from_ns[_ints(ends, "id")] = _ints(ends, "close_ns")
        for ids, session, last_ns, prices in _parts(untraded, pl.col("session")):
            self.latest.add(ids, session, last_ns, prices)
        if not intraday:
            return
        for interval, forming in self._forming.items():
            bucket = pl.col("session" if interval == DAILY else "open_ns")
            length = 1 if interval == DAILY else length_ns(interval)
            for ids, number, _, prices in _parts(untraded, bucket // length):
                forming.add(ids, number, prices)

    def _trade(self, ids: Ints, last_ns: Ints, prices: Floats) -> None:
        self._traded[ids] = True
        late = last_ns < self._from_ns[ids]
        if late.any():
            ids, last_ns, prices = ids[~late], last_ns[~late], prices[:, ~late]
        self._sessions_by_row.add(self.names.markets[len(self._sessions_by_row) :])
        session = self._sessions_by_row.lookup(ids, last_ns)[0]
        self.latest.add(ids, session, last_ns, prices)
        for interval, forming in self._forming.items():
            bucket = session if interval == DAILY else last_ns // length_ns(interval)
            forming.add(ids, bucket, prices)

    def _tell(
        self, interval: str, rows: pl.DataFrame, message: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        watched = [number for number, name in self._watched if name == interval]
        if not watched:
            return
        mine = rows.filter(pl.col("id").is_in(watched))
        if mine.height:
            self.latest.tick += 1
        for row in mine.iter_rows(named=True):
            event = {"id": row["id"], "interval": interval, **message(row)}
            self._events[row["id"], interval].append((self.latest.tick, event))


_ROWS: Final = pl.Schema({"open_ns": pl.Int64, **dict.fromkeys(_PRICES, pl.Float64)})


def order_ns(interval: str) -> int:
    """Return a length by which intervals sort: that of a month or year is a usual one."""
    for unit, length in _LONG_NS.items():
        if interval.endswith(unit):
            return int(interval.removesuffix(unit)) * length
    return length_ns(interval)


def _parts(bars: pl.DataFrame, number: pl.Expr) -> Iterator[tuple[Ints, Ints, Ints, Floats]]:
    """Merge bars, in order, that belong to the same longer bar or session; yield the last two of each.

    Yields
    ------
    ids, numbers, last_ns, prices
        Instruments, none twice, the numbers of their longer bars, the ends, and the prices (5, k).
    """
    merged = (
        bars.group_by("id", number.alias("number"), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.col("close_ns").max(),
        )
        .group_by("id", maintain_order=True)
        .tail(2)
    )
    ids, numbers, last_ns = (_ints(merged, name) for name in ("id", "number", "close_ns"))
    prices = merged.select(_PRICES).to_numpy().T
    for part in _passes(ids):
        yield ids[part], numbers[part], last_ns[part], prices[:, part]


def _passes(ids: Ints, wanted: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None) -> Iterator[Ints]:
    """Yield places such that no instrument is there twice, and each one's rows keep their order."""
    places = np.arange(len(ids)) if wanted is None else np.flatnonzero(wanted)
    while len(places):
        _, first = np.unique(ids[places], return_index=True)
        yield places[first]
        if len(first) == len(places):
            return
        rest = np.ones(len(places), dtype=np.bool_)
        rest[first] = False
        places = places[rest]


def _bar_event(row: dict[str, Any]) -> dict[str, Any]:
    return {"t": "bar", "bar": [row["open_ns"] / 1e6, *(row[name] for name in _PRICES)], "final": True}


def _values_event(row: dict[str, Any]) -> dict[str, Any]:
    values = {
        name: value for name, value in row.items() if name not in {"id", "open_ns"} and value is not None
    }
    return {"t": "values", "ms": row["open_ns"] / 1e6, "values": values}


def _ints(frame: pl.DataFrame, name: str) -> Ints:
    return frame.get_column(name).cast(pl.Int64).to_numpy()
