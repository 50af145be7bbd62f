"""Segments → records of a known kind, in typed columns: what is curated, queried and loaded.

A topic's kind is what its first record says. Records that are not what the topic holds, or lack what every
record of the kind has, are misfits: they are kept apart, each with its reason.
"""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import msgspec
import polars as pl

from tickerlake.errors import LakeError
from tickerlake.lake import columns, ndjson, parquet
from tickerlake.lake.columns import ENVELOPE, Column
from tickerlake.lake.objects import coverage
from tickerlake.lake.reader import partitions, read_columns, read_meta, segments
from tickerlake.lake.segment import MEND, TopicMeta, marker_of, segment_key
from tickerlake.lake.store.base import Store
from tickerlake.model.json import schema_of
from tickerlake.model.schema import SCHEMAS, Type, fields, polars_type, times_of, with_timestamps

KINDS: Final = {schema: schema.removesuffix(".v1") + "s" for schema in SCHEMAS}
"""The name of a table or folder of each kind of record: ``bars`` of ``bar.v1``."""

SCHEMA_OF: Final = {name: schema for schema, name in KINDS.items()}
LINEAGE: Final = pl.Schema(
    {
        "kafka_topic": pl.String,
        "kafka_partition": pl.Int64,
        "kafka_offset": pl.Int64,
        "kafka_timestamp_ms": pl.Int64,
    }
)
"""Where each row comes from."""

RANKED: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "bars": (("kafka_topic", "instrument_id", "interval", "ts_open_ns", "price_type"), "revision"),
    "indicators": (("kafka_topic", "instrument_id", "interval", "ts_open_ns"), ""),
    "alerts": (("kafka_topic", "alert_id"), ""),
}
"""What makes two rows of a kind the same, and what says which of them counts.

It is the highest revision, if the kind has any, else the last one that was written. Trades and quotes all
count.
"""

SessionDates = Callable[[pl.Series, pl.Series], pl.Series]
"""From instruments and times (UTC nanoseconds), each of the shape (n,), to exchange days."""

_OBJECTS: Final = 1_000
_READERS: Final = 16
_AHEAD: Final = 3
_PARALLEL: Final = 2
_INSTRUMENT: Final = "instrument_id"
_INTERVAL: Final = r"^[0-9a-z]{1,16}$"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive objects of one partition, which hold the offsets ``[start, end)``.

    Parameters
    ----------
    keys
        The objects with rows; none for a gap or a hole.
    records, bytes
        How many rows there are, and how long the objects are.
    """

    topic: str
    partition: int
    start: int
    end: int
    keys: tuple[str, ...]
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Misfit:
    """A row that is no record of its topic's kind."""

    kafka_topic: str
    kafka_partition: int
    kafka_offset: int
    object: str
    line: int
    reason: str
    row: str


@dataclass(slots=True)
class Records:
    """What was read: a frame as `frame_schema` has it, and misfits."""

    frame: pl.DataFrame
    misfits: list[Misfit] = field(default_factory=list)


def frame_schema(kind: str) -> pl.Schema:
    """Return the columns of a kind: its fields, timestamps, the exchange's day, and `LINEAGE`.

    Times ``ts_…_ns`` are int64 nanoseconds; beside each stands ``ts_…``, a timestamp in microseconds. The
    kind itself (``schema``) is left out: it is the same for all rows.
    """
    found: dict[str, pl.DataType] = {}
    for each in fields(SCHEMA_OF[kind]):
        if each.name == "schema":
            continue
        found[each.name] = polars_type(each.type)
        if each.type is Type.TIMESTAMP_NS:
            found[each.name.removesuffix("_ns")] = pl.Datetime("us", "UTC")
    found.setdefault("session_date", pl.Date())
    found.setdefault("extra", pl.String())
    return pl.Schema({**found, **LINEAGE})


