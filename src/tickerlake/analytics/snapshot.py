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

from tickerlake.analytics.builder import renumbered
from tickerlake.analytics.engine import Engine
from tickerlake.analytics.instruments import Instrument
from tickerlake.errors import DataError

VERSION: Final = 1


class _Array(msgspec.Struct):
    kind: str
    shape: list[int]
    data: bytes


class _Built(msgspec.Struct):
    open: bytes
    recent: bytes
    began: _Array
    floor: _Array
    forgotten: _Array


class _State(msgspec.Struct):
    version: int
    moments: list[int]
    grace_ns: int
    lateness_ns: int
    instruments: list[tuple[str, str, str]]
    mark_ns: _Array
    bars: dict[str, _Built]
    sessions: dict[str, _Array]
    tables: dict[str, _Array]


def take(engine: Engine, partition: int, moments: Sequence[int] = ()) -> bytes:
    """Return the state of a partition.

    Parameters
    ----------
    moments
        When the clock closed bars after the last record, which the offset of a state does not tell.
    """
    rows = engine.instruments.of(partition)
    known = [engine.instruments.known[row] for row in rows]
    state = _State(
        VERSION,
        list(moments),
        engine.options.grace_ns,
        engine.options.lateness_ns,
        [(each.instrument_id, each.symbol, each.feed) for each in known],
        _packed(engine.instruments.mark_ns[rows]),
        {
            name: _Built(
                _frame_bytes(renumbered(builder.open, rows)),
                _frame_bytes(renumbered(builder.recent, rows)),
                _packed(builder.began[rows]),
                _packed(builder.floor[rows]),
                _packed(builder.forgotten[rows]),
            )
            for name, builder in engine.builders.items()
        },
        {name: _packed(series.session[rows]) for name, series in engine.series.items()},
        {name: _packed(table.gather(rows)) for name, table in engine.tables().items()},
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
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 32)
        state = msgspec.msgpack.decode(plain, type=_State)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise DataError(
            f"A snapshot is damaged: {error}.", "Delete it: the topic is read from before it."
        ) from error
    if state.version != VERSION:
        raise DataError(
            f"A snapshot has the version {state.version}; this program reads {VERSION}.",
            "Use the program that wrote it, or delete it: the topic is read from its beginning.",
        )
    found = [Instrument(partition, *each) for each in state.instruments]
    rows = engine.admit(found, mark_ns := _unpacked(state.mark_ns))
    for name, built in state.bars.items():
        if builder := engine.builders.get(name):
            builder.began[rows] = _unpacked(built.began)
            builder.floor[rows] = _unpacked(built.floor)
            builder.forgotten[rows] = _unpacked(built.forgotten)
            builder.go_on(rows, mark_ns, state.grace_ns, state.lateness_ns)
            builder.open = pl.concat([builder.open, _numbered(built.open, rows)])
            builder.recent = pl.concat([builder.recent, _numbered(built.recent, rows)])
    for name, session in state.sessions.items():
        engine.series_of(name).session[rows] = _unpacked(session)
    tables = engine.tables()
    for name, block in state.tables.items():
        # a component of the same name and another height was changed by its author
        if name in tables and block.shape[0] == tables[name].fields.height:
            tables[name].scatter(rows, _unpacked(block))
    return state.moments


def _packed(array: np.ndarray[Any, Any]) -> _Array:
    return _Array(array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes())


def _unpacked(packed: _Array) -> Any:
    return np.frombuffer(packed.data, dtype=packed.kind).reshape(packed.shape).copy()


def _frame_bytes(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


def _numbered(data: bytes, rows: Any) -> pl.DataFrame:
    frame = pl.read_ipc(io.BytesIO(data))
    return frame.with_columns(row=pl.Series(rows[frame.get_column("row").to_numpy()], dtype=pl.Int64))
