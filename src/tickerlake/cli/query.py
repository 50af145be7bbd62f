"""``tickerlake query``: SQL over the lake."""

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import typer

from tickerlake.cli.common import StatusLine, print_status, session_dates
from tickerlake.cli.help import OTHER, OUTPUT
from tickerlake.cli.options import Calendar, Force, Lake

_STDOUT = "-"
_UNCOMPACTED_NOTE_ROWS = 1_000_000
"""From here on compacting first pays off: every query decodes raw segments again."""


def query(
    context: typer.Context,
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
            autocompletion=lambda: ["table", "csv", "json", "parquet"],
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file: .csv, .json, .ndjson or .parquet; - is standard output.",
            rich_help_panel=OUTPUT,
        ),
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

    Each record is in the result once. A query reads the lake and nothing else, and writes nothing.

    A result that is wider than the terminal is printed as records, one column a line.

    Examples
    --------
    tickerlake query "from latest_prices" --lake ./lake
    tickerlake query "describe bars" --lake ./lake
    tickerlake query "from bars where symbol = 'AAPL'" --lake ./lake -o aapl.csv
    """
    from tickerlake.lake.opening import open_lake_for_reading
    from tickerlake.lake.query import LakeDatabase
    from tickerlake.tools.files import output_file

    to_file = output if output and str(output) != _STDOUT else None
    output_format = _output_format(format_, to_file, force=force, to_stdout=output is not None)
    dates = session_dates(context, calendar, notes=False)
    if sql == "-":
        sql = _read_stdin()
    status_line = StatusLine()
    with ExitStack() as stack:
        stack.callback(status_line.clear)
        store = stack.enter_context(closing(open_lake_for_reading(lake)))
        if to_file:
            _check_outside(to_file, store.local_path)
        draft = stack.enter_context(output_file(to_file, force=force)) if to_file else None
        output_files = [draft] if draft and output_format == "parquet" else []
        database = LakeDatabase(
            store, dates, memory=memory, report=status_line.update, output_files=output_files
        )
        stack.callback(database.close)
        result = database.query(sql)
        status_line.clear()
        for note in database.notes():
            print_status(f"note: {note}")
        rows = _write(result, output_format, draft)
        if not rows:
            print_status("0 rows")
        if database.not_curated > _UNCOMPACTED_NOTE_ROWS:
            print_status(
                f"note: {database.not_curated:,} records are not compacted; "
                "`tickerlake compact` makes queries faster"
            )
    if to_file:
        print_status(f"wrote {to_file} ({to_file.stat().st_size:,} bytes)")


def _check_outside(output: Path, lake: Path | None) -> None:
    from tickerlake.errors import UsageError
    from tickerlake.lake.format_version import TOP_LEVEL_PREFIXES

    path, root = os.path.realpath(output), os.path.realpath(lake) if lake else ""
    if lake and path.removeprefix(f"{root}/").startswith(TOP_LEVEL_PREFIXES) and path.startswith(f"{root}/"):
        raise UsageError(f"{output} is among the files of the lake.", "Name a file elsewhere.")


def _output_format(format_: str | None, output: Path | None, *, force: bool, to_stdout: bool) -> str:
    from tickerlake.errors import UsageError
    from tickerlake.tools.files import check_absent, check_same_format, output_extension
    from tickerlake.tools.query_output import FORMAT_OF, FORMATS

    if format_ not in {None, *FORMATS}:
        raise UsageError(f"There is no format {format_!r}.", f"Use one of {', '.join(FORMATS)}.")
    if output:
        named = FORMAT_OF[output_extension(output, tuple(FORMAT_OF))]
        check_same_format(output, named, "--format", format_)
        if not force:
            check_absent(output)
        return named
    if format_ == "parquet":
        raise UsageError("Parquet can only be written to a file.", "Name one with --output.")
    return format_ or ("csv" if to_stdout or not sys.stdout.isatty() else "table")


def _read_stdin() -> str:
    from tickerlake.errors import UsageError

    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UsageError(f"Standard input is not text: {error}.", "Write the query in UTF-8.") from error


def _write(result: Any, output_format: str, file: Path | None) -> int:
    """Write a result to a file or to standard output; return its number of rows."""
    from tickerlake.tools.files import open_stdout
    from tickerlake.tools.query_output import print_result, write_csv, write_json, write_parquet

    if output_format == "table":
        rows, more = print_result(result)
        if more:
            print_status(f"first {rows} rows; --format csv prints all")
        return rows
    if output_format == "parquet":
        assert file is not None, "Parquet is never written to standard output"
        return write_parquet(result, file)
    write = write_csv if output_format == "csv" else write_json
    if file:
        with file.open("wb") as stream:
            return write(result, stream)
    try:
        with open_stdout() as stream:
            return write(result, stream)
    except BrokenPipeError:
        raise typer.Exit from None  # the reader has closed the pipe, as `head` does
