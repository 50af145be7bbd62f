"""``tickerlake alerts``: follow the alerts of a topic, and how all verbs print and announce alerts."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    BootstrapServers,
    Json,
    Property,
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    print_status,
)

if TYPE_CHECKING:
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.alerts.rules.ruleset import RuleSet
    from tickerlake.model.alert import Alert
    from tickerlake.notify.dispatcher import Route

app = typer.Typer(
    help="Alerts: follow them, try the targets that they are sent to, send again what was not delivered.",
    no_args_is_help=True,
)
_DEAD_LETTER_FOLDER = Path(".tickerlake/dead-letters")

RulesFile = Annotated[Path, typer.Option("--rules", help="The file of rules that has the targets.")]
TargetName = Annotated[str | None, typer.Option("--target", help="Only the target of this name.")]


class AlertPrinter:
    """Prints alerts on stdout: a line for people, or a document for programs."""

    def __init__(self, *, json: bool) -> None:
        from rich.console import Console

        self._json = json
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def print(self, alert: "Alert") -> None:
        """Print one alert."""
        from tickerlake.notify.targets.console import console_line

        if self._json:
            print(alert.to_json().decode(), flush=True)
        else:
            self._console.print(console_line(alert))


def load_rules(path: Path | None, preset: str) -> "RuleSet":
    """Return the rules of a file, or of a preset.

    Raises
    ------
    UsageError
        If there is no such preset, or the file is wrong.
    """
    from tickerlake.alerts.rules import ruleset
    from tickerlake.alerts.rules.presets import PRESETS
    from tickerlake.alerts.rules.ruleset import RuleSet, load
    from tickerlake.errors import UsageError

    if path is not None:
        return load(path)
    if preset == "none":
        return RuleSet("no rules", ())
    if preset not in PRESETS:
        raise UsageError(
            f"There is no preset {preset}.", f"Use {', '.join(PRESETS)} or none, or a file: --rules."
        )
    return ruleset.preset(preset)


def warn_rules_without_data(watcher: "AlertEngine") -> None:
    """Say which rules nothing was shown to."""
    for rule in watcher.rules_without_data:
        bars = f"bars of {' or '.join(rule.intervals)}" if rule.intervals else "bars that it looks at"
        print_status(
            f"warning: rule {rule.id} was shown nothing: there were no {bars} of its symbols; see --bars"
        )


def load_named_rules(name: str) -> "RuleSet":
    """Return the rules of a file, or of a preset if there is no such file.

    Raises
    ------
    UsageError
        If there is neither.
    """
    return (
        load_rules(None, name) if name.isalpha() and not Path(name).exists() else load_rules(Path(name), "")
    )


@contextmanager
def forward_alerts(
    rules: "RuleSet", bootstrap_servers: str, topic: str, group: str, kafka_properties: Mapping[str, str]
) -> Iterator[None]:
    """Send the alerts of a topic to the targets of the rules, in the background, until the block ends."""
    if not rules.notify:
        yield
        return
    from tickerlake.notify.dispatcher import Dispatcher
    from tickerlake.pipeline.forward_alerts import AlertForwarder, forwarding

    routes = _read_routes(rules)
    forwarder = AlertForwarder(bootstrap_servers, topic, f"{group}-notify", kafka_properties)
    dispatcher = Dispatcher(routes, _DEAD_LETTER_FOLDER)
    with forwarding(
        forwarder,
        dispatcher,
        lambda error: print_status(f"warning: alerts are no longer sent: {error}"),
    ):
        yield
    for name, stats in dispatcher.stats().items():
        dead = (
            f", {stats.dead_lettered:,} kept in {_DEAD_LETTER_FOLDER}/ ({stats.last_error})"
            if stats.dead_lettered
            else ""
        )
        print_status(f"  {name}: {stats.delivered:,} alerts delivered{dead}")


def _read_routes(rules: "RuleSet") -> "list[Route]":
    from tickerlake.notify.settings import read_routes

    return read_routes([(each.line, each.table) for each in rules.notify], os.environ)


def _select_routes(routes: "list[Route]", rules: Path, target_name: str | None) -> "list[Route]":
    """Return the targets of a file, or one of them.

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
        raise UsageError(f"{rules} has no target {target_name}.", f"There is {names}.")
    raise UsageError(f"{rules} has no target.", "Add one ([[notify]]); docs/notify.md says how.")


