"""``tickerlake query``: SQL over the lake."""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.common import Calendar, Force, Lake, Ticker, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_FORMATS = ("table", "csv", "json", "parquet")
_SHOWN = 100
_FORMULA = r"^[=+\-@\t\r]"


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
    from tickerlake.errors import UsageError
    from tickerlake.lake.query import LakeDatabase
    from tickerlake.lake.store import open_store
    from tickerlake.pipeline.session_dates import SessionDates

    named = output.suffix.lstrip(".") if output else ""
    wanted = format_ or (
        named if named in _FORMATS else "csv" if output or not sys.stdout.isatty() else "table"
    )
    if wanted not in _FORMATS:
        raise UsageError(f"There is no format {wanted!r}.", f"Use one of {', '.join(_FORMATS)}.")
    if wanted == "parquet" and output is None:
        raise UsageError("Parquet is written to a file.", "Name it with --output.")
    if output and output.exists() and not force:
        raise UsageError(f"{output} is there already.", "Choose another name, or replace it with --force.")
    if sql == "-":
        sql = sys.stdin.read()
    ticker = Ticker()
    store = open_store(lake)
    database = LakeDatabase(store, SessionDates(calendar), memory=memory, report=ticker.show)
    try:
        result = database.query(sql)
        ticker.end()
        if database.misfits:
            say(f"note: {database.misfits:,} records are none of their topic's kind, and left out")
        _write(result, wanted, output)
        if database.not_curated > _MANY:
            say(f"note: {database.not_curated:,} records are not compacted; `tickerlake compact` helps")
    finally:
        ticker.end()
        database.close()
        store.close()


_MANY = 1_000_000


def _write(result: Any, wanted: str, output: Path | None) -> None:
    if wanted == "table":
        _show(result.limit(_SHOWN + 1).pl())
        return
    if output is None:
        _print(result, wanted)
        return
    # whole or not at all: it gets its name at the end
    temporary = output.with_name(f".{output.name}.part")
    try:
        if wanted == "parquet":
            result.write_parquet(str(temporary), compression="zstd")
        else:
            with temporary.open("wb") as file:
                for number, frame in enumerate(_frames(result)):
                    _text(frame, wanted, file, first=number == 0)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    say(f"wrote {output} ({output.stat().st_size:,} bytes)")


def _print(result: Any, wanted: str) -> None:
    try:
        for number, frame in enumerate(_frames(result)):
            text = io.BytesIO()
            _text(frame, wanted, text, first=number == 0)
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


def _text(frame: "pl.DataFrame", wanted: str, file: Any, *, first: bool) -> None:
    import polars as pl

    from tickerlake.model.json import decimal_text

    decimals = [column for column in frame.get_columns() if isinstance(column.dtype, pl.Decimal)]
    frame = frame.with_columns(decimal_text(column).alias(column.name) for column in decimals)
    if wanted == "json":
        names = {column.name for column in decimals}
        frame.with_columns(pl.col(name).cast(pl.Float64) for name in names).write_ndjson(file)
        return
    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    frame = frame.with_columns(pl.col(name).list.join(" ") for name in lists)
    numbers = {column.name for column in decimals}
    texts = [name for name, kind in frame.schema.items() if kind == pl.String() and name not in numbers]
    # a spreadsheet would run a text that begins like a formula
    frame = frame.with_columns(
        pl.when(pl.col(name).str.contains(_FORMULA)).then("'" + pl.col(name)).otherwise(name).alias(name)
        for name in texts
    )
    frame.write_csv(file, include_header=first, datetime_format="%Y-%m-%dT%H:%M:%S%.fZ")


def _show(frame: "pl.DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, kind in frame.schema.items():
        table.add_column(name, justify="right" if kind.is_numeric() else "left")
    for row in frame.head(_SHOWN).iter_rows():
        table.add_row(*(Text(_cell(value)) for value in row))
    Console().print(table)
    if frame.height > _SHOWN:
        say(f"the first {_SHOWN} rows; --format csv gives all")


def _cell(value: object) -> str:
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
