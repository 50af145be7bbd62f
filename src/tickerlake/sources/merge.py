"""Merge streams of tables that are sorted by time: several files, or the sorted runs of one.

Memory is bounded: one table of each stream is buffered. More than `FAN_IN` streams are first merged in
groups, to runs on disk.
"""

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

TableStream = Iterator[pl.DataFrame]
SortRows = Callable[[pl.DataFrame], pl.DataFrame]
FAN_IN: Final = 64
_RUN_FILE_ROWS: Final = 5_000
"""Their product bounds the rows that are buffered when runs are merged: 320,000."""


def merge(streams: Sequence[TableStream], key: str, sort: SortRows) -> TableStream:
    """Merge streams of tables by time.

    Every table that is yielded has all rows of its instants, sorted.

    Parameters
    ----------
    streams
        Each sorted by ``key``, without nulls.
    key
        The column of the time, an integer.
    sort
        Sorts rows, by ``key`` first.
    """
    if len(streams) <= FAN_IN:
        yield from _merge(streams, key, sort)
        return
    with tempfile.TemporaryDirectory(prefix="tickerlake-merge-") as folder:
        runs = []
        for start in range(0, len(streams), FAN_IN):
            run = Path(folder) / f"{start}"
            run.mkdir()
            runs.append(write_run(_merge(streams[start : start + FAN_IN], key, sort), run))
        yield from merge([read_run(run) for run in runs], key, sort)


def _merge(streams: Sequence[TableStream], key: str, sort: SortRows) -> TableStream:
    live = dict(enumerate(streams))
    buffered: dict[int, pl.DataFrame] = {}
    while True:
        for number in [n for n in live if n not in buffered]:
            table = _next_table(live[number])
            if table is None:
                del live[number]
            else:
                buffered[number] = table
        if not buffered:
            return
        # all rows before the earliest buffered end of a live stream have been read
        ends = {number: buffered[number].get_column(key)[-1] for number in buffered if number in live}
        if not ends:
            yield sort(pl.concat(buffered.values(), how="diagonal_relaxed"))
            return
        bound = min(ends.values())
        ready = []
        for number in list(buffered):
            table = buffered[number]
            count = table.get_column(key).search_sorted(bound, side="left")
            ready.append(table.head(count))
            rest = table.slice(count)
            if rest.height and not (number in live and ends[number] == bound):
                buffered[number] = rest
                continue
            more = _next_table(live[number]) if number in live else None
            if more is None:
                live.pop(number, None)
                if rest.height:
                    buffered[number] = rest
                else:
                    del buffered[number]
            else:
                buffered[number] = pl.concat([rest, more], how="diagonal_relaxed") if rest.height else more
        parts = [table for table in ready if table.height]
        if parts:
            yield sort(pl.concat(parts, how="diagonal_relaxed"))


def _next_table(stream: TableStream) -> pl.DataFrame | None:
    for table in stream:
        if table.height:
            return table
    return None


def write_run(tables: Iterable[pl.DataFrame], folder: Path) -> Path:
    """Write a stream to a folder."""
    for number, table in enumerate(tables):
        for start in range(0, table.height, _RUN_FILE_ROWS):
            name = folder / f"{number:08}-{start:08}.arrow"
            table.slice(start, _RUN_FILE_ROWS).write_ipc(name, compression="lz4")
    return folder


def read_run(folder: Path) -> TableStream:
    """Read a stream from a folder, and delete the files that have been read."""
    for name in sorted(folder.iterdir()):
        table = pl.read_ipc(io.BytesIO(name.read_bytes()))
        name.unlink()
        yield table
