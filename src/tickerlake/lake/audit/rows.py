"""Compares the rows of a partition with the records that Kafka holds."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.chain import walk
from tickerlake.lake.formats import for_key, for_topic
from tickerlake.lake.formats.format import TEXT_SCHEMA
from tickerlake.lake.formats.rows import REJECT_DECODER, RejectedRecord
from tickerlake.lake.reader import read_columns, read_rows
from tickerlake.lake.segment import columns_key, parse_position, reject_key
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import TopicMeta
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

_OBJECTS_PER_BLOCK: Final = 1_000
"""Objects of single records that are compared at once: as many as a page of a listing holds."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Objects that hold the rows of the offsets ``[start, end)``."""

    start: int
    end: int
    keys: tuple[str, ...]


class Comparison:
    """Compares Kafka's records of one partition, in order, with the rows in the lake.

    Objects that cannot be read are skipped: the audit reports them.

    Parameters
    ----------
    store, topic, partition
        What is compared.
    start
        The first offset that Kafka still has: objects that begin before it are skipped.
    compacted
        Kafka may have deleted records after they were stored: that is not a finding.
    """

    def __init__(
        self, store: ReadableStore, topic: TopicMeta, partition: int, start: int, *, compacted: bool = False
    ) -> None:
        self._compacted = compacted
        self._store, self._topic, self._partition = store, topic, partition
        self._format = for_topic(topic.format)
        has_columns = self._format.has_columns and store.stat(columns_key(topic.topic))
        self._columns = read_columns(store, topic.topic) if has_columns else []
        self._blocks = (block for block in self._find_blocks() if block.start >= start)
        self._block = next(self._blocks, None)
        self._buffered: list[pl.DataFrame] = []

    def _find_blocks(self) -> Iterator[_Block]:
        block_size = _OBJECTS_PER_BLOCK if self._format.one_object_per_record else 1
        pending: list[tuple[int, int, str]] = []
        for piece in walk(self._store, self._topic, self._partition):
            if piece.has_rows:
                pending.append((piece.start, piece.end, piece.key))
            if len(pending) == block_size:
                yield _block(pending)
                pending = []
        if pending:
            yield _block(pending)

    def process(self, records: pl.DataFrame) -> Iterator[Finding]:
        """Compare up to the last of these records; columns as `model.schema.KAFKA_RECORDS`."""
        self._buffered.append(records)
        yield from self._compare_until(int(records.item(-1, "offset")) + 1)

    def finish(self) -> Iterator[Finding]:
        """Compare the rest, after the last record of Kafka."""
        while self._block:
            yield from self._compare_until(self._block.end)

    def _compare_until(self, end: int) -> Iterator[Finding]:
        while self._block and self._block.end <= end:
            block, self._block = self._block, next(self._blocks, None)
            buffered = pl.concat([pl.DataFrame(schema=KAFKA_RECORD_SCHEMA), *self._buffered])
            part = buffered.filter(pl.col("offset").is_between(block.start, block.end - 1))
            next_start = self._block.start if self._block else block.end
            self._buffered = [buffered.filter(pl.col("offset") >= next_start)]
            yield from self._compare(block, part)

    def _compare(self, block: _Block, records: pl.DataFrame) -> Iterator[Finding]:
        stored, unreadable = [pl.DataFrame(schema=TEXT_SCHEMA)], []
        for key in block.keys:
            try:
                stored.append(for_key(key).as_text(read_rows(self._store, key)))
            except (LakeError, ObjectMissing, msgspec.MsgspecError):
                unreadable.append(parse_position(key))
        if len(unreadable) == len(block.keys):
            return
        readable = records.filter(~pl.col("offset").is_in(unreadable))
        encoded, rejects = self._format.encode_rows(readable, self._columns)
        joined = (
            self._format.as_text(encoded)
            .join(pl.concat(stored), on="offset", how="full", coalesce=True, suffix="_stored")
            .sort("offset")
        )
        only_key = block.keys[0] if len(block.keys) == 1 else ""
        for difference, rows_ in (
            ("lacks", joined.filter(pl.col("row_stored").is_null())),
            ("has what Kafka does not at", joined.filter(pl.col("row").is_null() & (not self._compacted))),
            ("has another row than Kafka at", joined.filter(pl.col("row") != pl.col("row_stored"))),
        ):
            if rows_.height:
                first = int(rows_.item(0, "offset"))
                more = f" and {rows_.height - 1:,} more" if rows_.height > 1 else ""
                key = only_key or next((key for key in block.keys if f"/{first:020d}." in key), block.keys[0])
                yield Finding("differs", key, f"{difference} offset {first}{more}")
        yield from self._compare_rejects(rejects)

    def _compare_rejects(self, rejects: list[RejectedRecord]) -> Iterator[Finding]:
        for reject in rejects:
            key = reject_key(self._topic.topic, self._partition, reject.offset)
            try:
                stored = REJECT_DECODER.decode(self._store.read(key))
                value = None if stored.value_base64 is None else base64.b64decode(stored.value_base64)
            except ObjectMissing:
                yield Finding("reject_missing", key, "is not stored")
            except (msgspec.MsgspecError, binascii.Error):
                yield Finding("damaged", key, "is not readable")
            else:
                expected = None if reject.value_base64 is None else base64.b64decode(reject.value_base64)
                if value != expected:
                    yield Finding("differs", key, "does not hold the bytes that Kafka has")


def _block(objects: list[tuple[int, int, str]]) -> _Block:
    return _Block(objects[0][0], objects[-1][1], tuple(key for _, _, key in objects))
