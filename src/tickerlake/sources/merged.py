"""Several files as one sequence of records, merged by event time with bounded memory."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.model.duration import UNIT_NS
from tickerlake.model.reject import Reject
from tickerlake.sources.csv.batch import CsvBatch, fill_reject_times, reject_duplicates, sort_rows
from tickerlake.sources.csv.chunks import CHUNK_BYTES, wrap_read_errors
from tickerlake.sources.csv.detect.options import Options
from tickerlake.sources.csv.parse import EVENT_NS, FILE_NUMBER
from tickerlake.sources.csv.read import CsvSource, open_csv
from tickerlake.sources.merge import merge
from tickerlake.sources.source import Fingerprint

_TOTAL_CHUNK_BYTES: Final = 16 << 20
"""Chunk size of all files together: it bounds memory, whatever their number."""

_MIN_CHUNK_BYTES: Final = 128 << 10
"""Smaller chunks would save little memory, and each has a fixed cost."""

_MIN_ROWS_PER_FILE: Final = 1000
_EXTENSIONS: Final = (
    ".csv",
    ".txt",
    ".tsv",
    ".csv.gz",
    ".txt.gz",
    ".csv.zst",
    ".csv.bz2",
    ".csv.xz",
    ".csv.zip",
    ".zip",
)


@dataclass(frozen=True)
class MergedSource:
    """Opened files as one sequence of rows; a position has one number for each file.

    Rows of one instant are ordered by symbol, file and line. A bar whose key an earlier file has is
    rejected.

    Parameters
    ----------
    sources
        Files of one record type.
    """

    sources: Sequence[CsvSource]

    @property
    def record_type(self) -> str:
        """``bar.v1``, ``trade.v1`` or ``quote.v1``."""
        return self.sources[0].record_type

    @property
    def rows(self) -> int:
        """The number of rows of the output."""
        return sum(source.rows for source in self.sources)

    @property
    def fingerprints(self) -> list[Fingerprint]:
        """The fingerprint of each file."""
        return [source.fingerprint for source in self.sources]

    def check_no_rejects(self) -> None:
        """Read everything once.

        Raises
        ------
        DataError
            If a row is rejected.
        """
        for batch in self.batches():
            check_no_rejects(batch.rejects)

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[CsvBatch]:
        """Yield the rows of all files after a position, by event time.

        Parameters
        ----------
        start_position
            The ``position`` of an earlier batch; () is the beginning.
        batch_rows
            The maximum size of a batch; rows of one instant stay together even if there are more.
        """
        if len(self.sources) == 1:
            yield from self.sources[0].batches(start_position, batch_rows)
            return
        start_position = list(start_position) or [0] * len(self.sources)
        rows_per_file = max(_MIN_ROWS_PER_FILE, batch_rows // len(self.sources))
        streams = [
            _numbered_rows(source, number, start_position[number], rows_per_file)
            for number, source in enumerate(self.sources)
        ]
        position = list(start_position)
        for rows in merge(streams, EVENT_NS, sort_rows):
            for number, count in rows.get_column(FILE_NUMBER).value_counts().iter_rows():
                position[number] += count
            yield from CsvBatch(reject_duplicates(rows), tuple(position)).split(batch_rows)


def check_no_rejects(rejects: Sequence[Reject]) -> None:
    """Raise an error if there are rejects, for ``--strict``."""
    if rejects:
        first = rejects[0]
        raise DataError(
            f"--strict: {first.file}, line {first.line} is rejected ({first.reason}): {first.raw[:80]!r}. "
            "Nothing is written.",
            "Fix the row, or omit --strict: rejected rows are saved with line and reason.",
        )


def _numbered_rows(
    source: CsvSource, file_number: int, skip_rows: int, batch_rows: int
) -> Iterator[pl.DataFrame]:
    """Yield a file's rows with its number; each reject has the time of the record before it."""
    if skip_rows >= source.rows:
        return
    file_number_column = pl.lit(file_number, pl.Int32).alias(FILE_NUMBER)
    for rows in fill_reject_times(batch.rows for batch in source.batches((skip_rows,), batch_rows)):
        yield rows.with_columns(file_number_column)


