"""Files → canonical records in a file, without Kafka."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

import polars as pl

from tickerlake.errors import DataError, UsageError
from tickerlake.model.reject import Reject
from tickerlake.pipeline.files import refuse_existing, standard_output, whole, write_records
from tickerlake.sources.ahead import ahead
from tickerlake.sources.replay import Replay, refuse

STDOUT: Final = "-"
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Converted:
    """How much of the files is done: rows read, records and rejects written."""

    rows: int
    records: int
    rejects: int
    first_rejects: tuple[Reject, ...] = ()


def convert(
    replay: Replay,
    ending: str,
    output: str,
    rejects: Path,
    *,
    strict: bool = False,
    force: bool = False,
    on_progress: Callable[[Converted], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Converted:
    """Write the records of files; no file is left behind unless all of them are written.

    Parameters
    ----------
    replay
        The opened files.
    ending
        One of :data:`tickerlake.pipeline.files.FORMATS`, but no CSV.
    output
        A path, or ``-`` for standard output.
    rejects
        Where refused rows go, one JSON object a line; the file is made only if there are any.
    strict
        True to refuse everything if a row is refused.
    force
        True to replace files that are there.

    Raises
    ------
    DataError
        If a row is refused in strict mode, or there is no record.
    UsageError
        If a file is there, or can't be written.
    KeyboardInterrupt
        If it was stopped.
    """
    written = [] if output == STDOUT else [Path(output)]
    _refuse_same([source.found.head.text.file for source in replay.sources], written, rejects)
    if not force:
        refuse_existing(rejects, *written)
    if strict and output == STDOUT:
        # what is on standard output can't be taken back
        replay.refuse_rejects()
    with _Rejects(rejects) as refused:
        reading = _Reading(replay, refused, strict=strict, on_progress=on_progress, stopped=stopped)
        if output == STDOUT:
            with standard_output() as stream:
                write_records(reading.records(), stream, ending, replay.kind)
        else:
            with whole(Path(output), force=force) as draft, draft.open("wb") as file:
                write_records(reading.records(), file, ending, replay.kind)
    return reading.done


def _refuse_same(read: Sequence[object], written: Sequence[Path], rejects: Path) -> None:
    inputs = {path.resolve() for path in read if isinstance(path, Path)}
    names = [(path, "the output") for path in written] + [(rejects, "--rejects")]
    for path, name in names:
        if path.resolve() in inputs:
            raise UsageError(f"{path} is one of the files that are read.", f"Give {name} another name.")
    if rejects.resolve() in {path.resolve() for path in written}:
        raise UsageError("The records and the rejects can't go to one file.", "Give --rejects another name.")


class _Rejects:
    """A file of refused rows, made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "_Rejects":
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._file is None:
            # those of an earlier run, which this one replaces
            self._path.unlink(missing_ok=True)
        self._stack.__exit__(kind, error, trace)

    def write(self, rejects: list[Reject]) -> None:
        if rejects and self._file is None:
            draft = self._stack.enter_context(whole(self._path, force=True))
            self._file = self._stack.enter_context(draft.open("wb"))
        for reject in rejects:
            assert self._file is not None
            self._file.write(f"{reject.to_json()}\n".encode())


class _Reading:
    """Reads records; keeps what is refused, and counts."""

    def __init__(
        self,
        replay: Replay,
        refused: _Rejects,
        *,
        strict: bool,
        on_progress: Callable[[Converted], None] | None,
        stopped: Callable[[], bool],
    ) -> None:
        self.done = Converted(0, 0, 0)
        self._replay = replay
        self._refused = refused
        self._strict = strict
        self._on_progress = on_progress or (lambda _: None)
        self._stopped = stopped

    def records(self) -> Iterator[pl.DataFrame]:
        for table in ahead(self._replay.batches()):
            if self._stopped():
                raise KeyboardInterrupt
            rejects, records = table.rejects, table.records
            if self._strict:
                refuse(rejects)
            self._refused.write(rejects)
            shown = self.done.first_rejects
            self.done = Converted(
                sum(table.done),
                self.done.records + records.height,
                self.done.rejects + len(rejects),
                shown + tuple(rejects[: _SHOWN - len(shown)]),
            )
            self._on_progress(self.done)
            if records.height:
                yield records
        if not self.done.records:
            raise DataError("These files hold no record.", "See tickerlake inspect.")
