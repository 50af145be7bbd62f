"""Tables that are in order of time, merged into one order: many files, or the sorted runs of one.

Memory is bounded: of each stream one table is held. What has more than `FAN_IN` streams is merged in groups
first, which are laid out on disk.
"""

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import polars as pl

Stream = Iterator[pl.DataFrame]
Sort = Callable[[pl.DataFrame], pl.DataFrame]
FAN_IN: Final = 64
_RUN_ROWS: Final = 5_000


def merge(streams: Sequence[Stream], key: str, sort: Sort) -> Stream:
    """Merge streams of tables by time.

    Every table that is yielded holds all rows of its instants, sorted.

    Parameters
    ----------
    streams
        Each in order of ``key``, which has no nulls.
    key
        The column of the time, an integer.
    sort
        Puts rows into their order, by ``key`` first.
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


def _merge(streams: Sequence[Stream], key: str, sort: Sort) -> Stream:
    live = dict(enumerate(streams))
    held: dict[int, pl.DataFrame] = {}
    while True:
        for number in [n for n in live if n not in held]:
            table = _next(live[number])
            if table is None:
                del live[number]
            else:
                held[number] = table
        if not held:
            return
        # every row before the earliest end of a stream that goes on is complete
        ends = {number: held[number].get_column(key)[-1] for number in held if number in live}
        if not ends:
            yield sort(pl.concat(held.values(), how="diagonal_relaxed"))
            return
        bound = min(ends.values())
        ready = []
        for number in list(held):
            table = held[number]
            count = table.get_column(key).search_sorted(bound, side="left")
            ready.append(table.head(count))
            rest = table.slice(count)
            if rest.height and not (number in live and ends[number] == bound):
                held[number] = rest
                continue
            more = _next(live[number]) if number in live else None
            if more is None:
                live.pop(number, None)
                if rest.height:
                    held[number] = rest
                else:
                    del held[number]
            else:
                held[number] = pl.concat([rest, more], how="diagonal_relaxed") if rest.height else more
        some = [table for table in ready if table.height]
        if some:
            yield sort(pl.concat(some, how="diagonal_relaxed"))


def _next(stream: Stream) -> pl.DataFrame | None:
    for table in stream:
        if table.height:
            return table
    return None


def write_run(tables: Iterable[pl.DataFrame], folder: Path) -> Path:
    """Lay a stream out on disk."""
    for number, table in enumerate(tables):
        for start in range(0, table.height, _RUN_ROWS):
            name = folder / f"{number:08}-{start:08}.arrow"
            table.slice(start, _RUN_ROWS).write_ipc(name, compression="lz4")
    return folder


def read_run(folder: Path) -> Stream:
    """Read a stream that was laid out on disk; what is read is deleted."""
    for name in sorted(folder.iterdir()):
        table = pl.read_ipc(io.BytesIO(name.read_bytes()))
        name.unlink()
        yield table
