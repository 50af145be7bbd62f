"""``tickerlake alerts``: follow the alerts of a topic, and how all verbs print and announce alerts."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    LOCAL_BROKER,
    Bootstrap,
    Json,
    Property,
    Ticker,
    properties,
    say,
    stopping,
)

if TYPE_CHECKING:
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.alerts.rules.ruleset import RuleSet
    from tickerlake.model.alert import Alert
    from tickerlake.notify.route import Route

app = typer.Typer(
    help="Alerts: follow them, try the targets that they are sent to, send again what was not delivered.",
    no_args_is_help=True,
)
_DEAD_LETTERS = Path(".tickerlake/dead-letters")

Rules = Annotated[Path, typer.Option("--rules", help="The file of rules that has the targets.")]
Only = Annotated[str | None, typer.Option("--target", help="Only the target of this name.")]


class Printer:
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


def rule_set(path: Path | None, preset: str) -> "RuleSet":
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


def warn_of_unseen(watcher: "AlertEngine") -> None:
    """Say which rules nothing was shown to."""
    for rule in watcher.unseen:
        bars = f"bars of {' or '.join(rule.intervals)}" if rule.intervals else "bars that it looks at"
        say(f"warning: rule {rule.id} was shown nothing: there were no {bars} of its symbols; see --bars")


def named_rules(name: str) -> "RuleSet":
    """Return the rules of a file, or of a preset if there is no such file.

    Raises
    ------
    UsageError
        If there is neither.
    """
    return rule_set(None, name) if name.isalpha() and not Path(name).exists() else rule_set(Path(name), "")


@contextmanager
def announced(
    rules: "RuleSet", bootstrap_servers: str, topic: str, group: str, given: Mapping[str, str]
) -> Iterator[None]:
    """Send the alerts of a topic to the targets of the rules, in the background, until the block ends."""
    if not rules.notify:
        yield
        return
    from tickerlake.errors import TickerlakeError
    from tickerlake.notify.dispatcher import Dispatcher
    from tickerlake.pipeline.announce import Announcer

    routes = _routes(rules)
    announcer = Announcer(bootstrap_servers, topic, f"{group}-notify", given)
    stop = threading.Event()
    dispatcher = Dispatcher(routes, _DEAD_LETTERS)

    def run() -> None:
        try:
            announcer.run(dispatcher, stop)
        except TickerlakeError as error:
            say(f"warning: alerts are not sent any more: {error}")

    thread = threading.Thread(target=run, name="announce")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    for name, stats in dispatcher.stats().items():
        dead = f", {stats.dead:,} kept in {_DEAD_LETTERS}/ ({stats.last_error})" if stats.dead else ""
        say(f"  {name}: {stats.delivered:,} alerts delivered{dead}")


def _routes(rules: "RuleSet") -> "list[Route]":
    from tickerlake.notify.settings import read_targets

    return read_targets([(each.line, each.table) for each in rules.notify], os.environ)


def _chosen(routes: "list[Route]", rules: Path, only: str | None) -> "list[Route]":
    """Return the targets of a file, or one of them.

    Raises
    ------
    UsageError
        If there is none.
    """
    from tickerlake.errors import UsageError

    chosen = [route for route in routes if only in {None, route.target.name}]
    if chosen:
        return chosen
    names = ", ".join(route.target.name for route in routes)
    if routes:
        raise UsageError(f"{rules} has no target {only}.", f"There is {names}.")
    raise UsageError(f"{rules} has no target.", "Add one ([[notify]]); docs/notify.md says how.")


@app.command("try")
def try_targets(rules: Rules, target: Only = None) -> None:
    """Send a message to each target, to see that it arrives; exit code 2 if one does not take it.

    Examples: `tickerlake alerts try --rules my-rules.toml` ·
    `tickerlake alerts try --rules my-rules.toml --target desk`
    """
    from tickerlake import clock
    from tickerlake.errors import SetupError, TickerlakeError
    from tickerlake.notify.resend import trial

    routes, failed = _chosen(_routes(rule_set(rules, "")), rules, target), 0
    for route in routes:
        try:
            route.target.deliver(trial(clock.now_ns()))
        except TickerlakeError as error:
            failed += 1
            say(f"✗ {route.target.name}: {error.message}")
            if error.hint:
                say(f"    → {error.hint}")
        else:
            say(f"✓ {route.target.name}: took the message")
    if failed:
        raise SetupError(f"{failed} of {len(routes)} targets did not take the message.", "Each stands above.")


@app.command()
def resend(
    rules: Rules,
    target: Only = None,
    folder: Annotated[Path, typer.Option("--dead-letters", help="Where they are.")] = _DEAD_LETTERS,
) -> None:
    """Send again what could not be delivered; what fails again is kept again, exit code 3.

    Each is tried for as long as its target says (`give_up_after_s`). Ctrl-C keeps the rest.

    Example: `tickerlake alerts resend --rules my-rules.toml`
    """
    from tickerlake.notify.dead_letters import targets_of
    from tickerlake.notify.resend import resend as send_again
    from tickerlake.notify.targets.target import Unreachable

    known, dead = _routes(rule_set(rules, "")), 0
    unknown = targets_of(folder) - {route.target.name for route in known}
    ticker = Ticker()
    with stopping("what is not delivered is kept …") as stop:
        for route in _chosen(known, rules, target):
            name = route.target.name
            found = send_again(
                route,
                folder,
                stop,
                lambda now, name=name: ticker.show(
                    f"{name}: {now.delivered:,} delivered, {now.queued:,} left"
                ),  # type: ignore[misc]
            )
            ticker.end()
            stats = found.stats
            dead += stats.dead + stats.lost
            again = f", {stats.dead:,} kept again ({stats.last_error or 'stopped'})" if stats.dead else ""
            say(f"{name}: {stats.delivered:,} delivered{again}")
            if found.unreadable:
                say(f"  {found.unreadable:,} lines are no dead letters, and stay where they are")
    for name in sorted(unknown):
        say(f"{name}: has dead letters in {folder}/, but is no target of {rules}")
    if dead:
        raise Unreachable(
            f"{dead:,} alerts could not be delivered.", f"They are in {folder}/. Run it again later."
        )


@app.command()
def tail(
    context: typer.Context,
    topic: Annotated[str, typer.Option("--topic", "-t", help="Topic of alerts.")] = "stocks.alerts",
    bootstrap_servers: Bootstrap = LOCAL_BROKER,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Begin with so many that are there.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more.")] = True,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Print the last alerts of a topic, and each one that follows, until Ctrl-C.

    Examples: `tickerlake alerts tail` · `tickerlake alerts tail -n 100 --no-follow --json`
    """
    from tickerlake.kafka.admin import Admin
    from tickerlake.kafka.consumer import read_all

    given, printer = properties(context, property_), Printer(json=json)
    admin = Admin(bootstrap_servers, given)
    ranges = admin.watermarks(admin.require(topic))
    # ends of transactions have offsets, too: twice as many are enough
    starts = {number: max(low, high - 2 * last) for number, (low, high) in ranges.items() if last}
    before = [
        (moment_ms, value)
        for batch in read_all(bootstrap_servers, given, topic, starts)
        for offset, moment_ms, value in batch.frame.select("offset", "timestamp_ms", "value").iter_rows()
        if offset < ranges[batch.partition[1]][1]
    ]
    before.sort(key=lambda one: one[0])
    for _, value in before[len(before) - min(last, len(before)) :]:
        _print(printer, value)
    if follow:
        ends = {number: high for number, (_, high) in ranges.items()}
        with stopping("…") as stop:
            for batch in read_all(bootstrap_servers, given, topic, ends, lambda: not stop.is_set()):
                for value in batch.frame.get_column("value"):
                    _print(printer, value)


def _print(printer: Printer, value: bytes | None) -> None:
    from tickerlake.errors import DataError
    from tickerlake.pipeline.announce import read_alert

    try:
        printer.print(read_alert(value))
    except DataError as error:
        say(f"passed over: {error}")
