"""The history of a topic in the lake: the newest segments at the start, older ones on request."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

import polars as pl

from tickerlake import clock
from tickerlake.dashboard.market.decode import (
    bars_from_fields,
    decode_bars,
    decode_indicators,
    indicators_from_fields,
)
from tickerlake.dashboard.reading.topics import RecordType
from tickerlake.errors import DataError
from tickerlake.lake.formats import StoredRows
from tickerlake.lake.formats.columns import Column
from tickerlake.lake.reader import partitions, read_columns, read_meta, read_rows, segments
from tickerlake.lake.rows_by_schema import split_rows
from tickerlake.lake.store.base import ObjectInfo, ReadableStore
from tickerlake.model.alert import Alert, alert_from_fields, decode_alert
from tickerlake.model.schema import SCHEMA_OF, polars_schema

_MAX_CACHED_ROWS: Final = 1_000_000
"""Bounds the memory of segments that were read on request."""

_SEARCH_TIMEOUT_S: Final = 3.0
"""A chart waits for a search; it shows the rows read until then, and the client requests more."""

_LIST_INTERVAL_S: Final = 60.0
"""A listing per request would cost money in a bucket; new segments are in memory anyway."""

_READER_THREADS: Final = 4
"""Hides the latency of reads; decoding shares the interpreter with the server."""

_ALERT_FIELDS: Final = frozenset(Alert.__struct_fields__)


class LakeTopic:
    """One topic's segments.

    Parameters
    ----------
    store, topic
        The lake and the topic.
    record_type
        The type of its records.
    """

    def __init__(self, store: ReadableStore, topic: str, record_type: RecordType) -> None:
        self.topic = topic
        self.record_type = record_type
        self._store = store
        self._segments: list[ObjectInfo] = []
        self._listed_s = 0.0
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, pl.DataFrame] = OrderedDict()
        self._loaded_keys: set[str] = set()
        self.skipped = 0
        # the earliest open time in each segment that was read
        self._first_open_ns: dict[str, int] = {}

    def newest_segments(self, max_records: int) -> tuple[list[ObjectInfo], dict[int, int]]:
        """Select the newest segments that together hold about ``max_records`` records.

        Returns
        -------
        segments, ends
            The segments, older before newer, and where each partition's chain ends.
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
        """List the segments of each partition, and cache the list, newest first."""
        numbers = partitions(self._store, self.topic)
        chains = {number: list(segments(self._store, self.topic, number)) for number in numbers}
        aged = [(age, info) for chain in chains.values() for age, info in enumerate(reversed(chain))]
        with self._lock:
            self._segments = [info for _, info in sorted(aged, key=lambda each: each[0])]
            self._listed_s = clock.monotonic_s()
        return chains

    def read(self, infos: list[ObjectInfo]) -> Iterator[Any]:
        """Read segments in order, a few at a time; yield a frame or a list of alerts for each.

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
        include_loaded
            False to skip the segments that `newest_segments` selected: their rows are in memory.

        Returns
        -------
        frame, more
            Rows in no order, about ``limit`` at most, and whether there may be more, which is also the
            case if the search timed out.
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
        stored = read_rows(self._store, info.key)
        rows = self._typed_columns(stored) if isinstance(stored, pl.DataFrame) else stored
        if self.record_type == "alerts":
            alerts = _decode_alerts(rows)
            self._count_skipped(len(stored) - len(alerts))
            return alerts
        frame = _decode_frame(rows, self.record_type)
        self._count_skipped(len(stored) - frame.height)
        self._first_open_ns[info.key] = frame.select(pl.col("open_ns").min()).item() or 0
        return frame

    def _typed_columns(self, stored: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of the record type in its columns, which need not be those of the topic."""
        schema = SCHEMA_OF[self.record_type]
        decoded = split_rows(stored, self._columns, [schema], complete=False).decoded.get(schema)
        return decoded.frame if decoded else polars_schema(schema).to_frame()

    @cached_property
    def _columns(self) -> list[Column]:
        return read_columns(self._store, self.topic)

    def _count_skipped(self, count: int) -> None:
        with self._lock:
            self.skipped += count


def _concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()


def _decode_frame(rows: StoredRows, record_type: RecordType) -> pl.DataFrame:
    """Return bars or indicators."""
    if isinstance(rows, pl.Series):
        return (decode_bars if record_type == "bars" else decode_indicators)(rows)
    return (bars_from_fields if record_type == "bars" else indicators_from_fields)(rows)


def _decode_alerts(rows: StoredRows) -> list[Alert]:
    alerts = []
    if isinstance(rows, pl.Series):
        for line in rows:
            with suppress(DataError):  # a record of another program
                alerts.append(decode_alert(line.encode()))
        return alerts
    columns = [name for name in rows.columns if name in _ALERT_FIELDS]
    for row in rows.select(columns).iter_rows(named=True):
        with suppress(DataError):
            alerts.append(
                alert_from_fields({name: value for name, value in row.items() if value is not None})
            )
    return alerts
