"""``tickerlake audit``: proof that every offset is in the lake exactly once."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import Json, Lake, Property, emit, properties, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickerlake.lake.audit import PartitionAudit
    from tickerlake.lake.audit_curated import CuratedAudit
    from tickerlake.lake.repair import Repaired
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
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Make what is missing or damaged anew, of what Kafka (-b) still has; then look again.",
        ),
    ] = False,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Prove that every record is in the lake exactly once; exit code 4 if not.

    With `--deep` every row is read, and with `-b` compared with what Kafka holds. `--repair` leaves sound
    segments as they are, keeps what was damaged under `damaged/`, and names what can't be had back. Stop the
    sinks of a topic before you repair it; the account has to be allowed to replace objects.

    Examples: `tickerlake audit --lake ./lake --deep -b 127.0.0.1:9092` ·
    `tickerlake audit --lake ./lake --repair -b 127.0.0.1:9092`
    """
    from tickerlake.errors import AuditFailed, UsageError
    from tickerlake.lake.audit_curated import audit_curated
    from tickerlake.lake.audits import record
    from tickerlake.lake.store import open_store
    from tickerlake.pipeline.prove import prove
    from tickerlake.pipeline.repair import repair as repair_lake

    if repair and not bootstrap_servers:
        raise UsageError(
            "--repair reads records from Kafka again.", "Say where it is: --bootstrap-servers (-b)."
        )
    deep = deep or repair
    store = open_store(lake)
    servers, given = bootstrap_servers, properties(context, property_)
    results = prove(store, topic, servers, given, deep=deep)
    repaired: list[Repaired] = []
    if repair and servers:
        for each in repair_lake(store, results, servers, given):
            repaired.append(each)
            _tell(each)
        if repaired:
            results = prove(store, topic, servers, given, deep=True)
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
                "repaired": [asdict(each) for each in repaired],
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


def _tell(done: "Repaired") -> None:
    place = f"{done.topic} partition {done.partition}"
    if done.made:
        say(f"{place}: made {len(done.made):,} object(s) of {done.records:,} records anew")
    for key in done.aside:
        say(f"{place}: took {key} out of the chain")
    if done.made or done.aside:
        say("  what was damaged or out of place is kept under damaged/")
    for start, end in done.lost:
        say(f"{place}: offsets {start} to {end - 1} can't be had back: Kafka no longer has them")


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