def event_time(kind: str) -> str:
    """Return the name of the time by which a kind is ordered."""
    return "ts_open_ns" if kind in {"bars", "indicators"} else "ts_event_ns"


def kind_of(store: Store, topic: TopicMeta) -> str | None:
    """Return the kind of a topic's records, None if they are none of ours or there are none yet."""
    for partition in partitions(store, topic.topic):
        for chunk in chunks(store, topic, partition, topic.first_position(partition)):
            if not chunk.keys:
                continue
            key = chunk.keys[0]
            if key.endswith(".parquet"):
                frame, _ = parquet.unpack(store.read(key), key)
                said = frame.get_column("schema")[0] if "schema" in frame.columns else None
            else:
                said = _schema_of(_lines(store, key)[0])
            return KINDS.get(said or "")
    return None


def _schema_of(line: str) -> str | None:
    try:
        return schema_of(line)
    except msgspec.DecodeError:
        return None


def chunks(store: Store, topic: TopicMeta, partition: int, start: int) -> Iterator[Chunk]:
    """Yield what a partition's chain holds from a position on, which one of its objects begins with.

    Raises
    ------
    LakeError
        If the chain is broken.
    """
    if topic.format == "json":
        yield from _object_chunks(store, topic.topic, partition, start)
        return
    first = segment_key(topic.topic, partition, start, topic.format)
    for info in segments(store, topic.topic, partition, first):
        meta = read_meta(store, info)
        if meta.position != start or meta.next_position <= start:
            raise LakeError(
                f"{store.uri}/{info.key} begins at offset {meta.position}; the chain has come to {start}.",
                "A segment is missing or foreign; run `tickerlake audit`.",
            )
        keys = (info.key,) if meta.records else ()
        yield Chunk(topic.topic, partition, start, meta.next_position, keys, meta.records, info.size)
        start = meta.next_position


def _object_chunks(store: Store, topic: str, partition: int, start: int) -> Iterator[Chunk]:
    keys: list[str] = []
    first, end, size = start, start, 0
    for begin, stop, info in coverage(store, topic, partition, start):
        if begin > end:
            break  # uploads are in flight
        if stop <= end:
            continue
        end = stop
        if info.key.startswith("raw/") and not marker_of(info.key):
            keys.append(info.key)
            size += info.size
        if len(keys) == _OBJECTS:
            yield Chunk(topic, partition, first, end, tuple(keys), len(keys), size)
            keys, first, size = [], end, 0
    if end > first:
        yield Chunk(topic, partition, first, end, tuple(keys), len(keys), size)


def read_chunk(store: Store, chunk: Chunk, kind: str, dates: SessionDates) -> Records:
    """Read the records of a chunk.

    Raises
    ------
    LakeError
        If an object is damaged.
    """
    if not chunk.keys:
        return Records(frame_schema(kind).to_frame())
    if chunk.keys[0].endswith(".parquet"):
        key = chunk.keys[0]
        frame, _ = parquet.unpack(store.read(key), key)
        wanted = {column.name: polars_type(column.type) for column in _layout(kind)}
        if any(frame.schema.get(name, dtype) != dtype for name, dtype in wanted.items()):
            # the topic's first records were not all of one kind, so its columns are nobody's
            topic = read_columns(store, chunk.topic)
            read = columns.decode(columns.to_lines(frame, topic), _layout(kind))
        else:
            read = _conform(frame, wanted)
    else:
        read = columns.decode(_all_lines(store, chunk), _layout(kind))
    return _judge(read, chunk, kind, dates)


