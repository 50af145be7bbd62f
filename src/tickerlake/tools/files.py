"""Write records to one file, which appears complete or not at all."""

import contextlib
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl
from isal import igzip
from polars.io.plugins import register_io_source

from tickerlake.durable import atomic_write
from tickerlake.errors import UsageError
from tickerlake.model.json import format_decimals, to_json_series, to_ndjson
from tickerlake.model.schema import polars_schema, time_columns, with_timestamps

EXTENSIONS: Final = (".csv", ".csv.gz", ".ndjson", ".ndjson.gz", ".parquet")
"""The extensions that determine the format: a human-readable table, or canonical records."""

_GZIP_SUFFIX: Final = ".gz"
_GZIP_FILE: Final[Any] = igzip.IGzipFile
_ROW_GROUP_ROWS: Final = 250_000
"""Trades compression and the cost per group against memory: a row group is buffered until it is full."""


def output_extension(path: Path, extensions: Sequence[str] = EXTENSIONS) -> str:
    """Return which extension a file has: it determines the format.

    Raises
    ------
    UsageError
        If it has none of them.
    """
    for extension in extensions:
        if path.name.lower().endswith(extension) and path.name.lower() != extension:
            return extension
    raise UsageError(
        f"The name {path.name} does not specify a format.",
        f"Use one of the extensions {', '.join(extensions)}.",
    )


def check_same_format(path: Path | str, named: str, option: str, requested: str | None) -> None:
    """Raise UsageError if an option requests another format than the one that the output's name says."""
    if requested not in {None, named}:
        raise UsageError(
            f"{path} says {named}, {option} says {requested}.", f"Use another name, or omit {option}."
        )


def check_absent(*paths: Path) -> None:
    """Raise an error if a file exists.

    Raises
    ------
    UsageError
        If one of the files exists, or is a folder or another thing that cannot be replaced by a file.
    """
    for path in paths:
        if _check_replaceable(path):
            raise _already_exists(path)


@contextlib.contextmanager
def open_stdout() -> Iterator[BinaryIO]:
    """Yield standard output for bytes: that of Python may be unbuffered, and write only a part."""
    if sys.stdout is None:
        raise UsageError("Standard output is closed.", "Name a file, such as -o records.ndjson.")
    with open(sys.stdout.fileno(), "wb", closefd=False) as stream:
        yield stream


@contextlib.contextmanager
def output_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to; if the block succeeds, the file gets its name.

    Parameters
    ----------
    path
        The final name.
    force
        True to replace an existing file.

    Raises
    ------
    UsageError
        If the file cannot be written, or exists with other content.
    """
    _check_replaceable(path)
    try:
        with atomic_write(path, overwrite=force) as draft:
            yield draft
    except FileExistsError as error:
        raise _already_exists(path) from error
    except OSError as error:
        # a closed pipe is not a problem of the file
        if isinstance(error, BrokenPipeError):
            raise
        raise _not_writable(path, error) from error


def write_records(
    batches: Iterator[pl.DataFrame],
    file: BinaryIO,
    extension: str,
    record_type: str,
    *,
    with_conditions: bool = False,
) -> None:
    """Write records in canonical columns.

    CSV is a human-readable table of trades: symbol, timestamp (ISO 8601, nanoseconds, UTC), price, size,
    trade_id, sequence, and perhaps conditions. Parquet has all columns of the record type and, for SQL, a
    timestamp of microseconds after each time.

    Parameters
    ----------
    batches
        The records.
    file
        The file to write.
    extension
        One of `EXTENSIONS`.
    record_type
        ``bar.v1``, ``trade.v1`` or ``quote.v1``.
    with_conditions
        True for the column of sale conditions in CSV.
    """
    if extension == ".parquet":
        _write_parquet(batches, file, record_type)
        return
    encode = _csv_encoder(with_conditions=with_conditions) if extension.startswith(".csv") else _encode_ndjson
    if not extension.endswith(_GZIP_SUFFIX):
        for records in batches:
            file.write(encode(records))
        return
    # no name or time in the header: the same records produce the same bytes
    with _GZIP_FILE(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
        for records in batches:
            compressed.write(encode(records))


def _encode_ndjson(records: pl.DataFrame) -> bytes:
    return to_ndjson(to_json_series(records))


def _csv_encoder(*, with_conditions: bool) -> Callable[[pl.DataFrame], bytes]:
    header = True

    def encode(records: pl.DataFrame) -> bytes:
        nonlocal header
        table = records.select(
            "symbol",
            (pl.from_epoch("ts_event_ns", "ns").dt.to_string("iso:strict") + "Z").alias("timestamp"),
            # two decimals, or four for a price below a dollar
            pl.col("price").cast(pl.Decimal(38, 4)).cast(pl.String).str.strip_suffix("00").alias("price"),
            format_decimals(records.get_column("size")).alias("size"),
            "trade_id",
            "sequence",
            *([pl.col("conditions").list.join(" ")] if with_conditions else []),
        )
        text = table.write_csv(include_header=header)
        header = False
        return text.encode()

    return encode


def _write_parquet(batches: Iterator[pl.DataFrame], file: BinaryIO, record_type: str) -> None:
    empty, times = polars_schema(record_type).to_frame(), time_columns(record_type)
    errors: list[BaseException] = []

    def rows(*_: object) -> Iterator[pl.DataFrame]:
        # Polars would wrap exceptions raised here
        try:
            for records in batches:
                complete = (
                    records
                    if records.columns == empty.columns
                    else pl.concat([empty, records], how="diagonal")
                )
                yield with_timestamps(complete, times)
        except BaseException as error:
            errors.append(error)

    def write() -> None:
        source = register_io_source(rows, schema=with_timestamps(empty, times).schema)
        source.sink_parquet(
            file, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP_ROWS, maintain_order=True
        )

    # the main thread must be free to handle Ctrl-C
    with ThreadPoolExecutor(1, thread_name_prefix="parquet") as pool:
        pool.submit(write).result()
    if errors:
        raise errors[0]


def _check_replaceable(path: Path) -> bool:
    """Return whether a file exists; raise UsageError if something else does."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise _not_writable(path, error) from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a folder.", "Name a file in it.")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is not a file.", "Name a file, or - for standard output.")
    return True


def _not_writable(path: Path, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    hint = "Check the folder, its permissions and the disk."
    return UsageError(f"{path} cannot be written: {reason}.", hint)


def _already_exists(path: Path) -> UsageError:
    return UsageError(f"{path} already exists.", "Specify another name, or --force to replace it.")
