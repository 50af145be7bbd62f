"""The engine's state of one partition as bytes, from which another engine goes on.

What is kept for an indicator or a rule is named by what it is: one that was changed or added since begins
anew, the others go on.
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import zstandard

from tickerlake.analytics.bar_builder import renumber_rows
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.types import Instrument
from tickerlake.errors import DataError

VERSION: Final = 1


class _EncodedArray(msgspec.Struct):
    kind: str
    shape: list[int]
    data: bytes


class _BuilderState(msgspec.Struct):
    open: bytes
    recent: bytes
    began: _EncodedArray
    floor: _EncodedArray
    forgotten: _EncodedArray


class _Snapshot(msgspec.Struct):
    version: int
    moments: list[int]
    grace_ns: int
    lateness_ns: int
    instruments: list[tuple[str, str, str]]
    mark_ns: _EncodedArray
    bars: dict[str, _BuilderState]
    sessions: dict[str, _EncodedArray]
    tables: dict[str, _EncodedArray]


def snapshot(engine: Engine, partition: int, clock_closes_ns: Sequence[int] = ()) -> bytes:
    """Return the state of a partition.

    Parameters
    ----------
    moments
        When the clock closed bars after the last record, which the offset of a state does not tell.
    """
    rows = engine.instruments.rows_of(partition)
    instruments = [engine.instruments.entries[row] for row in rows]
    state = _Snapshot(
        VERSION,
        list(clock_closes_ns),
        engine.options.grace_ns,
        engine.options.lateness_ns,
        [(each.instrument_id, each.symbol, each.input_interval) for each in instruments],
        _encode_array(engine.instruments.watermark_ns[rows]),
        {
            name: _BuilderState(
                _encode_frame(renumber_rows(builder.open_bars, rows)),
                _encode_frame(renumber_rows(builder.recent_bars, rows)),
                _encode_array(builder.first_bucket[rows]),
                _encode_array(builder.closed_before[rows]),
                _encode_array(builder.restatable_from[rows]),
            )
            for name, builder in engine.builders.items()
        },
        {name: _encode_array(series.last_session[rows]) for name, series in engine.series.items()},
        {name: _encode_array(table.gather(rows)) for name, table in engine.tables().items()},
    )
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(msgspec.msgpack.encode(state))


def restore(engine: Engine, partition: int, data: bytes) -> list[int]:
    """Take over the state of a partition, of which the engine knows nothing yet; return its moments.

    Raises
    ------
    DataError
        If the bytes are no such state.
    """
    try:
        decompressed = zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 32)
        state = msgspec.msgpack.decode(decompressed, type=_Snapshot)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise DataError(
            f"A snapshot is damaged: {error}.", "Delete it: the topic is read from before it."
        ) from error
    if state.version != VERSION:
        raise DataError(
            f"A snapshot has the version {state.version}; this program reads {VERSION}.",
            "Use the program that wrote it, or delete it: the topic is read from its beginning.",
        )
    instruments = [Instrument(*each, partition) for each in state.instruments]
    rows = engine.add_instruments(instruments, watermark_ns := _decode_array(state.mark_ns))
    for name, built in state.bars.items():
        if builder := engine.builders.get(name):
            builder.first_bucket[rows] = _decode_array(built.began)
            builder.closed_before[rows] = _decode_array(built.floor)
            builder.restatable_from[rows] = _decode_array(built.forgotten)
            builder.resume(rows, watermark_ns, state.grace_ns, state.lateness_ns)
            builder.open_bars = pl.concat([builder.open_bars, _decode_frame(built.open, rows)])
            builder.recent_bars = pl.concat([builder.recent_bars, _decode_frame(built.recent, rows)])
    for name, session in state.sessions.items():
        engine.series_of(name).last_session[rows] = _decode_array(session)
    tables = engine.tables()
    for name, block in state.tables.items():
        # a component of the same name and another height was changed by its author
        if name in tables and block.shape[0] == tables[name].fields.height:
            tables[name].scatter(rows, _decode_array(block))
    return state.moments


def _encode_array(array: np.ndarray[Any, Any]) -> _EncodedArray:
    return _EncodedArray(array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes())


def _decode_array(encoded: _EncodedArray) -> Any:
    return np.frombuffer(encoded.data, dtype=encoded.kind).reshape(encoded.shape).copy()


def _encode_frame(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def _decode_frame(data: bytes, rows: Any) -> pl.DataFrame:
    frame = pl.read_ipc(io.BytesIO(data))
    return frame.with_columns(row=pl.Series(rows[frame.get_column("row").to_numpy()], dtype=pl.Int64))
