"""Segments → records of one record type in typed columns, for compaction, queries and loads.

A topic's record type is that of its first record (`record_types`). A record of another type, or without a
required field, is rejected: it is stored apart from the others, with its reason.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.chain import walk
from tickerlake.lake.formats import StoredRows, columns, for_topic
from tickerlake.lake.formats.columns import ENVELOPE, Column
from tickerlake.lake.reader import read_columns, read_rows
from tickerlake.lake.segment import REPAIR_HINT
from tickerlake.lake.store.base import Store
from tickerlake.lake.topic import TopicMeta
from tickerlake.model.schema import SCHEMA_OF, FieldType, fields, polars_type, time_columns, with_timestamps

LINEAGE: Final = pl.Schema(
    {
        "kafka_topic": pl.String,
        "kafka_partition": pl.Int64,
        "kafka_offset": pl.Int64,
        "kafka_timestamp_ms": pl.Int64,
    }
)
"""The columns that say which Kafka message a row comes from."""

DEDUP_KEYS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "bars": (("kafka_topic", "instrument_id", "interval", "ts_open_ns", "price_type"), "revision"),
    "indicators": (("kafka_topic", "instrument_id", "interval", "ts_open_ns"), ""),
    "alerts": (("kafka_topic", "alert_id"), ""),
}
"""By record type: the columns that identify a record, and the column with its revision (empty: none).

Of rows with the same key only one counts: the one with the highest revision, then the highest offset. All
trades and quotes count.
"""

SessionDateLookup = Callable[[pl.Series, pl.Series], pl.Series]
"""Maps instruments and times (UTC nanoseconds), each of shape (n,), to session dates of shape (n,)."""

_OBJECTS_PER_CHUNK: Final = 1_000
"""Objects of one record each: as many as one page of a Cloud Storage listing returns."""

_OBJECT_READ_THREADS: Final = 16
"""These objects are tiny, so reading them is bound by latency, which parallel requests hide."""

_PREFETCH_CHUNKS: Final = 3
"""Bounds memory: the number of decoded chunks that can wait for the consumer."""

_AUDIT_HINT: Final = "A segment is missing or belongs to another chain; run `tickerlake audit`."
_CHUNK_READ_THREADS: Final = 2
"""Overlaps reading one chunk with decoding another; Polars decodes on all cores by itself."""

_INTERVAL_PATTERN: Final = r"^[0-9a-z]{1,16}$"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive objects of one partition that cover the offsets ``[start, end)``.

    Parameters
    ----------
    keys
        The objects with rows; none for a gap or a hole.
    records, bytes
        Number of rows, and total size of the objects.
    """

    topic: str
    partition: int
    start: int
    end: int
    keys: tuple[str, ...]
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not a record of its topic's record type, with its position in the lake and in Kafka."""

    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    object: str
    line: int
    reason: str
    row: str


@dataclass(slots=True)
class Records:
    """The records of a chunk in the columns of `frame_schema`, and its rejected rows."""

    frame: pl.DataFrame
    rejects: list[RejectedRow] = field(default_factory=list)


def frame_schema(record_type: str) -> pl.Schema:
    """Return the columns of a record type: its fields, timestamps, the session date, and `LINEAGE`.

    Times ``ts_…_ns`` are int64 nanoseconds; each is followed by ``ts_…``, a timestamp in microseconds. The
    field ``schema`` is omitted: it is the same in all rows.
    """
    dtypes: dict[str, pl.DataType] = {}
    for each in fields(SCHEMA_OF[record_type]):
        if each.name == "schema":
            continue
        dtypes[each.name] = polars_type(each.type)
        if each.type is FieldType.TIMESTAMP_NS:
            dtypes[each.name.removesuffix("_ns")] = pl.Datetime("us", "UTC")
    dtypes.setdefault("session_date", pl.Date())
    dtypes.setdefault("extra", pl.String())
    return pl.Schema({**dtypes, **LINEAGE})


