"""Files as one sequence of records: several are merged by event time, with bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import polars as pl

from tickerlake import clock
from tickerlake.errors import DataError
from tickerlake.model.reject import Reject
from tickerlake.sources.csv.chunks import CHUNK_BYTES
from tickerlake.sources.csv.options import Options
from tickerlake.sources.csv.parse import EVENT_NS, FILE_NUMBER
from tickerlake.sources.csv.read import CsvBatch, CsvSource, open_csv
from tickerlake.sources.csv.sort import fill_reject_times, reject_duplicates, sort_rows
from tickerlake.sources.csv.timeform import DAY_NS
from tickerlake.sources.merge import merge
from tickerlake.sources.source import Batch, Fingerprint, Source

_WEEK_NS: Final = 7 * DAY_NS
_TOTAL_CHUNK_BYTES: Final = 16 << 20
_MIN_CHUNK_BYTES: Final = 128 << 10
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
    """Opened files as one sequence of rows; a cursor is a position in each.

    Rows of one instant stand by symbol, file and line. A bar whose key an earlier file has is rejected.

    Parameters
    ----------
    sources
        Files of one kind of records.
    """

    sources: Sequence[CsvSource]

    @property
    def record_type(self) -> str:
        """``bar.v1``, ``trade.v1`` or ``quote.v1``."""
        return self.sources[0].record_type

    @property
    def rows(self) -> int:
        """How many rows the output has."""
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
            If a row is refused.
        """
        for table in self.batches():
            check_no_rejects(table.rejects)

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[CsvBatch]:
        """Yield the rows of all files from a position on, by event time.

        Parameters
        ----------
        done
            That of the last batch which is not wanted again.
        batch_rows
            The most rows in one batch, but for rows of one instant, which stay together.
        """
        if len(self.sources) == 1:
            yield from self.sources[0].batches(start_position, batch_rows)
            return
        start_position = list(start_position) or [0] * len(self.sources)
        rows_per_file = max(1000, batch_rows // len(self.sources))
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
    """Refuse everything if a row is refused: the strict mode."""
    if rejects:
        first = rejects[0]
        raise DataError(
            f"--strict: {first.file}, line {first.line} is refused ({first.reason}): {first.raw[:80]!r}. "
            "Nothing is written.",
            "Mend the row, or leave out --strict: refused rows are kept with line and reason.",
        )


def _numbered_rows(
    source: CsvSource, file_number: int, skip_rows: int, batch_rows: int
) -> Iterator[pl.DataFrame]:
    """Yield a file's rows with its number, each reject with the time of the record before it."""
    if skip_rows >= source.rows:
        return
    file_number_column = pl.lit(file_number, pl.Int32).alias(FILE_NUMBER)
    for rows in fill_reject_times(table.rows for table in source.batches((skip_rows,), batch_rows)):
        yield rows.with_columns(file_number_column)


@dataclass(frozen=True)
class TimeShiftedSource:
    """A source again, some time later: for replays without an end.

    Parameters
    ----------
    source
        What is repeated.
    turn
        How often it has been before.
    period_ns
        How much later each turn is.
    """

    source: Source
    cycle: int
    period_ns: int

    @property
    def fingerprints(self) -> Sequence[Fingerprint]:
        """Those of the source."""
        return self.source.fingerprints

    @property
    def rows(self) -> int:
        """How many rows one turn has."""
        return self.source.rows

    def batches(self, start_position: Sequence[int] = (), batch_rows: int = 50_000) -> Iterator[Batch]:
        """Yield the rows of this turn from a position on."""
        shift_ns = self.cycle * self.period_ns
        for batch in self.source.batches(start_position, batch_rows):
            assert isinstance(batch, CsvBatch)
            yield CsvBatch(_shift_rows(batch.rows, shift_ns, self.cycle), batch.position)


def _shift_rows(rows: pl.DataFrame, shift_ns: int, cycle: int) -> pl.DataFrame:
    time_columns = [
        name for name in ("ts_open_ns", "ts_close_ns", "ts_event_ns", EVENT_NS) if name in rows.columns
    ]
    columns = [pl.col(name) + shift_ns for name in time_columns]
    if "session_date" in rows.columns:
        columns.append(pl.col("session_date") + pl.duration(nanoseconds=shift_ns))
    if "trade_id" in rows.columns:
        columns.append(pl.concat_str("trade_id", pl.lit(f"#{cycle}")))
    return rows.with_columns(columns)


def repeat_period_ns(merged: MergedSource) -> int:
    """Return by how much a replay has to be shifted to follow itself: whole weeks, so that weekdays stay."""
    orders = [source.scan.evidence[0].order for source in merged.sources]
    first = min(order.first_ns for order in orders if order.first_ns is not None)
    last = max(order.last_ns for order in orders if order.last_ns is not None)
    return ((last - first) // _WEEK_NS + 1) * _WEEK_NS


def open_merged_source(
    paths: Sequence[Path],
    options: Options | None = None,
    *,
    ts_recv_ns: int | None = None,
    digest: bool = True,
    byte_reporter: Callable[[Path], Callable[[int], None]] = lambda _: lambda _: None,
) -> MergedSource:
    """Open files of one kind of records.

    Parameters
    ----------
    paths
        The files.
    options
        What the user says about all of them.
    ts_recv_ns
        What the records say of when they were received; now, if it is left out.
    digest
        False if the files' digests are not wanted.
    reading
        Gives, for each file, what is told how many of its bytes have been read.

    Raises
    ------
    DataError
        If one of them is refused, or they hold different kinds.
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
    """Return sources as a replay, if they are of one kind."""
    mismatch = next((source for source in sources if source.record_type != sources[0].record_type), None)
    if mismatch is not None:
        first = sources[0]
        raise DataError(
            f"{first.fingerprint.name} holds {first.record_type} records, {mismatch.fingerprint.name} {mismatch.record_type}.",
            "Give files of one kind at a time.",
        )
    several = len(sources) > 1
    return MergedSource([replace(source, includes_raw=several) for source in sources])


def expand_paths(names: Sequence[str]) -> list[Path]:
    """Return the files that names, folders and patterns mean, in order, each once.

    Raises
    ------
    DataError
        If a folder or a pattern holds none.
    """
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            matches = sorted(
                each for each in path.rglob("*") if each.is_file() and each.name.lower().endswith(_EXTENSIONS)
            )
            if not matches:
                raise DataError(
                    f"The folder {name} holds no CSV files.",
                    f"Files that end in {', '.join(_EXTENSIONS[:4])} … are read.",
                )
        elif any(sign in name for sign in "*?[") and not path.exists():
            root = Path(path.anchor) if path.is_absolute() else Path()
            matches = sorted(
                each
                for each in root.glob(str(path.relative_to(path.anchor) if path.is_absolute() else path))
                if each.is_file()
            )
            if not matches:
                raise DataError(f"No file matches {name}.", "Check the pattern.")
        else:
            matches = [path]
        paths += matches
    unique_paths: dict[Path, Path] = {}
    for path in paths:
        unique_paths.setdefault(path.resolve(), path)
    return list(unique_paths.values())
