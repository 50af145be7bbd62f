"""The command line: its commands, and how errors end them."""

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
    interrupt,
    load,
    produce,
    query,
    rules,
    serve,
    simulate,
    sink,
    track,
)
from tickerlake.cli.help import HelpCommand, HelpGroup
from tickerlake.durable import is_disk_full
from tickerlake.errors import TickerlakeError, UsageError
from tickerlake.version import VERSION

if TYPE_CHECKING:
    from tickerlake.config import Settings

_COMMANDS: dict[str, list[Any]] = {
    "Try it": [demo.demo, simulate.simulate],
    "Data in": [inspect.inspect, convert.convert, produce.produce],
    "Lake": [sink.sink, compact.compact, query.query, load.load],
    "Track": [track.track, serve.serve, rules.app, alerts.app],
    "Operate": [audit.audit, doctor.doctor, broker.app],
}

app = typer.Typer(
    name="tickerlake",
    cls=HelpGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, rich_help_panel=_panel)
        else:
            app.command(cls=HelpCommand, rich_help_panel=_panel)(_command)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"tickerlake {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", help="Settings file; default: tickerlake.toml in this folder."
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Track stocks: CSV files → Apache Kafka → data lake, each record exactly once.

    Settings come from options, else from TICKERLAKE_… variables, else from
    tickerlake.toml. `tickerlake COMMAND --help` describes a command.

    Exit codes
    ----------
    0    done
    2    usage or configuration error
    3    gave up on a transient failure: run the command again
    4    data rejected or audit failed
    130  interrupted (Ctrl-C): run the command again to continue
    143  terminated (SIGTERM): likewise; services exit with 0
    """
    from tickerlake import failpoints
    from tickerlake.config import load_settings

    failpoints.arm(os.environ)
    settings = load_settings(os.environ, config)
    context.obj = settings
    context.default_map = command_defaults(settings)


def command_defaults(settings: "Settings") -> dict[str, dict[str, Any]]:
    """Return, for each command, the values of the options that the settings set."""
    kafka = {"bootstrap_servers": settings.kafka.bootstrap_servers}
    lake = {"lake": settings.lake}
    defaults = {
        "produce": {**kafka, **_set_fields(settings.produce)},
        "simulate": kafka,
        "sink": {**kafka, **lake, **_set_fields(settings.sink), "format_": settings.sink.format},
        "track": {**kafka, "state": settings.lake, **_set_fields(settings.track)},
        "serve": {**kafka, **lake, **_set_fields(settings.serve)},
        "audit": lake,
        "compact": lake,
        "query": lake,
        "load": {**lake, **_set_fields(settings.load)},
        "doctor": {
            **kafka,
            **lake,
            "topic": settings.sink.topic,
            "project": settings.load.project,
            "dataset": settings.load.dataset,
        },
    }
    present = {command: _without_none(options) for command, options in defaults.items()}
    return {**present, "alerts": dict.fromkeys(("list", "tail"), _without_none(kafka))}


def _set_fields(section: Any) -> dict[str, Any]:
    return _without_none({name: getattr(section, name) for name in section.__struct_fields__})


def _without_none(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def run() -> int:
    """Run the command line and return the exit code; an error becomes one sentence and a remedy."""
    interrupt.started()
    if sys.stdout:
        # texts of others may have characters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        # a number is the exit code of a command that ended early
        code = app(prog_name="tickerlake", standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()
    except SystemExit as ended:
        # Click ends the process with 1 if a pipe is closed
        if isinstance(ended.__context__, BrokenPipeError):
            return _report(ended.__context__)
        raise
    except Exception as error:
        if interrupt.was_raised():
            raise
        return _report(error)
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    """Print an error and return its exit code; raise one that is a defect."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "tickerlake"
        _print_error(error.format_message(), f"See `{path} --help`.")
        return error.exit_code
    if isinstance(error, TickerlakeError):
        _print_error(error.message, error.hint)
        return error.exit_code
    if isinstance(error, typer.Abort):
        _print_error("Aborted.", "The command asks for an input: run it in a terminal.")
        return UsageError.exit_code
    if isinstance(error, BrokenPipeError):
        # the reader has closed the pipe, as `head` does; without this, flushing at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if text := _text_that_is_not_utf_8(error):
        _print_error(f"{text} is not UTF-8.", "Only names of files to read may be in another encoding.")
        return UsageError.exit_code
    if is_disk_full(error):
        _print_error(
            f"A disk is full: {str(error).splitlines()[0]}",
            f"Free disk space, or set TMPDIR to another folder for temporary files (now "
            f"{tempfile.gettempdir()}); then run the same command again to continue.",
        )
        return 3
    if isinstance(error, OSError):
        place = f"{error.filename!s}: " if error.filename else ""
        _print_error(f"{place}{error.strerror or error}.", "Check the path, its folder and its permissions.")
        return UsageError.exit_code
    raise error


def _text_that_is_not_utf_8(error: BaseException | None) -> str:
    """Return the text that an error is about, if an argument holds bytes that are not UTF-8."""
    while error is not None:
        if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
            return repr(error.object[:80])
        error = error.__cause__ or error.__context__
    return ""


def _print_error(message: str, hint: str) -> None:
    print(f"tickerlake: {message}", file=sys.stderr)
    if hint:
        print(f"  → {hint}", file=sys.stderr)