def event_time_column(record_type: str) -> str:
    """Return the column by which records of a type are ordered in time."""
    return "ts_open_ns" if record_type in {"bars", "indicators"} else "ts_event_ns"


def chunks(store: Store, topic: TopicMeta, partition: int, start: int) -> Iterator[Chunk]:
    """Yield the chunks of a partition's chain from the position at which one of its objects starts.

    Raises
    ------
    LakeError
        If the chain is broken.
    """
    if for_topic(topic.format).one_object_per_record:
        yield from _object_chunks(store, topic, partition, start)
        return
    for piece in walk(store, topic, partition, start):
        if piece.problem:
            raise LakeError(
                f"{store.uri}/{piece.key} {piece.problem.message}: it is not part of the chain.", _AUDIT_HINT
            )
        if piece.start != start:
            raise LakeError(
                f"{store.uri}/{piece.key} starts at offset {piece.start}, the chain continues at {start}.",
                _AUDIT_HINT,
            )
        keys = (piece.key,) if piece.records else ()
        yield Chunk(topic.topic, partition, start, piece.end, keys, piece.records, piece.info.size)
        start = piece.end


def _object_chunks(store: Store, topic: TopicMeta, partition: int, start: int) -> Iterator[Chunk]:
    keys: list[str] = []
    first, end, size = start, start, 0
    for piece in walk(store, topic, partition, start):
        if piece.start > end:
            break  # the objects in between are still being uploaded
        if piece.end <= end:
            continue
        end = piece.end
        if piece.has_rows:
            keys.append(piece.key)
            size += piece.info.size
        if len(keys) == _OBJECTS_PER_CHUNK:
            yield Chunk(topic.topic, partition, first, end, tuple(keys), len(keys), size)
            keys, first, size = [], end, 0
    if end > first:
        yield Chunk(topic.topic, partition, first, end, tuple(keys), len(keys), size)


def read_chunk(store: Store, chunk: Chunk, record_type: str, session_dates: SessionDateLookup) -> Records:
    """Read the records of a chunk.

    Raises
    ------
    LakeError
        If an object is damaged.
    """
    if not chunk.keys:
        return Records(frame_schema(record_type).to_frame())
    rows = _read_rows(store, chunk)
    layout = _layout(record_type)
    if isinstance(rows, pl.DataFrame):
        dtypes = {column.name: polars_type(column.type) for column in layout}
        if any(rows.schema.get(name, dtype) != dtype for name, dtype in dtypes.items()):
            # the topic's first records were of several types, so its columns match none of them
            topic_columns = read_columns(store, chunk.topic)
            decoded = columns.decode(columns.to_lines(rows, topic_columns), layout)
        else:
            decoded = _conform(rows, dtypes)
    else:
        decoded = columns.decode(rows, layout)
    return _split_rejects(decoded, chunk, record_type, session_dates)


def prefetch_chunks(
    store: Store, pending: Iterable[Chunk], record_type: str, session_dates: SessionDateLookup
) -> Iterator[tuple[Chunk, Records]]:
    """Read chunks in order, prefetching a few."""
    with ThreadPoolExecutor(_CHUNK_READ_THREADS) as pool:
        in_flight: deque[tuple[Chunk, Future[Records]]] = deque()
        for chunk in pending:
            in_flight.append((chunk, pool.submit(read_chunk, store, chunk, record_type, session_dates)))
            if len(in_flight) > _PREFETCH_CHUNKS:
                first, records = in_flight.popleft()
                yield first, records.result()
        for first, records in in_flight:
            yield first, records.result()


def _read_rows(store: Store, chunk: Chunk) -> StoredRows:
    if len(chunk.keys) == 1:
        return read_object(store, chunk.keys[0])

    def read_line(key: str) -> pl.Series:
        rows = read_object(store, key)
        assert isinstance(rows, pl.Series), "only the format json has chunks of several objects"
        return rows

    with ThreadPoolExecutor(_OBJECT_READ_THREADS) as pool:
        return pl.concat(pool.map(read_line, chunk.keys))


