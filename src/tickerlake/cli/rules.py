"""``tickerlake rules``: check alert rules, backtest them, print a preset."""

import itertools
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.analytics.defaults import GRACE, LATENESS
from tickerlake.cli.alerting import (
    AlertPrinter,
    load_named_rules,
    load_rules,
    notification_routes,
    warn_rules_without_data,
)
from tickerlake.cli.common import (
    StatusLine,
    graceful_shutdown,
    input_files,
    open_files,
    print_json,
    print_status,
    print_unscheduled,
)
from tickerlake.cli.engine_options import (
    DEFAULT_BARS,
    BarAlignment,
    BarIntervals,
    Conditions,
    DailyBars,
    Grace,
    Lateness,
    Splits,
    engine_options,
    print_conditions,
    with_splits,
)
from tickerlake.cli.file_options import with_file_options
from tickerlake.cli.help import INPUT, OUTPUT, RULES, HelpCommand, HelpGroup
from tickerlake.cli.options import Calendar, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tickerlake.alerts.rules.rule import Rule
    from tickerlake.alerts.rules.ruleset import RuleSet
    from tickerlake.model.alert import Alert
    from tickerlake.sources.csv.detect.options import Options
    from tickerlake.tools.backtest import BacktestResult

app = typer.Typer(name="rules", cls=HelpGroup, help="Check alert rules, backtest them, print a preset.")

FileOrPreset = Annotated[
    str, typer.Argument(metavar="RULES", help="A rules file (TOML), or the name of a preset.")
]


@app.command(cls=HelpCommand)
def check(rules: FileOrPreset) -> None:
    """Check a rules file and report every error with its line and a remedy.

    Examples
    --------
    tickerlake rules check my-rules.toml
    """
    from tickerlake.alerts.engine import AlertEngine

    ruleset = load_named_rules(rules)
    AlertEngine(ruleset.rules, DEFAULT_BARS.split(","))
    routes = notification_routes(ruleset)
    for rule in ruleset.rules:
        symbols = ", ".join(rule.symbols) if rule.symbols != ("*",) else "all symbols"
        when = "at every trade" if rule.when == "tick" else "when a bar closes"
        bars = f"{', '.join(rule.intervals) or 'the shortest'} bars, {when}"
        scope = "monitors the data itself" if rule.monitors_data else bars
        print_status(f"  line {rule.line}: {rule.id}: {rule.kind} of {symbols}, {scope}, {rule.severity}")
    for route in routes:
        print_status(f"  target {route.target.name}: severity {route.min_severity} and above")
    print_status(f"✓ {rules}: {_pluralize(len(ruleset.rules), 'rule')}, {_pluralize(len(routes), 'target')}")


