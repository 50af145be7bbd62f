"""``tickerlake convert``: files → canonical records, without Kafka."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import Files, Force, Json, Ticker, emit, input_files, open_files, say, stopping
from tickerlake.cli.options import takes_options

if TYPE_CHECKING:
    from tickerlake.pipeline.convert import Converted
    from tickerlake.sources.csv.options import Options


@takes_options()
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
    from tickerlake.pipeline.convert import STDOUT
    from tickerlake.pipeline.convert import convert as run

    if to not in {"ndjson", "parquet"}:
        raise UsageError(f"--to {to} is not known.", "Give ndjson or parquet.")
    if to == "parquet" and output == STDOUT:
        raise UsageError("Parquet can't be written to standard output.", "Name a file: -o records.parquet")
    ending = f".{to}.gz" if to == "ndjson" and output.endswith(".gz") else f".{to}"
    if json and output == STDOUT:
        raise UsageError(
            "--json would mix with the records on standard output.", "Name a file: -o records.ndjson"
        )
    ticker = Ticker()
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, stopping() as stop:
        paths = input_files(files, Path(folder))
        replay = open_files(paths, options, ticker, digest=False)
        kept = rejects or Path(f"{paths[0].name if output == STDOUT else output}.rejects.ndjson")

        def show(now: "Converted") -> None:
            ticker.show(
                f"{now.rows / max(1, replay.rows):.0%}, {now.records:,} records, "
                f"{ticker.rate(now.records):,.0f}/s"
            )

        try:
            done = run(
                replay,
                ending,
                output,
                kept,
                strict=options.strict,
                force=force,
                on_progress=show,
                stopped=stop.is_set,
            )
        except BrokenPipeError:
            return  # who reads has enough, as `head` has
        finally:
            ticker.end()
    where = "standard output" if output == STDOUT else output
    say(f"{done.records:,} records to {where}")
    if done.rejects:
        say(f"{done.rejects:,} rows refused, kept with line and reason in {kept}:")
        for reject in done.first_rejects:
            say(f"  {reject.file}, line {reject.line}: {reject.reason}: {reject.raw[:80]}")
    if json:
        emit(
            {
                "output": output,
                "records": done.records,
                "rejects": done.rejects,
                "rejects_file": str(kept) if done.rejects else None,
                "files": [source.describe() for source in replay.sources],
            }
        )
