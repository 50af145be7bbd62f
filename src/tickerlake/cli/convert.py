"""``tickerlake convert``: files → canonical records, without Kafka."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    Files,
    Force,
    Json,
    StatusLine,
    graceful_shutdown,
    input_files,
    open_files,
    print_json,
    print_status,
)
from tickerlake.cli.options import with_file_options

if TYPE_CHECKING:
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.tools.convert import ConvertStats


@with_file_options()
def convert(
    files: Files,
    to: Annotated[str, typer.Option("--to", help="ndjson or parquet.")] = "ndjson",
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="File to write, - for standard output; .ndjson.gz is packed."),
    ] = "-",
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="File for refused rows; by default <output>.rejects.ndjson. Made only if there are any."
        ),
    ] = None,
    *,
    options: "Options",
    force: Force = False,
    json: Json = False,
) -> None:
    """Turn CSV files of any layout into canonical records, oldest first.

    Several files become one output, merged by time.
    Refused rows are kept, with line and reason, in the rejects file.
    Exit code 4 if a file can't be read without guessing: the message names the option that settles it.

    Examples: `tickerlake convert AAPL.csv -o AAPL.ndjson` ·
    `tickerlake convert data/ --to parquet -o bars.parquet` ·
    `zcat x.csv.gz | tickerlake convert - --symbol AAPL --tz America/New_York`
    """
    from tickerlake.errors import UsageError
    from tickerlake.tools.convert import STDOUT
    from tickerlake.tools.convert import convert as run

    if to not in {"ndjson", "parquet"}:
        raise UsageError(f"--to {to} is not known.", "Give ndjson or parquet.")
    if to == "parquet" and output == STDOUT:
        raise UsageError("Parquet can't be written to standard output.", "Name a file: -o records.parquet")
    extension = f".{to}.gz" if to == "ndjson" and output.endswith(".gz") else f".{to}"
    if json and output == STDOUT:
        raise UsageError(
            "--json would mix with the records on standard output.", "Name a file: -o records.ndjson"
        )
    ticker = StatusLine()
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, graceful_shutdown() as stop:
        paths = input_files(files, Path(folder))
        merged = open_files(paths, options, ticker, digest=False)
        rejects_path = rejects or Path(f"{paths[0].name if output == STDOUT else output}.rejects.ndjson")

        def show(now: "ConvertStats") -> None:
            ticker.update(
                f"{now.rows / max(1, merged.rows):.0%}, {now.records:,} records, "
                f"{ticker.rate(now.records):,.0f}/s"
            )

        try:
            stats = run(
                merged,
                extension,
                output,
                rejects_path,
                strict=options.strict,
                force=force,
                on_progress=show,
                should_stop=stop.is_set,
            )
        except BrokenPipeError:
            return  # who reads has enough, as `head` has
        finally:
            ticker.clear()
    destination = "standard output" if output == STDOUT else output
    print_status(f"{stats.records:,} records to {destination}")
    if stats.rejects:
        print_status(f"{stats.rejects:,} rows refused, kept with line and reason in {rejects_path}:")
        for reject in stats.first_rejects:
            print_status(f"  {reject.file}, line {reject.line}: {reject.reason}: {reject.raw[:80]}")
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
