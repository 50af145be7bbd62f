"""The command line: the verbs, and how errors and Ctrl-C end the process."""

import sys
from typing import Annotated

import typer

from tickerlake import __version__
from tickerlake.cli import audit, broker, demo, produce, sink
from tickerlake.errors import TickerlakeError

app = typer.Typer(
    name="tickerlake",
    help="Track stocks: CSV files → Apache Kafka → data lake, every record exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("produce")(produce.produce)
app.command("sink")(sink.sink)
app.command("audit")(audit.audit)
app.add_typer(broker.app, name="broker")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"tickerlake {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Track stocks: CSV files → Apache Kafka → data lake, every record exactly once."""


def main() -> None:
    """Run the command line; errors become one sentence, a remedy and an exit code."""
    try:
        app()
    except TickerlakeError as error:
        print(f"tickerlake: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  → {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("tickerlake: interrupted; run the same command again to continue.", file=sys.stderr)
        sys.exit(130)
