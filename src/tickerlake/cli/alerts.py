"""``tickerlake alerts``: follow the alerts of a topic, and how all verbs print and announce alerts."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import LOCAL_BROKER, Bootstrap, Json, Property, properties, say, stopping

if TYPE_CHECKING:
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.alerts.rules.ruleset import RuleSet
    from tickerlake.model.alert import Alert

app = typer.Typer(help="Alerts: follow them, or try the targets that they are sent to.", no_args_is_help=True)
_DEAD_LETTERS = Path(".tickerlake/dead-letters")


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
    from tickerlake.notify.settings import read_targets
    from tickerlake.pipeline.announce import Announcer

    routes = read_targets([(each.line, each.table) for each in rules.notify], os.environ)
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
