"""``tickerlake load``: the lake → BigQuery."""

from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    Calendar,
    Dataset,
    Json,
    Lake,
    Project,
    StatusLine,
    graceful_shutdown,
    print_json,
    print_status,
    session_dates,
)

if TYPE_CHECKING:
    from tickerlake.warehouse.load import LoadProgress


def load(
    lake: Lake,
    dataset: Dataset,
    project: Project,
    location: Annotated[
        str | None,
        typer.Option(
            help="Create the dataset there if it is missing: EU, us-central1 … Use that of the bucket.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        str | None, typer.Option(help="Go on, with a look this often: 60s.", show_default=False)
    ] = None,
    external: Annotated[
        bool,
        typer.Option("--external", help="Load nothing: make tables over the curated files (gs:// only)."),
    ] = False,
    views: Annotated[bool, typer.Option("--views/--no-views", help="Create and update the views.")] = True,
    calendar: Calendar = "24/7",
    json: Json = False,
) -> None:
    """Load the lake into BigQuery by free load jobs, each record once, and make views.

    Every load is planned in the lake first, and its jobs have names of their own, so that it is found again
    after a crash, by a second loader, or when a reply was lost. Tables are partitioned by the exchange's day
    and clustered by instrument; prices are NUMERIC.

    Examples: `tickerlake load --lake gs://bucket/lake --project my-project --dataset stocks --location EU` ·
    `tickerlake load --lake gs://bucket/lake --project my-project --dataset stocks --watch 60s` ·
    `tickerlake load --lake gs://bucket/lake --project my-project --dataset stocks --external`
    """
    from tickerlake.errors import Transient, UsageError
    from tickerlake.lake.store import open_store
    from tickerlake.model.duration import parse_duration_option
    from tickerlake.warehouse.bigquery import Warehouse
    from tickerlake.warehouse.external_tables import ensure_external_tables
    from tickerlake.warehouse.load import Loader, LoadProgress

    every_s = parse_duration_option(watch, "--watch") / 1e9 if watch else None
    store = open_store(lake)
    if external and store.bigquery_uri is None:
        raise UsageError(
            "BigQuery reads external tables from Cloud Storage only.",
            "Leave out --external: a lake in a folder is uploaded.",
        )
    warehouse = Warehouse(project, dataset)
    ticker = StatusLine()

    def show(now: LoadProgress) -> None:
        ticker.update(f"{warehouse.name}: {now.rows:,} rows in {now.loads:,} loads; {now.activity}")

    try:
        warehouse.open(location)
        with graceful_shutdown("waiting for the jobs that were begun …") as stop:
            loader = Loader(
                store,
                warehouse,
                session_dates(calendar),
                wait=stop.wait,
                report=show,
            )
            while True:
                wait_s = every_s
                if external:
                    files = ensure_external_tables(store, warehouse, loader, with_views=views)
                    print_status(f"{warehouse.name} shows {files:,} curated files of {store.uri}")
                else:
                    try:
                        done = loader.run(with_views=views)
                    except Transient as error:
                        if every_s is None:
                            raise
                        ticker.clear()
                        print_status(f"{error}")
                        wait_s = max(every_s, error.retry_after_s)
                    else:
                        ticker.clear()
                        _report(warehouse.name, done, quiet=every_s is not None)
                        if json:
                            print_json(_stats(warehouse.name, done))
                if wait_s is None or stop.wait(wait_s):
                    break
    finally:
        ticker.clear()
        warehouse.close()
        store.close()


def _report(name: str, done: "LoadProgress", *, quiet: bool) -> None:
    if done.loads:
        tables = ", ".join(f"{rows:,} into {table}" for table, rows in sorted(done.tables.items()))
        print_status(f"loaded {done.records:,} records into {name}: {tables or 'none'}")
    elif not quiet:
        print_status(f"nothing new to load into {name}")
    if done.resumed:
        print_status(f"  {done.resumed} load(s) that had been begun before were completed")
    if done.rejects:
        first = done.rejects[0]
        print_status(
            f"  {len(done.rejects):,} records are none of their topic's kind, and were left out; the first: "
            f"{first.object}, line {first.line}: {first.reason} (all: loads/…/*.rejects.ndjson in the lake)"
        )
    if done.views:
        print_status(f"  {done.views} views were created or changed")
    if done.skipped and not quiet:
        print_status(f"  without records of ours: {', '.join(done.skipped)}")


def _stats(name: str, done: "LoadProgress") -> dict[str, object]:
    return {
        "dataset": name,
        "loads": done.loads,
        "records": done.records,
        "tables": done.tables,
        "rejects": len(done.rejects),
        "resumed": done.resumed,
        "views": done.views,
    }
