"""``tickerlake produce``: files → Kafka."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    Files,
    Json,
    LongestWait,
    Property,
    Ticker,
    emit,
    input_files,
    longest_of,
    open_files,
    properties,
    rate_of,
    say,
    speed_of,
    stopping,
)
from tickerlake.cli.options import takes_options

if TYPE_CHECKING:
    from tickerlake.pipeline.ingest import Ingested
    from tickerlake.sources.csv.options import Options


@takes_options()
def produce(
    context: typer.Context,
    files: Files,
    topic: Annotated[str, typer.Option("--topic", "-t", help="Topic to write to; created if missing.")],
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
    *,
    options: "Options",
    speed: Annotated[
        str,
        typer.Option(help="max, or by event time: 1x as it was, 60x an hour in a minute."),
    ] = "max",
    rate: Annotated[str | None, typer.Option(help="Rows a second, for example 500/s.")] = None,
    longest_wait: LongestWait = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Begin again at the end, with later times, until stopped.")
    ] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of a topic that is created.")] = 4,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the topic if it is missing.")
    ] = True,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Write files of any layout to a Kafka topic, each row once, by event time.

    Several files, folders and patterns are merged by time.
    Run again after a crash or Ctrl-C, it continues where it stopped; a finished file is left alone.
    Refused rows go to the topic <topic>.rejects, with line and reason.

    Examples: `tickerlake produce AAPL.csv -t stocks.bars` ·
    `tickerlake produce data/ -t stocks.bars -b kafka:9092 --speed 60x` ·
    `tickerlake produce 'ticks/*.csv.gz' -t stocks.trades --tz America/New_York --rate 500/s --loop`
    """
    from tickerlake.pipeline.ingest import Ingest, IngestOptions
    from tickerlake.pipeline.pace import Pace
    from tickerlake.sources.replay import Shifted, period_ns

    times = speed_of(speed)
    pace = Pace(rate_of(rate), times, longest_of(longest_wait, times))
    ticker, results = Ticker(), []
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, stopping() as stop:
        paths = input_files(files, Path(folder))
        # every file is opened before the first row is sent: a wrong name stops the run, not half of it
        replay = open_files(paths, options, ticker)
        if options.strict:
            replay.refuse_rejects()
        ingest = Ingest(
            bootstrap_servers,
            topic,
            IngestOptions(
                rate_s=pace.rate_s,
                speed=pace.speed,
                longest_s=pace.longest_s,
                partitions=partitions,
                create=create,
            ),
            properties(context, property_),
        )
        if ingest.prepare():
            say(f"created topic {topic} with {partitions} partitions")
        identities = [
            f"stdin {source.fingerprint.digest}" if path.parent == Path(folder) else str(path.resolve())
            for path, source in zip(paths, replay.sources, strict=True)
        ]

        def show(now: "Ingested") -> None:
            ticker.show(_progress(now, ticker.rate(now.new_records)))

        turn = 0
        while not stop.is_set():
            again = f"#{turn}" if turn else ""
            source_ = Shifted(replay, turn, period_ns(replay)) if turn else replay
            done = ingest.run(source_, stop, show, [f"{identity}{again}" for identity in identities])
            ticker.end()
            results += [_told(each, again) for each in done]
            for each in done:
                _report(each, topic, again)
            if not loop:
                break
            turn += 1
    if json:
        emit({"topic": topic, "files": results})
    if stop.is_set():
        raise typer.Exit(130)


def _told(done: "Ingested", again: str) -> dict[str, object]:
    from dataclasses import asdict

    told = {name: value for name, value in asdict(done).items() if name != "next_s"}
    return told | {"source": f"{done.source}{again}"}


def _report(done: "Ingested", topic: str, again: str) -> None:
    name = f"{done.source}{again}"
    if done.finished and not done.new_records:
        say(f"{name}: already ingested ({done.records:,} records); nothing new")
        return
    say(f"{name}: {done.new_records:,} records to {topic}, {done.rejects} rows rejected")
    if done.rejects:
        say(f"  rejected rows, with line and reason: topic {topic}.rejects")


def _progress(now: "Ingested", rate_s: float) -> str:
    share = now.rows_done / now.rows if now.rows else 1.0
    line = f"{now.source}: {share:.0%}, {now.records:,} records, {rate_s:,.0f}/s"
    if now.rejects:
        line += f", {now.rejects:,} rows rejected"
    # at the pace of event time a night or a weekend is a long silence: say so
    return f"{line}, next in {now.next_s:,.0f} s" if now.next_s >= 2 else line