def repeat_period_ns(merged: MergedSource) -> int:
    """Return the shift after which the files can follow themselves: whole weeks, to keep weekdays."""
    orders = [source.scan.evidence[0].order for source in merged.sources]
    first = min(order.first_ns for order in orders if order.first_ns is not None)
    last = max(order.last_ns for order in orders if order.last_ns is not None)
    return ((last - first) // UNIT_NS["w"] + 1) * UNIT_NS["w"]


def open_merged_source(
    paths: Sequence[Path],
    options: Options | None = None,
    *,
    ts_recv_ns: int | None = None,
    digest: bool = True,
    byte_reporter: Callable[[Path], Callable[[int], None]] = lambda _: lambda _: None,
) -> MergedSource:
    """Open files of one record type.

    Parameters
    ----------
    paths
        The files.
    options
        What the user specifies about all of them.
    ts_recv_ns
        When the records were received; default: now.
    digest
        False to skip the files' digests.
    byte_reporter
        Returns, for each file, a callback that receives the number of bytes read so far.

    Raises
    ------
    DataError
        If one of them cannot be read, or they hold different record types.
    """
    chunk_bytes = max(_MIN_CHUNK_BYTES, min(CHUNK_BYTES, _TOTAL_CHUNK_BYTES // len(paths)))
    received_ns = ts_recv_ns or clock.now_ns()
    sources = [
        open_csv(
            path,
            options,
            ts_recv_ns=received_ns,
            chunk_bytes=chunk_bytes,
            digest=digest,
            on_bytes=byte_reporter(path),
        )
        for path in paths
    ]
    return merge_sources(sources)


def merge_sources(sources: Sequence[CsvSource]) -> MergedSource:
    """Return files as one source.

    Raises
    ------
    DataError
        If they hold different record types.
    """
    mismatch = next((source for source in sources if source.record_type != sources[0].record_type), None)
    if mismatch is not None:
        first = sources[0]
        raise DataError(
            f"{first.fingerprint.name} holds {first.record_type} records, "
            f"{mismatch.fingerprint.name} {mismatch.record_type}.",
            "Pass files of one record type at a time.",
        )
    # merging may find that a bar repeats one of another file: then its line is needed for the reject
    includes_raw = len(sources) > 1
    return MergedSource([replace(source, includes_raw=includes_raw) for source in sources])


def expand_paths(names: Sequence[str]) -> list[Path]:
    """Return the files that names, folders and patterns denote, in order, each once.

    Raises
    ------
    DataError
        If a folder has no CSV file, or a pattern matches no file.
    """
    unique_paths: dict[str, Path] = {}
    for name in names:
        with wrap_read_errors(name):
            for path in _expand_path(name):
                # unlike `Path.resolve`, this accepts links that lead back to themselves
                unique_paths.setdefault(os.path.realpath(path), path)
    return list(unique_paths.values())


def _raise(error: OSError) -> None:
    raise error


def _expand_path(name: str) -> list[Path]:
    if not name.strip():
        raise DataError("The name of a file is empty.", "Name a file, or . for all CSV files of this folder.")
    if re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE):
        address = name.partition("?")[0].rpartition("@")[2]
        raise DataError(
            f"{address} is an address, not a file.",
            "Download it first, or pipe it to the command: curl -L ADDRESS | tickerlake … - --symbol AAPL",
        )
    path = Path(name)
    if path.is_dir():
        # unlike `rglob`, this does not pass over folders that it may not read
        files = (Path(root, file) for root, _, names in os.walk(path, onerror=_raise) for file in names)
        matches = sorted(each for each in files if each.name.lower().endswith(_EXTENSIONS) and each.is_file())
        if not matches:
            raise DataError(
                f"The folder {name} has no CSV files.",
                f"Name the files, or give them an extension such as {', '.join(_EXTENSIONS[:4])}.",
            )
        return matches
    if not any(sign in name for sign in "*?[") or path.exists():
        return [path]
    root = Path(path.anchor) if path.is_absolute() else Path()
    pattern = str(path.relative_to(path.anchor) if path.is_absolute() else path)
    try:
        matches = sorted(each for each in root.glob(pattern) if each.is_file())
    except (ValueError, NotImplementedError) as error:
        raise DataError(
            f"{name} is not a pattern: {error}.", "Use a pattern such as data/**/*.csv"
        ) from error
    if not matches:
        raise DataError(f"No file matches {name}.", "Check the pattern.")
    return matches
