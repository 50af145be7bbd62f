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
    bars_from_fields,
    decode_bars,
    decode_indicators,
    indicators_from_fields,
)
from tickerlake.dashboard.reading.topics import RecordType
from tickerlake.errors import LakeError
from tickerlake.lake.formats import ndjson, parquet
from tickerlake.lake.reader import partitions, read_meta, segments
from tickerlake.lake.segment import REPAIR_HINT
from tickerlake.lake.store.base import ObjectInfo, Store
from tickerlake.model.alert import Alert

_MAX_CACHED_ROWS: Final = 1_000_000
_SEARCH_TIMEOUT_S: Final = 3.0
_LIST_INTERVAL_S: Final = 60.0
_READER_THREADS: Final = 4
_ALERT_FIELDS: Final = frozenset(Alert.__struct_fields__)


class LakeTopic:
    """One topic's segments.

    Parameters
    ----------
    store, topic
        The lake and the topic.
    kind
        What its records are.
    """

    def __init__(self, store: Store, topic: str, record_type: RecordType) -> None:
        self.topic = topic
        self.record_type = record_type
        self._store = store
        self._segments: list[ObjectInfo] = []
        self._listed_s = 0.0
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, pl.DataFrame] = OrderedDict()
        self._loaded_keys: set[str] = set()
        # the first opening in each segment that was read
        self._first_open_ns: dict[str, int] = {}

    def newest_segments(self, max_records: int) -> tuple[list[ObjectInfo], dict[int, int]]:
        """Choose the newest segments, such as hold about so many records.

        Returns
        -------
        segments, ends
            What to read, older before newer, and where each partition's chain ends.
        """
        ends: dict[int, int] = {}
        selected: list[tuple[int, ObjectInfo]] = []
        chains = self._list_segments()
        for number, chain in chains.items():
            remaining = max_records // len(chains)
            for age, info in enumerate(reversed(chain)):
                if remaining <= 0:
                    break
                meta = read_meta(self._store, info)
                ends.setdefault(number, meta.next_position)
                remaining -= meta.records
                if meta.records:
                    selected.append((age, info))
        selected.sort(key=lambda each: each[0], reverse=True)
        self._loaded_keys = {info.key for _, info in selected}
        return [info for _, info in selected], ends

    def _list_segments(self) -> dict[int, list[ObjectInfo]]:
        """List the segments of each partition, and remember them all, newest first."""
        numbers = partitions(self._store, self.topic)
        chains = {number: list(segments(self._store, self.topic, number)) for number in numbers}
        aged = [(age, info) for chain in chains.values() for age, info in enumerate(reversed(chain))]
        with self._lock:
            self._segments = [info for _, info in sorted(aged, key=lambda each: each[0])]
            self._listed_s = clock.monotonic_s()
        return chains

    def read(self, infos: list[ObjectInfo]) -> Iterator[Any]:
        """Read segments in order, a few at a time: a frame each, or alerts.

        Raises
        ------
        LakeError
            If one is damaged.
        """
        with ThreadPoolExecutor(_READER_THREADS) as pool:
            yield from pool.map(self._read_segment, infos)

    def older_rows(
        self, instrument: str, interval: str, end_ns: int | None, limit: int, *, include_loaded: bool
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
        matches: list[pl.DataFrame] = []
        rows = 0
        deadline_s = clock.monotonic_s() + _SEARCH_TIMEOUT_S
        if clock.monotonic_s() > self._listed_s + _LIST_INTERVAL_S:
            self._list_segments()
        condition = (pl.col("instrument") == instrument) & (pl.col("interval") == interval)
        if end_ns is not None:
            condition &= pl.col("open_ns") < end_ns
        for info in self._segments:
            if info.key in self._loaded_keys and not include_loaded:
                continue
            first = self._first_open_ns.get(info.key)
            if first is not None and end_ns is not None and first >= end_ns:
                continue
            if rows >= limit or clock.monotonic_s() > deadline_s:
                return _concat(matches), True
            matching = self._read_cached(info).filter(condition)
            rows += matching.height
            if matching.height:
                matches.append(matching)
        return _concat(matches), False

    def _read_cached(self, info: ObjectInfo) -> pl.DataFrame:
        with self._lock:
            if info.key in self._cache:
                self._cache.move_to_end(info.key)
                return self._cache[info.key]
        frame: pl.DataFrame = self._read_segment(info)
        with self._lock:
            self._cache[info.key] = frame
            while (
                sum(each.height for each in self._cache.values()) > _MAX_CACHED_ROWS and len(self._cache) > 1
            ):
                self._cache.popitem(last=False)
        return frame

    def _read_segment(self, info: ObjectInfo) -> Any:
        data = self._store.read(info.key)
        if self.record_type == "alerts":
            return _decode_alerts(data, info.key)
        if info.key.endswith(".parquet"):
            rows, _ = parquet.decode_rows(data, info.key)
            frame = _decode_rows(rows, self.record_type)
        else:
            frame = (decode_bars if self.record_type == "bars" else decode_indicators)(
                _decode_lines(data, info.key)
            )
        self._first_open_ns[info.key] = frame.select(pl.col("open_ns").min()).item() or 0
        return frame


def _concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def _decode_lines(data: bytes, key: str) -> pl.Series:
    text = ndjson.decode_rows(data, key) if key.endswith(".gz") else data
    try:
        # not `splitlines`: a JSON string may hold other line ends
        return pl.Series([line for line in text.decode().split("\n") if line], dtype=pl.String)
    except UnicodeDecodeError as error:
        raise LakeError(f"{key} is damaged: {error}.", REPAIR_HINT) from error


def _decode_rows(rows: pl.DataFrame, record_type: RecordType) -> pl.DataFrame:
    """Return bars or indicators of rows of Parquet; none if their columns are not those of the kind."""
    try:
        return (bars_from_fields if record_type == "bars" else indicators_from_fields)(rows)
    except (pl.exceptions.PolarsError, KeyError):
        return (
            decode_bars(pl.Series([], dtype=pl.String))
            if record_type == "bars"
            else decode_indicators(_NO_LINES)
        )


_NO_LINES: Final = pl.Series([], dtype=pl.String)


def _decode_alerts(data: bytes, key: str) -> list[Alert]:
    if key.endswith(".parquet"):
        rows, _ = parquet.decode_rows(data, key)
        rows_by_name = rows.select(name for name in rows.columns if name in _ALERT_FIELDS).iter_rows(
            named=True
        )
        records = [{name: value for name, value in row.items() if value is not None} for row in rows_by_name]
    else:
        records = [msgspec.json.decode(line) for line in _decode_lines(data, key)]
    alerts = []
    for fields in records:
        try:
            alerts.append(msgspec.convert(fields, Alert, strict=False))
        except msgspec.ValidationError:
            continue  # a record of somebody else's
    return alerts
