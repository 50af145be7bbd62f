"""``tickerlake sink``: Kafka → lake."""

from typing import Annotated

import typer

from tickerlake.cli.common import (
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    print_json,
    print_status,
)
from tickerlake.cli.help import KAFKA, LAKE, TIMING
from tickerlake.cli.options import (
    LOCAL_BROKER,
    BootstrapServers,
    Json,
    Lake,
    Property,
    UntilEnd,
    topic_option,
)
from tickerlake.pipeline.defaults import FLUSH_AGE_S, FLUSH_BYTES, FLUSH_RECORDS

_OBJECT_COST_WARNING = (
    "warning: --format json stores one object per record: on Cloud Storage about $5 per million records, and "
    "a new bucket accepts about 1,000 objects per second. ndjson and parquet store many records per object."
)


def sink(
    context: typer.Context,
    topic: Annotated[
        list[str],
        topic_option("Topic to store; repeatable."),
    ],
    lake: Lake,
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Consumer group: its members share the topics; default: one per lake.",
            rich_help_panel=KAFKA,
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="ndjson (gzip), parquet (typed columns) or json (one object per record).",
            autocompletion=lambda: ["ndjson", "parquet", "json"],
            rich_help_panel=LAKE,
        ),
    ] = "ndjson",
    flush_bytes: Annotated[
        int,
        typer.Option(
            min=1, metavar="BYTES", help="Store a segment at this size of its values.", rich_help_panel=TIMING
        ),
    ] = FLUSH_BYTES,
    flush_records: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Store a segment at this number of records.", rich_help_panel=TIMING
        ),
    ] = FLUSH_RECORDS,
    flush_age: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="Store a segment when its oldest record has this age.",
            rich_help_panel=TIMING,
        ),
    ] = FLUSH_AGE_S,
    until_end: UntilEnd = False,
    on_gap: Annotated[
        str,
        typer.Option(
            metavar="ACTION",
            help="If Kafka deleted records before they were stored: stop, or record the gap and continue.",
            autocompletion=lambda: ["stop", "record"],
            rich_help_panel=LAKE,
        ),
    ] = "stop",
    property_: Property = None,
    json: Json = False,
) -> None:
    """Store every record of a topic in the lake, exactly once.

    Any number of sinks can share a topic. Ctrl-C stores the records already read, then stops.

    Examples
    --------
    tickerlake sink -t stocks.bars --lake ./lake --until-end
    tickerlake sink -t stocks.bars --lake gs://my-bucket/lake -b kafka:9092
    """
    import hashlib

    from tickerlake.errors import DataError, UsageError
    from tickerlake.kafka.client import check_client_settings
    from tickerlake.kafka.reader import OPEN_TRANSACTIONS_WARNING
    from tickerlake.lake.formats import for_topic
    from tickerlake.lake.opening import open_or_create_lake
    from tickerlake.lake.topic import check_format, check_topic
    from tickerlake.pipeline.sink import Sink, SinkOptions, SinkProgress

    if on_gap not in {"stop", "record"}:
        raise UsageError(f"--on-gap {on_gap} is not an action.", "Use stop or record.")
    options = SinkOptions(
        format=check_format(format_),
        flush_bytes=flush_bytes,
        flush_records=flush_records,
        flush_age_s=flush_age,
        on_gap="record" if on_gap == "record" else "stop",
    )
    for name in topic:
        check_topic(name)
    kafka_properties = librdkafka_properties(context, property_)
    check_client_settings(bootstrap_servers, kafka_properties)
    store = open_or_create_lake(lake)
    group = group or f"tickerlake-sink-{hashlib.blake2b(store.uri.encode(), digest_size=6).hexdigest()}"
    if for_topic(options.format).one_object_per_record:
        print_status(_OBJECT_COST_WARNING)
    status_line = StatusLine()

    warned: set[str] = set()

    def show_progress(progress: SinkProgress) -> None:
        for name, counts in progress.topics.items():
            if counts.is_all_rejected and name not in warned:
                warned.add(name)
                status_line.clear()
                print_status(
                    f"warning: each of the first {counts.rejects:,} records of {name} was rejected "
                    f"({counts.reject_reason})"
                )
        status_line.update(
            f"{store.uri}: {progress.records:,} records, {status_line.rate(progress.records):,.0f}/s, "
            f"{progress.segments:,} segments, {progress.bytes / 1e6:,.1f} MB, lag {progress.lag:,}"
        )

    worker = Sink(bootstrap_servers, topic, store, group, options, kafka_properties)
    with graceful_shutdown(is_service=True) as stop:
        totals = worker.run(stop, until_end=until_end, on_progress=show_progress)
    status_line.clear()
    print_status(
        f"stored {totals.records:,} records in {totals.segments:,} segments ({totals.bytes:,} bytes) "
        f"at {store.uri}, rejected {totals.rejects:,}"
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
    if until_end:
        for name, counts in totals.topics.items():
            if counts.is_all_rejected:
                raise DataError(
                    f"All {counts.rejects:,} records of {name} were rejected ({counts.reject_reason}).",
                    f"They are kept, unchanged, in {store.uri}/rejects/. A sink stores records in JSON.",
                )
