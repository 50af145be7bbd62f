"""``tickerlake doctor``: look whether all is there that the pipeline needs."""

from typing import Annotated

import typer

from tickerlake.cli.common import Json, Property, librdkafka_properties, print_json, print_status

_MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


def doctor(
    context: typer.Context,
    lake: Annotated[
        str | None,
        typer.Option(
            help="Check this lake: gs://bucket/prefix or a folder.",
            envvar="TICKERLAKE_LAKE",
            show_default=False,
        ),
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        typer.Option(
            "--bootstrap-servers",
            "-b",
            help="Check this Kafka; by default the embedded one, if it runs.",
            envvar="TICKERLAKE_KAFKA__BOOTSTRAP_SERVERS",
            show_default=False,
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", "-t", help="Check this topic, too; may be repeated.", show_default=False),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            help="With --dataset: check BigQuery.", envvar="GOOGLE_CLOUD_PROJECT", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The dataset that `load` fills.", show_default=False)
    ] = None,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Check Kafka, bucket, rights, BigQuery, locations, clock and disk; exit code 2 if something is wrong.

    It tries what the verbs do: creates, reads and deletes one small object in the lake and one empty table in
    the dataset, and asks Kafka what this principal may do. Records and topics are left alone.

    Examples: `tickerlake doctor` · `tickerlake doctor --lake gs://bucket/lake -b kafka:9093 -t my.bars` ·
    `tickerlake doctor --lake gs://bucket/lake --project my-project --dataset stocks`
    """
    from dataclasses import asdict
    from itertools import chain

    from tickerlake.errors import SetupError, UsageError
    from tickerlake.tools.doctor import Check, check_kafka, check_lake, check_machine, check_warehouse

    if dataset and not project:
        raise UsageError("--dataset needs --project.", "Give it, or set GOOGLE_CLOUD_PROJECT.")
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
        raise SetupError(f"{failed} of {len(checks)} checks failed.", "Each stands above with its remedy.")
