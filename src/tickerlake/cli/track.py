"""``tickerlake track``: Kafka → bars, indicators, alerts → Kafka and people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    Calendar,
    Json,
    Property,
    Ticker,
    properties,
    say,
    stopping,
)

if TYPE_CHECKING:
    from tickerlake.analytics.engine import EngineOptions
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
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
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
    from tickerlake.cli.alerts import Printer, announced, rule_set, warn_of_unseen
    from tickerlake.lake.store import open_store
    from tickerlake.pipeline.markets import sessions_by_market
    from tickerlake.pipeline.track import Track, TrackOptions

    options = engine_options(bars, indicators, grace, lateness, idle, ahead, group)
    chosen = rule_set(rules, preset)
    watcher = AlertEngine(chosen.rules, options.intervals)
    prefix = prefix or topic.partition(".")[0]
    store = open_store(state)
    given = properties(context, property_)
    worker = Track(
        bootstrap_servers,
        topic,
        store,
        group,
        TrackOptions(options, prefix),
        sessions_by_market(calendar, lambda: say(_NO_CALENDAR)),
        watcher,
        given,
    )
    for name in worker.prepare():
        say(f"created topic {name}")
    ticker, printer = Ticker(), Printer(json=json)

    def show(now: "TrackProgress") -> None:
        ticker.show(_summary(topic, now, ticker.rate(now.records)))

    def tell(alert: "Alert") -> None:
        ticker.end()
        printer.print(alert)

    def warn(text: str) -> None:
        ticker.end()
        say(f"warning: {text}")

    with stopping() as stop, announced(chosen, bootstrap_servers, f"{prefix}.alerts", group, given):
        done = worker.run(stop, until_end=until_end, on_progress=show, on_alert=tell, on_warning=warn)
    ticker.end()
    restated = f", {done.restated:,} restated" if done.restated else ""
    say(
        f"read {done.records:,} records of {done.instruments:,} symbols: {done.bars:,} bars built{restated}, "
        f"{done.open_bars:,} still open, {done.indicators:,} records of indicators, {done.alerts:,} alerts"
    )
    for reason, count in done.refused.most_common():
        say(f"  refused: {count:,} {reason} (kept in the topic {prefix}.refused)")
    for what, count in done.ignored.most_common():
        if count:
            say(f"  passed over: {count:,} {what}")
    if rules and done.records:
        warn_of_unseen(watcher)
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
    from tickerlake.analytics.engine import EngineOptions
    from tickerlake.analytics.indicators.registry import parse
    from tickerlake.model.interval import check_built, duration_ns

    return EngineOptions(
        intervals=tuple(dict.fromkeys(check_built(text) for text in bars.split(","))),
        indicators=tuple(dict.fromkeys(parse(text).text for text in _separated(indicators))),
        grace_ns=duration_ns(grace, "--grace"),
        lateness_ns=duration_ns(lateness, "--lateness"),
        idle_ns=duration_ns(idle, "--idle"),
        ahead_ns=duration_ns(ahead, "--ahead"),
        own=f"track:{group}",
    )


def _separated(text: str) -> list[str]:
    """Split at the commas that are not between parentheses."""
    import re

    return (
        [] if text.strip() == "none" else [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    )


def _summary(topic: str, now: "TrackProgress", rate: float) -> str:
    late = now.refused["late"]
    parts = [
        f"{topic}: {now.instruments:,} symbols",
        f"{rate:,.0f}/s",
        f"lag {now.lag:,}",
        f"{now.bars:,} bars",
        f"{now.alerts:,} alerts",
        f"{late:,} late" if late else "",
        f"{now.refused.total() - late:,} refused" if now.refused.total() > late else "",
        "catching up on what was there" if now.replaying else "",
    ]
    return ", ".join(part for part in parts if part)
