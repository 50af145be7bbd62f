"""The folder of a demo: at most one demo runs in it, and others learn where its page is."""

import fcntl
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from tickerlake.errors import FolderInUse, SetupError
from tickerlake.kafka.embedded.broker import broker_status, stop_temporary_broker

LOCK_NAME: Final = "demo.json"


class DemoFolder:
    """The broker's folder of a demo, locked in a ``with`` block.

    The system releases the lock when the process ends, even if it is killed.

    Parameters
    ----------
    data_dir
        The folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Lock the folder.

        Raises
        ------
        FolderInUse
            If a demo runs in it.
        SetupError
            If it cannot be used.
        """
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            file = os.fdopen(os.open(self._data_dir / LOCK_NAME, flags, 0o600), "r+")
        except OSError as error:
            raise SetupError(
                f"The folder {self._data_dir} cannot be used: {error.strerror}.",
                "Choose another with --data-dir.",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                raise _in_use(self._data_dir, file.read()) from error
        self._file = file
        self.announce("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def announce(self, url: str) -> None:
        """Tell other demos where the page is; an empty URL means that there is none."""
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate()
        json.dump({"pid": os.getpid(), "url": url}, self._file)
        self._file.flush()

    def clear(self) -> None:
        """Delete the broker's data.

        Raises
        ------
        FolderInUse
            If a broker runs in the folder that no demo has started.
        SetupError
            If it cannot be deleted.
        """
        stop_temporary_broker(self._data_dir)
        if broker := broker_status(self._data_dir):
            raise FolderInUse(
                f"The broker at {broker.bootstrap_servers} (process {broker.pid}) uses {self._data_dir}, "
                "and no demo started it: nothing was deleted.",
                f"Stop it with `tickerlake broker stop --data-dir {self._data_dir}`, or omit --fresh.",
            )
        for entry in self._data_dir.iterdir():
            if entry.name != LOCK_NAME:
                delete(entry)


def delete(path: Path) -> None:
    """Delete a file, a link or a folder with everything in it.

    Raises
    ------
    SetupError
        If it cannot be deleted.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(
            f"{error.filename or path} cannot be deleted: {error.strerror}.", "Check its permissions."
        ) from error


def _in_use(data_dir: Path, text: str) -> FolderInUse:
    try:
        demo: Any = json.loads(text)
        pid, url = int(demo["pid"]), str(demo["url"])
    except (ValueError, KeyError, TypeError):
        process, page = "", ""  # it is about to write this
    else:
        process = f" (process {pid})"
        page = f"; its page is {url}" if url else "; it has no page yet"
    return FolderInUse(
        f"A demo runs in {data_dir} already{process}{page}.",
        "Stop it with Ctrl-C, or run this one in other folders with --data-dir and --lake.",
    )
