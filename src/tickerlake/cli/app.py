"""The command line: the verbs, and how errors and Ctrl-C end the process."""

import errno
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli import (
    alerts,
    audit,
    broker,
    compact,
    convert,
    demo,
    doctor,
    inspect,
    load,
    produce,
    query,
    rules,
    serve,
    simulate,
    sink,
    track,
)
from tickerlake.errors import TickerlakeError
from tickerlake.version import VERSION

if TYPE_CHECKING:
    from tickerlake.config import Settings

app = typer.Typer(
    name="tickerlake",
    help="Track stocks: CSV files → Apache Kafka → data lake, every record exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.command("inspect")(inspect.inspect)
app.command("convert")(convert.convert)
app.command("simulate")(simulate.simulate)
app.command("produce")(produce.produce)
app.command("sink")(sink.sink)
app.command("track")(track.track)
app.command("compact")(compact.compact)
app.command("load")(load.load)
app.command("query")(query.query)
app.command("serve")(serve.serve)
app.add_typer(alerts.app, name="alerts")
app.add_typer(rules.app, name="rules")
app.command("audit")(audit.audit)
app.add_typer(broker.app, name="broker")
app.command("doctor")(doctor.doctor)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"tickerlake {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; by default tickerlake.toml, if it is in this folder."),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Track stocks: CSV files → Apache Kafka → data lake, every record exactly once."""
    from tickerlake import failpoints
    from tickerlake.config import load_settings as read_settings

    failpoints.arm(os.environ)
    settings = read_settings(os.environ, config)
    context.obj = settings
    context.default_map = _command_defaults(settings)


def _command_defaults(settings: "Settings") -> dict[str, dict[str, Any]]:
    """Return the options of each verb that the settings give."""
    import msgspec

    kafka = {"bootstrap_servers": settings.kafka.bootstrap_servers}
    sink = msgspec.structs.asdict(settings.sink)
    commands = {
        "produce": {**kafka, **msgspec.structs.asdict(settings.produce)},
        "simulate": kafka,
        "sink": {**kafka, "lake": settings.lake, **sink, "format_": sink["format"]},
        "track": {**kafka, "state": settings.lake, **_present_settings(settings.track)},
        "serve": {**kafka, "lake": settings.lake, **_present_settings(settings.serve)},
        "audit": {"lake": settings.lake},
        "compact": {"lake": settings.lake},
        "query": {"lake": settings.lake},
        "load": {"lake": settings.lake, **_present_settings(settings.load)},
        "doctor": {
            **kafka,
            "lake": settings.lake,
            "topic": settings.sink.topic,
            "project": settings.load.project,
            "dataset": settings.load.dataset,
        },
        "alerts": {"tail": {name: value for name, value in kafka.items() if value is not None}},
    }
    return {
        command: {name: value for name, value in options.items() if value is not None}
        for command, options in commands.items()
    }


def _present_settings(section: Any) -> dict[str, Any]:
    import msgspec

    return {name: value for name, value in msgspec.structs.asdict(section).items() if value is not None}


def main() -> None:
    """Run the command line; errors become one sentence, a remedy and an exit code."""
    try:
        app()
    except TickerlakeError as error:
        print(f"tickerlake: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  → {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        # libraries wrap it in errors of their own, which agree in the system's words only
        disk_errors = [
            os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in str(error)
        ]
        if not disk_errors:
            raise
        print(f"tickerlake: A disk is full: {str(error).splitlines()[0]}", file=sys.stderr)
        print(
            f"  → Free some space, or name another folder for temporary files ({tempfile.gettempdir()}) in "
            "TMPDIR; run the same command again to continue.",
            file=sys.stderr,
        )
        sys.exit(3)
    except KeyboardInterrupt:
        print("tickerlake: interrupted; run the same command again to continue.", file=sys.stderr)
        sys.exit(130)
