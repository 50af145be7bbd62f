"""``tickerlake track``: Kafka → bars, indicators and alerts → Kafka and notifications."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.analytics.defaults import AHEAD, GRACE, IDLE, LATENESS
from tickerlake.cli.alerting import AlertPrinter, forward_alerts, load_rules, warn_rules_without_data
from tickerlake.cli.common import (
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    print_status,
    print_unscheduled,
)
from tickerlake.cli.engine_options import (
    DEFAULT_BARS,
    DEFAULT_INDICATORS,
    BarAlignment,
    BarIntervals,
    Conditions,
    DailyBars,
    Grace,
    Indicators,
    Lateness,
    Splits,
    engine_options,
    print_conditions,
    with_splits,
)
from tickerlake.cli.help import KAFKA, LAKE, OUTPUT, RULES, TIMING
from tickerlake.cli.options import (
    LOCAL_BROKER,
    URI_FORMS,
    BootstrapServers,
    Calendar,
    Json,
    Property,
    UntilEnd,
    topic_option,
)

if TYPE_CHECKING:
    from tickerlake.model.alert import Alert
    from tickerlake.pipeline.track import TrackProgress


def track(
    context: typer.Context,
    topic: Annotated[
        str,
        topic_option("Topic of trades or bars."),
    ],
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    bars: BarIntervals = DEFAULT_BARS,
    indicators: Indicators = DEFAULT_INDICATORS,
    day: DailyBars = "regular",
    align: BarAlignment = "session",
    conditions: Conditions = "sip",
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules", metavar="FILE", help="Rules file (TOML), instead of a preset.", rich_help_panel=RULES
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Rules without a file: default, sensitive, simple or none.",
            autocompletion=lambda: ["default", "sensitive", "simple", "none"],
            rich_help_panel=RULES,
        ),
    ] = "default",
    calendar: Calendar = "24/7",
    splits: Splits = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX",
            help="Write to PREFIX.bars, .indicators, .alerts and .rejects; default: the topic up to its "
            "first dot.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Consumer group: its members share the topic.", rich_help_panel=KAFKA
        ),
    ] = "tickerlake-track",
    state: Annotated[
        str,
        typer.Option(
            metavar="URI",
            help=f"Where all members store snapshots: {URI_FORMS}.",
            rich_help_panel=LAKE,
        ),
    ] = ".tickerlake",
    grace: Grace = GRACE,
    lateness: Lateness = LATENESS,
    idle: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Close a bar this long after its end if no record does.",
            rich_help_panel=TIMING,
        ),
    ] = IDLE,
    ahead: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="Reject records whose time is further ahead of their Kafka timestamp.",
            rich_help_panel=TIMING,
        ),
    ] = AHEAD,
    until_end: UntilEnd = False,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Build bars and indicators from a live topic and raise alerts.

    Results are written to Kafka exactly once. Alerts are printed as they fire; with --json, each is one JSON
    line.

    After a crash or Ctrl-C, run the same command again: it continues where it stopped. Several workers can
    share a topic.

    Examples
    --------
    tickerlake track -t stocks.trades --calendar XNYS
    tickerlake track -t stocks.bars --bars 1d --rules my-rules.toml
    tickerlake track -t stocks.trades -b kafka:9092 --state gs://my-bucket/lake
    """
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.analytics.calendars import MarketSessions
    from tickerlake.kafka.client import check_client_settings
    from tickerlake.lake.store import open_store
    from tickerlake.lake.topic import check_topic
    from tickerlake.pipeline.track import Tracker, TrackOptions

    options = engine_options(
        bars, indicators, grace, lateness, idle, ahead, group, day=day, align=align, conditions=conditions
    )
    options = with_splits(options, splits)
    ruleset = load_rules(rules, preset)
    engine = AlertEngine(ruleset.rules, options.intervals)
    prefix = prefix or topic.partition(".")[0]
    for name in (topic, f"{prefix}.alerts", group):
        check_topic(name)
    kafka_properties = librdkafka_properties(context, property_)
    check_client_settings(bootstrap_servers, kafka_properties)
    sessions = MarketSessions(calendar, context.obj.calendar)
    store = open_store(state)
    worker = Tracker(
        bootstrap_servers,
        topic,
        store,
        group,
        TrackOptions(options, prefix),
        sessions,
        engine,
        kafka_properties,
    )
    for name in worker.prepare():
        print_status(f"created topic {name}")
    status_line, printer = StatusLine(), AlertPrinter(json=json, sessions_of=sessions)
    unscheduled = worker.engine.instruments.unscheduled

    def show_progress(progress: "TrackProgress") -> None:
        for note in (*sessions.take_notes(), *unscheduled.take_notes()):
            status_line.clear()
            print_status(f"note: {note}")
        status_line.update(_format_progress(topic, progress, status_line.rate(progress.records)))

    def print_alert(alert: "Alert") -> None:
        status_line.clear()
        printer.print(alert)

    def warn(text: str) -> None:
        status_line.clear()
        print_status(f"warning: {text}")

    with (
        graceful_shutdown(is_service=True) as stop,
        forward_alerts(ruleset, bootstrap_servers, f"{prefix}.alerts", group, kafka_properties),
    ):
        totals = worker.run(
            stop, until_end=until_end, on_progress=show_progress, on_alert=print_alert, on_warning=warn
        )
    status_line.clear()
    restated = f", {totals.restated:,} restated" if totals.restated else ""
    print_status(
        f"read {totals.records:,} records of {totals.instruments:,} symbols: "
        f"{totals.bars:,} bars built{restated}, {totals.open_bars:,} still open, "
        f"{totals.indicators:,} indicator records, {totals.alerts:,} alerts"
    )
    for reason, count in totals.rejects.most_common():
        print_status(f"  rejected: {count:,} {reason} (stored in the topic {prefix}.rejects)")
    for description, count in totals.skipped.most_common():
        if count:
            print_status(f"  skipped: {count:,} {description}")
    print_unscheduled(unscheduled.totals())
    print_conditions(totals.left_out, totals.unknown_conditions)
    if rules and totals.records:
        warn_rules_without_data(engine)
    store.close()


def _format_progress(topic: str, progress: "TrackProgress", rate: float) -> str:
    late = progress.rejects["late"]
    parts = [
        f"{topic}: {progress.instruments:,} symbols",
        f"{rate:,.0f}/s",
        f"lag {progress.lag:,}",
        f"{progress.bars:,} bars",
        f"{progress.alerts:,} alerts",
        f"{late:,} late" if late else "",
        f"{progress.rejects.total() - late:,} rejected" if progress.rejects.total() > late else "",
        "replaying to restore state" if progress.replaying else "",
    ]
    return ", ".join(part for part in parts if part)
