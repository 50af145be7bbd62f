"""``tickerlake broker``: the embedded Kafka broker."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.help import HelpCommand, HelpGroup
from tickerlake.cli.options import DEMO_DATA_DIR, DataDir, Json, broker_port_option

if TYPE_CHECKING:
    from tickerlake.kafka.embedded.broker import BrokerInfo

NOT_RUNNING_EXIT_CODE = 3

app = typer.Typer(name="broker", cls=HelpGroup, help="Run an Apache Kafka broker on this machine.")


@app.command(cls=HelpCommand)
def start(
    port: Annotated[int | None, broker_port_option("--port")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Start the broker, if it is not running, and print its address.

    It listens on 127.0.0.1 without a password: every user of this machine can use it. Its files can be read
    by you only.

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
        if not stopped:
            _mention_demo(data_dir)


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
        _mention_demo(data_dir)
    if info is None:
        raise typer.Exit(NOT_RUNNING_EXIT_CODE)


def _mention_demo(data_dir: Path | None) -> None:
    """Tell a user who looks for a broker in the default folder about that of the demo in this folder."""
    from tickerlake.kafka.embedded.broker import broker_status

    demo = broker_status(DEMO_DATA_DIR) if data_dir is None else None
    if demo:
        typer.echo(
            f"  → The broker of a demo runs at {demo.bootstrap_servers} (process {demo.pid}): "
            f"add --data-dir {DEMO_DATA_DIR}.",
            err=True,
        )


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
