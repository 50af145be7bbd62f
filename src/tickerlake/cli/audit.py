"""``tickerlake audit``: check that every offset is in the lake exactly once."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import StatusLine, librdkafka_properties, print_json, print_status
from tickerlake.cli.help import BIGQUERY, LAKE
from tickerlake.cli.options import Json, Lake, Property, brokers_option, topic_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickerlake.lake.audit.curated import CuratedAudit
    from tickerlake.lake.audit.repair import RepairResult
    from tickerlake.lake.audit.segments import PartitionAudit
    from tickerlake.lake.store.base import ReadableStore
    from tickerlake.warehouse.audit import LoadAudit

_CURATED_COLUMNS = ("records", "rejects", "superseded", "rows", "files", "bytes", "left_over")
_LOAD_COLUMNS = ("partition", "loads", "through", "records", "rejects", "rows")
_PARTITION_COLUMNS = (
    "partition",
    "first",
    "next",
    "records",
    "segments",
    "bytes",
    "gaps",
    "duplicates",
    "holes",
    "rejects",
)


def audit(
    context: typer.Context,
    lake: Lake,
    topic: Annotated[
        str | None,
        topic_option("Only this topic.", LAKE),
    ] = None,
    bootstrap_servers: Annotated[
        str | None,
        brokers_option("Also compare with what Kafka retains.", envvar=None),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read and check every row.", rich_help_panel=LAKE)
    ] = False,
    bigquery: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT.DATASET", help="Also compare with what was loaded.", rich_help_panel=BIGQUERY
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Rebuild missing or damaged segments from Kafka (requires -b), then audit again.",
            rich_help_panel=LAKE,
        ),
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record/--no-record",
            help="Record the outcome in the lake, for the dashboard.",
            rich_help_panel=LAKE,
        ),
    ] = True,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Check that every record is in the lake exactly once.

    Exits with 4 if a record is missing, duplicated or damaged.

    A repair keeps intact segments, moves damaged ones to damaged/, and lists offsets that cannot be
    recovered. Stop the topic's sinks first; the account needs permission to replace objects.

    Examples
    --------
    # read every row, compare with Kafka
    tickerlake audit --lake ./lake --deep -b 127.0.0.1:9092
    tickerlake audit --lake ./lake --repair -b 127.0.0.1:9092
    """
    from tickerlake.errors import AuditFailed, UsageError
    from tickerlake.lake.audit.curated import audit_curated
    from tickerlake.lake.audit.links import find_links
    from tickerlake.lake.opening import open_lake_for_reading, open_lake_for_writing
    from tickerlake.tools.audit import audit_lake
    from tickerlake.tools.repair import repair_lake

    if repair and not bootstrap_servers:
        raise UsageError(
            "--repair rebuilds segments from Kafka.", "Name the brokers with --bootstrap-servers (-b)."
        )
    deep = deep or repair
    store = open_lake_for_reading(lake)
    servers, kafka_properties = bootstrap_servers, librdkafka_properties(context, property_)
    show_progress = _Progress(store.uri)
    results = audit_lake(
        store, topic, servers, kafka_properties, deep=deep, on_progress=show_progress.advance
    )
    show_progress.clear()
    repaired: list[RepairResult] = []
    if repair and servers:
        for each in repair_lake(open_lake_for_writing(lake), results, servers, kafka_properties):
            repaired.append(each)
            _report_repair(each)
        if repaired:
            results = audit_lake(
                store, topic, servers, kafka_properties, deep=True, on_progress=show_progress.advance
            )
            show_progress.clear()
    if record and (warning := _save_outcome(lake, results, deep=deep, compared=bool(bootstrap_servers))):
        print_status(f"warning: {warning}")
    curated = [] if topic else audit_curated(store, deep=deep)
    links = [] if topic else find_links(store)
    loaded = _audit_loads(store, bigquery) if bigquery else []
    findings = [finding for result in results for finding in result.findings]
    findings += [finding for result in loaded for finding in result.findings]
    findings += [finding for result in curated for finding in result.findings]
    findings += links
    if json:
        print_json(
            {
                "lake": store.uri,
                "ok": not findings,
                "partitions": [result.to_dict() for result in results],
                "links": [asdict(link) for link in links],
                "curated": [result.to_dict() for result in curated],
                "bigquery": [result.to_dict() for result in loaded],
                "repaired": [asdict(each) for each in repaired],
            }
        )
    else:
        print_audit(results)
        if curated:
            _print_table("curated", _CURATED_COLUMNS, curated)
        if loaded:
            _print_table("in bigquery", _LOAD_COLUMNS, loaded)
        for link in links:
            print(f"✗ {link.kind}: {link.key}: {link.message}")
    if findings:
        raise AuditFailed(
            f"{len(findings):,} findings in {store.uri}, the first: "
            f"{findings[0].key}: {findings[0].message}.",
            "Use --json to list them all.",
        )
    print_status("every record is in the lake exactly once")


