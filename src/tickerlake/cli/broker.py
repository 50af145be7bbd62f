"""``tickerlake broker``: the embedded Kafka on its own."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tickerlake.kafka.embedded.broker import BrokerInfo

NOT_RUNNING_EXIT_CODE = 3

app = typer.Typer(no_args_is_help=True, help="Run a real Apache Kafka broker on this machine.")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="The broker's folder; by default in the user's data folder."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def start(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="By default the one used last, else 9092, else a free one."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Start the broker, unless it runs already, and print where clients connect to."""
    from tickerlake.kafka.embedded.broker import start_broker

    info = start_broker(_resolve_data_dir(data_dir), port, progress=lambda line: typer.echo(line, err=True))
    typer.echo(json.dumps(_as_dict(info)) if as_json else info.bootstrap_servers)


@app.command()
def stop(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the broker; its data stay."""
    from tickerlake.kafka.embedded.broker import stop_broker

    folder = _resolve_data_dir(data_dir)
    stopped = stop_broker(folder)
    if as_json:
        typer.echo(json.dumps({"stopped": stopped, "data_dir": str(folder)}))
    else:
        typer.echo("Stopped." if stopped else f"No broker runs on {folder}.", err=True)


@app.command()
def status(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Say whether the broker runs: exit code 0 if it does, 3 if not."""
    from tickerlake.kafka.embedded.broker import broker_status

    folder = _resolve_data_dir(data_dir)
    info = broker_status(folder)
    if as_json:
        typer.echo(json.dumps(_as_dict(info) if info else {"running": False, "data_dir": str(folder)}))
    elif info:
        typer.echo(f"{info.bootstrap_servers}  process {info.pid}  data {info.data_dir}  log {info.log_file}")
    else:
        typer.echo(f"No broker runs on {folder}.", err=True)
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