def read_ahead(
    store: Store, found: Iterable[Chunk], kind: str, dates: SessionDates
) -> Iterator[tuple[Chunk, Records]]:
    """Read chunks in order, a few of them ahead."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        reading: deque[tuple[Chunk, Future[Records]]] = deque()
        for chunk in found:
            reading.append((chunk, pool.submit(read_chunk, store, chunk, kind, dates)))
            if len(reading) > _AHEAD:
                first, records = reading.popleft()
                yield first, records.result()
        for first, records in reading:
            yield first, records.result()


def _all_lines(store: Store, chunk: Chunk) -> pl.Series:
    if len(chunk.keys) == 1:
        return _lines(store, chunk.keys[0])
    with ThreadPoolExecutor(_READERS) as pool:
        return pl.concat(pool.map(lambda key: _lines(store, key), chunk.keys))


def _lines(store: Store, key: str) -> pl.Series:
    data = store.read(key)
    text = ndjson.unpack(data, key) if key.endswith(".ndjson.gz") else data
    try:
        # no JSON has this separator, so that each line is one cell: twenty times as quick as splitting
        read = pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            separator="\x01",
            quote_char=None,
            schema={"line": pl.String()},
        )
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{key} is damaged: {error}.", MEND) from error
    return read.get_column("line")


def _layout(kind: str) -> list[Column]:
    own = [Column(each.name, each.type) for each in fields(SCHEMA_OF[kind]) if each.name != "extra"]
    return [*ENVELOPE, *own, Column("extra", Type.JSON)]


def _conform(frame: pl.DataFrame, wanted: dict[str, pl.DataType]) -> pl.DataFrame:
    """Give a Parquet segment the kind's columns: those that it lacks are null, others go."""
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in wanted.items()
    )


def _judge(read: pl.DataFrame, chunk: Chunk, kind: str, dates: SessionDates) -> Records:
    schema = SCHEMA_OF[kind]
    required = [each for each in fields(schema) if not each.nullable and each.name != "schema"]
    lists = [each.name for each in required if each.type is Type.TEXTS]
    read = read.with_columns(pl.col(name).fill_null([]) for name in lists)
    fits = (pl.col("schema") == schema).fill_null(value=False)
    for each in required:
        fits &= pl.col(each.name).is_not_null()
    if "interval" in read.columns:
        # it becomes the name of a folder
        fits &= read.get_column("interval").str.contains(_INTERVAL).fill_null(value=False)
    bad = read.with_row_index("line").filter(~fits)
    good = read.filter(fits) if bad.height else read
    if "session_date" not in good.columns:
        days = dates(good.get_column(_INSTRUMENT), good.get_column(event_time(kind)))
        good = good.with_columns(session_date=days)
    good = with_timestamps(good, times_of(schema)).with_columns(
        kafka_topic=pl.lit(chunk.topic), kafka_partition=pl.lit(chunk.partition, pl.Int64)
    )
    misfits = [_misfit(row, chunk, schema, [each.name for each in required]) for row in bad.to_dicts()]
    return Records(good.select(frame_schema(kind).names()), misfits)


def _misfit(row: dict[str, object], chunk: Chunk, schema: str, required: list[str]) -> Misfit:
    if row["kafka_tombstone"]:
        reason = "a tombstone: it has a key, but no record"
    elif row["schema"] != schema:
        reason = f"its schema is {row['schema'] or 'missing'}, the topic holds {schema}"
    else:
        lacking = next((name for name in required if row[name] is None), None)
        reason = (
            f"it has no {lacking} that the kind {schema} allows"
            if lacking
            else f"its interval {str(row['interval'])[:40]!r} is none such as 1m or 1d"
        )
    line = int(str(row.pop("line")))
    key = chunk.keys[line] if len(chunk.keys) > 1 else chunk.keys[0]
    shown = {name: value for name, value in row.items() if value not in (None, [])}
    return Misfit(
        chunk.topic,
        chunk.partition,
        int(str(row["kafka_offset"])),
        key,
        1 if len(chunk.keys) > 1 else line + 1,
        reason,
        msgspec.json.encode(shown, enc_hook=str).decode(),
    )


def misfit_lines(misfits: list[Misfit]) -> bytes:
    """Return misfits as newline-delimited JSON, which is how they are kept."""
    return b"".join(msgspec.json.encode(each) + b"\n" for each in misfits)
