"""Compares the rows and rejects of a partition with the records that Kafka holds."""

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec
import polars as pl

from tickerlake.errors import LakeError, ObjectMissing
from tickerlake.lake.audit.match import (
    becomes_row,
    find_column_mismatches,
    find_line_mismatches,
    find_reject_mismatch,
    verbatim_lines,
)
from tickerlake.lake.audit.segments import Finding
from tickerlake.lake.chain import walk
from tickerlake.lake.formats import for_topic
from tickerlake.lake.formats.lines import LineFormat, line_offsets
from tickerlake.lake.formats.rows import RejectedRecord
from tickerlake.lake.reader import read_columns, read_rows
from tickerlake.lake.rejects import read_rejects, reject_key, rejects_key
from tickerlake.lake.segment import columns_key, parse_position
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import TopicMeta
from tickerlake.model.json import to_ndjson
from tickerlake.model.schema import KAFKA_RECORD_SCHEMA

_LINE_COLUMNS: Final = pl.Schema({"kafka_offset": pl.Int64(), "row": pl.String()})
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
            buffered = pl.concat([pl.DataFrame(schema=KAFKA_RECORD_SCHEMA), *self._buffered], rechunk=False)
            offsets = buffered.get_column("offset")
            next_start = self._block.start if self._block else block.end
            # ascending offsets: slices instead of copies
            start, end, rest = (int(offsets.search_sorted(at)) for at in (block.start, block.end, next_start))
            self._buffered = [buffered.slice(rest)]
            yield from self._compare(block, buffered.slice(start, end - start))

    def _compare(self, block: _Block, records: pl.DataFrame) -> Iterator[Finding]:
        if not self._is_verbatim(block, records):
            yield from self._compare_rows(block, records)

    def _is_verbatim(self, block: _Block, records: pl.DataFrame) -> bool:
        """Return whether a segment of lines is the text that its records give: most are."""
        if not isinstance(self._format, LineFormat) or len(block.keys) > 1:
            return False
        lines = verbatim_lines(records)
        if lines.null_count():
            return False
        with suppress(LakeError, ObjectMissing):  # the audit reports the object
            (key,) = block.keys
            return self._format.decode_text(self._store.read(key), key) == to_ndjson(lines)
        return False

    def _compare_rows(self, block: _Block, records: pl.DataFrame) -> Iterator[Finding]:
        stored: list[pl.DataFrame] = []
        unreadable: list[int | None] = []
        for key in block.keys:
            try:
                stored.append(self._read_by_offset(key))
            except (LakeError, ObjectMissing, msgspec.MsgspecError):
                unreadable.append(parse_position(key))
        if not stored:
            return
        rows = pl.concat(stored)
        records = records.filter(~pl.col("offset").is_in(unreadable)) if unreadable else records
        expected, offsets = records.get_column("offset"), rows.get_column("kafka_offset")
        if expected.equals(offsets):
            yield from self._differs(block, "has another row than Kafka at", self._mismatches(records, rows))
            return
        if offsets.n_unique() < rows.height:  # the audit reports it
            rows = rows.unique("kafka_offset", keep="first", maintain_order=True)
            offsets = rows.get_column("kafka_offset")
        has_row = expected.is_in(offsets.implode())
        without_row = records.filter(~has_row)
        lacking = yield from self._compare_rejects(block, without_row)
        yield from self._differs(block, "lacks", lacking)
        if not self._compacted:
            unknown = offsets.filter(~offsets.is_in(expected.implode())).to_list()
            yield from self._differs(block, "has what Kafka does not at", unknown)
        matched = records.filter(has_row)
        rows = rows.filter(offsets.is_in(expected.implode())).sort("kafka_offset")
        yield from self._differs(block, "has another row than Kafka at", self._mismatches(matched, rows))

    def _mismatches(self, records: pl.DataFrame, rows: pl.DataFrame) -> list[int]:
        """Return the offsets of the records whose rows are others; both are in the same order."""
        if rows.width > len(_LINE_COLUMNS):
            differing = find_column_mismatches(records, rows, self._columns)
        else:
            differing = find_line_mismatches(records, rows.get_column("row"))
        return records.get_column("offset").filter(differing).to_list()

    def _read_by_offset(self, key: str) -> pl.DataFrame:
        rows = read_rows(self._store, key)
        if isinstance(rows, pl.DataFrame):
            return rows
        return pl.DataFrame({"kafka_offset": line_offsets(rows), "row": rows}, schema=_LINE_COLUMNS)

    def _differs(self, block: _Block, difference: str, offsets: list[int]) -> Iterator[Finding]:
        if not offsets:
            return
        first = offsets[0]
        more = f" and {len(offsets) - 1:,} more" if len(offsets) > 1 else ""
        named = (key for key in block.keys if f"/{first:020d}." in key)
        yield Finding("differs", next(named, block.keys[0]), f"{difference} offset {first}{more}")

    def _compare_rejects(self, block: _Block, records: pl.DataFrame) -> Generator[Finding, None, list[int]]:
        """Compare the records of a block that have no row; return the offsets of those not stored."""
        rejects: dict[int, RejectedRecord] = {}
        lacking: list[int] = []
        if records.height and not self._format.one_object_per_record:
            key = rejects_key(self._topic.topic, self._partition, block.start, block.end)
            with suppress(LakeError, ObjectMissing):  # the audit reports the object
                rejects = {reject.offset: reject for reject in read_rejects(self._store, key)}
        for record in records.iter_rows():
            offset = record[0]
            if self._format.one_object_per_record:
                key = reject_key(self._topic.topic, self._partition, offset)
                try:
                    rejects[offset] = read_rejects(self._store, key)[0]
                except ObjectMissing:
                    yield Finding("reject_missing", key, "is not stored")
                    continue
                except LakeError:
                    continue  # the audit reports the object
            if (reject := rejects.get(offset)) is None:
                if rejects or becomes_row(record[3]):
                    lacking.append(offset)
            elif mismatch := find_reject_mismatch(record, reject):
                yield Finding("differs", key, f"{mismatch}: offset {offset}")
        return lacking


def _block(objects: list[tuple[int, int, str]]) -> _Block:
    return _Block(objects[0][0], objects[-1][1], tuple(key for _, _, key in objects))
