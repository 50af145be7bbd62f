"""The history of a topic in the lake: the newest segments at first, older ones when they are asked for."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import polars as pl

from tickerlake import clock
from tickerlake.dashboard.market.decode import (
    bars_of,
    indicators_of,
    read_bars,
    read_indicators,
)
from tickerlake.dashboard.reading.topics import Kind
from tickerlake.errors import LakeError
from tickerlake.lake import ndjson, parquet
from tickerlake.lake.reader import partitions, read_meta, segments
from tickerlake.lake.segment import MEND
from tickerlake.lake.store.base import ObjectInfo, Store
from tickerlake.model.alert import Alert

_CACHED_ROWS: Final = 1_000_000
_SEARCH_S: Final = 3.0
_LIST_S: Final = 60.0
_READERS: Final = 4
_ALERT: Final = frozenset(Alert.__struct_fields__)


class LakeTopic:
    """One topic's segments.

    Parameters
    ----------
    store, topic
        The lake and the topic.
    kind
        What its records are.
    """

    def __init__(self, store: Store, topic: str, kind: Kind) -> None:
        self.topic = topic
        self.kind = kind
        self._store = store
        self._infos: list[ObjectInfo] = []
        self._listed_s = 0.0
        self._lock = threading.Lock()
        self._decoded: OrderedDict[str, pl.DataFrame] = OrderedDict()
        self._at_first: set[str] = set()
        # the first opening in each segment that was read
        self._firsts: dict[str, int] = {}

    def newest(self, most: int) -> tuple[list[ObjectInfo], dict[int, int]]:
        """Choose the newest segments, such as hold about so many records.

        Returns
        -------
        segments, ends
            What to read, older before newer, and where each partition's chain ends.
        """
        ends: dict[int, int] = {}
        chosen: list[tuple[int, ObjectInfo]] = []
        chains = self._list()
        for number, chain in chains.items():
            left = most // len(chains)
            for age, info in enumerate(reversed(chain)):
                if left <= 0:
                    break
                meta = read_meta(self._store, info)
                ends.setdefault(number, meta.next_position)
                left -= meta.records
                if meta.records:
                    chosen.append((age, info))
        chosen.sort(key=lambda each: each[0], reverse=True)
        self._at_first = {info.key for _, info in chosen}
        return [info for _, info in chosen], ends

    def _list(self) -> dict[int, list[ObjectInfo]]:
        """List the segments of each partition, and remember them all, newest first."""
        numbers = partitions(self._store, self.topic)
        chains = {number: list(segments(self._store, self.topic, number)) for number in numbers}
        aged = [(age, info) for chain in chains.values() for age, info in enumerate(reversed(chain))]
        with self._lock:
            self._infos = [info for _, info in sorted(aged, key=lambda each: each[0])]
            self._listed_s = clock.monotonic_s()
        return chains

    def read(self, infos: list[ObjectInfo]) -> Iterator[Any]:
        """Read segments in order, a few at a time: a frame each, or alerts.

        Raises
        ------
        LakeError
            If one is damaged.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            yield from pool.map(self._read, infos)

    def older(
        self, instrument: str, interval: str, end_ns: int | None, limit: int, *, all_: bool
    ) -> tuple[pl.DataFrame, bool]:
        """Search the segments, newest first, for rows of an instrument that open before a time.

        Parameters
        ----------
        all_
            False to leave out those that were read at first: their rows are in memory.

        Returns
        -------
        frame, more
            Rows in no order, about ``limit`` at most, and whether there may be more: so, too, if the
            search took too long.
        """
        found: list[pl.DataFrame] = []
        rows = 0
        until_s = clock.monotonic_s() + _SEARCH_S
        if clock.monotonic_s() > self._listed_s + _LIST_S:
            self._list()
        wanted = (pl.col("instrument") == instrument) & (pl.col("interval") == interval)
        if end_ns is not None:
            wanted &= pl.col("open_ns") < end_ns
        for info in self._infos:
            if info.key in self._at_first and not all_:
                continue
            first = self._firsts.get(info.key)
            if first is not None and end_ns is not None and first >= end_ns:
                continue
            if rows >= limit or clock.monotonic_s() > until_s:
                return _joined(found), True
            mine = self._cached(info).filter(wanted)
            rows += mine.height
            if mine.height:
                found.append(mine)
        return _joined(found), False

    def _cached(self, info: ObjectInfo) -> pl.DataFrame:
        with self._lock:
            if info.key in self._decoded:
                self._decoded.move_to_end(info.key)
                return self._decoded[info.key]
        frame: pl.DataFrame = self._read(info)
        with self._lock:
            self._decoded[info.key] = frame
            while (
                sum(each.height for each in self._decoded.values()) > _CACHED_ROWS and len(self._decoded) > 1
            ):
                self._decoded.popitem(last=False)
        return frame

    def _read(self, info: ObjectInfo) -> Any:
        data = self._store.read(info.key)
        if self.kind == "alerts":
            return _alerts(data, info.key)
        if info.key.endswith(".parquet"):
            rows, _ = parquet.unpack(data, info.key)
            frame = _typed(rows, self.kind)
        else:
            frame = (read_bars if self.kind == "bars" else read_indicators)(_lines(data, info.key))
        self._firsts[info.key] = frame.select(pl.col("open_ns").min()).item() or 0
        return frame


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def _lines(data: bytes, key: str) -> pl.Series:
    text = ndjson.unpack(data, key) if key.endswith(".gz") else data
    try:
        # not `splitlines`: a JSON string may hold other line ends
        return pl.Series([line for line in text.decode().split("\n") if line], dtype=pl.String)
    except UnicodeDecodeError as error:
        raise LakeError(f"{key} is damaged: {error}.", MEND) from error


def _typed(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Return bars or indicators of rows of Parquet; none if their columns are not those of the kind."""
    try:
        return (bars_of if kind == "bars" else indicators_of)(rows)
    except (pl.exceptions.PolarsError, KeyError):
        return read_bars(pl.Series([], dtype=pl.String)) if kind == "bars" else read_indicators(_NO_LINES)


_NO_LINES: Final = pl.Series([], dtype=pl.String)


def _alerts(data: bytes, key: str) -> list[Alert]:
    if key.endswith(".parquet"):
        rows, _ = parquet.unpack(data, key)
        made = rows.select(name for name in rows.columns if name in _ALERT).iter_rows(named=True)
        found = [{name: value for name, value in row.items() if value is not None} for row in made]
    else:
        found = [msgspec.json.decode(line) for line in _lines(data, key)]
    alerts = []
    for fields in found:
        try:
            alerts.append(msgspec.convert(fields, Alert, strict=False))
        except msgspec.ValidationError:
            continue  # a record of somebody else's
    return alerts
