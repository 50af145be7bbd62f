"""``tickerlake simulate``: a synthetic market → a file or Kafka."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tickerlake.cli.common import (
    DRAIN_MESSAGE,
    StatusLine,
    graceful_shutdown,
    librdkafka_properties,
    parse_longest_wait,
    parse_rate,
    parse_speed,
    print_json,
    print_status,
)
from tickerlake.cli.help import MARKET, OUTPUT
from tickerlake.cli.options import (
    LOCAL_BROKER,
    BootstrapServers,
    CreateTopic,
    Force,
    Json,
    LongestWait,
    Mix,
    Partitions,
    Property,
    Rate,
    Speed,
    topic_option,
)
from tickerlake.pipeline.defaults import PARTITIONS

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping
    from datetime import date

    from tickerlake.pipeline.ingest import Ingest, IngestProgress
    from tickerlake.sources.simulator.market import Market
    from tickerlake.tools.simulate import OnProgress, SimulateStats

_STDOUT = Path("-")


def simulate(
    context: typer.Context,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Output file: .csv, .ndjson or .parquet; .csv.gz and .ndjson.gz are compressed; "
            "- is standard output.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    topic: Annotated[
        str | None,
        topic_option("Topic to write to, instead of a file."),
    ] = None,
    bootstrap_servers: BootstrapServers = LOCAL_BROKER,
    symbols: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of symbols; the first is the most active.", rich_help_panel=MARKET
        ),
    ] = 100,
    trades: Annotated[
        int, typer.Option(metavar="N", help="Number of trades in total.", rich_help_panel=MARKET)
    ] = 1_000_000,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="The same seed and options give the same market.", rich_help_panel=MARKET
        ),
    ] = 7,
    start: Annotated[
        str,
        typer.Option(
            metavar="DATE",
            help="First day; on a weekend, the next weekday.",
            rich_help_panel=MARKET,
        ),
    ] = "2024-01-02",
    days: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of trading days; default: enough for 500 trades per symbol and day, at most 252.",
            rich_help_panel=MARKET,
        ),
    ] = None,
    jumps: Annotated[
        float, typer.Option(metavar="N", help="Average jumps per symbol and day.", rich_help_panel=MARKET)
    ] = 0.1,
    halts: Annotated[
        float, typer.Option(metavar="N", help="Average halts per symbol and day.", rich_help_panel=MARKET)
    ] = 0.01,
    splits: Annotated[
        float, typer.Option(metavar="N", help="Average splits per symbol and day.", rich_help_panel=MARKET)
    ] = 0.002,
    market: Annotated[
        str | None,
        typer.Option(
            metavar="MIC",
            help="Simulate a market with holidays, half days, lunch breaks, auctions and sale conditions: "
            "XNYS, XNAS, XLON, XETR, XHKG or XTKS.",
            rich_help_panel=MARKET,
        ),
    ] = None,
    extended: Annotated[
        bool,
        typer.Option(
            "--extended",
            help="Also pre-market and after-hours trades, with late prints; for XNYS and XNAS.",
            rich_help_panel=MARKET,
        ),
    ] = False,
    gaps: Annotated[
        float,
        typer.Option(
            metavar="N",
            help="Average overnight gaps of 3 to 60% per symbol and day, with high volume.",
            rich_help_panel=MARKET,
        ),
    ] = 0.0,
    reversals: Annotated[
        float,
        typer.Option(
            metavar="N",
            help="Average jumps per symbol and day with a jump back within 12 minutes.",
            rich_help_panel=MARKET,
        ),
    ] = 0.0,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Label file: each jump, split, halt and so on as a JSON line; default: OUTPUT.truth.ndjson, "
            "none for standard output or a topic.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Force = False,
    speed: Speed = "max",
    rate: Rate = None,
    longest_wait: LongestWait = None,
    partitions: Partitions = PARTITIONS,
    create: CreateTopic = True,
    mix: Mix = False,
    property_: Property = None,
    json: Json = False,
) -> None:
    """Generate a synthetic market with labeled jumps, splits and halts.

    Without --market, trades are on weekdays, 09:30 to 16:00 in New York. A file is written completely or not
    at all. To a topic each trade is written exactly once; after a crash or Ctrl-C, run the same command again
    to continue.

    Examples
    --------
    tickerlake simulate -o trades.csv
    tickerlake simulate --symbols 500 --trades 10000000 -o trades.parquet
    tickerlake simulate --trades 1000 -o - | head
    tickerlake simulate --market XNYS --extended --gaps 0.1 -o trades.csv
    tickerlake simulate -t stocks.trades --speed 60x --truth truth.ndjson
    """
    from tickerlake.errors import UsageError
    from tickerlake.model.schema import TRADE
    from tickerlake.pipeline.ingest import Ingest, IngestOptions
    from tickerlake.sources.simulator.market import Market
    from tickerlake.sources.simulator.plan import MarketOptions
    from tickerlake.tools.simulate import Stopped

    if (output is None) == (topic is None):
        raise UsageError("A market is written to either a file or a topic.", "Use -o FILE, -o - or --topic.")
    if json and output == _STDOUT:
        raise UsageError("--json would mix with the trades on standard output.", "Use -o FILE.")
    rate_s, speed_factor = parse_rate(rate), parse_speed(speed)
    max_wait_s = parse_longest_wait(longest_wait, speed_factor)
    if output and (rate_s or speed_factor):
        raise UsageError("--rate and --speed need --topic.", "Omit them: a file is written at full speed.")
    options = MarketOptions(
        symbols,
        trades,
        seed,
        _parse_day(start),
        days,
        jumps,
        halts,
        splits,
        market or "",
        extended,
        gaps,
        reversals,
    )
    simulated = Market(options)
    with graceful_shutdown("discarding the incomplete file …" if output else DRAIN_MESSAGE) as stop:
        try:
            if output:
                result = _to_file(simulated, output, truth, stop, force=force)
            else:
                ingest_options = IngestOptions(
                    rows_per_s=rate_s,
                    speed=speed_factor,
                    max_wait_s=max_wait_s,
                    partitions=partitions,
                    create_topic=create,
                    schema="" if mix else TRADE,
                )
                ingest = Ingest(
                    bootstrap_servers, topic or "", ingest_options, librdkafka_properties(context, property_)
                )
                result = _to_topic(simulated, ingest, truth, stop, force=force)
        except Stopped:
            print_status("stopped; no file was written")
            return
    if json:
        print_json(_summarize(simulated) | result)


def _to_file(
    market: "Market", output: Path, truth: Path | None, stop: "threading.Event", *, force: bool
) -> dict[str, Any]:
    from tickerlake.tools.files import open_stdout
    from tickerlake.tools.simulate import TRUTH_SUFFIX, write_file, write_stream

    with _progress_reporter(market) as show:
        if output == _STDOUT:
            try:
                with open_stdout() as stream:
                    stats = write_stream(market, stream, truth, stop, show, force=force)
            except BrokenPipeError:
                return {"finished": True}  # the reader has closed the pipe, as `head` does
        else:
            truth = truth or output.with_name(output.name + TRUTH_SUFFIX)
            stats = write_file(market, output, truth, stop, show, force=force)
    print_status(f"{'stdout' if output == _STDOUT else output}: {_format_market(market)}")
    if truth:
        print_status(f"{truth}: {_format_label_counts(stats.labels)}")
    return {
        "output": str(output),
        "truth": str(truth) if truth else None,
        "labels": stats.labels,
        "finished": True,
    }


def _to_topic(
    market: "Market", ingest: "Ingest", truth: Path | None, stop: "threading.Event", *, force: bool
) -> dict[str, Any]:
    from tickerlake.tools.simulate import write_topic, write_truth

    if ingest.prepare():
        print_status(f"created topic {ingest.topic} with {ingest.options.partitions} partitions")
    labels = None
    if truth:
        with _progress_reporter(market) as show:
            labels = write_truth(market, truth, stop, show, force=force).labels
        print_status(f"{truth}: {_format_label_counts(labels)}")
    status_line = StatusLine()

    def show_progress(progress: "IngestProgress") -> None:
        rate_s = status_line.rate(progress.new_records)
        line = f"{progress.rows_done / progress.rows:.0%}, {progress.records:,} trades, {rate_s:,.0f}/s"
        # paced by event time, a night or a weekend is a long wait: show that it is intended
        waits = f", next in {progress.next_s:,.0f} s" if progress.next_s >= 2 else ""
        status_line.update(f"{ingest.topic}: {line}{waits}")

    totals = write_topic(market, ingest, stop, show_progress)
    status_line.clear()
    if totals.finished and not totals.new_records:
        print_status(f"{ingest.topic}: already written ({totals.records:,} trades); nothing new")
    elif totals.finished:
        print_status(f"{ingest.topic}: {_format_market(market)}, {totals.new_records:,} of them new")
    else:
        print_status(
            f"{ingest.topic}: {totals.records:,} of {totals.rows:,} trades; "
            "run the same command again to continue"
        )
    return {
        "topic": ingest.topic,
        "records": totals.records,
        "new_records": totals.new_records,
        "truth": str(truth) if truth else None,
        "labels": labels,
        "finished": totals.finished,
    }


@contextmanager
def _progress_reporter(market: "Market") -> "Iterator[OnProgress]":
    status_line = StatusLine()

    def show(stats: "SimulateStats") -> None:
        rate_s = status_line.rate(stats.trades)
        status_line.update(
            f"{market.source}: {stats.trades / market.rows:.0%}, {stats.trades:,} trades, {rate_s:,.0f}/s"
        )

    try:
        yield show
    finally:
        status_line.clear()


def _parse_day(text: str) -> "date":
    from datetime import date

    from tickerlake.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--start {text} is not a date.", "Write it as 2024-01-02.") from error


def _summarize(market: "Market") -> dict[str, Any]:
    options, (first_ns, last_ns) = market.options, market.time_span_ns()
    return {
        "seed": options.seed,
        "symbols": options.symbols,
        "trades": options.trades,
        "days": options.day_count,
        "first_ts_event_ns": first_ns,
        "last_ts_event_ns": last_ns,
    }


def _format_market(market: "Market") -> str:
    trade_counts = f"{market.rows:,} trades of {market.options.symbols:,} symbols"
    return f"{trade_counts}, {market.first_day} to {market.last_day}, seed {market.options.seed}"


def _format_label_counts(labels: "Mapping[str, int]") -> str:
    always = ("jump", "split", "halt")
    others = sorted(kind for kind, count in labels.items() if count and kind not in always)
    return ", ".join(f"{labels.get(kind, 0):,} {kind.replace('_', ' ')}s" for kind in (*always, *others))
