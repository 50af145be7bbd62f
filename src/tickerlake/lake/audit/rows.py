"""Compares what the objects of a partition hold with the records that Kafka holds, row by row."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import polars as pl

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.formats import columns, ndjson, parquet, rows
from tickerlake.lake.formats.columns import Column
from tickerlake.lake.formats.record_objects import coverage
from tickerlake.lake.formats.rows import REJECT_DECODER, RejectedRecord
from tickerlake.lake.reader import OFFSET_DECODER, read_columns, read_meta, segments
from tickerlake.lake.segment import columns_key, parse_marker, parse_position, reject_key
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import TopicMeta
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

_OBJECTS_PER_PIECE = 1_000
_ROW_SCHEMA = {"offset": pl.Int64, "row": pl.String}


@dataclass(frozen=True, slots=True)
class _Piece:
    """Objects that hold the rows of the offsets ``[start, end)``."""

    start: int
    end: int
    keys: tuple[str, ...]


class Comparison:
    """Takes Kafka's records of one partition in order, and finds the rows that are not what they should be.

    Objects that can't be read are passed over: the audit names them.

    Parameters
    ----------
    store, topic, partition
        What is compared.
    start
        The first offset that Kafka still has: objects that begin before it are passed over.
    compacted
        Kafka may have dropped records that were stored: that is no finding.
    """

    def __init__(
        self, store: Store, topic: TopicMeta, partition: int, start: int, *, compacted: bool = False
    ) -> None:
        self._compacted = compacted
        self._store, self._topic, self._partition = store, topic, partition
        has_columns = topic.format == "parquet" and store.stat(columns_key(topic.topic))
        self._columns = read_columns(store, topic.topic) if has_columns else []
        self._pieces = (piece for piece in self._find_pieces() if piece.start >= start)
        self._piece = next(self._pieces, None)
        self._buffered: list[pl.DataFrame] = []

    def _find_pieces(self) -> Iterator[_Piece]:
        name, number = self._topic.topic, self._partition
        if self._topic.format != "json":
            for info in segments(self._store, name, number):
                try:
                    meta = read_meta(self._store, info)
                except LakeError:
                    continue
                if not meta.gap:
                    yield _Piece(meta.position, meta.next_position, (info.key,))
            return
        pending: list[tuple[int, str]] = []
        for start, _, info in coverage(self._store, name, number, 0):
            if parse_marker(info.key) is None and info.key.startswith("raw/"):
                pending.append((start, info.key))
            if len(pending) == _OBJECTS_PER_PIECE:
                yield _Piece(pending[0][0], pending[-1][0] + 1, tuple(key for _, key in pending))
                pending = []
        if pending:
            yield _Piece(pending[0][0], pending[-1][0] + 1, tuple(key for _, key in pending))

    def process(self, records: pl.DataFrame) -> Iterator[Finding]:
        """Compare as far as the records reach; columns as `model.schema.KAFKA_RECORDS`."""
        self._buffered.append(records)
        yield from self._compare_until(int(records.item(-1, "offset")) + 1)

    def finish(self) -> Iterator[Finding]:
        """Compare the rest, when Kafka has no more records."""
        while self._piece:
            yield from self._compare_until(self._piece.end)

    def _compare_until(self, end: int) -> Iterator[Finding]:
        while self._piece and self._piece.end <= end:
            piece, self._piece = self._piece, next(self._pieces, None)
            buffered = pl.concat([pl.DataFrame(schema=KAFKA_RECORD_SCHEMA), *self._buffered])
            part = buffered.filter(pl.col("offset").is_between(piece.start, piece.end - 1))
            next_start = self._piece.start if self._piece else piece.end
            self._buffered = [buffered.filter(pl.col("offset") >= next_start)]
            yield from self._compare(piece, part)

    def _compare(self, piece: _Piece, records: pl.DataFrame) -> Iterator[Finding]:
        stored, unreadable = [pl.DataFrame(schema=_ROW_SCHEMA)], []
        for key in piece.keys:
            try:
                stored.append(self._read_stored_rows(key))
            except (LakeError, ObjectMissing, msgspec.MsgspecError):
                unreadable.append(parse_position(key))
        if len(unreadable) == len(piece.keys):
            return
        expected, rejects = _expected_rows(
            records.filter(~pl.col("offset").is_in(unreadable)), self._topic, self._columns
        )
        joined = expected.join(
            pl.concat(stored), on="offset", how="full", coalesce=True, suffix="_stored"
        ).sort("offset")
        only_key = piece.keys[0] if len(piece.keys) == 1 else ""
        for difference, rows_ in (
            ("lacks", joined.filter(pl.col("row_stored").is_null())),
            ("has what Kafka does not at", joined.filter(pl.col("row").is_null() & (not self._compacted))),
            ("does not say what Kafka says at", joined.filter(pl.col("row") != pl.col("row_stored"))),
        ):
            if rows_.height:
                first = int(rows_.item(0, "offset"))
                more = f" and {rows_.height - 1:,} more" if rows_.height > 1 else ""
                key = only_key or next((key for key in piece.keys if f"/{first:020d}." in key), piece.keys[0])
                yield Finding("differs", key, f"{difference} offset {first}{more}")
        yield from self._compare_rejects(rejects)

    def _read_stored_rows(self, key: str) -> pl.DataFrame:
        data = self._store.read(key)
        if key.endswith(".parquet"):
            return _as_rows(parquet.decode_rows(data, key)[0])
        lines = (ndjson.decode_rows(data, key) if key.endswith(".gz") else data).splitlines()
        offsets = [OFFSET_DECODER.decode(line).kafka_offset for line in lines]
        return pl.DataFrame({"offset": offsets, "row": [line.decode() for line in lines]}, schema=_ROW_SCHEMA)

    def _compare_rejects(self, rejects: list[RejectedRecord]) -> Iterator[Finding]:
        for reject in rejects:
            key = reject_key(self._topic.topic, self._partition, reject.offset)
            try:
                stored = REJECT_DECODER.decode(self._store.read(key))
                value = None if stored.value_base64 is None else base64.b64decode(stored.value_base64)
            except ObjectMissing:
                yield Finding("reject_missing", key, "is not kept")
            except (msgspec.MsgspecError, binascii.Error):
                yield Finding("damaged", key, "is not readable")
            else:
                expected = None if reject.value_base64 is None else base64.b64decode(reject.value_base64)
                if value != expected:
                    yield Finding("differs", key, "does not hold the bytes that Kafka has")


def _expected_rows(
    records: pl.DataFrame, topic: TopicMeta, layout: list[Column]
) -> tuple[pl.DataFrame, list[RejectedRecord]]:
    if topic.format == "parquet":
        frame, rejects = columns.encode(records, layout)
        return _as_rows(frame), rejects
    encoded = rows.encode(records)
    return pl.DataFrame(
        {"offset": encoded.offsets, "row": encoded.lines}, schema=_ROW_SCHEMA
    ), encoded.rejects


def _as_rows(frame: pl.DataFrame) -> pl.DataFrame:
    text = pl.Series("row", frame.write_ndjson().splitlines(), dtype=pl.String)
    return pl.DataFrame({"offset": frame.get_column("kafka_offset"), "row": text}, schema=_ROW_SCHEMA)
