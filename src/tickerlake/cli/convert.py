"""``tickerlake convert``: CSV files → canonical records, without Kafka."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    StatusLine,
    graceful_shutdown,
    input_files,
    open_files,
    print_json,
    print_status,
)
from tickerlake.cli.file_options import with_file_options
from tickerlake.cli.help import OUTPUT
from tickerlake.cli.options import Files, Force, Json

if TYPE_CHECKING:
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.tools.convert import ConvertStats


@with_file_options()
def convert(
    files: Files,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="ndjson or parquet; default: by the output file's name.",
            autocompletion=lambda: ["ndjson", "parquet"],
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file: .ndjson, .ndjson.gz or .parquet; - is standard output.",
            rich_help_panel=OUTPUT,
        ),
    ] = "-",
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File for rejected rows, created only if there are any; default: OUTPUT.rejects.ndjson.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    *,
    options: "Options",
    force: Force = False,
    json: Json = False,
) -> None:
    """Convert CSV files of any layout to canonical records, oldest first.

    Several files are merged by time into one output. Rejected rows are saved with line number and reason.

    Exits with 4 if a file cannot be read without guessing; the message names the option that decides.

    Examples
    --------
    tickerlake convert AAPL.csv -o AAPL.ndjson
    tickerlake convert data/ --to parquet -o bars.parquet
    cat AAPL.csv | tickerlake convert - --symbol AAPL --tz America/New_York
    """
    from tickerlake.errors import UsageError
    from tickerlake.model.reject import reject_remedy
    from tickerlake.tools.convert import FORMAT_OF, STDOUT
    from tickerlake.tools.convert import convert as run
    from tickerlake.tools.files import check_same_format, output_extension

    if to not in {None, "ndjson", "parquet"}:
        raise UsageError(f"--to {to} is not a format.", "Use ndjson or parquet.")
    if output != STDOUT:
        extension = output_extension(Path(output), tuple(FORMAT_OF))
        check_same_format(output, FORMAT_OF[extension], "--to", to)
    elif to == "parquet":
        raise UsageError(
            "Parquet cannot be written to standard output.", "Name a file, such as -o records.parquet."
        )
    else:
        extension = ".ndjson"
    if json and output == STDOUT:
        raise UsageError(
            "--json would mix with the records on standard output.", "Name a file, such as -o records.ndjson."
        )
    status_line = StatusLine()
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder:
        paths = input_files(files, Path(folder))
        merged = open_files(paths, options, status_line, digest=False)
        rejects_path = rejects or Path(f"{paths[0].name if output == STDOUT else output}.rejects.ndjson")

        def show_progress(progress: "ConvertStats") -> None:
            status_line.update(
                f"{progress.rows / max(1, merged.rows):.0%}, {progress.records:,} records, "
                f"{status_line.rate(progress.records):,.0f}/s"
            )

        try:
            with graceful_shutdown("discarding the incomplete file …") as stop:
                stats = run(
                    merged,
                    extension,
                    output,
                    rejects_path,
                    strict=options.strict,
                    force=force,
                    on_progress=show_progress,
                    should_stop=stop.is_set,
                )
        except BrokenPipeError:
            return  # the reader has closed the pipe, as `head` does
        finally:
            status_line.clear()
    destination = "standard output" if output == STDOUT else output
    print_status(f"wrote {stats.records:,} records to {destination}")
    if stats.rejects:
        print_status(f"rejected {stats.rejects:,} rows, saved with line number and reason in {rejects_path}:")
        for reject in stats.first_rejects:
            print_status(f"  {reject.file}, line {reject.line}: {reject.reason}: {reject.raw[:80]}")
        if remedy := reject_remedy(reject.reason for reject in stats.first_rejects):
            print_status(f"  → {remedy}")
    if json:
        print_json(
            {
                "output": output,
                "records": stats.records,
                "rejects": stats.rejects,
                "rejects_file": str(rejects_path) if stats.rejects else None,
                "files": [source.describe() for source in merged.sources],
            }
        )