def read_object(store: Store, key: str) -> StoredRows:
    """Return the rows of an object that has some.

    Raises
    ------
    LakeError
        If the object is damaged.
    """
    rows = read_rows(store, key)
    if rows.is_empty():
        raise LakeError(f"{key} is damaged: it has no rows.", REPAIR_HINT)
    return rows


def _layout(record_type: str) -> list[Column]:
    record_columns = [
        Column(each.name, each.type) for each in fields(SCHEMA_OF[record_type]) if each.name != "extra"
    ]
    return [*ENVELOPE, *record_columns, Column("extra", FieldType.JSON)]


def _conform(frame: pl.DataFrame, dtypes: dict[str, pl.DataType]) -> pl.DataFrame:
    """Select the columns of a record type from a Parquet segment; missing ones are null."""
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in dtypes.items()
    )


def _split_rejects(
    frame: pl.DataFrame, chunk: Chunk, record_type: str, session_dates: SessionDateLookup
) -> Records:
    schema = SCHEMA_OF[record_type]
    required = [each for each in fields(schema) if not each.nullable and each.name != "schema"]
    lists = [each.name for each in required if each.type is FieldType.STRING_LIST]
    frame = frame.with_columns(pl.col(name).fill_null([]) for name in lists)
    fits = (pl.col("schema") == schema).fill_null(value=False)
    for each in required:
        fits &= pl.col(each.name).is_not_null()
    if "interval" in frame.columns:
        # the interval becomes a folder name
        fits &= frame.get_column("interval").str.contains(_INTERVAL_PATTERN).fill_null(value=False)
    rejected = frame.with_row_index("line").filter(~fits)
    accepted = frame.filter(fits) if rejected.height else frame
    if "session_date" not in accepted.columns:
        resolved_dates = session_dates(
            accepted.get_column("instrument_id"), accepted.get_column(event_time_column(record_type))
        )
        accepted = accepted.with_columns(session_date=resolved_dates)
    accepted = with_timestamps(accepted, time_columns(schema)).with_columns(
        kafka_topic=pl.lit(chunk.topic), kafka_partition=pl.lit(chunk.partition, pl.Int64)
    )
    rejects = [_reject(row, chunk, schema, [each.name for each in required]) for row in rejected.to_dicts()]
    return Records(accepted.select(frame_schema(record_type).names()), rejects)


def _reject(row: dict[str, object], chunk: Chunk, schema: str, required: list[str]) -> RejectedRow:
    if row["kafka_tombstone"]:
        reason = "tombstone: the message has a key but no value"
    elif row["schema"] != schema:
        reason = f"schema {row['schema'] or 'is missing'}; the topic holds {schema}"
    else:
        missing_field = next((name for name in required if row[name] is None), None)
        reason = (
            f"{missing_field} is missing or invalid; {schema} requires it"
            if missing_field
            else f"interval {str(row['interval'])[:40]!r} is not one such as 1m or 1d"
        )
    line = int(str(row.pop("line")))
    key = chunk.keys[line] if len(chunk.keys) > 1 else chunk.keys[0]
    present = {name: value for name, value in row.items() if value not in (None, [])}
    return RejectedRow(
        chunk.topic,
        chunk.partition,
        int(str(row["kafka_offset"])),
        key,
        1 if len(chunk.keys) > 1 else line + 1,
        reason,
        msgspec.json.encode(present, enc_hook=str).decode(),
    )


def encode_rejects(rejects: list[RejectedRow]) -> bytes:
    """Encode rejected rows as newline-delimited JSON, the format in which they are stored."""
    return b"".join(msgspec.json.encode(each) + b"\n" for each in rejects)
