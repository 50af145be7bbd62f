"""Segments → records in typed columns, by record type, for compaction, queries and loads.

The record type of a row is that of the schema that it names itself, whatever the other rows of its topic
are. A row that names no schema of tickerlake, or lacks a required field, is rejected with its reason.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake.chain import walk
from tickerlake.lake.formats import StoredRows, for_key, for_topic
from tickerlake.lake.formats.columns import Column
from tickerlake.lake.reader import read_columns, read_rows
from tickerlake.lake.rows_by_schema import DecodedRows, SplitRows, row_texts, split_rows
from tickerlake.lake.segment import REPAIR_HINT
from tickerlake.lake.store.base import ReadableStore
from tickerlake.lake.topic import TopicMeta
from tickerlake.model.json import parse_schema
from tickerlake.model.schema import (
    BAR,
    RANGE_PRICES,
    RECORD_TYPE_OF,
    SCHEMA_OF,
    FieldType,
    fields,
    has_part_of_range,
    polars_type,
    time_columns,
    with_timestamps,
)

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
    "bars": (
        ("kafka_topic", "instrument_id", "interval", "session_date", "ts_open_ns", "price_type"),
        "revision",
    ),
    "indicators": (("kafka_topic", "instrument_id", "interval", "session_date", "ts_open_ns"), ""),
    "alerts": (("kafka_topic", "instrument_id", "session_date", "alert_id"), ""),
}
"""By record type: the columns that identify a record, and the column with its revision (empty: none).

