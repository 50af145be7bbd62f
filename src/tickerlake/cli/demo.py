"""``tickerlake demo``: the whole pipeline on this machine."""

import sys
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import StatusLine, graceful_shutdown, print_status

if TYPE_CHECKING:
    import threading
    from datetime import date

    from tickerlake.tools.demo import DemoResult


def demo(
    lake: Annotated[Path, typer.Option("--lake", help="Folder of the lake.")] = Path("lake"),
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder of the embedded Kafka.")] = Path(
        ".tickerlake/broker"
    ),
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete both folders and start over.")] = False,
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve",
            help="Then show the dashboard, with a simulated market that goes on, until Ctrl-C. "
            "By default on a terminal.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the dashboard; 0 for any.")] = 8787,
) -> None:
    """Replay 12,154 daily bars through a real Kafka into a local lake, prove that all are there, track them.

    Run again, it continues; Ctrl-C at any moment leaves nothing broken.
    """
    from tickerlake.tools.demo import Demo

    with_dashboard = serve if serve is not None else sys.stderr.isatty()
    status_line = StatusLine()
    with graceful_shutdown() as stop:
        runner = Demo(lake, data_dir, print_status, status_line.update)
        if fresh:
            runner.reset()

        def on_finished(servers: str, outcome: "DemoResult") -> None:
            status_line.clear()
            if not stop.is_set():
                _print_summary(outcome, lake, with_dashboard=with_dashboard)
            if with_dashboard and not stop.is_set():
                _serve(servers, lake, port, stop)
                stop.clear()

        runner.run(stop, on_finished)
    if stop.is_set():
        print_status("stopped; run `make demo` again to continue.")
        raise typer.Exit(130)


def _print_summary(outcome: "DemoResult", lake: Path, *, with_dashboard: bool) -> None:
    """Say what was done, and what can be done next."""
    from tickerlake.cli.audit import print_audit
    from tickerlake.tools.demo import TOPIC

    ingested = outcome.ingested
    if ingested.new_records:
        print_status(f"✓ wrote {ingested.new_records:,} records to the topic {TOPIC}")
    else:
        print_status(f"✓ already ingested ({ingested.records:,} records in {TOPIC}); nothing new")
    print_status(f"✓ stored {outcome.stored.records:,} records in {outcome.stored.segments} segments\n")
    print_audit(outcome.audited)
    findings = [finding for result in outcome.audited for finding in result.findings]
    if findings:
        from tickerlake.errors import AuditFailed

        raise AuditFailed(
            f"The lake does not hold: {findings[0].key}: {findings[0].message}.", "Try --fresh."
        )
    total = sum(result.records for result in outcome.audited)
    print_status(
        f"\n✓ all {total:,} records are in the lake exactly once (every row read, compared with Kafka)\n"
    )
    _print_tracking(outcome)
    print_status(f"\nthe files       {lake}/raw/{TOPIC}/")
    print_status(f"look inside     gzip -dc {lake}/raw/{TOPIC}/partition=*/*.ndjson.gz | head -3")
    if which("tickerlake") is None:
        print_status(f"the command     export PATH={Path(sys.executable).parent}:$PATH")
    print_status(f"prices, by SQL  tickerlake query --lake {lake} 'from latest_prices'")
    print_status(f"sorted Parquet  tickerlake compact --lake {lake}")
    print_status("your own file   tickerlake broker start && tickerlake produce FILE.csv -t my.bars")
    print_status(
        "then            tickerlake sink -t my.bars --lake my-lake --until-end && "
        "tickerlake audit --lake my-lake"
    )
    print_status(
        "alerts          tickerlake rules show > rules.toml && tickerlake track -t my.bars --rules rules.toml"
    )
    if not with_dashboard:
        print_status("the dashboard   tickerlake demo --serve")
    print_status("start over      make demo FRESH=1")


def _serve(servers: str, lake: Path, port: int, stop: "threading.Event") -> None:
    """Show the dashboard, and let a simulated market go on, until ``stop`` is set."""
    import threading

    from tickerlake.dashboard.server import Dashboard, DashboardOptions
    from tickerlake.lake.store import open_store
    from tickerlake.tools.demo_market import CALENDAR, SPEED, LiveMarket

    store = open_store(str(lake))
    stop_market = threading.Event()
    market = LiveMarket(servers, store, _today())
    market_thread = threading.Thread(target=market.run, args=[stop_market])
    options = DashboardOptions(port=port, calendar=CALENDAR)
    with Dashboard(servers, {}, store, options) as dashboard:
        market_thread.start()
        print_status(f"\n✓ the dashboard is at {dashboard.url}")
        print_status(
            f"  with the data above, and a simulated market at {SPEED:.0f} × its pace; Ctrl-C ends it"
        )
        try:
            while not stop.wait(0.5) and market.failure is None:
                pass
        finally:
            stop_market.set()
            market_thread.join()
    if market.failure:
        raise market.failure
    print_status("the dashboard has ended; run the same again to go on")


def _today() -> "date":
    from datetime import UTC, datetime

    from tickerlake import clock

    return datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).date()


def _print_tracking(outcome: "DemoResult") -> None:
    """Say what tracking has found: all crashes and splits, and how much else."""
    from tickerlake.cli.alerts import AlertPrinter

    fired = sorted(
        (alert for alert in outcome.alerts if alert.state == "fired"), key=lambda alert: alert.ts_event_ns
    )
    if not outcome.tracked.records:
        print_status("✓ already tracked; nothing new")
        return
    print_status(
        f"✓ tracked {outcome.tracked.records:,} bars: {outcome.tracked.indicators:,} records of indicators, "
        f"{len(fired):,} alerts in the topic stocks.alerts; the gravest, and what looks like a split:\n"
    )
    printer = AlertPrinter(json=False)
    for alert in fired:
        if alert.severity == "critical" or alert.cause == "probable_split":
            printer.print(alert)
