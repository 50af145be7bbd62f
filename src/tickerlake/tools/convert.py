"""Convert files to canonical records in a file, without Kafka."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

import polars as pl

from tickerlake.errors import DataError, UsageError
from tickerlake.model.reject import Reject
from tickerlake.parallel import prefetch
from tickerlake.sources.merged import MergedSource, check_no_rejects
from tickerlake.tools.files import check_absent, open_stdout, output_file, write_records

STDOUT: Final = "-"
FORMAT_OF: Final = {".ndjson": "ndjson", ".ndjson.gz": "ndjson", ".parquet": "parquet"}
"""Formats by the extension of the output file."""

_MAX_SHOWN_REJECTS: Final = 5
"""Examples that fit into a summary; the file of rejects has all."""


@dataclass(frozen=True, slots=True)
class ConvertStats:
    """Progress: rows read, records and rejects written, and the first rejects."""

    rows: int
    records: int
    rejects: int
    first_rejects: tuple[Reject, ...] = ()


def convert(
    merged: MergedSource,
    extension: str,
    output: str,
    rejects_path: Path,
    *,
    strict: bool = False,
    force: bool = False,
    on_progress: Callable[[ConvertStats], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ConvertStats:
    """Write the records of files; no file is left behind unless all of them are complete.

    Parameters
    ----------
    merged
        The opened files.
    extension
        A key of `FORMAT_OF`.
    output
        A path, or ``-`` for standard output.
    rejects_path
        The file for rejects, one JSON object per line; created only if there are any.
    strict
        True to write nothing if a row is rejected.
    force
        True to replace existing files.
    on_progress
        Receives the progress after each batch.
    should_stop
        Polled before each batch; True ends the conversion.

    Raises
    ------
    DataError
        If a row is rejected in strict mode, or there are no records.
    UsageError
        If a file exists, or cannot be written.
    KeyboardInterrupt
        If it was stopped.
    """
    output_paths = [] if output == STDOUT else [Path(output)]
    _check_distinct_files(
        [source.scan.head.text_file.file for source in merged.sources], output_paths, rejects_path
    )
    if not force:
        check_absent(*output_paths, rejects_path)
    if strict and output == STDOUT:
        # standard output cannot be undone
        merged.check_no_rejects()
    with _RejectsFile(rejects_path) as rejects_file:
        reader = _RecordReader(
            merged, rejects_file, strict=strict, on_progress=on_progress, should_stop=should_stop
        )
        if output == STDOUT:
            with open_stdout() as stream:
                write_records(reader.records(), stream, extension, merged.record_type)
        else:
            with output_file(Path(output), force=force) as draft, draft.open("wb") as file:
                write_records(reader.records(), file, extension, merged.record_type)
    return reader.stats


def _check_distinct_files(
    input_paths: Sequence[object], output_paths: Sequence[Path], rejects_path: Path
) -> None:
    # unlike Path.resolve, realpath accepts a link to itself
    inputs = {os.path.realpath(path) for path in input_paths if isinstance(path, Path)}
    names = [(path, "the output") for path in output_paths] + [(rejects_path, "--rejects")]
    for path, name in names:
        if os.path.realpath(path) in inputs:
            raise UsageError(f"{path} is one of the input files.", f"Specify another name for {name}.")
    if os.path.realpath(rejects_path) in {os.path.realpath(path) for path in output_paths}:
        raise UsageError(
            "Records and rejects cannot be written to one file.", "Specify another name for --rejects."
        )


class _RejectsFile:
    """The file of rejects, created with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "_RejectsFile":
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._file is None and os.path.lexists(self._path):
            # the rejects of an earlier run are no longer valid
            try:
                self._path.unlink()
            except OSError as problem:
                raise UsageError(
                    f"{self._path} is of an earlier run and cannot be deleted: {problem.strerror}.",
                    "Delete it, or specify another file with --rejects.",
                ) from problem
        self._stack.__exit__(kind, error, trace)

    def write(self, rejects: list[Reject]) -> None:
        if rejects and self._file is None:
            draft = self._stack.enter_context(output_file(self._path, force=True))
            self._file = self._stack.enter_context(draft.open("wb"))
        for reject in rejects:
            assert self._file is not None
            self._file.write(f"{reject.to_json()}\n".encode())


class _RecordReader:
    """Reads records, writes rejects, and counts both."""

    def __init__(
        self,
        merged: MergedSource,
        rejects_file: _RejectsFile,
        *,
        strict: bool,
        on_progress: Callable[[ConvertStats], None] | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self.stats = ConvertStats(0, 0, 0)
        self._merged = merged
        self._rejects_file = rejects_file
        self._strict = strict
        self._on_progress = on_progress or (lambda _: None)
        self._should_stop = should_stop

    def records(self) -> Iterator[pl.DataFrame]:
        for batch in prefetch(self._merged.batches()):
            if self._should_stop():
                raise KeyboardInterrupt
            rejects, records = batch.rejects, batch.records
            if self._strict:
                check_no_rejects(rejects)
            self._rejects_file.write(rejects)
            shown = self.stats.first_rejects
            self.stats = ConvertStats(
                sum(batch.position),
                self.stats.records + records.height,
                self.stats.rejects + len(rejects),
                shown + tuple(rejects[: _MAX_SHOWN_REJECTS - len(shown)]),
            )
            self._on_progress(self.stats)
            if records.height:
                yield records
        if not self.stats.records:
            raise DataError("These files have no records.", "Check them with tickerlake inspect.")
