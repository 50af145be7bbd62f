"""``tickerlake doctor``: check the prerequisites of the pipeline."""

from typing import Annotated

import typer

from tickerlake.cli.common import librdkafka_properties, print_json, print_status
from tickerlake.cli.help import BIGQUERY
from tickerlake.cli.options import Json, Property, brokers_option, lake_option, topic_option

_MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


def doctor(
    context: typer.Context,
    lake: Annotated[
        str | None,
        lake_option("Check this lake"),
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        brokers_option("Check these Kafka brokers; default: the embedded one, if it is running."),
    ] = None,
    topic: Annotated[
        list[str] | None,
        topic_option("Also check this topic; repeatable."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Google Cloud project; with --dataset, check BigQuery.",
            envvar="GOOGLE_CLOUD_PROJECT",
            rich_help_panel=BIGQUERY,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="BigQuery dataset that load writes to.", rich_help_panel=BIGQUERY),
    ] = None,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Check prerequisites: Kafka, lake, BigQuery, permissions, clock, disk.

    It creates, reads and deletes one small object in the lake and one empty table in the dataset, and queries
    Kafka for this principal's permissions. Records and topics are not touched.

    Exits with 2 if a check fails.

    Examples
    --------
    tickerlake doctor
    tickerlake doctor --lake gs://my-bucket/lake -b kafka:9092 -t my.bars
    tickerlake doctor --lake ./lake --project my-project --dataset stocks
    """
    from dataclasses import asdict
    from itertools import chain

    from tickerlake.errors import SetupError, UsageError
    from tickerlake.tools.doctor import Check, check_kafka, check_lake, check_machine, check_warehouse

    if dataset and not project:
        raise UsageError("--dataset needs --project.", "Add it, or set GOOGLE_CLOUD_PROJECT.")
    parts = [
        check_machine(),
        check_kafka(bootstrap_servers, librdkafka_properties(context, property_), topic or ()),
    ]
    if lake:
        parts.append(check_lake(lake))
    if project and dataset:
        parts.append(check_warehouse(project, dataset, lake))
    checks: list[Check] = []
    for check in chain.from_iterable(parts):
        checks.append(check)
        if not json:
            print(f"{_MARKS[check.state]} {check.part:16} {check.found}", flush=True)
            if check.remedy:
                print(f"{'':18} → {check.remedy}", flush=True)
    if json:
        print_json([asdict(check) for check in checks])
    not_checked = [
        name for name, requested in (("--lake", lake), ("--project and --dataset", dataset)) if not requested
    ]
    if not_checked and not json:
        print_status(f"not checked: {', '.join(not_checked)}")
    failed = sum(check.state == "failed" for check in checks)
    if failed:
        raise SetupError(f"{failed} of {len(checks)} checks failed.", "The remedies are above.")
