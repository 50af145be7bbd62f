"""``tickerlake query``: SQL over the lake."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.common import Calendar, Force, Lake, StatusLine, print_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_FORMATS = ("table", "csv", "json", "parquet")
_MAX_TABLE_ROWS = 100
_FORMULA_PATTERN = r"^[=+\-@\t\r]"


def query(
    sql: Annotated[str, typer.Argument(help="One select; - reads it from standard input.")],
    lake: Lake,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", help="table, csv, json (one document a line) or parquet.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.", show_default=False)
    ] = None,
    force: Force = False,
    calendar: Calendar = "24/7",
    memory: Annotated[str, typer.Option(help="How much DuckDB may use; more spills to disk.")] = "2GB",
) -> None:
    """Run SQL (of DuckDB) over the lake: what is compacted and what is not, each record once.

    There are bars, trades, quotes, alerts and indicators, and the views daily_bars, returns, moving_averages,
    volatility, relative_volume, session_vwap, latest_prices, alerts_in_context, data_quality, freshness.

    Examples: `tickerlake query "select * from latest_prices" --lake ./lake` ·
    `tickerlake query "describe bars" --lake ./lake` ·
    `tickerlake query "select * from bars where symbol = 'AAPL'" --lake ./lake -o aapl.parquet`
    """
    from tickerlake.analytics.calendars import SessionDates
    from tickerlake.errors import UsageError
    from tickerlake.lake.query import LakeDatabase
    from tickerlake.lake.store import open_store

    suffix = output.suffix.lstrip(".") if output else ""
    output_format = format_ or (
        suffix if suffix in _FORMATS else "csv" if output or not sys.stdout.isatty() else "table"
    )
    if output_format not in _FORMATS:
        raise UsageError(f"There is no format {output_format!r}.", f"Use one of {', '.join(_FORMATS)}.")
    if output_format == "parquet" and output is None:
        raise UsageError("Parquet is written to a file.", "Name it with --output.")
    if output and output.exists() and not force:
        raise UsageError(f"{output} is there already.", "Choose another name, or replace it with --force.")
    if sql == "-":
        sql = sys.stdin.read()
    ticker = StatusLine()
    store = open_store(lake)
    database = LakeDatabase(store, SessionDates(calendar), memory=memory, report=ticker.update)
    try:
        result = database.query(sql)
        ticker.clear()
        if database.rejects:
            print_status(f"note: {database.rejects:,} records are none of their topic's kind, and left out")
        _write(result, output_format, output)
        if database.not_curated > _UNCOMPACTED_NOTE_ROWS:
            print_status(
                f"note: {database.not_curated:,} records are not compacted; `tickerlake compact` helps"
            )
    finally:
        ticker.clear()
        database.close()
        store.close()


_UNCOMPACTED_NOTE_ROWS = 1_000_000


def _write(result: Any, output_format: str, output: Path | None) -> None:
    if output_format == "table":
        _print_table(result.limit(_MAX_TABLE_ROWS + 1).pl())
        return
    if output is None:
        _write_stdout(result, output_format)
        return
    # whole or not at all: it gets its name at the end
    temporary = output.with_name(f".{output.name}.part")
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


def _write_stdout(result: Any, output_format: str) -> None:
    try:
        for number, frame in enumerate(_frames(result)):
            text = io.BytesIO()
            _write_frame(frame, output_format, text, first=number == 0)
            sys.stdout.buffer.write(text.getbuffer())
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever reads has had enough, as `head` does; the interpreter must not try once more
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
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    frame = frame.with_columns(pl.col(name).list.join(" ") for name in lists)
    numbers = {column.name for column in decimals}
    texts = [name for name, kind in frame.schema.items() if kind == pl.String() and name not in numbers]
    # a spreadsheet would run a text that begins like a formula
    frame = frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA_PATTERN))
        .then("'" + pl.col(name))
        .otherwise(name)
        .alias(name)
        for name in texts
    )
    frame.write_csv(file, include_header=first, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")


def _print_table(frame: "pl.DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, kind in frame.schema.items():
        table.add_column(name, justify="right" if kind.is_numeric() else "left")
    for row in frame.head(_MAX_TABLE_ROWS).iter_rows():
        table.add_row(*(Text(_format_cell(value)) for value in row))
    Console().print(table)
    if frame.height > _MAX_TABLE_ROWS:
        print_status(f"the first {_MAX_TABLE_ROWS} rows; --format csv gives all")


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
