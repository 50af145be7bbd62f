"""``tickerlake produce``: CSV files → Kafka."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    StatusLine,
    graceful_shutdown,
    input_files,
    librdkafka_properties,
    open_files,
    parse_longest_wait,
    parse_rate,
    parse_speed,
    print_json,
    print_status,
)
from tickerlake.cli.file_options import with_file_options
from tickerlake.cli.help import TIMING
from tickerlake.cli.options import (
    LOCAL_BROKER,
    BootstrapServers,
    CreateTopic,
    Files,
    Json,
    LongestWait,
    Mix,
    Partitions,
    Property,
    Rate,
    Speed,
    topic_option,
)
from tickerlake.pipeline.defaults import PARTITIONS

if TYPE_CHECKING:
    from tickerlake.pipeline.ingest import IngestProgress
    from tickerlake.sources.csv.detect.options import Options


@with_file_options()
def produce(
    context: typer.Context,
    files: Files,
    topic: Annotated[
        str,
        topic_option("Topic to write to."),
    ],
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    *,
    options: "Options",
    speed: Speed = "max",
    rate: Rate = None,
    longest_wait: LongestWait = None,
    loop: Annotated[
        bool,
        typer.Option(
            "--loop",
            help="Replay from the start when finished, with later timestamps, until stopped.",
            rich_help_panel=TIMING,
        ),
    ] = False,
    partitions: Partitions = PARTITIONS,
    create: CreateTopic = True,
    mix: Mix = False,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Write CSV files to a Kafka topic, each row exactly once.

    Several files are merged by time. Rejected rows go to the topic TOPIC.rejects with line number and reason.

    After a crash or Ctrl-C, run the same command again: it continues where it stopped. Finished files are
    skipped.

    Examples
    --------
    tickerlake produce AAPL.csv -t stocks.bars
    tickerlake produce data/ -t stocks.bars -b kafka:9092 --speed 60x
    # an endless stream of trades
    tickerlake produce 'ticks/*.csv.gz' -t stocks.trades --rate 500/s --loop
    """
    from tickerlake.pipeline.ingest import Ingest, IngestOptions
    from tickerlake.sources.merged import repeat_period_ns
    from tickerlake.sources.pace import Pace
    from tickerlake.sources.source import TimeShiftedSource

    event_speed = parse_speed(speed)
    pace = Pace(parse_rate(rate), event_speed, parse_longest_wait(longest_wait, event_speed))
    status_line, results = StatusLine(), []
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, ExitStack() as stack:
        paths = input_files(files, Path(folder))
        # all files are opened before the first row is sent: a wrong name fails before anything is written
        source = open_files(paths, options, status_line)
        if options.strict:
            source.check_no_rejects()
        stop = stack.enter_context(graceful_shutdown())
        ingest = Ingest(
            bootstrap_servers,
            topic,
            IngestOptions(
                rows_per_s=pace.rows_per_s,
                speed=pace.speed,
                max_wait_s=pace.max_wait_s,
                partitions=partitions,
                create_topic=create,
                schema="" if mix else source.record_type,
            ),
            librdkafka_properties(context, property_),
        )
        if ingest.prepare():
            print_status(f"created topic {topic} with {partitions} partitions")
        identities = [
            f"stdin {each.fingerprint.digest}" if path.parent == Path(folder) else str(path.resolve())
            for path, each in zip(paths, source.sources, strict=True)
        ]

        def show_progress(now: "IngestProgress") -> None:
            status_line.update(_format_progress(now, status_line.rate(now.new_records)))

        cycle = 0
        while not stop.is_set():
            cycle_suffix = f"#{cycle}" if cycle else ""
            cycle_source = TimeShiftedSource(source, cycle, repeat_period_ns(source)) if cycle else source
            progress = ingest.run(
                cycle_source, stop, show_progress, [f"{identity}{cycle_suffix}" for identity in identities]
            )
            status_line.clear()
            results += [_as_result(each, cycle_suffix) for each in progress]
            for each in progress:
                _print_result(each, topic, cycle_suffix)
            if not loop:
                break
            cycle += 1
    if json:
        print_json({"topic": topic, "files": results})


def _as_result(progress: "IngestProgress", cycle_suffix: str) -> dict[str, object]:
    from dataclasses import asdict

    result = {name: value for name, value in asdict(progress).items() if name != "next_s"}
    return result | {"source": f"{progress.source}{cycle_suffix}"}


def _print_result(progress: "IngestProgress", topic: str, cycle_suffix: str) -> None:
    name = f"{progress.source}{cycle_suffix}"
    if progress.finished and not progress.new_records:
        print_status(f"{name}: already ingested ({progress.records:,} records); nothing new")
        return
    print_status(
        f"{name}: wrote {progress.new_records:,} records to {topic}, rejected {progress.rejects:,} rows"
    )
    if progress.rejects:
        print_status(f"  rejected rows, with line number and reason: topic {topic}.rejects")


def _format_progress(progress: "IngestProgress", rate_s: float) -> str:
    share = progress.rows_done / progress.rows if progress.rows else 1.0
    line = f"{progress.source}: {share:.0%}, {progress.records:,} records, {rate_s:,.0f}/s"
    if progress.rejects:
        line += f", {progress.rejects:,} rows rejected"
    # paced by event time, a night or a weekend is a long wait: show that it is intended
    return f"{line}, next in {progress.next_s:,.0f} s" if progress.next_s >= 2 else line
