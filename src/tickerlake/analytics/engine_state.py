"""The engine's state of one partition as bytes, from which another engine continues.

The state of an indicator or a rule is stored under its name, which includes its parameters: one that was
changed or added since the snapshot starts empty, the others continue.
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

VERSION: Final = 3
_COMPRESSION_LEVEL: Final = 1
"""Fast: a snapshot is taken while records wait."""

_MAX_STATE_BYTES: Final = 1 << 32
"""Bounds what a damaged snapshot can decompress to."""


class OutdatedSnapshot(DataError):
    """A snapshot that this engine cannot continue from; the records can be replayed instead."""


class _Header(msgspec.Struct):
    version: int


class _EncodedArray(msgspec.Struct):
    dtype: str
    shape: list[int]
    data: bytes


class _BuilderState(msgspec.Struct):
    open: bytes
    recent: bytes
    first_bucket: _EncodedArray
    closed_before: _EncodedArray
    restatable_from: _EncodedArray


class _Snapshot(msgspec.Struct):
    version: int
    clock_closes_ns: list[int]
    grace_ns: int
    lateness_ns: int
    day: str
    align: str
    instruments: list[tuple[str, str, str]]
    watermark_ns: _EncodedArray
    bars: dict[str, _BuilderState]
    sessions: dict[str, tuple[_EncodedArray, _EncodedArray]]
    tables: dict[str, _EncodedArray]


def snapshot(engine: Engine, partition: int, clock_closes_ns: Sequence[int] = ()) -> bytes:
    """Return the state of a partition.

    Parameters
    ----------
    engine
        Holds the state.
    partition
        Its number.
    clock_closes_ns
        When the clock closed bars after the last record, which the offset of a snapshot does not show.
    """
    rows = engine.instruments.rows_of(partition)
    instruments = [engine.instruments.entries[row] for row in rows]
    state = _Snapshot(
        VERSION,
        list(clock_closes_ns),
        engine.options.grace_ns,
        engine.options.lateness_ns,
        engine.options.day,
        engine.options.align,
        [(each.instrument_id, each.symbol, each.input_interval) for each in instruments],
        _encode_array(engine.instruments.watermark_ns[rows]),
        {
            name: _BuilderState(
                _encode_frame(renumber_rows(builder.open_bars, rows)),
                _encode_frame(renumber_rows(builder.recent_bars, rows)),
                _encode_array(builder.arrays.first_bucket[rows]),
                _encode_array(builder.arrays.closed_before[rows]),
                _encode_array(builder.arrays.restatable_from[rows]),
            )
            for name, builder in engine.builders.items()
        },
        {
            name: (
                _encode_array(series.arrays.last_session[rows]),
                _encode_array(series.arrays.last_phase[rows]),
            )
            for name, series in engine.series.items()
        },
        {name: _encode_array(table.gather(rows)) for name, table in engine.tables().items()},
    )
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
    return compressor.compress(msgspec.msgpack.encode(state))


def restore(engine: Engine, partition: int, data: bytes) -> list[int]:
    """Restore the state of a partition that the engine does not have yet; return its clock closes.

    Raises
    ------
    OutdatedSnapshot
        If an earlier version wrote the snapshot, or an engine with other bars; this one is unchanged.
    DataError
        If the snapshot is damaged, or a later version wrote it.
    """
    state = _decode(data)
    if (state.day, state.align) != (engine.options.day, engine.options.align):
        hint = (
            f"It continues with --day {state.day} --align {state.align}; otherwise the records are replayed."
        )
        raise OutdatedSnapshot("--day or --align has changed since the snapshot", hint)
    instruments = [Instrument(*each, partition) for each in state.instruments]
    rows = engine.add_instruments(instruments, watermark_ns := _decode_array(state.watermark_ns))
    for name, built in state.bars.items():
        if builder := engine.builders.get(name):
            builder.arrays.first_bucket[rows] = _decode_array(built.first_bucket)
            builder.arrays.closed_before[rows] = _decode_array(built.closed_before)
            builder.arrays.restatable_from[rows] = _decode_array(built.restatable_from)
            builder.resume(rows, watermark_ns, state.grace_ns, state.lateness_ns)
            builder.open_bars = pl.concat([builder.open_bars, _decode_frame(built.open, rows)])
            builder.recent_bars = pl.concat([builder.recent_bars, _decode_frame(built.recent, rows)])
    for name, (session, phase) in state.sessions.items():
        arrays = engine.series_of(name).arrays
        arrays.last_session[rows], arrays.last_phase[rows] = _decode_array(session), _decode_array(phase)
    tables = engine.tables()
    for name, block in state.tables.items():
        # the author changed a component that has the same name and another height
        if name in tables and block.shape[0] == tables[name].fields.height:
            tables[name].scatter(rows, _decode_array(block))
    return state.clock_closes_ns


def _decode(data: bytes) -> _Snapshot:
    try:
        decompressed = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_STATE_BYTES)
        version = msgspec.msgpack.decode(decompressed, type=_Header).version
        if version == VERSION:
            return msgspec.msgpack.decode(decompressed, type=_Snapshot)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise DataError(
            f"A snapshot is damaged: {error}.", "Delete it: the records are replayed instead."
        ) from error
    hint = "Use the release that wrote it, or delete it: the records are replayed instead."
    if version < VERSION:
        raise OutdatedSnapshot("an earlier release wrote the snapshot", hint)
    raise DataError(f"A snapshot has version {version}; this release reads version {VERSION}.", hint)


def _encode_array(array: np.ndarray[Any, Any]) -> _EncodedArray:
    return _EncodedArray(array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes())


def _decode_array(encoded: _EncodedArray) -> Any:
    return np.frombuffer(encoded.data, dtype=encoded.dtype).reshape(encoded.shape).copy()


def _encode_frame(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def _decode_frame(data: bytes, rows: Any) -> pl.DataFrame:
    frame = pl.read_ipc(io.BytesIO(data))
    return frame.with_columns(row=pl.Series(rows[frame.get_column("row").to_numpy()], dtype=pl.Int64))
