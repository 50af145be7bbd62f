"""``tickerlake demo``: the whole pipeline on this machine."""

import sys
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated

import typer

from tickerlake.cli.common import Ticker, say, stopping

if TYPE_CHECKING:
    from tickerlake.pipeline.demo import Outcome


def demo(
    lake: Annotated[Path, typer.Option("--lake", help="Folder of the lake.")] = Path("lake"),
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder of the embedded Kafka.")] = Path(
        ".tickerlake/broker"
    ),
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete both folders and start over.")] = False,
) -> None:
    """Replay 12,154 daily bars through a real Kafka into a local lake, prove that all are there, track them.

    Run again, it continues; Ctrl-C at any moment leaves nothing broken.
    """
    from tickerlake.cli.audit import show
    from tickerlake.pipeline.demo import TOPIC, Demo

    ticker = Ticker()
    with stopping() as stop:
        work = Demo(lake, data_dir, say, ticker.show)
        if fresh:
            work.start_over()
        outcome = work.run(stop)
        ticker.end()
    if stop.is_set():
        say("stopped; run `make demo` again to continue.")
        raise typer.Exit(130)
    produced = outcome.ingested
    if produced.new_records:
        say(f"✓ wrote {produced.new_records:,} records to the topic {TOPIC}")
    else:
        say(f"✓ already ingested ({produced.records:,} records in {TOPIC}); nothing new")
    say(f"✓ stored {outcome.stored.records:,} records in {outcome.stored.segments} segments\n")
    show(outcome.audited)
    findings = [finding for result in outcome.audited for finding in result.findings]
    if findings:
        from tickerlake.errors import AuditFailed

        raise AuditFailed(
            f"The lake does not hold: {findings[0].key}: {findings[0].message}.", "Try --fresh."
        )
    total = sum(result.records for result in outcome.audited)
    say(f"\n✓ all {total:,} records are in the lake exactly once (every row read, compared with Kafka)\n")
    _told(outcome)
    say(f"\nthe files       {lake}/raw/{TOPIC}/")
    say(f"look inside     gzip -dc {lake}/raw/{TOPIC}/partition=*/*.ndjson.gz | head -3")
    if which("tickerlake") is None:
        say(f"the command     export PATH={Path(sys.executable).parent}:$PATH")
    say("your own file   tickerlake broker start && tickerlake produce FILE.csv -t my.bars")
    say(
        "then            tickerlake sink -t my.bars --lake my-lake --until-end && "
        "tickerlake audit --lake my-lake"
    )
    say(
        "alerts          tickerlake rules show > rules.toml && tickerlake track -t my.bars --rules rules.toml"
    )
    say("start over      make demo FRESH=1")


def _told(outcome: "Outcome") -> None:
    """Say what tracking has found: all crashes and splits, and how much else."""
    from tickerlake.cli.alerts import Printer

    fired = sorted(
        (alert for alert in outcome.alerts if alert.state == "fired"), key=lambda alert: alert.ts_event_ns
    )
    if not outcome.tracked.records:
        say("✓ already tracked; nothing new")
        return
    say(
        f"✓ tracked {outcome.tracked.records:,} bars: {outcome.tracked.indicators:,} records of indicators, "
        f"{len(fired):,} alerts in the topic stocks.alerts; the gravest, and what looks like a split:\n"
    )
    printer = Printer(json=False)
    for alert in fired:
        if alert.severity == "critical" or alert.cause == "probable_split":
            printer.print(alert)