Of rows with the same key only one counts: the one with the highest revision, then the highest offset. All
trades and quotes count. Each key has the columns by which curated files and tables are partitioned.
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
_RANGE_IN_EXTRA: Final = rf'[{{,]"(?:{"|".join(RANGE_PRICES)})":'
_MAX_NAME: Final = 40
"""Characters of a name that a reason quotes."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive objects of one partition that cover the offsets ``[start, end)``.

    Parameters
    ----------
    keys
        The objects with rows; none for a gap or a hole.
    records, bytes
        Number of rows, and total size of the objects.
    columns
        The topic's columns if its format has any.
    """

    topic: str
    partition: int
    start: int
    end: int
    keys: tuple[str, ...]
    records: int
    bytes: int
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that is not a record, with its position in the lake and in Kafka.

    Parameters
    ----------
    rows
        Number of rows that it stands for: all of an object if none of them names a schema of tickerlake.
        `kafka_offset`, `line` and `row` are then those of the first.
    """

    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    object: str
    line: int
    reason: str
    row: str
    rows: int = 1


@dataclass(slots=True)
class Records:
    """The records of a chunk.

    Parameters
    ----------
    frames
        By record type, without empty ones: its records in the columns of `frame_schema`.
    rejects
        The rows that are not records.
    others
        How many rows name each record type that was not requested; only counted if all rows were read.
    """

    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    rejects: list[RejectedRow] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """Number of rejected rows."""
        return sum(each.rows for each in self.rejects)

    def frame(self, record_type: str) -> pl.DataFrame:
        """Return the records of a type."""
        return self.frames.get(record_type, frame_schema(record_type).to_frame())


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


def chunks(store: ReadableStore, topic: TopicMeta, partition: int, start: int) -> Iterator[Chunk]:
    """Yield the chunks of a partition's chain from the position at which one of its objects starts.

    Raises
    ------
    LakeError
        If the chain is broken.
    """
    if for_topic(topic.format).one_object_per_record:
        yield from _object_chunks(store, topic, partition, start)
        return
    topic_columns: tuple[Column, ...] = ()
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
        if keys and not topic_columns and for_topic(topic.format).has_columns:
            topic_columns = tuple(read_columns(store, topic.topic))
        yield Chunk(
            topic.topic, partition, start, piece.end, keys, piece.records, piece.info.size, topic_columns
        )
        start = piece.end


def _object_chunks(store: ReadableStore, topic: TopicMeta, partition: int, start: int) -> Iterator[Chunk]:
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


def read_chunk(
    store: ReadableStore,
    chunk: Chunk,
    record_types: Collection[str],
    session_dates: SessionDateLookup,
    *,
    complete: bool = True,
) -> Records:
    """Read the records of a chunk.

    Parameters
    ----------
    record_types
        The record types to read.
    complete
        Whether to reject the rows that name no schema of tickerlake, and to count those of the other record
        types. If not, these rows are skipped, at little cost.

    Raises
    ------
    LakeError
        If an object is damaged.
    """
    records = Records()
    schemas = [SCHEMA_OF[record_type] for record_type in record_types]
    rows = _read_rows(store, chunk, () if complete else schemas)
    if rows is None:
        return records
    split = _split(rows, chunk, schemas, complete=complete)
    rejected: dict[int, str] = {}
    for schema, decoded in split.decoded.items():
        frame = _split_rejects(decoded, schema, rejected)
        if frame.height:
            record_type = RECORD_TYPE_OF[schema]
            records.frames[record_type] = _complete(frame, chunk, record_type, session_dates)
    records.others = Counter({RECORD_TYPE_OF[schema]: count for schema, count in split.others.items()})
    if complete:
        if len(split.foreign) == chunk.records > 1:
            records.rejects = [_reject_all(rows, chunk)]
            return records
        rejected |= dict.fromkeys(split.foreign, "")
    numbers = sorted(rejected)
    texts = row_texts(rows, numbers, chunk.columns) if numbers else []
    records.rejects = [
        _reject(text, chunk, number, rejected[number]) for number, text in zip(numbers, texts, strict=True)
    ]
    return records


def count_record_types(store: ReadableStore, chunk: Chunk) -> Counter[str]:
    """Count the rows of a chunk that name the schema of each record type.

    Raises
    ------
    LakeError
        If an object is damaged.
    """
    rows = _read_rows(store, chunk, ())
    if rows is None:
        return Counter()
    counts = _split(rows, chunk, (), complete=True).others
    return Counter({RECORD_TYPE_OF[schema]: count for schema, count in counts.items()})


def _split(rows: StoredRows, chunk: Chunk, schemas: Collection[str], *, complete: bool) -> SplitRows:
    try:
        return split_rows(rows, chunk.columns, schemas, complete=complete)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise LakeError(f"{chunk.keys[0]} is damaged: {error}.", REPAIR_HINT) from error


def prefetch_chunks(
    store: ReadableStore,
    pending: Iterable[Chunk],
    record_types: Collection[str],
    session_dates: SessionDateLookup,
    *,
    complete: bool = True,
) -> Iterator[tuple[Chunk, Records]]:
    """Read chunks as `read_chunk` does, in order, prefetching a few."""

    def read(chunk: Chunk) -> Records:
        return read_chunk(store, chunk, record_types, session_dates, complete=complete)

    with ThreadPoolExecutor(_CHUNK_READ_THREADS) as pool:
        in_flight: deque[tuple[Chunk, Future[Records]]] = deque()
        for chunk in pending:
            in_flight.append((chunk, pool.submit(read, chunk)))
            if len(in_flight) > _PREFETCH_CHUNKS:
                first, records = in_flight.popleft()
                yield first, records.result()
        for first, records in in_flight:
            yield first, records.result()


def _read_rows(store: ReadableStore, chunk: Chunk, schemas: Collection[str]) -> StoredRows | None:
    """Read the rows of a chunk; None if it has none, or none that names one of these schemas, if any."""
    if not chunk.keys:
        return None
    if len(chunk.keys) == 1:
        key = chunk.keys[0]
        if not schemas:
            return read_object(store, key)
        return for_key(key).read_rows_naming(store.read(key), key, schemas)

    def read_line(key: str) -> pl.Series:
        rows = read_object(store, key)
        assert isinstance(rows, pl.Series), "only the format json has chunks of several objects"
        return rows

    with ThreadPoolExecutor(_OBJECT_READ_THREADS) as pool:
        return pl.concat(pool.map(read_line, chunk.keys))


def read_object(store: ReadableStore, key: str) -> StoredRows:
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


def _split_rejects(decoded: DecodedRows, schema: str, rejected: dict[int, str]) -> pl.DataFrame:
    """Return the rows that have what their schema requires; add the reasons of the others to ``rejected``."""
    frame = decoded.frame
    required = [each for each in fields(schema) if not each.nullable and each.name != "schema"]
    lists = [each.name for each in required if each.type is FieldType.STRING_LIST]
    frame = frame.with_columns(pl.col(name).fill_null([]) for name in lists)
    checks = {
        f"{each.name} is missing or invalid; {schema} requires it": frame.get_column(each.name).is_not_null()
        for each in required
    }
    fits = pl.repeat(value=True, n=frame.height, eager=True)
    for check in checks.values():
        fits &= check
    if schema == BAR and (misfits := _bars_with_part_of_range(frame)) is not None:
        checks[f"open, high or low is missing or invalid; {schema} requires all three or none"] = ~misfits
        fits &= ~misfits
    if "interval" in frame.columns:
        # the interval becomes a folder name
        fits &= frame.get_column("interval").str.contains(_INTERVAL_PATTERN).fill_null(value=False)
    if fits.all():
        return frame
    for place in (~fits).arg_true():
        reason = next((reason for reason, check in checks.items() if not check[place]), None)
        if reason is None:
            interval = frame.get_column("interval")[place]
            reason = f"interval {interval[:_MAX_NAME]!r} is not one such as 1m or 1d"
        rejected[decoded.numbers[place]] = reason
    return frame.filter(fits)


def _bars_with_part_of_range(frame: pl.DataFrame) -> pl.Series | None:
    """Return which bars have a part of `RANGE_PRICES`, or an invalid one; None if none does."""
    if not any(frame.get_column(name).null_count() for name in RANGE_PRICES):
        return None
    lacks_any = pl.any_horizontal(pl.col(*RANGE_PRICES).is_null())
    # what its column cannot hold is in `extra`
    is_invalid = lacks_any & pl.col("extra").str.contains(_RANGE_IN_EXTRA).fill_null(value=False)
    return frame.select((has_part_of_range() | is_invalid).alias("misfits")).to_series()


def _complete(
    frame: pl.DataFrame, chunk: Chunk, record_type: str, session_dates: SessionDateLookup
) -> pl.DataFrame:
    """Add the columns that are not fields."""
    if "session_date" not in frame.columns:
        resolved_dates = session_dates(
            frame.get_column("instrument_id"), frame.get_column(event_time_column(record_type))
        )
        frame = frame.with_columns(session_date=resolved_dates)
    frame = with_timestamps(frame, time_columns(SCHEMA_OF[record_type])).with_columns(
        kafka_topic=pl.lit(chunk.topic), kafka_partition=pl.lit(chunk.partition, pl.Int64)
    )
    return frame.select(frame_schema(record_type).names())


class _StoredRow(msgspec.Struct):
    kafka_offset: int
    kafka_tombstone: bool = False
    schema: msgspec.Raw = msgspec.Raw(b"")


_ROW_DECODER: Final = msgspec.json.Decoder(_StoredRow)


def _reject(text: str, chunk: Chunk, number: int, reason: str) -> RejectedRow:
    """Return the reject of a row; an empty reason stands for a row that names no schema of tickerlake."""
    row = _ROW_DECODER.decode(text)
    has_many_objects = len(chunk.keys) > 1
    return RejectedRow(
        chunk.topic,
        chunk.partition,
        row.kafka_offset,
        chunk.keys[number] if has_many_objects else chunk.keys[0],
        1 if has_many_objects else number + 1,
        reason or _foreign_reason(row),
        text,
    )


def _foreign_reason(row: _StoredRow) -> str:
    if row.kafka_tombstone:
        return "tombstone: the message has a key but no value"
    if not bytes(row.schema):
        return "schema is missing"
    name = parse_schema(row.schema)
    return "schema is not a text" if name is None else f"schema {name[:_MAX_NAME]!r} is not one of tickerlake"


def _reject_all(rows: StoredRows, chunk: Chunk) -> RejectedRow:
    first = _reject(row_texts(rows, [0], chunk.columns)[0], chunk, 0, "")
    return replace(
        first,
        reason=f"none of {chunk.records} rows names a schema of tickerlake; the first: {first.reason}",
        rows=chunk.records,
    )


def encode_rejects(rejects: list[RejectedRow]) -> bytes:
    """Encode rejected rows as newline-delimited JSON, the format in which they are stored."""
    return b"".join(msgspec.json.encode(each) + b"\n" for each in rejects)
