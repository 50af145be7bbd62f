"""``tickerlake broker``: the embedded Kafka broker."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.help import KAFKA, HelpCommand, HelpGroup
from tickerlake.cli.options import DataDir, Json

if TYPE_CHECKING:
    from tickerlake.kafka.embedded.broker import BrokerInfo

NOT_RUNNING_EXIT_CODE = 3

app = typer.Typer(name="broker", cls=HelpGroup, help="Run an Apache Kafka broker on this machine.")


@app.command(cls=HelpCommand)
def start(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Port to listen on; default: the last one used, else 9092, else a free one.",
            rich_help_panel=KAFKA,
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Start the broker, if it is not running, and print its address.

    Examples
    --------
    tickerlake broker start
    """
    from tickerlake.kafka.embedded.broker import start_broker

    info = start_broker(_resolve_data_dir(data_dir), port, progress=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(_as_dict(info)) if as_json else info.bootstrap_servers)


@app.command(cls=HelpCommand)
def stop(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Stop the broker; its data stays."""
    from tickerlake.kafka.embedded.broker import stop_broker

    folder = _resolve_data_dir(data_dir)
    stopped = stop_broker(folder)
    if as_json:
        typer.echo(json.dumps({"stopped": stopped, "data_dir": str(folder)}))
    else:
        typer.echo("Stopped." if stopped else f"No broker is running in {folder}.", err=True)


@app.command(cls=HelpCommand)
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show whether the broker is running; exit with 3 if it is not."""
    from tickerlake.kafka.embedded.broker import broker_status

    folder = _resolve_data_dir(data_dir)
    info = broker_status(folder)
    if as_json:
        typer.echo(json.dumps(_as_dict(info) if info else {"running": False, "data_dir": str(folder)}))
    elif info:
        typer.echo(f"{info.bootstrap_servers}  process {info.pid}  data {info.data_dir}  log {info.log_file}")
    else:
        typer.echo(f"No broker is running in {folder}.", err=True)
    if info is None:
        raise typer.Exit(NOT_RUNNING_EXIT_CODE)


def _resolve_data_dir(data_dir: Path | None) -> Path:
    from tickerlake.kafka.embedded.broker import default_data_dir

    return data_dir or default_data_dir()


def _as_dict(info: "BrokerInfo") -> dict[str, object]:
    return {
        "running": True,
        "bootstrap_servers": info.bootstrap_servers,
        "pid": info.pid,
        "port": info.port,
        "data_dir": str(info.data_dir),
        "log_file": str(info.log_file),
    }
