"""``tickerlake produce``: files → Kafka."""

from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    DateFormat,
    Files,
    Json,
    Property,
    Symbol,
    Ticker,
    emit,
    properties,
    say,
    stopping,
)

if TYPE_CHECKING:
    from tickerlake.pipeline.ingest import Ingested


def produce(
    context: typer.Context,
    files: Files,
    topic: Annotated[str, typer.Option("--topic", "-t", help="Topic to write to; created if missing.")],
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
    symbol: Symbol = None,
    date_format: DateFormat = None,
    speed: Annotated[
        str,
        typer.Option(help="max, or by event time: 1x as it was, 60x an hour in a minute."),
    ] = "max",
    rate: Annotated[str | None, typer.Option(help="Rows a second, for example 500/s.")] = None,
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
    `tickerlake produce data/*.csv -t stocks.bars -b kafka:9092 --speed 60x`
    """
    from dataclasses import asdict

    from tickerlake.pipeline.ingest import Ingest, IngestOptions
    from tickerlake.pipeline.pace import Pace
    from tickerlake.sources.csv.read import open_csv

    pace = Pace(rate_s=_rate(rate), speed=_speed(speed))
    # every file is opened before the first row is sent: a wrong name stops the run, not half of it
    ticker, sources = Ticker(), []
    for path in files:
        ticker.show(f"{path.name}: reading it once to see how …")
        sources.append(open_csv(path, symbol=symbol, date_format=date_format))
    ticker.end()
    options = IngestOptions(rate_s=pace.rate_s, speed=pace.speed, partitions=partitions, create=create)
    ingest = Ingest(bootstrap_servers, topic, options, properties(context, property_))
    if ingest.prepare():
        say(f"created topic {topic} with {partitions} partitions")
    results = []

    def show(now: "Ingested") -> None:
        ticker.show(_progress(now, ticker.rate(now.new_records)))

    with stopping() as stop:
        for path, source in zip(files, sources, strict=True):
            for warning in source.warnings:
                say(f"warning: {warning}")
            done = ingest.run(source, stop, show, str(path.resolve()))
            ticker.end()
            results.append({name: value for name, value in asdict(done).items() if name != "next_s"})
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


def _progress(now: "Ingested", rate_s: float) -> str:
    share = now.rows_done / now.rows if now.rows else 1.0
    line = f"{now.source}: {share:.0%}, {now.records:,} records, {rate_s:,.0f}/s"
    if now.rejects:
        line += f", {now.rejects:,} rows rejected"
    # at the pace of event time a night or a weekend is a long silence: say so
    return f"{line}, next in {now.next_s:,.0f} s" if now.next_s >= 2 else line


def _rate(text: str | None) -> float | None:
    return None if text is None else _positive("--rate", text, "/s", "rows a second, for example 500/s")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    return _positive("--speed", text, "x", "max, 1x, 60x …")


def _positive(option: str, text: str, unit: str, wanted: str) -> float:
    from math import isfinite

    from tickerlake.errors import UsageError

    try:
        number = float(text.removesuffix(unit))
    except ValueError:
        number = 0.0
    if not isfinite(number) or number <= 0:
        raise UsageError(f"{option} {text} is not understood.", f"Give {wanted}.")
    return number