def _save_outcome(lake: str, results: "list[PartitionAudit]", *, deep: bool, compared: bool) -> str:
    """Record the outcome in the lake; return a warning if that fails."""
    from tickerlake.errors import TickerlakeError
    from tickerlake.lake.audit.history import save_audit_records
    from tickerlake.lake.store import open_store

    try:
        store = open_store(lake)
    except TickerlakeError as error:
        return f"the outcome of the audit could not be stored in the lake: {error.message}"
    try:
        return save_audit_records(store, results, deep=deep, compared=compared)
    finally:
        store.close()


class _Progress:
    """The status line of an audit: records, in total and per second, of what is being done."""

    def __init__(self, uri: str) -> None:
        self._line, self._uri = StatusLine(), uri
        self._step, self._records = "", 0
        self.clear = self._line.clear

    def advance(self, step: str, records: int) -> None:
        """Count records; a new step begins at zero."""
        if step != self._step:
            self._step, self._records = step, 0
        self._records += records
        rate = self._line.rate(self._records)
        self._line.update(f"{self._uri}: {self._records:,} {step}, {rate:,.0f}/s")


def _report_repair(result: "RepairResult") -> None:
    topic_partition = f"{result.topic} partition {result.partition}"
    if result.made:
        print_status(
            f"{topic_partition}: rebuilt {len(result.made):,} segments with {result.records:,} records"
        )
    for key in result.aside:
        print_status(f"{topic_partition}: quarantined {key}")
    if result.made or result.aside:
        print_status("  damaged and misplaced segments are kept in damaged/")
    for start, end in result.lost:
        print_status(
            f"{topic_partition}: offsets {start} to {end - 1} cannot be recovered: Kafka has deleted them"
        )


def print_audit(results: "list[PartitionAudit]") -> None:
    """Print a table of the partitions and the findings."""
    _print_table("topic", _PARTITION_COLUMNS, results)


def _audit_loads(store: "ReadableStore", dataset_id: str) -> "list[LoadAudit]":
    from tickerlake.errors import UsageError
    from tickerlake.warehouse.audit import audit_loads
    from tickerlake.warehouse.bigquery import Warehouse

    project, dot, dataset = dataset_id.rpartition(".")
    if not dot:
        raise UsageError(f"--bigquery {dataset_id} is not a dataset.", "Write it as PROJECT.DATASET.")
    warehouse = Warehouse(project, dataset)
    try:
        warehouse.open()
        return audit_loads(store, warehouse)
    finally:
        warehouse.close()


def _print_table(
    heading: str, columns: tuple[str, ...], results: "Sequence[PartitionAudit | CuratedAudit | LoadAudit]"
) -> None:
    from rich.console import Console
    from rich.table import Table

    # numbers must never be cut off: on a narrow terminal the line wraps instead
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(heading, no_wrap=True)
    for name in columns:
        title = "part" if name == "partition" else name.replace("_", " ")
        table.add_column(title, justify="right", no_wrap=True)
    for result in results:
        values = result.to_dict()
        table.add_row(str(values.get("topic") or values["kind"]), *(f"{values[name]:,}" for name in columns))
    Console(width=1000).print(table, soft_wrap=True)
    console = Console()
    for result in results:
        for finding in result.findings:
            console.print(
                f"✗ {finding.kind}: {finding.key}: {finding.message}", markup=False, highlight=False
            )
