"""``tickerlake demo``: the whole pipeline on this machine."""

import os
import sys
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.alerting import AlertPrinter
from tickerlake.cli.audit import print_audit
from tickerlake.cli.common import StatusLine, graceful_shutdown, print_status
from tickerlake.cli.help import LAKE, OTHER, SERVER
from tickerlake.cli.options import DEMO_DATA_DIR, DashboardPort, broker_port_option, data_dir_option

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import date

    from tickerlake.tools.demo import DemoResult


def demo(
    lake: Annotated[
        Path, typer.Option("--lake", metavar="DIR", help="Folder of the lake.", rich_help_panel=LAKE)
    ] = Path("lake"),
    data_dir: Annotated[
        Path,
        data_dir_option("Folder of the embedded broker."),
    ] = DEMO_DATA_DIR,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Delete both folders and start over.", rich_help_panel=OTHER),
    ] = False,
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve",
            help="Afterwards serve the dashboard with a simulated live market until Ctrl-C; default: on a "
            "terminal.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    port: DashboardPort = None,
    broker_port: Annotated[
        int | None,
        broker_port_option("--broker-port"),
    ] = None,
) -> None:
    """Run the whole pipeline on this machine: Kafka, lake, audit, alerts.

    It starts a Kafka broker, replays 12,154 daily bars into a local lake, verifies that every record is there
    exactly once, computes indicators and raises alerts. Run it again at any time, also after Ctrl-C: it
    continues where it stopped.

    A broker that runs in the folder already is used and keeps running.

    Examples
    --------
    tickerlake demo
    tickerlake demo --no-serve --fresh
    """
    from tickerlake.tools.demo import Demo

    with_dashboard = serve if serve is not None else sys.stderr.isatty()
    status_line = StatusLine()
    with graceful_shutdown() as stop:
        runner = Demo(lake, data_dir, print_status, status_line.update)

        def on_finished(servers: str, outcome: "DemoResult", announce: "Callable[[str], None]") -> None:
            status_line.clear()
            _print_summary(outcome, lake, with_dashboard=with_dashboard)
            if with_dashboard and not stop.is_set():
                _serve(servers, lake, port, stop, announce)

        runner.run(stop, on_finished, fresh=fresh, port=broker_port)
    if stop.is_set():
        print_status("stopped; run the same command again to continue")


def _print_summary(outcome: "DemoResult", lake: Path, *, with_dashboard: bool) -> None:
    """Print what was done and what to try next."""
    from tickerlake.tools.demo import TOPIC

    ingested = outcome.ingested
    if ingested.new_records:
        print_status(f"✓ produced {ingested.new_records:,} records to topic {TOPIC}")
    else:
        print_status(f"✓ already ingested ({ingested.records:,} records in {TOPIC}); nothing new")
    print_status(f"✓ stored {outcome.stored.records:,} records in {outcome.stored.segments} segments\n")
    print_audit(outcome.audited)
    findings = [finding for result in outcome.audited for finding in result.findings]
    if findings:
        from tickerlake.errors import AuditFailed

        raise AuditFailed(
            f"The audit failed: {findings[0].key}: {findings[0].message}.", "Start over with --fresh."
        )
    total = sum(result.records for result in outcome.audited)
    print_status(
        f"\n✓ all {total:,} records are in the lake exactly once (every row read and compared with Kafka)\n"
    )
    _print_tracking(outcome)
    print_status(f"\nfiles           {lake}/raw/{TOPIC}/")
    print_status(f"look inside     gzip -dc {lake}/raw/{TOPIC}/partition=*/*.ndjson.gz | head -3")
    if which("tickerlake") is None:
        print_status(f"command         export PATH={Path(sys.executable).parent}:$PATH")
    print_status(f"SQL             tickerlake query --lake {lake} 'from latest_prices'")
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
        print_status("dashboard       tickerlake demo --serve")
    by_make = "MAKELEVEL" in os.environ
    print_status(f"start over      {'make demo FRESH=1' if by_make else 'tickerlake demo --fresh'}")


def _serve(
    servers: str, lake: Path, port: int | None, stop: "threading.Event", announce: "Callable[[str], None]"
) -> None:
    """Serve the dashboard with a simulated live market until ``stop`` is set."""
    import threading

    from tickerlake.dashboard.reading.topics import prefix_of
    from tickerlake.dashboard.server import Dashboard, DashboardOptions
    from tickerlake.lake.store import open_store
    from tickerlake.tools.demo import TOPIC
    from tickerlake.tools.demo_market import CALENDAR, PREFIX, SPEED, LiveMarket

    store = open_store(str(lake))
    stop_market = threading.Event()
    market = LiveMarket(servers, store, _today())
    market_thread = threading.Thread(target=market.run, args=[stop_market])
    options = DashboardOptions(port=port, prefixes=(prefix_of(TOPIC), PREFIX), calendar=CALENDAR)
    with Dashboard(servers, {}, store, options) as dashboard:
        market_thread.start()
        announce(dashboard.url)
        print_status(f"\n✓ dashboard at {dashboard.url}")
        print_status(
            f"  with the data above and a simulated market at {SPEED:.0f} × real time; Ctrl-C stops it"
        )
        try:
            while not stop.wait(0.5) and market.failure is None:
                pass
        finally:
            stop_market.set()
            market_thread.join()
    if market.failure:
        raise market.failure


def _today() -> "date":
    from datetime import UTC, datetime

    from tickerlake import clock

    return datetime.fromtimestamp(clock.now_ns() / 1e9, UTC).date()


def _print_tracking(outcome: "DemoResult") -> None:
    """Print what tracking produced, with all critical alerts and probable splits."""
    fired = sorted(
        (alert for alert in outcome.alerts if alert.state == "fired"), key=lambda alert: alert.ts_event_ns
    )
    if not outcome.tracked.records:
        print_status("✓ already tracked; nothing new")
        return
    print_status(
        f"✓ tracked {outcome.tracked.records:,} bars: {outcome.tracked.indicators:,} indicator records, "
        f"{len(fired):,} alerts in topic stocks.alerts; critical alerts and probable splits:\n"
    )
    printer = AlertPrinter(json=False)
    for alert in fired:
        if alert.severity == "critical" or alert.cause == "probable_split":
            printer.print(alert)