def _pluralize(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@app.command(cls=HelpCommand)
def show(
    preset: Annotated[
        str,
        typer.Argument(
            metavar="PRESET",
            help="default, sensitive or simple.",
            autocompletion=lambda: ["default", "sensitive", "simple"],
        ),
    ] = "default",
) -> None:
    """Print the rules of a preset, a starting point for your own file.

    Examples
    --------
    tickerlake rules show > my-rules.toml
    """
    from tickerlake.alerts.rules.presets import PRESETS
    from tickerlake.errors import UsageError

    if preset not in PRESETS:
        raise UsageError(f"There is no preset {preset}.", f"Use {', '.join(PRESETS)}.")
    print(PRESETS[preset].strip())


@app.command("test", cls=HelpCommand)
@with_file_options(strict=False)
def backtest_command(
    context: typer.Context,
    rules: Annotated[
        str | None, typer.Argument(metavar="RULES", help="A rules file (TOML), or the name of a preset.")
    ] = None,
    *,
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            "-d",
            metavar="FILES",
            help="CSV files, folders or glob patterns; repeatable.",
            rich_help_panel=INPUT,
        ),
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Rules to use instead of a file: default, sensitive or simple.",
            autocompletion=lambda: ["default", "sensitive", "simple"],
            rich_help_panel=RULES,
        ),
    ] = None,
    options: "Options",
    bars: BarIntervals = DEFAULT_BARS,
    day: DailyBars = "regular",
    align: BarAlignment = "session",
    conditions: Conditions = "sip",
    calendar: Calendar = "24/7",
    grace: Grace = GRACE,
    lateness: Lateness = LATENESS,
    splits: Splits = None,
    examples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Alerts to print per rule.", rich_help_panel=OUTPUT)
    ] = 5,
    json: Json = False,
) -> None:
    """Backtest rules: replay files and report which alerts would have fired.

    The summary shows how often each rule fired. With --json, each alert is one JSON line and the summary is
    the last one.

    Examples
    --------
    tickerlake rules test my-rules.toml --data trades.csv.gz --calendar XNYS
    tickerlake rules test --preset simple --data 'daily/*.csv' --bars 1d
    """
    from tickerlake.alerts.engine import AlertEngine
    from tickerlake.analytics.calendars import MarketSessions
    from tickerlake.errors import UsageError
    from tickerlake.tools.backtest import BacktestResult, backtest

    ruleset = _rules_to_test(rules, preset)
    if not ruleset.rules:
        raise UsageError(
            f"There are no rules in {ruleset.name}.",
            "Write some: `tickerlake rules show` prints those of a preset.",
        )
    # in a backtest each record arrives at its own time: idle and ahead never apply
    tracking_options = engine_options(
        bars,
        "none",
        grace,
        lateness,
        idle="0s",
        ahead="1d",
        group="test",
        day=day,
        align=align,
        conditions=conditions,
    )
    tracking_options = with_splits(tracking_options, splits)
    engine = AlertEngine(ruleset.rules, tracking_options.intervals)
    sessions = MarketSessions(calendar, context.obj.calendar)
    status_line, printer, result = (
        StatusLine(),
        AlertPrinter(json=json, sessions_of=sessions),
        BacktestResult(),
    )
    shown: dict[str, list[Alert]] = {}
    with tempfile.TemporaryDirectory(prefix="tickerlake-") as folder, ExitStack() as stack:
        source = open_files(input_files(data, Path(folder)), options, status_line, digest=False)
        stop = stack.enter_context(graceful_shutdown())
        for alerts in backtest(source, tracking_options, sessions, engine, result, stop.is_set):
            for alert in alerts:
                if json:
                    status_line.clear()
                    printer.print(alert)
                elif alert.state == "fired":
                    _keep_first(shown.setdefault(alert.rule_id, []), alert, examples)
            share = result.records / max(1, source.rows)
            status_line.update(f"{share:.0%}, {result.records:,} records, {result.fired.total():,} alerts")
    status_line.clear()
    for alert in sorted(itertools.chain(*shown.values()), key=lambda one: one.ts_event_ns):
        printer.print(alert)
    for note in (*sessions.take_notes(), *result.notes):
        print_status(f"note: {note}")
    if unknown := tracking_options.splits.names_none_of(result.symbols):
        print_status(f"warning: --splits names none of the symbols of the data, only {unknown}")
    if rules is not None and Path(rules).is_file():
        for problem in ruleset.unmatched_patterns(result.symbols):
            print_status(f"warning: {problem}")
        warn_rules_without_data(engine)
    _print_summary(result, ruleset.rules)
    if json:
        print_json(
            {
                "records": result.records,
                "symbol_days": result.symbol_days,
                "fired": dict(result.fired),
                "rejects": dict(result.rejected_records),
                "left_out": dict(result.left_out),
            }
        )


def _rules_to_test(rules: str | None, preset: str | None) -> "RuleSet":
    from tickerlake.errors import UsageError

    if (rules is None) == (preset is None):
        raise UsageError("Rules are missing, or named twice.", "Name a rules file, or --preset default.")
    return load_named_rules(rules) if rules is not None else load_rules(None, preset or "")


def _keep_first(kept: "list[Alert]", alert: "Alert", count: int) -> None:
    """Add an alert to the first ones by time: symbols of one batch are not in order of time."""
    kept.append(alert)
    kept.sort(key=lambda one: one.ts_event_ns)
    del kept[count:]


def _print_summary(result: "BacktestResult", rules: "Sequence[Rule]") -> None:
    print_status(
        f"\n{result.records:,} records of {len(result.symbols):,} symbols, {result.symbol_days:,} symbol-days"
        f"{f', {result.rejected_rows:,} rows rejected' if result.rejected_rows else ''}"
    )
    for reason, count in result.rejected_records.most_common():
        print_status(f"  rejected: {count:,} {reason}")
    print_unscheduled(result.unscheduled)
    print_conditions(result.left_out, result.unknown_conditions)
    width = max([len(rule.id) for rule in rules], default=0)
    for rule in rules:
        count = result.fired[rule.id]
        frequency = ""
        if 0 < count < result.symbol_days:
            frequency = f", one in {result.symbol_days / count:,.0f} symbol-days"
        elif 0 < result.symbol_days <= count:
            frequency = f", {count / result.symbol_days:,.1f} per symbol-day"
        outcome = "needs live data" if rule.monitors_data else f"{count:>7,} alerts{frequency}"
        print_status(f"  {rule.id:<{width}}  {outcome}")
