"""``tickerlake track``: Kafka → bars, indicators, alerts → Kafka and people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    BootstrapServers,
    Calendar,
    Json,
    Property,
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    print_status,
)

if TYPE_CHECKING:
    from tickerlake.analytics.types import EngineOptions
    from tickerlake.model.alert import Alert
    from tickerlake.pipeline.track import TrackProgress

DEFAULT_BARS = "1m,5m,1h,1d"
DEFAULT_INDICATORS = "SMA(20),EMA(20),RSI(14),MACD(12,26,9),BBANDS(20,2,2),ATR(14),VWAP"

_NO_CALENDAR = (
    "note: of some symbols the exchange is not known; they count as trading round the clock. "
    "--calendar XNYS, for example, gives them the sessions of New York."
)

Rules = Annotated[
    Path | None,
    typer.Option("--rules", help="File of rules (TOML); without one the preset applies."),
]
Preset = Annotated[str, typer.Option(help="Rules without a file: default, sensitive, simple or none.")]
Bars = Annotated[
    str, typer.Option("--bars", help="Bars to build, of trades or of finer bars: seconds to hours, or 1d.")
]
Indicators = Annotated[
    str, typer.Option(help='Indicators of each closed bar, for example "SMA(20),MACD(12,26,9)", or none.')
]
Grace = Annotated[str, typer.Option(help="How long a bar waits for late records before it closes.")]
Lateness = Annotated[
    str, typer.Option(help="For how long after that a late trade restates its bar; later ones are refused.")
]


def track(
    context: typer.Context,
    topic: Annotated[str, typer.Option("--topic", "-t", help="Topic of trades or bars.")],
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    bars: Bars = DEFAULT_BARS,
    indicators: Indicators = DEFAULT_INDICATORS,
    rules: Rules = None,
    preset: Preset = "default",
    calendar: Calendar = "24/7",
    prefix: Annotated[
        str | None,
        typer.Option(
            help="Results go to PREFIX.bars, PREFIX.alerts …; by default the topic's first part.",
            show_default=False,
        ),
    ] = None,
    group: Annotated[
        str, typer.Option(help="Consumer group: workers of a group share the topic.")
    ] = "tickerlake-track",
    state: Annotated[
        str,
        typer.Option(help="Where snapshots are kept: gs://bucket/prefix or a folder; one for all workers."),
    ] = ".tickerlake",
    grace: Grace = "0s",
    lateness: Lateness = "1m",
    idle: Annotated[
        str,
        typer.Option(help="How long a bar that is over by the clock waits for the record that closes it."),
    ] = "30s",
    ahead: Annotated[
        str, typer.Option(help="Records are refused whose time is further ahead of when Kafka took them.")
    ] = "5m",
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when everything there has been read.")
    ] = False,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Build bars and indicators of a topic while it flows, and raise alerts, exactly once.

    Alerts are printed as they fire; with --json as JSON, one a line. Run again after a crash or Ctrl-C, it
    continues where it stopped; several at once share the work.

    Examples: `tickerlake track -t stocks.trades --calendar XNYS` ·
    `tickerlake track -t stocks.bars --bars 1d --rules my-rules.toml --until-end` ·
    `tickerlake track -t stocks.trades -b kafka:9092 --state gs://my-bucket/lake`
    """
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.analytics.calendars import sessions_by_market
    from tickerlake.cli.alerts import AlertPrinter, forward_alerts, load_rules, warn_rules_without_data
    from tickerlake.lake.store import open_store
    from tickerlake.pipeline.track import Tracker, TrackOptions

    options = engine_options(bars, indicators, grace, lateness, idle, ahead, group)
    ruleset = load_rules(rules, preset)
    watcher = AlertEngine(ruleset.rules, options.intervals)
    prefix = prefix or topic.partition(".")[0]
    store = open_store(state)
    kafka_properties = librdkafka_properties(context, property_)
    worker = Tracker(
        bootstrap_servers,
        topic,
        store,
        group,
        TrackOptions(options, prefix),
        sessions_by_market(calendar, lambda: print_status(_NO_CALENDAR)),
        watcher,
        kafka_properties,
    )
    for name in worker.prepare():
        print_status(f"created topic {name}")
    ticker, printer = StatusLine(), AlertPrinter(json=json)

    def show_progress(now: "TrackProgress") -> None:
        ticker.update(_progress_line(topic, now, ticker.rate(now.records)))

    def print_alert(alert: "Alert") -> None:
        ticker.clear()
        printer.print(alert)

    def warn(text: str) -> None:
        ticker.clear()
        print_status(f"warning: {text}")

    with (
        graceful_shutdown() as stop,
        forward_alerts(ruleset, bootstrap_servers, f"{prefix}.alerts", group, kafka_properties),
    ):
        totals = worker.run(
            stop, until_end=until_end, on_progress=show_progress, on_alert=print_alert, on_warning=warn
        )
    ticker.clear()
    restated = f", {totals.restated:,} restated" if totals.restated else ""
    print_status(
        f"read {totals.records:,} records of {totals.instruments:,} symbols: {totals.bars:,} bars built{restated}, "
        f"{totals.open_bars:,} still open, {totals.indicators:,} records of indicators, {totals.alerts:,} alerts"
    )
    for reason, count in totals.rejects.most_common():
        print_status(f"  rejected: {count:,} {reason} (stored in the topic {prefix}.rejects)")
    for what, count in totals.skipped.most_common():
        if count:
            print_status(f"  skipped: {count:,} {what}")
    if rules and totals.records:
        warn_rules_without_data(watcher)
    store.close()


def engine_options(
    bars: str, indicators: str, grace: str, lateness: str, idle: str, ahead: str, group: str
) -> "EngineOptions":
    """Return what the options say of bars and indicators.

    Raises
    ------
    UsageError
        If one of them can't be.
    """
    from tickerlake.analytics.indicators.registry import parse
    from tickerlake.analytics.types import EngineOptions
    from tickerlake.model.duration import parse_duration_option
    from tickerlake.model.interval import validate_bar_interval

    return EngineOptions(
        intervals=tuple(dict.fromkeys(validate_bar_interval(text) for text in bars.split(","))),
        indicators=tuple(dict.fromkeys(parse(text).text for text in _split_indicators(indicators))),
        grace_ns=parse_duration_option(grace, "--grace"),
        lateness_ns=parse_duration_option(lateness, "--lateness"),
        idle_ns=parse_duration_option(idle, "--idle"),
        max_ahead_ns=parse_duration_option(ahead, "--ahead"),
        source_tag=f"track:{group}",
    )


def _split_indicators(text: str) -> list[str]:
    """Split at the commas that are not between parentheses."""
    import re

    return (
        [] if text.strip() == "none" else [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    )


def _progress_line(topic: str, progress: "TrackProgress", rate: float) -> str:
    late = progress.rejects["late"]
    parts = [
        f"{topic}: {progress.instruments:,} symbols",
        f"{rate:,.0f}/s",
        f"lag {progress.lag:,}",
        f"{progress.bars:,} bars",
        f"{progress.alerts:,} alerts",
        f"{late:,} late" if late else "",
        f"{progress.rejects.total() - late:,} rejected" if progress.rejects.total() > late else "",
        "catching up on what was there" if progress.replaying else "",
    ]
    return ", ".join(part for part in parts if part)
