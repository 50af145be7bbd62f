"""Records → one file, which appears whole or not at all."""

import contextlib
import sys
from collections.abc import Callable, Iterator
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
"""What a file's name ends with says what it becomes: a table for people, or canonical records."""

_GZIP_SUFFIX: Final = ".gz"
_GZIP_FILE: Final[Any] = igzip.IGzipFile
_ROW_GROUP_ROWS: Final = 250_000


def output_extension(path: Path) -> str:
    """Return which of `FORMATS` a file is to have.

    Raises
    ------
    UsageError
        If its name ends with none of them.
    """
    for extension in EXTENSIONS:
        if path.name.lower().endswith(extension) and path.name.lower() != extension:
            return extension
    raise UsageError(
        f"The name {path.name} does not say what to write.", f"End it with {', '.join(EXTENSIONS)}."
    )


def check_absent(*paths: Path) -> None:
    """Refuse to overwrite.

    Raises
    ------
    UsageError
        If one of the files is there.
    """
    for path in paths:
        if path.exists():
            raise _already_exists(path)


@contextlib.contextmanager
def open_stdout() -> Iterator[BinaryIO]:
    """Give standard output for bytes: Python's own may be unbuffered, and write only a part."""
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
    try:
        with atomic_write(path, overwrite=force) as draft:
            yield draft
    except FileExistsError as error:
        raise _already_exists(path) from error
    except OSError as error:
        # a closed pipe is no fault of the file
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(
            f"{path} can't be written: {error.strerror or error}.",
            "Check the folder, the rights and the disk.",
        ) from error


def write_records(batches: Iterator[pl.DataFrame], file: BinaryIO, extension: str, record_type: str) -> None:
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
    if extension == ".parquet":
        _write_parquet(batches, file, record_type)
        return
    encode = _csv_encoder() if extension.startswith(".csv") else _encode_ndjson
    if not extension.endswith(_GZIP_SUFFIX):
        for records in batches:
            file.write(encode(records))
        return
    # neither a name nor a time in the header: the same records are the same bytes
    with _GZIP_FILE(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
        for records in batches:
            compressed.write(encode(records))


def _encode_ndjson(records: pl.DataFrame) -> bytes:
    return to_ndjson(to_json_series(records))


def _csv_encoder() -> Callable[[pl.DataFrame], bytes]:
    header = True

    def encode(records: pl.DataFrame) -> bytes:
        nonlocal header
        table = records.select(
            "symbol",
            (pl.from_epoch("ts_event_ns", "ns").dt.to_string("iso:strict") + "Z").alias("timestamp"),
            # cents where there are, or the hundredths of a cent of a price under a dollar
            pl.col("price").cast(pl.Decimal(38, 4)).cast(pl.String).str.strip_suffix("00").alias("price"),
            format_decimals(records.get_column("size")).alias("size"),
            "trade_id",
            "sequence",
        )
        text = table.write_csv(include_header=header)
        header = False
        return text.encode()

    return encode


def _write_parquet(batches: Iterator[pl.DataFrame], file: BinaryIO, record_type: str) -> None:
    empty, times = polars_schema(record_type).to_frame(), time_columns(record_type)
    errors: list[BaseException] = []

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
            errors.append(error)

    def write() -> None:
        source = register_io_source(rows, schema=with_timestamps(empty, times).schema)
        source.sink_parquet(
            file, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP_ROWS, maintain_order=True
        )

    # the main thread has to be free for Ctrl-C
    with ThreadPoolExecutor(1, thread_name_prefix="parquet") as pool:
        pool.submit(write).result()
    if errors:
        raise errors[0]


def _already_exists(path: Path) -> UsageError:
    return UsageError(f"{path} is there already.", "Give another name, or --force to replace it.")
