"""``tickerlake compact``: raw segments → curated Parquet."""

from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    Calendar,
    Json,
    Lake,
    StatusLine,
    graceful_shutdown,
    print_json,
    print_status,
    session_dates,
)

if TYPE_CHECKING:
    from tickerlake.lake.compact import CompactionProgress


def compact(
    lake: Lake,
    topic: Annotated[
        str | None, typer.Option("--topic", "-t", help="Only this topic.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Leave what Kafka took from then on: 2026-11-27, or with a time (UTC).", show_default=False
        ),
    ] = None,
    watch: Annotated[
        str | None, typer.Option(help="Go on, with a look this often: 15m.", show_default=False)
    ] = None,
    calendar: Calendar = "24/7",
    keep: Annotated[
        str, typer.Option(help="Delete files that were replaced when they are this old; `never` keeps all.")
    ] = "7d",
    memory: Annotated[str, typer.Option(help="How much DuckDB may use to sort.")] = "1GB",
    json: Json = False,
) -> None:
    """Turn raw segments into sorted Parquet by date: quicker to query, and ready for other tools.

    Every record is in curated/ once, or has given way to a later revision of the same bar, or is kept
    under curated/_rejects/ with a reason. Raw segments stay. Run it as often as you like: it goes on
    where it ended, also after it was killed.

    Examples: `tickerlake compact --lake ./lake` · `tickerlake compact --lake gs://bucket/lake --watch 15m` ·
    `tickerlake compact --lake ./lake --until 2026-11-27`
    """
    import tempfile
    from pathlib import Path

    import msgspec

    from tickerlake.errors import Transient
    from tickerlake.lake.compact import Compactor
    from tickerlake.lake.curated import delete_obsolete
    from tickerlake.lake.store import open_store
    from tickerlake.model.duration import parse_duration_option

    every_s = parse_duration_option(watch, "--watch") / 1e9 if watch else None
    keep_ms = None if keep == "never" else parse_duration_option(keep, "--keep") // 1_000_000
    until_ms = _until_ms(until) if until else None
    store = open_store(lake)
    ticker = StatusLine()

    def show(now: "CompactionProgress") -> None:
        ticker.update(f"{store.uri}: {now.records:,} records compacted; {now.activity}")

    dates = session_dates(calendar)
    with (
        graceful_shutdown("giving up what is not complete …") as stop,
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
            report=show,
        )
        while True:
            try:
                done = compactor.run()
            except Transient as error:
                if every_s is None:
                    raise
                ticker.clear()
                print_status(f"{error} The next look is in {watch}.")
                if stop.wait(every_s):
                    break
                continue
            ticker.clear()
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
            f"compacted {done.records:,} records of {done.segments:,} objects "
            f"({done.raw_bytes / 1e6:,.1f} MB) into {done.files:,} files "
            f"({done.file_bytes / 1e6:,.1f} MB) at {uri}/curated"
        )
    if done.superseded:
        print_status(f"  {done.superseded:,} gave way to a later revision")
    if done.rejects:
        print_status(
            f"  {done.rejects:,} are no records of their topic's kind; the reasons: {uri}/curated/_rejects/"
        )
    if done.replaced or deleted:
        print_status(f"  {done.replaced:,} files were replaced, {deleted:,} old ones deleted")
    if done.skipped:
        print_status(f"  without records of ours, and left as they are: {', '.join(done.skipped)}")


def _until_ms(text: str) -> int:
    from datetime import UTC, datetime

    from tickerlake.errors import UsageError

    try:
        timestamp = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--until {text} is no time.", "Write it as 2026-11-27, or 2026-11-27T20:00:00Z."
        ) from error
    return int((timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).timestamp() * 1000)
