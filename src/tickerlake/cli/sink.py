"""``tickerlake sink``: Kafka → lake."""

from typing import Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    BootstrapServers,
    Json,
    Lake,
    Property,
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    print_json,
    print_status,
)

_OBJECT_COST_WARNING = (
    "--format json stores one object a record: on Cloud Storage about $5 for a million records, and a new "
    "bucket takes about 1,000 objects a second. ndjson and parquet store many records in one object."
)


def sink(
    context: typer.Context,
    topic: Annotated[list[str], typer.Option("--topic", "-t", help="Topic to store; may be repeated.")],
    lake: Lake,
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
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
    from tickerlake.kafka.reader import OPEN_TRANSACTIONS_WARNING
    from tickerlake.lake.formats import for_topic
    from tickerlake.lake.store import open_store
    from tickerlake.lake.topic import check_format
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
    if for_topic(options.format).one_object_per_record:
        print_status(_OBJECT_COST_WARNING)
    status_line = StatusLine()

    def on_progress(now: SinkProgress) -> None:
        status_line.update(
            f"{store.uri}: {now.records:,} records, {status_line.rate(now.records):,.0f}/s, "
            f"{now.segments:,} segments, {now.bytes / 1e6:,.1f} MB, lag {now.lag:,}"
        )

    worker = Sink(bootstrap_servers, topic, store, group, options, librdkafka_properties(context, property_))
    with graceful_shutdown() as stop:
        totals = worker.run(stop, until_end=until_end, on_progress=on_progress)
    status_line.clear()
    print_status(
        f"stored {totals.records:,} records in {totals.segments} segments ({totals.bytes:,} bytes) at {store.uri}; "
        f"{totals.rejects} rejected"
    )
    if totals.rejects:
        print_status(f"  rejected records, with offset and reason: {store.uri}/rejects/")
    if until_end and totals.blocked_partitions:
        print_status(f"warning: {OPEN_TRANSACTIONS_WARNING.format(totals.blocked_partitions)}")
    if json:
        print_json(
            {
                "records": totals.records,
                "rejects": totals.rejects,
                "segments": totals.segments,
                "adopted": totals.adopted,
                "retries": getattr(store, "retries", 0),
                "bytes": totals.bytes,
            }
        )
    store.close()
