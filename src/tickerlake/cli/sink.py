"""``tickerlake sink``: Kafka → lake."""

from typing import Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    Json,
    Lake,
    Property,
    Ticker,
    emit,
    properties,
    say,
    stopping,
)

_COST_OF_OBJECTS = (
    "--format json stores one object a record: on Cloud Storage about $5 for a million records, and a new "
    "bucket takes about 1,000 objects a second. ndjson and parquet store many records in one object."
)


def sink(
    context: typer.Context,
    topic: Annotated[list[str], typer.Option("--topic", "-t", help="Topic to store; may be repeated.")],
    lake: Lake,
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
    group: Annotated[str | None, typer.Option(help="Consumer group; default: one per lake.")] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="ndjson (gzip), parquet (typed columns) or json (one object a record)."
        ),
    ] = "ndjson",
    flush_bytes: Annotated[int, typer.Option(min=1, help="Store a segment at this many bytes.")] = 8 << 20,
    flush_records: Annotated[int, typer.Option(min=1, help="… or at this many records.")] = 200_000,
    flush_age: Annotated[
        float, typer.Option(min=0, help="… or when the oldest is this many seconds old.")
    ] = 10.0,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when everything there is stored.")
    ] = False,
    on_gap: Annotated[
        str, typer.Option(help="If Kafka deleted records before they were stored: stop, record.")
    ] = "stop",
    property_: Property = None,
    json: Json = False,
) -> None:
    """Store every record of a topic in the lake, exactly once.

    Any number of sinks may share a topic. Ctrl-C stores what has been read and stops.

    Examples: `tickerlake sink -t stocks.bars --lake ./lake --until-end` ·
    `tickerlake sink -t stocks.bars --lake gs://my-bucket/lake -b kafka:9092 --format parquet`
    """
    import hashlib

    from tickerlake.errors import UsageError
    from tickerlake.kafka.consumer import UNFINISHED
    from tickerlake.lake.segment import check_format
    from tickerlake.lake.store import open_store
    from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress

    if on_gap not in {"stop", "record"}:
        raise UsageError(f"--on-gap {on_gap} is not known.", "Use stop or record.")
    options = SinkOptions(
        format=check_format(format_),
        flush_bytes=flush_bytes,
        flush_records=flush_records,
        flush_age_s=flush_age,
        on_gap="record" if on_gap == "record" else "stop",
    )
    store = open_store(lake)
    group = group or f"tickerlake-sink-{hashlib.blake2b(store.uri.encode(), digest_size=6).hexdigest()}"
    if options.format == "json":
        say(_COST_OF_OBJECTS)
    ticker = Ticker()

    def show(now: SinkProgress) -> None:
        ticker.show(
            f"{store.uri}: {now.records:,} records, {ticker.rate(now.records):,.0f}/s, "
            f"{now.segments:,} segments, {now.bytes / 1e6:,.1f} MB, lag {now.lag:,}"
        )

    worker = Sink(bootstrap_servers, topic, store, group, options, properties(context, property_))
    with stopping() as stop:
        done = worker.run(stop, until_end=until_end, on_progress=show)
    ticker.end()
    say(
        f"stored {done.records:,} records in {done.segments} segments ({done.bytes:,} bytes) at {store.uri}; "
        f"{done.rejects} rejected"
    )
    if done.rejects:
        say(f"  rejected records, with offset and reason: {store.uri}/rejects/")
    if until_end and done.unfinished:
        say(f"warning: {UNFINISHED.format(done.unfinished)}")
    if json:
        emit(
            {
                "records": done.records,
                "rejects": done.rejects,
                "segments": done.segments,
                "adopted": done.adopted,
                "retries": getattr(store, "retries", 0),
                "bytes": done.bytes,
            }
        )
    store.close()
