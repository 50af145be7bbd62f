"""``tickerlake rules``: check rules, try them on history, and print the ones that come with it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import Calendar, Json, Ticker, emit, input_files, open_files, say, stopping
from tickerlake.cli.options import takes_options
from tickerlake.cli.track import DEFAULT_BARS, Bars, Grace, Lateness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickerlake.alerts.rules.rule import Rule
    from tickerlake.pipeline.backtest import Backtest
    from tickerlake.sources.csv.options import Options

app = typer.Typer(
    help="Rules of alerts: check a file, try it on history, print a preset.", no_args_is_help=True
)

RulesFile = Annotated[str, typer.Argument(help="File of rules (TOML), or the name of a preset.")]


@app.command()
def check(rules: RulesFile) -> None:
    """Check a file of rules: everything that is wrong, with its line and a remedy.

    Example: `tickerlake rules check my-rules.toml`
    """
    import os

    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.cli.alerts import named_rules
    from tickerlake.notify.settings import read_targets

    found = named_rules(rules)
    AlertEngine(found.rules, DEFAULT_BARS.split(","))
    targets = read_targets([(each.line, each.table) for each in found.notify], os.environ)
    for rule in found.rules:
        of = ", ".join(rule.symbols) if rule.symbols != ("*",) else "all symbols"
        when = "at every trade" if rule.when == "tick" else "when a bar closes"
        bars = f"{', '.join(rule.intervals) or 'the shortest'} bars, {when}"
        seen = "the data themselves" if rule.about_data else bars
        say(f"  line {rule.line}: {rule.id}: {rule.kind} of {of}, {seen}, {rule.severity}")
    for route in targets:
        say(f"  target {route.target.name}: from {route.severity} on")
    say(f"✓ {rules}: {_count(len(found.rules), 'rule')}, {_count(len(targets), 'target')}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@app.command()
def show(preset: Annotated[str, typer.Argument(help="default, sensitive or simple.")] = "default") -> None:
    """Print the rules of a preset, to begin a file of your own with.

    Example: `tickerlake rules show > my-rules.toml`
    """
    from tickerlake.alerts.rules.presets import PRESETS
    from tickerlake.errors import UsageError

    if preset not in PRESETS:
        raise UsageError(f"There is no preset {preset}.", f"Use {', '.join(PRESETS)}.")
    print(PRESETS[preset].strip())


@app.command("test")
@takes_options(strict=False)
def try_on(
    rules: RulesFile,
    data: Annotated[list[str], typer.Option("--data", "-d", help="CSV files, folders or patterns.")],
    *,
    options: "Options",
    bars: Bars = DEFAULT_BARS,
    calendar: Calendar = "24/7",
    grace: Grace = "0s",
    lateness: Lateness = "1m",
    examples: Annotated[int, typer.Option(min=0, help="Print so many alerts of each rule.")] = 5,
    json: Json = False,
) -> None:
    """Replay history and say what the rules would have told: how often, and examples.

    With --json every alert goes to stdout, one a line, and the summary last.

    Examples: `tickerlake rules test my-rules.toml --data trades.csv.gz --calendar XNYS` ·
    `tickerlake rules test default --data 'daily/*.csv' --bars 1d`
    """
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.cli.alerts import Printer, named_rules, warn_of_unseen
    from tickerlake.cli.track import engine_options
    from tickerlake.pipeline.backtest import Backtest, backtest
    from tickerlake.pipeline.markets import sessions_by_market

    found = named_rules(rules)
    engine = engine_options(bars, "none", grace, lateness, "0s", "1d", "test")
    watcher = AlertEngine(found.rules, engine.intervals)
    ticker, printer, done = Ticker(), Printer(json=json), Backtest()
    shown: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, stopping() as stop:
        replay = open_files(input_files(data, Path(folder)), options, ticker, digest=False)
        found_alerts = backtest(replay, engine, sessions_by_market(calendar), watcher, done, stop.is_set)
        for alerts in found_alerts:
            for alert in alerts:
                count = shown[alert.rule_id] = shown.get(alert.rule_id, 0) + (alert.state == "fired")
                if json or (alert.state == "fired" and count <= examples):
                    ticker.end()
                    printer.print(alert)
            share = done.records / max(1, replay.rows)
            ticker.show(f"{share:.0%}, {done.records:,} records, {done.fired.total():,} alerts")
    ticker.end()
    if Path(rules).is_file():
        for problem in found.unmatched(done.symbols):
            say(f"warning: {problem}")
        warn_of_unseen(watcher)
    _summary(done, found.rules)
    if json:
        emit(
            {
                "records": done.records,
                "symbol_days": done.days,
                "fired": dict(done.fired),
                "refused": dict(done.refused),
            }
        )


def _summary(done: "Backtest", rules: "Sequence[Rule]") -> None:
    say(
        f"\n{done.records:,} records of {len(done.symbols):,} symbols, {done.days:,} symbol-days"
        f"{f', {done.rejects:,} rows refused' if done.rejects else ''}"
    )
    for reason, count in done.refused.most_common():
        say(f"  refused: {count:,} {reason}")
    width = max([len(rule.id) for rule in rules], default=0)
    for rule in rules:
        count = done.fired[rule.id]
        often = f", one in {done.days / count:,.0f} symbol-days" if 0 < count < done.days else ""
        often = f", {count / done.days:,.1f} for each symbol-day" if 0 < done.days <= count else often
        said = "is about live data" if rule.about_data else f"{count:>7,} alerts{often}"
        say(f"  {rule.id:<{width}}  {said}")
