"""``tickerlake load``: lake → BigQuery."""

from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import StatusLine, graceful_shutdown, print_json, print_status, session_dates
from tickerlake.cli.help import BIGQUERY
from tickerlake.cli.options import Calendar, Dataset, Json, Lake, Project, Watch

if TYPE_CHECKING:
    from tickerlake.warehouse.load import LoadProgress


def load(
    context: typer.Context,
    lake: Lake,
    dataset: Dataset,
    project: Project,
    location: Annotated[
        str | None,
        typer.Option(
            metavar="LOCATION",
            help="Create a missing dataset in this location, such as EU or us-central1; use the bucket's.",
            rich_help_panel=BIGQUERY,
        ),
    ] = None,
    watch: Watch = None,
    external: Annotated[
        bool,
        typer.Option(
            "--external",
            help="Load nothing; create external tables over the curated files (gs:// only).",
            rich_help_panel=BIGQUERY,
        ),
    ] = False,
    views: Annotated[
        bool,
        typer.Option("--views/--no-views", help="Create and update the views.", rich_help_panel=BIGQUERY),
    ] = True,
    calendar: Calendar = "24/7",
    json: Json = False,
) -> None:
    r"""Load the lake into BigQuery with free load jobs, each record once.

    Each load is recorded in the lake before it starts, and its jobs have fixed ids: after a crash, a lost
    reply, or with a second loader it is completed, never repeated. Tables are partitioned by session date
    and clustered by instrument; prices are NUMERIC.

    Examples
    --------
    # once, creating the dataset
    tickerlake load --lake gs://my-bucket/lake \
        --project my-project --dataset stocks --location EU
    # every minute
    tickerlake load --lake gs://my-bucket/lake \
        --project my-project --dataset stocks --watch 60s
    """
    from tickerlake.errors import Transient, UsageError
    from tickerlake.lake.opening import open_lake_for_writing
    from tickerlake.model.duration import parse_duration_option
    from tickerlake.warehouse.bigquery import Warehouse
    from tickerlake.warehouse.external_tables import ensure_external_tables
    from tickerlake.warehouse.load import Loader, LoadProgress

    every_s = parse_duration_option(watch, "--watch") / 1e9 if watch else None
    store = open_lake_for_writing(lake)
    if external and store.bigquery_uri is None:
        raise UsageError(
            "BigQuery reads external tables from Cloud Storage only.",
            "Omit --external: a lake in a folder is uploaded.",
        )
    warehouse = Warehouse(project, dataset)
    status_line = StatusLine()

    def show_progress(progress: LoadProgress) -> None:
        status_line.update(
            f"{warehouse.name}: {progress.rows:,} rows in {progress.loads:,} loads; {progress.activity}"
        )

    try:
        warehouse.open(location)
        with graceful_shutdown("waiting for running jobs …", is_service=watch is not None) as stop:
            loader = Loader(
                store,
                warehouse,
                session_dates(context, calendar),
                wait=stop.wait,
                report=show_progress,
            )
            while True:
                wait_s = every_s
                if external:
                    files = ensure_external_tables(store, warehouse, loader, with_views=views)
                    print_status(
                        f"{warehouse.name}: external tables over {files:,} curated files of {store.uri}"
                    )
                else:
                    try:
                        done = loader.run(with_views=views)
                    except Transient as error:
                        if every_s is None:
                            raise
                        status_line.clear()
                        print_status(f"{error}")
                        wait_s = max(every_s, error.retry_after_s)
                    else:
                        status_line.clear()
                        _report(warehouse.name, done, quiet=every_s is not None)
                        if json:
                            print_json(_stats(warehouse.name, done))
                if wait_s is None or stop.wait(wait_s):
                    break
    finally:
        status_line.clear()
        warehouse.close()
        store.close()


def _report(name: str, done: "LoadProgress", *, quiet: bool) -> None:
    if done.loads:
        tables = ", ".join(f"{rows:,} into {table}" for table, rows in sorted(done.tables.items()))
        print_status(f"loaded {done.records:,} records into {name}: {tables or 'none'}")
    elif not quiet:
        print_status(f"nothing new to load into {name}")
    if done.resumed:
        print_status(f"  {done.resumed:,} earlier loads completed")
    if done.rejects:
        first = done.rejects[0]
        print_status(
            f"  {sum(each.rows for each in done.rejects):,} rejected; the first: "
            f"{first.object}, line {first.line}: {first.reason} (all: loads/…/*.rejects.ndjson in the lake)"
        )
    if done.views:
        print_status(f"  {done.views} views created or changed")
    if done.skipped and not quiet:
        print_status(f"  skipped, no records: {', '.join(done.skipped)}")


def _stats(name: str, done: "LoadProgress") -> dict[str, object]:
    return {
        "dataset": name,
        "loads": done.loads,
        "records": done.records,
        "tables": done.tables,
        "rejects": sum(each.rows for each in done.rejects),
        "resumed": done.resumed,
        "views": done.views,
    }
