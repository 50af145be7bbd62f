"""Records → one file, which appears whole or not at all."""

import contextlib
import errno
import filecmp
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
from isal import igzip
from polars.io.plugins import register_io_source

from tickerlake import clock
from tickerlake.errors import UsageError
from tickerlake.model.json import decimal_text, to_bytes, to_json_series
from tickerlake.model.schema import polars_schema, times_of, with_timestamps

FORMATS: Final = (".csv", ".csv.gz", ".ndjson", ".ndjson.gz", ".parquet")
"""What a file's name ends with says what it becomes: a table for people, or canonical records."""

_GZIP: Final = ".gz"
_GZIP_FILE: Final[Any] = igzip.IGzipFile
_ROW_GROUP: Final = 250_000
_NO_HARD_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}


def format_of(path: Path) -> str:
    """Return which of `FORMATS` a file is to have.

    Raises
    ------
    UsageError
        If its name ends with none of them.
    """
    for ending in FORMATS:
        if path.name.lower().endswith(ending) and path.name.lower() != ending:
            return ending
    raise UsageError(
        f"The name {path.name} does not say what to write.", f"End it with {', '.join(FORMATS)}."
    )


def refuse_existing(*paths: Path) -> None:
    """Refuse to overwrite.

    Raises
    ------
    UsageError
        If one of the files is there.
    """
    for path in paths:
        if path.exists():
            raise _exists(path)


@contextlib.contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Give standard output for bytes: Python's own may be unbuffered, and write only a part."""
    with open(sys.stdout.fileno(), "wb", closefd=False) as stream:
        yield stream


@contextlib.contextmanager
def whole(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give the path of a file to write; it takes its name when the block ends, and goes if that fails.

    Parameters
    ----------
    path
        The name that it takes.
    force
        True to replace a file of that name; else one that is there is left alone.

    Raises
    ------
    UsageError
        If the file can't be written, or is there with another content.
    """
    draft = path.with_name(f".{path.name}.{clock.nonce()}.tmp")
    try:
        draft.touch(exist_ok=False)
        yield draft
        _sync(draft, os.O_RDWR)
        if force:
            draft.replace(path)
        else:
            _name(draft, path)
        _sync(path.parent, os.O_RDONLY)
    except OSError as error:
        # a closed pipe is no fault of the file
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(
            f"{path} can't be written: {error.strerror or error}.",
            "Check the folder, the rights and the disk.",
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def write_records(batches: Iterator[pl.DataFrame], file: BinaryIO, ending: str, kind: str) -> None:
    """Write records in canonical columns.

    The table for people is of trades: symbol, timestamp (ISO 8601, nanoseconds, UTC), price, size, trade_id,
    sequence. Parquet has all columns of the kind, and a timestamp of microseconds beside each time, for SQL.

    Parameters
    ----------
    batches
        The records.
    file
        Where they go.
    ending
        One of `FORMATS`.
    kind
        ``bar.v1``, ``trade.v1`` or ``quote.v1``.
    """
    if ending == ".parquet":
        _write_parquet(batches, file, kind)
        return
    encode = _csv() if ending.startswith(".csv") else _ndjson
    if not ending.endswith(_GZIP):
        for records in batches:
            file.write(encode(records))
        return
    # neither a name nor a time in the header: the same records are the same bytes
    with _GZIP_FILE(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed:
        for records in batches:
            packed.write(encode(records))


def _ndjson(records: pl.DataFrame) -> bytes:
    return to_bytes(to_json_series(records))


def _csv() -> Callable[[pl.DataFrame], bytes]:
    header = True

    def encode(records: pl.DataFrame) -> bytes:
        nonlocal header
        table = records.select(
            "symbol",
            (pl.from_epoch("ts_event_ns", "ns").dt.to_string("iso:strict") + "Z").alias("timestamp"),
            # cents where there are, or the hundredths of a cent of a price under a dollar
            pl.col("price").cast(pl.Decimal(38, 4)).cast(pl.String).str.strip_suffix("00").alias("price"),
            decimal_text(records.get_column("size")).alias("size"),
            "trade_id",
            "sequence",
        )
        text = table.write_csv(include_header=header)
        header = False
        return text.encode()

    return encode


def _write_parquet(batches: Iterator[pl.DataFrame], file: BinaryIO, kind: str) -> None:
    empty, times = polars_schema(kind).to_frame(), times_of(kind)
    failed: list[BaseException] = []

    def rows(*_: object) -> Iterator[pl.DataFrame]:
        # Polars would wrap what goes wrong in here
        try:
            for records in batches:
                whole = (
                    records
                    if records.columns == empty.columns
                    else pl.concat([empty, records], how="diagonal")
                )
                yield with_timestamps(whole, times)
        except BaseException as error:
            failed.append(error)

    def write() -> None:
        source = register_io_source(rows, schema=with_timestamps(empty, times).schema)
        source.sink_parquet(
            file, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP, maintain_order=True
        )

    # the main thread has to be free for Ctrl-C
    with ThreadPoolExecutor(1, thread_name_prefix="parquet") as pool:
        pool.submit(write).result()
    if failed:
        raise failed[0]


def _name(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except FileExistsError as error:
        if not filecmp.cmp(draft, path, shallow=False):
            raise _exists(path) from error
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        refuse_existing(path)
        draft.rename(path)


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path} is there already.", "Give another name, or --force to replace it.")


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
