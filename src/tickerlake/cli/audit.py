"""``tickerlake audit``: proof that every offset is in the lake exactly once."""

from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import Json, Lake, Property, emit, properties, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickerlake.lake.audit import PartitionAudit
    from tickerlake.lake.audit_curated import CuratedAudit
    from tickerlake.lake.store.base import Store
    from tickerlake.warehouse.audit import LoadAudit

_CURATED = ("records", "misfits", "superseded", "rows", "files", "bytes", "left_over")
_LOADED = ("partition", "loads", "through", "records", "misfits", "rows")
_COLUMNS = (
    "partition",
    "first",
    "next",
    "records",
    "segments",
    "bytes",
    "gaps",
    "doubles",
    "holes",
    "rejects",
)


def audit(
    context: typer.Context,
    lake: Lake,
    topic: Annotated[str | None, typer.Option("--topic", "-t", help="Only this topic.")] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", "-b", help="Also compare with what Kafka retains.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every row and check it.")] = False,
    bigquery: Annotated[
        str | None,
        typer.Option(help="Also compare with what was loaded: PROJECT.DATASET.", show_default=False),
    ] = None,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Prove that every record is in the lake exactly once; exit code 4 if not.

    Example: `tickerlake audit --lake ./lake --deep -b 127.0.0.1:9092`
    """
    from tickerlake.errors import AuditFailed
    from tickerlake.lake.audit import audit as audit_lake
    from tickerlake.lake.audit_curated import audit_curated
    from tickerlake.lake.audits import record
    from tickerlake.lake.store import open_store
    from tickerlake.pipeline.prove import check_against_kafka

    store = open_store(lake)
    results = list(audit_lake(store, topic, deep=deep))
    if bootstrap_servers:
        for name in sorted({result.topic for result in results}):
            mine = [result for result in results if result.topic == name]
            before = len(mine)
            check_against_kafka(store, name, mine, bootstrap_servers, properties(context, property_))
            results.extend(mine[before:])
    if warning := record(store, results, deep=deep, compared=bool(bootstrap_servers)):
        say(f"warning: {warning}")
    curated = [] if topic else audit_curated(store, deep=deep)
    loaded = _loads(store, bigquery) if bigquery else []
    findings = [finding for result in results for finding in result.findings]
    findings += [finding for result in loaded for finding in result.findings]
    findings += [finding for result in curated for finding in result.findings]
    if json:
        emit(
            {
                "lake": store.uri,
                "ok": not findings,
                "partitions": [result.to_dict() for result in results],
                "curated": [result.to_dict() for result in curated],
                "bigquery": [result.to_dict() for result in loaded],
            }
        )
    else:
        show(results)
        if curated:
            _show("curated", _CURATED, curated)
        if loaded:
            _show("in bigquery", _LOADED, loaded)
    if findings:
        raise AuditFailed(
            f"{len(findings)} finding(s) in {store.uri}, the first: "
            f"{findings[0].key}: {findings[0].message}.",
            "`--json` lists them all.",
        )
    say("every record is there exactly once")


def show(results: "list[PartitionAudit]") -> None:
    """Print the table and the findings."""
    _show("topic", _COLUMNS, results)


def _loads(store: "Store", place: str) -> "list[LoadAudit]":
    from tickerlake.errors import UsageError
    from tickerlake.warehouse.audit import audit_loads
    from tickerlake.warehouse.bigquery import Warehouse

    project, dot, dataset = place.rpartition(".")
    if not dot:
        raise UsageError(f"--bigquery {place} names no dataset.", "Write it as PROJECT.DATASET.")
    warehouse = Warehouse(project, dataset)
    try:
        warehouse.open()
        return audit_loads(store, warehouse)
    finally:
        warehouse.close()


def _show(
    heading: str, columns: tuple[str, ...], results: "Sequence[PartitionAudit | CuratedAudit | LoadAudit]"
) -> None:
    from rich.console import Console
    from rich.table import Table

    # a figure must never be cut: on a narrow terminal the line wraps instead
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(heading, no_wrap=True)
    for name in columns:
        shown = "part" if name == "partition" else name.replace("_", " ")
        table.add_column(shown, justify="right", no_wrap=True)
    for result in results:
        figures = result.to_dict()
        table.add_row(
            str(figures.get("topic") or figures["kind"]), *(f"{figures[name]:,}" for name in columns)
        )
    Console(width=1000).print(table, soft_wrap=True)
    console = Console()
    for result in results:
        for finding in result.findings:
            console.print(
                f"✗ {finding.kind}: {finding.key}: {finding.message}", markup=False, highlight=False
            )
