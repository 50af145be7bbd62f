"""``tickerlake query``: SQL over the lake."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.common import StatusLine, print_status
from tickerlake.cli.help import OTHER, OUTPUT
from tickerlake.cli.options import Calendar, Force, Lake

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_FORMATS = ("table", "csv", "json", "parquet")
_MAX_TABLE_ROWS = 100
"""Rows of a table on the terminal: more scroll away, and laying a table out takes memory per row."""

_UNCOMPACTED_NOTE_ROWS = 1_000_000
"""From here on compacting first pays off: every query decodes raw segments again."""

_FORMULA_PATTERN = r"^[=+\-@\t\r]"


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT statement; - reads standard input.")],
    lake: Lake,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="table, csv, json (one document per line) or parquet; default: by the output file's "
            "name, else table on a terminal, csv elsewhere.",
            autocompletion=lambda: list(_FORMATS),
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Output file.", rich_help_panel=OUTPUT),
    ] = None,
    force: Force = False,
    calendar: Calendar = "24/7",
    memory: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Memory limit; larger results spill to disk.", rich_help_panel=OTHER
        ),
    ] = "2GB",
) -> None:
    """Query the lake with SQL (DuckDB dialect), compacted or not.

    Tables: bars, trades, quotes, alerts, indicators.

    Views: daily_bars, returns, moving_averages, volatility, relative_volume, session_vwap, latest_prices,
    alerts_in_context, data_quality, freshness.

    Each record is in the result once.

    Examples
    --------
    tickerlake query "from latest_prices" --lake ./lake
    tickerlake query "describe bars" --lake ./lake
    tickerlake query "from bars where symbol = 'AAPL'" --lake ./lake -o aapl.csv
    """
    from tickerlake.analytics.calendars import SessionDates
    from tickerlake.errors import UsageError
    from tickerlake.lake.opening import open_lake_for_reading
    from tickerlake.lake.query import LakeDatabase

    suffix = output.suffix.lstrip(".") if output else ""
    output_format = format_ or (
        suffix if suffix in _FORMATS else "csv" if output or not sys.stdout.isatty() else "table"
    )
    if output_format not in _FORMATS:
        raise UsageError(f"There is no format {output_format!r}.", f"Use one of {', '.join(_FORMATS)}.")
    if output_format == "parquet" and output is None:
        raise UsageError("Parquet can only be written to a file.", "Name one with --output.")
    if output and output.exists() and not force:
        raise UsageError(f"{output} already exists.", "Choose another name, or overwrite it with --force.")
    if sql == "-":
        sql = sys.stdin.read()
    status_line = StatusLine()
    store = open_lake_for_reading(lake)
    database = LakeDatabase(
        store,
        SessionDates(calendar),
        memory=memory,
        report=status_line.update,
        output_files=[_temporary(output)] if output else [],
    )
    try:
        result = database.query(sql)
        status_line.clear()
        for note in database.notes():
            print_status(f"note: {note}")
        _write(result, output_format, output)
        if database.not_curated > _UNCOMPACTED_NOTE_ROWS:
            print_status(
                f"note: {database.not_curated:,} records are not compacted; "
                "`tickerlake compact` makes queries faster"
            )
    finally:
        status_line.clear()
        database.close()
        store.close()


def _write(result: Any, output_format: str, output: Path | None) -> None:
    if output_format == "table":
        _print_table(result.limit(_MAX_TABLE_ROWS + 1).pl())
        return
    if output is None:
        _write_stdout(result, output_format)
        return
    temporary = _temporary(output)
    try:
        if output_format == "parquet":
            result.write_parquet(str(temporary), compression="zstd")
        else:
            with temporary.open("wb") as file:
                for number, frame in enumerate(_frames(result)):
                    _write_frame(frame, output_format, file, first=number == 0)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    print_status(f"wrote {output} ({output.stat().st_size:,} bytes)")


def _temporary(output: Path) -> Path:
    # renamed when complete, so that the file is never seen half-written
    return output.with_name(f".{output.name}.part")


def _write_stdout(result: Any, output_format: str) -> None:
    try:
        for number, frame in enumerate(_frames(result)):
            buffer = io.BytesIO()
            _write_frame(frame, output_format, buffer, first=number == 0)
            sys.stdout.buffer.write(buffer.getbuffer())
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader has closed the pipe, as `head` does; without this, flushing at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _frames(result: Any) -> "Iterator[pl.DataFrame]":
    import polars as pl

    reader = result.to_arrow_reader(100_000)
    empty = True
    for batch in reader:
        empty = False
        yield pl.DataFrame(batch)
    if empty:
        yield pl.DataFrame(reader.schema.empty_table())


def _write_frame(frame: "pl.DataFrame", output_format: str, file: Any, *, first: bool) -> None:
    import polars as pl

    from tickerlake.model.json import format_decimals

    decimals = [column for column in frame.get_columns() if isinstance(column.dtype, pl.Decimal)]
    frame = frame.with_columns(format_decimals(column).alias(column.name) for column in decimals)
    if output_format == "json":
        names = {column.name for column in decimals}
        frame.with_columns(pl.col(name).cast(pl.Float64) for name in names).write_ndjson(file)
        return
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    frame = frame.with_columns(pl.col(name).list.join(" ") for name in lists)
    numbers = {column.name for column in decimals}
    strings = [name for name, dtype in frame.schema.items() if dtype == pl.String() and name not in numbers]
    # a spreadsheet would execute a string that begins like a formula
    frame = frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA_PATTERN))
        .then("'" + pl.col(name))
        .otherwise(name)
        .alias(name)
        for name in strings
    )
    frame.write_csv(file, include_header=first, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")


def _print_table(frame: "pl.DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.head(_MAX_TABLE_ROWS).iter_rows():
        table.add_row(*(Text(_format_cell(value)) for value in row))
    Console().print(table)
    if frame.height > _MAX_TABLE_ROWS:
        print_status(f"first {_MAX_TABLE_ROWS} rows; --format csv prints all")


def _format_cell(value: object) -> str:
    from datetime import datetime
    from decimal import Decimal

    match value:
        case None:
            return ""
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return value.isoformat(" ", "seconds" if not value.microsecond else "microseconds").replace(
                "+00:00", "Z"
            )
        case list():
            return " ".join(map(str, value))
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)