@app.command("try")
def try_targets(rules: RulesFile, target: TargetName = None) -> None:
    """Send a message to each target, to see that it arrives; exit code 2 if one does not take it.

    Examples: `tickerlake alerts try --rules my-rules.toml` ·
    `tickerlake alerts try --rules my-rules.toml --target desk`
    """
    from tickerlake import clock
    from tickerlake.errors import SetupError, TickerlakeError
    from tickerlake.notify.resend import build_test_notification

    routes, failed = _select_routes(_read_routes(load_rules(rules, "")), rules, target), 0
    for route in routes:
        try:
            route.target.deliver(build_test_notification(clock.now_ns()))
        except TickerlakeError as error:
            failed += 1
            print_status(f"✗ {route.target.name}: {error.message}")
            if error.hint:
                print_status(f"    → {error.hint}")
        else:
            print_status(f"✓ {route.target.name}: took the message")
    if failed:
        raise SetupError(f"{failed} of {len(routes)} targets did not take the message.", "Each stands above.")


@app.command()
def resend(
    rules: RulesFile,
    target: TargetName = None,
    folder: Annotated[Path, typer.Option("--dead-letters", help="Where they are.")] = _DEAD_LETTER_FOLDER,
) -> None:
    """Send again what could not be delivered; what fails again is kept again, exit code 3.

    Each is tried for as long as its target says (`give_up_after_s`). Ctrl-C keeps the rest.

    Example: `tickerlake alerts resend --rules my-rules.toml`
    """
    from tickerlake.notify.dead_letters import dead_letter_targets
    from tickerlake.notify.resend import resend as send_again
    from tickerlake.notify.targets import TargetUnreachable

    known, dead = _read_routes(load_rules(rules, "")), 0
    unknown = dead_letter_targets(folder) - {route.target.name for route in known}
    ticker = StatusLine()
    with graceful_shutdown("what is not delivered is kept …") as stop:
        for route in _select_routes(known, rules, target):
            name = route.target.name
            found = send_again(
                route,
                folder,
                stop,
                lambda now, name=name: ticker.update(
                    f"{name}: {now.delivered:,} delivered, {now.queued:,} left"
                ),  # type: ignore[misc]
            )
            ticker.clear()
            stats = found.stats
            dead += stats.dead_lettered + stats.lost
            again = (
                f", {stats.dead_lettered:,} kept again ({stats.last_error or 'stopped'})"
                if stats.dead_lettered
                else ""
            )
            print_status(f"{name}: {stats.delivered:,} delivered{again}")
            if found.unreadable:
                print_status(f"  {found.unreadable:,} lines are no dead letters, and stay where they are")
    for name in sorted(unknown):
        print_status(f"{name}: has dead letters in {folder}/, but is no target of {rules}")
    if dead:
        raise TargetUnreachable(
            f"{dead:,} alerts could not be delivered.", f"They are in {folder}/. Run it again later."
        )


@app.command()
def tail(
    context: typer.Context,
    topic: Annotated[str, typer.Option("--topic", "-t", help="Topic of alerts.")] = "stocks.alerts",
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Begin with so many that are there.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more.")] = True,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Print the last alerts of a topic, and each one that follows, until Ctrl-C.

    Examples: `tickerlake alerts tail` · `tickerlake alerts tail -n 100 --no-follow --json`
    """
    from tickerlake.kafka.admin import Admin
    from tickerlake.kafka.reader import read_all

    kafka_properties, printer = librdkafka_properties(context, property_), AlertPrinter(json=json)
    admin = Admin(bootstrap_servers, kafka_properties)
    ranges = admin.watermarks(admin.require_topic(topic))
    # ends of transactions have offsets, too: twice as many are enough
    starts = {number: max(low, high - 2 * last) for number, (low, high) in ranges.items() if last}
    backlog = [
        (moment_ms, value)
        for batch in read_all(bootstrap_servers, kafka_properties, topic, starts)
        for offset, moment_ms, value in batch.frame.select("offset", "timestamp_ms", "value").iter_rows()
        if offset < ranges[batch.partition[1]][1]
    ]
    backlog.sort(key=lambda one: one[0])
    for _, value in backlog[len(backlog) - min(last, len(backlog)) :]:
        _print_alert(printer, value)
    if follow:
        ends = {number: high for number, (_, high) in ranges.items()}
        with graceful_shutdown("…") as stop:
            for batch in read_all(
                bootstrap_servers, kafka_properties, topic, ends, lambda: not stop.is_set()
            ):
                for value in batch.frame.get_column("value"):
                    _print_alert(printer, value)


def _print_alert(printer: AlertPrinter, value: bytes | None) -> None:
    from tickerlake.errors import DataError
    from tickerlake.model.alert import decode_alert

    try:
        printer.print(decode_alert(value))
    except DataError as error:
        print_status(f"passed over: {error}")
