"""``tickerlake alerts``: list and follow alerts, test targets, resend dead letters."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.alerting import DEAD_LETTER_FOLDER, AlertPrinter, load_rules, notification_routes
from tickerlake.cli.common import (
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    print_json,
    print_status,
)
from tickerlake.cli.help import LAKE, OUTPUT, RULES, HelpCommand, HelpGroup
from tickerlake.cli.options import (
    LOCAL_BROKER,
    URI_FORMS,
    BootstrapServers,
    Calendar,
    Json,
    Property,
    topic_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tickerlake.notify.dispatcher import Route

app = typer.Typer(
    name="alerts", cls=HelpGroup, help="List and follow alerts, test targets, resend dead letters."
)

RulesWithTargets = Annotated[
    Path,
    typer.Option("--rules", metavar="FILE", help="Rules file with the targets.", rich_help_panel=RULES),
]
TargetName = Annotated[
    str | None,
    typer.Option("--target", metavar="NAME", help="Only the target with this name.", rich_help_panel=RULES),
]


def _select_routes(routes: "list[Route]", rules: Path, target_name: str | None) -> "list[Route]":
    """Return all targets of a file, or the one with a name.

    Raises
    ------
    UsageError
        If there is none.
    """
    from tickerlake.errors import UsageError

    selected = [route for route in routes if target_name in {None, route.target.name}]
    if selected:
        return selected
    names = ", ".join(route.target.name for route in routes)
    if routes:
        raise UsageError(f"{rules} has no target {target_name}.", f"Its targets are {names}.")
    raise UsageError(f"{rules} has no target.", "Add one with [[notify]]; see docs/notify.md.")


@app.command("try", cls=HelpCommand)
def try_targets(rules: RulesWithTargets, target: TargetName = None) -> None:
    """Send a test message to each target and print the responses.

    The message bypasses all filters. Exits with 2 if a target does not accept it.

    Examples
    --------
    tickerlake alerts try --rules my-rules.toml
    tickerlake alerts try --rules my-rules.toml --target desk
    """
    from tickerlake import clock
    from tickerlake.errors import SetupError, TickerlakeError
    from tickerlake.notify.resend import build_test_notification

    routes, failed = _select_routes(notification_routes(load_rules(rules, "")), rules, target), 0
    for route in routes:
        try:
            route.target.deliver(build_test_notification(clock.now_ns()))
        except TickerlakeError as error:
            failed += 1
            print_status(f"✗ {route.target.name}: {error.message}")
            if error.hint:
                print_status(f"    → {error.hint}")
        else:
            print_status(f"✓ {route.target.name}: accepted the message")
    if failed:
        raise SetupError(
            f"{failed} of {len(routes)} targets did not accept the message.", "The reasons are above."
        )


@app.command(cls=HelpCommand)
def resend(
    rules: RulesWithTargets,
    target: TargetName = None,
    folder: Annotated[
        Path,
        typer.Option(
            "--dead-letters", metavar="DIR", help="Folder of the dead letters.", rich_help_panel=RULES
        ),
    ] = DEAD_LETTER_FOLDER,
) -> None:
    """Resend dead letters: alerts that could not be delivered.

    Each is retried for its target's give_up_after_s. What fails again stays a dead letter, and the command
    exits with 3. Ctrl-C keeps the rest.

    Examples
    --------
    tickerlake alerts resend --rules my-rules.toml
    """
    from tickerlake.notify.dead_letters import dead_letter_targets
    from tickerlake.notify.resend import resend as resend_dead_letters
    from tickerlake.notify.targets import TargetUnreachable

    routes, undelivered = notification_routes(load_rules(rules, "")), 0
    unknown_targets = dead_letter_targets(folder) - {route.target.name for route in routes}
    status_line = StatusLine()
    with graceful_shutdown("keeping what is not delivered …") as stop:
        for route in _select_routes(routes, rules, target):
            name = route.target.name
            result = resend_dead_letters(
                route,
                folder,
                stop,
                lambda stats, name=name: status_line.update(  # type: ignore[misc]
                    f"{name}: {stats.delivered:,} delivered, {stats.queued:,} left"
                ),
            )
            status_line.clear()
            stats = result.stats
            undelivered += stats.dead_lettered + stats.lost
            failed = (
                f", {stats.dead_lettered:,} dead-lettered again ({stats.last_error or 'stopped'})"
                if stats.dead_lettered
                else ""
            )
            print_status(f"{name}: {stats.delivered:,} delivered{failed}")
            if result.unreadable:
                print_status(f"  {result.unreadable:,} lines are not dead letters and stay in the file")
    for name in sorted(unknown_targets):
        print_status(f"{name}: has dead letters in {folder}/, but is not a target in {rules}")
    if undelivered:
        raise TargetUnreachable(
            f"{undelivered:,} alerts could not be delivered.",
            f"They are kept in {folder}/; run the command again later.",
        )


@app.command("list", cls=HelpCommand)
def list_alerts(
    context: typer.Context,
    # no setting: alerts that `track` has just raised are in the topic, whether there is a lake or not
    lake: Annotated[
        str | None,
        typer.Option(metavar="URI", help=f"Read a lake: {URI_FORMS}.", rich_help_panel=LAKE),
    ] = None,
    topic: Annotated[
        str | None, topic_option("Read this topic; default: stocks.alerts, unless a lake is named.")
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL",
            help="Only these symbols, such as AAPL or 'BRK*'; repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="From this date (the exchange's), time, or how long ago: 7d.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Before this date, time, or how long ago.", rich_help_panel=OUTPUT),
    ] = None,
    severity: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="Only this severity and above: info, warning or critical.",
            autocompletion=lambda: ["info", "warning", "critical"],
            rich_help_panel=OUTPUT,
        ),
    ] = "info",
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Only these rules, such as gap or 'big-*'; repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    calendar: Calendar = "24/7",
    property_: Property = None,
    json: Json = False,
) -> None:
    """List alerts, one line from firing to clearing, in order of time.

    They come from a lake, a topic, or both. Each line has the exchange's time, the end (or "open"), the
    highest severity, the rule and the message. With --json, each is one JSON line.

    Examples
    --------
    tickerlake alerts list --symbol AAPL --since 7d
    tickerlake alerts list --lake ./lake --since 2024-01-02 --until 2024-01-03
    tickerlake alerts list --severity critical --rule 'big-*' --json
    """
    import itertools
    import sys

    from tickerlake import clock
    from tickerlake.analytics.calendars import MarketSessions
    from tickerlake.cli.alert_list import (
        episode_line,
        parse_bound,
        read_lake_alerts,
        read_topic_alerts,
        select_period,
    )
    from tickerlake.errors import UsageError, did_you_mean
    from tickerlake.model.alert import SEVERITIES
    from tickerlake.model.instrument import normalize_symbol
    from tickerlake.tools.episodes import EpisodeFilter, find_episodes

    if severity not in SEVERITIES:
        raise UsageError(f"There is no severity {severity}.", did_you_mean(severity, SEVERITIES))
    now_ns = clock.now_ns()
    start = parse_bound(since, "--since", now_ns) if since else None
    end = parse_bound(until, "--until", now_ns) if until else None
    sources = [read_lake_alerts(lake, calendar)] if lake else []
    if topic or not lake:
        properties = librdkafka_properties(context, property_)
        sources.append(read_topic_alerts(bootstrap_servers, properties, topic or "stocks.alerts"))
    wanted = EpisodeFilter(tuple(map(normalize_symbol, symbol or ())), tuple(rule or ()), severity)
    episodes = find_episodes(itertools.chain(*sources))
    for problem in wanted.unmatched(episodes) if episodes else ():
        print_status(f"warning: {problem}")
    matching = [episode for episode in episodes if wanted.matches(episode)]
    printer = AlertPrinter(json=json, sessions_of=MarketSessions(calendar, context.obj.calendar))
    selected = select_period(matching, start, end, printer.zone_of)
    for episode in selected:
        if json:
            print_json({name: value for name, value in episode.to_fields().items() if value is not None})
        else:
            print(episode_line(episode, printer.zone_of(episode.first)))
    sys.stdout.flush()
    others = len(episodes) - len(selected)
    if not json:
        noun = "episode" if len(selected) == 1 else "episodes"
        print_status(f"{len(selected):,} {noun}{f', {others:,} others do not match' if others else ''}")


@app.command(cls=HelpCommand)
def tail(
    context: typer.Context,
    topic: Annotated[str, topic_option("Alerts topic.")] = "stocks.alerts",
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    last: Annotated[
        int,
        typer.Option(
            "--last", "-n", min=0, metavar="N", help="Show the last N alerts first.", rich_help_panel=OUTPUT
        ),
    ] = 10,
    follow: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Wait for new alerts, or stop.", rich_help_panel=OUTPUT),
    ] = True,
    property_: Property = None,
    calendar: Calendar = "24/7",
    json: Json = False,
) -> None:
    """Print the last alerts of a topic in order of time, and follow new ones until Ctrl-C.

    With --json, each alert is one JSON line.

    Examples
    --------
    tickerlake alerts tail
    tickerlake alerts tail -n 100 --no-follow --json
    """
    from tickerlake.analytics.calendars import MarketSessions
    from tickerlake.kafka.admin import Admin
    from tickerlake.kafka.reader import read_all

    kafka_properties = librdkafka_properties(context, property_)
    printer = AlertPrinter(json=json, sessions_of=MarketSessions(calendar, context.obj.calendar))
    admin = Admin(bootstrap_servers, kafka_properties)
    ranges = admin.watermarks(admin.require_topic(topic))
    # transaction markers occupy offsets too, at most one per record
    starts = {number: max(low, high - 2 * last) for number, (low, high) in ranges.items() if last}
    backlog = [
        (timestamp_ms, value)
        for batch in read_all(bootstrap_servers, kafka_properties, topic, starts)
        for offset, timestamp_ms, value in batch.frame.select("offset", "timestamp_ms", "value").iter_rows()
        if offset < ranges[batch.partition[1]][1]
    ]
    backlog.sort(key=lambda entry: entry[0])
    _print_alerts(printer, [value for _, value in backlog[len(backlog) - min(last, len(backlog)) :]])
    if follow:
        ends = {number: high for number, (_, high) in ranges.items()}
        with graceful_shutdown("closing the connection …", is_service=True) as stop:
            for batch in read_all(
                bootstrap_servers, kafka_properties, topic, ends, lambda: not stop.is_set()
            ):
                _print_alerts(printer, batch.frame.get_column("value"))


def _print_alerts(printer: AlertPrinter, values: "Iterable[bytes | None]") -> None:
    from tickerlake.errors import DataError
    from tickerlake.model.alert import decode_alert

    alerts, skipped = [], 0
    for value in values:
        try:
            alerts.append(decode_alert(value))
        except DataError:
            skipped += 1
    for alert in sorted(alerts, key=lambda one: one.ts_event_ns):
        printer.print(alert)
    if skipped:
        print_status(f"skipped {skipped:,} records that are not alerts; is this the topic of alerts?")
