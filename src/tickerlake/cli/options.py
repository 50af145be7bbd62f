"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tickerlake.cli.help import BIGQUERY, KAFKA, LAKE, OUTPUT, SERVER, TIMING

LOCAL_BROKER = "127.0.0.1:9092"
DEMO_DATA_DIR = Path(".tickerlake/broker")
URI_FORMS = "a folder, or gs://BUCKET/PREFIX"


def topic_option(text: str, panel: str = KAFKA) -> Any:
    """Return the option ``--topic`` with a help text."""
    return typer.Option("--topic", "-t", metavar="TOPIC", help=text, rich_help_panel=panel)


def brokers_option(text: str, envvar: str | None = "TICKERLAKE_KAFKA__BOOTSTRAP_SERVERS") -> Any:
    """Return the option ``--bootstrap-servers`` with a help text."""
    return typer.Option(
        "--bootstrap-servers",
        "-b",
        metavar="HOST:PORT",
        help=text,
        envvar=envvar,
        rich_help_panel=KAFKA,
        callback=_check_servers,
    )


def _check_servers(value: str | None) -> str | None:
    from tickerlake.kafka.addresses import check_servers

    if value is not None:
        check_servers(value)
    return value


def lake_option(text: str) -> Any:
    """Return the option ``--lake`` with a help text."""
    return typer.Option(
        "--lake",
        metavar="URI",
        help=f"{text}: {URI_FORMS}.",
        envvar="TICKERLAKE_LAKE",
        rich_help_panel=LAKE,
    )


def data_dir_option(text: str) -> Any:
    """Return the option ``--data-dir`` with a help text."""
    return typer.Option("--data-dir", metavar="DIR", help=text, rich_help_panel=KAFKA)


def broker_port_option(name: str) -> Any:
    """Return the option for the embedded broker's port."""
    return typer.Option(
        name,
        min=0,
        max=65_535,
        metavar="PORT",
        help="Port of the broker, 0 for a free one; default: the last one used, else 9092, else a free one.",
        rich_help_panel=KAFKA,
    )


Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES",
        help="CSV files, plain or compressed (gz, zip, zst, bz2, xz), folders or glob patterns; "
        "- reads standard input.",
    ),
]
BootstrapServers = Annotated[str, brokers_option("Kafka brokers, separated by commas.")]
Property = Annotated[
    list[str] | None,
    typer.Option(
        "--property",
        "-X",
        metavar="NAME=VALUE",
        help="Set a librdkafka property; repeatable.",
        rich_help_panel=KAFKA,
    ),
]
Partitions = Annotated[
    int, typer.Option(min=1, metavar="N", help="Partitions of a topic it creates.", rich_help_panel=KAFKA)
]
CreateTopic = Annotated[
    bool,
    typer.Option("--create/--no-create", help="Create the topic if it is missing.", rich_help_panel=KAFKA),
]
Mix = Annotated[
    bool,
    typer.Option("--mix", help="Write to a topic that holds other record types.", rich_help_panel=KAFKA),
]
Lake = Annotated[str, lake_option("The lake")]
Project = Annotated[
    str,
    typer.Option(
        metavar="ID",
        help="Google Cloud project.",
        envvar="GOOGLE_CLOUD_PROJECT",
        rich_help_panel=BIGQUERY,
    ),
]
Dataset = Annotated[str, typer.Option(metavar="NAME", help="BigQuery dataset.", rich_help_panel=BIGQUERY)]
Calendar = Annotated[
    str,
    typer.Option(
        metavar="CODE",
        help="Trading calendar of instruments without a known exchange, such as XNYS; 24/7 means "
        "round the clock.",
        rich_help_panel=TIMING,
    ),
]
Speed = Annotated[
    str,
    typer.Option(
        metavar="FACTOR",
        help="Pace by event time: 1x is real time, 60x sends an hour in a minute; max sends at once.",
        rich_help_panel=TIMING,
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        metavar="N/s", help="Pace by count: rows per second, such as 500/s.", rich_help_panel=TIMING
    ),
]
LongestWait = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="With --speed: shorten longer gaps, such as nights, to this, for example 2s.",
        rich_help_panel=TIMING,
    ),
]
Watch = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Keep running; check for new data at this interval, such as 15m.",
        rich_help_panel=TIMING,
    ),
]
UntilEnd = Annotated[
    bool,
    typer.Option("--until-end", help="Stop at the end of the topic.", rich_help_panel=TIMING),
]
DashboardPort = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65_535,
        metavar="PORT",
        help="Port of the dashboard, 0 for a free one; default: 8787, else a free one.",
        rich_help_panel=SERVER,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.", rich_help_panel=OUTPUT)]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=OUTPUT)
]
DataDir = Annotated[
    Path | None, data_dir_option("Folder of the embedded broker; default: in the user's data folder.")
]
