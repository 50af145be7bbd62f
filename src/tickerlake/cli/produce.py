"""``tickerlake produce``: files → Kafka."""

from pathlib import Path
from typing import Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    Json,
    Property,
    Ticker,
    emit,
    properties,
    say,
    stopping,
)


def produce(
    files: Annotated[list[Path], typer.Argument(help="CSV files, plain or gzip.")],
    topic: Annotated[str, typer.Option("--topic", "-t", help="Topic to write to; created if missing.")],
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
    symbol: Annotated[
        str | None, typer.Option(help="Symbol, where neither a column nor the name tells.")
    ] = None,
    date_format: Annotated[str | None, typer.Option(help="Date order, for example %d-%m-%Y.")] = None,
    rate: Annotated[
        str | None, typer.Option(help="Rows a second, for example 500/s; else as fast as possible.")
    ] = None,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of a topic that is created.")] = 4,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create the topic if it is missing.")
    ] = True,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Write files to a Kafka topic, each row once.

    Run again after a crash or Ctrl-C, it continues where it stopped; a finished file is left alone.

    Examples: `tickerlake produce AAPL.csv -t stocks.bars` ·
    `tickerlake produce data/*.csv -t stocks.bars -b kafka:9092 --rate 500/s`
    """
    from dataclasses import asdict

    from tickerlake.pipeline.ingest import Ingest, IngestOptions
    from tickerlake.sources.csv.read import open_csv

    # every file is opened before the first row is sent: a wrong name stops the run, not half of it
    sources = [open_csv(path, symbol=symbol, date_format=date_format) for path in files]
    options = IngestOptions(rate_s=_rate(rate), partitions=partitions, create=create)
    ingest = Ingest(bootstrap_servers, topic, options, properties(property_))
    if ingest.prepare():
        say(f"created topic {topic} with {partitions} partitions")
    ticker, results = Ticker(), []
    with stopping() as stop:
        for path, source in zip(files, sources, strict=True):
            for warning in source.warnings:
                say(f"warning: {warning}")
            done = ingest.run(
                source,
                stop,
                lambda now: ticker.show(f"{now.source}: {now.records:,} records, {now.rejects} rejects"),
                str(path.resolve()),
            )
            ticker.end()
            results.append(asdict(done))
            if done.finished and not done.new_records:
                say(f"{done.source}: already ingested ({done.records:,} records); nothing new")
            else:
                say(f"{done.source}: {done.new_records:,} records to {topic}, {done.rejects} rows rejected")
                if done.rejects:
                    say(f"  rejected rows, with line and reason: topic {topic}.rejects")
            if stop.is_set():
                break
    if json:
        emit({"topic": topic, "files": results})
    if stop.is_set():
        raise typer.Exit(130)


def _rate(text: str | None) -> float | None:
    from tickerlake.errors import UsageError

    if text is None:
        return None
    try:
        return float(text.removesuffix("/s"))
    except ValueError as error:
        raise UsageError(
            f"--rate {text} is not a rate.", "Give rows a second, for example --rate 500/s."
        ) from error
