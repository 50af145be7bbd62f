"""``tickerlake rules``: check rules, try them on history, and print the ones that come with it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import (
    Calendar,
    Json,
    StatusLine,
    graceful_shutdown,
    input_files,
    open_files,
    print_json,
    print_status,
)
from tickerlake.cli.options import with_file_options
from tickerlake.cli.track import DEFAULT_BARS, Bars, Grace, Lateness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickerlake.alerts.rules.rule import Rule
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.tools.backtest import BacktestResult

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
    from tickerlake.cli.alerts import load_named_rules
    from tickerlake.notify.settings import read_routes

    ruleset = load_named_rules(rules)
    AlertEngine(ruleset.rules, DEFAULT_BARS.split(","))
    targets = read_routes([(each.line, each.table) for each in ruleset.notify], os.environ)
    for rule in ruleset.rules:
        symbols = ", ".join(rule.symbols) if rule.symbols != ("*",) else "all symbols"
        when = "at every trade" if rule.when == "tick" else "when a bar closes"
        bars = f"{', '.join(rule.intervals) or 'the shortest'} bars, {when}"
        scope = "the data themselves" if rule.monitors_data else bars
        print_status(f"  line {rule.line}: {rule.id}: {rule.kind} of {symbols}, {scope}, {rule.severity}")
    for route in targets:
        print_status(f"  target {route.target.name}: from {route.min_severity} on")
    print_status(f"✓ {rules}: {_pluralize(len(ruleset.rules), 'rule')}, {_pluralize(len(targets), 'target')}")


def _pluralize(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
@with_file_options(strict=False)
def backtest_command(
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
    from tickerlake.analytics.calendars import sessions_by_market
    from tickerlake.cli.alerts import AlertPrinter, load_named_rules, warn_rules_without_data
    from tickerlake.cli.track import engine_options
    from tickerlake.tools.backtest import BacktestResult, backtest

    ruleset = load_named_rules(rules)
    tracking_options = engine_options(bars, "none", grace, lateness, "0s", "1d", "test")
    watcher = AlertEngine(ruleset.rules, tracking_options.intervals)
    ticker, printer, result = StatusLine(), AlertPrinter(json=json), BacktestResult()
    shown: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, graceful_shutdown() as stop:
        source = open_files(input_files(data, Path(folder)), options, ticker, digest=False)
        alert_batches = backtest(
            source, tracking_options, sessions_by_market(calendar), watcher, result, stop.is_set
        )
        for alerts in alert_batches:
            for alert in alerts:
                count = shown[alert.rule_id] = shown.get(alert.rule_id, 0) + (alert.state == "fired")
                if json or (alert.state == "fired" and count <= examples):
                    ticker.clear()
                    printer.print(alert)
            share = result.records / max(1, source.rows)
            ticker.update(f"{share:.0%}, {result.records:,} records, {result.fired.total():,} alerts")
    ticker.clear()
    if Path(rules).is_file():
        for problem in ruleset.unmatched_patterns(result.symbols):
            print_status(f"warning: {problem}")
        warn_rules_without_data(watcher)
    _print_summary(result, ruleset.rules)
    if json:
        print_json(
            {
                "records": result.records,
                "symbol_days": result.symbol_days,
                "fired": dict(result.fired),
                "refused": dict(result.rejected_records),
            }
        )


def _print_summary(result: "BacktestResult", rules: "Sequence[Rule]") -> None:
    print_status(
        f"\n{result.records:,} records of {len(result.symbols):,} symbols, {result.symbol_days:,} symbol-days"
        f"{f', {result.rejected_rows:,} rows refused' if result.rejected_rows else ''}"
    )
    for reason, count in result.rejected_records.most_common():
        print_status(f"  refused: {count:,} {reason}")
    width = max([len(rule.id) for rule in rules], default=0)
    for rule in rules:
        count = result.fired[rule.id]
        frequency = (
            f", one in {result.symbol_days / count:,.0f} symbol-days"
            if 0 < count < result.symbol_days
            else ""
        )
        frequency = (
            f", {count / result.symbol_days:,.1f} for each symbol-day"
            if 0 < result.symbol_days <= count
            else frequency
        )
        outcome = "is about live data" if rule.monitors_data else f"{count:>7,} alerts{frequency}"
        print_status(f"  {rule.id:<{width}}  {outcome}")
