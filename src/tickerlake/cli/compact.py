"""``tickerlake compact``: raw segments → curated Parquet files."""

from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import StatusLine, graceful_shutdown, print_json, print_status, session_dates
from tickerlake.cli.help import LAKE, OTHER
from tickerlake.cli.options import Calendar, Json, Lake, Watch, topic_option

if TYPE_CHECKING:
    from tickerlake.lake.compact import CompactionProgress


def compact(
    context: typer.Context,
    lake: Lake,
    topic: Annotated[
        str | None,
        topic_option("Only this topic.", LAKE),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Ignore records Kafka received at or after this time (UTC): 2026-11-27 or "
            "2026-11-27T20:00:00Z.",
            rich_help_panel=LAKE,
        ),
    ] = None,
    watch: Watch = None,
    calendar: Calendar = "24/7",
    keep: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Delete replaced files after this long, or never.",
            rich_help_panel=LAKE,
        ),
    ] = "7d",
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory limit for sorting.", rich_help_panel=OTHER)
    ] = "1GB",
    json: Json = False,
) -> None:
    """Compact raw segments into sorted Parquet files by date.

    They are faster to query, and other tools can read them. Every record is in curated/ once, is superseded
    by a later revision of its bar, or is in curated/_rejects/ with a reason. Raw segments stay.

    Run it as often as you like: it continues where it stopped, even after being killed.

    Examples
    --------
    tickerlake compact --lake ./lake
    tickerlake compact --lake gs://my-bucket/lake --watch 15m
    tickerlake compact --lake ./lake --until 2026-11-27
    """
    import tempfile
    from pathlib import Path

    import msgspec

    from tickerlake.errors import Transient
    from tickerlake.lake.compact import Compactor
    from tickerlake.lake.curated import delete_obsolete
    from tickerlake.lake.opening import open_lake_for_writing
    from tickerlake.model.duration import parse_duration_option

    every_s = parse_duration_option(watch, "--watch") / 1e9 if watch else None
    keep_ms = None if keep == "never" else parse_duration_option(keep, "--keep") // 1_000_000
    until_ms = _until_ms(until) if until else None
    store = open_lake_for_writing(lake)
    status_line = StatusLine()

    def show_progress(progress: "CompactionProgress") -> None:
        status_line.update(f"{store.uri}: {progress.records:,} records compacted; {progress.activity}")

    dates = session_dates(context, calendar)
    with (
        graceful_shutdown("discarding the incomplete step …", is_service=watch is not None) as stop,
        tempfile.TemporaryDirectory() as folder,
    ):
        compactor = Compactor(
            store,
            dates,
            Path(folder),
            topic=topic,
            until_ms=until_ms,
            memory=memory,
            should_stop=stop.is_set,
            report=show_progress,
        )
        while True:
            try:
                done = compactor.run()
            except Transient as error:
                if every_s is None:
                    raise
                status_line.clear()
                print_status(f"{error} Trying again in {watch}.")
                if stop.wait(every_s):
                    break
                continue
            status_line.clear()
            deleted = 0 if keep_ms is None else sum(1 for _ in delete_obsolete(store, keep_ms))
            if not watch or done.steps or deleted:
                _report(store.uri, done, deleted)
            if json:
                counts = {
                    name: value for name, value in msgspec.to_builtins(done).items() if name != "activity"
                }
                print_json({"lake": store.uri, **counts, "deleted": deleted})
            if every_s is None or stop.wait(every_s):
                break
    store.close()


def _report(uri: str, done: "CompactionProgress", deleted: int) -> None:
    if not done.steps:
        print_status(f"nothing new to compact in {uri}")
    else:
        print_status(
            f"compacted {done.records:,} records from {done.segments:,} segments "
            f"({done.raw_bytes / 1e6:,.1f} MB) into {done.files:,} files "
            f"({done.file_bytes / 1e6:,.1f} MB) in {uri}/curated"
        )
    if done.superseded:
        print_status(f"  {done.superseded:,} superseded by a later revision")
    for topic, count in sorted(done.rejects_by_topic.items()):
        print_status(f"  {topic}: {count:,} rejected; reasons: {uri}/curated/_rejects/")
    if done.replaced or deleted:
        print_status(f"  {done.replaced:,} files replaced, {deleted:,} old files deleted")


def _until_ms(text: str) -> int:
    from datetime import UTC, datetime

    from tickerlake.errors import UsageError

    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--until {text} is not a time.", "Write it as 2026-11-27 or 2026-11-27T20:00:00Z."
        ) from error
    return int((timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).timestamp() * 1000)
